//! [`Place`]: a name in an open folder. All work on a file that is being made goes through the
//! open folder, so that nothing changes its meaning meanwhile: a folder that is renamed, or a
//! symbolic link that appears where a folder was.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::disk::{DiskError, Fault, make_folder};
use super::file::Stamp;
use super::path::RelativePath;
use super::real_path::real_folder;

/// What is opened to stand for a folder.
const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::RDONLY).union(OFlags::CLOEXEC);
/// File systems take names of at most so many bytes.
const MAX_NAME: usize = 255;

/// An open folder.
#[derive(Debug, Clone)]
pub struct Folder {
    fd: Arc<OwnedFd>,
    path: PathBuf,
}

/// A name in an open folder, whether or not there is something of that name.
#[derive(Debug, Clone)]
pub struct Place {
    folder: Folder,
    name: OsString,
}

/// What is at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum There {
    /// Nothing.
    Nothing,
    /// A file; its bytes and its number within its file system.
    File {
        /// Its bytes.
        length: u64,
        /// Its number.
        inode: u64,
    },
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A device, a socket, a pipe.
    Other,
}

impl Folder {
    /// Opens a folder that is there. `path` is the user's: symbolic links on the way are followed.
    ///
    /// # Errors
    /// If there is none, or it may not be used.
    pub fn open(path: &Path) -> Result<Self, DiskError> {
        let named = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let fd = rustix::fs::open(named, FOLDER, Mode::empty()).map_err(DiskError::at(path))?;
        Ok(Self { fd: Arc::new(fd), path: path.to_owned() })
    }

    /// Makes the folder, and those above it, where they are not there, and opens it. Its path is the
    /// real one.
    ///
    /// # Errors
    /// If that is not allowed, or something else is in the way.
    pub fn make(path: &Path) -> Result<Self, DiskError> {
        make_folder(path).map_err(DiskError::at(path))?;
        Ok(Self { path: real_folder(path)?, ..Self::open(path)? })
    }

    /// Its path, for people.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether its path still leads to it: it may have been renamed, or something else be there.
    ///
    /// # Errors
    /// If it is not allowed to look.
    pub fn is_there(&self) -> Result<bool, DiskError> {
        let opened = rustix::fs::fstat(&*self.fd).map_err(DiskError::at(&self.path))?;
        let named = if self.path.as_os_str().is_empty() { Path::new(".") } else { &self.path };
        match rustix::fs::stat(named) {
            Ok(there) => Ok((there.st_dev, there.st_ino) == (opened.st_dev, opened.st_ino)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(false),
            Err(error) => Err(DiskError::at(&self.path)(error)),
        }
    }

    /// The place of a file below this folder. With `make`, folders on the way that are not there
    /// are made. No symbolic link is followed on the way: a file below the folder stays below it.
    ///
    /// # Errors
    /// If something else is in the way, or a folder on the way is missing and `make` is false.
    pub fn below(&self, path: &RelativePath, make: bool) -> Result<Place, DiskError> {
        let (folders, name) = path.split();
        let mut folder = self.clone();
        for component in folders {
            folder = folder.enter(component, make)?;
        }
        Ok(Place { folder, name: name.into() })
    }

    fn enter(&self, name: &str, make: bool) -> Result<Self, DiskError> {
        let path = self.path.join(name);
        if make {
            match rustix::fs::mkdirat(&*self.fd, name, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(DiskError::at(&path)(error)),
            }
        }
        let opened = rustix::fs::openat(&*self.fd, name, FOLDER | OFlags::NOFOLLOW, Mode::empty());
        let fd = opened.map_err(|error| {
            let place = Place { folder: self.clone(), name: name.into() };
            // Systems disagree about how to refuse a link that should be a folder: look.
            match place.there() {
                Ok(There::Link) => DiskError::new(&path, Fault::Link),
                _ => DiskError::at(&path)(error),
            }
        })?;
        Ok(Self { fd: Arc::new(fd), path })
    }

    /// Sees to it that names made in this folder are on disk, where its file system does that when it
    /// is asked.
    pub(super) fn sync(&self) -> Result<(), DiskError> {
        match rustix::fs::fsync(&*self.fd) {
            Ok(()) | Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(()),
            Err(error) => Err(DiskError::at(&self.path)(error)),
        }
    }
}

impl Place {
    /// The place that a path of the user's names. The folder must be there.
    ///
    /// # Errors
    /// If the folder is not there, the path has no last component (as `/` and `..`), or a slash behind
    /// it.
    pub fn new(path: &Path) -> Result<Self, DiskError> {
        let name = path.file_name().ok_or_else(|| DiskError::new(path, Fault::IsFolder))?.to_owned();
        if ends_in_slash(path) {
            return Err(DiskError::new(path, Fault::Slash));
        }
        Ok(Self { folder: Folder::open(path.parent().unwrap_or(Path::new("")))?, name })
    }

    /// Its path, for people.
    pub fn path(&self) -> PathBuf {
        self.folder.path.join(&self.name)
    }

    /// The folder it is in.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// A hidden name beside this one, made of it and `ending`. A name that would be too long is
    /// replaced by its hash.
    pub(super) fn beside(&self, ending: &str) -> Self {
        let hidden = |name: &OsStr| {
            let mut hidden = OsString::from(".");
            hidden.push(name);
            hidden.push(ending);
            hidden
        };
        let mut name = hidden(&self.name);
        if name.len() > MAX_NAME {
            let hash = blake3::hash(self.name.as_bytes()).to_hex();
            name = hidden(OsStr::new(&hash[..32]));
        }
        Self { folder: self.folder.clone(), name }
    }

    /// What is there. Links are not followed.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn there(&self) -> Result<There, DiskError> {
        use rustix::fs::FileType;
        let stat = match rustix::fs::statat(&*self.folder.fd, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(There::Nothing),
            Err(error) => return Err(self.error(error)),
        };
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => There::File { length: stat.st_size as u64, inode: stat.st_ino },
            FileType::Directory => There::Folder,
            FileType::Symlink => There::Link,
            _ => There::Other,
        })
    }

    /// Opens the file there, to be read and written, or makes it, and says which. Links are not followed.
    pub(super) fn open_or_make(&self) -> Result<(File, bool), DiskError> {
        match self.open(OFlags::RDWR | OFlags::CREATE | OFlags::EXCL) {
            Err(DiskError { fault: Fault::Exists, .. }) => {
                Ok((self.open(OFlags::RDWR | OFlags::CREATE)?, false))
            }
            made => Ok((made?, true)),
        }
    }

    /// Opens the file there, to be read and written. Links are not followed.
    pub(super) fn open_to_write(&self) -> Result<File, DiskError> {
        self.open(OFlags::RDWR)
    }

    /// Opens the file there, to be read. Links are not followed.
    ///
    /// # Errors
    /// If there is none, or it may not be read.
    pub fn open_to_read(&self) -> Result<File, DiskError> {
        self.open(OFlags::RDONLY)
    }

    fn open(&self, how: OFlags) -> Result<File, DiskError> {
        // NONBLOCK: a pipe must not make us wait for its other end. It means nothing for files.
        let how = how | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let fd = rustix::fs::openat(self.folder.fd.as_fd(), &self.name, how, Mode::from_raw_mode(0o666))
            .map_err(|error| self.error(error))?;
        let file = File::from(fd);
        let data = file.metadata().map_err(|error| self.error(error))?;
        match (data.is_file(), data.is_dir()) {
            (true, _) => Ok(file),
            (_, true) => Err(DiskError::new(&self.path(), Fault::IsFolder)),
            _ => Err(DiskError::new(&self.path(), Fault::NotFile)),
        }
    }

    /// Gives the file here another name in the same folder, which nothing may have. On a file system
    /// that can neither refuse to replace a file nor give it a second name, as exFAT by FUSE, what
    /// another program puts there in the same moment is lost.
    pub(crate) fn rename(&self, to: &Self) -> Result<(), DiskError> {
        self.rename_by(to, rename_new, link)
    }

    /// The same, by these ways of the file system.
    fn rename_by(&self, to: &Self, rename_new: Naming, link: Naming) -> Result<(), DiskError> {
        match rename_new(self, to) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            other => return other.map_err(|e| to.error(e)),
        }
        // In one step it cannot be done: make a second name, then drop the first.
        match link(self, to) {
            Ok(()) => return self.remove(),
            Err(Errno::PERM | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(to.error(error)),
        }
        if to.there()? != There::Nothing {
            return Err(DiskError::new(&to.path(), Fault::Exists));
        }
        rustix::fs::renameat(&*self.folder.fd, &self.name, &*to.folder.fd, &to.name).map_err(|e| to.error(e))
    }

    /// Removes the file, if it is there.
    pub(super) fn remove(&self) -> Result<(), DiskError> {
        match rustix::fs::unlinkat(&*self.folder.fd, &self.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            // Where nothing can be removed it is not looked whether there is something.
            Err(Errno::ROFS) if self.there()? == There::Nothing => Ok(()),
            Err(error) => Err(self.error(error)),
        }
    }

    /// Whether the name still leads to this open file.
    pub(super) fn leads_to(&self, file: &File) -> Result<bool, DiskError> {
        let open = Stamp::of(file).map_err(|error| self.error(error))?;
        Ok(matches!(self.there()?, There::File { inode, .. } if inode == open.inode))
    }

    pub(super) fn error(&self, error: impl Into<std::io::Error>) -> DiskError {
        DiskError::at(&self.path())(error.into())
    }
}

/// Whether a path has a slash at its end, by which users mean a folder, and which [`Path`] overlooks.
pub(crate) fn ends_in_slash(path: &Path) -> bool {
    path.as_os_str().as_bytes().ends_with(b"/")
}

/// A way to give a file a name that nothing has.
type Naming = fn(&Place, &Place) -> rustix::io::Result<()>;

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn rename_new(from: &Place, to: &Place) -> rustix::io::Result<()> {
    let only_new = rustix::fs::RenameFlags::NOREPLACE;
    rustix::fs::renameat_with(&*from.folder.fd, &from.name, &*to.folder.fd, &to.name, only_new)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn rename_new(_: &Place, _: &Place) -> rustix::io::Result<()> {
    Err(Errno::NOSYS)
}

fn link(from: &Place, to: &Place) -> rustix::io::Result<()> {
    rustix::fs::linkat(&*from.folder.fd, &from.name, &*to.folder.fd, &to.name, AtFlags::empty())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn path(text: &str) -> RelativePath {
        RelativePath::new(text).unwrap()
    }

    #[test]
    fn nothing_leaves_the_folder_by_a_link() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(outside.path().join("secret"), "s").unwrap();
        symlink(outside.path(), inside.path().join("out")).unwrap();
        symlink(outside.path().join("secret"), inside.path().join("file")).unwrap();
        std::fs::create_dir(inside.path().join("real")).unwrap();
        symlink("../real", inside.path().join("real/loop")).unwrap();
        let folder = Folder::open(inside.path()).unwrap();
        for way in ["out/new", "out/deeper/new", "real/loop/new"] {
            let error = folder.below(&path(way), true).unwrap_err();
            assert!(matches!(error.fault, Fault::Link), "{way}: {error}");
        }
        let error = folder.below(&path("file/new"), true).unwrap_err();
        assert!(matches!(error.fault, Fault::Link), "{error}");
        let place = folder.below(&path("file"), true).unwrap();
        assert_eq!(place.there().unwrap(), There::Link);
        assert!(matches!(place.open_or_make().unwrap_err().fault, Fault::Link));
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_folder_that_cannot_be_synced_is_no_failure() {
        // As the shared folders of some virtual machines.
        let folder = Folder::open(Path::new("/proc/self")).unwrap();
        assert_eq!(rustix::fs::fsync(&*folder.fd), Err(Errno::INVAL));
        folder.sync().unwrap();
    }

    #[test]
    fn makes_the_folders_on_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::make(&dir.path().join("x/y")).unwrap();
        assert!(matches!(folder.below(&path("a/b/é"), false).unwrap_err().fault, Fault::Missing));
        let place = folder.below(&path("a/b/é"), true).unwrap();
        place.open_or_make().unwrap();
        assert!(dir.path().join("x/y/a/b/é").is_file());
        assert!(matches!(folder.below(&path("a/b/é/c"), true).unwrap_err().fault, Fault::NotFolder));
    }

    #[test]
    fn an_open_folder_is_not_fooled_by_a_link_that_appears() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = Folder::open(inside.path()).unwrap();
        let place = folder.below(&path("sub/file"), true).unwrap();
        std::fs::rename(inside.path().join("sub"), inside.path().join("moved")).unwrap();
        symlink(outside.path(), inside.path().join("sub")).unwrap();
        place.open_or_make().unwrap();
        assert!(inside.path().join("moved/file").exists());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn renames_over_nothing_whatever_the_file_system_can_do() {
        let cannot: [Naming; 2] = [|_, _| Err(Errno::INVAL), |_, _| Err(Errno::PERM)];
        for (rename_new, link) in [(rename_new as Naming, link as Naming), (cannot[0], link), cannot.into()] {
            let dir = tempfile::tempdir().unwrap();
            let (a, b) = (dir.path().join("a"), dir.path().join("b"));
            std::fs::write(&a, "a").unwrap();
            let (from, to) = (Place::new(&a).unwrap(), Place::new(&b).unwrap());
            let rename = || from.rename_by(&to, rename_new, link);
            symlink("nowhere", &b).unwrap();
            assert!(matches!(rename().unwrap_err().fault, Fault::Exists));
            std::fs::remove_file(&b).unwrap();
            std::fs::write(&b, "b").unwrap();
            assert!(matches!(rename().unwrap_err().fault, Fault::Exists));
            assert_eq!(std::fs::read(&b).unwrap(), b"b");
            std::fs::remove_file(&b).unwrap();
            rename().unwrap();
            assert_eq!(std::fs::read(&b).unwrap(), b"a");
            assert!(!a.exists());
        }
    }

    #[test]
    fn names_that_are_no_place_for_a_file() {
        for (bad, has_name) in [("/", false), ("..", false), ("a/..", false), ("/tmp/", true), ("a/", true)] {
            let error = Place::new(Path::new(bad)).unwrap_err();
            assert_eq!(matches!(error.fault, Fault::Slash), has_name, "{bad}: {error}");
            assert_eq!(matches!(error.fault, Fault::IsFolder), !has_name, "{bad}: {error}");
        }
        let long = Place::new(Path::new(&"n".repeat(255))).unwrap();
        assert!(long.beside(".askaround-part").name.len() <= MAX_NAME);
    }
}
