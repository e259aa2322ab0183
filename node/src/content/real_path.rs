//! One path for each file and folder, however it is spelt: two spellings are not two places, and a
//! path goes on to mean what it meant when a folder that it only passes through is gone.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::disk::DiskError;

/// The absolute path of what may not be there yet: the folder that it is in by its real path, without
/// links and `..`, and its own name as it is given. What is given by a link keeps the link's name. Where
/// there is no such folder, the path stays as it is.
///
/// # Errors
/// If there is no path, or no current folder.
pub(crate) fn real_path(path: &Path) -> Result<PathBuf, DiskError> {
    let path = std::path::absolute(path).map_err(DiskError::at(path))?;
    let real_path = match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => real(folder).map(|folder| folder.join(name)),
        // The root, or what ends in `..`.
        _ => real(&path),
    };
    Ok(real_path.unwrap_or(path))
}

/// The same of a folder, which is also the folder of the files in it: no link at all is left.
///
/// # Errors
/// As [`real_path`].
pub(crate) fn real_folder(path: &Path) -> Result<PathBuf, DiskError> {
    let path = std::path::absolute(path).map_err(DiskError::at(path))?;
    Ok(real(&path).unwrap_or(path))
}

/// The real path of a folder that is there.
fn real(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok().filter(|real| is_same(path, real))
}

/// Whether both lead to one folder: what is below `/proc/PID/root` need not be what links say.
fn is_same(a: &Path, b: &Path) -> bool {
    let number = |path: &Path| path.metadata().map(|data| (data.dev(), data.ino())).ok();
    number(a).is_some_and(|a| Some(a) == number(b))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn however_it_is_spelt_it_is_one_path() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(top.join("real/in")).unwrap();
        symlink("real", top.join("link")).unwrap();
        symlink("real/in", top.join("in")).unwrap();
        std::fs::write(top.join("real/file"), "f").unwrap();
        symlink("file", top.join("real/named")).unwrap();
        for (given, expected) in [
            ("real/file", "real/file"),
            ("link/file", "real/file"),
            ("in/../file", "real/file"),
            ("real/in/../../link/./file", "real/file"),
            ("link/named", "real/named"),
            ("link", "link"),
            ("link/", "link"),
            ("link/in/..", "real"),
            ("link/new", "real/new"),
            ("link/new/x", "link/new/x"),
            ("link/new/../x", "link/new/../x"),
        ] {
            assert_eq!(real_path(&top.join(given)).unwrap(), top.join(expected), "{given}");
        }
        for (given, expected) in [("link", "real"), ("link/", "real"), ("in/..", "real"), ("new/", "new")] {
            assert_eq!(real_folder(&top.join(given)).unwrap(), top.join(expected), "{given}");
        }
        assert_eq!(real_path(Path::new("/")).unwrap(), Path::new("/"));
        assert_eq!(real_path(Path::new("/..")).unwrap(), Path::new("/"));
    }
}
