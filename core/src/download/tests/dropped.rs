//! Sources that are slow, silent or at fault: who is asked instead, and who is dropped.

use super::*;

#[test]
fn a_silent_source_loses_what_it_owes_and_then_its_place() {
    let mut download = download(2);
    open(&mut download, at(0), 1, PieceSet::full(2));
    assert_eq!(asked(&mut download, 1), [0, 1]);
    open(&mut download, at(0), 2, PieceSet::full(2));
    outputs(&mut download);
    download.handle(at(4999), DownloadInput::Timeout);
    assert!(asked(&mut download, 2).is_empty());
    download.handle(at(5000), DownloadInput::Timeout);
    let mut taken = asked(&mut download, 2);
    taken.sort_unstable();
    assert_eq!(taken, [0, 1]);
    download.handle(at(29_000), DownloadInput::Progress(2, 10));
    download.handle(at(30_000), DownloadInput::Timeout);
    let dropped = DownloadOutput::Drop(1, DropReason::Stalled(Duration::from_secs(30)));
    assert!(outputs(&mut download).contains(&dropped));
}

#[test]
fn a_silent_source_that_alone_has_what_it_owes_keeps_its_place() {
    let mut download = download(1);
    open(&mut download, at(0), 1, PieceSet::full(1));
    assert_eq!(asked(&mut download, 1), [0]);
    for ms in [5000, 30_000, 35_000, 90_000] {
        download.handle(at(ms), DownloadInput::Timeout);
        assert_eq!(outputs(&mut download), [], "{ms}");
        assert!(download.poll_timeout().unwrap() > at(ms), "{ms}");
    }
    open(&mut download, at(91_000), 2, PieceSet::full(1));
    assert_eq!(asked(&mut download, 2), [0]);
    download.handle(at(95_000), DownloadInput::Timeout);
    assert!(matches!(outputs(&mut download)[..], [DownloadOutput::Drop(1, DropReason::Stalled(_))]));
}

/// A download at which source 1 was slow and has answered all that it owed, since source 2 sent it; both
/// have everything.
fn after_a_slow_one() -> Download {
    let mut download = download(200);
    open(&mut download, at(0), 1, PieceSet::full(200));
    let owed = asked(&mut download, 1);
    download.handle(at(5000), DownloadInput::Timeout);
    open(&mut download, at(5000), 2, PieceSet::full(200));
    for piece in &owed {
        download.handle(at(5001), DownloadInput::Got(2, *piece));
    }
    outputs(&mut download);
    for piece in &owed {
        download.handle(at(5002), DownloadInput::Refused(1, *piece));
    }
    download
}

#[test]
fn who_was_slow_and_owes_nothing_is_asked_again_for_what_nobody_else_has() {
    let mut download = after_a_slow_one();
    assert!(asked(&mut download, 1).is_empty(), "while another is there that is not slow");
    download.handle(at(5003), DownloadInput::Closed(2));
    assert!(!asked(&mut download, 1).is_empty());
}

#[test]
fn who_was_slow_is_asked_again_although_others_are_there_who_have_nothing_of_what_is_missing() {
    let mut download = after_a_slow_one();
    let here: Vec<u32> = download.have().iter().collect();
    let last = download.have().missing().last().unwrap();
    open(&mut download, at(5003), 3, set(200, &[]));
    open(&mut download, at(5003), 4, set(200, &here));
    download.handle(at(5003), DownloadInput::News(3, vec![last]));
    outputs(&mut download);
    download.handle(at(5003), DownloadInput::Closed(2));
    let now = outputs(&mut download);
    assert_eq!(now, [DownloadOutput::Ask { source: 3, piece: last, any: false }]);
    download.handle(at(5004), DownloadInput::Got(3, last));
    let again = asked(&mut download, 1);
    assert_eq!(again.len(), 1, "one piece, to see whether it is slow again");
    assert!(!download.have().contains(again[0]));
}

#[test]
fn who_sends_again_what_it_was_not_asked_for_is_dropped() {
    let mut download = download(2);
    open(&mut download, at(0), 1, PieceSet::full(2));
    assert_eq!(asked(&mut download, 1), [0, 1]);
    download.handle(at(1), DownloadInput::Begun { source: 1, piece: 1, asked: 0 });
    download.handle(at(2), DownloadInput::Got(1, 1));
    assert!(outputs(&mut download).iter().all(|output| !matches!(output, DownloadOutput::Drop(..))));
    download.handle(at(3), DownloadInput::Begun { source: 1, piece: 1, asked: 0 });
    let dropped = DownloadOutput::Drop(1, DropReason::Repeats(1));
    assert!(outputs(&mut download).contains(&dropped));
}

#[test]
fn who_sends_a_bad_piece_is_dropped_and_others_are_asked() {
    let mut download = download(1);
    open(&mut download, at(0), 1, PieceSet::full(1));
    assert_eq!(asked(&mut download, 1), [0]);
    open(&mut download, at(0), 2, PieceSet::full(1));
    outputs(&mut download);
    download.handle(at(1), DownloadInput::Bad(1, 0));
    let done = outputs(&mut download);
    assert_eq!(done[0], DownloadOutput::Drop(1, DropReason::BadPiece(0)));
    assert!(matches!(done[1], DownloadOutput::Ask { source: 2, piece: 0, .. }), "{done:?}");
}

/// The process may have been stopped, or its thread busy, and what sources sent waits to be read.
#[test]
fn a_timeout_that_comes_late_drops_nobody_at_once_and_is_not_due_again() {
    let mut alone = download(2);
    open(&mut alone, at(0), 1, PieceSet::full(2));
    outputs(&mut alone);
    alone.handle(at(60_000), DownloadInput::Timeout);
    assert_eq!(outputs(&mut alone), []);
    assert!(alone.poll_timeout().unwrap() > at(60_000), "it would be looked at without end");

    let pieces = vec![1 << 20; 40];
    let mut download = Download::new(DownloadConfig::default(), pieces, PieceSet::empty(40));
    (1..=3).for_each(|source| open(&mut download, at(0), source, PieceSet::full(40)));
    outputs(&mut download);
    let dropped = |download: &mut Download| -> Vec<DownloadOutput> {
        let all = outputs(download).into_iter();
        all.filter(|output| matches!(output, DownloadOutput::Drop(..))).collect()
    };
    download.handle(at(60_000), DownloadInput::Timeout);
    assert_eq!(dropped(&mut download), []);
    // What two of them sent meanwhile is read now.
    (1..=2).for_each(|source| download.handle(at(60_001), DownloadInput::Progress(source, 10)));
    download.handle(download.poll_timeout().unwrap(), DownloadInput::Timeout);
    let late = dropped(&mut download);
    assert!(late.iter().all(|output| matches!(output, DownloadOutput::Drop(3, _))), "{late:?}");
    download.handle(at(65_000), DownloadInput::Timeout);
    assert!(!download.knows(3), "it sends nothing all the same");
    assert!(download.knows(1) && download.knows(2));
}

/// Two that trickle the same piece must not keep it from one that would send it.
#[test]
fn at_the_end_a_piece_that_two_send_too_slowly_is_asked_of_a_third() {
    for seed in 0..20 {
        let config = DownloadConfig { seed, ..DownloadConfig::default() };
        let mut download = Download::new(config, vec![4 << 20], PieceSet::empty(1));
        let mut fetched_by = None;
        open(&mut download, at(0), 1, PieceSet::full(1));
        assert_eq!(asked(&mut download, 1), [0]);
        download.handle(at(10), DownloadInput::Begun { source: 1, piece: 0, asked: 0 });
        for ms in (1000..60_000).step_by(1000) {
            match ms {
                5000 => open(&mut download, at(ms), 2, PieceSet::full(1)),
                20_000 => open(&mut download, at(ms), 3, PieceSet::full(1)),
                _ => {}
            }
            // 1.6 KB a second: nobody who sends so much is silent.
            download.handle(at(ms), DownloadInput::Progress(1, 1600));
            download.handle(at(ms), DownloadInput::Timeout);
            for output in outputs(&mut download) {
                match output {
                    DownloadOutput::Ask { source: 2, .. } => {
                        download.handle(at(ms), DownloadInput::Begun { source: 2, piece: 0, asked: 0 });
                    }
                    DownloadOutput::Ask { source: 3, .. } => fetched_by = fetched_by.or(Some(ms)),
                    _ => {}
                }
            }
            if ms > 5000 {
                download.handle(at(ms), DownloadInput::Progress(2, 1600));
            }
        }
        assert!(fetched_by.is_some_and(|ms| ms < 25_000), "seed {seed}: {fetched_by:?}");
    }
}
