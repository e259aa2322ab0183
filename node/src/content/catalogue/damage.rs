//! Files that were fetched and are damaged: to be fetched again where they are.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use askaround_core::Key;

use super::{Catalogue, CatalogueError, Condition, Entry, Kept, Verified};
use crate::content::boot::BootId;
use crate::content::file::Stamp;
use crate::content::part::{Part, Wanted};
use crate::content::place::Place;
use crate::content::real_path;
use crate::lock;
use crate::store::StoreError;

impl Catalogue {
    /// Of a file that was fetched to `path`, and of which it is not sure that it is good, although
    /// nobody seems to have written to it since: what of it is good. `None` if all is, or if it is no
    /// such file. Reads it.
    ///
    /// # Errors
    /// If the catalogue or the file cannot be read, or `cancel` becomes true.
    pub fn damage(
        &self,
        key: &Key,
        path: &Path,
        cancel: &AtomicBool,
    ) -> Result<Option<Verified>, CatalogueError> {
        // It may be noted in another spelling.
        let is_there =
            |entry: &Entry| entry.path == path || real_path(&entry.path).is_ok_and(|at| at == path);
        let is_it = |entry: &Entry| entry.kept == Kept::Fetched && is_there(entry);
        let Some(entry) = self.places(key)?.into_iter().find(is_it) else { return Ok(None) };
        if !matches!(self.condition(&entry), Condition::Unchecked | Condition::Damaged) {
            return Ok(None);
        }
        let verified = self.verify(&entry, &|_| (), cancel)?;
        // Its user may have made something else of it after the look at it.
        let is_damaged = verified.entry.damaged && verified.entry.stamp == verified.stamp;
        Ok(Some(verified).filter(|verified| !verified.is_good() && is_damaged))
    }

    /// Makes a damaged file, which is at `place`, what a stopped fetch leaves, so that it is gone on with.
    /// Whether nothing is in the way there any more: what is not the file that was verified stays.
    ///
    /// # Errors
    /// If another fetch writes there, or the disk says no.
    pub fn take_back(&self, place: Place, damaged: &Verified) -> Result<bool, CatalogueError> {
        let entry = &damaged.entry;
        let wanted = Wanted { manifest: Arc::new(self.manifest(entry)?), md5: entry.md5 };
        Ok(Part::take_back(place, wanted, damaged.good_pieces(), damaged.stamp)?)
    }

    /// Notes that a repair has let go of a file before it was whole, and how it looked then: if it
    /// was damaged when the repair began, it is so again, and not changed by its user.
    ///
    /// # Errors
    /// If the catalogue cannot be written.
    pub fn note_unrepaired(&self, place: &Entry, began: Stamp, left: Stamp) -> Result<(), StoreError> {
        if left == began {
            return Ok(());
        }
        self.change(|tables| {
            let now = tables.at(&place.root, &place.path)?;
            // Of another length, somebody else has written to it too.
            let is_it = |now: &Entry| now.damaged && now.stamp == began && now.size == left.length;
            match now.filter(is_it) {
                Some(now) => {
                    let boot = BootId::at(&now.path);
                    tables.put(&Entry { stamp: left, boot: Some(boot), synced: false, ..now })
                }
                None => Ok(()),
            }
        })
    }

    /// As long as what this returns is there, the place is being repaired: it is not forgotten because
    /// its file is gone, or not what it was.
    pub fn repairing(&self, place: &Entry) -> Repairing {
        let (paths, path) = (self.repairing.clone(), place.path.clone());
        lock(&paths).push(path.clone());
        Repairing { paths, path }
    }
}

/// See [`Catalogue::repairing`].
#[derive(Debug)]
pub struct Repairing {
    paths: Arc<Mutex<Vec<PathBuf>>>,
    path: PathBuf,
}

impl Drop for Repairing {
    fn drop(&mut self) {
        let mut paths = lock(&self.paths);
        if let Some(at) = paths.iter().position(|path| *path == self.path) {
            paths.swap_remove(at);
        }
    }
}
