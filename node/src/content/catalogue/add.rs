//! How content comes into the catalogue: files and folders of the user's, and what was fetched.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use askaround_core::pieces::{Geometry, Manifest, Root};
use tempfile::NamedTempFile;

use super::copy::{copy, under_a_free_name};
use super::{Catalogue, CatalogueError, Condition, Entry, Kept, open, tables};
use crate::content::boot::BootId;
use crate::content::collection::{Collection, ListedFile};
use crate::content::disk::DiskError;
use crate::content::file::Stamp;
use crate::content::hash::{HashError, hash_file, hash_file_alone};
use crate::content::md5::Md5;
use crate::content::part::Part;
use crate::content::walk::{self, FoundFile, Skipped};
use crate::store::StoreError;

/// Files of a folder that are larger are hashed one after the other, each on all cores; smaller
/// ones one on each core.
const LARGE: u64 = 64 << 20;

/// How a file of the user's is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Where it lies; nothing is copied.
    Reference,
    /// As a copy in the peer's folder.
    Copy,
}

/// A folder that was added.
#[derive(Debug)]
pub struct AddedFolder {
    /// Its list.
    pub entry: Entry,
    /// What is in it.
    pub collection: Collection,
    /// What was left out.
    pub skipped: Vec<Skipped>,
}

/// A file that was hashed or fetched, on its way into the catalogue.
#[derive(Debug, Clone)]
pub struct Addition {
    /// Its pieces.
    pub manifest: Arc<Manifest>,
    /// Its md5, if that is known.
    pub md5: Option<Md5>,
    /// Its file; an absolute path.
    pub path: PathBuf,
    /// How it came here.
    pub kept: Kept,
    /// How its file looked when it was verified.
    pub stamp: Stamp,
    /// Whether at least a piece of it is a hole.
    pub sparse: bool,
    /// Whether its file may be run.
    pub executable: bool,
}

impl Catalogue {
    /// Adds a file of the user's. `progress` is told how many bytes are done.
    ///
    /// # Errors
    /// If it is no file, cannot be read or copied, changes meanwhile, or `cancel` becomes true.
    pub fn add(
        &self,
        path: &Path,
        how: How,
        progress: &dyn Fn(u64),
        cancel: &AtomicBool,
    ) -> Result<Entry, CatalogueError> {
        let mut file = open(path)?;
        let path = std::path::absolute(path).map_err(DiskError::at(path))?;
        let addition = match how {
            How::Reference => hash_one(&path, &file, true, progress, cancel)?,
            How::Copy => {
                let copies = self.copies()?;
                let mut made = NamedTempFile::new_in(&copies).map_err(DiskError::at(&copies))?;
                copy_with_mode(&path, &mut file, made.as_file_mut())?;
                let mut addition = hash_one(&path, made.as_file(), true, progress, cancel)?;
                addition.kept = Kept::Copy;
                let known = self.get(&addition.manifest.root().key())?;
                let copied = known.filter(|known| known.kept == Kept::Copy);
                if let Some(known) = copied.filter(|known| self.condition(known) == Condition::Good) {
                    addition.path = known.path;
                    addition.stamp = known.stamp;
                } else {
                    let name = path.file_name().unwrap_or(OsStr::new("content"));
                    addition.path = keep(made, &copies, name)?;
                }
                addition
            }
        };
        let root = addition.manifest.root();
        self.add_all(&[addition], None)?;
        self.get(&root.key())?.ok_or(CatalogueError::Damaged(root))
    }

    /// Adds a folder of the user's as a collection: its files, and their list, whose root is its
    /// key. `progress` is told how many bytes are done, of how many.
    ///
    /// # Errors
    /// If a file cannot be read or copied, one changes meanwhile, there are too many, or `cancel`
    /// becomes true. Then nothing is added.
    pub fn add_folder(
        &self,
        path: &Path,
        how: How,
        progress: &dyn Fn(u64, u64),
        cancel: &AtomicBool,
    ) -> Result<AddedFolder, CatalogueError> {
        let path = std::path::absolute(path).map_err(DiskError::at(path))?;
        let (mut found, skipped) = walk::walk(&path, cancel)?;
        let (folder, kept) = match how {
            How::Reference => (path, Kept::Reference),
            How::Copy => {
                let name = path.file_name().unwrap_or(OsStr::new("folder"));
                let (folder, ()) =
                    under_a_free_name(&self.copies()?, name, |path| std::fs::create_dir(path))?;
                (folder, Kept::Copy)
            }
        };
        let added = (|| {
            if kept == Kept::Copy {
                copy_folder(&mut found, &folder, cancel)?;
            }
            self.add_found(&folder, kept, &found, progress, cancel)
        })();
        let in_vain = added.as_ref().map_or(true, |(entry, _)| entry.path != folder);
        if in_vain && kept == Kept::Copy {
            // If it failed, the first failure is the one to tell.
            let _ = std::fs::remove_dir_all(&folder);
        }
        added.map(|(entry, collection)| AddedFolder { entry, collection, skipped })
    }

    fn add_found(
        &self,
        folder: &Path,
        kept: Kept,
        found: &[FoundFile],
        progress: &dyn Fn(u64, u64),
        cancel: &AtomicBool,
    ) -> Result<(Entry, Collection), CatalogueError> {
        let total = found.iter().map(|file| file.size).sum();
        let mut additions = hash_all(found, &|done| progress(done, total), cancel)?;
        additions.iter_mut().for_each(|addition| addition.kept = kept);
        let files = found.iter().zip(&additions).map(|(found, addition)| ListedFile {
            path: found.relative.clone(),
            root: addition.manifest.root(),
            size: addition.stamp.length,
            executable: addition.executable,
        });
        let collection = Collection::new(files.collect())?;
        if let Some(copied) = self.copied_folder(&collection)?.filter(|_| kept == Kept::Copy) {
            return Ok((copied, collection));
        }
        let entry = self.add_collection(&collection, folder, &additions)?;
        Ok((entry, collection))
    }

    /// The entry of a collection of which there is a whole copy already.
    fn copied_folder(&self, collection: &Collection) -> Result<Option<Entry>, CatalogueError> {
        let (manifest, _) = hash_bytes(&collection.to_bytes())?;
        let Some(known) = self.get(&manifest.root().key())? else { return Ok(None) };
        for file in collection.files() {
            let entry = self.get(&file.root.key())?;
            let good = |entry: Entry| entry.kept == Kept::Copy && Self::look(&entry) == Condition::Good;
            if !entry.is_some_and(good) {
                return Ok(None);
            }
        }
        let is_copy = self.home.is_some() && known.path.starts_with(self.copies()?);
        Ok(is_copy.then_some(known))
    }

    /// Adds what was fetched, once it is finished.
    ///
    /// # Errors
    /// If the file is gone, or the catalogue cannot be written.
    pub fn add_fetched(&self, part: &Part, md5: Option<Md5>) -> Result<Entry, CatalogueError> {
        let addition = Addition::fetched(part, md5)?;
        self.add_all(&[addition], None)?;
        let root = part.wanted().manifest.root();
        self.get(&root.key())?.ok_or(CatalogueError::Damaged(root))
    }

    /// Adds a collection that lies in `folder`, with those of its files that are there already.
    ///
    /// # Errors
    /// If the catalogue cannot be written.
    pub fn add_collection(
        &self,
        collection: &Collection,
        folder: &Path,
        files: &[Addition],
    ) -> Result<Entry, CatalogueError> {
        let list = collection.to_bytes();
        let (manifest, md5) = hash_bytes(&list)?;
        let folder = std::path::absolute(folder).map_err(DiskError::at(folder))?;
        let root = manifest.root();
        let entry = Entry {
            root,
            size: list.len() as u64,
            md5: Some(md5),
            path: folder,
            kept: Kept::List,
            own: true,
            sparse: false,
            executable: false,
            stamp: Stamp { length: list.len() as u64, mtime_ns: 0, inode: 0 },
            boot: None,
            synced: true,
        };
        self.change(|write| {
            tables::put(write, &entry)?;
            tables::put_manifest(write, &manifest)?;
            write.open_table(tables::LISTS)?.insert(*root.as_bytes(), list.as_slice())?;
            files.iter().try_for_each(|file| put(write, file, Some(&root)))
        })?;
        Ok(entry)
    }

    /// Adds files in one go: by themselves, or for a collection.
    ///
    /// # Errors
    /// If the catalogue cannot be written.
    pub fn add_all(&self, files: &[Addition], collection: Option<&Root>) -> Result<(), StoreError> {
        self.change(|write| files.iter().try_for_each(|file| put(write, file, collection)))
    }

    /// Adds again what lies in the peer's folder for copies; what is known there already, and
    /// unchanged, is not read. How many were added.
    ///
    /// # Errors
    /// As [`Catalogue::add`].
    pub fn rebuild(&self, progress: &dyn Fn(u64), cancel: &AtomicBool) -> Result<usize, CatalogueError> {
        let copies = self.copies()?;
        let (mut found, _) = walk::walk(&copies, cancel)?;
        let known: std::collections::HashSet<_> = self
            .list()?
            .into_iter()
            .filter(|entry| self.condition(entry) == Condition::Good)
            .map(|entry| entry.path)
            .collect();
        found.retain(|file| !known.contains(&file.path));
        let mut additions = hash_all(&found, progress, cancel)?;
        additions.iter_mut().for_each(|addition| addition.kept = Kept::Copy);
        self.add_all(&additions, None)?;
        Ok(additions.len())
    }
}

impl Addition {
    /// What a finished fetch has brought.
    ///
    /// # Errors
    /// If the file is gone.
    pub fn fetched(part: &Part, md5: Option<Md5>) -> Result<Self, DiskError> {
        let path = part.place().path();
        let file = part.place().open_to_read()?;
        let look = Look::at(&file).map_err(DiskError::at(&path))?;
        Ok(Self {
            manifest: Arc::clone(&part.wanted().manifest),
            md5: md5.or(part.wanted().md5),
            path: std::path::absolute(&path).map_err(DiskError::at(&path))?,
            kept: Kept::Fetched,
            stamp: look.stamp,
            sparse: look.sparse,
            executable: look.executable,
        })
    }
}

/// Writes an entry. What is known of the same content stays where it is still true.
fn put(
    write: &redb::WriteTransaction,
    file: &Addition,
    collection: Option<&Root>,
) -> Result<(), redb::Error> {
    let root = file.manifest.root();
    let known = tables::entry(&write.open_table(tables::FILES)?, &root)?;
    if let Some(collection) = collection {
        tables::join(write, &root, collection)?;
    }
    let own = collection.is_none() || known.as_ref().is_some_and(|known| known.own);
    let md5 = file.md5.or(known.as_ref().and_then(|known| known.md5));
    if let Some(known) = known.as_ref().filter(|known| known.kept == Kept::Copy && known.path != file.path) {
        // The peer's own copy is the one that nobody else changes.
        if Catalogue::look(known) == Condition::Good {
            return tables::put(write, &Entry { own, md5, ..known.clone() });
        }
    }
    let same = known.filter(|known| known.path == file.path);
    let entry = Entry {
        root,
        size: file.stamp.length,
        md5,
        path: file.path.clone(),
        kept: same.as_ref().map_or(file.kept, |same| same.kept),
        own,
        sparse: file.sparse,
        executable: file.executable,
        stamp: file.stamp,
        boot: BootId::current(),
        synced: same.is_some_and(|same| same.synced && same.stamp == file.stamp),
    };
    tables::put(write, &entry)?;
    tables::put_manifest(write, &file.manifest)
}

/// What an open file looks like.
struct Look {
    stamp: Stamp,
    sparse: bool,
    executable: bool,
}

impl Look {
    fn at(file: &File) -> std::io::Result<Self> {
        let data = file.metadata()?;
        let piece = Geometry::new(data.len()).map_or(u64::MAX, |geometry| geometry.piece_size());
        // Less than a piece may be missing for other reasons: file systems keep small ends elsewhere.
        let sparse = (data.blocks() * 512).saturating_add(piece) <= data.len();
        Ok(Self { stamp: Stamp::from(&data), sparse, executable: data.mode() & 0o111 != 0 })
    }
}

/// Hashes a file: on all cores, or on this one.
fn hash_one(
    path: &Path,
    file: &File,
    all_cores: bool,
    progress: &dyn Fn(u64),
    cancel: &AtomicBool,
) -> Result<Addition, CatalogueError> {
    let hash = if all_cores { hash_file } else { hash_file_alone };
    let failed = |error| CatalogueError::Hash { path: path.to_owned(), error };
    let before = Look::at(file).map_err(DiskError::at(path))?;
    let hashed = hash(file, progress, cancel).map_err(failed)?;
    // What is noted is what was looked at before: a later change shows.
    if Stamp::of(file).map_err(DiskError::at(path))? != before.stamp {
        return Err(failed(HashError::Changed));
    }
    Ok(Addition {
        manifest: Arc::new(hashed.manifest),
        md5: Some(hashed.md5),
        path: path.to_owned(),
        kept: Kept::Reference,
        stamp: before.stamp,
        sparse: before.sparse,
        executable: before.executable,
    })
}

/// Hashes many files; what comes back is in their order.
fn hash_all(
    found: &[FoundFile],
    progress: &dyn Fn(u64),
    cancel: &AtomicBool,
) -> Result<Vec<Addition>, CatalogueError> {
    let (large, small): (Vec<usize>, Vec<usize>) = (0..found.len()).partition(|i| found[*i].size > LARGE);
    let hash = |at: usize, all_cores: bool, progress: &dyn Fn(u64)| {
        let path = &found[at].path;
        hash_one(path, &open(path)?, all_cores, progress, cancel)
    };
    let mut hashed: Vec<Option<Addition>> = vec![None; found.len()];
    let mut done = 0;
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(small.len());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (give, come) = mpsc::sync_channel(2 * cores.max(1));
        for _ in 0..cores {
            let (give, next, small, hash) = (give.clone(), &next, &small, &hash);
            scope.spawn(move || {
                while let Some(&at) = small.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if give.send((at, hash(at, false, &|_| ()))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(give);
        // Returning drops the receiver, and with it the workers end.
        for (at, addition) in come {
            done += found[at].size;
            hashed[at] = Some(addition?);
            progress(done);
        }
        Ok::<_, CatalogueError>(())
    })?;
    for at in large {
        hashed[at] = Some(hash(at, true, &|bytes| progress(done + bytes))?);
        done += found[at].size;
    }
    Ok(hashed.into_iter().flatten().collect())
}

/// Gives a finished copy a name that nothing has.
fn keep(made: NamedTempFile, copies: &Path, name: &OsStr) -> Result<PathBuf, DiskError> {
    let mut made = Some(made);
    let (path, ()) = under_a_free_name(copies, name, |path| {
        let file = made.take().ok_or(std::io::ErrorKind::NotFound)?;
        file.persist_noclobber(path).map(drop).map_err(|failed| {
            made = Some(failed.file);
            failed.error
        })
    })?;
    Ok(path)
}

/// Copies what was found into `folder`, and has it found there.
fn copy_folder(found: &mut [FoundFile], folder: &Path, cancel: &AtomicBool) -> Result<(), CatalogueError> {
    for file in found {
        if cancel.load(Ordering::Relaxed) {
            return Err(CatalogueError::Hash { path: file.path.clone(), error: HashError::Cancelled });
        }
        let to = folder.join(file.relative.as_str());
        let above = to.parent().unwrap_or(folder);
        std::fs::create_dir_all(above).map_err(DiskError::at(above))?;
        let mut made =
            File::options().read(true).write(true).create_new(true).open(&to).map_err(DiskError::at(&to))?;
        copy_with_mode(&file.path, &mut open(&file.path)?, &mut made)?;
        file.path = to;
    }
    Ok(())
}

fn copy_with_mode(path: &Path, from: &mut File, to: &mut File) -> Result<(), DiskError> {
    let copied = copy(from, to).and_then(|()| to.set_permissions(from.metadata()?.permissions()));
    copied.map_err(DiskError::at(path))
}

fn hash_bytes(bytes: &[u8]) -> Result<(Manifest, Md5), CatalogueError> {
    use std::os::unix::fs::FileExt as _;
    let in_temp = std::env::temp_dir();
    let file = tempfile::tempfile().map_err(DiskError::at(&in_temp))?;
    file.write_all_at(bytes, 0).map_err(DiskError::at(&in_temp))?;
    let hashed = hash_file_alone(&file, &|_| (), &AtomicBool::new(false));
    let hashed = hashed.map_err(|error| CatalogueError::Hash { path: in_temp, error })?;
    Ok((hashed.manifest, hashed.md5))
}
