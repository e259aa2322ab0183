//! What was at a path before another content was added there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use askaround_core::pieces::Root;

use super::remove::{Removed, forget_folder};
use super::{Catalogue, CatalogueError, Condition, Entry, Kept, tables};
use crate::content::collection::Collection;
use crate::lock;

/// Paths, and what was just added there.
pub type AddedAt = BTreeMap<PathBuf, Root>;

impl Catalogue {
    /// Forgets which other contents were known to be at these paths: a file is not what it was any
    /// more. A folder is forgotten if something that its list has cannot be served from anywhere; else
    /// both lists are right. Otherwise whoever adds a folder each day keeps what is known of each day.
    ///
    /// # Errors
    /// If the catalogue cannot be read or written.
    pub fn forget_replaced(&self, now: &AddedAt) -> Result<Removed, CatalogueError> {
        let is_replaced = |root: &Root, path: &_| now.get(path).is_some_and(|is| is != root);
        let before = self.read(|read| tables::some_at(read, is_replaced))?;
        let repairing = lock(&self.repairing).clone();
        let before =
            before.into_iter().filter(|place| !self.is_copy(place) && !repairing.contains(&place.path));
        let (lists, files): (Vec<_>, Vec<_>) = before.partition(|place| place.kept == Kept::List);
        let mut folders = Vec::new();
        for list in lists {
            let collection = self.collection(&list.root)?;
            if !self.can_be_served(&collection, now)? {
                folders.push((list, collection));
            }
        }
        if files.is_empty() && folders.is_empty() {
            return Ok(Removed::default());
        }
        Ok(self.forget(|tables, removed| {
            for (list, collection) in folders {
                forget_folder(tables, removed, list, &collection)?;
            }
            files.into_iter().try_for_each(|file| removed.disown(tables, file))
        })?)
    }

    /// Whether each file of a list is at some place, as far as a look at it tells.
    fn can_be_served(&self, collection: &Collection, now: &AddedAt) -> Result<bool, CatalogueError> {
        let is_there = |place: &Entry| {
            now.get(&place.path).is_none_or(|is| *is == place.root)
                && !matches!(Self::look(place), Condition::Changed | Condition::Missing)
        };
        for file in collection.files() {
            if !self.places(&file.root.key())?.iter().any(is_there) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
