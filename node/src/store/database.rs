//! [`Database`]: the file of a peer's state, or a temporary one. How it is made and opened, and opened
//! again after a write that the disk did not take.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use redb::backends::FileBackend;
use redb::{DatabaseError, Durability, ReadTransaction, ReadableDatabase as _, WriteTransaction};

use super::room::Room;
use super::temporary::Temporary;
use crate::content::{DiskError, Fault, Place};
use crate::lock;

/// How the name of a database begins that is being made.
pub(super) const HALF_MADE: &str = "state.redb.new-";

/// The memory in which the database keeps what it has read; its own default is a gigabyte.
const CACHE: usize = 4 << 20;

/// Why the state cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another peer has it open.
    #[error("another peer is running on {0}: stop it, or give this one another --dir")]
    InUse(PathBuf),
    /// What is in the file is not what was written.
    #[error(
        "{path} is damaged ({text}): move it away and start the peer again; it finds the copies that it keeps, \
         and files elsewhere can be added again"
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        text: String,
    },
    /// The disk or the database says no.
    #[error("the state in {path} cannot be used: {text}")]
    Unusable {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        text: String,
    },
}

type Opened = Result<redb::Database, DatabaseError>;
/// Makes tables that are not there.
type MakeTables = fn(&WriteTransaction) -> Result<(), redb::Error>;

/// A database whose every change is on disk when it is done, or was not made.
///
/// `redb` takes nothing more after an error of the disk, since it does not know what of its file is
/// in memory only. What is on the disk is whole all the same; so the file is opened again the next
/// time that something is wanted of it. Its functions block.
pub(crate) struct Database {
    path: PathBuf,
    open_again: Box<dyn Fn() -> Opened + Send + Sync>,
    state: Mutex<State>,
    /// Of one in a file that has a name.
    room: Option<Room>,
}

struct State {
    /// `None` while it cannot be opened again.
    database: Option<Arc<redb::Database>>,
    /// Whether the disk has failed under it.
    failed: bool,
    tables: Vec<MakeTables>,
}

impl Database {
    /// Opens or makes the file at `path`, and reads all of it.
    ///
    /// # Errors
    /// If another peer uses it, it is damaged, or the disk says no.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let again = path.to_owned();
        // It is not made anew: what was in it would be lost without a word.
        let open_again = move || quietly(|| builder().open(&again));
        let database = Self::new(path.to_owned(), open_whole(path), open_again)?;
        Ok(Self { room: Room::of(path), ..database })
    }

    /// Makes one that lasts as long as this: in memory, or in a file without a name if it becomes long.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub(crate) fn temporary() -> Result<Self, StoreError> {
        let made = builder().create_with_backend(Temporary::new());
        // It is gone with the backend.
        let open_again = || Err(redb::StorageError::PreviousIo.into());
        Self::new(std::env::temp_dir(), made, open_again)
    }

    fn new(
        path: PathBuf,
        opened: Opened,
        open_again: impl Fn() -> Opened + Send + Sync + 'static,
    ) -> Result<Self, StoreError> {
        let database = match opened {
            Ok(database) => Some(Arc::new(database)),
            Err(error) => return Err(StoreError::of_opening(path, error)),
        };
        let state = Mutex::new(State { database, failed: false, tables: Vec::new() });
        Ok(Self { path, open_again: Box::new(open_again), state, room: None })
    }

    /// Makes tables that are not there, now and whenever the file is opened again: without anything in
    /// them they are as good made once more.
    ///
    /// # Errors
    /// If the disk says no.
    pub(crate) fn make_tables(&self, make: MakeTables) -> Result<(), StoreError> {
        lock(&self.state).tables.push(make);
        self.write(Durability::None, make)
    }

    /// Reads.
    ///
    /// # Errors
    /// If the disk says no.
    pub(crate) fn read<T>(
        &self,
        look: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        self.with(|database| look(&database.begin_read()?))
    }

    /// Changes all of it or nothing.
    ///
    /// # Errors
    /// If the disk says no: then nothing was changed.
    pub(crate) fn write<T>(
        &self,
        durability: Durability,
        change: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        self.with(|database| {
            let mut write = database.begin_write()?;
            write.set_durability(durability)?;
            let result = change(&write)?;
            write.commit()?;
            if let Some(room) = &self.room {
                room.set_aside();
            }
            Ok(result)
        })
    }

    fn with<T>(&self, run: impl FnOnce(&redb::Database) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        let database = self.current()?;
        let result = run(&database);
        if let Err(redb::Error::Io(_) | redb::Error::PreviousIo) = &result {
            let mut state = lock(&self.state);
            // Meanwhile it may be another.
            state.failed |= state.database.as_ref().is_some_and(|one| Arc::ptr_eq(one, &database));
        }
        result.map_err(|error| StoreError::of(self.path.clone(), error))
    }

    /// The database, opened again if the disk has failed under it.
    fn current(&self) -> Result<Arc<redb::Database>, StoreError> {
        let mut state = lock(&self.state);
        if let Some(database) = &state.database
            // Whoever still uses one that has failed is told so too.
            && (!state.failed || Arc::strong_count(database) > 1)
        {
            return Ok(Arc::clone(database));
        }
        // Its file is locked as long as it is open.
        state.database = None;
        let database =
            (self.open_again)().map_err(|error| StoreError::of_opening(self.path.clone(), error))?;
        let make = || -> Result<(), redb::Error> {
            let mut write = database.begin_write()?;
            write.set_durability(Durability::None)?;
            state.tables.iter().try_for_each(|make| make(&write))?;
            Ok(write.commit()?)
        };
        make().map_err(|error| StoreError::of(self.path.clone(), error))?;
        let database = Arc::new(database);
        state.database = Some(Arc::clone(&database));
        state.failed = false;
        Ok(database)
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("path", &self.path).finish_non_exhaustive()
    }
}

impl StoreError {
    /// What it is that a database cannot be opened.
    fn of_opening(path: PathBuf, error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen => {
                Self::InUse(path.parent().unwrap_or(Path::new("")).to_owned())
            }
            error => Self::of(path, error.into()),
        }
    }

    fn of(path: PathBuf, error: redb::Error) -> Self {
        let text = match error {
            redb::Error::Corrupted(text) => text,
            redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => error.to_string(),
            redb::Error::Io(error)
                if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
            {
                return Self::Unusable { path, text: Fault::from(error).to_string() };
            }
            // Something else wanted of it at the same time has failed.
            redb::Error::PreviousIo => {
                let text = "the disk failed: see that it has room and works, and try again";
                return Self::Unusable { path, text: text.into() };
            }
            error => return Self::Unusable { path, text: error.to_string() },
        };
        Self::Damaged { path, text }
    }
}

thread_local! {
    static OPENING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is opening a state. A panic is an error then, [`StoreError::Damaged`], which
/// a panic hook need not tell.
pub fn is_opening() -> bool {
    OPENING.get()
}

/// The database panics at some damages before it comes to its checksums.
fn quietly(open: impl FnOnce() -> Opened) -> Opened {
    OPENING.set(true);
    let opened = catch_unwind(AssertUnwindSafe(open));
    OPENING.set(false);
    opened.unwrap_or_else(|_| Err(redb::StorageError::Corrupted("it cannot be read".into()).into()))
}

fn builder() -> redb::Builder {
    let mut builder = redb::Database::builder();
    builder.set_cache_size(CACHE);
    builder
}

/// Opens a database and compares all of it with its checksums, or makes one.
fn open_whole(path: &Path) -> Opened {
    quietly(|| {
        let made = if path.exists() { None } else { make(path)? };
        let database = match made {
            Some(database) => database,
            None => {
                let mut database = builder().create(path)?;
                // If it is not whole but could be made so, it goes on from its last commit that is.
                database.check_integrity()?;
                database
            }
        };
        remove_half_made(path);
        Ok(database)
    })
}

/// Makes a database that has its name only when it is whole: whoever is killed before that leaves
/// nothing that could not be opened. `None` if another peer was faster.
fn make(path: &Path) -> Result<Option<redb::Database>, DatabaseError> {
    let folder = path.parent().unwrap_or(Path::new(""));
    // Its lock must not end with another handle of the same file.
    let (file, name) = tempfile::Builder::new().prefix(HALF_MADE).tempfile_in(folder)?.into_parts();
    let database = builder().create_with_backend(FileBackend::new(file)?)?;
    match Place::new(&name).and_then(|made| made.rename(&Place::new(path)?)) {
        Ok(()) => {
            // It has no other name any more that would be removed.
            let _ = name.keep();
            Ok(Some(database))
        }
        // The other may have removed what it took for left behind.
        Err(DiskError { fault: Fault::Exists | Fault::Missing, .. }) => Ok(None),
        Err(DiskError { fault: Fault::Other(error), .. }) => Err(error.into()),
        Err(error) => Err(io::Error::other(error).into()),
    }
}

/// Removes what was left behind by peers that were killed while they made the database that is
/// here now.
fn remove_half_made(path: &Path) {
    let folder = path.parent().map(std::fs::read_dir).into_iter().flatten();
    for file in folder.flatten().flatten() {
        if file.file_name().to_string_lossy().starts_with(HALF_MADE) {
            // The next one tries again.
            let _ = std::fs::remove_file(file.path());
        }
    }
}

#[cfg(test)]
mod tests;
