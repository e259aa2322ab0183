//! Forgetting content.

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::path::PathBuf;

use askaround_core::Key;
use askaround_core::pieces::Root;

use super::tables::Tables;
use super::{Catalogue, CatalogueError, Condition, Entry, Kept, tables};
use crate::content::collection::Collection;
use crate::content::real_path;
use crate::lock;

/// What was forgotten.
#[derive(Debug, Default)]
pub struct Removed {
    /// Places.
    pub places: Vec<Entry>,
    /// Contents that are at no place any more.
    pub gone: BTreeSet<Root>,
    /// Copies that their user has made something else of, which stay.
    pub edited: Vec<PathBuf>,
    /// Why the first of the copies that could not be removed stays.
    pub failed: Option<CatalogueError>,
}

impl Removed {
    /// The keys of what is at no place any more.
    pub fn keys(&self) -> BTreeSet<Key> {
        self.places.iter().filter(|place| self.gone.contains(&place.root)).flat_map(Entry::keys).collect()
    }

    /// Forgets a place, unless something needs it. Whether it did.
    fn forget(&mut self, tables: &mut Tables<'_>, entry: Entry) -> Result<bool, redb::Error> {
        if tables.is_needed(&entry.root, &entry.path)? {
            return Ok(false);
        }
        tables.take(&entry)?;
        if !tables.is_here(&entry.root)? {
            self.gone.insert(entry.root);
        }
        self.places.push(entry);
        Ok(true)
    }

    /// Forgets a place that its user wants no more. If a collection needs it, it is no more than one
    /// of its files. What is known of it may have changed since `place` was read.
    pub(super) fn disown(&mut self, tables: &mut Tables<'_>, place: Entry) -> Result<(), redb::Error> {
        let Some(now) = tables.at(&place.root, &place.path)? else { return Ok(()) };
        if self.forget(tables, now.clone())? { Ok(()) } else { tables.put(&Entry { own: false, ..now }) }
    }
}

impl Catalogue {
    /// Forgets a content; of a collection also the files that are here only for it. Copies in the
    /// peer's folder are removed, other files stay. A copy that cannot be removed is forgotten as well,
    /// and told.
    ///
    /// # Errors
    /// If the catalogue cannot be written.
    pub fn remove(&self, key: &Key) -> Result<Removed, CatalogueError> {
        let places = self.places(key)?;
        let collection = match places.iter().find(|entry| entry.kept == Kept::List) {
            Some(list) => Some(self.collection(&list.root)?),
            None => None,
        };
        // Nobody takes a copy for there that is about to go.
        let _copying = lock(&self.copying);
        let mut removed = self.forget(|tables, removed| {
            places.into_iter().try_for_each(|place| match &collection {
                Some(files) if place.kept == Kept::List => forget_folder(tables, removed, place, files),
                _ => removed.disown(tables, place),
            })
        })?;
        self.remove_copies(&mut removed)?;
        Ok(removed)
    }

    /// Removes the copies among what was forgotten: not what its user has made something else of, nor
    /// what is there by another name or for another content too.
    fn remove_copies(&self, removed: &mut Removed) -> Result<(), CatalogueError> {
        let copies = removed.places.iter().filter(|place| place.kept == Kept::Copy);
        let paths: BTreeSet<_> = copies.clone().map(|copy| copy.path.as_path()).collect();
        if paths.is_empty() {
            return Ok(());
        }
        let others = self.read(|read| tables::some_at(read, |_, path| paths.contains(path)))?;
        let others: BTreeSet<_> = others.into_iter().map(|other| other.path).collect();
        let (mut edited, mut failures, mut real) = (Vec::new(), Vec::new(), BTreeMap::new());
        for copy in copies {
            let real = match real.entry(copy.root) {
                btree_map::Entry::Occupied(known) => known.into_mut(),
                btree_map::Entry::Vacant(new) => new.insert(self.real_places(&copy.root)?),
            };
            if others.contains(&copy.path) || real.contains(&copy.path) {
                continue;
            }
            match Self::look(copy) {
                Condition::Changed => edited.push(copy.path.clone()),
                _ => failures.extend(self.remove_copy(&copy.path).err()),
            }
        }
        removed.edited = edited;
        removed.failed = failures.into_iter().next().map(|failure| match failure {
            CatalogueError::Disk(error) => CatalogueError::CopyStays(error),
            failure => failure,
        });
        Ok(())
    }

    /// Where a content is, by real paths: older versions noted others too, by which one file may be two
    /// places.
    fn real_places(&self, root: &Root) -> Result<BTreeSet<PathBuf>, CatalogueError> {
        Ok(self.places(&root.key())?.iter().map(|place| real_path(&place.path)).collect::<Result<_, _>>()?)
    }
}

impl Catalogue {
    /// Forgets a place whose file is gone, if the content is good at another and no folder needs it
    /// there. That other.
    ///
    /// # Errors
    /// If the catalogue cannot be read or written.
    pub fn forget_if_gone(&self, place: &Entry) -> Result<Option<Entry>, CatalogueError> {
        if place.kept == Kept::Copy || self.condition(place) != Condition::Missing {
            return Ok(None);
        }
        let others = self.places(&place.root.key())?.into_iter();
        let mut others = others.filter(|other| other.path != place.path);
        let Some(other) = others.find(|other| self.condition(other) == Condition::Good) else {
            return Ok(None);
        };
        let forgotten = self.change(|tables| Removed::default().forget(tables, place.clone()))?;
        Ok(forgotten.then_some(other))
    }
}

/// Forgets the folder of a collection, and the files in it that are here only for it.
pub(super) fn forget_folder(
    tables: &mut Tables<'_>,
    removed: &mut Removed,
    list: Entry,
    files: &Collection,
) -> Result<(), redb::Error> {
    for file in files.files() {
        let path = list.path.join(file.path.as_str());
        tables.leave(&file.root, &path, &list.root)?;
        if let Some(place) = tables.at(&file.root, &path)?.filter(|place| !place.own) {
            removed.forget(tables, place)?;
        }
    }
    removed.forget(tables, list).map(drop)
}
