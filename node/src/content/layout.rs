//! [`Layout`]: how the pieces of a collection's files are numbered (PROTOCOL.md §7.6).

use std::collections::HashSet;
use std::ops::Range;

use askaround_core::key::Key;
use askaround_core::message::ByteRange;
use askaround_core::pieces::{Geometry, PieceIndex, Root, TooLarge};

use super::Collection;

/// The pieces of the files of a collection, one after the other in the order of the list, each file
/// cut by its own size. Of files that are the same the first has pieces.
#[derive(Debug)]
pub struct Layout {
    files: Vec<Laid>,
    count: u32,
    /// Their numbers among those, in the order of their hashes.
    by_root: Vec<u32>,
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
        let mut files = Vec::with_capacity(collection.files().len());
        let (mut seen, mut count) = (HashSet::with_capacity(collection.files().len()), 0);
        for file in collection.files() {
            if seen.insert(file.root) {
                let geometry = Geometry::new(file.size)?;
                files.push(Laid { root: file.root, geometry, start: count });
                count += geometry.count();
            }
        }
        let mut by_root: Vec<u32> = (0..files.len() as u32).collect();
        by_root.sort_unstable_by_key(|index| files[*index as usize].root);
        Ok(Self { files, count, by_root })
    }

    /// How many pieces there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The length of each piece.
    pub fn lengths(&self) -> Vec<u32> {
        self.files.iter().flat_map(|laid| laid.geometry.lengths()).collect()
    }

    /// The files, each content once: their hashes, and the numbers of their first pieces.
    pub fn files(&self) -> impl Iterator<Item = (&Root, u32)> {
        self.files.iter().map(|laid| (&laid.root, laid.start))
    }

    /// The numbers of the pieces of the file with this hash.
    pub fn pieces_of(&self, root: &Root) -> Range<u32> {
        self.laid(root).map_or(0..0, |laid| laid.start..laid.start + laid.geometry.count())
    }

    /// How the file with this hash is cut, if there is one.
    pub fn geometry(&self, root: &Root) -> Option<Geometry> {
        self.laid(root).map(|laid| laid.geometry)
    }

    /// Which of [`Layout::files`] has this hash.
    pub fn index(&self, root: &Root) -> Option<usize> {
        let at = self.by_root.binary_search_by_key(root, |index| self.files[*index as usize].root).ok()?;
        Some(self.by_root[at] as usize)
    }

    fn laid(&self, root: &Root) -> Option<&Laid> {
        self.index(root).map(|index| &self.files[index])
    }

    /// The hash of the file that a piece belongs to, and which piece of it that is.
    pub fn locate(&self, piece: u32) -> Option<(&Root, PieceIndex)> {
        let (laid, piece) = self.laid_at(piece)?;
        Some((&laid.root, piece))
    }

    fn laid_at(&self, piece: u32) -> Option<(&Laid, PieceIndex)> {
        if piece >= self.count {
            return None;
        }
        // Empty files have no pieces: of those that begin there the last one counts.
        let laid = &self.files[self.files.partition_point(|laid| laid.start <= piece) - 1];
        Some((laid, laid.geometry.piece(piece - laid.start)?))
    }

    /// The bytes that a piece is asked for by.
    pub fn range(&self, piece: u32) -> Option<ByteRange> {
        let (laid, piece) = self.laid_at(piece)?;
        Some(ByteRange::of_piece(laid.root.key(), laid.geometry, piece))
    }

    /// The piece that these bytes of a file are, if they are a whole one.
    pub fn find(&self, key: &Key, from: u64, length: u64) -> Option<u32> {
        let laid = self.laid(&Root::from_key(key)?)?;
        Some(laid.start + laid.geometry.exactly(from, length)?.get())
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
        assert_eq!(layout.lengths(), [65_536, 34_464, 65_536, 1]);
        let located: Vec<_> =
            (0..5).map(|piece| layout.locate(piece).map(|(r, p)| (r.as_bytes()[0], p.get()))).collect();
        assert_eq!(located, [Some((1, 0)), Some((1, 1)), Some((3, 0)), Some((4, 0)), None]);
        for piece in 0..layout.count() {
            let ByteRange { key, from, length } = layout.range(piece).unwrap();
            assert_eq!(layout.find(&key, from, length), Some(piece));
            assert_eq!(layout.find(&key, from, length + 1), None);
        }
    }
}
