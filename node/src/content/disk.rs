//! [`DiskError`]: what a disk can say no to, in words, with the path.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// A file or folder that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {fault}", .path.display())]
pub struct DiskError {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub fault: Fault,
}

/// What to do when the disk is full. A fetch goes on with what has come.
const MAKE_ROOM: &str = ": make room and try again";

/// Why a file or folder cannot be used.
#[derive(Debug)]
pub enum Fault {
    /// There is no such file or folder.
    Missing,
    /// Something is there already.
    Exists,
    /// A folder, where a file was expected.
    IsFolder,
    /// A path with a slash at its end, as users write that of a folder, where a file was expected.
    Slash,
    /// Not a folder, where one was expected.
    NotFolder,
    /// Neither file nor folder: a device, a socket, a pipe.
    NotFile,
    /// A symbolic link, where none may be followed.
    Link,
    /// No permission.
    Denied,
    /// The disk can only be read.
    ReadOnly,
    /// The disk is full.
    Full {
        /// How many bytes are wanted, when that is known.
        needed: Option<u64>,
        /// How many bytes are free, when that is known.
        free: Option<u64>,
    },
    /// The user's share of the disk is full.
    Quota,
    /// The file system cannot hold a file of this size, or the program may not write one (`ulimit -f`).
    TooLarge,
    /// A file that gives more than it says it has.
    NoSize,
    /// The name is longer than the file system takes.
    NameTooLong,
    /// The file is shorter than it was.
    Truncated,
    /// A folder for temporary files in which none can be made.
    NoTemporary(Box<Fault>),
    /// Anything else.
    Other(io::Error),
}

impl DiskError {
    pub(crate) fn new(path: &Path, fault: Fault) -> Self {
        Self { path: path.to_owned(), fault }
    }

    /// Names the path that an operation failed on; for `map_err`.
    pub(crate) fn at<E: Into<io::Error>>(path: &Path) -> impl Fn(E) -> Self {
        move |error| Self::new(path, Fault::from(error.into()))
    }

    /// The same for a file of our own in the folder for temporary files.
    pub(crate) fn in_temp(error: io::Error) -> Self {
        Self::new(&std::env::temp_dir(), Fault::NoTemporary(Box::new(error.into())))
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self::Missing,
            ErrorKind::AlreadyExists => Self::Exists,
            ErrorKind::IsADirectory => Self::IsFolder,
            ErrorKind::NotADirectory => Self::NotFolder,
            ErrorKind::PermissionDenied => Self::Denied,
            ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            ErrorKind::StorageFull => Self::Full { needed: None, free: None },
            ErrorKind::QuotaExceeded => Self::Quota,
            ErrorKind::FileTooLarge => Self::TooLarge,
            ErrorKind::UnexpectedEof => Self::Truncated,
            ErrorKind::InvalidFilename => Self::NameTooLong,
            _ if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => Self::Link,
            _ => Self::Other(error),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no such file or folder"),
            Self::Exists => f.write_str("is there already"),
            Self::IsFolder => f.write_str("is a folder, not a file"),
            Self::Slash => f.write_str(
                "ends in a slash, as the path of a folder does, and this is a file: name the file",
            ),
            Self::NotFolder => f.write_str("is not a folder, or one above it is not"),
            Self::NotFile => f.write_str("is neither a file nor a folder"),
            Self::Link => f.write_str("is a symbolic link, which is not followed here"),
            Self::Denied => f.write_str("permission denied"),
            Self::ReadOnly => f.write_str("the file system is read-only"),
            Self::Full { needed: Some(needed), free: Some(free) } => {
                write!(f, "the disk is full: {needed} bytes are needed, {free} are free{MAKE_ROOM}")
            }
            Self::Full { needed: Some(needed), free: None } => {
                write!(f, "the disk is full: {needed} bytes are needed{MAKE_ROOM}")
            }
            Self::Full { needed: None, .. } => write!(f, "the disk is full{MAKE_ROOM}"),
            Self::Quota => write!(f, "the quota on this disk is used up{MAKE_ROOM}"),
            Self::TooLarge => f.write_str(
                "the file is too large: for the file system, or for the limit that ulimit -f shows",
            ),
            Self::NoSize => {
                f.write_str("its size is not known, as of files in /proc: copy it, and use the copy")
            }
            Self::NameTooLong => f.write_str("the name is too long"),
            Self::NoTemporary(fault) => {
                write!(f, "no temporary file can be made there (see TMPDIR): {fault}")
            }
            Self::Truncated => f.write_str("is shorter than it was"),
            Self::Other(error) => error.fmt(f),
        }
    }
}

/// Makes a folder, and those above it, where they are not there. Of one that cannot be looked at, the
/// system says only that something is there already: what is said then is why it cannot.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path).map_err(|error| match std::fs::metadata(path) {
        Err(why) if error.kind() == ErrorKind::AlreadyExists && why.kind() != ErrorKind::NotFound => why,
        _ => error,
    })
}

/// Whether permissions were set, or the file system has none that could be.
pub(super) fn set_if_there_are_any(set: io::Result<()>) -> io::Result<()> {
    match set {
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(()),
        other => other,
    }
}

/// Sees to it that what was written to a file is on the disk; `whole`: also when that was. A failure
/// is told once: afterwards the system takes what was lost for written. False where the file system
/// cannot do that with any file (fsync(2), EINVAL), so that nothing is known, and nothing has failed.
pub(super) fn sync(file: &File, whole: bool) -> io::Result<bool> {
    let synced = if whole { file.sync_all() } else { file.sync_data() };
    #[cfg(test)]
    let synced = FAILS.get().map_or(synced, |error| Err(error.into()));
    match synced {
        Ok(()) => Ok(true),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(false),
            _ => Err(error),
        },
    }
}

#[cfg(test)]
thread_local! {
    static FAILS: std::cell::Cell<Option<Errno>> = const { std::cell::Cell::new(None) };
}

/// Does something while the disk takes nothing.
#[cfg(test)]
pub(super) fn failing<T>(meanwhile: impl FnOnce() -> T) -> T {
    failing_with(Errno::IO, meanwhile)
}

/// Does something while whoever wants a file to be on the disk is told this.
#[cfg(test)]
pub(super) fn failing_with<T>(error: Errno, meanwhile: impl FnOnce() -> T) -> T {
    FAILS.set(Some(error));
    let result = meanwhile();
    FAILS.set(None);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_folder_that_cannot_be_looked_at_it_is_said_why() {
        let dir = tempfile::tempdir().unwrap();
        let [looped, file, new] = ["looped", "file", "new/er"].map(|name| dir.path().join(name));
        std::os::unix::fs::symlink("looped", &looped).unwrap();
        std::fs::write(&file, "").unwrap();
        let error = |path: &Path| make_folder(path).unwrap_err();
        assert_eq!(error(&looped).raw_os_error(), Some(Errno::LOOP.raw_os_error()));
        assert_eq!(error(&file).kind(), ErrorKind::AlreadyExists);
        std::fs::remove_file(&looped).unwrap();
        std::os::unix::fs::symlink("nowhere", &looped).unwrap();
        assert_eq!(error(&looped).kind(), ErrorKind::AlreadyExists, "the link is there");
        make_folder(&new).unwrap();
        make_folder(&new).unwrap();
    }

    #[test]
    fn a_quota_is_not_the_disk() {
        let [quota, disk] =
            [Errno::DQUOT, Errno::NOSPC].map(|error| Fault::from(io::Error::from(error)).to_string());
        assert!(quota.contains("quota") && !disk.contains("quota"), "{quota}, {disk}");
    }

    #[test]
    fn only_a_file_system_without_permissions_need_not_have_them_set() {
        for (error, is_fine) in [(Errno::OPNOTSUPP, true), (Errno::NOSYS, true), (Errno::PERM, false)] {
            assert_eq!(set_if_there_are_any(Err(error.into())).is_ok(), is_fine, "{error}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_no_disk_has_cannot_be_synced_which_is_no_failure() {
        let file = File::open("/proc/self/status").unwrap();
        assert!(file.sync_all().is_err());
        assert!(!sync(&file, true).unwrap());
    }
}
