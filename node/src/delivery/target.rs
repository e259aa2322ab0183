//! [`Target`]: where the pieces of a fetch go; and those that are one content: a file on disk, or
//! a short list in memory. [`Slot`]: which of them the sources of a fetch bring pieces for now.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use askaround_core::key::Key;
use askaround_core::message::ByteRange;
use askaround_core::pieces::{Geometry, Manifest, PieceIndex, PieceSet};

use super::active::Opens;
use crate::content::collection::MAX_LIST;
use crate::content::{Collection, ContentFile, DiskError, Part, PartError};
use crate::lock;
use crate::transfer::source::{Rejected, Sink};

/// Where the pieces of a fetch go.
pub(super) trait Target: Send + Sync + 'static {
    /// As [`Sink::range`].
    fn range(&self, piece: u32) -> Option<ByteRange>;
    /// As [`Sink::find`].
    fn find(&self, key: &Key, from: u64, length: u64) -> Option<u32>;
    /// Checks a piece and writes it. Blocks; may be called by several threads at once, also for a
    /// piece that is there already.
    fn accept(&self, piece: u32, bytes: &[u8]) -> Result<(), Rejected>;
    /// Whether a piece is these bytes, and not some of what was fetched before.
    fn is(&self, piece: u32, range: &ByteRange) -> bool {
        self.range(piece).as_ref() == Some(range)
    }
    /// The length of each piece.
    fn lengths(&self) -> Vec<u32>;
    /// How many bytes of what is fetched each piece stands for: more than its length if several
    /// files have it.
    fn worth(&self) -> Vec<u64> {
        self.lengths().into_iter().map(u64::from).collect()
    }
    /// Which are here.
    fn have(&self) -> PieceSet;
    /// Whether a piece is here.
    fn has(&self, piece: u32) -> bool;
    /// The files of a folder that these pieces are of, in words; none if it is one content.
    fn files_of(&self, _pieces: &mut dyn Iterator<Item = u32>) -> Option<String> {
        None
    }
    /// Every piece is here: gives what was fetched its name. Blocks.
    fn complete(&self) -> Result<(), PartError> {
        Ok(())
    }
    /// Sees to it that what is here survives the machine. Blocks for as long as the disk does.
    fn sync(&self) -> Result<(), DiskError> {
        Ok(())
    }
}

/// The target of a fetch, once it is known. It may become another while pieces of the one before are
/// on their way.
#[derive(Default)]
pub(super) struct Slot(RwLock<Option<Arc<dyn Target>>>);

impl Slot {
    pub(super) fn set(&self, target: Arc<dyn Target>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(target);
    }

    pub(super) fn clear(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn target(&self) -> Option<Arc<dyn Target>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Sink for Slot {
    fn range(&self, piece: u32) -> Option<ByteRange> {
        self.target()?.range(piece)
    }

    fn find(&self, key: &Key, from: u64, length: u64) -> Option<u32> {
        self.target()?.find(key, from, length)
    }

    fn accept(&self, piece: u32, range: &ByteRange, bytes: &[u8]) -> Result<(), Rejected> {
        // One and the same is asked and written to: there may be another between two looks.
        let target = self.target().filter(|target| target.is(piece, range)).ok_or(Rejected::Late)?;
        target.accept(piece, bytes)
    }
}

/// A file.
pub(super) struct FileTarget {
    /// What sources know it by.
    key: Key,
    pub(super) part: Part,
    /// Whether the file has its name.
    named: AtomicBool,
}

impl FileTarget {
    pub(super) fn new(key: Key, part: Part) -> Self {
        Self { key, part, named: AtomicBool::new(false) }
    }

    fn geometry(&self) -> Geometry {
        self.part.wanted().manifest.geometry()
    }

    /// The list of a folder, if that is what has come. Blocks.
    pub(super) fn list(&self) -> io::Result<Option<Collection>> {
        let size = self.geometry().size();
        if size > MAX_LIST as u64 {
            return Ok(None);
        }
        let mut bytes = vec![0; Collection::FIRST_LINE.len().min(size as usize)];
        self.part.read_at(0, &mut bytes)?;
        if bytes != Collection::FIRST_LINE.as_bytes() {
            return Ok(None);
        }
        bytes.resize(size as usize, 0);
        self.part.read_at(0, &mut bytes)?;
        Ok(Collection::parse(&bytes).ok())
    }

    /// Gives the file its name. Blocks.
    pub(super) fn name(&self) -> Result<(), PartError> {
        if !self.named.swap(true, Ordering::AcqRel) {
            self.part.finish()?;
        }
        Ok(())
    }
}

impl Target for FileTarget {
    fn range(&self, piece: u32) -> Option<ByteRange> {
        let geometry = self.geometry();
        Some(ByteRange::of_piece(self.key.clone(), geometry, geometry.piece(piece)?))
    }

    fn find(&self, key: &Key, from: u64, length: u64) -> Option<u32> {
        (*key == self.key).then(|| self.geometry().exactly(from, length))?.map(PieceIndex::get)
    }

    fn accept(&self, piece: u32, bytes: &[u8]) -> Result<(), Rejected> {
        let Some(piece) = self.geometry().piece(piece) else { return Err(Rejected::Bad) };
        write(&self.part, piece, bytes)
    }

    fn lengths(&self) -> Vec<u32> {
        self.geometry().lengths().collect()
    }

    fn have(&self) -> PieceSet {
        self.part.pieces()
    }

    fn has(&self, piece: u32) -> bool {
        self.part.has(piece)
    }

    fn complete(&self) -> Result<(), PartError> {
        match self.list() {
            // There is to be a folder of that name.
            Ok(Some(_)) => Ok(()),
            _ => self.name(),
        }
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.part.sync()
    }
}

impl Opens for FileTarget {
    fn open(&self, _: &Key) -> io::Result<Option<Arc<ContentFile>>> {
        Ok(Some(self.part.content()))
    }
}

/// Writes a piece and notes it.
pub(super) fn write(part: &Part, piece: PieceIndex, bytes: &[u8]) -> Result<(), Rejected> {
    match part.write_piece(piece, bytes) {
        Ok(()) => part.record(&[piece]).map_err(|error| Rejected::Disk(io::Error::other(error))),
        Err(PartError::BadPiece(_)) => Err(Rejected::Bad),
        Err(error) => Err(Rejected::Disk(io::Error::other(error))),
    }
}

/// A short content, in memory.
pub(super) struct MemoryTarget {
    key: Key,
    manifest: Arc<Manifest>,
    state: Mutex<(Vec<u8>, PieceSet)>,
}

impl MemoryTarget {
    /// The caller has seen to it that it is short.
    pub(super) fn new(key: Key, manifest: Arc<Manifest>) -> Self {
        let geometry = manifest.geometry();
        let state = (vec![0; geometry.size() as usize], PieceSet::empty(geometry.count()));
        Self { key, manifest, state: Mutex::new(state) }
    }

    /// The bytes, once all pieces are here: nothing comes any more.
    pub(super) fn take_bytes(&self) -> Vec<u8> {
        std::mem::take(&mut lock(&self.state).0)
    }
}

impl Opens for MemoryTarget {
    /// It is served once it is in the catalogue.
    fn open(&self, _: &Key) -> io::Result<Option<Arc<ContentFile>>> {
        Ok(None)
    }
}

impl Target for MemoryTarget {
    fn range(&self, piece: u32) -> Option<ByteRange> {
        let geometry = self.manifest.geometry();
        Some(ByteRange::of_piece(self.key.clone(), geometry, geometry.piece(piece)?))
    }

    fn find(&self, key: &Key, from: u64, length: u64) -> Option<u32> {
        (*key == self.key).then(|| self.manifest.geometry().exactly(from, length))?.map(PieceIndex::get)
    }

    fn accept(&self, piece: u32, bytes: &[u8]) -> Result<(), Rejected> {
        let geometry = self.manifest.geometry();
        let index = geometry.piece(piece).filter(|index| self.manifest.verify(*index, bytes));
        let range = geometry.range(index.ok_or(Rejected::Bad)?);
        let (list, have) = &mut *lock(&self.state);
        // The list may have been taken by the time a piece comes once more.
        if have.insert(piece) {
            list[range.start as usize..range.end as usize].copy_from_slice(bytes);
        }
        Ok(())
    }

    fn lengths(&self) -> Vec<u32> {
        self.manifest.geometry().lengths().collect()
    }

    fn have(&self) -> PieceSet {
        lock(&self.state).1.clone()
    }

    fn has(&self, piece: u32) -> bool {
        lock(&self.state).1.contains(piece)
    }
}

#[cfg(test)]
mod tests {
    use askaround_core::pieces::piece_hash;

    use super::*;

    #[test]
    fn a_piece_that_comes_once_more_after_the_list_was_taken_changes_nothing() {
        let bytes = vec![7; 70_000];
        let geometry = Geometry::new(bytes.len() as u64).unwrap();
        let part = |piece: PieceIndex| {
            let range = geometry.range(piece);
            &bytes[range.start as usize..range.end as usize]
        };
        let hashes = geometry.pieces().map(|piece| piece_hash(&geometry, piece, part(piece))).collect();
        let manifest = Arc::new(Manifest::of(bytes.len() as u64, hashes).unwrap());
        let target = MemoryTarget::new(manifest.root().key(), manifest);
        for piece in geometry.pieces() {
            target.accept(piece.get(), part(piece)).unwrap();
        }
        assert_eq!(target.take_bytes(), bytes);
        for piece in geometry.pieces() {
            target.accept(piece.get(), part(piece)).unwrap();
            assert!(matches!(target.accept(piece.get(), b"wrong"), Err(Rejected::Bad)));
        }
    }
}
