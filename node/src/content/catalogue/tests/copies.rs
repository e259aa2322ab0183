//! Copies in the peer's folder.

use super::*;

#[test]
fn a_copy_outlives_the_original_and_goes_with_its_entry() {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    let path = fixture.file("a", &content(70_000));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let entry = add(&catalogue, &path, How::Copy);
    assert!(entry.executable);
    let read_only = fixture.file("read only", &content(9));
    std::fs::set_permissions(&read_only, std::fs::Permissions::from_mode(0o6444)).unwrap();
    let read_only = add(&catalogue, &read_only, How::Copy);
    let mode = std::fs::metadata(&read_only.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o644, "it can be repaired, and gives nobody rights of another");
    catalogue.remove(&read_only.root.key()).unwrap();
    assert_eq!(add(&catalogue, &path, How::Copy).path, entry.path, "one copy of one content");
    assert_eq!(add(&catalogue, &path, How::Reference).path, path);
    assert_eq!(catalogue.get(&entry.root.key()).unwrap().unwrap().path, entry.path, "ours comes first");
    std::fs::write(&path, "another").unwrap();
    let other = add(&catalogue, &path, How::Copy);
    assert_eq!(fixture.copies(), ["a", "a.2"]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(served(&catalogue, &entry.root), content(70_000));
    assert_eq!(served(&catalogue, &other.root), b"another");
    catalogue.remove(&entry.root.key()).unwrap();
    assert_eq!(fixture.copies(), ["a.2"]);
}

#[test]
fn a_sparse_file_is_copied_with_its_holes() {
    use std::os::unix::fs::MetadataExt as _;
    let fixture = Fixture::new();
    let path = fixture.file("a", b"begin");
    let file = File::options().write(true).open(&path).unwrap();
    file.set_len(8 << 20).unwrap();
    file.write_all_at(b"middle", 4 << 20).unwrap();
    let entry = add(&fixture.catalogue(), &path, How::Copy);
    assert!(entry.sparse);
    let data = std::fs::metadata(&entry.path).unwrap();
    assert!(data.blocks() * 512 < 1 << 20, "{} blocks", data.blocks());
    assert_eq!(std::fs::read(&entry.path).unwrap(), std::fs::read(&path).unwrap());
}

#[test]
fn a_copied_folder_comes_and_goes_as_a_whole() {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    for (name, size) in [("d/b", 9), ("d/x/same", 7), ("d/same", 7)] {
        fixture.file(name, &content(size));
    }
    let folder = fixture.user.path().join("d");
    let add = || catalogue.add_folder(&folder, How::Copy, &|_, _| (), &GO).unwrap();
    let (first, second) = (add(), add());
    assert_eq!(first.entry, second.entry);
    assert_eq!(fixture.copies(), ["d/b", "d/same", "d/x/same"]);
    fixture.file("d/new", &content(8));
    let larger = add();
    assert_eq!(fixture.copies().len(), 7);
    catalogue.remove(&larger.entry.root.key()).unwrap();
    assert_eq!(fixture.copies(), ["d/b", "d/same", "d/x/same"]);
    assert_eq!(served(&catalogue, &first.collection.files()[0].root), content(9));
    catalogue.remove(&first.entry.root.key()).unwrap();
    assert!(fixture.copies().is_empty());
    assert_eq!(catalogue.list().unwrap(), []);
}

#[test]
fn the_catalogue_can_be_built_anew_from_the_copies() {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    add(&catalogue, &fixture.file("a", &content(70_000)), How::Copy);
    for (name, size) in [("d/b", 9), ("d/x/same", 7), ("d/same", 7)] {
        fixture.file(name, &content(size));
    }
    catalogue.add_folder(&fixture.user.path().join("d"), How::Copy, &|_, _| (), &GO).unwrap();
    assert_eq!(catalogue.unknown_copies().unwrap(), UnknownCopies::Lost(vec![]));
    let before = catalogue.list().unwrap();
    drop(catalogue);
    std::fs::remove_file(fixture.home.path().join("state.redb")).unwrap();
    let catalogue = fixture.catalogue();
    assert_eq!(catalogue.list().unwrap(), []);
    let UnknownCopies::Lost(lost) = catalogue.unknown_copies().unwrap() else { panic!("it is new") };
    assert_eq!(lost.len(), 2);
    let found = lost.iter().map(|copy| catalogue.find_again(copy, &GO).unwrap());
    let files = found.map(|(_, collection)| collection.map_or(0, |collection| collection.files().len()));
    assert_eq!(files.collect::<Vec<_>>(), [0, 3]);
    assert_eq!(catalogue.list().unwrap(), before);
    assert_eq!(catalogue.unknown_copies().unwrap(), UnknownCopies::Lost(vec![]));
    catalogue.note_copies_found().unwrap();
    // What is left of a purge that was cut short.
    let left = fixture.home.path().join("files/left");
    std::fs::create_dir(&left).unwrap();
    std::fs::write(left.join("file"), "f").unwrap();
    let left = std::fs::canonicalize(left).unwrap();
    assert_eq!(catalogue.unknown_copies().unwrap(), UnknownCopies::Left(vec![left.clone()]));
    drop(catalogue);
    assert_eq!(fixture.catalogue().unknown_copies().unwrap(), UnknownCopies::Left(vec![left]));
}

#[test]
fn copies_have_their_names_once_they_are_whole_and_half_made_ones_go() {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    fixture.file("d/a", &content(9));
    fixture.file("d/x/b", &content(300_000));
    let folder = fixture.user.path().join("d");
    let names = || {
        let there = std::fs::read_dir(fixture.home.path().join("files")).unwrap();
        there.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    let looked = std::cell::Cell::new(false);
    let look = |_, _| {
        assert!(names().iter().all(|name| name.starts_with(".askaround-copy-")), "{:?}", names());
        looked.set(true);
    };
    let added = catalogue.add_folder(&folder, How::Copy, &look, &GO).unwrap();
    assert!(looked.get() && names() == ["d"]);
    catalogue.add_folder(&folder, How::Copy, &|_, _| (), &GO).unwrap();
    assert_eq!(names(), ["d"], "it is copied once");

    let odd = fixture.file(".askaround-copy-mine", &content(8));
    let odd = add(&catalogue, &odd, How::Copy);
    let there = catalogue.list().unwrap();
    let files = fixture.home.path().join("files");
    std::fs::write(files.join(".askaround-copy-1"), "half").unwrap();
    std::fs::create_dir_all(files.join(".askaround-copy-2/y")).unwrap();
    std::fs::write(files.join(".askaround-copy-2/y/z"), "half").unwrap();
    catalogue.remove_half_made_copies().unwrap();
    assert_eq!(names().len(), 2, "{:?}", names());
    assert_eq!(catalogue.list().unwrap(), there);
    let roots = added.collection.files().iter().map(|file| file.root).chain([odd.root]);
    roots.for_each(|root| _ = served(&catalogue, &root));
}

#[test]
fn a_copy_that_cannot_be_removed_keeps_nothing_else_from_being() {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    for name in ["d/a", "d/b", "d/c"] {
        fixture.file(name, name.as_bytes());
    }
    let added = catalogue.add_folder(&fixture.user.path().join("d"), How::Copy, &|_, _| (), &GO).unwrap();
    let stays = added.entry.path.join("a");
    std::fs::remove_file(&stays).unwrap();
    std::fs::create_dir(&stays).unwrap();
    let removed = catalogue.remove(&added.entry.root.key()).unwrap();
    assert_eq!(removed.gone.len(), 4, "nothing of it is here any more");
    let failed = removed.failed.unwrap().to_string();
    assert!(failed.contains(stays.to_str().unwrap()), "{failed}");
    assert!(fixture.copies().is_empty(), "{:?}", fixture.copies());
}

#[test]
fn a_copy_that_its_user_made_something_else_of_is_not_removed() {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    let [a, b] = ["a", "b"].map(|name| fixture.file(name, name.as_bytes()));
    let [first, second] = [&a, &b].map(|path| add(&catalogue, path, How::Copy));
    // One was added as what it is now, the other is known to have changed.
    std::fs::write(&first.path, "mine, added").unwrap();
    let mine = add(&catalogue, &first.path, How::Reference);
    std::fs::write(&second.path, "mine, not added").unwrap();
    let removed = catalogue.remove(&first.root.key()).unwrap();
    assert!(removed.edited.is_empty());
    let removed = catalogue.remove(&second.root.key()).unwrap();
    assert_eq!(removed.edited, std::slice::from_ref(&second.path));
    assert_eq!(served(&catalogue, &mine.root), b"mine, added");
    assert_eq!(std::fs::read(&second.path).unwrap(), b"mine, not added");
    assert_eq!(catalogue.list().unwrap(), [mine]);
}
