//! What is on the disk, as it is compared: the bytes of every file by their BLAKE3 hash, and which
//! of them are executable.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// One file, or a folder with all that is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tree {
    File(blake3::Hash),
    Folder(BTreeMap<PathBuf, Entry>),
}

/// A file of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    hash: blake3::Hash,
    executable: bool,
}

impl Tree {
    /// Reads it.
    ///
    /// # Errors
    /// If it cannot be read, or is neither of files nor of folders.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        if fs::symlink_metadata(path)?.is_dir() {
            let mut files = BTreeMap::new();
            read_folder(path, Path::new(""), &mut files)?;
            return Ok(Self::Folder(files));
        }
        Ok(Self::File(hash(path)?))
    }

    /// How what was made differs from this, which was to be made; in words.
    pub(super) fn differences(&self, made: &Self) -> Vec<String> {
        self.compare(made, true)
    }

    /// The same of a fetch that has not come to its end: files may be missing, but what has its
    /// name is whole. Files that are on their way have other names.
    pub(super) fn differences_so_far(&self, made: &Self) -> Vec<String> {
        match made {
            Self::File(_) => self.compare(made, false),
            Self::Folder(files) => {
                let named = files.iter().filter(|(path, _)| !is_on_its_way(path));
                self.compare(&Self::Folder(named.map(|(p, e)| (p.clone(), e.clone())).collect()), false)
            }
        }
    }

    fn compare(&self, made: &Self, whole: bool) -> Vec<String> {
        let (expected, made) = match (self, made) {
            (Self::Folder(expected), Self::Folder(made)) => (expected, made),
            (Self::File(expected), Self::File(made)) if expected == made => return Vec::new(),
            (Self::File(_), Self::File(_)) => return vec!["other bytes".into()],
            (Self::File(_), Self::Folder(_)) => return vec!["a folder instead of a file".into()],
            (Self::Folder(_), Self::File(_)) => return vec!["a file instead of a folder".into()],
        };
        let mut differences = Vec::new();
        for (path, entry) in expected {
            match made.get(path) {
                None if whole => differences.push(format!("{path:?} is missing")),
                None => {}
                Some(made) if made.hash != entry.hash => differences.push(format!("{path:?}: other bytes")),
                Some(made) if made.executable != entry.executable => {
                    let is = if made.executable { "is" } else { "is not" };
                    differences.push(format!("{path:?} {is} executable"));
                }
                Some(_) => {}
            }
        }
        let more = made.keys().filter(|path| !expected.contains_key(*path));
        differences.extend(more.map(|path| format!("{path:?} is there too")));
        differences
    }

    /// The key of it, if it is one that can be told from the bytes alone.
    pub(super) fn key(&self) -> Option<String> {
        match self {
            Self::File(hash) => Some(hash.to_string()),
            Self::Folder(_) => None,
        }
    }

    /// The path, below the tree's own, of one of its files.
    pub(super) fn file(&self, pick: usize) -> Option<&Path> {
        match self {
            Self::File(_) => Some(Path::new("")),
            Self::Folder(files) => files.keys().nth(pick % files.len().max(1)).map(PathBuf::as_path),
        }
    }
}

/// Is it of a fetch that has not come to its end?
fn is_on_its_way(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') && (name.ends_with(".askaround-part") || name.ends_with(".askaround-journal"))
}

fn read_folder(root: &Path, below: &Path, files: &mut BTreeMap<PathBuf, Entry>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            read_folder(root, &path, files)?;
        } else {
            let executable = metadata.permissions().mode() & 0o100 != 0;
            files.insert(path, Entry { hash: hash(&entry.path())?, executable });
        }
    }
    Ok(())
}

fn hash(path: &Path) -> io::Result<blake3::Hash> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::other(format!("{path:?} is no file")));
    }
    Ok(blake3::Hasher::new().update_reader(File::open(path)?)?.finalize())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use super::Tree;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("below")).expect("folder");
        fs::write(at("one"), vec![7; 200_000]).expect("file");
        fs::write(at("below/run"), "run").expect("file");
        fs::set_permissions(at("below/run"), fs::Permissions::from_mode(0o755)).expect("executable");
        folder
    }

    fn read(path: &Path) -> Tree {
        Tree::read(path).expect("readable")
    }

    #[test]
    fn whatever_is_wrong_with_a_folder_is_found() {
        type Spoil = fn(&Path);
        let cases: [(&str, Spoil); 6] = [
            ("\"one\": other bytes", |f| {
                let mut bytes = vec![7; 200_000];
                bytes[150_000] = 8;
                fs::write(f.join("one"), bytes).expect("file");
            }),
            ("\"one\": other bytes", |f| fs::write(f.join("one"), vec![7; 199_999]).expect("file")),
            ("\"one\" is missing", |f| fs::remove_file(f.join("one")).expect("removed")),
            ("\"one\" is executable", |f| {
                fs::set_permissions(f.join("one"), fs::Permissions::from_mode(0o755)).expect("mode");
            }),
            ("\"below/run\" is not executable", |f| {
                fs::set_permissions(f.join("below/run"), fs::Permissions::from_mode(0o644)).expect("mode");
            }),
            ("\"below/.x.askaround-part\" is there too", |f| {
                fs::write(f.join("below/.x.askaround-part"), "").expect("file");
            }),
        ];
        let expected = read(folder().path());
        assert_eq!(expected.differences(&read(folder().path())), [""; 0]);
        for (difference, spoil) in cases {
            let made = folder();
            spoil(made.path());
            assert_eq!(expected.differences(&read(made.path())), [difference]);
        }
    }

    #[test]
    fn a_fetch_that_was_stopped_may_miss_files_and_nothing_else() {
        let expected = read(folder().path());
        let made = folder();
        fs::write(made.path().join("below/.x.askaround-part"), "").expect("file");
        fs::remove_file(made.path().join("one")).expect("removed");
        assert_eq!(expected.differences_so_far(&read(made.path())), [""; 0]);
        fs::write(made.path().join("below/run"), "ru").expect("file");
        assert_eq!(expected.differences_so_far(&read(made.path())), ["\"below/run\": other bytes"]);
    }

    #[test]
    fn a_file_is_compared_by_its_bytes() {
        let folder = folder();
        let (one, run) = (read(&folder.path().join("one")), read(&folder.path().join("below/run")));
        assert_eq!(one.differences(&one), [""; 0]);
        assert_eq!(one.differences(&run), ["other bytes"]);
        assert_eq!(one.differences(&read(folder.path())), ["a folder instead of a file"]);
        assert_eq!(read(folder.path()).differences(&one), ["a file instead of a folder"]);
        assert_eq!(one.key(), Some(blake3::hash(&[7; 200_000]).to_string()));
    }
}
