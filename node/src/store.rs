//! What a live peer keeps over a restart: its id, its content list and its originator list, in
//! an embedded database whose every commit survives a crash.

mod database;
mod room;
mod temporary;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use askaround_core::Key;
use askaround_core::id::{Contact, PeerId};
use askaround_core::peer::Change;
use redb::{Durability, ReadableTable, TableDefinition};

pub(crate) use self::database::Database;
pub use self::database::{StoreError, is_opening};
use crate::content::Catalogue;
use crate::content::disk::make_folder;

/// Serial number to key, in the order in which the keys came.
const CONTENTS: TableDefinition<'_, u64, &str> = TableDefinition::new("contents");
/// Key to `id ip port`.
const ORIGINATORS: TableDefinition<'_, &str, &str> = TableDefinition::new("originators");
/// `id` and `token`.
const IDENTITY: TableDefinition<'_, &str, &str> = TableDefinition::new("identity");

/// The state of one live peer, in a folder that no other peer uses at the same time.
#[derive(Debug, Clone)]
pub struct Store {
    database: Arc<Database>,
    path: PathBuf,
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
        if let Err(error) = make_folder(folder) {
            let taken = error.kind() == io::ErrorKind::AlreadyExists;
            return Err(unusable(if taken { "its folder is a file".into() } else { error.to_string() }));
        }
        let store = Self { database: Arc::new(Database::open(&path)?), path };
        store.database.make_tables(|tables| {
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

    /// Gives `restore` everything kept, as the changes that lead to it.
    pub(crate) fn load(&self, mut restore: impl FnMut(Change)) -> Result<(), StoreError> {
        self.database.read(|tables| {
            for row in tables.open_table(ORIGINATORS)?.iter()? {
                let (key, from) = row?;
                if let (Ok(key), Ok(from)) =
                    (Key::new(key.value()), serde_json::from_str::<Contact>(from.value()))
                {
                    restore(Change::Originator(key, from));
                }
            }
            for row in tables.open_table(CONTENTS)?.iter()? {
                if let Ok(key) = Key::new(row?.1.value()) {
                    restore(Change::Held(key));
                }
            }
            Ok(())
        })
    }

    /// The identity kept, or `make`s one and keeps it.
    ///
    /// # Errors
    /// If the disk says no.
    pub fn identity(&self, make: impl FnOnce() -> (PeerId, String)) -> Result<(PeerId, String), StoreError> {
        let kept = self.database.read(|tables| {
            let table = tables.open_table(IDENTITY)?;
            let id = table.get("id")?.and_then(|id| id.value().parse().ok());
            let token = table.get("token")?.map(|token| token.value().to_owned());
            Ok(id.zip(token))
        })?;
        if let Some(identity) = kept {
            return Ok(identity);
        }
        let (id, token) = make();
        self.database.write(Durability::Immediate, |tables| {
            let mut table = tables.open_table(IDENTITY)?;
            table.insert("id", id.to_string().as_str())?;
            table.insert("token", token.as_str())?;
            Ok(())
        })?;
        Ok((id, token))
    }

    /// Keeps changes. They are on disk when this returns.
    pub(crate) async fn save(&self, changes: Arc<Vec<Change>>) -> Result<(), StoreError> {
        let store = self.clone();
        let saved = tokio::task::spawn_blocking(move || store.save_blocking(&changes)).await;
        saved.map_err(|e| StoreError::Unusable { path: self.path.clone(), text: e.to_string() })?
    }

    fn save_blocking(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.database.write(Durability::Immediate, |tables| {
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

    use super::database::HALF_MADE;
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
    fn a_folder_that_cannot_be_looked_at_is_not_taken_for_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let [looped, file] = ["looped", "file"].map(|name| folder.path().join(name));
        std::os::unix::fs::symlink("looped", &looped).unwrap();
        std::fs::write(&file, "").unwrap();
        let said = |path: &Path| Store::open(path).unwrap_err().to_string();
        assert!(said(&file).ends_with("its folder is a file"), "{}", said(&file));
        assert!(!said(&looped).contains("its folder is a file"), "{}", said(&looped));
    }

    #[test]
    fn what_was_being_made_by_a_peer_that_was_killed_is_in_nobody_s_way() {
        let folder = tempfile::tempdir().unwrap();
        let left = folder.path().join(format!("{HALF_MADE}1"));
        std::fs::write(&left, [0; 73_728]).unwrap();
        let identity = (PeerId::new(7).unwrap(), "token".to_owned());
        let store = Store::open(folder.path()).unwrap();
        assert!(!left.exists());
        store.identity(|| identity.clone()).unwrap();
        drop(store);
        // As of two who began at once.
        std::fs::write(&left, "").unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.identity(|| unreachable!("it is kept")).unwrap(), identity);
        assert!(!left.exists());
    }
}
