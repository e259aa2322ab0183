//! How folders come into the catalogue, as collections.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::add::{How, copy_with_mode};
use super::addition::{Addition, note};
use super::copy::under_a_free_name;
use super::hashing::{hash_all, hash_bytes};
use super::remove::{Removed, forget_folder};
use super::{Catalogue, CatalogueError, Condition, Entry, Kept, open};
use crate::content::collection::{Collection, ListedFile};
use crate::content::disk::DiskError;
use crate::content::file::Stamp;
use crate::content::walk::{self, FoundFile, Skipped};

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
        let path = std::path::absolute(path).map_err(DiskError::at(path))?;
        let (mut found, skipped) = walk::walk(&path, cancel)?;
        let (folder, kept) = match how {
            How::Reference => (path, Kept::Reference),
            How::Copy => {
                let name = path.file_name().unwrap_or(OsStr::new("folder"));
                let (folder, ()) =
                    under_a_free_name(&self.copies()?, name, |path| std::fs::create_dir(path))?;
                (folder, Kept::Copy)
            }
        };
        let added = (|| {
            if kept == Kept::Copy {
                copy_folder(&mut found, &folder, cancel)?;
            }
            self.add_found(&folder, kept, &found, progress, cancel)
        })();
        let in_vain = added.as_ref().map_or(true, |(entry, _)| entry.path != folder);
        if in_vain && kept == Kept::Copy {
            // If it failed, the first failure is the one to tell.
            let _ = std::fs::remove_dir_all(&folder);
        }
        added.map(|(entry, collection)| AddedFolder { entry, collection, skipped })
    }

    pub(super) fn add_found(
        &self,
        folder: &Path,
        kept: Kept,
        found: &[FoundFile],
        progress: &dyn Fn(u64, u64),
        cancel: &AtomicBool,
    ) -> Result<(Entry, Collection), CatalogueError> {
        let total = found.iter().map(|file| file.size).sum();
        let mut additions = hash_all(found, &|done| progress(done, total), cancel)?;
        additions.iter_mut().for_each(|addition| addition.kept = kept);
        let files = found.iter().zip(&additions).map(|(found, addition)| ListedFile {
            path: found.relative.clone(),
            root: addition.manifest.root(),
            size: addition.stamp.length,
            executable: addition.executable,
        });
        let collection = Collection::new(files.collect())?;
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
        files: &[Addition],
    ) -> Result<Entry, CatalogueError> {
        let list = collection.to_bytes();
        let (manifest, md5) = hash_bytes(&list)?;
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
        self.change(|tables| {
            tables.put(&entry)?;
            tables.put_manifest(&manifest)?;
            tables.lists.insert(*root.as_bytes(), list.as_slice())?;
            for file in files {
                note(tables, file, false)?;
                tables.join(&file.manifest.root(), &file.path, &root)?;
            }
            // Its user moved the folder, if it was elsewhere and is not there any more.
            for other in tables.places(&root)? {
                if other.kept == Kept::List && other.path != entry.path && !other.path.is_dir() {
                    forget_folder(tables, &mut Removed::default(), other, collection)?;
                }
            }
            Ok(())
        })?;
        Ok(entry)
    }

    /// The entry of a collection of which there is a whole copy already.
    fn copied_folder(&self, collection: &Collection) -> Result<Option<Entry>, CatalogueError> {
        let (manifest, _) = hash_bytes(&collection.to_bytes())?;
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

/// Copies what was found into `folder`, and has it found there.
fn copy_folder(found: &mut [FoundFile], folder: &Path, cancel: &AtomicBool) -> Result<(), CatalogueError> {
    for file in found {
        let to = folder.join(file.relative.as_str());
        let above = to.parent().unwrap_or(folder);
        std::fs::create_dir_all(above).map_err(DiskError::at(above))?;
        let mut made =
            File::options().read(true).write(true).create_new(true).open(&to).map_err(DiskError::at(&to))?;
        copy_with_mode(&file.path, &mut open(&file.path)?, &mut made, cancel)?;
        file.path = to;
    }
    Ok(())
}
