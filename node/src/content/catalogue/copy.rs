//! Copies in the peer's folder: shared with the original where the file system can, names that
//! take nothing's place.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{Catalogue, CatalogueError};
use crate::content::disk::{DiskError, Fault};

/// Where copies are, within the peer's folder.
const FILES: &str = "files";
/// So many names are tried for one copy.
const MAX_NAMES: u32 = 10_000;

impl Catalogue {
    /// The folder for copies.
    pub(super) fn copies(&self) -> Result<PathBuf, CatalogueError> {
        let copies = self.home.as_ref().ok_or(CatalogueError::NoHome)?.join(FILES);
        std::fs::create_dir_all(&copies).map_err(DiskError::at(&copies))?;
        Ok(std::fs::canonicalize(&copies).map_err(DiskError::at(&copies))?)
    }

    /// The folder for copies, if it is there.
    pub(super) fn copies_there(&self) -> Result<Option<PathBuf>, CatalogueError> {
        let copies = self.home.as_ref().map(|home| home.join(FILES));
        if copies.is_some_and(|copies| copies.is_dir()) { self.copies().map(Some) } else { Ok(None) }
    }

    /// Removes a copy, and the folders above it that are empty then. Only what is in the folder
    /// for copies.
    pub(super) fn remove_copy(&self, path: &Path) -> Result<(), CatalogueError> {
        let copies = self.copies()?;
        if !path.starts_with(&copies) {
            return Ok(());
        }
        match std::fs::remove_file(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(DiskError::at(path)(error).into()),
        }
        // A folder that is not empty stays.
        let above = path.ancestors().skip(1).take_while(|folder| *folder != copies);
        above.map(std::fs::remove_dir).take_while(Result::is_ok).count();
        Ok(())
    }
}

/// Copies the bytes of `from` into the empty file `to`: shared where the file system can do that,
/// else by the system, with the holes where they were.
pub(super) fn copy(from: &mut File, to: &mut File) -> io::Result<()> {
    if share(from, to) {
        return Ok(());
    }
    let data = from.metadata()?;
    if data.blocks() * 512 >= data.len() {
        from.rewind()?;
        return io::copy(from, to).map(|_| ());
    }
    copy_sparse(from, to, data.len())
}

#[cfg(target_os = "linux")]
fn share(from: &File, to: &File) -> bool {
    rustix::fs::ioctl_ficlone(to, from).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn share(_: &File, _: &File) -> bool {
    false
}

/// Copies what is between the holes.
#[cfg(target_os = "linux")]
fn copy_sparse(from: &mut File, to: &mut File, length: u64) -> io::Result<()> {
    use std::io::Read as _;

    use rustix::fs::SeekFrom as Find;
    use rustix::io::Errno;
    to.set_len(length)?;
    let mut at = 0;
    while at < length {
        let data = match rustix::fs::seek(&*from, Find::Data(at)) {
            Ok(data) => data,
            // Nothing but a hole until the end.
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let hole = rustix::fs::seek(&*from, Find::Hole(data))?;
        from.seek(SeekFrom::Start(data))?;
        to.seek(SeekFrom::Start(data))?;
        io::copy(&mut from.take(hole - data), to)?;
        at = hole;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn copy_sparse(from: &mut File, to: &mut File, _: u64) -> io::Result<()> {
    from.seek(SeekFrom::Start(0))?;
    io::copy(from, to).map(|_| ())
}

/// Calls `make` with `name` in `folder`, then with `name.2`, `name.3` and so on, until it makes
/// something that was not there.
pub(super) fn under_a_free_name<T>(
    folder: &Path,
    name: &OsStr,
    mut make: impl FnMut(&Path) -> io::Result<T>,
) -> Result<(PathBuf, T), DiskError> {
    for number in 1..=MAX_NAMES {
        let mut tried = OsString::from(name);
        if number > 1 {
            tried.push(format!(".{number}"));
        }
        let path = folder.join(tried);
        match make(&path) {
            Ok(made) => return Ok((path, made)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(DiskError::at(&path)(error)),
        }
    }
    Err(DiskError::new(&folder.join(name), Fault::Exists))
}
