//! Many sources with parts, that refuse, vanish, substitute, flood with news, send bad pieces, nothing or
//! hardly anything: as long as one good source has everything, the download ends, no innocent source
//! is dropped, no timer is due again and again, and what is kept of sources does not grow.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mood {
    Good,
    Bad,
    Refuses,
    Vanishes,
    Silent,
    Substitutes,
    /// It begins each piece, and ends none.
    Trickles,
    /// It tells of pieces that there are, that there are not, and again, and refuses them all.
    Floods,
}

fn moods() -> impl Strategy<Value = Mood> {
    prop_oneof![
        Just(Mood::Good),
        Just(Mood::Bad),
        Just(Mood::Refuses),
        Just(Mood::Vanishes),
        Just(Mood::Silent),
        Just(Mood::Substitutes),
        Just(Mood::Trickles),
        Just(Mood::Floods),
    ]
}

proptest! {
    #[test]
    fn every_download_ends(
        count in 1u32..60,
        moods in proptest::collection::vec(moods(), 0..7),
        seed in any::<u64>(),
    ) {
        let config = DownloadConfig { seed, ..DownloadConfig::default() };
        let mut download = Download::new(config, vec![PIECE; count as usize], PieceSet::empty(count));
        let mut random = fastrand::Rng::with_seed(seed);
        let mut now = at(0);
        let mut all: Vec<Mood> = moods;
        all.insert(random.usize(0..=all.len()), Mood::Good);
        let mut owed: BTreeMap<SourceId, VecDeque<(u32, bool, bool)>> = BTreeMap::new();
        let mut gone = BTreeSet::new();
        let mut begun = BTreeSet::new();
        for (i, mood) in all.iter().enumerate() {
            let pieces = match mood {
                Mood::Good | Mood::Substitutes => PieceSet::full(count),
                _ => set(count, &(0..count).filter(|_| random.bool()).collect::<Vec<_>>()),
            };
            owed.insert(i as u64, VecDeque::new());
            open(&mut download, now, i as u64, pieces);
        }
        for _ in 0..20_000 {
            while let Some(output) = download.poll_output() {
                match output {
                    DownloadOutput::Ask { source, piece, any } => {
                        prop_assert!(!gone.contains(&source), "asked who was dropped");
                        owed.get_mut(&source).unwrap().push_back((piece, any, false));
                    }
                    DownloadOutput::Cancel(source, piece) => {
                        let owed = owed.get_mut(&source).unwrap();
                        let taken = owed.iter_mut().find(|(p, _, cancelled)| *p == piece && !cancelled);
                        taken.expect("what it was asked for").2 = true;
                    }
                    DownloadOutput::Drop(source, why) => {
                        let is_bad = match why {
                            DropReason::BadPiece(_) => [Mood::Bad].as_slice(),
                            DropReason::Repeats(_) => &[Mood::Substitutes],
                            DropReason::Stalled(_) => &[Mood::Silent],
                        };
                        prop_assert!(is_bad.contains(&all[source as usize]), "{source} was dropped: {why}");
                        gone.insert(source);
                        owed.get_mut(&source).unwrap().clear();
                    }
                    DownloadOutput::Tell(..) | DownloadOutput::Done | DownloadOutput::Unneeded => {}
                }
            }
            if download.is_done() {
                break;
            }
            now = now + Duration::from_millis(10);
            for fired in 0.. {
                if download.poll_timeout().is_none_or(|at| at > now) {
                    break;
                }
                prop_assert!(fired < 10, "a timer is due without end");
                download.handle(now, DownloadInput::Timeout);
            }
            if !download.outputs.is_empty() {
                // Whoever is dropped has nothing more to say.
                continue;
            }
            for (id, source) in &download.sources {
                let most = download.config.max_pipeline + count as usize;
                prop_assert!(source.owes.len() <= most && source.taken_back.len() <= 1000, "{id}: {source:?}");
            }
            let busy: Vec<_> = owed
                .iter()
                .filter(|(s, o)| !o.is_empty() && all[**s as usize] != Mood::Silent)
                .map(|(s, _)| *s)
                .collect();
            let Some(source) = random.choice(&busy).copied() else {
                let deadline = download.poll_timeout();
                prop_assert!(deadline.is_some(), "nothing is under way and nothing is waited for");
                now = now.max(deadline.unwrap());
                download.handle(now, DownloadInput::Timeout);
                continue;
            };
            let (asked, any, cancelled) = owed.get_mut(&source).unwrap().pop_front().unwrap();
            if all[source as usize] == Mood::Trickles && !cancelled {
                if begun.insert((source, asked)) {
                    download.handle(now, DownloadInput::Begun { source, piece: asked, asked });
                }
                download.handle(now, DownloadInput::Progress(source, 1));
                owed.get_mut(&source).unwrap().push_front((asked, any, cancelled));
                continue;
            }
            if cancelled && random.bool() {
                // Otherwise the word came too late.
                download.handle(now, DownloadInput::Refused(source, asked));
                continue;
            }
            match all[source as usize] {
                Mood::Bad => download.handle(now, DownloadInput::Bad(source, asked)),
                Mood::Floods => {
                    download.handle(now, DownloadInput::Refused(source, asked));
                    let told = std::iter::repeat_with(|| random.u32(0..2 * count)).take(20).collect();
                    download.handle(now, DownloadInput::News(source, told));
                }
                Mood::Refuses => download.handle(now, DownloadInput::Refused(source, asked)),
                Mood::Vanishes => {
                    gone.insert(source);
                    owed.get_mut(&source).unwrap().clear();
                    download.handle(now, DownloadInput::Closed(source));
                }
                mood => {
                    let instead = mood == Mood::Substitutes && any;
                    let piece = if instead { random.u32(0..count) } else { asked };
                    download.handle(now, DownloadInput::Begun { source, piece, asked });
                    download.handle(now, DownloadInput::Progress(source, PIECE.into()));
                    download.handle(now, DownloadInput::Got(source, piece));
                }
            }
        }
        prop_assert!(download.is_done(), "{} of {count} pieces came", download.have().len());
    }
}
