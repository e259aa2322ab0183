//! How files come into the catalogue: the user's, and what was fetched.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use tempfile::NamedTempFile;

use super::addition::{Addition, note};
use super::copy::{MAKING, copy as copy_bytes, copy_name, under_a_free_name};
use super::hashing::{hash_one, hash_open};
use super::{Catalogue, CatalogueError, Condition, Entry, Kept, open};
use crate::content::disk::{DiskError, Fault, set_if_there_are_any};
use crate::content::file::Stamp;
use crate::content::hash::HashError;
use crate::content::md5::Md5;
use crate::content::part::{Part, is_of_a_fetch};
use crate::content::place::Place;
use crate::content::real_path;
use crate::lock;
use crate::store::StoreError;

/// That the owner may read and write.
const OWNERS: u32 = 0o600;

/// How a file of the user's is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Where it lies; nothing is copied.
    Reference,
    /// As a copy in the peer's folder.
    Copy,
}

impl Catalogue {
    /// Adds a file of the user's. `progress` is told how many bytes are done.
    ///
    /// # Errors
    /// If it is no file, cannot be read or copied, changes meanwhile, or `cancel` becomes true.
    pub fn add(
        &self,
        path: &Path,
        how: How,
        progress: &dyn Fn(u64),
        cancel: &AtomicBool,
    ) -> Result<Entry, CatalogueError> {
        let mut file = open(path)?;
        let path = real_path(path)?;
        if self.is_state(&file.metadata().map_err(DiskError::at(&path))?) {
            return Err(CatalogueError::OwnState(path));
        }
        // By another name it would be the same file.
        if is_of_a_fetch(path.canonicalize().as_ref().unwrap_or(&path))? {
            return Err(CatalogueError::Unfinished(path));
        }
        match how {
            How::Reference => self.add_one(hash_one(&path, &file, true, progress, cancel)?),
            How::Copy => {
                let copies = self.copies()?;
                let mut made = tempfile::Builder::new()
                    .prefix(MAKING)
                    .tempfile_in(&copies)
                    .map_err(DiskError::at(&copies))?;
                copy_with_mode(&path, &mut file, &copies, made.as_file_mut(), cancel)?;
                let mut addition = hash_open(&path, made.as_file(), true, progress, cancel)?;
                addition.kept = Kept::Copy;
                let _copying = lock(&self.copying);
                // A copy of ours comes first, if one is good.
                let known = self.get(&addition.manifest.root().key())?;
                let copied = known.filter(|known| known.kept == Kept::Copy);
                if let Some(known) = copied.filter(|known| self.condition(known) == Condition::Good) {
                    return self.add_one(Addition { path: known.path, stamp: known.stamp, ..addition });
                }
                addition.path = keep(made, &copies, copy_name(&path, "content"))?;
                self.add_one(addition.clone()).inspect_err(|_| {
                    // The first failure is the one to tell.
                    let _ = self.remove_copy(&addition.path);
                })
            }
        }
    }

    pub(super) fn add_one(&self, addition: Addition) -> Result<Entry, CatalogueError> {
        self.add_all(std::slice::from_ref(&addition))?;
        let root = addition.manifest.root();
        self.at(&root, &addition.path)?.ok_or(CatalogueError::BadRecord(root))
    }

    /// Adds what was fetched, once it is finished.
    ///
    /// # Errors
    /// If the file is gone, or the catalogue cannot be written.
    pub fn add_fetched(&self, part: &Part, md5: Option<Md5>) -> Result<Entry, CatalogueError> {
        self.add_one(Addition::fetched(part, md5)?)
    }

    /// Notes that a file was repaired. It belongs to its user or to a folder as before.
    ///
    /// # Errors
    /// If it was purged meanwhile, its file cannot be looked at, or the catalogue cannot be written.
    pub fn add_repaired(&self, part: &Part) -> Result<(), CatalogueError> {
        let addition = Addition::fetched(part, None)?;
        let root = addition.manifest.root();
        let noted = self.change(|tables| match tables.at(&root, &addition.path)? {
            Some(_) => note(tables, &addition, false).map(|()| true),
            None => Ok(false),
        })?;
        if noted { Ok(()) } else { Err(CatalogueError::Unknown(root.key())) }
    }

    /// Adds files in one go, each by itself.
    ///
    /// # Errors
    /// If the catalogue cannot be written.
    pub fn add_all(&self, files: &[Addition]) -> Result<(), StoreError> {
        let mut gone = Vec::new();
        for file in files {
            gone.extend(self.gone_elsewhere(file)?);
        }
        self.change(|tables| {
            files.iter().try_for_each(|file| note(tables, file, true))?;
            for place in gone {
                // It may have been added again since it was looked at.
                if tables.at(&place.root, &place.path)?.is_some_and(|now| now == place)
                    && !tables.is_needed(&place.root, &place.path)?
                {
                    tables.take(&place)?;
                }
            }
            Ok(())
        })
    }

    /// Where the content of this file was and is no more: its user moved it, or made something else of
    /// it. What is being repaired is not meant.
    fn gone_elsewhere(&self, file: &Addition) -> Result<Vec<Entry>, StoreError> {
        let repairing = lock(&self.repairing).clone();
        let is_gone = |place: &Entry| match Self::look(place) {
            Condition::Missing => true,
            // A copy of ours would be left behind.
            Condition::Changed => place.kept != Kept::Copy,
            Condition::Good | Condition::Unchecked | Condition::Damaged | Condition::Unreadable => false,
        };
        let mut others = self.places(&file.manifest.root().key())?;
        others.retain(|place| place.path != file.path && !repairing.contains(&place.path) && is_gone(place));
        Ok(others)
    }
}

/// Gives a finished copy a name that nothing has.
fn keep(made: NamedTempFile, copies: &Path, name: &OsStr) -> Result<PathBuf, DiskError> {
    let made = made.into_temp_path();
    let from = Place::new(&made)?;
    let (path, ()) = under_a_free_name(copies, name, |path| from.rename(&Place::new(path)?))?;
    // It has no other name any more that would be removed.
    let _ = made.keep();
    Ok(path)
}

/// Copies a file into the empty file `to`, which is to be `copy`. A copy may be written to, so that it
/// can be repaired, and runs as whoever runs it.
pub(super) fn copy_with_mode(
    path: &Path,
    from: &mut File,
    copy: &Path,
    to: &mut File,
    cancel: &AtomicBool,
) -> Result<(), CatalogueError> {
    copy_unchanged(path, from, |from| match copy_bytes(from, to, cancel) {
        Ok(true) => Ok(()),
        Ok(false) => Err(CatalogueError::Hash { path: path.to_owned(), error: HashError::Cancelled }),
        Err(error) => {
            let fault = Fault::from(error);
            let path = if matches!(fault, Fault::Full { .. } | Fault::Quota) { copy } else { path };
            Err(DiskError::new(path, fault).into())
        }
    })?;
    let mode = from.metadata().map_err(DiskError::at(path)).and_then(|data| {
        let mut permissions = data.permissions();
        permissions.set_mode(permissions.mode() & 0o777 | OWNERS);
        set_if_there_are_any(to.set_permissions(permissions)).map_err(DiskError::at(copy))
    });
    Ok(mode?)
}

/// Has `copy` copy a file that stays as it is meanwhile.
fn copy_unchanged(
    path: &Path,
    from: &mut File,
    copy: impl FnOnce(&mut File) -> Result<(), CatalogueError>,
) -> Result<(), CatalogueError> {
    let before = Stamp::of(from).map_err(DiskError::at(path))?;
    copy(from)?;
    if Stamp::of(from).map_err(DiskError::at(path))? != before {
        return Err(CatalogueError::Hash { path: path.to_owned(), error: HashError::Changed });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_copy_of_what_is_written_to_meanwhile_is_none() {
        let user = tempfile::tempdir().unwrap();
        let path = user.path().join("a");
        std::fs::write(&path, [1; 9]).unwrap();
        let mut from = File::options().read(true).write(true).open(&path).unwrap();
        copy_unchanged(&path, &mut from, |_| Ok(())).unwrap();
        let written_to = copy_unchanged(&path, &mut from, |from| {
            from.write_all(&[2; 10]).unwrap();
            Ok(())
        });
        let error = written_to.unwrap_err();
        assert!(matches!(error, CatalogueError::Hash { error: HashError::Changed, .. }), "{error}");
    }
}
