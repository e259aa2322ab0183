//! Paths in several spellings, which are one place.

use super::*;

#[test]
fn however_a_path_is_spelt_it_is_one_place() {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    let a = fixture.file("real/a", &content(9));
    fixture.file("real/d/b", &content(10));
    let user = fixture.user.path();
    std::fs::create_dir(user.join("build")).unwrap();
    symlink("real", user.join("link")).unwrap();
    symlink("real/a", user.join("named")).unwrap();
    let root = add(&catalogue, &user.join("build/../real/a"), How::Reference).root;
    let list = add_folder(&catalogue, &user.join("build/../link/d/../d")).entry.root;
    std::fs::remove_dir(user.join("build")).unwrap();
    for spelling in ["real/a", "link/a", "link/d/../a"] {
        add(&catalogue, &user.join(spelling), How::Reference);
    }
    symlink("real/d", user.join("to d")).unwrap();
    for spelling in ["real/d/", "link/d", "to d"] {
        assert_eq!(add_folder(&catalogue, &user.join(spelling)).entry.root, list);
    }
    let all = catalogue.list().unwrap().into_iter().map(|entry| entry.path).collect::<Vec<_>>();
    assert_eq!(all, [a, user.join("real/d"), user.join("real/d/b")]);
    assert_eq!(served(&catalogue, &root), content(9));
    // Its name is its user's.
    add(&catalogue, &user.join("link/../named"), How::Reference);
    let places = catalogue.places(&root.key()).unwrap().into_iter().map(|place| place.path);
    assert_eq!(places.collect::<Vec<_>>(), [user.join("named"), user.join("real/a")]);
}

#[test]
fn a_copy_that_is_a_file_of_a_folder_too_stays_however_that_is_spelt() {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    let copy = add(&catalogue, &fixture.file("a", &content(9)), How::Copy);
    let files = copy.path.parent().unwrap().to_owned();
    let (home, name) = (files.parent().unwrap(), files.file_name().unwrap());
    let list = add_folder(&catalogue, &home.join(name).join("..").join(name)).entry.root;
    // As an older version would have noted it.
    let older = Entry { path: files.join("../files/a"), kept: Kept::Reference, own: false, ..copy };
    let note = |tables: &mut Tables<'_>| {
        tables.put(&older)?;
        tables.join(&older.root, &older.path, &list)
    };
    for is_noted_so in [false, true] {
        if is_noted_so {
            catalogue.change(note).unwrap();
            catalogue.change(|tables| tables.leave(&copy.root, &copy.path, &list)).unwrap();
        }
        let removed = catalogue.remove(&copy.root.key()).unwrap();
        assert!(removed.gone.is_empty());
        assert_eq!(served(&catalogue, &copy.root), content(9), "{is_noted_so}");
    }
}
