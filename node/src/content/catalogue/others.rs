//! What other places of a content are good for: a place that is damaged is repaired from them.

use std::sync::atomic::AtomicBool;

use super::{Catalogue, CatalogueError, Entry, Kept, open};
use crate::content::file::{ContentFile, Stamp};
use crate::content::part::Part;

impl Catalogue {
    /// Copies what is missing of a content from its other places, as far as it is right there,
    /// however they look.
    ///
    /// # Errors
    /// If the catalogue cannot be read, a disk says no, or `cancel` becomes true. Places that cannot
    /// be opened are left out.
    pub fn fill_from_others(
        &self,
        part: &Part,
        entry: &Entry,
        cancel: &AtomicBool,
    ) -> Result<(), CatalogueError> {
        let manifest = &part.wanted().manifest;
        let is_other = |other: &Entry| other.path != entry.path && other.kept != Kept::List;
        for other in self.places(&entry.root.key())?.into_iter().filter(is_other) {
            if part.pieces().is_full() {
                break;
            }
            if let Ok(file) = open(&other.path)
                && let Ok(stamp) = Stamp::of(&file)
                && stamp.length == entry.size
            {
                part.fill_from(&ContentFile::whole(file, manifest.clone(), stamp), &|_| (), cancel)?;
            }
        }
        Ok(())
    }
}
