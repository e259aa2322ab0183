//! Downloads over sources that the test plays.

mod dropped;
mod faults;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;

const PIECE: u32 = 1000;

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

fn addr(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 7))
}

fn download(count: u32) -> Download {
    Download::new(DownloadConfig::default(), vec![PIECE; count as usize], PieceSet::empty(count))
}

fn set(count: u32, pieces: &[u32]) -> PieceSet {
    let mut set = PieceSet::empty(count);
    pieces.iter().for_each(|piece| _ = set.insert(*piece));
    set
}

fn outputs(download: &mut Download) -> Vec<DownloadOutput> {
    std::iter::from_fn(|| download.poll_output()).collect()
}

/// The pieces asked of a source among what is to be done now.
fn asked(download: &mut Download, of: SourceId) -> Vec<u32> {
    let asks = outputs(download).into_iter().filter_map(|output| match output {
        DownloadOutput::Ask { source, piece, .. } if source == of => Some(piece),
        _ => None,
    });
    asks.collect()
}

fn open(download: &mut Download, now: Instant, source: SourceId, pieces: PieceSet) {
    let addr = addr(source as u8);
    download.handle(now, DownloadInput::Opened { source, addr, holds: pieces.is_full(), pieces });
}

#[test]
fn a_lone_source_is_asked_in_order() {
    let mut download = download(200);
    open(&mut download, at(0), 1, PieceSet::full(200));
    let first = asked(&mut download, 1);
    assert_eq!(first, (0..first.len() as u32).collect::<Vec<_>>());
    assert!(first.len() > 1);
    download.handle(at(1), DownloadInput::Got(1, 0));
    assert_eq!(asked(&mut download, 1), [first.len() as u32]);
}

#[test]
fn the_rarest_comes_first_and_nothing_is_asked_twice() {
    let mut download = download(4);
    open(&mut download, at(0), 1, set(4, &[0]));
    open(&mut download, at(0), 2, set(4, &[0, 1, 2]));
    open(&mut download, at(0), 3, set(4, &[1, 2, 3]));
    let mut all = Vec::new();
    for output in outputs(&mut download) {
        if let DownloadOutput::Ask { piece, any, .. } = output {
            assert!(!any, "none of them has everything");
            all.push(piece);
        }
    }
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3]);
}

#[test]
fn what_a_source_chooses_instead_is_taken() {
    let mut download = download(8);
    open(&mut download, at(0), 1, PieceSet::full(8));
    open(&mut download, at(0), 2, set(8, &[]));
    let first = asked(&mut download, 1)[0];
    let other = (first + 5) % 8;
    download.handle(at(1), DownloadInput::Begun { source: 1, piece: other, asked: first });
    download.handle(at(2), DownloadInput::Got(1, other));
    assert!(download.have().contains(other));
    // The one that was asked for is free for others again.
    download.handle(at(3), DownloadInput::News(2, vec![first]));
    let again: Vec<_> = outputs(&mut download)
        .into_iter()
        .filter(|o| matches!(o, DownloadOutput::Ask { piece, .. } if *piece == first))
        .collect();
    assert_eq!(again.len(), 1);
}

/// It has not been told what came before it had everything, and might choose that.
#[test]
fn a_source_that_was_fetching_does_not_choose() {
    let pieces = vec![1 << 20; 8];
    let mut download = Download::new(DownloadConfig::default(), pieces, PieceSet::empty(8));
    open(&mut download, at(0), 1, PieceSet::full(8));
    open(&mut download, at(0), 2, set(8, &[]));
    let chooses = |output: &DownloadOutput| match output {
        DownloadOutput::Ask { source, any, .. } => Some((*source, *any)),
        _ => None,
    };
    assert!(outputs(&mut download).iter().filter_map(chooses).all(|asked| asked == (1, true)));
    download.handle(at(1), DownloadInput::News(2, (0..8).collect()));
    let asked: Vec<_> = outputs(&mut download).iter().filter_map(chooses).collect();
    assert!(!asked.is_empty() && asked.iter().all(|asked| *asked == (2, false)), "{asked:?}");
}

#[test]
fn in_a_crowd_what_waits_changes_over_only_to_those_who_have_something_new() {
    let is_moved = |output: &DownloadOutput| matches!(output, DownloadOutput::Cancel(..));
    let mut moved = 0;
    for seed in 0..20 {
        let config = DownloadConfig { seed, ..DownloadConfig::default() };
        let mut download = Download::new(config, vec![1 << 20; 2], PieceSet::empty(2));
        open(&mut download, at(0), 1, set(2, &[0]));
        (2..=20).for_each(|source| open(&mut download, at(0), source, set(2, &[])));
        outputs(&mut download);
        (2..=20).for_each(|source| download.handle(at(1), DownloadInput::News(source, vec![0])));
        moved += outputs(&mut download).iter().filter(|output| is_moved(output)).count();
        for source in (1..=20).cycle().take(200) {
            download.handle(at(2), DownloadInput::News(source, vec![0]));
            download.handle(at(2), DownloadInput::Timeout);
        }
        assert!(!outputs(&mut download).iter().any(is_moved), "seed {seed}");
    }
    assert!(moved > 0, "it never changes over");
}

#[test]
fn whose_only_piece_another_chose_is_asked_for_the_next() {
    let pieces = vec![1 << 20; 100];
    let mut download = Download::new(DownloadConfig::default(), pieces, PieceSet::empty(100));
    (3..=9).for_each(|source| open(&mut download, at(0), source, set(100, &[])));
    (1..=2).for_each(|source| open(&mut download, at(0), source, PieceSet::full(100)));
    let mut first = BTreeMap::new();
    for output in outputs(&mut download) {
        if let DownloadOutput::Ask { source, piece, .. } = output {
            assert_eq!(first.insert(source, piece), None, "among so many, one piece of each");
        }
    }
    let piece = first[&2];
    download.handle(at(1), DownloadInput::Begun { source: 1, piece, asked: first[&1] });
    assert_eq!(outputs(&mut download), [DownloadOutput::Cancel(2, piece)]);
    download.handle(at(2), DownloadInput::Refused(2, piece));
    assert_eq!(asked(&mut download, 2).len(), 1);
}

#[test]
fn a_holder_that_refuses_a_piece_is_not_asked_for_it_again() {
    let mut download = download(1);
    open(&mut download, at(0), 1, PieceSet::full(1));
    open(&mut download, at(0), 2, PieceSet::full(1));
    assert_eq!(asked(&mut download, 1), [0]);
    download.handle(at(1), DownloadInput::Refused(1, 0));
    assert_eq!(asked(&mut download, 2), [0]);
    download.handle(at(2), DownloadInput::Closed(2));
    assert!(asked(&mut download, 1).is_empty() && download.lacks_a_holder());
}

#[test]
fn what_was_taken_back_and_asked_for_again_is_answered_twice() {
    let mut download = download(1);
    let owes = |download: &Download| download.sources().map(|source| source.asked).sum::<usize>();
    open(&mut download, at(0), 1, set(1, &[0]));
    assert_eq!(asked(&mut download, 1), [0]);
    // Another begins to send it, and the first is told that it need not.
    open(&mut download, at(0), 2, set(1, &[0]));
    download.handle(at(1), DownloadInput::Begun { source: 2, piece: 0, asked: 0 });
    assert_eq!(outputs(&mut download), [DownloadOutput::Cancel(1, 0)]);
    // The other goes, and the first is asked again before it has answered.
    download.handle(at(2), DownloadInput::Closed(2));
    assert_eq!(asked(&mut download, 1), [0]);
    download.handle(at(3), DownloadInput::Refused(1, 0));
    assert_eq!((outputs(&mut download), owes(&download)), (vec![], 1), "that was the first request");
    download.handle(at(4), DownloadInput::Refused(1, 0));
    assert_eq!(owes(&download), 0);
}

/// A download of which a piece is asked of source 1, where source 2 has it too and is to be asked in
/// its place. Whether it is, is a matter of chance.
fn taken_back() -> Download {
    let begin = |seed| {
        let config = DownloadConfig { seed, ..DownloadConfig::default() };
        let mut download = Download::new(config, vec![PIECE; 2], PieceSet::empty(2));
        open(&mut download, at(0), 1, set(2, &[0]));
        assert_eq!(asked(&mut download, 1), [0]);
        open(&mut download, at(1), 2, set(2, &[0]));
        let outputs = outputs(&mut download);
        (download, outputs)
    };
    let all = (0..50).map(begin).find(|(_, outputs)| !outputs.is_empty()).unwrap();
    assert_eq!(all.1, [DownloadOutput::Cancel(1, 0)], "the other is not asked yet");
    all.0
}

#[test]
fn a_piece_is_asked_of_another_when_the_first_has_agreed() {
    let mut agrees = taken_back();
    agrees.handle(at(2), DownloadInput::Refused(1, 0));
    assert_eq!(asked(&mut agrees, 2), [0]);

    let mut sends = taken_back();
    sends.handle(at(2), DownloadInput::Begun { source: 1, piece: 0, asked: 0 });
    sends.handle(at(3), DownloadInput::Got(1, 0));
    assert!(asked(&mut sends, 2).is_empty());

    let mut goes = taken_back();
    goes.handle(at(2), DownloadInput::Closed(1));
    assert_eq!(asked(&mut goes, 2), [0]);
}

#[test]
fn at_the_end_who_does_not_say_whether_it_agrees_is_not_waited_for_long() {
    let mut download = download(3);
    open(&mut download, at(0), 1, set(3, &[0, 2]));
    open(&mut download, at(0), 2, set(3, &[1]));
    for (source, piece) in [(1, 0), (2, 1)] {
        download.handle(at(100), DownloadInput::Begun { source, piece, asked: piece });
        download.handle(at(100), DownloadInput::Progress(source, PIECE.into()));
        download.handle(at(100), DownloadInput::Got(source, piece));
    }
    outputs(&mut download);
    download.handle(at(100), DownloadInput::News(2, vec![2]));
    let mut when = |wanted: &DownloadOutput| {
        std::iter::from_fn(|| {
            let found = outputs(&mut download).contains(wanted);
            let now = download.poll_timeout()?;
            download.handle(now, DownloadInput::Timeout);
            Some((found, now))
        })
        .find_map(|(found, now)| found.then_some(now))
        .unwrap()
    };
    let cancelled = when(&DownloadOutput::Cancel(1, 2));
    let asked = when(&DownloadOutput::Ask { source: 2, piece: 2, any: false });
    let waited = asked.since(cancelled);
    assert!((200..400).contains(&waited.as_millis()), "{waited:?}");
}

#[test]
fn rare_pieces_are_told_at_once_and_common_ones_together() {
    let mut download = download(100);
    for source in 1..=8 {
        open(&mut download, at(0), source, set(100, if source == 8 { &[] } else { &[50, 51] }));
        let addr = Some(addr(source as u8));
        download.handle(at(0), DownloadInput::Subscribed { subscriber: source, addr });
    }
    open(&mut download, at(0), 9, PieceSet::full(100));
    outputs(&mut download);
    let told = |download: &mut Download| -> Vec<(Listener, Vec<u32>)> {
        let told = outputs(download).into_iter().filter_map(|output| match output {
            DownloadOutput::Tell(listener, pieces) => Some((listener, pieces)),
            _ => None,
        });
        told.collect()
    };
    download.handle(at(1), DownloadInput::Got(9, 7));
    assert_eq!(told(&mut download).len(), 8, "nobody else had it");
    download.handle(at(2), DownloadInput::Got(9, 50));
    download.handle(at(2), DownloadInput::Got(9, 51));
    assert_eq!(told(&mut download), [], "everybody but one has them");
    assert_eq!(download.poll_timeout(), Some(at(101)));
    download.handle(at(101), DownloadInput::Timeout);
    let later = told(&mut download);
    assert!(later.contains(&(Listener::Subscriber(8), vec![50, 51])), "{later:?}");
    assert!(later.contains(&(Listener::Source(9), vec![7, 50, 51])), "{later:?}");
}

#[test]
fn what_is_here_already_is_not_asked_for_and_its_senders_are_told() {
    let have = set(3, &[0, 2]);
    let mut download = Download::new(DownloadConfig::default(), vec![PIECE; 3], have);
    open(&mut download, at(0), 1, PieceSet::full(3));
    let all = outputs(&mut download);
    assert_eq!(all[0], DownloadOutput::Tell(Listener::Source(1), vec![0, 2]));
    assert!(matches!(all[1..], [DownloadOutput::Ask { piece: 1, .. }]), "{all:?}");
    download.handle(at(1), DownloadInput::Got(1, 1));
    assert_eq!(outputs(&mut download)[1..], [DownloadOutput::Done, DownloadOutput::Unneeded]);
}

/// A fetch of two pieces from a holder, for which another that fetches waits, complete after 8 s.
fn complete_and_needed(longest_stay: Duration) -> Download {
    let config = DownloadConfig { longest_stay: Some(longest_stay), ..DownloadConfig::default() };
    let mut download = Download::new(config, vec![PIECE; 2], PieceSet::empty(2));
    open(&mut download, at(0), 1, PieceSet::full(2));
    open(&mut download, at(0), 2, set(2, &[0]));
    download.handle(at(0), DownloadInput::Subscribed { subscriber: 1, addr: Some(addr(2)) });
    download.handle(at(4000), DownloadInput::Got(1, 0));
    download.handle(at(8000), DownloadInput::Got(1, 1));
    let all = outputs(&mut download);
    assert!(all.contains(&DownloadOutput::Done) && !all.contains(&DownloadOutput::Unneeded), "{all:?}");
    download
}

#[test]
fn with_a_holder_there_it_stays_for_a_moment_and_without_one_for_longer() {
    let unneeded = |download: &mut Download| outputs(download).contains(&DownloadOutput::Unneeded);
    let mut held = complete_and_needed(Duration::from_secs(30));
    assert_eq!(held.poll_timeout(), Some(at(10_000)), "a quarter of the time");
    held.handle(at(10_000), DownloadInput::Timeout);
    assert!(unneeded(&mut held));

    let mut idle = complete_and_needed(Duration::from_secs(30));
    idle.handle(at(8100), DownloadInput::UplinkIdle(true));
    assert_eq!(idle.poll_timeout(), Some(at(8250)), "nobody waits for anything from here");
    idle.handle(at(8200), DownloadInput::UplinkIdle(false));
    assert_eq!(idle.poll_timeout(), Some(at(10_000)));
    idle.handle(at(9000), DownloadInput::UplinkIdle(true));
    assert!(unneeded(&mut idle));

    let mut alone = complete_and_needed(Duration::from_secs(30));
    alone.handle(at(9000), DownloadInput::Closed(1));
    assert_eq!(alone.poll_timeout(), Some(at(38_000)));
    alone.handle(at(37_999), DownloadInput::Timeout);
    assert!(!unneeded(&mut alone));
    alone.handle(at(37_999), DownloadInput::News(2, vec![1]));
    assert!(unneeded(&mut alone), "the other has everything");
    assert_eq!(alone.poll_timeout(), None);

    let mut unknown = complete_and_needed(Duration::from_secs(30));
    unknown.handle(at(9000), DownloadInput::Closed(1));
    unknown.handle(at(9000), DownloadInput::Unsubscribed(1));
    assert_eq!(unknown.poll_timeout(), Some(at(13_000)), "it may still come to listen");

    let mut gone = complete_and_needed(Duration::from_secs(30));
    gone.handle(at(9000), DownloadInput::Closed(1));
    gone.handle(at(9000), DownloadInput::Closed(2));
    assert!(unneeded(&mut gone), "the other has gone");

    let mut hurried = complete_and_needed(Duration::from_secs(1));
    hurried.handle(at(8500), DownloadInput::Closed(1));
    assert_eq!(hurried.poll_timeout(), Some(at(9000)), "no longer than it may");
}
