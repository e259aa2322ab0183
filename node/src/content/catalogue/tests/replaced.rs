//! What is added again after it was changed.

use super::remove::Removed;
use super::*;

/// What is forgotten because this was added.
fn forget(catalogue: &Catalogue, added: &[(&Path, Root)]) -> Removed {
    let at: AddedAt = added.iter().map(|(path, root)| (path.to_path_buf(), *root)).collect();
    catalogue.forget_replaced(&at).unwrap()
}

/// The same of a folder and all that is in it.
fn forget_folder(catalogue: &Catalogue, folder: &AddedFolder) -> Removed {
    let files = folder.collection.files();
    let paths: Vec<_> = files.iter().map(|file| folder.entry.path.join(file.path.as_str())).collect();
    let mut added: Vec<_> = paths.iter().zip(files).map(|(path, file)| (path.as_path(), file.root)).collect();
    added.push((&folder.entry.path, folder.entry.root));
    forget(catalogue, &added)
}

#[test]
fn a_file_that_is_added_after_a_change_is_not_what_it_was_any_more() {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    let a = fixture.file("a", &content(9));
    let first = add(&catalogue, &a, How::Reference);
    assert!(forget(&catalogue, &[(&a, first.root)]).places.is_empty());
    fixture.file("a", &content(10));
    let second = add(&catalogue, &a, How::Reference);
    let removed = forget(&catalogue, &[(&a, second.root)]);
    assert_eq!((removed.places.len(), removed.gone), (1, [first.root].into()));
    assert_eq!(catalogue.list().unwrap(), std::slice::from_ref(&second));

    add(&catalogue, &a, How::Copy);
    fixture.file("a", &content(11));
    let third = add(&catalogue, &a, How::Reference);
    let removed = forget(&catalogue, &[(&a, third.root)]);
    assert_eq!(removed.places.len(), 1);
    assert!(removed.gone.is_empty(), "there is a copy: {removed:?}");
    assert_eq!(served(&catalogue, &second.root), content(10));
}

#[test]
fn what_is_being_repaired_is_kept() {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    let a = fixture.file("a", &content(9));
    let first = add(&catalogue, &a, How::Reference);
    fixture.file("a", &content(10));
    let repairing = catalogue.repairing(&first);
    let second = add(&catalogue, &a, How::Reference);
    assert!(forget(&catalogue, &[(&a, second.root)]).places.is_empty());
    drop(repairing);
    assert_eq!(forget(&catalogue, &[(&a, second.root)]).gone, [first.root].into());
}

#[test]
fn a_folder_that_is_added_each_day_is_kept_as_it_is_today() {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    for (name, size) in [("d/x", 9), ("d/sub/y", 10), ("d/z", 11)] {
        fixture.file(name, &content(size));
    }
    let folder = fixture.user.path().join("d");
    let sub = add_folder(&catalogue, &folder.join("sub"));
    let first = add_folder(&catalogue, &folder);
    let own = add(&catalogue, &folder.join("x"), How::Reference);
    fixture.file("d/x", &content(12));
    std::fs::remove_file(folder.join("z")).unwrap();
    let second = add_folder(&catalogue, &folder);
    let removed = forget_folder(&catalogue, &second);
    let z = first.collection.files().iter().find(|file| file.path.as_str() == "z").unwrap().root;
    assert_eq!(removed.gone, [first.entry.root, own.root, z].into());
    let places = catalogue.list().unwrap();
    let mut roots: Vec<_> = places.iter().map(|place| place.root).collect();
    roots.sort_unstable();
    let mut expected: Vec<_> = second.collection.files().iter().map(|file| file.root).collect();
    expected.extend([second.entry.root, sub.entry.root]);
    expected.sort_unstable();
    assert_eq!(roots, expected);
    assert!(places.iter().all(|place| catalogue.condition(place) == Condition::Good), "{places:?}");
}

#[test]
fn a_folder_of_which_all_can_still_be_served_is_kept() {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    let folder = fixture.file("d/x", &content(9)).parent().unwrap().to_owned();
    let first = add_folder(&catalogue, &folder);
    fixture.file("d/new", &content(10));
    let second = add_folder(&catalogue, &folder);
    assert!(forget_folder(&catalogue, &second).places.is_empty(), "only something new was added");

    add(&catalogue, &fixture.file("elsewhere", &content(9)), How::Reference);
    fixture.file("d/x", &content(11));
    let third = add_folder(&catalogue, &folder);
    let removed = forget_folder(&catalogue, &third);
    assert!(removed.gone.is_empty(), "what was changed is elsewhere too: {removed:?}");
    for list in [&first, &second, &third] {
        assert!(catalogue.get(&list.entry.root.key()).unwrap().is_some());
    }
}
