//! [`plan`]: what it takes to have a collection in a folder, and no more. What is there already
//! and right is left alone, what is held in another file is copied from there.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use askaround_core::pieces::Root;

use super::catalogue::{Addition, Catalogue, CatalogueError, Condition, Entry, Kept};
use super::collection::{Collection, ListedFile};
use super::disk::{DiskError, Fault};
use super::file::Stamp;
use super::hash::{HashError, hash_root};
use super::part::{make_executable, remove_old_journal};
use super::place::{Folder, Place, There};
use crate::store::StoreError;

/// An error names at most so many of the files that are in the way.
const NAMED: usize = 10;

/// What it takes to have a file of a collection. Small where it is fetched: there may be very many.
#[derive(Debug, Clone)]
pub enum Step {
    /// Nothing: it is there and right.
    There(Box<Addition>),
    /// A copy of a file that is held elsewhere ([`super::Part::fill_from`]).
    Copy(Box<Entry>),
    /// A copy of the file of the collection with this number, whatever the step is for that.
    Same(usize),
    /// Fetch it. A file of 0 bytes too, of which there is nothing to fetch.
    Fetch,
}

/// Why a collection cannot be put into a folder.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Other files have the names of files of the collection.
    #[error("{}", in_the_way(.first, *.count))]
    InTheWay {
        /// The first of them.
        first: Vec<PathBuf>,
        /// How many there are.
        count: usize,
    },
    /// A file that is there cannot be read.
    #[error("{}: {error}", .path.display())]
    Hash {
        /// Which.
        path: PathBuf,
        /// Why.
        error: HashError,
    },
    /// The disk's.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The catalogue cannot be read.
    #[error(transparent)]
    State(#[from] StoreError),
    /// What is damaged cannot be looked at, or not be fetched again where it is.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
}

/// What it takes to have `collection` in `folder`: a step a file, in its order. Files that are
/// right but for their executable bit get it. Those that were fetched and are damaged are fetched
/// again.
///
/// # Errors
/// If other files are in the way, a folder or a link is, the disk says no, or `cancel` becomes true.
pub fn plan(
    collection: &Collection,
    folder: &Folder,
    catalogue: &Catalogue,
    cancel: &AtomicBool,
) -> Result<Vec<Step>, RestoreError> {
    let mut looked = Vec::with_capacity(collection.files().len());
    // Of files that are the same one is had, and the others are copies of it: one that is there, or
    // else the first.
    let mut had: HashMap<Root, usize> = HashMap::new();
    let (mut first, mut count, mut damaged) = (Vec::new(), 0, Vec::new());
    for (number, file) in collection.files().iter().enumerate() {
        if cancel.load(Ordering::Relaxed) {
            return Err(RestoreError::Hash { path: folder.path().to_owned(), error: HashError::Cancelled });
        }
        let there: Option<Box<Addition>> = match place(folder, file)? {
            Some(place) => {
                let right = right(&place, file, catalogue, cancel)?;
                if right.is_none() {
                    match catalogue.damage(&file.root.key(), &absolute(&place)?, cancel)? {
                        Some(damage) => damaged.push((place, damage)),
                        None => {
                            count += 1;
                            first.extend((count <= NAMED).then(|| place.path()));
                        }
                    }
                }
                right.map(Box::new)
            }
            None => None,
        };
        if there.is_some() {
            had.entry(file.root).or_insert(number);
        }
        looked.push(there);
    }
    if count == 0 {
        // Reading takes long: there may be another file by now.
        for (place, damaged) in damaged {
            let path = place.path();
            if !catalogue.take_back(place, &damaged)? {
                count += 1;
                first.extend((count <= NAMED).then_some(path));
            }
        }
    }
    if count > 0 {
        return Err(RestoreError::InTheWay { first, count });
    }
    let steps = collection.files().iter().zip(looked).enumerate().map(|(number, (file, there))| {
        let from = *had.entry(file.root).or_insert(number);
        if let Some(there) = there {
            return Ok(Step::There(there));
        }
        if from != number {
            return Ok(Step::Same(from));
        }
        let good = |entry: &Entry| entry.kept != Kept::List && catalogue.condition(entry) == Condition::Good;
        let here = catalogue.get(&file.root.key())?.filter(good).map(Box::new);
        Ok(here.map_or(Step::Fetch, Step::Copy))
    });
    steps.collect()
}

/// The place of a file, if there is one there. Whatever else is there is in the way.
fn place(folder: &Folder, file: &ListedFile) -> Result<Option<Place>, DiskError> {
    let place = match folder.below(&file.path, false) {
        Ok(place) => place,
        Err(DiskError { fault: Fault::Missing, .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let fault = match place.there()? {
        There::Nothing => return Ok(None),
        There::File { .. } => return Ok(Some(place)),
        There::Folder => Fault::IsFolder,
        There::Link => Fault::Link,
        There::Other => Fault::NotFile,
    };
    Err(DiskError::new(&place.path(), fault))
}

/// The file that is there, if it is the one that should be: as the catalogue knows it, or as its
/// bytes show.
fn right(
    place: &Place,
    file: &ListedFile,
    catalogue: &Catalogue,
    cancel: &AtomicBool,
) -> Result<Option<Addition>, RestoreError> {
    if !matches!(place.there()?, There::File { length, .. } if length == file.size) {
        return Ok(None);
    }
    let open = place.open_to_read()?;
    let here = |error: std::io::Error| RestoreError::Disk(place.error(error));
    let path = absolute(place)?;
    let stamp = Stamp::of(&open).map_err(here)?;
    let noted = catalogue.at(&file.root, &path)?.filter(|entry| entry.stamp == stamp);
    let noted = noted.filter(|entry| Catalogue::look(entry) == Condition::Good);
    let (manifest, md5) = match noted.map(|entry| (catalogue.manifest(&entry), entry.md5)) {
        Some((Ok(manifest), md5)) => (manifest, md5),
        _ => {
            let failed = |error| RestoreError::Hash { path: path.clone(), error };
            (hash_root(&open, &|_| (), cancel).map_err(failed)?, None)
        }
    };
    if manifest.root() != file.root {
        return Ok(None);
    }
    let mut addition = Addition::of(place, &open, Arc::new(manifest), md5)?;
    remove_old_journal(place)?;
    if file.executable && !addition.executable {
        make_executable(&open).map_err(here)?;
        addition.executable = true;
    }
    Ok(Some(addition))
}

fn absolute(place: &Place) -> Result<PathBuf, DiskError> {
    std::path::absolute(place.path()).map_err(|error| place.error(error))
}

fn in_the_way(first: &[PathBuf], count: usize) -> String {
    let names = list(first, count);
    if count == 1 {
        return format!("{names} is in the way: move it away, or get the folder to another place");
    }
    format!(
        "{count} files of other content are in the way, {names}: move them away, or get the folder to another place"
    )
}

fn list(first: &[PathBuf], count: usize) -> String {
    let mut names: Vec<_> = first.iter().map(|path| path.display().to_string()).collect();
    names.extend((count > first.len()).then(|| "…".to_owned()));
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::Path;

    use super::*;
    use crate::content::catalogue::How;
    use crate::content::part::{Part, PartOptions, Wanted};

    static GO: AtomicBool = AtomicBool::new(false);

    fn make(folder: &Path, files: &[(&str, &str)]) {
        for (name, bytes) in files {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }

    fn steps(plan: &[Step]) -> String {
        let letter = |step: &Step| match step {
            Step::There(_) => 'T',
            Step::Copy(_) => 'C',
            Step::Same(_) => 'S',
            Step::Fetch => 'F',
        };
        plan.iter().map(letter).collect()
    }

    #[test]
    fn what_was_written_to_while_the_folder_was_read_is_in_the_way() {
        let (theirs, mine) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        make(theirs.path(), &[("a", &"a".repeat(300_000)), ("b", &"b".repeat(300_000))]);
        let seed = Catalogue::temporary().unwrap();
        let collection = seed.add_folder(theirs.path(), How::Reference, &|_, _| (), &GO).unwrap().collection;
        // One file by two names: what is done to the first is a change to the second.
        let [a, b] = ["a", "b"].map(|name| mine.path().join(name));
        let file = std::fs::File::create_new(&a).unwrap();
        file.set_len(300_000).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        std::fs::hard_link(&a, &b).unwrap();
        let catalogue = Catalogue::temporary().unwrap();
        let additions = collection.files().iter().map(|listed| {
            let entry = seed.get(&listed.root.key()).unwrap().unwrap();
            let place = Place::new(&mine.path().join(listed.path.as_str())).unwrap();
            Addition::of(&place, &file, Arc::new(seed.manifest(&entry).unwrap()), None).unwrap()
        });
        catalogue.add_all(&additions.collect::<Vec<_>>()).unwrap();
        catalogue.reboot();
        file.set_len(100_000).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        let error = plan(&collection, &Folder::open(mine.path()).unwrap(), &catalogue, &GO).unwrap_err();
        assert!(matches!(&error, RestoreError::InTheWay { first, count: 1 } if first[..] == [b]), "{error}");
    }

    #[test]
    fn takes_no_more_than_is_missing() {
        let (theirs, mine) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        make(
            theirs.path(),
            &[("a", "aa"), ("b/c", "cc"), ("b/d", "dd"), ("e", "ee"), ("f", "ee"), ("g", "g")],
        );
        let run = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(theirs.path().join("a"), run).unwrap();
        let seed = Catalogue::temporary().unwrap();
        let added = seed.add_folder(theirs.path(), How::Reference, &|_, _| (), &GO).unwrap();
        let (collection, catalogue) = (added.collection, Catalogue::temporary().unwrap());
        make(mine.path(), &[("elsewhere", "cc"), ("out/a", "aa")]);
        catalogue.add(&mine.path().join("elsewhere"), How::Reference, &|_| (), &GO).unwrap();
        let folder = Folder::open(&mine.path().join("out")).unwrap();
        let plan = || plan(&collection, &folder, &catalogue, &GO);
        assert_eq!(steps(&plan().unwrap()), "TCFFSF");
        make(&mine.path().join("out"), &[("f", "ee")]);
        assert_eq!(steps(&plan().unwrap()), "TCFSTF", "what is there is copied, also from a later one");
        std::fs::remove_file(mine.path().join("out/f")).unwrap();
        let mode = std::fs::metadata(mine.path().join("out/a")).unwrap().permissions().mode();
        assert_eq!(mode & 0o100, 0o100, "right but for its executable bit");

        // Of a fetch that was killed in its last moment; and of one that goes on, of whatever content.
        let out = mine.path().join("out");
        make(&out, &[(".a.askaround-journal", "")]);
        plan().unwrap();
        assert!(!out.join(".a.askaround-journal").exists());
        make(&out, &[(".a.askaround-journal", ""), (".a.askaround-part", "")]);
        plan().unwrap();
        assert!(out.join(".a.askaround-journal").exists());

        make(&mine.path().join("out"), &[("e", "other"), ("g", "h")]);
        let error = plan().unwrap_err();
        assert!(matches!(&error, RestoreError::InTheWay { count: 2, .. }), "{error}");
        for name in ["out/e", "out/g"] {
            assert!(error.to_string().contains(name), "{error}");
            std::fs::remove_file(mine.path().join(name)).unwrap();
        }
        symlink("/etc/passwd", mine.path().join("out/g")).unwrap();
        let error = plan().unwrap_err();
        assert!(matches!(&error, RestoreError::Disk(DiskError { fault: Fault::Link, .. })), "{error}");
        std::fs::remove_file(mine.path().join("out/g")).unwrap();

        // As a fetch does it.
        let mut done = Vec::new();
        for (file, step) in collection.files().iter().zip(plan().unwrap()) {
            if let Step::There(addition) = step {
                done.push(*addition);
                continue;
            }
            let from = if matches!(step, Step::Copy(_)) { &catalogue } else { &seed };
            let content = from.open(&file.root.key()).unwrap();
            let wanted = Wanted { manifest: Arc::clone(content.manifest()), md5: None };
            let options = PartOptions { executable: file.executable, ..PartOptions::default() };
            let part = Part::create(folder.below(&file.path, true).unwrap(), wanted, options).unwrap();
            assert_eq!(part.fill_from(&content, &|_| (), &GO).unwrap(), 1);
            part.finish().unwrap();
            done.push(Addition::fetched(&part, None).unwrap());
        }
        let entry = catalogue.add_collection(&collection, folder.path(), &done).unwrap();
        assert_eq!(entry.root, added.entry.root);
        assert_eq!(steps(&plan().unwrap()), "TTTTTT");
        let again = catalogue.add_folder(folder.path(), How::Reference, &|_, _| (), &GO).unwrap();
        assert_eq!(again.collection, collection);
        for file in collection.files() {
            let entry = catalogue.get(&file.root.key()).unwrap().unwrap();
            assert!(catalogue.verify(&entry, &|_| (), &GO).unwrap().is_good());
        }
    }
}
