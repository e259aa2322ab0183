//! [`Layout`]: how the pieces of a collection's files are numbered (PROTOCOL.md §7.6).

use std::collections::BTreeMap;
use std::sync::Arc;

use askaround_core::key::Key;
use askaround_core::message::ByteRange;
use askaround_core::pieces::{Geometry, PieceIndex, PieceSet, Root, TooLarge};

use super::Collection;

/// The pieces of the files of a collection, one after the other in the order of the list, each file
/// cut by its own size.
#[derive(Debug)]
pub struct Layout {
    files: Vec<Laid>,
    count: u32,
    /// Of several files that are the same, the first.
    by_root: BTreeMap<Root, usize>,
    distinct: Option<Arc<PieceSet>>,
}

#[derive(Debug)]
struct Laid {
    root: Root,
    geometry: Geometry,
    /// The number of its first piece.
    start: u32,
}

impl Layout {
    /// Of this collection.
    ///
    /// # Errors
    /// If a file is too large. No collection from a list has such a file.
    pub fn new(collection: &Collection) -> Result<Self, TooLarge> {
        let (mut files, mut by_root, mut count) = (vec![], BTreeMap::new(), 0);
        for (index, file) in collection.files().iter().enumerate() {
            let geometry = Geometry::new(file.size)?;
            files.push(Laid { root: file.root, geometry, start: count });
            count += geometry.count();
            by_root.entry(file.root).or_insert(index);
        }
        let mut layout = Self { files, count, by_root, distinct: None };
        layout.distinct = layout.find_distinct().map(Arc::new);
        Ok(layout)
    }

    /// How many pieces there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The pieces without those of files that are the same as an earlier one. None if there are no
    /// such files.
    pub fn distinct(&self) -> Option<&Arc<PieceSet>> {
        self.distinct.as_ref()
    }

    fn find_distinct(&self) -> Option<PieceSet> {
        if self.by_root.len() == self.files.len() {
            return None;
        }
        let mut distinct = PieceSet::empty(self.count);
        for index in self.by_root.values() {
            let Laid { geometry, start, .. } = self.files[*index];
            for piece in geometry.pieces() {
                distinct.insert(start + piece.get());
            }
        }
        Some(distinct)
    }

    /// The length of each piece.
    pub fn lengths(&self) -> Vec<u32> {
        self.files.iter().flat_map(|laid| laid.geometry.lengths()).collect()
    }

    /// The hashes of the files, each once.
    pub fn roots(&self) -> impl Iterator<Item = &Root> {
        self.by_root.keys()
    }

    /// Which file has this hash, and how it is cut.
    pub fn file(&self, root: &Root) -> Option<(usize, Geometry)> {
        self.by_root.get(root).map(|index| (*index, self.files[*index].geometry))
    }

    /// The number of the first piece of a file of the list.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn start(&self, index: usize) -> u32 {
        self.files[index].start
    }

    /// The file that a piece belongs to, and which piece of it that is.
    pub fn locate(&self, piece: u32) -> Option<(usize, PieceIndex)> {
        if piece >= self.count {
            return None;
        }
        // Empty files have no pieces: of those that begin there the last one counts.
        let index = self.files.partition_point(|laid| laid.start <= piece) - 1;
        let Laid { geometry, start, .. } = &self.files[index];
        Some((index, geometry.piece(piece - start)?))
    }

    /// The bytes that a piece is asked for by.
    pub fn range(&self, piece: u32) -> Option<ByteRange> {
        let (index, piece) = self.locate(piece)?;
        let Laid { root, geometry, .. } = &self.files[index];
        Some(ByteRange::of_piece(root.key(), *geometry, piece))
    }

    /// The piece that these bytes of a file are, if they are a whole one.
    pub fn find(&self, key: &Key, from: u64, length: u64) -> Option<u32> {
        let (index, geometry) = self.file(&Root::from_key(key)?)?;
        Some(self.start(index) + geometry.exactly(from, length)?.get())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ListedFile, RelativePath};
    use super::*;

    #[test]
    fn pieces_are_numbered_over_all_files_and_found_again() {
        let listed = |path: &str, root: u8, size| ListedFile {
            path: RelativePath::new(path).unwrap(),
            root: Root::new([root; 32]),
            size,
            executable: false,
        };
        let sizes = [("a", 1, 100_000), ("b", 2, 0), ("c", 3, 65_536), ("d", 1, 100_000), ("e", 4, 1)];
        let files = sizes.map(|(path, root, size)| listed(path, root, size));
        let layout = Layout::new(&Collection::new(files.to_vec()).unwrap()).unwrap();
        assert_eq!(layout.lengths(), [65_536, 34_464, 65_536, 65_536, 34_464, 1]);
        let located: Vec<_> = (0..7).map(|piece| layout.locate(piece).map(|(i, p)| (i, p.get()))).collect();
        assert_eq!(
            located,
            [(0, 0), (0, 1), (2, 0), (3, 0), (3, 1), (4, 0)]
                .map(Some)
                .into_iter()
                .chain([None])
                .collect::<Vec<_>>()
        );
        for piece in 0..layout.count() {
            let ByteRange { key, from, length } = layout.range(piece).unwrap();
            // The second of two files that are the same is found as the first.
            let same = if (3..5).contains(&piece) { piece - 3 } else { piece };
            assert_eq!(layout.find(&key, from, length), Some(same));
            assert_eq!(layout.find(&key, from, length + 1), None);
        }
        assert_eq!(layout.distinct().unwrap().iter().collect::<Vec<_>>(), [0, 1, 2, 5]);
    }
}
