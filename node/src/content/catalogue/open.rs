//! Opening files of the user's, which may be anything.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

use crate::content::disk::{DiskError, Fault};

/// Opens a file of the user's to read it. Looks first: opening a pipe would wait for its other end.
pub(super) fn open(path: &Path) -> Result<File, DiskError> {
    let data = std::fs::metadata(path).map_err(DiskError::at(path))?;
    if data.is_dir() {
        return Err(DiskError::new(path, Fault::IsFolder));
    }
    if !data.is_file() {
        return Err(DiskError::new(path, Fault::NotFile));
    }
    if data.len() == 0 {
        return open_empty(path);
    }
    File::open(path).map_err(DiskError::at(path))
}

/// Opens a file that says that it has no bytes, if that is so.
fn open_empty(path: &Path) -> Result<File, DiskError> {
    let here = DiskError::at(path);
    // NONBLOCK: some of those that say so give what happens, and wait for it.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(&here)?;
    let gives = match file.read_at(&mut [0], 0) {
        Ok(bytes) => bytes > 0,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
        Err(error) => return Err(here(error)),
    };
    // It may have been written to just now.
    if gives && file.metadata().map_err(&here)?.len() == 0 {
        return Err(DiskError::new(path, Fault::NoSize));
    }
    Ok(file)
}
