//! Seeing to it that what is in the system's memory reaches the disk, so that a power loss costs
//! nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Catalogue, CatalogueError, Condition, Entry, Kept, open};
use crate::content::disk::DiskError;
use crate::content::file::Stamp;
use crate::content::place::Folder;
use crate::store::StoreError;

/// So many are noted together.
const AT_ONCE: usize = 256;

impl Catalogue {
    /// Sees to it that these places are surely on the disk, so that they need not be verified after
    /// a power loss. Takes as long as the disk does: for a background thread. What cannot be synced
    /// stays as it is, and is tried again the next time. How many places are sure now that were not.
    ///
    /// # Errors
    /// If the catalogue cannot be read or written.
    pub fn sync(&self, entries: &[Entry], cancel: &AtomicBool) -> Result<usize, CatalogueError> {
        let is_unsure = |entry: &&Entry| !entry.synced && Self::look(entry) == Condition::Good;
        let unsure: Vec<_> = entries.iter().filter(is_unsure).collect();
        let mut count = 0;
        for some in unsure.chunks(AT_ONCE) {
            let mut sure = Vec::new();
            let mut folders = BTreeSet::new();
            for &entry in some {
                if cancel.load(Ordering::Relaxed) {
                    return Ok(count);
                }
                match sync_file(entry) {
                    Ok(()) => {
                        folders.extend(entry.path.parent().map(Path::to_owned));
                        sure.push(entry);
                    }
                    Err(error) => tracing::debug!(%error, "not surely on the disk yet"),
                }
            }
            let failed: BTreeSet<PathBuf> =
                folders.into_iter().filter(|folder| sync_folder(folder).is_err()).collect();
            sure.retain(|entry| entry.path.parent().is_none_or(|folder| !failed.contains(folder)));
            count += self.note_sure(&sure)?;
        }
        Ok(count)
    }

    fn note_sure(&self, sure: &[&Entry]) -> Result<usize, StoreError> {
        if sure.is_empty() {
            return Ok(0);
        }
        self.change(|tables| {
            let mut count = 0;
            for entry in sure {
                let noted = tables.update(entry, |now| Entry { synced: true, ..now })?;
                count += usize::from(noted);
            }
            Ok(count)
        })
    }
}

fn sync_file(entry: &Entry) -> Result<(), DiskError> {
    if entry.kept == Kept::List {
        return Ok(());
    }
    let file = open(&entry.path)?;
    file.sync_all().map_err(DiskError::at(&entry.path))?;
    match Stamp::of(&file).map_err(DiskError::at(&entry.path))? == entry.stamp {
        true => Ok(()),
        false => Err(DiskError::at(&entry.path)(std::io::Error::other("was changed meanwhile"))),
    }
}

fn sync_folder(folder: &Path) -> Result<(), DiskError> {
    Folder::open(folder)?.sync()
}
