//! [`Entries`]: everything that is here, read a few at a time, since a catalogue may be long.

use std::vec;

use super::tables::{self, Position};
use super::{Catalogue, Entry};
use crate::store::StoreError;

/// So many places are in memory at once.
const AT_ONCE: usize = 256;

/// Every place of everything that is here, those of one content behind each other. What changes
/// meanwhile may be seen as it was or as it is. Each step may block.
#[derive(Debug)]
pub struct Entries {
    catalogue: Catalogue,
    read: vec::IntoIter<Entry>,
    last: Option<Position>,
    is_at_end: bool,
}

impl Catalogue {
    /// Every place of everything that is here, without having all of them in memory.
    pub fn entries(&self) -> Entries {
        Entries { catalogue: self.clone(), read: Vec::new().into_iter(), last: None, is_at_end: false }
    }

    /// The same, all places of a content at a time.
    pub fn contents(&self) -> impl Iterator<Item = Result<Vec<Entry>, StoreError>> + use<> {
        let mut entries = self.entries().peekable();
        std::iter::from_fn(move || {
            let first = match entries.next()? {
                Ok(first) => first,
                Err(error) => return Some(Err(error)),
            };
            let root = first.root;
            let mut places = vec![first];
            let is_same = |next: &Result<Entry, _>| next.as_ref().is_ok_and(|next| next.root == root);
            while let Some(Ok(next)) = entries.next_if(is_same) {
                places.push(next);
            }
            Some(Ok(places))
        })
    }
}

impl Iterator for Entries {
    type Item = Result<Entry, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.read.next() {
                return Some(Ok(entry));
            }
            if self.is_at_end {
                return None;
            }
            let last = self.last.take();
            match self.catalogue.read(|read| tables::some_behind(read, last.as_ref(), AT_ONCE)) {
                Ok((entries, last)) => {
                    self.read = entries.into_iter();
                    self.is_at_end = last.is_none();
                    self.last = last;
                }
                Err(error) => {
                    self.is_at_end = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use askaround_core::pieces::{Manifest, Root};

    use super::super::addition::note;
    use super::super::{Addition, Kept};
    use super::*;
    use crate::content::file::Stamp;

    /// A place of a content of one byte, without its file.
    fn place(content: usize, name: &str) -> Addition {
        let root = Root::new(*blake3::hash(&content.to_le_bytes()).as_bytes());
        let manifest = Arc::new(Manifest::new(root, 1, vec![*root.as_bytes()]).unwrap());
        let stamp = Stamp { length: 1, mtime_ns: 0, inode: 0 };
        let (path, kept) = (PathBuf::from(format!("/nowhere/{content}{name}")), Kept::Reference);
        Addition { manifest, md5: None, path, kept, stamp, sparse: false, executable: false }
    }

    #[test]
    fn however_many_there_are_each_is_read_once() {
        for count in [0, 1, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 2 * AT_ONCE, 2 * AT_ONCE + 1] {
            let catalogue = Catalogue::temporary().unwrap();
            let places: Vec<_> = (0..count).map(|number| place(number, "")).collect();
            catalogue.change(|tables| places.iter().try_for_each(|one| note(tables, one, true))).unwrap();
            let mut read: Vec<_> = catalogue.entries().map(|entry| entry.unwrap().path).collect();
            let mut expected: Vec<_> = places.into_iter().map(|place| place.path).collect();
            read.sort();
            expected.sort();
            assert_eq!(read, expected, "of {count}");
        }
    }

    #[test]
    fn the_places_of_a_content_come_behind_each_other_also_where_reading_is_interrupted() {
        let catalogue = Catalogue::temporary().unwrap();
        let names: Vec<_> = (0..AT_ONCE).map(|number| number.to_string()).collect();
        let places: Vec<_> = (0..3).flat_map(|one| names.iter().map(move |name| place(one, name))).collect();
        catalogue.change(|tables| places.iter().try_for_each(|one| note(tables, one, true))).unwrap();
        let mut roots: Vec<_> = catalogue.entries().map(|entry| entry.unwrap().root).collect();
        assert_eq!(roots.len(), places.len());
        roots.dedup();
        assert_eq!(roots.len(), 3);
        let contents: Vec<_> = catalogue.contents().map(Result::unwrap).collect();
        assert_eq!(contents.iter().map(Vec::len).collect::<Vec<_>>(), [AT_ONCE; 3]);
        assert!(contents.iter().all(|places| places.iter().all(|place| place.root == places[0].root)));
    }

    #[test]
    fn what_is_forgotten_meanwhile_ends_nothing() {
        let catalogue = Catalogue::temporary().unwrap();
        let places: Vec<_> = (0..2 * AT_ONCE).map(|number| place(number, "")).collect();
        catalogue.change(|tables| places.iter().try_for_each(|one| note(tables, one, true))).unwrap();
        let mut entries = catalogue.entries();
        let first: Vec<_> = entries.by_ref().take(AT_ONCE).map(Result::unwrap).collect();
        catalogue.change(|tables| first.iter().try_for_each(|entry| tables.take(entry))).unwrap();
        assert_eq!(entries.count(), AT_ONCE);
    }
}
