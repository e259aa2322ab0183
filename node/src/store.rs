//! What a live peer keeps over a restart: its id, its content list and its originator list, in
//! an embedded database whose every commit survives a crash.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use askaround_core::Key;
use askaround_core::id::{Contact, PeerId};
use askaround_core::peer::Change;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

#[cfg(unix)]
use crate::content::Catalogue;

/// Serial number to key, in the order in which the keys came.
const CONTENTS: TableDefinition<'_, u64, &str> = TableDefinition::new("contents");
/// Key to `id ip port`.
const ORIGINATORS: TableDefinition<'_, &str, &str> = TableDefinition::new("originators");
/// `id` and `token`.
const IDENTITY: TableDefinition<'_, &str, &str> = TableDefinition::new("identity");

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
    /// Opens or makes the state in `folder`. Blocks; call before the node runs.
    ///
    /// # Errors
    /// If another peer uses it, or the disk says no.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join("state.redb");
        let unusable = |text: String| StoreError::Unusable { path: path.clone(), text };
        std::fs::create_dir_all(folder).map_err(|e| unusable(e.to_string()))?;
        let database = match Database::builder().set_cache_size(CACHE).create(&path) {
            Ok(database) => database,
            Err(redb::DatabaseError::DatabaseAlreadyOpen) => {
                return Err(StoreError::InUse(folder.to_owned()));
            }
            Err(error) => return Err(unusable(error.to_string())),
        };
        let store = Self { database: Arc::new(database), path };
        store.transaction(|tables| {
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
    #[cfg(unix)]
    pub fn catalogue(&self) -> Result<Catalogue, StoreError> {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        Catalogue::in_database(Arc::clone(&self.database), folder)
    }

    /// Everything kept, as the changes that lead to it.
    pub(crate) fn load(&self) -> Result<Vec<Change>, StoreError> {
        self.try_load().map_err(|error| self.unusable(&error))
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
        let mut identity = None;
        self.transaction(|tables| {
            let mut table = tables.open_table(IDENTITY)?;
            let id = table.get("id")?.and_then(|id| id.value().parse().ok());
            let token = table.get("token")?.map(|token| token.value().to_owned());
            let (id, token) = match (id, token) {
                (Some(id), Some(token)) => (id, token),
                _ => make(),
            };
            table.insert("id", id.to_string().as_str())?;
            table.insert("token", token.as_str())?;
            identity = Some((id, token));
            Ok(())
        })?;
        identity.ok_or_else(|| StoreError::Unusable { path: self.path.clone(), text: "no identity".into() })
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
        self.transaction(|tables| {
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
        change: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        let run = move || -> Result<(), redb::Error> {
            let tables = self.database.begin_write()?;
            change(&tables)?;
            tables.commit()?;
            Ok(())
        };
        run().map_err(|error| self.unusable(&error))
    }

    fn unusable(&self, error: &redb::Error) -> StoreError {
        StoreError::Unusable { path: self.path.clone(), text: error.to_string() }
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
