//! [`SocketPath`]: how a peer's socket is reached. The name of a socket has at most some 100 bytes; that
//! of a folder may have thousands.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::SOCKET;

/// Where the system shows a program's open files as paths (Linux).
const OPEN: &str = "/proc/self/fd";

/// A path of the socket in a peer's folder, as long as this lives.
#[derive(Debug)]
pub(super) struct SocketPath {
    pub(super) path: PathBuf,
    /// By way of which it leads.
    _folder: Option<File>,
}

impl SocketPath {
    /// By its own path if that is short enough, else by way of the folder, opened.
    ///
    /// # Errors
    /// If the folder cannot be opened.
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        let path = folder.join(SOCKET);
        if is_short(&path) || !Path::new(OPEN).is_dir() {
            return Ok(Self { path, _folder: None });
        }
        let folder = File::open(folder)?;
        let path = Path::new(OPEN).join(folder.as_raw_fd().to_string()).join(SOCKET);
        Ok(Self { path, _folder: Some(folder) })
    }
}

/// Whether a peer can have a socket in this folder: its path may be too long for one.
pub fn can_be_in(folder: &Path) -> bool {
    is_short(&folder.join(SOCKET)) || Path::new(OPEN).is_dir()
}

fn is_short(path: &Path) -> bool {
    SocketAddr::from_pathname(path).is_ok()
}
