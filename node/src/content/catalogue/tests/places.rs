//! Contents that are in several files.

use askaround_core::pieces::PieceSet;
use tokio::sync::oneshot;

use super::remove::Removed;
use super::*;
use crate::content::part::{Found, PartError, ToRepair};

/// The names of the places of a content, of files of the user's.
fn places(fixture: &Fixture, catalogue: &Catalogue, root: &Root) -> Vec<String> {
    let places = catalogue.places(&root.key()).unwrap().into_iter();
    let name = |path: PathBuf| path.strip_prefix(fixture.user.path()).unwrap().to_str().unwrap().to_owned();
    places.map(|place| name(place.path)).collect()
}

fn condition(catalogue: &Catalogue, root: &Root) -> Condition {
    catalogue.condition(&catalogue.get(&root.key()).unwrap().unwrap())
}

/// Turns over a byte so that nobody who looks at the file sees it.
fn spoil(path: &Path) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    file.write_all_at(b"!", 0).unwrap();
    file.set_modified(modified).unwrap();
}

#[test]
fn a_content_is_served_from_any_file_that_has_it() {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    let [a, b, c] = ["a", "b", "c"].map(|name| fixture.file(name, &content(300_000)));
    let root = add(&catalogue, &a, How::Reference).root;
    add(&catalogue, &b, How::Reference);
    add(&catalogue, &c, How::Reference);
    assert_eq!(places(&fixture, &catalogue, &root), ["a", "b", "c"]);
    std::fs::remove_file(&c).unwrap();
    std::fs::write(&a, "another").unwrap();
    assert_eq!(condition(&catalogue, &root), Condition::Good);
    assert_eq!(served(&catalogue, &root), content(300_000));
    std::fs::remove_file(&b).unwrap();
    assert_eq!(condition(&catalogue, &root), Condition::Changed, "the best of them");
    std::fs::remove_file(&a).unwrap();
    assert_eq!(condition(&catalogue, &root), Condition::Missing);
}

#[test]
fn what_was_moved_is_where_it_is() {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    let (a, folder) = (fixture.file("a", &content(9)), fixture.user.path().join("d"));
    fixture.file("d/x", &content(9));
    fixture.file("d/y", &content(10));
    let root = add(&catalogue, &a, How::Reference).root;
    let list = add_folder(&catalogue, &folder).entry.root;
    std::fs::rename(&a, fixture.user.path().join("b")).unwrap();
    std::fs::rename(&folder, fixture.user.path().join("e")).unwrap();
    add(&catalogue, &fixture.user.path().join("b"), How::Reference);
    assert_eq!(places(&fixture, &catalogue, &root), ["b", "d/x"], "the folder is not known to be gone");
    add_folder(&catalogue, &fixture.user.path().join("e"));
    assert_eq!(places(&fixture, &catalogue, &root), ["b", "e/x"]);
    assert_eq!(places(&fixture, &catalogue, &list), ["e"]);
    assert_eq!(catalogue.list().unwrap().len(), 4);
}

#[test]
fn folders_that_share_files_go_without_each_other() {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    for (name, size) in [("d/x", 9), ("d/same", 9), ("d/y", 10), ("e/x", 9), ("e/z", 11)] {
        fixture.file(name, &content(size));
    }
    let folder = |name: &str| add_folder(&catalogue, &fixture.user.path().join(name));
    let (d, e) = (folder("d"), folder("e"));
    let shared = e.collection.files()[0].root;
    assert_eq!(places(&fixture, &catalogue, &shared), ["d/same", "d/x", "e/x"]);
    // The same folder with another file is another collection of mostly the same files.
    fixture.file("d/new", &content(12));
    let more = folder("d");
    let removed = catalogue.remove(&d.entry.root.key()).unwrap();
    assert_eq!((removed.places.len(), removed.gone.len()), (1, 1), "the list alone");
    let own = add(&catalogue, &fixture.user.path().join("d/x"), How::Reference);
    let removed = catalogue.remove(&more.entry.root.key()).unwrap();
    assert_eq!((removed.places.len(), removed.gone.len()), (4, 3));
    assert_eq!(places(&fixture, &catalogue, &shared), ["d/x", "e/x"], "one by itself, one for e");
    assert!(own.own);
    let removed = catalogue.remove(&shared.key()).unwrap();
    assert_eq!((removed.places.len(), removed.gone.len()), (1, 0));
    assert_eq!(places(&fixture, &catalogue, &shared), ["e/x"]);
    assert!(!catalogue.get(&shared.key()).unwrap().unwrap().own);
    catalogue.remove(&e.entry.root.key()).unwrap();
    assert_eq!(catalogue.list().unwrap(), []);
    assert_eq!(catalogue.get(&own.md5.unwrap().key()).unwrap(), None);
}

#[test]
fn a_purge_removes_copies_and_nothing_else() {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    let path = fixture.file("d/a", &content(9));
    fixture.file("d/b", &content(9));
    let root = add(&catalogue, &path, How::Reference).root;
    let copied = catalogue.add_folder(path.parent().unwrap(), How::Copy, &|_, _| (), &GO).unwrap();
    add(&catalogue, &path, How::Copy);
    assert_eq!(fixture.copies(), ["d/a", "d/b"], "there was a copy already");
    catalogue.remove(&root.key()).unwrap();
    assert_eq!(fixture.copies(), ["d/a", "d/b"], "the folder needs them");
    assert_eq!(catalogue.places(&root.key()).unwrap().len(), 2);
    catalogue.remove(&copied.entry.root.key()).unwrap();
    assert!(fixture.copies().is_empty());
    assert!(path.exists());
}

#[test]
fn damage_is_told_from_a_change() {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    let path = fixture.file("a", &content(300_000));
    let entry = add(&catalogue, &path, How::Reference);
    spoil(&path);
    assert!(!verify(&catalogue, &entry).is_good());
    assert_eq!(condition(&catalogue, &entry.root), Condition::Damaged);
    let refused = catalogue.open(&entry.root.key());
    assert!(matches!(refused, Err(CatalogueError::Damaged(_))), "{refused:?}");
    std::fs::write(&path, "edited").unwrap();
    assert_eq!(condition(&catalogue, &entry.root), Condition::Changed);
    assert!(!verify(&catalogue, &entry).is_good());
    assert_eq!(condition(&catalogue, &entry.root), Condition::Changed);
    std::fs::write(&path, content(300_000)).unwrap();
    assert!(verify(&catalogue, &entry).is_good());
    assert_eq!(condition(&catalogue, &entry.root), Condition::Good);
}

#[test]
fn a_file_as_the_disk_had_it_when_the_machine_went_down_is_unchecked() {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    let path = fixture.file("a", &content(300_000));
    let entry = add(&catalogue, &path, How::Reference);
    let file = File::options().write(true).open(&path).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    let second = std::time::Duration::from_secs(1);
    let look = |length: u64, modified: std::time::SystemTime| {
        file.set_len(length).unwrap();
        file.set_modified(modified).unwrap();
        condition(&catalogue, &entry.root)
    };
    assert_eq!(look(100_000, modified - second), Condition::Changed, "the machine is still running");
    reboot(&catalogue, &entry);
    assert_eq!(look(100_000, modified + second), Condition::Changed, "somebody wrote to it since");
    assert_eq!(look(100_000, modified - second), Condition::Unchecked);
    assert!(!verify(&catalogue, &entry).is_good());
    assert_eq!(condition(&catalogue, &entry.root), Condition::Damaged);
}

#[test]
fn what_a_power_loss_took_of_a_fetched_file_is_gone_on_with() {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    let take_back = |path: &Path, size: usize, kept: Kept| {
        let mut addition = hashing::hash_one(path, &File::open(path).unwrap(), false, &|_| (), &GO).unwrap();
        addition.kept = kept;
        catalogue.add_all(std::slice::from_ref(&addition)).unwrap();
        let key = addition.manifest.root().key();
        assert!(catalogue.damage(&key, path, &GO).unwrap().is_none());
        // The end had not been written when the machine went down.
        let file = File::options().write(true).open(path).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        file.set_len(size as u64 / 2).unwrap();
        file.set_modified(modified).unwrap();
        assert!(catalogue.damage(&key, path, &GO).unwrap().is_none(), "it was changed while the machine ran");
        catalogue.reboot();
        let damaged = catalogue.damage(&key, path, &GO).unwrap()?;
        assert!(catalogue.take_back(Place::new(path).unwrap(), &damaged).unwrap());
        assert!(!path.exists());
        Some(Part::resume(Place::new(path).unwrap(), &key, PartOptions::default()).unwrap())
    };
    let path = fixture.file("a", &content(300_000));
    match take_back(&path, 300_000, Kept::Fetched) {
        Some(Found::Part(part)) => assert_eq!(part.pieces().iter().collect::<Vec<_>>(), [0, 1]),
        other => panic!("{other:?}"),
    }
    let found = take_back(&fixture.file("b", &content(1000)), 1000, Kept::Fetched);
    assert!(matches!(found, Some(Found::Nothing)), "{found:?}");
    let users = fixture.file("c", &content(2000));
    assert!(take_back(&users, 2000, Kept::Reference).is_none(), "it is its user's");
    assert!(users.exists());
}

#[test]
fn a_damaged_place_is_filled_from_the_others() {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    let bytes = content(300_000);
    let [a, b, c] = ["a", "b", "c"].map(|name| fixture.file(name, &bytes));
    let entry = add(&catalogue, &a, How::Reference);
    add(&catalogue, &b, How::Reference);
    add(&catalogue, &c, How::Reference);
    // Neither of the others is whole.
    spoil(&b);
    File::options().write(true).open(&c).unwrap().write_all_at(b"!", 299_999).unwrap();
    std::fs::remove_file(&a).unwrap();
    let wanted = Wanted { manifest: Arc::new(catalogue.manifest(&entry).unwrap()), md5: None };
    let found = ToRepair { good: PieceSet::empty(5), stamp: None, left: oneshot::channel().0 };
    let part = Part::repair(Place::new(&a).unwrap(), wanted, found, false).unwrap();
    catalogue.fill_from_others(&part, &entry, &GO).unwrap();
    part.finish().unwrap();
    catalogue.add_repaired(&part).unwrap();
    assert_eq!(std::fs::read(&a).unwrap(), bytes);
    assert_eq!(served(&catalogue, &entry.root), bytes);
}

#[test]
fn what_was_learned_of_a_place_while_it_was_purged_stays() {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    let path = fixture.file("d/a", &content(9));
    add_folder(&catalogue, path.parent().unwrap());
    let file = File::open(&path).unwrap();
    let mut addition = hashing::hash_one(&path, &file, false, &|_| (), &GO).unwrap();
    let md5 = addition.md5.take().unwrap();
    let root = addition.manifest.root();
    catalogue.add_all(&[addition]).unwrap();
    let place = Entry { md5: None, ..catalogue.at(&root, &path).unwrap().unwrap() };
    catalogue.change(|tables| tables.put_md5(&root, md5)).unwrap();
    catalogue.change(|tables| Removed::default().disown(tables, place)).unwrap();
    let left = catalogue.get(&md5.key()).unwrap().unwrap();
    assert_eq!((left.own, left.md5), (false, Some(md5)), "the folder needs it");
}

/// A file that was fetched to `path`, and is damaged.
fn damaged(catalogue: &Catalogue, path: &Path) -> Verified {
    let file = File::options().read(true).write(true).open(path).unwrap();
    // Long ago, so that whatever is written to it shows.
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    let mut addition = hashing::hash_one(path, &file, false, &|_| (), &GO).unwrap();
    addition.kept = Kept::Fetched;
    catalogue.add_all(std::slice::from_ref(&addition)).unwrap();
    spoil(path);
    let entry = catalogue.at(&addition.manifest.root(), path).unwrap().unwrap();
    assert!(!verify(catalogue, &entry).is_good());
    catalogue.damage(&entry.root.key(), path, &GO).unwrap().unwrap()
}

#[test]
fn what_is_not_the_file_that_was_verified_keeps_its_name() {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    for size in [1000, 300_000] {
        let path = fixture.file("a", &content(size));
        let damaged = damaged(&catalogue, &path);
        std::fs::write(&path, "another").unwrap();
        assert!(!catalogue.take_back(Place::new(&path).unwrap(), &damaged).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"another");
        // Nor is anything made of it that looks like an earlier try.
        assert_eq!(std::fs::read_dir(fixture.user.path()).unwrap().count(), 1);
        std::fs::remove_file(&path).unwrap();
        assert!(catalogue.take_back(Place::new(&path).unwrap(), &damaged).unwrap(), "nothing is in the way");
    }
}

/// Begins to repair it.
fn repair(catalogue: &Catalogue, found: &Verified) -> (Result<Part, PartError>, oneshot::Receiver<Stamp>) {
    let (entry, (left, was_left)) = (&found.entry, oneshot::channel());
    let wanted = Wanted { manifest: Arc::new(catalogue.manifest(entry).unwrap()), md5: None };
    let found = ToRepair { good: found.good_pieces(), stamp: Some(found.stamp), left };
    (Part::repair(Place::new(&entry.path).unwrap(), wanted, found, false), was_left)
}

#[test]
fn what_is_not_the_file_that_was_verified_is_not_repaired() {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    let path = fixture.file("a", &content(300_000));
    let damaged = damaged(&catalogue, &path);
    std::fs::write(&path, "another").unwrap();
    let refused = repair(&catalogue, &damaged).0;
    assert!(matches!(refused, Err(PartError::Changed(_))), "{refused:?}");
    assert_eq!(std::fs::read(&path).unwrap(), b"another");
    std::fs::remove_file(&path).unwrap();
    let refused = repair(&catalogue, &damaged).0;
    assert!(matches!(refused, Err(PartError::Changed(_))), "{refused:?}");
}

#[test]
fn a_disk_that_takes_no_journal_leaves_the_file_as_it_was() {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    let path = fixture.file("a", &content(300_000));
    let mut damaged = damaged(&catalogue, &path);
    // Shorter than it should be, too.
    File::options().write(true).open(&path).unwrap().set_len(200_000).unwrap();
    damaged.stamp = Stamp::from(&std::fs::metadata(&path).unwrap());
    std::fs::create_dir(fixture.user.path().join(".a.askaround-journal")).unwrap();
    catalogue.take_back(Place::new(&path).unwrap(), &damaged).unwrap_err();
    repair(&catalogue, &damaged).0.unwrap_err();
    assert_eq!(Stamp::from(&std::fs::metadata(&path).unwrap()), damaged.stamp);
}

#[test]
fn a_file_that_could_not_be_repaired_is_damaged_as_before() {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    let path = fixture.file("a", &content(300_000));
    let damaged = damaged(&catalogue, &path);
    let root = damaged.entry.root;
    let (part, mut was_left) = repair(&catalogue, &damaged);
    drop(part.unwrap());
    assert_eq!(was_left.try_recv().unwrap(), damaged.stamp, "nothing was written");
    assert_eq!(condition(&catalogue, &root), Condition::Damaged);

    let (part, mut was_left) = repair(&catalogue, &damaged);
    let part = part.unwrap();
    let geometry = part.wanted().manifest.geometry();
    let bad = geometry.piece(part.pieces().missing().next().unwrap()).unwrap();
    let range = geometry.range(bad);
    part.write_piece(bad, &content(300_000)[range.start as usize..range.end as usize]).unwrap();
    assert_eq!(condition(&catalogue, &root), Condition::Changed);
    drop(part);
    let left = was_left.try_recv().unwrap();
    catalogue.note_unrepaired(&damaged.entry, damaged.stamp, left).unwrap();
    assert_eq!(condition(&catalogue, &root), Condition::Damaged);
    catalogue.reboot();
    assert_eq!(condition(&catalogue, &root), Condition::Damaged);

    // What its user had changed before is not taken for damage.
    std::fs::write(&path, content(299_999)).unwrap();
    let changed = verify(&catalogue, &damaged.entry);
    let (part, mut was_left) = repair(&catalogue, &changed);
    drop(part.unwrap());
    let left = was_left.try_recv().unwrap();
    catalogue.note_unrepaired(&changed.entry, changed.stamp, left).unwrap();
    assert_eq!(condition(&catalogue, &root), Condition::Changed);
}

#[test]
fn what_is_being_repaired_is_not_taken_for_moved() {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    let [a, b] = ["a", "b"].map(|name| fixture.file(name, &content(300_000)));
    let entry = add(&catalogue, &a, How::Reference);
    std::fs::write(&a, content(299_999)).unwrap();
    let changed = verify(&catalogue, &entry);
    let repairing = catalogue.repairing(&entry);
    let part = repair(&catalogue, &changed).0.unwrap();
    add(&catalogue, &b, How::Reference);
    catalogue.fill_from_others(&part, &entry, &GO).unwrap();
    part.finish().unwrap();
    catalogue.add_repaired(&part).unwrap();
    drop(repairing);
    assert_eq!(places(&fixture, &catalogue, &entry.root), ["a", "b"]);
    assert_eq!(catalogue.condition(&catalogue.at(&entry.root, &a).unwrap().unwrap()), Condition::Good);

    std::fs::write(&a, "another").unwrap();
    add(&catalogue, &b, How::Reference);
    assert_eq!(places(&fixture, &catalogue, &entry.root), ["b"]);
    let forgotten = catalogue.add_repaired(&part);
    assert!(matches!(forgotten, Err(CatalogueError::Unknown(_))), "{forgotten:?}");
}
