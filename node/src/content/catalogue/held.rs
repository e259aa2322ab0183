//! What the peer's machine is to hold of what is here. The machine stores by itself what it holds, and
//! the peer may end between the two.

use askaround_core::Key;
use redb::Durability;

use super::Catalogue;
use super::remove::Removed;
use super::tables::{self, Tables};
use crate::store::StoreError;

impl Catalogue {
    /// Those of these keys whose content is here.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn of_what_is_here(&self, keys: Vec<Key>) -> Result<Vec<Key>, StoreError> {
        self.read(|read| tables::keys_here(read, keys))
    }

    /// Keys of content that was forgotten, which the machine may still hold.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn forgotten(&self) -> Result<Vec<Key>, StoreError> {
        self.read(tables::forgotten)
    }

    /// The machine holds these no longer.
    ///
    /// # Errors
    /// If the catalogue cannot be written.
    pub fn note_not_held(&self, keys: &[Key]) -> Result<(), StoreError> {
        // The next change takes it to the disk. Until then they are purged once more.
        self.change_with(Durability::None, |tables| {
            keys.iter().try_for_each(|key| tables.forgotten.remove(key.as_str()).map(drop))?;
            Ok(())
        })
    }

    /// Forgets something, and notes that the machine may still hold the keys of what is gone.
    pub(super) fn forget(
        &self,
        forget: impl FnOnce(&mut Tables<'_>, &mut Removed) -> Result<(), redb::Error>,
    ) -> Result<Removed, StoreError> {
        self.change(|tables| {
            let mut removed = Removed::default();
            forget(tables, &mut removed)?;
            for key in removed.keys() {
                tables.forgotten.insert(key.as_str(), ())?;
            }
            Ok(removed)
        })
    }
}
