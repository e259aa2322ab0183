//! How folders come into the catalogue, as collections.

use std::borrow::Borrow;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::add::{How, copy_with_mode};
use super::addition::{Addition, note};
use super::copy::{MAKING, copy_name, under_a_free_name};
use super::hashing::{hash_all, hash_list};
use super::remove::{Removed, forget_folder};
use super::{Catalogue, CatalogueError, Condition, Entry, Kept, STATE, open};
use crate::content::collection::{Collection, ListedFile};
use crate::content::disk::DiskError;
use crate::content::file::Stamp;
use crate::content::real_folder;
use crate::content::walk::{self, FoundFile, Skipped, WhySkipped};
use crate::lock;

/// A folder that was added.
#[derive(Debug)]
pub struct AddedFolder {
    /// Its list.
    pub entry: Entry,
    /// What is in it.
    pub collection: Collection,
    /// What was left out.
    pub skipped: Vec<Skipped>,
}

impl Catalogue {
    /// Adds a folder of the user's as a collection: its files, and their list, whose root is its
    /// key. `progress` is told how many bytes are done, of how many.
    ///
    /// # Errors
    /// If a file cannot be read or copied, one changes meanwhile, there are too many, or `cancel`
    /// becomes true. Then nothing is added.
    pub fn add_folder(
        &self,
        path: &Path,
        how: How,
        progress: &dyn Fn(u64, u64),
        cancel: &AtomicBool,
    ) -> Result<AddedFolder, CatalogueError> {
        let path = real_folder(path)?;
        let (found, mut skipped) = walk::walk(&path, cancel)?;
        let found = self.without_state(found, &mut skipped);
        let (entry, collection) = match how {
            How::Reference => self.add_found(&path, Kept::Reference, &found, progress, cancel)?,
            How::Copy => self.add_copy_of(&path, found, progress, cancel)?,
        };
        Ok(AddedFolder { entry, collection, skipped })
    }

    /// Leaves out the peer's own state.
    fn without_state(&self, found: Vec<FoundFile>, skipped: &mut Vec<Skipped>) -> Vec<FoundFile> {
        let is_state = |file: &FoundFile| {
            file.path.ends_with(STATE) && std::fs::metadata(&file.path).is_ok_and(|data| self.is_state(&data))
        };
        let (states, found): (Vec<_>, _) = found.into_iter().partition(is_state);
        skipped.extend(states.into_iter().map(|file| Skipped { path: file.path, why: WhySkipped::OwnState }));
        skipped.sort_by(|a, b| a.path.cmp(&b.path));
        found
    }

    /// Copies what was found in a folder, and adds the copy, which has its name only once it is whole.
    fn add_copy_of(
        &self,
        folder: &Path,
        mut found: Vec<FoundFile>,
        progress: &dyn Fn(u64, u64),
        cancel: &AtomicBool,
    ) -> Result<(Entry, Collection), CatalogueError> {
        let copies = self.copies()?;
        let making = tempfile::Builder::new().prefix(MAKING).tempdir_in(&copies);
        let making = making.map_err(DiskError::at(&copies))?;
        copy_folder(&mut found, making.path(), cancel)?;
        let (mut additions, collection) = hash_found(&found, Kept::Copy, progress, cancel)?;
        let _copying = lock(&self.copying);
        if let Some(copied) = self.copied_folder(&collection)? {
            return Ok((copied, collection));
        }
        let name = copy_name(folder, "folder");
        let (copy, ()) = under_a_free_name(&copies, name, |path| {
            name_folder(making.path(), path).map_err(DiskError::at(path))
        })?;
        for (found, addition) in found.iter().zip(&mut additions) {
            addition.path = copy.join(found.relative.as_str());
        }
        let added = self.add_collection(&collection, &copy, &additions);
        if added.is_err() {
            // The first failure is the one to tell.
            let _ = std::fs::remove_dir_all(&copy);
        }
        Ok((added?, collection))
    }

    pub(super) fn add_found(
        &self,
        folder: &Path,
        kept: Kept,
        found: &[FoundFile],
        progress: &dyn Fn(u64, u64),
        cancel: &AtomicBool,
    ) -> Result<(Entry, Collection), CatalogueError> {
        let (additions, collection) = hash_found(found, kept, progress, cancel)?;
        if kept == Kept::Copy
            && let Some(copied) = self.copied_folder(&collection)?
        {
            return Ok((copied, collection));
        }
        let entry = self.add_collection(&collection, folder, &additions)?;
        Ok((entry, collection))
    }

    /// Adds a collection that lies in `folder`, with those of its files that are there already.
    ///
    /// # Errors
    /// If the catalogue cannot be written.
    pub fn add_collection(
        &self,
        collection: &Collection,
        folder: &Path,
        files: impl IntoIterator<Item = impl Borrow<Addition>>,
    ) -> Result<Entry, CatalogueError> {
        let list = collection.to_bytes();
        let (manifest, md5) = hash_list(&list)?;
        let folder = std::path::absolute(folder).map_err(DiskError::at(folder))?;
        // Without a separator at its end: it is one place, however it is written.
        let folder: PathBuf = folder.components().collect();
        let root = manifest.root();
        let entry = Entry {
            root,
            size: list.len() as u64,
            md5: Some(md5),
            path: folder,
            kept: Kept::List,
            own: true,
            sparse: false,
            executable: false,
            stamp: Stamp { length: list.len() as u64, mtime_ns: 0, inode: 0 },
            boot: None,
            synced: true,
            damaged: false,
        };
        // Its user moved the folder, if it was elsewhere and is not there any more.
        let mut gone = self.places(&root.key())?;
        gone.retain(|other| other.kept == Kept::List && other.path != entry.path && !other.path.is_dir());
        self.change(|tables| {
            tables.put(&entry)?;
            tables.put_manifest(&manifest)?;
            tables.lists.insert(*root.as_bytes(), list.as_slice())?;
            for file in files {
                let file = file.borrow();
                note(tables, file, false)?;
                tables.join(&file.manifest.root(), &file.path, &root)?;
            }
            for other in gone {
                forget_folder(tables, &mut Removed::default(), other, collection)?;
            }
            Ok(())
        })?;
        Ok(entry)
    }

    /// The entry of a collection of which there is a whole copy already.
    fn copied_folder(&self, collection: &Collection) -> Result<Option<Entry>, CatalogueError> {
        let (manifest, _) = hash_list(&collection.to_bytes())?;
        let copies = self.copies()?;
        for list in self.places(&manifest.root().key())? {
            if list.kept == Kept::List
                && list.path.starts_with(&copies)
                && self.is_whole(&list, collection)?
            {
                return Ok(Some(list));
            }
        }
        Ok(None)
    }

    /// Whether every file of a collection is good in this folder of it.
    fn is_whole(&self, list: &Entry, collection: &Collection) -> Result<bool, CatalogueError> {
        for file in collection.files() {
            let place = self.at(&file.root, &list.path.join(file.path.as_str()))?;
            if place.is_none_or(|place| Self::look(&place) != Condition::Good) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Hashes what was found; its files, and the list of them.
fn hash_found(
    found: &[FoundFile],
    kept: Kept,
    progress: &dyn Fn(u64, u64),
    cancel: &AtomicBool,
) -> Result<(Vec<Addition>, Collection), CatalogueError> {
    let total = found.iter().map(|file| file.size).sum();
    let mut additions = hash_all(found, &|done| progress(done, total), cancel)?;
    for (found, addition) in found.iter().zip(&mut additions) {
        addition.kept = kept;
        // The file system of a copy may know nothing of that.
        addition.executable = found.executable;
    }
    let files = found.iter().zip(&additions).map(|(found, addition)| ListedFile {
        path: found.relative.clone(),
        root: addition.manifest.root(),
        size: addition.stamp.length,
        executable: addition.executable,
    });
    let collection = Collection::new(files.collect())?;
    Ok((additions, collection))
}

/// Gives a folder a name that nothing has.
fn name_folder(folder: &Path, name: &Path) -> io::Result<()> {
    // A folder may take the place of an empty one, and of nothing else.
    std::fs::create_dir(name)?;
    std::fs::rename(folder, name).inspect_err(|_| {
        // A second failure tells nothing new.
        let _ = std::fs::remove_dir(name);
    })
}

/// Copies what was found into `folder`, and has it found there.
fn copy_folder(found: &mut [FoundFile], folder: &Path, cancel: &AtomicBool) -> Result<(), CatalogueError> {
    for file in found {
        let to = folder.join(file.relative.as_str());
        let above = to.parent().unwrap_or(folder);
        std::fs::create_dir_all(above).map_err(DiskError::at(above))?;
        let mut made =
            File::options().read(true).write(true).create_new(true).open(&to).map_err(DiskError::at(&to))?;
        copy_with_mode(&file.path, &mut open(&file.path)?, &to, &mut made, cancel)?;
        file.path = to;
    }
    Ok(())
}
