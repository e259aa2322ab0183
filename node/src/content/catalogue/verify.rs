//! Whether content is still what it was: looking at every piece, and seeing to it that what is in
//! the system's memory reaches the disk.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use askaround_core::Key;
use askaround_core::pieces::{Manifest, PieceSet, Root};

use super::super::file::file_of;
use super::{Catalogue, CatalogueError, Condition, Entry, Kept, open, tables};
use crate::content::boot::BootId;
use crate::content::disk::DiskError;
use crate::content::file::Stamp;
use crate::content::hash::{HashError, check_pieces};
use crate::content::md5::Md5;
use crate::content::place::Place;
use crate::store::StoreError;

/// What [`Catalogue::verify`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The content. When it is good, its file counts as unchanged from now on.
    pub entry: Entry,
    /// The pieces that are not as they should be, or are missing.
    pub bad: PieceSet,
    /// Whether there is something behind the last piece.
    pub too_long: bool,
}

impl Verified {
    /// Whether all is as it should be.
    pub fn is_good(&self) -> bool {
        self.bad.is_empty() && !self.too_long
    }

    /// The pieces that are as they should be.
    pub fn good_pieces(&self) -> PieceSet {
        let mut good = PieceSet::full(self.bad.count());
        self.bad.iter().for_each(|piece| _ = good.remove(piece));
        good
    }
}

/// Looks at every piece of a file that stays as it is meanwhile: how it looks, and which are bad.
pub(super) fn check(
    file: &File,
    path: &Path,
    manifest: &Manifest,
    progress: &dyn Fn(u64),
    cancel: &AtomicBool,
) -> Result<(Stamp, PieceSet), CatalogueError> {
    let before = Stamp::of(file).map_err(DiskError::at(path))?;
    let pieces: Vec<_> = manifest.geometry().pieces().collect();
    let hash_error = |error| CatalogueError::Hash { path: path.to_owned(), error };
    let bad = check_pieces(file, manifest, &pieces, progress, cancel).map_err(hash_error)?;
    if Stamp::of(file).map_err(DiskError::at(path))? != before {
        return Err(hash_error(HashError::Changed));
    }
    Ok((before, bad))
}

impl Catalogue {
    /// Reads the whole content and looks at every piece, on all cores. When all is good, its file
    /// counts as unchanged, else as changed. `progress` is told how many bytes are done.
    ///
    /// # Errors
    /// If it is not here, its file is gone or cannot be read, or `cancel` becomes true.
    pub fn verify(
        &self,
        key: &Key,
        progress: &dyn Fn(u64),
        cancel: &AtomicBool,
    ) -> Result<Verified, CatalogueError> {
        let mut entry = self.get(key)?.ok_or_else(|| CatalogueError::Unknown(key.clone()))?;
        let manifest = self.manifest(&entry)?;
        let is_list = entry.kept == Kept::List;
        let file = if is_list { file_of(&self.list_bytes(&entry.root)?)? } else { open(&entry.path)? };
        let (before, bad) = check(&file, &entry.path, &manifest, progress, cancel)?;
        let too_long = before.length > entry.size;
        let good = bad.is_empty() && !too_long;
        if good && !is_list {
            let known = entry.clone();
            // What was written in an earlier run of the machine and is read now was on the disk.
            entry.synced = before == entry.stamp && (entry.synced || entry.boot != BootId::current());
            entry.stamp = before;
            entry.boot = BootId::current();
            if entry != known {
                self.change(|write| tables::put(write, &entry))?;
            }
        } else if !is_list && entry.stamp == before {
            // It looks as it did and is not: from now on it counts as changed.
            entry.stamp.mtime_ns = 0;
            self.change(|write| tables::put(write, &entry))?;
        }
        Ok(Verified { entry, bad, too_long })
    }

    /// Sees to it that a content is surely on the disk, so that it need not be verified after a
    /// power loss. Takes as long as the disk does: for a background thread.
    ///
    /// # Errors
    /// If it is not here, or the disk says no.
    pub fn sync(&self, root: &Root) -> Result<(), CatalogueError> {
        let Some(entry) = self.get(&root.key())? else { return Err(CatalogueError::Unknown(root.key())) };
        if entry.synced || entry.kept == Kept::List || self.condition(&entry) != Condition::Good {
            return Ok(());
        }
        open(&entry.path)?.sync_all().map_err(DiskError::at(&entry.path))?;
        Place::new(&entry.path)?.folder().sync()?;
        self.change(|write| {
            // It may have been changed or forgotten meanwhile.
            let now = tables::entry(&write.open_table(tables::FILES)?, root)?;
            let same = now.filter(|now| now.stamp == entry.stamp);
            same.map_or(Ok(()), |now| tables::put(write, &Entry { synced: true, ..now }))
        })?;
        Ok(())
    }

    /// Notes the md5 of a content, once it is computed.
    ///
    /// # Errors
    /// If the catalogue cannot be written.
    pub fn note_md5(&self, root: &Root, md5: Md5) -> Result<(), StoreError> {
        self.change(|write| {
            let entry = tables::entry(&write.open_table(tables::FILES)?, root)?;
            entry.map_or(Ok(()), |entry| tables::put(write, &Entry { md5: Some(md5), ..entry }))
        })
    }
}
