//! A peer's folder that was moved or copied, with copies in it.

use super::*;

/// A file, and a folder with two files of which one is the same, as copies of a peer; their originals are
/// gone.
fn with_copies() -> (Fixture, Vec<Entry>) {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    add(&catalogue, &fixture.file("files/a", &content(70_000)), How::Copy);
    for (name, size) in [("d/files/b", 9), ("d/same", 70_000)] {
        fixture.file(name, &content(size));
    }
    catalogue.add_folder(&fixture.user.path().join("d"), How::Copy, &|_, _| (), &GO).unwrap();
    catalogue.note_copies_found().unwrap();
    std::fs::remove_dir_all(fixture.user.path().join("d")).unwrap();
    let list = catalogue.list().unwrap();
    assert_eq!(list.len(), 4);
    (fixture, list)
}

/// The same places in another folder.
fn there(list: &[Entry], home: &Path) -> Vec<Entry> {
    let files = std::fs::canonicalize(home).unwrap().join("files");
    let below = |path: &Path| {
        let rest = path.components().skip_while(|part| part.as_os_str() != "files").skip(1);
        files.join(rest.collect::<PathBuf>())
    };
    list.iter().map(|entry| Entry { path: below(&entry.path), ..entry.clone() }).collect()
}

#[test]
fn copies_are_known_where_the_folder_of_the_peer_is_now() {
    let (mut fixture, list) = with_copies();
    let new = crate::content::folder_in_memory();
    for name in ["state.redb", "files"] {
        std::fs::rename(fixture.home.path().join(name), new.path().join(name)).unwrap();
    }
    fixture.home = new;
    let catalogue = fixture.catalogue();
    catalogue.follow_copies().unwrap();
    assert_eq!(catalogue.list().unwrap(), there(&list, fixture.home.path()));
    assert_eq!(catalogue.unknown_copies().unwrap(), UnknownCopies::Left(vec![]));
    for entry in &list {
        assert_eq!(served(&catalogue, &entry.root).len() as u64, entry.size);
    }
    let folder = list.iter().find(|entry| entry.kept == Kept::List).unwrap();
    catalogue.remove(&folder.root.key()).unwrap();
    assert_eq!(fixture.copies(), ["a"], "they go with their folder");
}

#[test]
fn copies_that_were_written_anew_are_verified() {
    let (fixture, list) = with_copies();
    let new = crate::content::folder_in_memory();
    std::fs::copy(fixture.home.path().join("state.redb"), new.path().join("state.redb")).unwrap();
    let files = new.path().join("files");
    for name in fixture.copies() {
        let to = files.join(&name);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(fixture.home.path().join("files").join(&name), &to).unwrap();
        std::fs::File::open(to).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    }
    // Of another length, it is another file.
    std::fs::write(files.join("d/files/b"), "other").unwrap();
    let copied = Fixture { home: new, user: tempfile::tempdir().unwrap() };
    let catalogue = copied.catalogue();
    catalogue.follow_copies().unwrap();
    let now = catalogue.list().unwrap();
    let is_here = |entry: &&Entry| entry.path.starts_with(std::fs::canonicalize(&files).unwrap());
    assert_eq!(now.iter().filter(is_here).count(), list.len() - 1);
    for entry in now.iter().filter(is_here).filter(|entry| entry.kept == Kept::Copy) {
        assert_eq!(catalogue.condition(entry), Condition::Unchecked);
        verify(&catalogue, entry);
        assert_eq!(
            catalogue.at(&entry.root, &entry.path).unwrap().map(|e| catalogue.condition(&e)),
            Some(Condition::Good)
        );
    }
    assert_eq!(fixture.copies().len(), 3, "the other folder is another peer's");
}
