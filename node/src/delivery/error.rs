//! [`GetError`]: why content was not got.

use std::path::PathBuf;

use askaround_core::key::Key;

use crate::content::{CatalogueError, CollectionError, DiskError, HashError, PartError, RestoreError};
use crate::store::StoreError;

/// Why content was not got. What had come stays, and is gone on with the next time, unless it
/// turned out to be wrong.
#[derive(Debug, thiserror::Error)]
pub enum GetError {
    /// Nobody has it.
    #[error(
        "nobody has {key}: {} asked{}{}{}",
        peers(*.asked), incomplete(*.truncated), unanswered(*.silent), no_tracker(.tracker)
    )]
    NotFound {
        /// What was looked for.
        key: Key,
        /// How many peers were asked.
        asked: usize,
        /// Whether not everybody could be asked.
        truncated: bool,
        /// How many of those who were asked did not say whether they have it.
        silent: u64,
        /// Why the tracker did not say who is online.
        tracker: Option<String>,
    },
    /// Peers have it, but none could be used.
    #[error("nobody who has {key} could be used: {}", .why.join("; "))]
    NoSource {
        /// What was looked for.
        key: Key,
        /// Why each was not, in words.
        why: Vec<String>,
    },
    /// The last source is gone, or none has what is missing.
    #[error(
        "{}; what came is kept: run the same command again to go on",
        missing_everywhere(*.missing, .files.as_deref())
    )]
    Starved {
        /// How many pieces.
        missing: u32,
        /// The files of a folder that they are of, in words.
        files: Option<String>,
    },
    /// Sources have what is missing, and none of them sent any.
    #[error("nothing came for {seconds} s; what came is kept: run the same command again to go on")]
    NothingCame {
        /// How many pieces.
        missing: u32,
        /// For how long.
        seconds: u64,
    },
    /// It was told to stop.
    #[error("stopped; what came is kept: run the same command again to go on")]
    Stopped,
    /// What came does not have the md5 that was asked for.
    #[error("what came under {0} has another md5: whoever described it so is not asked again")]
    WrongMd5(Key),
    /// Nobody gave what was described, and others described something else.
    #[error("nobody gave what was described under {0}, and others describe something else under it")]
    Doubted(Key),
    /// There is a folder where the file should go.
    #[error("{} is a folder: name the file in it that should be made", .0.display())]
    IsFolder(PathBuf),
    /// There is something where it should go.
    #[error("{} is there already, and is not {key}", .path.display())]
    Exists {
        /// Where.
        path: PathBuf,
        /// What was asked for.
        key: Key,
    },
    /// Where it was to go is somewhere else by now.
    #[error(
        "{} was moved while it was fetched: all of it has come, and is where that is now",
        .0.display()
    )]
    Moved(PathBuf),
    /// The list of a collection is not one.
    #[error(transparent)]
    Collection(#[from] CollectionError),
    /// The files of a collection cannot be where they should.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The file cannot be made, written or finished.
    #[error(transparent)]
    Part(#[from] PartError),
    /// The disk's.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A piece cannot be written.
    #[error("{0}")]
    Write(std::io::Error),
    /// A file that is here cannot be read.
    #[error("cannot read {}: {error}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: HashError,
    },
    /// The catalogue cannot be read or written.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The catalogue cannot be read or written.
    #[error(transparent)]
    State(#[from] StoreError),
    /// The peer has ended.
    #[error("the peer has ended")]
    PeerEnded,
    /// A task of ours panicked.
    #[error("a bug of ours: {0}")]
    Bug(#[from] tokio::task::JoinError),
}

fn missing_everywhere(pieces: u32, files: Option<&str>) -> String {
    match (files, pieces) {
        (Some(files), _) => format!("no source has {files}"),
        (None, 1) => "1 piece is missing and no source has it".into(),
        (None, _) => format!("{pieces} pieces are missing and no source has them"),
    }
}

fn peers(asked: usize) -> String {
    if asked == 1 { "1 peer was".into() } else { format!("{asked} peers were") }
}

/// That so many peers did not say whether they have what was looked for, behind other words; nothing if
/// all did.
pub fn unanswered(silent: u64) -> String {
    match silent {
        0 => String::new(),
        1 => "; 1 peer did not answer".into(),
        _ => format!("; {silent} peers did not answer"),
    }
}

fn no_tracker(why: &Option<String>) -> String {
    why.as_ref().map_or(String::new(), |why| format!("; the tracker did not say who is online: {why}"))
}

fn incomplete(truncated: bool) -> &'static str {
    if truncated { ", and not everybody could be" } else { "" }
}
