//! [`Catalogue`]: which content is here, and in which files. The files are the user's or this
//! peer's, and may change at any time: nothing is opened as what it was without a look at it.
//!
//! A content may be in several files, its places. It is served from any that is good. A place is
//! there because its file was added or fetched by itself, or for collections that list it; when
//! nothing needs it any more it is forgotten, and with its last place the content is. How many
//! places there are is bounded by what the user adds and by the length of lists.

mod add;
mod addition;
mod copy;
mod damage;
mod entries;
mod entry;
mod folder;
mod hashing;
mod held;
mod lost;
mod moved;
mod on_disk;
mod open;
mod others;
mod remove;
mod replaced;
mod tables;
mod verify;

use std::fs::Metadata;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use askaround_core::Key;
use askaround_core::pieces::{Geometry, Manifest, Root};
use redb::Durability;
use rustix::fs::{Access, access};

use self::open::open;
use self::tables::Tables;
use super::collection::{Collection, CollectionError};
use super::disk::{DiskError, Fault};
use super::file::{ContentFile, Stamp};
use super::hash::HashError;
use super::part::PartError;
use crate::shared::Shared;
use crate::store::{Database, StoreError};

pub use add::How;
pub use addition::Addition;
pub use damage::Repairing;
pub use entries::Entries;
pub use entry::{Condition, Entry, Kept};
pub use folder::AddedFolder;
pub use lost::UnknownCopies;
pub use remove::Removed;
pub use replaced::AddedAt;
pub use verify::Verified;

/// Which content is here. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Catalogue {
    database: Arc<Database>,
    /// The peer's folder, for copies; none for a peer that lasts as long as a command.
    home: Option<PathBuf>,
    changes: Arc<AtomicU64>,
    /// Where files are being repaired.
    repairing: Arc<Mutex<Vec<PathBuf>>>,
    /// Whoever looks whether there is a copy already, or removes one.
    copying: Arc<Mutex<()>>,
    /// The lists of folders, as files for those who fetch them.
    lists: Arc<Shared<ContentFile>>,
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
    /// Not known to be what it was: see [`Condition::Unchecked`].
    #[error("{}: the machine went down before it was surely on the disk, or its disk was mounted anew; verify it", .0.display())]
    Unchecked(PathBuf),
    /// Its file was found to be wrong.
    #[error("{}: is damaged; repair it with verify --repair", .0.display())]
    Damaged(PathBuf),
    /// What the catalogue says of it does not fit together.
    #[error("what is noted of {0} does not fit together: purge it and add it again")]
    BadRecord(Root),
    /// Copies need a folder to be in.
    #[error("copies are kept only by a peer that has a folder")]
    NoHome,
    /// What a peer keeps to itself.
    #[error("{}: is the state of this peer, which it keeps to itself", .0.display())]
    OwnState(PathBuf),
    /// It has not come whole.
    #[error(
        "{}: belongs to a fetch that is under way or was stopped; the same get goes on with it", .0.display()
    )]
    Unfinished(PathBuf),
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
    /// It is forgotten, but a copy of it cannot be removed.
    #[error("it is purged, but a copy of it stays: {0}")]
    CopyStays(DiskError),
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

    /// Whether it says that the file is not there, cannot be read, or is not what it was.
    pub fn is_not_as_it_was(&self) -> bool {
        match self {
            Self::Changed(_) | Self::Unchecked(_) | Self::Damaged(_) => true,
            Self::Disk(error) => {
                matches!(
                    error.fault,
                    Fault::Missing | Fault::NotFile | Fault::IsFolder | Fault::NoSize | Fault::Denied
                )
            }
            _ => false,
        }
    }
}

impl Catalogue {
    /// The catalogue in a peer's database, which is in the folder `home`.
    pub(crate) fn in_database(database: Arc<Database>, home: &Path) -> Result<Self, StoreError> {
        Self::with(database, Some(home.to_owned()))
    }

    /// A catalogue for a peer that lasts as long as a command: in memory, or in a file without a name if
    /// it becomes long.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn temporary() -> Result<Self, StoreError> {
        Self::with(Arc::new(Database::temporary()?), None)
    }

    fn with(database: Arc<Database>, home: Option<PathBuf>) -> Result<Self, StoreError> {
        database.make_tables(|write| Tables::open(write).map(drop))?;
        let (changes, repairing, copying) = (Arc::default(), Arc::default(), Arc::default());
        Ok(Self { database, home, changes, repairing, copying, lists: Arc::default() })
    }

    /// The content that a key of either kind names, if it is here, at the best of its places: the
    /// first that is good, copies of ours before others.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        let mut best: Option<(Condition, Entry)> = None;
        let good = self.look_at(key, |entry| match Self::look(&entry) {
            Condition::Good => ControlFlow::Break(entry),
            condition => {
                if best.as_ref().is_none_or(|(best, _)| condition < *best) {
                    best = Some((condition, entry));
                }
                ControlFlow::Continue(())
            }
        })?;
        Ok(good.or(best.map(|(_, entry)| entry)))
    }

    /// The content that a key names, at each of its places.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn places(&self, key: &Key) -> Result<Vec<Entry>, StoreError> {
        let mut places = Vec::new();
        self.look_at(key, |entry| {
            places.push(entry);
            ControlFlow::<()>::Continue(())
        })?;
        Ok(places)
    }

    /// A content at the place with this path, if that is one.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn at(&self, root: &Root, path: &Path) -> Result<Option<Entry>, StoreError> {
        self.read(|read| tables::at(read, root, path))
    }

    /// Every place of everything that is here, by path. All are in memory at once; where that is not
    /// needed, [`Catalogue::entries`] gives them.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn list(&self) -> Result<Vec<Entry>, StoreError> {
        let mut entries = self.entries().collect::<Result<Vec<_>, _>>()?;
        entries.sort_unstable_by(|a, b| (&a.path, a.root).cmp(&(&b.path, b.root)));
        Ok(entries)
    }

    /// Shows `look` the places of the content that a key names, until it breaks off.
    fn look_at<T>(
        &self,
        key: &Key,
        look: impl FnMut(Entry) -> ControlFlow<T>,
    ) -> Result<Option<T>, StoreError> {
        self.read(|read| {
            let root = tables::root(read, key)?;
            root.map_or(Ok(None), |root| tables::look_at(read, &root, look))
        })
    }

    /// How often it was changed since it was opened.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Whether a content can be served from this place, as far as a look at its file tells.
    pub fn condition(&self, entry: &Entry) -> Condition {
        Self::look(entry)
    }

    pub(in crate::content) fn look(entry: &Entry) -> Condition {
        if entry.kept == Kept::List {
            return Condition::Good;
        }
        let data = match std::fs::metadata(&entry.path).map_err(DiskError::at(&entry.path)) {
            Ok(data) if data.is_file() => data,
            Err(DiskError { fault: Fault::Denied | Fault::Other(_), .. }) => return Condition::Unreadable,
            _ => return Condition::Missing,
        };
        match entry.condition(Stamp::from(&data)) {
            Condition::Good if access(&entry.path, Access::READ_OK).is_err() => Condition::Unreadable,
            condition => condition,
        }
    }

    /// Opens a content to serve it, from the first place where it is what was verified.
    ///
    /// # Errors
    /// If it is not here, no file of it is what was verified, or the disk says no.
    pub fn open(&self, key: &Key) -> Result<Arc<ContentFile>, CatalogueError> {
        let mut failed: Option<CatalogueError> = None;
        let opened = self.look_at(key, |entry| match self.open_entry(&entry) {
            Ok(file) => ControlFlow::Break(file),
            Err(error) => {
                // What may be better the next time is worth more than what is known to be gone.
                if failed.as_ref().is_none_or(CatalogueError::is_not_as_it_was) {
                    failed = Some(error);
                }
                ControlFlow::Continue(())
            }
        })?;
        opened.ok_or_else(|| failed.unwrap_or_else(|| CatalogueError::Unknown(key.clone())))
    }

    /// Opens a content at a place that was just looked up.
    ///
    /// # Errors
    /// As [`Catalogue::open`].
    pub fn open_entry(&self, entry: &Entry) -> Result<Arc<ContentFile>, CatalogueError> {
        if entry.kept == Kept::List {
            return self.lists.get_or_make(&entry.root, || {
                let manifest = Arc::new(self.manifest(entry)?);
                Ok(ContentFile::of_bytes(&self.list_bytes(&entry.root)?, manifest)?)
            });
        }
        let manifest = Arc::new(self.manifest(entry)?);
        let file = open(&entry.path)?;
        match entry.condition(Stamp::of(&file).map_err(DiskError::at(&entry.path))?) {
            Condition::Good => {
                Ok(Arc::new(ContentFile::whole(file, manifest, entry.stamp).at(entry.path.clone())))
            }
            Condition::Unchecked => Err(CatalogueError::Unchecked(entry.path.clone())),
            Condition::Damaged => Err(CatalogueError::Damaged(entry.path.clone())),
            Condition::Changed | Condition::Unreadable | Condition::Missing => {
                Err(CatalogueError::Changed(entry.path.clone()))
            }
        }
    }

    /// The hashes of a content's pieces.
    ///
    /// # Errors
    /// If they are damaged.
    pub fn manifest(&self, entry: &Entry) -> Result<Manifest, CatalogueError> {
        let root = entry.root;
        let damaged = || CatalogueError::BadRecord(root);
        let bytes = match Geometry::new(entry.size).map_err(|_| damaged())?.count() {
            0 => Vec::new(),
            1 => root.as_bytes().to_vec(),
            _ => self.read(|read| tables::manifest(read, &root))?.ok_or_else(damaged)?,
        };
        Manifest::from_bytes(root, entry.size, &bytes).map_err(|_| damaged())
    }

    /// The collection whose list has this root.
    ///
    /// # Errors
    /// If it is not here, or damaged.
    pub fn collection(&self, root: &Root) -> Result<Collection, CatalogueError> {
        let bytes = self.list_bytes(root)?;
        Collection::parse(&bytes).map_err(|_| CatalogueError::BadRecord(*root))
    }

    fn list_bytes(&self, root: &Root) -> Result<Vec<u8>, CatalogueError> {
        let bytes = self.read(|read| tables::collection(read, root))?;
        bytes.ok_or_else(|| CatalogueError::Unknown(root.key()))
    }

    fn read<T>(
        &self,
        look: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        self.database.read(look)
    }

    /// All of `change` or nothing; on disk when this returns.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Tables<'_>) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        self.change_with(Durability::Immediate, change)
    }

    fn change_with<T>(
        &self,
        durability: Durability,
        change: impl FnOnce(&mut Tables<'_>) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let result = self.database.write(durability, |write| change(&mut Tables::open(write)?))?;
        self.changes.fetch_add(1, Ordering::Relaxed);
        Ok(result)
    }

    /// Whether that is the peer's own state: it has the token of its registration, and changes with
    /// each content that is added, so that it is nothing to serve.
    fn is_state(&self, data: &Metadata) -> bool {
        let state = self.home.as_ref().and_then(|home| std::fs::metadata(home.join(STATE)).ok());
        state.is_some_and(|state| (state.dev(), state.ino()) == (data.dev(), data.ino()))
    }
}

/// The name of the database in a peer's folder.
const STATE: &str = "state.redb";

#[cfg(test)]
mod tests;
