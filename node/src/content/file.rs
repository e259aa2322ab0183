//! [`ContentFile`]: what a server needs to send pieces.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use askaround_core::pieces::{Geometry, Manifest, PieceIndex, PieceSet};
use serde::{Deserialize, Serialize};

use super::disk::DiskError;

/// By what a file is recognised as the one that was hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Its bytes.
    pub length: u64,
    /// When it was last written to, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Its number within its file system.
    pub inode: u64,
}

impl Stamp {
    /// The stamp of an open file.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn of(file: &File) -> io::Result<Self> {
        Ok(Self::from(&file.metadata()?))
    }
}

impl From<&Metadata> for Stamp {
    fn from(data: &Metadata) -> Self {
        let mtime_ns = data.mtime().saturating_mul(1_000_000_000).saturating_add(data.mtime_nsec());
        Self { length: data.len(), mtime_ns, inode: data.ino() }
    }
}

/// The pieces of a file that is being fetched, which its part changes as they come.
pub(super) type LiveSet = Arc<RwLock<PieceSet>>;

/// How a file that was fetched looked when it got its name: from then on it is its user's.
pub(super) type NamedAs = Arc<OnceLock<Stamp>>;

#[derive(Debug)]
enum Have {
    /// All of it, as long as the file has this stamp.
    All(Stamp),
    /// What came so far; and once the file has its name, all of it as long as it has this stamp.
    Live(LiveSet, NamedAs),
}

/// An open file whose pieces can be sent: all of them, or those that came so far.
#[derive(Debug)]
pub struct ContentFile {
    file: Arc<File>,
    manifest: Arc<Manifest>,
    have: Have,
    /// Where it was opened, or will be; `None` if it has no name.
    path: Option<PathBuf>,
}

impl ContentFile {
    /// A whole file, which had this stamp when it was verified.
    pub fn whole(file: File, manifest: Arc<Manifest>, stamp: Stamp) -> Self {
        Self { file: Arc::new(file), manifest, have: Have::All(stamp), path: None }
    }

    /// The same file, with the path by which to speak of it.
    #[must_use]
    pub fn at(self, path: PathBuf) -> Self {
        Self { path: Some(path), ..self }
    }

    /// These bytes, in a file without a name, to be served as any file is.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn of_bytes(bytes: &[u8], manifest: Arc<Manifest>) -> Result<Self, DiskError> {
        let file = file_of(bytes)?;
        let stamp = Stamp::of(&file).map_err(DiskError::in_temp)?;
        Ok(Self::whole(file, manifest, stamp).at(std::env::temp_dir()))
    }

    /// A file that is being fetched.
    pub(super) fn live(file: Arc<File>, manifest: Arc<Manifest>, have: LiveSet, named: NamedAs) -> Self {
        Self { file, manifest, have: Have::Live(have, named), path: None }
    }

    /// The open file; its bytes are the content's.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// How it is cut.
    pub fn geometry(&self) -> Geometry {
        self.manifest.geometry()
    }

    /// The hashes of its pieces.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// Whether a piece is there, verified.
    pub fn has(&self, piece: PieceIndex) -> bool {
        match &self.have {
            Have::All(_) => true,
            Have::Live(have, _) => read(have).contains(piece.get()),
        }
    }

    /// The pieces that are there.
    pub fn pieces(&self) -> PieceSet {
        match &self.have {
            Have::All(_) => PieceSet::full(self.geometry().count()),
            Have::Live(have, _) => read(have).clone(),
        }
    }

    /// Whether all pieces are there.
    pub fn is_whole(&self) -> bool {
        match &self.have {
            Have::All(_) => true,
            Have::Live(have, _) => read(have).is_full(),
        }
    }

    /// Whether the file is still what was verified, as far as its length and the time of its last
    /// change tell. A file is changed by nobody else before it has its name; until then only its length
    /// counts.
    pub fn unchanged(&self) -> bool {
        let Ok(now) = Stamp::of(&self.file) else { return false };
        match &self.have {
            Have::All(stamp) => now == *stamp,
            Have::Live(_, named) => match named.get() {
                Some(stamp) => now == *stamp,
                None => now.length == self.geometry().size(),
            },
        }
    }

    /// Reads bytes of the content.
    ///
    /// # Errors
    /// If the disk says no, or the file has become shorter.
    pub fn read_at(&self, from: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, from)
    }

    /// What has failed, with the path of the file.
    pub(crate) fn error(&self, error: io::Error) -> DiskError {
        DiskError::at(self.path.as_deref().unwrap_or(Path::new("(a file without a name)")))(error)
    }
}

/// A file without a name that has these bytes in it: in memory, where the system has such, since a disk
/// may be full or read-only that neither the content nor its user has to do with.
pub(super) fn file_of(bytes: &[u8]) -> Result<File, DiskError> {
    let file = match in_memory() {
        Some(file) => file,
        None => tempfile::tempfile().map_err(DiskError::in_temp)?,
    };
    file.write_all_at(bytes, 0).map_err(DiskError::in_temp)?;
    Ok(file)
}

#[cfg(any(target_os = "linux", target_os = "freebsd"))]
fn in_memory() -> Option<File> {
    rustix::fs::memfd_create("list", rustix::fs::MemfdFlags::CLOEXEC).ok().map(Into::into)
}

#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
fn in_memory() -> Option<File> {
    None
}

/// Reads the set, also when another thread panicked meanwhile: that is reported where it is
/// joined, and the set is whole after every change.
fn read(have: &RwLock<PieceSet>) -> std::sync::RwLockReadGuard<'_, PieceSet> {
    have.read().unwrap_or_else(PoisonError::into_inner)
}
