//! Parts whose destination has something already: what an earlier fetch has left, or a file of its
//! user's.

use super::*;

#[test]
fn what_is_in_the_way_is_said_first() {
    let dir = tempfile::tempdir().unwrap();
    let wanted = wanted(&content(SIZE));
    let fault = |in_place| {
        let options = PartOptions { in_place, ..PartOptions::default() };
        match Part::create(place(dir.path()), wanted.clone(), options) {
            Err(PartError::Disk(error)) => error.fault,
            other => panic!("{other:?}"),
        }
    };
    std::fs::create_dir(dir.path().join("out é.bin")).unwrap();
    assert!(matches!(fault(false), Fault::IsFolder));
    std::fs::remove_dir(dir.path().join("out é.bin")).unwrap();
    std::fs::write(dir.path().join("out é.bin"), "mine").unwrap();
    assert!(matches!(fault(false), Fault::Exists));
    assert!(matches!(fault(true), Fault::Exists));
    assert_eq!(files(dir.path()), ["out é.bin"]);
    assert_eq!(std::fs::read(dir.path().join("out é.bin")).unwrap(), b"mine");
    let missing = Place::new(&dir.path().join("no/out")).unwrap_err();
    assert!(matches!(missing.fault, Fault::Missing));
}

#[test]
fn what_takes_the_name_meanwhile_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = content(9);
    let part = Part::create(place(dir.path()), wanted(&bytes), PartOptions::default()).unwrap();
    write(&part, &bytes, 0).unwrap();
    std::fs::write(dir.path().join("out é.bin"), "mine").unwrap();
    let error = part.finish().unwrap_err();
    assert!(matches!(error, PartError::Disk(DiskError { fault: Fault::Exists, .. })), "{error}");
    assert_eq!(std::fs::read(dir.path().join("out é.bin")).unwrap(), b"mine");
    std::fs::remove_file(dir.path().join("out é.bin")).unwrap();
    part.finish().unwrap();
    assert_eq!(std::fs::read(dir.path().join("out é.bin")).unwrap(), bytes);
}

#[test]
fn two_fetches_of_one_destination_do_not_mix() {
    for size in [9, SIZE] {
        let dir = tempfile::tempdir().unwrap();
        let wanted = wanted(&content(size));
        let first = Part::create(place(dir.path()), wanted.clone(), PartOptions::default()).unwrap();
        let second = Part::create(place(dir.path()), wanted.clone(), PartOptions::default());
        assert!(matches!(second, Err(PartError::Busy(_))), "{second:?}");
        assert_eq!(files(dir.path()).len(), if size == 9 { 1 } else { 2 }, "the first is unharmed");
        drop(first);
        Part::create(place(dir.path()), wanted, PartOptions::default()).unwrap().discard().unwrap();
        assert_eq!(files(dir.path()).len(), 0);
    }
}

/// One of a single piece has nothing that could be gone on with.
#[test]
fn what_nobody_goes_on_with_is_not_left_behind() {
    for (size, left) in [(0, 0), (9, 0), (SIZE, 2)] {
        let dir = tempfile::tempdir().unwrap();
        let wanted = wanted(&content(size));
        let part = Part::create(place(dir.path()), wanted.clone(), PartOptions::default()).unwrap();
        drop(part);
        assert_eq!(files(dir.path()).len(), left, "of {size} bytes");
        let given_up =
            Part::resume_or_create(place(dir.path()), wanted.clone(), PartOptions::default()).unwrap();
        given_up.discard().unwrap();
        let next = Part::create(place(dir.path()), wanted, PartOptions::default()).unwrap();
        let there = files(dir.path());
        drop(given_up);
        assert_eq!(files(dir.path()), there, "that is of the next");
        drop(next);
    }
}

#[test]
fn what_is_given_up_is_in_nobodys_way_although_a_piece_of_it_is_still_written() {
    for in_place in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let options = PartOptions { in_place, ..PartOptions::default() };
        let (bytes, other) = (content(SIZE), content(SIZE + 70_000));
        let first = Part::create(place(dir.path()), wanted(&bytes), options).unwrap();
        first.discard().unwrap();
        assert_eq!(files(dir.path()).len(), 0);
        let second = Part::create(place(dir.path()), wanted(&other), options).unwrap();
        first.record(&[write(&first, &bytes, 0).unwrap()]).unwrap();
        drop(first);
        assert!(second.pieces().is_empty());
        for piece in 0..second.pieces().count() {
            second.record(&[write(&second, &other, piece).unwrap()]).unwrap();
        }
        second.finish().unwrap();
        assert_eq!(files(dir.path()), ["out é.bin"]);
        assert!(std::fs::read(dir.path().join("out é.bin")).unwrap() == other);
    }
}

#[test]
fn what_cannot_be_gone_on_with_is_started_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (bytes, other) = (content(SIZE), content(SIZE + 70_000));
    let (this, that) = (wanted(&bytes), wanted(&other));
    let begin = || {
        let part = Part::create(place(dir.path()), this.clone(), PartOptions::default()).unwrap();
        part.record(&[write(&part, &bytes, 0).unwrap()]).unwrap();
    };
    let (data, journal) =
        (dir.path().join(".out é.bin.askaround-part"), dir.path().join(".out é.bin.askaround-journal"));
    begin();
    assert_eq!(useless(place(dir.path()), &that), "it was of other content");
    std::fs::OpenOptions::new().write(true).open(&data).unwrap().set_len(9).unwrap();
    assert_eq!(useless(place(dir.path()), &this), "its data has another length");
    begin();
    std::fs::write(&journal, "garbage").unwrap();
    assert_eq!(useless(place(dir.path()), &this), "its journal is damaged");
    begin();
    std::fs::remove_file(&data).unwrap();
    assert_eq!(useless(place(dir.path()), &this), "its data is gone");
    let part = Part::create(place(dir.path()), that.clone(), PartOptions::default()).unwrap();
    assert!(part.pieces().is_empty());
    for piece in 0..that.manifest.geometry().count() {
        write(&part, &other, piece).unwrap();
    }
    part.finish().unwrap();
    assert_eq!(std::fs::read(dir.path().join("out é.bin")).unwrap(), other);
}

#[test]
fn another_content_in_place_does_not_overwrite_a_file_that_is_not_ours() {
    let dir = tempfile::tempdir().unwrap();
    let in_place = PartOptions { in_place: true, ..PartOptions::default() };
    let wanted = wanted(&content(SIZE));
    drop(Part::create(place(dir.path()), wanted.clone(), in_place).unwrap());
    drop(Part::create(place(dir.path()), wanted.clone(), in_place).expect("an earlier fetch left it"));
    std::fs::write(dir.path().join(".out é.bin.askaround-journal"), "garbage").unwrap();
    let error = Part::create(place(dir.path()), wanted, in_place).unwrap_err();
    assert!(matches!(error, PartError::Disk(DiskError { fault: Fault::Exists, .. })), "{error}");
}

#[test]
fn a_file_that_has_replaced_what_was_fetched_in_place_is_not_touched() {
    let in_place = PartOptions { in_place: true, ..PartOptions::default() };
    let [this, that] = [SIZE, SIZE + 70_000].map(|size| wanted(&content(size)));
    // The new file may get the number of the old one, if that is gone before.
    for (length, same_number) in [(SIZE, false), (3, false), (3, true), (SIZE + 1, true)] {
        let dir = tempfile::tempdir().unwrap();
        let (path, mine) = (dir.path().join("out é.bin"), content(length + 9)[9..].to_vec());
        drop(Part::create(place(dir.path()), this.clone(), in_place).unwrap());
        if same_number {
            std::fs::write(&path, &mine).unwrap();
        } else {
            std::fs::write(dir.path().join("new"), &mine).unwrap();
            std::fs::rename(dir.path().join("new"), &path).unwrap();
        }
        for wanted in [&this, &that] {
            let found = Part::resume(place(dir.path()), &key(wanted), in_place).unwrap();
            assert!(matches!(found, Found::Nothing), "{found:?}");
            let error = Part::create(place(dir.path()), wanted.clone(), in_place).unwrap_err();
            assert!(matches!(error, PartError::Disk(DiskError { fault: Fault::Exists, .. })), "{error}");
        }
        assert!(!Part::give_up(&place(dir.path()), &key(&that), true).unwrap());
        assert_eq!(files(dir.path()).len(), 2, "the journal is of other content");
        assert!(!Part::give_up(&place(dir.path()), &key(&this), true).unwrap());
        assert_eq!(files(dir.path()), ["out é.bin"]);
        assert!(std::fs::read(&path).unwrap() == mine);
    }
}

#[test]
fn what_a_stopped_fetch_has_left_is_given_up() {
    for (size, in_place) in [(SIZE, false), (SIZE, true), (9, false), (9, true)] {
        let dir = tempfile::tempdir().unwrap();
        let options = PartOptions { in_place, ..PartOptions::default() };
        let (this, that) = (wanted(&content(size)), wanted(&content(SIZE + 1)));
        let part = Part::create(place(dir.path()), this.clone(), options).unwrap();
        let busy = Part::give_up(&place(dir.path()), &key(&this), in_place);
        assert!(matches!(busy, Err(PartError::Busy(_))), "{busy:?}");
        drop(part);
        if (size, in_place) == (9, false) {
            // Only one that was killed leaves it.
            std::fs::write(place(dir.path()).beside(prepare::PART).path(), "").unwrap();
        }
        assert!(!Part::give_up(&place(dir.path()), &key(&this), !in_place).unwrap());
        if (size, in_place) != (9, false) {
            assert!(!Part::give_up(&place(dir.path()), &key(&that), in_place).unwrap());
        }
        assert!(!files(dir.path()).is_empty());
        assert!(Part::give_up(&place(dir.path()), &key(&this), in_place).unwrap());
        assert!(files(dir.path()).is_empty());
    }
}
