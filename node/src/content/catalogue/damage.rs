//! Files that were fetched and are damaged: to be fetched again where they are.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use askaround_core::Key;

use super::{Catalogue, CatalogueError, Condition, Kept, Verified};
use crate::content::part::{Part, Wanted};
use crate::content::place::Place;

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
        let fetched = self.places(key)?.into_iter();
        let Some(entry) =
            fetched.filter(|entry| entry.kept == Kept::Fetched).find(|entry| entry.path == path)
        else {
            return Ok(None);
        };
        if !matches!(self.condition(&entry), Condition::Unchecked | Condition::Damaged) {
            return Ok(None);
        }
        Ok(Some(self.verify(&entry, &|_| (), cancel)?).filter(|verified| !verified.is_good()))
    }

    /// Makes a damaged file, which is at `place`, what a stopped fetch leaves, so that it is gone on with.
    ///
    /// # Errors
    /// If another fetch writes there, or the disk says no.
    pub fn take_back(&self, place: Place, damaged: &Verified) -> Result<(), CatalogueError> {
        let entry = &damaged.entry;
        let wanted = Wanted { manifest: Arc::new(self.manifest(entry)?), md5: entry.md5 };
        Ok(Part::take_back(place, wanted, damaged.good_pieces())?)
    }
}
