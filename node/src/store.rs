//! What a live peer keeps over a restart: its id, its content list and its originator list, in
//! an embedded database whose every commit survives a crash.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use askaround_core::Key;
use askaround_core::id::{Contact, PeerId};
use askaround_core::peer::Change;
use redb::backends::FileBackend;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use crate::content::{Catalogue, DiskError, Fault, Place};

/// Serial number to key, in the order in which the keys came.
const CONTENTS: TableDefinition<'_, u64, &str> = TableDefinition::new("contents");
/// Key to `id ip port`.
const ORIGINATORS: TableDefinition<'_, &str, &str> = TableDefinition::new("originators");
/// `id` and `token`.
const IDENTITY: TableDefinition<'_, &str, &str> = TableDefinition::new("identity");

/// How the name of a database begins that is being made.
const HALF_MADE: &str = "state.redb.new-";

/// The memory in which the database keeps what it has read; its own default is a gigabyte.
pub(crate) const CACHE: usize = 4 << 20;

/// The state of one live peer, in a folder that no other peer uses at the same time.
#[derive(Debug, Clone)]
pub struct Store {
    database: Arc<Database>,
    path: PathBuf,
}

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

impl Store {
    /// Opens or makes the state in `folder`, and reads all of it: what is damaged is found now.
    /// Blocks; call before the node runs.
    ///
    /// # Errors
    /// If another peer uses it, it is damaged, or the disk says no.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join("state.redb");
        let unusable = |text: String| StoreError::Unusable { path: path.clone(), text };
        if let Err(error) = std::fs::create_dir_all(folder) {
            let taken = error.kind() == io::ErrorKind::AlreadyExists;
            return Err(unusable(if taken { "its folder is a file".into() } else { error.to_string() }));
        }
        let database = match open_whole(&path) {
            Ok(database) => database,
            Err(redb::DatabaseError::DatabaseAlreadyOpen) => {
                return Err(StoreError::InUse(folder.to_owned()));
            }
            Err(error) => return Err(StoreError::of(path, error.into())),
        };
        let store = Self { database: Arc::new(database), path };
        // Tables without anything in them are as good made again after a crash.
        store.transaction(Durability::None, |tables| {
            tables.open_table(CONTENTS)?;
            tables.open_table(ORIGINATORS)?;
            tables.open_table(IDENTITY)?;
            Ok(())
        })?;
        Ok(store)
    }

    /// The catalogue of this peer's content.
    ///
    /// # Errors
    /// If the disk says no.
    pub fn catalogue(&self) -> Result<Catalogue, StoreError> {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        Catalogue::in_database(Arc::clone(&self.database), folder)
    }

    /// Everything kept, as the changes that lead to it.
    pub(crate) fn load(&self) -> Result<Vec<Change>, StoreError> {
        self.try_load().map_err(|error| StoreError::of(self.path.clone(), error))
    }

    fn try_load(&self) -> Result<Vec<Change>, redb::Error> {
        let tables = self.database.begin_read()?;
        let mut changes = Vec::new();
        for row in tables.open_table(ORIGINATORS)?.iter()? {
            let (key, from) = row?;
            if let (Ok(key), Ok(from)) =
                (Key::new(key.value()), serde_json::from_str::<Contact>(from.value()))
            {
                changes.push(Change::Originator(key, from));
            }
        }
        for row in tables.open_table(CONTENTS)?.iter()? {
            if let Ok(key) = Key::new(row?.1.value()) {
                changes.push(Change::Held(key));
            }
        }
        Ok(changes)
    }

    /// The identity kept, or `make`s one and keeps it.
    ///
    /// # Errors
    /// If the disk says no.
    pub fn identity(&self, make: impl FnOnce() -> (PeerId, String)) -> Result<(PeerId, String), StoreError> {
        let kept = self.kept_identity().map_err(|error| StoreError::of(self.path.clone(), error))?;
        if let Some(identity) = kept {
            return Ok(identity);
        }
        let (id, token) = make();
        self.transaction(Durability::Immediate, |tables| {
            let mut table = tables.open_table(IDENTITY)?;
            table.insert("id", id.to_string().as_str())?;
            table.insert("token", token.as_str())?;
            Ok(())
        })?;
        Ok((id, token))
    }

    fn kept_identity(&self) -> Result<Option<(PeerId, String)>, redb::Error> {
        let table = self.database.begin_read()?.open_table(IDENTITY)?;
        let id = table.get("id")?.and_then(|id| id.value().parse().ok());
        let token = table.get("token")?.map(|token| token.value().to_owned());
        Ok(id.zip(token))
    }

    /// Keeps changes. They are on disk when this returns.
    pub(crate) async fn save(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let store = self.clone();
        let saved = tokio::task::spawn_blocking(move || store.save_blocking(&changes)).await;
        saved.map_err(|e| StoreError::Unusable { path: self.path.clone(), text: e.to_string() })?
    }

    fn save_blocking(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.transaction(Durability::Immediate, |tables| {
            let mut contents = tables.open_table(CONTENTS)?;
            let mut originators = tables.open_table(ORIGINATORS)?;
            let mut purged = BTreeSet::new();
            for change in changes {
                if !matches!(change, Change::Purged(_)) {
                    remove(&mut contents, &mut purged)?;
                }
                match change {
                    Change::Held(key) => append(&mut contents, key)?,
                    // All that follow each other in one go: it takes a look at every key.
                    Change::Purged(key) => _ = purged.insert(key.as_str()),
                    Change::Obtained(key, from) => {
                        append(&mut contents, key)?;
                        originators.insert(key.as_str(), contact(from).as_str())?;
                    }
                    Change::Originator(key, from) => {
                        originators.insert(key.as_str(), contact(from).as_str())?;
                    }
                }
            }
            remove(&mut contents, &mut purged)
        })
    }

    fn transaction(
        &self,
        durability: Durability,
        change: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        let run = move || -> Result<(), redb::Error> {
            let mut tables = self.database.begin_write()?;
            tables.set_durability(durability)?;
            change(&tables)?;
            tables.commit()?;
            Ok(())
        };
        run().map_err(|error| StoreError::of(self.path.clone(), error))
    }
}

impl StoreError {
    pub(crate) fn of(path: PathBuf, error: redb::Error) -> Self {
        let text = match error {
            redb::Error::Corrupted(text) => text,
            redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => error.to_string(),
            redb::Error::Io(error)
                if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
            {
                let text = "the disk is full: make room, then start the peer again".into();
                return Self::Unusable { path, text };
            }
            // The database takes nothing more after a write that failed.
            redb::Error::PreviousIo => {
                let text = "it could not be written before: see that the disk has room and works, then start \
                            the peer again";
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

/// Opens a database and compares all of it with its checksums, or makes one.
fn open_whole(path: &Path) -> Result<Database, redb::DatabaseError> {
    OPENING.set(true);
    // The database panics at some damages before it comes to its checksums.
    let opened = catch_unwind(AssertUnwindSafe(|| {
        if !path.exists()
            && let Some(database) = make(path)?
        {
            return Ok(database);
        }
        let mut database = Database::builder().set_cache_size(CACHE).create(path)?;
        // If it is not whole but could be made so, it goes on from its last commit that is.
        database.check_integrity()?;
        remove_half_made(path);
        Ok(database)
    }));
    OPENING.set(false);
    opened.unwrap_or_else(|_| Err(redb::StorageError::Corrupted("it cannot be read".into()).into()))
}

/// Makes a database that has its name only when it is whole: whoever is killed before that leaves
/// nothing that could not be opened. `None` if another peer was faster.
fn make(path: &Path) -> Result<Option<Database>, redb::DatabaseError> {
    let folder = path.parent().unwrap_or(Path::new(""));
    // Its lock must not end with another handle of the same file.
    let (file, name) = tempfile::Builder::new().prefix(HALF_MADE).tempfile_in(folder)?.into_parts();
    let database = Database::builder().set_cache_size(CACHE).create_with_backend(FileBackend::new(file)?)?;
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

fn remove(
    contents: &mut redb::Table<'_, u64, &'static str>,
    purged: &mut BTreeSet<&str>,
) -> Result<(), redb::Error> {
    if !purged.is_empty() {
        contents.retain(|_, held| !purged.contains(held))?;
        purged.clear();
    }
    Ok(())
}

fn append(contents: &mut redb::Table<'_, u64, &'static str>, key: &Key) -> Result<(), redb::Error> {
    let last = contents.last()?.map_or(0, |(serial, _)| serial.value());
    contents.insert(last + 1, key.as_str())?;
    Ok(())
}

fn contact(contact: &Contact) -> String {
    serde_json::json!(contact).to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn of_those_who_make_a_state_at_once_one_has_it() {
        const PEERS: usize = 8;
        for _ in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let begin = Barrier::new(PEERS);
            let opened: Vec<_> = std::thread::scope(|scope| {
                let open = || {
                    begin.wait();
                    Store::open(folder.path())
                };
                let all: Vec<_> = (0..PEERS).map(|_| scope.spawn(open)).collect();
                all.into_iter().map(|peer| peer.join().unwrap()).collect()
            });
            let refused = |result: &&Result<Store, StoreError>| matches!(result, Err(StoreError::InUse(_)));
            assert_eq!(opened.iter().filter(refused).count(), PEERS - 1, "{opened:?}");
            assert!(opened.iter().any(Result::is_ok), "{opened:?}");
        }
    }

    #[test]
    fn what_was_being_made_by_a_peer_that_was_killed_is_in_nobody_s_way() {
        let folder = tempfile::tempdir().unwrap();
        let left = folder.path().join(format!("{HALF_MADE}1"));
        std::fs::write(&left, [0; 73_728]).unwrap();
        let identity = (PeerId::new(7).unwrap(), "token".to_owned());
        let store = Store::open(folder.path()).unwrap();
        store.identity(|| identity.clone()).unwrap();
        drop(store);
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.identity(|| unreachable!("it is kept")).unwrap(), identity);
        assert!(!left.exists());
    }
}
