//! Parts whose process or machine dies, or whose journal is damaged.

use proptest::prelude::*;

use super::*;
use crate::content::disk;

/// What may happen to a part.
#[derive(Debug, Clone)]
enum Event {
    /// A piece comes, and is recorded or not.
    Piece(u32, bool),
    Sync,
    /// The process dies; the journal may have lost its end.
    Killed(usize),
    /// The machine dies: pieces that were not synced may be gone from the disk.
    PowerLoss,
    /// A bit of the journal turns over.
    Flip(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0u32..5, any::<bool>()).prop_map(|(piece, record)| Event::Piece(piece, record)),
        2 => Just(Event::Sync),
        1 => (0usize..60).prop_map(Event::Killed),
        1 => Just(Event::PowerLoss),
        1 => (0usize..500).prop_map(Event::Flip),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn never_claims_a_piece_that_it_does_not_have(events in proptest::collection::vec(event(), 0..30)) {
        let bytes = content(SIZE);
        let wanted = wanted(&bytes);
        let dir = crate::content::folder_in_memory();
        let data = dir.path().join(".out é.bin.askaround-part");
        let journal = dir.path().join(".out é.bin.askaround-journal");
        let start = || Part::create(place(dir.path()), wanted.clone(), PartOptions::default()).unwrap();
        let resume = |run: Option<BootId>| {
            let boot = |file: &File| run.or_else(|| Some(BootId::of(file)));
            Part::resume_in(place(dir.path()), &key(&wanted), PartOptions::default(), boot).unwrap()
        };
        let again = |run| match resume(run) {
            Found::Part(part) => *part,
            Found::Useless(_) => start(),
            Found::Nothing => unreachable!("there is a part"),
        };
        let mut part = start();
        let mut synced = PieceSet::empty(5);
        let mut boot = None;
        let mut runs = 0;
        for event in events {
            match event {
                Event::Piece(piece, record) => {
                    let piece = write(&part, &bytes, piece).unwrap();
                    if record {
                        part.record(&[piece]).unwrap();
                    }
                }
                Event::Sync => {
                    part.sync().unwrap();
                    synced.union(&part.pieces());
                }
                Event::Killed(lost) => {
                    drop(part);
                    let file = std::fs::OpenOptions::new().write(true).open(&journal).unwrap();
                    file.set_len(file.metadata().unwrap().len().saturating_sub(lost as u64)).unwrap();
                    part = again(boot);
                }
                Event::PowerLoss => {
                    drop(part);
                    let file = std::fs::OpenOptions::new().write(true).open(&data).unwrap();
                    for piece in wanted.manifest.geometry().pieces().filter(|p| !synced.contains(p.get())) {
                        let range = wanted.manifest.geometry().range(piece);
                        file.write_all_at(&vec![0; (range.end - range.start) as usize], range.start).unwrap();
                    }
                    runs += 1;
                    boot = Some(BootId::from_number(runs));
                    part = again(boot);
                    part.check_doubtful(&AtomicBool::new(false)).unwrap();
                }
                Event::Flip(back) => {
                    drop(part);
                    let mut noted = std::fs::read(&journal).unwrap();
                    let at = noted.len().saturating_sub(1 + back);
                    noted[at] ^= 0x10;
                    std::fs::write(&journal, noted).unwrap();
                    part = again(boot);
                }
            }
            if part.pieces().is_empty() {
                // It may have been started anew, with an empty file.
                synced = PieceSet::empty(5);
            }
            for piece in part.pieces().iter() {
                let (piece, right) = bytes_of(&part, &bytes, piece);
                let mut there = vec![0; right.len()];
                part.read_at(wanted.manifest.geometry().range(piece).start, &mut there).unwrap();
                prop_assert!(there == right, "piece {} is claimed and not there", piece.get());
            }
        }
    }
}

#[test]
fn what_the_disk_failed_to_take_is_looked_at_and_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = content(SIZE);
    let wanted = wanted(&bytes);
    let part = Part::create(place(dir.path()), wanted.clone(), PartOptions::default()).unwrap();
    let came = |part: &Part, piece| part.record(&[write(part, &bytes, piece).unwrap()]);
    came(&part, 0).unwrap();
    part.sync().unwrap();
    came(&part, 1).unwrap();
    came(&part, 2).unwrap();
    disk::failing(|| part.sync().unwrap_err());
    came(&part, 3).unwrap_err();
    write(&part, &bytes, 4).unwrap();
    assert!(matches!(part.finish(), Err(PartError::NotOnDisk(_))), "it is not whole on the disk");
    drop(part);

    let file =
        std::fs::File::options().write(true).open(dir.path().join(".out é.bin.askaround-part")).unwrap();
    let range = wanted.manifest.geometry().range(wanted.manifest.geometry().piece(2).unwrap());
    file.write_all_at(&[0; 4096], range.start).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let part = resumed(place(dir.path()), &wanted, PartOptions::default());
    assert_eq!(part.pieces().iter().collect::<Vec<_>>(), [0]);
    assert_eq!(part.check_doubtful(&AtomicBool::new(false)).unwrap(), (2, 1));
    assert_ne!(file.metadata().unwrap().modified().unwrap(), std::time::SystemTime::UNIX_EPOCH);
    for piece in 2..5 {
        came(&part, piece).unwrap();
    }
    part.sync().unwrap();
    part.finish().unwrap();
    assert_eq!(std::fs::read(dir.path().join("out é.bin")).unwrap(), bytes);
}

#[test]
fn one_in_place_that_is_killed_when_it_has_just_begun_is_in_nobodys_way() {
    let (bytes, in_place) = (content(SIZE), PartOptions { in_place: true, ..PartOptions::default() });
    let wanted = wanted(&bytes);
    let finish = |dir: &Path, in_place| {
        let part = Part::resume_or_create(place(dir), wanted.clone(), in_place).unwrap();
        (0..5).for_each(|piece| _ = write(&part, &bytes, piece).unwrap());
        part.finish().unwrap();
        assert_eq!(files(dir), ["out é.bin"]);
        assert_eq!(std::fs::read(dir.join("out é.bin")).unwrap(), bytes);
    };
    for options in [in_place, PartOptions::default()] {
        for left in [None, Some(SIZE + 70_000)] {
            let dir = tempfile::tempdir().unwrap();
            if let Some(size) = left {
                let other = super::wanted(&content(size));
                drop(Part::create(place(dir.path()), other, in_place).unwrap());
            }
            IS_KILLED.set(true);
            let killed =
                std::panic::catch_unwind(|| Part::create(place(dir.path()), wanted.clone(), in_place));
            killed.unwrap_err();
            assert!(!dir.path().join("out é.bin").exists(), "no journal says what it is");
            finish(dir.path(), options);
        }
    }
}

#[test]
fn one_in_place_that_is_killed_before_it_has_its_name_is_gone_on_with_or_given_up() {
    let (bytes, in_place) = (content(SIZE), PartOptions { in_place: true, ..PartOptions::default() });
    let wanted = wanted(&bytes);
    let dir = tempfile::tempdir().unwrap();
    let killed = || {
        let part = Part::create(place(dir.path()), wanted.clone(), in_place).unwrap();
        part.record(&[write(&part, &bytes, 3).unwrap()]).unwrap();
        drop(part);
        place(dir.path()).rename(&place(dir.path()).beside(prepare::PART)).unwrap();
    };
    killed();
    let part = resumed(place(dir.path()), &wanted, in_place);
    assert_eq!(part.pieces().iter().collect::<Vec<_>>(), [3], "after a power loss there may be some");
    part.discard().unwrap();
    killed();
    assert!(Part::give_up(&place(dir.path()), &key(&wanted), true).unwrap());
    assert!(files(dir.path()).is_empty());
}

#[test]
fn one_in_place_whose_journal_cannot_be_begun_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options = PartOptions { in_place: true, ..PartOptions::default() };
    std::fs::create_dir(dir.path().join(".out é.bin.askaround-journal")).unwrap();
    Part::create(place(dir.path()), wanted(&content(SIZE)), options).unwrap_err();
    assert_eq!(files(dir.path()), [".out é.bin.askaround-journal"]);
}
