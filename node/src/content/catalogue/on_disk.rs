//! Seeing to it that what is in the system's memory reaches the disk, so that a power loss costs
//! nothing.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Catalogue, CatalogueError, Condition, Entry, Kept, open};
use crate::content::disk::{DiskError, sync};
use crate::content::file::Stamp;
use crate::content::place::Folder;
use crate::store::StoreError;

/// So many are noted together.
const AT_ONCE: usize = 256;

impl Catalogue {
    /// Sees to it that every place is surely on the disk, so that none needs to be verified after a
    /// power loss. Takes as long as the disk does: for a background thread. What the disk fails to
    /// take has to be verified; what cannot be synced otherwise is tried again the next time. How many
    /// places are sure now that were not.
    ///
    /// # Errors
    /// If the catalogue cannot be read or written.
    pub fn sync(&self, cancel: &AtomicBool) -> Result<usize, CatalogueError> {
        let is_unsure = |entry: &Entry| !entry.synced && Self::look(entry) == Condition::Good;
        let mut unsure = self.entries().filter(|entry| entry.as_ref().map_or(true, is_unsure));
        let mut count = 0;
        loop {
            let some = unsure.by_ref().take(AT_ONCE).collect::<Result<Vec<_>, _>>()?;
            if some.is_empty() {
                return Ok(count);
            }
            let (mut sure, mut lost) = (Vec::new(), Vec::new());
            let mut folders = BTreeSet::new();
            for entry in &some {
                if cancel.load(Ordering::Relaxed) {
                    return Ok(count);
                }
                match sync_file(entry) {
                    Ok(()) => {
                        folders.extend(entry.path.parent().map(Path::to_owned));
                        sure.push(entry);
                    }
                    Err(NotSure::Yet(error)) => tracing::debug!(%error, "not surely on the disk yet"),
                    Err(NotSure::Lost(error)) => {
                        tracing::warn!(%error, "the disk could not take it: it has to be verified");
                        lost.push(entry);
                    }
                }
            }
            let failed: BTreeSet<PathBuf> =
                folders.into_iter().filter(|folder| sync_folder(folder).is_err()).collect();
            sure.retain(|entry| entry.path.parent().is_none_or(|folder| !failed.contains(folder)));
            // Of no known run of the machine, it has to be verified.
            self.note(&lost, |now| Entry { boot: None, ..now })?;
            count += self.note(&sure, |now| Entry { synced: true, ..now })?;
        }
    }

    fn note(&self, entries: &[&Entry], change: impl Fn(Entry) -> Entry) -> Result<usize, StoreError> {
        if entries.is_empty() {
            return Ok(0);
        }
        self.change(|tables| {
            let mut count = 0;
            for entry in entries {
                count += usize::from(tables.update(entry, &change)?);
            }
            Ok(count)
        })
    }
}

/// Why a place is not surely on the disk.
enum NotSure {
    /// It may be the next time.
    Yet(DiskError),
    /// Some of it may never be.
    Lost(DiskError),
}

fn sync_file(entry: &Entry) -> Result<(), NotSure> {
    if entry.kept == Kept::List {
        return Ok(());
    }
    let file = open(&entry.path).map_err(NotSure::Yet)?;
    let not_yet = |why: &str| NotSure::Yet(DiskError::at(&entry.path)(std::io::Error::other(why.to_owned())));
    match sync(&file, true) {
        Ok(true) => {}
        Ok(false) => return Err(not_yet("its file system does not say when it is on the disk")),
        Err(error) => {
            forget(&file);
            return Err(NotSure::Lost(DiskError::at(&entry.path)(error)));
        }
    }
    match Stamp::of(&file).map_err(DiskError::at(&entry.path)) {
        Ok(now) if now == entry.stamp => Ok(()),
        Ok(_) => Err(not_yet("was changed meanwhile")),
        Err(error) => Err(NotSure::Yet(error)),
    }
}

/// Has the system forget what it has of a file in memory, so that it is read from the disk.
#[cfg(target_os = "linux")]
fn forget(file: &File) {
    // An advice: nothing more can be done if it is not taken.
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
fn forget(_: &File) {}

fn sync_folder(folder: &Path) -> Result<(), DiskError> {
    Folder::open(folder)?.sync()
}
