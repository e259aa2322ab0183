//! Parts: fetched, killed, gone on with, and never more than what is there.

mod crashes;
mod in_the_way;

use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use askaround_core::pieces::{Geometry, Manifest, piece_hash};

use super::*;
use crate::content::Addition;
use crate::content::disk::Fault;
use crate::content::hash::{InOrderHash, hash_file};

const SIZE: usize = 300_000;

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i * 31 % 251) as u8).collect()
}

fn wanted(bytes: &[u8]) -> Wanted {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(bytes, 0).unwrap();
    let hashed = hash_file(&file, &|_| (), &AtomicBool::new(false)).unwrap();
    Wanted { manifest: Arc::new(hashed.manifest), md5: Some(hashed.md5) }
}

thread_local! {
    static IS_KILLED: Cell<bool> = const { Cell::new(false) };
}

/// Called where it matters what is there already.
pub(super) fn may_be_killed() {
    assert!(!IS_KILLED.take(), "killed");
}

fn key(wanted: &Wanted) -> Key {
    wanted.manifest.root().key()
}

fn place(dir: &Path) -> Place {
    Place::new(&dir.join("out é.bin")).unwrap()
}

fn files(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

fn bytes_of<'a>(part: &Part, bytes: &'a [u8], piece: u32) -> (PieceIndex, &'a [u8]) {
    let geometry = part.wanted().manifest.geometry();
    let piece = geometry.piece(piece).unwrap();
    let range = geometry.range(piece);
    (piece, &bytes[range.start as usize..range.end as usize])
}

fn write(part: &Part, bytes: &[u8], piece: u32) -> Result<PieceIndex, PartError> {
    let (piece, bytes) = bytes_of(part, bytes, piece);
    part.write_piece(piece, bytes).map(|()| piece)
}

fn resumed(place: Place, wanted: &Wanted, options: PartOptions) -> Part {
    match Part::resume(place, &key(wanted), options).unwrap() {
        Found::Part(part) => *part,
        other => panic!("{other:?}"),
    }
}

fn useless(place: Place, wanted: &Wanted) -> &'static str {
    match Part::resume(place, &key(wanted), PartOptions::default()).unwrap() {
        Found::Useless(why) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn appears_under_its_name_when_it_is_whole() {
    for size in [0, 1, 65_536, SIZE] {
        for in_place in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let (bytes, options) = (content(size), PartOptions { in_place, ..PartOptions::default() });
            let wanted = wanted(&bytes);
            let part = Part::create(place(dir.path()), wanted.clone(), options).unwrap();
            let served = part.content();
            let mut md5 = InOrderHash::default();
            let count = wanted.manifest.geometry().count();
            for piece in (0..count).rev() {
                assert!(
                    matches!(part.finish(), Err(PartError::Incomplete { missing }) if missing == piece + 1)
                );
                assert_eq!(dir.path().join("out é.bin").exists(), in_place);
                assert_eq!(md5.follow(&served, 9).unwrap(), 0, "the first comes last");
                let piece = write(&part, &bytes, piece).unwrap();
                part.record(&[piece]).unwrap();
                assert!(served.has(piece) && served.unchanged());
            }
            part.finish().unwrap();
            assert_eq!(files(dir.path()), ["out é.bin"]);
            assert_eq!(std::fs::read(dir.path().join("out é.bin")).unwrap(), bytes);
            assert_eq!(Some(md5.finish(&served).unwrap()), wanted.md5);
            assert!(served.is_whole());
        }
    }
}

#[test]
fn a_wrong_piece_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = content(SIZE);
    let part = Part::create(place(dir.path()), wanted(&bytes), PartOptions::default()).unwrap();
    let (piece, right) = bytes_of(&part, &bytes, 2);
    let mut wrong = right.to_vec();
    wrong[9] ^= 1;
    assert!(matches!(part.write_piece(piece, &wrong), Err(PartError::BadPiece(p)) if p == piece));
    assert!(matches!(part.write_piece(piece, &right[1..]), Err(PartError::BadPiece(_))));
    part.record(&[piece]).unwrap();
    assert!(part.pieces().is_empty());
    let key = key(part.wanted());
    drop(part);
    let found = Part::resume(place(dir.path()), &key, PartOptions::default()).unwrap();
    assert!(
        matches!(found, Found::Part(part) if part.pieces().is_empty()),
        "a piece not written is not recorded"
    );
}

#[test]
fn a_change_to_what_has_its_name_is_noticed_by_who_serves_and_who_notes_it() {
    for in_place in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (bytes, options) = (content(SIZE), PartOptions { in_place, ..PartOptions::default() });
        let part = Part::create(place(dir.path()), wanted(&bytes), options).unwrap();
        let served = part.content();
        for piece in part.wanted().manifest.geometry().pieces() {
            write(&part, &bytes, piece.get()).unwrap();
        }
        part.finish().unwrap();
        assert!(served.unchanged() && part.content().unchanged());
        let path = dir.path().join("out é.bin");
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(b"!", 9).unwrap();
        // A clock that goes in large steps may not have gone on.
        let modified = file.metadata().unwrap().modified().unwrap();
        file.set_modified(modified + std::time::Duration::from_secs(1)).unwrap();
        assert!(!served.unchanged() && !part.content().unchanged());
        let noted = Addition::fetched(&part, None).unwrap();
        assert_ne!(noted.stamp, Stamp::of(&file).unwrap());
    }
}

#[test]
fn what_has_its_name_is_not_written_to_by_a_piece_that_comes_twice() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = content(SIZE);
    let part = Part::create(place(dir.path()), wanted(&bytes), PartOptions::default()).unwrap();
    for piece in part.wanted().manifest.geometry().pieces() {
        write(&part, &bytes, piece.get()).unwrap();
    }
    part.finish().unwrap();
    let path = dir.path().join("out é.bin");
    std::fs::write(&path, "its user's").unwrap();
    write(&part, &bytes, 0).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"its user's");
}

#[test]
fn goes_on_where_it_stopped() {
    for in_place in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (bytes, options) = (content(SIZE), PartOptions { in_place, ..PartOptions::default() });
        let wanted = wanted(&bytes);
        let part = Part::create(place(dir.path()), wanted.clone(), options).unwrap();
        for piece in [4, 1] {
            part.record(&[write(&part, &bytes, piece).unwrap()]).unwrap();
        }
        let served = part.content();
        drop(part);
        assert!(served.pieces().is_empty(), "nobody is served from a part that others may write");
        let part = resumed(place(dir.path()), &wanted, options);
        assert_eq!(part.pieces().iter().collect::<Vec<_>>(), [1, 4]);
        assert_eq!(part.wanted(), &wanted);
        let md5_key = wanted.md5.unwrap().key();
        drop(part);
        let found = Part::resume(place(dir.path()), &md5_key, options).unwrap();
        assert!(matches!(found, Found::Part(_)), "it is found by its md5 too");
        drop(found);
        let part = resumed(place(dir.path()), &wanted, options);
        for piece in [0, 2, 3] {
            write(&part, &bytes, piece).unwrap();
        }
        part.finish().unwrap();
        assert_eq!(std::fs::read(dir.path().join("out é.bin")).unwrap(), bytes);
        assert_eq!(files(dir.path()).len(), 1);
    }
}

#[test]
fn a_file_changed_by_another_program_is_looked_at_again() {
    let dir = tempfile::tempdir().unwrap();
    let (bytes, options) = (content(SIZE), PartOptions { in_place: true, ..PartOptions::default() });
    let wanted = wanted(&bytes);
    let part = Part::create(place(dir.path()), wanted.clone(), options).unwrap();
    let all: Vec<_> = (0..5).map(|piece| write(&part, &bytes, piece).unwrap()).collect();
    part.record(&all).unwrap();
    drop(part);
    let file = std::fs::OpenOptions::new().write(true).open(dir.path().join("out é.bin")).unwrap();
    file.write_all_at(b"!", 70_000).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    file.set_modified(modified + std::time::Duration::from_secs(9)).unwrap();
    let part = resumed(place(dir.path()), &wanted, options);
    assert!(part.pieces().is_empty());
    assert_eq!(part.check_doubtful(&AtomicBool::new(false)).unwrap(), (5, 4));
    assert_eq!(part.pieces().missing().collect::<Vec<_>>(), [1]);
}

#[test]
fn repairs_the_pieces_that_are_bad() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = content(SIZE);
    let mut good = PieceSet::full(5);
    good.remove(2);
    let mut spoilt = bytes.clone();
    spoilt[140_000] ^= 1;
    let path = dir.path().join("out é.bin");
    std::fs::write(&path, spoilt).unwrap();
    let stamp = Some(Stamp::from(&std::fs::metadata(&path).unwrap()));
    // An earlier fetch in place may have left this.
    std::fs::write(dir.path().join(".out é.bin.askaround-journal"), "garbage").unwrap();
    let found = ToRepair { good, stamp, left: oneshot::channel().0 };
    let part = Part::repair(place(dir.path()), wanted(&bytes), found, false).unwrap();
    assert_eq!(files(dir.path()), ["out é.bin"], "nothing says that a stopped fetch has left the file");
    assert_eq!(part.pieces().missing().collect::<Vec<_>>(), [2]);
    write(&part, &bytes, 2).unwrap();
    part.finish().unwrap();
    assert_eq!(std::fs::read(dir.path().join("out é.bin")).unwrap(), bytes);
    assert_eq!(files(dir.path()), ["out é.bin"]);
}

#[test]
fn one_piece_in_place_is_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let (bytes, options) = (content(1000), PartOptions { in_place: true, ..PartOptions::default() });
    let wanted = wanted(&bytes);
    drop(Part::create(place(dir.path()), wanted.clone(), options).unwrap());
    let part = resumed(place(dir.path()), &wanted, options);
    assert!(part.pieces().is_empty());
    write(&part, &bytes, 0).unwrap();
    part.finish().unwrap();
    assert_eq!(std::fs::read(dir.path().join("out é.bin")).unwrap(), bytes);
    assert_eq!(files(dir.path()), ["out é.bin"]);
}

#[test]
fn zeros_stay_holes_in_a_sparse_file() {
    use std::os::unix::fs::MetadataExt as _;
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = vec![0; 4 << 20];
    bytes[1 << 20] = 1;
    let options = PartOptions { sparse: true, executable: true, ..PartOptions::default() };
    let wanted = wanted(&bytes);
    let part = Part::create(place(dir.path()), wanted.clone(), options).unwrap();
    for piece in 0..32 {
        part.record(&[write(&part, &bytes, piece).unwrap()]).unwrap();
    }
    drop(part);
    // Another program was here meanwhile.
    let written_to = std::fs::File::options().write(true).open(dir.path().join(".out é.bin.askaround-part"));
    written_to.unwrap().write_all_at(b"theirs", 3 << 20).unwrap();
    let part = resumed(place(dir.path()), &wanted, options);
    for piece in 32..64 {
        write(&part, &bytes, piece).unwrap();
    }
    part.finish().unwrap();
    let data = std::fs::metadata(dir.path().join("out é.bin")).unwrap();
    assert_eq!(std::fs::read(dir.path().join("out é.bin")).unwrap(), bytes);
    assert!(data.blocks() * 512 < 1 << 20, "{} blocks", data.blocks());
    assert_eq!(data.mode() & 0o100, 0o100);
}

#[test]
fn zeros_of_one_piece_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = vec![0; 64 << 10];
    let options = PartOptions { sparse: true, ..PartOptions::default() };
    let part = Part::create(place(dir.path()), wanted(&bytes), options).unwrap();
    write(&part, &bytes, 0).unwrap();
    part.finish().unwrap();
    assert_eq!(std::fs::read(dir.path().join("out é.bin")).unwrap(), bytes);
}

#[test]
fn what_another_program_has_cut_gets_no_name() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = content(200_000);
    let part = Part::create(place(dir.path()), wanted(&bytes), PartOptions::default()).unwrap();
    for piece in 0..4 {
        write(&part, &bytes, piece).unwrap();
    }
    let data = dir.path().join(".out é.bin.askaround-part");
    std::fs::File::options().write(true).open(data).unwrap().set_len(100_000).unwrap();
    let error = part.finish().unwrap_err();
    assert!(error.to_string().contains("another program"), "{error}");
    assert!(!dir.path().join("out é.bin").exists());
}

#[test]
fn a_hundred_gigabytes_are_begun_at_once_when_they_are_holes() {
    let dir = tempfile::tempdir().unwrap();
    let zeros = vec![0; 4 << 20];
    let geometry = Geometry::new(100 << 30).unwrap();
    let first = geometry.piece(0).unwrap();
    let mut hashes = vec![[1; 32]; geometry.count() as usize];
    hashes[0] = piece_hash(&geometry, first, &zeros);
    let manifest = Arc::new(Manifest::of(100 << 30, hashes).unwrap());
    let wanted = Wanted { manifest, md5: None };
    let options = PartOptions { sparse: true, ..PartOptions::default() };
    let part = Part::create(place(dir.path()), wanted.clone(), options).unwrap();
    part.write_piece(first, &zeros).unwrap();
    part.record(&[first]).unwrap();
    drop(part);
    let part = resumed(place(dir.path()), &wanted, options);
    assert_eq!(part.pieces().iter().collect::<Vec<_>>(), [0]);
}

#[test]
fn a_disk_without_room_is_said_before_anything_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let size = 4 << 40;
    let count = Geometry::new(size).unwrap().count();
    let manifest = Arc::new(Manifest::of(size, vec![[0; 32]; count as usize]).unwrap());
    let made = Part::create(place(dir.path()), Wanted { manifest, md5: None }, PartOptions::default());
    let Err(PartError::Disk(error)) = made else { panic!("4 TiB on this disk?") };
    assert!(matches!(error.fault, Fault::Full { .. } | Fault::TooLarge), "{error}");
    assert_eq!(files(dir.path()).len(), 0);
}
