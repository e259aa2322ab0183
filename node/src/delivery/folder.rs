//! [`FolderTarget`]: the files of a collection, fetched as one: their pieces are numbered one
//! after the other (PROTOCOL.md §7.6).

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use askaround_core::key::Key;
use askaround_core::pieces::{Geometry, Manifest, PieceIndex, PieceSet, Root};

use super::active::Opens;
use super::error::GetError;
use super::folder_file::{FolderFile, Shared};
use super::open_files::OpenFiles;
use super::target::{Target, place};
use crate::content::{Addition, Catalogue, Collection, ContentFile, DiskError, Folder, PartError, plan};
use crate::transfer::source::{self, Rejected, Sink};

/// The files of a collection.
pub(super) struct FolderTarget {
    shared: Arc<Shared>,
    geometries: Vec<Geometry>,
    /// The number of the first piece of each file.
    starts: Vec<u32>,
    count: u32,
    by_root: BTreeMap<Root, usize>,
    files: Vec<Arc<FolderFile>>,
}

impl FolderTarget {
    /// Looks what is there already. Files that are here elsewhere are copied, empty ones are made.
    /// Blocks.
    pub(super) fn new(
        to: &Path,
        collection: Collection,
        catalogue: &Catalogue,
        open: Arc<OpenFiles>,
        cancel: &AtomicBool,
    ) -> Result<Self, GetError> {
        let folder = Folder::make(to)?;
        let (mut geometries, mut starts, mut files, mut by_root) = (vec![], vec![], vec![], BTreeMap::new());
        let mut count = 0;
        for (index, file) in collection.files().iter().enumerate() {
            // A collection has no file that is too large.
            let geometry = Geometry::new(file.size).map_err(crate::content::CollectionError::from)?;
            starts.push(count);
            count += geometry.count();
            geometries.push(geometry);
            by_root.entry(file.root).or_insert(index);
        }
        let steps = plan(&collection, &folder, catalogue, cancel)?;
        let shared = Arc::new(Shared { folder, collection, open });
        for step in steps {
            let file = FolderFile::begin(&shared, &files, step, catalogue, cancel)?;
            files.push(file);
        }
        Ok(Self { shared, geometries, starts, count, by_root, files })
    }

    /// The files whose piece hashes have to be asked for.
    pub(super) fn unknown(&self) -> Vec<Root> {
        let listed = self.shared.collection.files().iter().zip(&self.files);
        let mut roots: Vec<_> = listed.filter(|(_, file)| file.is_unknown()).map(|(l, _)| l.root).collect();
        roots.sort_unstable();
        roots.dedup();
        roots
    }

    /// The size of a file.
    pub(super) fn size_of(&self, root: &Root) -> Option<u64> {
        self.by_root.get(root).map(|index| self.geometries[*index].size())
    }

    /// The piece hashes of a file are known now. What an earlier try has left of it is gone on
    /// with. Blocks.
    pub(super) fn learn(&self, manifest: &Arc<Manifest>) -> Result<(), GetError> {
        let listed = self.shared.collection.files().iter().zip(&self.files);
        for (_, file) in listed.filter(|(listed, _)| listed.root == manifest.root()) {
            file.learn(manifest)?;
        }
        Ok(())
    }

    /// Notes everything in the catalogue; the keys that are held now. Blocks.
    pub(super) fn finish(&self, catalogue: &Catalogue) -> Result<Vec<Key>, GetError> {
        let additions: Vec<Addition> = self.files.iter().filter_map(|file| file.addition()).collect();
        if let missing @ 1.. = self.files.len() - additions.len() {
            return Err(PartError::Incomplete { missing: missing as u32 }.into());
        }
        let Shared { folder, collection, .. } = &*self.shared;
        let entry = catalogue.add_collection(collection, folder.path(), &additions)?;
        let mut keys = vec![entry.root.key()];
        keys.extend(self.by_root.keys().map(Root::key));
        Ok(keys)
    }

    /// The file that a piece belongs to, and which piece of it that is.
    fn locate(&self, piece: u32) -> Option<(usize, PieceIndex)> {
        if piece >= self.count {
            return None;
        }
        // Empty files have no pieces: of those that begin there the last one counts.
        let index = self.starts.partition_point(|start| *start <= piece) - 1;
        Some((index, self.geometries[index].piece(piece - self.starts[index])?))
    }
}

impl Target for FolderTarget {
    fn lengths(&self) -> Vec<u32> {
        self.geometries.iter().flat_map(|geometry| super::target::lengths(*geometry)).collect()
    }

    fn have(&self) -> PieceSet {
        let mut have = PieceSet::empty(self.count);
        for (start, file) in self.starts.iter().zip(&self.files) {
            for piece in file.pieces().iter().flat_map(PieceSet::iter) {
                have.insert(start + piece);
            }
        }
        have
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.files.iter().try_for_each(FolderFile::sync)
    }
}

impl Sink for FolderTarget {
    fn place(&self, piece: u32) -> Option<source::Place> {
        let (index, piece) = self.locate(piece)?;
        let root = self.shared.collection.files()[index].root;
        place(&root.key(), self.geometries[index], piece.get())
    }

    fn find(&self, key: &Key, from: u64, length: u64) -> Option<u32> {
        let index = *self.by_root.get(&Root::from_key(key)?)?;
        Some(self.starts[index] + self.geometries[index].exactly(from, length)?.get())
    }

    fn accept(&self, piece: u32, bytes: &[u8]) -> Result<(), Rejected> {
        let Some((index, piece)) = self.locate(piece) else { return Err(Rejected::Bad) };
        self.files[index].accept(piece, bytes)
    }
}

impl Opens for FolderTarget {
    fn open(&self, key: &Key) -> io::Result<Option<Arc<ContentFile>>> {
        let index = Root::from_key(key).and_then(|root| self.by_root.get(&root));
        index.map_or(Ok(None), |index| self.files[*index].content())
    }
}
