//! What is asked about content that is here, what comes of it, and why it cannot be done.

use std::path::PathBuf;

use askaround_core::key::Key;
use serde::{Deserialize, Serialize};

use crate::content::{CatalogueError, Condition, Kept};
use crate::delivery::verify::Checked;
use crate::peer::CommandError;
use crate::store::StoreError;

/// What to add.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AddRequest {
    /// Files and folders, by absolute paths.
    pub paths: Vec<PathBuf>,
    /// Whether to keep copies in the peer's folder, instead of using the files where they lie.
    #[serde(default)]
    pub copy: bool,
}

/// What was done about a copy of which the catalogue knew nothing.
#[derive(Debug)]
pub enum UnknownCopy {
    /// It was added again.
    Found,
    /// It could not be.
    Failed(KeepError),
    /// Nothing: it is what is left of one that was being added or purged.
    Left,
}

/// What happens while content is added or verified.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum KeepEvent {
    /// A file or folder is being read.
    Reading {
        /// Which.
        path: String,
        /// Bytes that are read.
        done: u64,
        /// Of so many.
        size: u64,
    },
    /// Something in a folder is not part of its collection, and why, in words.
    LeftOut {
        /// In words, with its path.
        text: String,
    },
    /// What is wrong or missing of a content is being fetched.
    Repairing {
        /// Where it is.
        path: String,
        /// Bytes of it that are as they should be.
        done: u64,
        /// Of so many.
        size: u64,
        /// Bytes a second, lately.
        rate: u64,
        /// How many sources there are.
        sources: usize,
    },
    /// A file or folder was added.
    Added(Added),
    /// What was at a path before is forgotten, because another content was added there.
    Replaced {
        /// Which content.
        blake3: Key,
        /// Where it was.
        path: String,
    },
    /// A content was verified.
    Checked(Checked),
}

/// A file or folder that was added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Added {
    /// Its BLAKE3 hash, a key.
    pub blake3: Key,
    /// Its md5, another key for the same; a folder has none.
    pub md5: Option<Key>,
    /// Its bytes; of a folder, those of its files.
    pub size: u64,
    /// How many files a folder has.
    pub files: Option<u64>,
    /// Where it is.
    pub path: String,
}

/// A content that is here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// Its BLAKE3 hash, a key.
    pub blake3: Key,
    /// Its md5, another key for the same; a folder has none.
    pub md5: Option<Key>,
    /// Its bytes; of a folder, those of its files.
    pub size: u64,
    /// How many files a folder has.
    pub files: Option<u64>,
    /// How it came here.
    pub kept: Kept,
    /// Whether it can be served. A folder's is the worst of its files'.
    pub condition: Condition,
    /// Whether it was added or fetched by itself, and not only as a file of a folder.
    pub own: bool,
    /// Where it is: the best of its places.
    pub path: String,
    /// Where it is besides.
    #[serde(default)]
    pub also: Vec<String>,
}

/// What came of a purge.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Purged {
    /// Which key, whole, where it names content or was given whole.
    #[serde(default)]
    pub key: Option<Key>,
    /// Whether the key was held, or named content that was here.
    pub held: bool,
    /// How many contents were forgotten: of a folder also its files.
    pub contents: u64,
    /// Whether it is still served, because it is a file of a folder that is here.
    pub in_folder: bool,
    /// Where the user's file or folder is, which stays.
    pub stays: Option<String>,
    /// How many more of the user's files or folders of it stay.
    #[serde(default)]
    pub also_stay: u64,
    /// Where it is being fetched to: that goes on.
    #[serde(default)]
    pub fetching: Option<String>,
    /// Where a stopped fetch was to go whose leftovers were removed.
    #[serde(default)]
    pub given_up: Option<String>,
}

/// Why something could not be added, listed, purged or verified.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// It was to stop.
    #[error("stopped")]
    Stopped,
    /// The catalogue's, or the disk's.
    #[error(transparent)]
    Catalogue(CatalogueError),
    /// The peer has ended, or cannot store what changed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A task of ours panicked.
    #[error("a bug of ours: {0}")]
    Bug(#[from] tokio::task::JoinError),
}

impl From<CatalogueError> for KeepError {
    fn from(error: CatalogueError) -> Self {
        if error.is_cancelled() { Self::Stopped } else { Self::Catalogue(error) }
    }
}

impl From<StoreError> for KeepError {
    fn from(error: StoreError) -> Self {
        Self::Catalogue(error.into())
    }
}
