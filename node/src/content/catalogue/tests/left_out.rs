//! What is not added: files that have not come whole, and what a folder's list cannot have.

use super::*;

#[test]
fn what_a_fetch_has_not_finished_is_refused_and_left_out_of_its_folder() {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    let bytes = content(300_000);
    let whole = add(&catalogue, &fixture.file("whole", &bytes), How::Reference);
    let wanted = Wanted { manifest: Arc::new(catalogue.manifest(&whole).unwrap()), md5: None };
    let folder = fixture.user.path().join("d");
    fixture.file("d/other", b"o");
    // One name is too long for a journal to be named by it.
    let long = "n".repeat(250);
    let begin = |name: &str, in_place| {
        let options = PartOptions { in_place, ..PartOptions::default() };
        let part = Part::create(Place::new(&folder.join(name)).unwrap(), wanted.clone(), options).unwrap();
        let piece = wanted.manifest.geometry().piece(1).unwrap();
        part.write_piece(piece, &bytes[65_536..131_072]).unwrap();
        part.record(&[piece]).unwrap();
        part
    };
    let parts = [begin("x", true), begin(&long, true), begin("beside", false)];
    symlink("d/x", fixture.user.path().join("link")).unwrap();
    let refused = |path: PathBuf| {
        for how in [How::Reference, How::Copy] {
            let error = catalogue.add(&path, how, &|_| (), &GO).unwrap_err();
            assert!(matches!(error, CatalogueError::Unfinished(_)), "{path:?}: {error}");
        }
    };
    let look = || {
        for name in ["x", &long, ".beside.askaround-part", ".beside.askaround-journal"] {
            refused(folder.join(name));
        }
        refused(fixture.user.path().join("link"));
        let added = add_folder(&catalogue, &folder);
        let names: Vec<_> = added.collection.files().iter().map(|file| file.path.as_str()).collect();
        assert_eq!(names, ["other"]);
        assert_eq!(added.skipped.len(), 6);
        assert!(added.skipped.iter().all(|skipped| skipped.why == WhySkipped::Unfinished));
    };
    look();
    // Their fetches are stopped.
    drop(parts);
    look();
    // Its user has put something else there.
    std::fs::remove_file(folder.join("x")).unwrap();
    fixture.file("d/x", &content(300_001));
    add(&catalogue, &folder.join("x"), How::Reference);
}

#[test]
fn what_no_list_of_a_folder_can_have_is_left_out_of_it() {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    fixture.file("d/.x.askaround-part/a", b"a");
    let deep = |parts: usize, name: &str| fixture.file(&format!("d/{}{name}", "p/".repeat(parts - 1)), b"b");
    deep(64, "in");
    deep(65, "out");
    let added = add_folder(&catalogue, &fixture.user.path().join("d"));
    let names: Vec<_> = added.collection.files().iter().map(|file| file.path.as_str()).collect();
    assert_eq!(names, [format!("{}in", "p/".repeat(63))]);
    let why: Vec<_> = added.skipped.iter().map(|skipped| skipped.why).collect();
    assert_eq!(why, [WhySkipped::Reserved, WhySkipped::TooDeep]);
}
