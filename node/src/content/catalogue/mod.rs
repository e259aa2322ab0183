//! [`Catalogue`]: which content is here, and in which file. The files are the user's or this
//! peer's, and may change at any time: nothing is opened as what it was without a look at it.

mod add;
mod addition;
mod copy;
mod doubles;
mod folder;
mod hashing;
mod on_disk;
mod tables;
mod verify;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use askaround_core::Key;
use askaround_core::pieces::{Geometry, Manifest, Root};
use redb::{Database, ReadableDatabase as _, ReadableTable as _};
use serde::{Deserialize, Serialize};

use super::boot::BootId;
use super::collection::{Collection, CollectionError};
use super::disk::{DiskError, Fault};
use super::file::{ContentFile, Stamp};
use super::hash::HashError;
use super::md5::Md5;
use super::part::PartError;
use crate::store::StoreError;

pub use add::How;
pub use addition::Addition;
pub use doubles::Double;
pub use folder::AddedFolder;
pub use verify::Verified;

/// Which content is here. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Catalogue {
    database: Arc<Database>,
    /// The peer's folder, for copies; none for a peer that lasts as long as a command.
    home: Option<PathBuf>,
    changes: Arc<AtomicU64>,
}

/// A content that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its BLAKE3 hash.
    pub root: Root,
    /// Its bytes.
    pub size: u64,
    /// Its md5, if that was computed.
    pub md5: Option<Md5>,
    /// Its file. Of a collection's list, which has none: the folder that was added or fetched.
    pub path: PathBuf,
    /// How it came here.
    pub kept: Kept,
    /// Whether it was added or fetched by itself, and not only as a file of a collection.
    pub own: bool,
    /// Whether at least a piece of it is a hole.
    pub sparse: bool,
    /// Whether its file may be run.
    pub executable: bool,
    /// How its file looked when it was verified.
    pub stamp: Stamp,
    /// In which run of the machine that was.
    pub boot: Option<BootId>,
    /// Whether it is surely on the disk, and not only in the system's memory.
    pub synced: bool,
}

/// How a content came here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kept {
    /// The user's file, used where it lies.
    Reference,
    /// A copy in the peer's folder, which goes when the entry goes.
    Copy,
    /// Fetched from others to where the user wanted it.
    Fetched,
    /// The list of a collection, kept in the catalogue itself.
    List,
}

/// Whether a content can be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// As it was verified.
    Good,
    /// Its file was changed since: it has to be verified, or added again.
    Changed,
    /// Its file is gone, or cannot be opened.
    Missing,
    /// Not known to have been on the disk when the machine went down: it has to be verified.
    Unchecked,
}

/// Why content cannot be added, opened or verified.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// It is not here.
    #[error("{0} is not here")]
    Unknown(Key),
    /// Its file was changed since it was verified.
    #[error("{}: was changed since it was added; verify it, or add it again", .0.display())]
    Changed(PathBuf),
    /// Not known to have been on the disk when the machine went down.
    #[error("{}: the machine went down before it was surely on the disk; verify it", .0.display())]
    Unchecked(PathBuf),
    /// What the catalogue says of it does not fit together.
    #[error("what is noted of {0} is damaged: purge it and add it again")]
    Damaged(Root),
    /// Copies need a folder to be in.
    #[error("copies are kept only by a peer that has a folder")]
    NoHome,
    /// The file cannot be hashed.
    #[error("{}: {error}", .path.display())]
    Hash {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: HashError,
    },
    /// The folder cannot be made a collection, or a list is none.
    #[error(transparent)]
    Collection(#[from] CollectionError),
    /// The disk's.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A file cannot be repaired.
    #[error(transparent)]
    Part(#[from] PartError),
    /// The catalogue itself cannot be read or written.
    #[error(transparent)]
    State(#[from] StoreError),
}

impl CatalogueError {
    /// Whether it ended because that was asked for.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Hash { error: HashError::Cancelled, .. } | Self::Part(PartError::Cancelled))
    }
}

impl Catalogue {
    /// The catalogue in a peer's database, which is in the folder `home`.
    pub(crate) fn in_database(database: Arc<Database>, home: &Path) -> Result<Self, StoreError> {
        let catalogue = Self { database, home: Some(home.to_owned()), changes: Arc::default() };
        catalogue.change(tables::make)?;
        Ok(catalogue)
    }

    /// A catalogue in memory, for a peer that lasts as long as a command.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn temporary() -> Result<Self, StoreError> {
        let made = Database::builder()
            .set_cache_size(crate::store::CACHE)
            .create_with_backend(redb::backends::InMemoryBackend::new());
        let database = made.map_err(|error| StoreError::of(database_path(None), error.into()))?;
        let catalogue = Self { database: Arc::new(database), home: None, changes: Arc::default() };
        catalogue.change(tables::make)?;
        Ok(catalogue)
    }

    /// The content that a key of either kind names, if it is here.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        self.read(|read| {
            let root = match (Root::from_key(key), Md5::from_key(key)) {
                (Some(root), _) => Some(root),
                (None, Some(md5)) => tables::root_of(&read.open_table(tables::MD5S)?, &md5)?,
                (None, None) => None,
            };
            let files = read.open_table(tables::FILES)?;
            root.map_or(Ok(None), |root| tables::entry(&files, &root))
        })
    }

    /// All that is here, by path.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn list(&self) -> Result<Vec<Entry>, StoreError> {
        let mut entries = self.read(|read| {
            let mut entries = Vec::new();
            for row in read.open_table(tables::FILES)?.iter()? {
                let (root, row) = row?;
                let (path, record) = row.value();
                entries.extend(tables::decode(Root::new(root.value()), path, record));
            }
            Ok(entries)
        })?;
        entries.sort_by(|a, b| (&a.path, a.root).cmp(&(&b.path, b.root)));
        Ok(entries)
    }

    /// How often it was changed since it was opened.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Forgets a content; of a collection also the files that are here only for it. Copies in the
    /// peer's folder are removed, other files stay. What was forgotten.
    ///
    /// # Errors
    /// If the catalogue cannot be written, or a copy not removed.
    pub fn remove(&self, key: &Key) -> Result<Vec<Entry>, CatalogueError> {
        let Some(entry) = self.get(key)? else { return Ok(Vec::new()) };
        let files = match entry.kept {
            Kept::List => self.collection(&entry.root)?.files().to_vec(),
            _ => Vec::new(),
        };
        let removed = self.change(|write| {
            let mut removed = Vec::new();
            for file in &files {
                let needed = tables::leave(write, &file.root, &entry.root)?;
                let known = tables::entry(&write.open_table(tables::FILES)?, &file.root)?;
                if !needed && known.is_some_and(|known| !known.own) {
                    removed.extend(tables::take(write, &file.root)?);
                }
            }
            if tables::is_member(write, &entry.root)? {
                // A collection still needs it.
                tables::put(write, &Entry { own: false, ..entry.clone() })?;
            } else {
                removed.extend(tables::take(write, &entry.root)?);
            }
            Ok(removed)
        })?;
        for entry in removed.iter().filter(|entry| entry.kept == Kept::Copy) {
            self.remove_copy(&entry.path)?;
        }
        // The copy of a folder may have a content twice, of which the catalogue knows one place.
        for file in files.iter().filter(|_| self.home.is_some()) {
            let path = entry.path.join(file.path.as_str());
            if self.get(&file.root.key())?.is_none_or(|known| known.path != path) {
                self.remove_copy(&path)?;
            }
        }
        Ok(removed)
    }

    /// Whether a content can be served, as far as a look at its file tells.
    pub fn condition(&self, entry: &Entry) -> Condition {
        Self::look(entry)
    }

    pub(in crate::content) fn look(entry: &Entry) -> Condition {
        if entry.kept == Kept::List {
            return Condition::Good;
        }
        let Ok(data) = std::fs::metadata(&entry.path) else { return Condition::Missing };
        if !data.is_file() {
            Condition::Missing
        } else if Stamp::from(&data) != entry.stamp {
            Condition::Changed
        } else if needs_check(entry) {
            Condition::Unchecked
        } else {
            Condition::Good
        }
    }

    /// Opens a content to serve it.
    ///
    /// # Errors
    /// If it is not here, its file is not what was verified, or the disk says no.
    pub fn open(&self, root: &Root) -> Result<Arc<ContentFile>, CatalogueError> {
        let entry = self.get(&root.key())?.ok_or_else(|| CatalogueError::Unknown(root.key()))?;
        self.open_entry(&entry)
    }

    /// Opens a content that was just looked up.
    ///
    /// # Errors
    /// As [`Catalogue::open`].
    pub fn open_entry(&self, entry: &Entry) -> Result<Arc<ContentFile>, CatalogueError> {
        let manifest = Arc::new(self.manifest(entry)?);
        if entry.kept == Kept::List {
            return Ok(Arc::new(ContentFile::of_bytes(&self.list_bytes(&entry.root)?, manifest)?));
        }
        let file = open(&entry.path)?;
        if Stamp::of(&file).map_err(DiskError::at(&entry.path))? != entry.stamp {
            return Err(CatalogueError::Changed(entry.path.clone()));
        }
        if needs_check(entry) {
            return Err(CatalogueError::Unchecked(entry.path.clone()));
        }
        Ok(Arc::new(ContentFile::whole(file, manifest, entry.stamp)))
    }

    /// The hashes of a content's pieces.
    ///
    /// # Errors
    /// If they are damaged.
    pub fn manifest(&self, entry: &Entry) -> Result<Manifest, CatalogueError> {
        let root = entry.root;
        let damaged = || CatalogueError::Damaged(root);
        let bytes = match Geometry::new(entry.size).map_err(|_| damaged())?.count() {
            0 => Vec::new(),
            1 => root.as_bytes().to_vec(),
            _ => self
                .read(|read| {
                    let row = read.open_table(tables::MANIFESTS)?.get(*root.as_bytes())?;
                    Ok(row.map(|row| row.value().to_vec()))
                })?
                .ok_or_else(damaged)?,
        };
        Manifest::from_bytes(root, entry.size, &bytes).map_err(|_| damaged())
    }

    /// The collection whose list has this root.
    ///
    /// # Errors
    /// If it is not here, or damaged.
    pub fn collection(&self, root: &Root) -> Result<Collection, CatalogueError> {
        let bytes = self.list_bytes(root)?;
        Collection::parse(&bytes).map_err(|_| CatalogueError::Damaged(*root))
    }

    fn list_bytes(&self, root: &Root) -> Result<Vec<u8>, CatalogueError> {
        let bytes = self.read(|read| {
            let row = read.open_table(tables::LISTS)?.get(*root.as_bytes())?;
            Ok(row.map(|row| row.value().to_vec()))
        })?;
        bytes.ok_or_else(|| CatalogueError::Unknown(root.key()))
    }

    fn read<T>(
        &self,
        look: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let run = || look(&self.database.begin_read()?);
        run().map_err(|error| StoreError::of(database_path(self.home.as_deref()), error))
    }

    /// All of `change` or nothing; on disk when this returns.
    fn change<T>(
        &self,
        change: impl FnOnce(&redb::WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let run = || {
            let write = self.database.begin_write()?;
            let result = change(&write)?;
            write.commit()?;
            self.changes.fetch_add(1, Ordering::Relaxed);
            Ok(result)
        };
        run().map_err(|error: redb::Error| StoreError::of(database_path(self.home.as_deref()), error))
    }
}

fn needs_check(entry: &Entry) -> bool {
    let this_run = entry.boot.is_some() && entry.boot == BootId::current();
    !entry.synced && !this_run
}

fn database_path(home: Option<&Path>) -> PathBuf {
    home.map_or_else(|| PathBuf::from("the catalogue in memory"), |home| home.join("state.redb"))
}

/// Opens a file of the user's to read it. Looks first: opening a pipe would wait for its other end.
fn open(path: &Path) -> Result<File, DiskError> {
    let data = std::fs::metadata(path).map_err(DiskError::at(path))?;
    if data.is_dir() {
        return Err(DiskError::new(path, Fault::IsFolder));
    }
    if !data.is_file() {
        return Err(DiskError::new(path, Fault::NotFile));
    }
    File::open(path).map_err(DiskError::at(path))
}

#[cfg(test)]
mod tests;
