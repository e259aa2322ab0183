//! The catalogue, as a peer uses it.

mod copies;
mod left_out;
mod moved;
mod places;
mod replaced;
mod spelling;

use std::fs::File;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::sync::atomic::AtomicBool;

use super::*;
use crate::content::boot::BootId;
use crate::content::part::{Part, PartOptions, Wanted};
use crate::content::place::Place;
use crate::content::walk::WhySkipped;
use crate::store::Store;

/// A folder for the peer, and one of the user's.
struct Fixture {
    home: tempfile::TempDir,
    user: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self { home: crate::content::folder_in_memory(), user: tempfile::tempdir().unwrap() }
    }

    fn catalogue(&self) -> Catalogue {
        Store::open(self.home.path()).unwrap().catalogue().unwrap()
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.user.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// What is in the folder for copies.
    fn copies(&self) -> Vec<String> {
        let copies = self.home.path().join("files");
        let (found, _) = crate::content::walk::walk(&copies, &GO).unwrap();
        found.into_iter().map(|file| file.relative.to_string()).collect()
    }
}

static GO: AtomicBool = AtomicBool::new(false);

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i * 31 % 251) as u8).collect()
}

fn add(catalogue: &Catalogue, path: &Path, how: How) -> Entry {
    catalogue.add(path, how, &|_| (), &GO).unwrap()
}

/// Adds a folder of the user's where it lies.
fn add_folder(catalogue: &Catalogue, path: &Path) -> AddedFolder {
    catalogue.add_folder(path, How::Reference, &|_, _| (), &GO).unwrap()
}

fn verify(catalogue: &Catalogue, entry: &Entry) -> Verified {
    let entry = catalogue.at(&entry.root, &entry.path).unwrap().unwrap();
    catalogue.verify(&entry, &|_| (), &GO).unwrap()
}

fn served(catalogue: &Catalogue, root: &Root) -> Vec<u8> {
    let file = catalogue.open(&root.key()).unwrap();
    assert!(file.is_whole() && file.unchanged());
    let mut bytes = vec![0; file.geometry().size() as usize];
    file.read_at(0, &mut bytes).unwrap();
    bytes
}

/// As if the machine had been started anew since.
fn reboot(catalogue: &Catalogue, entry: &Entry) {
    let entry = Entry { boot: Some(BootId::from_number(1)), ..entry.clone() };
    catalogue.change(|tables| tables.put(&entry)).unwrap();
}

impl Catalogue {
    /// The machine is restarted.
    pub(crate) fn reboot(&self) {
        self.list().unwrap().iter().for_each(|entry| reboot(self, entry));
    }
}

#[test]
fn either_key_finds_what_was_added_also_after_a_restart() {
    let fixture = Fixture::new();
    for size in [0, 1, 65_536, 300_000] {
        let path = fixture.file(&format!("ü {size}"), &content(size));
        let entry = add(&fixture.catalogue(), &path, How::Reference);
        let catalogue = fixture.catalogue();
        assert_eq!(catalogue.get(&entry.root.key()).unwrap(), Some(entry.clone()));
        assert_eq!(catalogue.get(&entry.md5.unwrap().key()).unwrap(), Some(entry.clone()));
        assert_eq!(served(&catalogue, &entry.root), content(size));
        assert!(verify(&catalogue, &entry).is_good());
    }
    let catalogue = fixture.catalogue();
    assert_eq!(catalogue.list().unwrap().len(), 4);
    assert_eq!(catalogue.get(&Key::new("2a").unwrap()).unwrap(), None);
    let entry = &catalogue.list().unwrap()[3];
    let removed = catalogue.remove(&entry.md5.unwrap().key()).unwrap();
    assert_eq!(removed.places, std::slice::from_ref(entry));
    assert_eq!(removed.gone.into_iter().collect::<Vec<_>>(), [entry.root]);
    assert_eq!(catalogue.get(&entry.root.key()).unwrap(), None);
    assert_eq!(catalogue.get(&entry.md5.unwrap().key()).unwrap(), None);
    assert!(entry.path.exists(), "the user's file stays");
}

#[test]
fn two_peers_on_one_folder_are_refused() {
    let fixture = Fixture::new();
    let _first = fixture.catalogue();
    assert!(matches!(Store::open(fixture.home.path()), Err(StoreError::InUse(_))));
}

#[test]
fn a_changed_file_is_not_served_as_what_it_was() {
    let fixture = Fixture::new();
    let catalogue = Catalogue::temporary().unwrap();
    let path = fixture.file("a", &content(300_000));
    let entry = add(&catalogue, &path, How::Reference);
    let open = catalogue.open(&entry.root.key()).unwrap();
    let refused = |expected: Condition| {
        let entry = catalogue.get(&entry.root.key()).unwrap().unwrap();
        assert_eq!(catalogue.condition(&entry), expected);
        catalogue.open(&entry.root.key()).unwrap_err()
    };
    let mut spoilt = content(300_000);
    spoilt[70_000] ^= 1;
    std::fs::write(&path, &spoilt).unwrap();
    let file = File::open(&path).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    file.set_modified(modified + std::time::Duration::from_secs(9)).unwrap();
    assert!(!open.unchanged(), "also one that is open already");
    assert!(matches!(refused(Condition::Changed), CatalogueError::Changed(_)));
    let verified = verify(&catalogue, &entry);
    assert_eq!(verified.bad.iter().collect::<Vec<_>>(), [1]);
    assert_eq!(verified.good_pieces().missing().collect::<Vec<_>>(), [1]);

    std::fs::write(&path, [content(300_000), vec![1]].concat()).unwrap();
    let verified = verify(&catalogue, &entry);
    assert!(verified.bad.is_empty() && verified.too_long && !verified.is_good());
    assert!(matches!(refused(Condition::Changed), CatalogueError::Changed(_)));

    std::fs::write(&path, content(300_000)).unwrap();
    assert!(verify(&catalogue, &entry).is_good());
    assert_eq!(served(&catalogue, &entry.root), content(300_000), "it is what it was again");

    std::fs::remove_file(&path).unwrap();
    let error = refused(Condition::Missing);
    assert!(matches!(error, CatalogueError::Disk(DiskError { fault: Fault::Missing, .. })), "{error}");
    assert!(catalogue.verify(&entry, &|_| (), &GO).is_err());
}

#[test]
fn what_was_not_surely_on_disk_is_verified_after_a_power_loss() {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    let entry = add(&catalogue, &fixture.file("a", &content(300_000)), How::Reference);
    reboot(&catalogue, &entry);
    assert!(matches!(catalogue.open(&entry.root.key()), Err(CatalogueError::Unchecked(_))));
    assert!(verify(&catalogue, &entry).is_good());
    assert_eq!(served(&catalogue, &entry.root), content(300_000));

    let entry = add(&catalogue, &fixture.file("b", &content(9)), How::Reference);
    assert!(!entry.synced);
    assert_eq!(catalogue.sync(&GO).unwrap(), 2, "what was read may be in memory");
    assert_eq!(catalogue.sync(&GO).unwrap(), 0);
    let entry = catalogue.get(&entry.root.key()).unwrap().unwrap();
    reboot(&catalogue, &entry);
    assert_eq!(served(&catalogue, &entry.root), content(9));
}

#[test]
fn what_the_disk_fails_to_take_is_verified() {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    let entry = add(&catalogue, &fixture.file("a", &content(300_000)), How::Reference);
    let sync = || catalogue.sync(&GO).unwrap();
    assert_eq!(crate::content::disk::failing(sync), 0);
    assert!(matches!(catalogue.open(&entry.root.key()), Err(CatalogueError::Unchecked(_))));
    assert_eq!(sync(), 0, "the system says it once, and takes it for written the next time");
    assert!(matches!(catalogue.open(&entry.root.key()), Err(CatalogueError::Unchecked(_))));
    assert!(verify(&catalogue, &entry).is_good());
    assert_eq!(served(&catalogue, &entry.root), content(300_000));
}

#[test]
fn where_no_file_can_be_synced_nothing_has_failed_and_nothing_is_sure() {
    use rustix::io::Errno;
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    let entry = add(&catalogue, &fixture.file("a", &content(300_000)), How::Reference);
    let changes = catalogue.changes();
    let sync = || catalogue.sync(&GO).unwrap();
    assert_eq!(crate::content::disk::failing_with(Errno::INVAL, sync), 0);
    assert_eq!(catalogue.changes(), changes, "it would be tried again at once");
    assert_eq!(served(&catalogue, &entry.root), content(300_000));
    reboot(&catalogue, &entry);
    assert!(matches!(catalogue.open(&entry.root.key()), Err(CatalogueError::Unchecked(_))));
}

#[test]
fn what_has_its_name_no_more_once_it_is_read_is_not_added_where_it_lay() {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    let other = fixture.user.path().join("other");
    let replace = |path: &Path| std::fs::rename(&other, path).unwrap();
    let remove = |path: &Path| std::fs::remove_file(path).unwrap();
    for meanwhile in [&replace as &dyn Fn(&Path), &remove] {
        let path = fixture.file("a", &content(70_000));
        fixture.file("other", &content(70_000));
        let done = std::cell::Cell::new(false);
        let progress = |_| {
            if !done.replace(true) {
                meanwhile(&path);
            }
        };
        let error = catalogue.add(&path, How::Reference, &progress, &GO).unwrap_err();
        assert!(matches!(error, CatalogueError::Hash { error: HashError::Changed, .. }), "{error}");
        assert!(done.get() && catalogue.list().unwrap().is_empty());
        // Of a copy it does not matter.
        let path = fixture.file("a", &content(70_000));
        let copied = catalogue.add(&path, How::Copy, &|_| _ = std::fs::remove_file(&path), &GO).unwrap();
        assert_eq!(served(&catalogue, &copied.root), content(70_000));
        catalogue.remove(&copied.root.key()).unwrap();
    }
}

#[test]
fn what_cannot_be_added() {
    let fixture = Fixture::new();
    let catalogue = Catalogue::temporary().unwrap();
    let fault = |path: &Path| match catalogue.add(path, How::Reference, &|_| (), &GO) {
        Err(CatalogueError::Disk(error)) => error.fault,
        other => panic!("{other:?}"),
    };
    assert!(matches!(fault(&fixture.user.path().join("no")), Fault::Missing));
    assert!(matches!(fault(fixture.user.path()), Fault::IsFolder));
    assert!(matches!(fault(Path::new("/dev/null")), Fault::NotFile));
    if cfg!(target_os = "linux") {
        assert!(matches!(fault(Path::new("/proc/self/status")), Fault::NoSize));
    }
    let path = fixture.file("a", b"a");
    let copied = catalogue.add(&path, How::Copy, &|_| (), &GO);
    assert!(matches!(copied, Err(CatalogueError::NoHome)), "{copied:?}");
    let stop = AtomicBool::new(true);
    assert!(catalogue.add(&path, How::Reference, &|_| (), &stop).unwrap_err().is_cancelled());
    assert!(catalogue.list().unwrap().is_empty());
}

#[test]
fn a_folder_is_one_content_and_many() {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    for (name, size) in [("d/b", 300_000), ("d/x/é", 7), ("d/same", 7), ("d/empty", 0)] {
        fixture.file(name, &content(size));
    }
    fixture.file("d/.a.askaround-part", b"half");
    symlink("b", fixture.user.path().join("d/link")).unwrap();
    std::fs::create_dir_all(fixture.user.path().join("d/void")).unwrap();
    let alone = add(&catalogue, &fixture.user.path().join("d/b"), How::Reference);
    let told = std::cell::Cell::new((0, 0));
    let progress = |done, total| told.set((done, total));
    let folder = fixture.user.path().join("d");
    let added = catalogue.add_folder(&folder, How::Reference, &progress, &GO).unwrap();
    assert_eq!(told.get(), (300_014, 300_014));
    let names: Vec<_> = added.collection.files().iter().map(|file| file.path.as_str()).collect();
    assert_eq!(names, ["b", "empty", "same", "x/é"]);
    let why: Vec<_> = added.skipped.iter().map(|skipped| skipped.why).collect();
    assert_eq!(why, [WhySkipped::Unfinished, WhySkipped::Link, WhySkipped::EmptyFolder]);
    assert_eq!(served(&catalogue, &added.entry.root), added.collection.to_bytes());
    assert!(verify(&catalogue, &added.entry).is_good());
    for file in added.collection.files() {
        assert_eq!(served(&catalogue, &file.root), content(file.size as usize));
    }
    let removed = catalogue.remove(&added.entry.root.key()).unwrap();
    assert_eq!(removed.gone.len(), 3, "the list and two contents that were there for it only");
    assert_eq!(catalogue.list().unwrap().len(), 1);
    assert_eq!(served(&catalogue, &alone.root), content(300_000));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 7, "the user's files stay");
}

#[test]
fn the_list_of_a_folder_is_one_file_for_all_who_have_it_open() {
    let fixture = Fixture::new();
    let catalogue = fixture.catalogue();
    let [d, e] = ["d", "e"].map(|name| {
        fixture.file(&format!("{name}/x"), name.as_bytes());
        let folder = fixture.user.path().join(name);
        catalogue.add_folder(&folder, How::Reference, &|_, _| (), &GO).unwrap().entry.root
    });
    let open = |root: &Root| catalogue.clone().open(&root.key()).unwrap();
    let first = open(&d);
    assert!(Arc::ptr_eq(&first, &open(&d)));
    assert!(!Arc::ptr_eq(&first, &open(&e)));
    let left = Arc::downgrade(&first);
    drop(first);
    assert!(left.upgrade().is_none(), "nobody has it open");
    assert_eq!(served(&catalogue, &d).len() as u64, catalogue.get(&d.key()).unwrap().unwrap().size);
}

#[test]
fn what_was_fetched_is_added_with_what_is_known_of_it() {
    let fixture = Fixture::new();
    let (bytes, catalogue) = (content(70_000), Catalogue::temporary().unwrap());
    let original = add(&catalogue, &fixture.file("original", &bytes), How::Reference);
    let manifest = Arc::new(catalogue.manifest(&original).unwrap());
    let place = Place::new(&fixture.user.path().join("fetched")).unwrap();
    let options = PartOptions { executable: true, ..PartOptions::default() };
    let part = Part::create(place, Wanted { manifest, md5: original.md5 }, options).unwrap();
    for piece in part.wanted().manifest.geometry().pieces() {
        let range = part.wanted().manifest.geometry().range(piece);
        part.write_piece(piece, &bytes[range.start as usize..range.end as usize]).unwrap();
    }
    part.finish().unwrap();
    let theirs = Catalogue::temporary().unwrap();
    let entry = theirs.add_fetched(&part, None).unwrap();
    assert_eq!((entry.kept, entry.executable, entry.md5), (Kept::Fetched, true, original.md5));
    assert_eq!(served(&theirs, &entry.root), bytes);
}

#[test]
fn damaged_piece_hashes_are_noticed() {
    let fixture = Fixture::new();
    let catalogue = Catalogue::temporary().unwrap();
    let entry = add(&catalogue, &fixture.file("a", &content(300_000)), How::Reference);
    let root = *entry.root.as_bytes();
    catalogue.change(|tables| Ok(tables.manifests.insert(root, [0; 160].as_slice()).map(drop)?)).unwrap();
    assert!(matches!(catalogue.open(&entry.root.key()), Err(CatalogueError::BadRecord(_))));
}
