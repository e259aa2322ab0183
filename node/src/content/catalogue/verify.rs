//! Reading content that is here: whether every piece is still what it was, and its md5.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use askaround_core::pieces::{Manifest, PieceSet};

use super::super::file::file_of;
use super::{Catalogue, CatalogueError, Condition, Entry, Kept, open};
use crate::content::boot::BootId;
use crate::content::disk::DiskError;
use crate::content::file::Stamp;
use crate::content::hash::{HashError, InOrderHash, check_pieces};
use crate::content::md5::Md5;

/// What [`Catalogue::verify`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The place. When it is good, its file counts as unchanged from now on.
    pub entry: Entry,
    /// How its file looked when it was read.
    pub stamp: Stamp,
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
fn check(
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
    /// Reads a content at a place that was just looked up, and looks at every piece, on all cores.
    /// When all is good, its file counts as unchanged; when it is not, and its file looks as if
    /// nobody had written to it, as damaged. `progress` is told how many bytes are done.
    ///
    /// # Errors
    /// If it is not there, its file is gone or cannot be read, or `cancel` becomes true.
    pub fn verify(
        &self,
        known: &Entry,
        progress: &dyn Fn(u64),
        cancel: &AtomicBool,
    ) -> Result<Verified, CatalogueError> {
        let mut entry = known.clone();
        let manifest = self.manifest(&entry)?;
        let is_list = entry.kept == Kept::List;
        let file = if is_list { file_of(&self.list_bytes(&entry.root)?)? } else { open(&entry.path)? };
        let (now, bad) = check(&file, &entry.path, &manifest, progress, cancel)?;
        let too_long = now.length > entry.size;
        let is_good = bad.is_empty() && !too_long;
        let untouched = now == entry.stamp || entry.is_rolled_back(now);
        if is_good && !is_list {
            entry.synced &= untouched;
            entry.stamp = now;
            entry.boot = Some(BootId::of(&file));
            entry.damaged = false;
        } else if untouched && !is_list {
            entry.stamp = now;
            entry.damaged = true;
        } else if entry.is_renumbered(now) && !is_list {
            // It is another file: its user has changed it.
            entry.damaged = true;
        }
        if entry != *known {
            let (stamp, boot, synced, damaged) = (entry.stamp, entry.boot, entry.synced, entry.damaged);
            let update = |now| Entry { stamp, boot, synced, damaged, ..now };
            self.change(|tables| tables.update(known, update))?;
        }
        // Reading takes long: it may have been purged meanwhile.
        match self.at(&entry.root, &entry.path)? {
            Some(_) => Ok(Verified { entry, stamp: now, bad, too_long }),
            None => Err(CatalogueError::Unknown(known.root.key())),
        }
    }

    /// Works out the md5 of a content of which it is not known yet, and notes it. `None` if there is
    /// nothing to work out, or its file is not what it was.
    ///
    /// # Errors
    /// If its file cannot be read, the catalogue cannot be written, or `cancel` becomes true.
    pub fn learn_md5(&self, entry: &Entry, cancel: &AtomicBool) -> Result<Option<Md5>, CatalogueError> {
        let Some(entry) = self.get(&entry.root.key())? else { return Ok(None) };
        if entry.md5.is_some() || entry.kept == Kept::List || Self::look(&entry) != Condition::Good {
            return Ok(None);
        }
        let content = self.open_entry(&entry)?;
        let failed = |error| CatalogueError::Hash { path: entry.path.clone(), error };
        let mut hash = InOrderHash::default();
        while hash.follow(&content, 1).map_err(|error| failed(HashError::Disk(error)))? > 0 {
            if cancel.load(Ordering::Relaxed) {
                return Err(failed(HashError::Cancelled));
            }
        }
        let md5 = hash.finish(&content).map_err(|error| failed(HashError::Disk(error)))?;
        if !content.unchanged() {
            return Ok(None);
        }
        let noted = self.change(|tables| tables.put_md5(&entry.root, md5))?;
        Ok(noted.then_some(md5))
    }
}
