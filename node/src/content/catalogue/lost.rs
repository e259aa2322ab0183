//! Copies in the peer's folder of which its catalogue knows nothing: because the file with its
//! state was lost, or because the peer was killed while it made or removed them.

use std::collections::HashSet;
use std::fs::DirEntry;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use redb::Durability;

use super::copy::MAKING;
use super::hashing::hash_one;
use super::{Catalogue, CatalogueError, Entry, Kept, open, tables};
use crate::content::collection::Collection;
use crate::content::disk::DiskError;
use crate::content::walk;
use crate::store::StoreError;

/// Copies of which the catalogue knows nothing.
#[derive(Debug, PartialEq, Eq)]
pub enum UnknownCopies {
    /// The catalogue was made since: they are to be found again.
    Lost(Vec<PathBuf>),
    /// What is left of copies that were being added or purged.
    Left(Vec<PathBuf>),
}

impl Catalogue {
    /// The copies in the peer's folder of which the catalogue knows nothing: files and folders.
    ///
    /// # Errors
    /// If the catalogue or the folder cannot be read.
    pub fn unknown_copies(&self) -> Result<UnknownCopies, CatalogueError> {
        let unknown = self.unknown()?;
        let found = self.read(tables::copies_are_found)?;
        Ok(if found { UnknownCopies::Left(unknown) } else { UnknownCopies::Lost(unknown) })
    }

    /// Notes that the lost copies were found: those that are not known from now on were not lost.
    ///
    /// # Errors
    /// If the catalogue cannot be written.
    pub fn note_copies_found(&self) -> Result<(), StoreError> {
        // The next change takes it to the disk, before which there is no copy.
        self.change_with(Durability::None, |tables| {
            tables.notes.insert(tables::COPIES_FOUND, ())?;
            Ok(())
        })
    }

    fn unknown(&self) -> Result<Vec<PathBuf>, CatalogueError> {
        let Some(copies) = self.copies_there()? else { return Ok(Vec::new()) };
        let copy = |entry: Entry| Some(copies.join(entry.path.strip_prefix(&copies).ok()?.iter().next()?));
        let known = self.entries().filter_map(|entry| entry.map(copy).transpose());
        let known = known.collect::<Result<HashSet<_>, _>>()?;
        let there = std::fs::read_dir(&copies).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut unknown: Vec<_> = there
            .map_err(DiskError::at(&copies))?
            .into_iter()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file() || kind.is_dir()))
            .filter(|entry| !is_being_made(entry))
            .map(|entry| entry.path())
            .filter(|path| !known.contains(path))
            .collect();
        unknown.sort_unstable();
        Ok(unknown)
    }

    /// Removes what is left of copies that were being made when the peer was killed. For when it begins:
    /// no copy may be under way.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub fn remove_half_made_copies(&self) -> Result<(), CatalogueError> {
        let Some(copies) = self.copies_there()? else { return Ok(()) };
        let there = std::fs::read_dir(&copies).map_err(DiskError::at(&copies))?;
        for entry in there.flatten().filter(is_being_made) {
            let path = entry.path();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let remove = if is_folder { std::fs::remove_dir_all } else { std::fs::remove_file };
            remove(&path).map_err(DiskError::at(&path))?;
        }
        Ok(())
    }

    /// Adds a lost copy again, where it lies; of a folder also which files it has.
    ///
    /// # Errors
    /// As [`Catalogue::add`].
    pub fn find_again(
        &self,
        copy: &Path,
        cancel: &AtomicBool,
    ) -> Result<(Entry, Option<Collection>), CatalogueError> {
        if copy.is_dir() {
            let (found, _) = walk::walk(copy, cancel)?;
            let (entry, collection) = self.add_found(copy, Kept::Copy, &found, &|_, _| (), cancel)?;
            return Ok((entry, Some(collection)));
        }
        let mut addition = hash_one(copy, &open(copy)?, true, &|_| (), cancel)?;
        addition.kept = Kept::Copy;
        Ok((self.add_one(addition)?, None))
    }
}

fn is_being_made(entry: &DirEntry) -> bool {
    entry.file_name().as_bytes().starts_with(MAKING.as_bytes())
}
