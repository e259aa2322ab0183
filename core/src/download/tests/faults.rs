//! Many sources with parts, that refuse, vanish, substitute, send bad pieces or nothing: as long as
//! one good source has everything, the download ends, and outside of the end game nothing is asked
//! of two sources at once.

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
}

fn moods() -> impl Strategy<Value = Mood> {
    prop_oneof![
        Just(Mood::Good),
        Just(Mood::Bad),
        Just(Mood::Refuses),
        Just(Mood::Vanishes),
        Just(Mood::Silent),
        Just(Mood::Substitutes),
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
                    DownloadOutput::Drop(source, _) => {
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
            if cancelled && random.bool() {
                // Otherwise the word came too late.
                download.handle(now, DownloadInput::Refused(source, asked));
                continue;
            }
            match all[source as usize] {
                Mood::Bad => download.handle(now, DownloadInput::Bad(source, asked)),
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
