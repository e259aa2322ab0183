//! Copies in the peer's folder: shared with the original where the file system can, names that
//! take nothing's place.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Catalogue, CatalogueError, Entry, Kept};
use crate::content::disk::{DiskError, Fault, make_folder};

/// Where copies are, within the peer's folder.
pub(super) const FILES: &str = "files";
/// What the name of a copy begins with while it is made.
pub(super) const MAKING: &str = ".askaround-copy-";
/// So much is copied before it is looked whether it is to stop.
const AT_ONCE: u64 = 16 << 20;
/// So many names are tried for one copy.
const MAX_NAMES: u32 = 10_000;

impl Catalogue {
    /// The folder for copies.
    pub(super) fn copies(&self) -> Result<PathBuf, CatalogueError> {
        let copies = self.home.as_ref().ok_or(CatalogueError::NoHome)?.join(FILES);
        make_folder(&copies).map_err(DiskError::at(&copies))?;
        Ok(std::fs::canonicalize(&copies).map_err(DiskError::at(&copies))?)
    }

    /// The folder for copies, if it is there.
    pub(super) fn copies_there(&self) -> Result<Option<PathBuf>, CatalogueError> {
        let copies = self.home.as_ref().map(|home| home.join(FILES));
        if copies.is_some_and(|copies| copies.is_dir()) { self.copies().map(Some) } else { Ok(None) }
    }

    /// Whether a place is in the folder for copies: a copy of a file, or of a folder.
    pub fn is_copy(&self, place: &Entry) -> bool {
        let copies = || self.copies_there().ok().flatten();
        match place.kept {
            Kept::Copy => true,
            Kept::List => copies().is_some_and(|copies| place.path.starts_with(copies)),
            Kept::Reference | Kept::Fetched => false,
        }
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
/// else by the system, with the holes where they were. False if `cancel` became true before.
pub(super) fn copy(from: &mut File, to: &mut File, cancel: &AtomicBool) -> io::Result<bool> {
    if share(from, to) {
        return Ok(true);
    }
    let data = from.metadata()?;
    if data.blocks() * 512 >= data.len() {
        return copy_range(from, to, 0..data.len(), cancel);
    }
    copy_sparse(from, to, data.len(), cancel)
}

/// Copies these bytes to where they are in `from`. False if `cancel` became true before.
fn copy_range(from: &mut File, to: &mut File, range: Range<u64>, cancel: &AtomicBool) -> io::Result<bool> {
    from.seek(SeekFrom::Start(range.start))?;
    to.seek(SeekFrom::Start(range.start))?;
    let mut at = range.start;
    loop {
        if cancel.load(Ordering::Relaxed) {
            return Ok(false);
        }
        if at >= range.end {
            return Ok(true);
        }
        io::copy(&mut from.take(AT_ONCE.min(range.end - at)), to)?;
        at += AT_ONCE;
    }
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
fn copy_sparse(from: &mut File, to: &mut File, length: u64, cancel: &AtomicBool) -> io::Result<bool> {
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
        if !copy_range(from, to, data..hole, cancel)? {
            return Ok(false);
        }
        at = hole;
    }
    Ok(true)
}

#[cfg(not(target_os = "linux"))]
fn copy_sparse(from: &mut File, to: &mut File, length: u64, cancel: &AtomicBool) -> io::Result<bool> {
    copy_range(from, to, 0..length, cancel)
}

/// The name for a copy of a file or folder.
pub(super) fn copy_name<'p>(of: &'p Path, nameless: &'static str) -> &'p OsStr {
    // One that looks as if it were being made would be removed.
    let name = of.file_name().filter(|name| !name.as_bytes().starts_with(MAKING.as_bytes()));
    name.unwrap_or(OsStr::new(nameless))
}

/// Calls `make` with `name` in `folder`, then with `name.2`, `name.3` and so on, until it makes
/// something that was not there.
pub(super) fn under_a_free_name<T>(
    folder: &Path,
    name: &OsStr,
    mut make: impl FnMut(&Path) -> Result<T, DiskError>,
) -> Result<(PathBuf, T), DiskError> {
    for number in 1..=MAX_NAMES {
        let mut tried = OsString::from(name);
        if number > 1 {
            tried.push(format!(".{number}"));
        }
        let path = folder.join(tried);
        match make(&path) {
            Ok(made) => return Ok((path, made)),
            Err(DiskError { fault: Fault::Exists, .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(DiskError::new(&folder.join(name), Fault::Exists))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn copies_what_is_between_the_holes_until_it_is_told_to_stop() {
        let length = 40 << 20;
        let [mut from, mut to, mut none] = [(); 3].map(|()| tempfile::tempfile().unwrap());
        from.set_len(length).unwrap();
        // The end of one part of the copy, and the beginning of the next.
        for at in [0, AT_ONCE - 1, length - 1] {
            from.seek(SeekFrom::Start(at)).unwrap();
            from.write_all(b"xy").unwrap();
        }
        let length = length + 1;
        let go = AtomicBool::new(false);
        assert!(copy_sparse(&mut from, &mut to, length, &go).unwrap());
        let read = |file: &mut File| {
            let mut bytes = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut bytes).unwrap();
            bytes
        };
        assert!(read(&mut from) == read(&mut to));
        let mut whole = tempfile::tempfile().unwrap();
        assert!(copy_range(&mut from, &mut whole, 0..length, &go).unwrap());
        assert!(read(&mut from) == read(&mut whole));
        assert!(!copy_range(&mut from, &mut none, 0..length, &AtomicBool::new(true)).unwrap());
        assert_eq!(none.metadata().unwrap().len(), 0);
    }
}
