//! What is asked of a delivery and what it says: the words of the commands `add`, `get`, `ls`,
//! `verify`, `why` and `status`, in the process or over the local API.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use askaround_core::id::Contact;
use askaround_core::key::Key;
use serde::{Deserialize, Serialize, Serializer};

/// What to fetch.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GetRequest {
    /// Its key, of either kind.
    pub key: Key,
    /// Where to: the file, or the folder if the key is that of a collection.
    pub to: PathBuf,
    /// Peers to ask before the search has found any.
    #[serde(default)]
    pub from: Vec<SocketAddr>,
    /// Whether to write the file in place instead of beside it.
    #[serde(default)]
    pub in_place: bool,
}

/// What happens while something is fetched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum GetEvent {
    /// What it is became known.
    Found {
        /// Its bytes; of a collection, those of its files.
        size: u64,
        /// Its pieces.
        pieces: u32,
        /// How many files a collection has.
        files: Option<u64>,
        /// Bytes that are here already, from an earlier try or because files are there.
        here: u64,
    },
    /// A file that is here is read: it is copied, or may be what was asked for.
    Reading {
        /// Which.
        path: String,
        /// Bytes that are read.
        done: u64,
        /// Of so many.
        size: u64,
    },
    /// How far it is, a few times a second.
    Progress {
        /// Bytes that are here and verified.
        here: u64,
        /// Of so many.
        size: u64,
        /// Bytes a second, lately.
        rate: u64,
        /// How many sources there are.
        sources: usize,
        /// Whether some piece is missing that no source has.
        waiting: bool,
    },
    /// A source was opened.
    Source {
        /// Where it listens.
        addr: SocketAddr,
        /// Who it is, if known.
        peer: Option<Contact>,
        /// How it was found, in words.
        how: String,
    },
    /// A source is used no longer, and why, in words.
    Lost {
        /// Where it listens.
        addr: SocketAddr,
        /// Why.
        why: String,
    },
    /// Something that its user should know.
    Note {
        /// In words.
        text: String,
    },
}

/// How a fetch ended well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Got {
    /// What was asked for.
    pub key: Key,
    /// Its BLAKE3 hash.
    pub blake3: String,
    /// Its bytes; of a collection, those of its files.
    pub size: u64,
    /// Where it is.
    #[serde(serialize_with = "as_text")]
    pub path: PathBuf,
    /// How many files a collection has.
    pub files: Option<u64>,
    /// Bytes that were here already.
    pub here_before: u64,
    /// The file here that it was copied from, as far as it was right; of a folder, that of the first
    /// of its files that was copied.
    #[serde(default, serialize_with = "as_text_if_any")]
    pub copied_from: Option<PathBuf>,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// What came from whom.
    pub sources: Vec<SourceReport>,
}

/// What came from a source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceReport {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Who it is, if known.
    pub peer: Option<Contact>,
    /// How it was found, in words.
    pub how: String,
    /// Bytes that came from it.
    pub bytes: u64,
    /// Bytes a second, lately; once the fetch is over, on average.
    pub rate: u64,
    /// Whether it has everything.
    pub complete: bool,
    /// Why it is used no longer, if so, in words.
    pub lost: Option<String>,
}

/// How a fetch stands. Told as `searching`, `fetching`, `waiting`, `done`, or why it failed, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum FetchState {
    /// It is not known yet what the key names.
    Searching,
    /// Pieces come.
    Fetching,
    /// Some piece is missing that no source has.
    Waiting,
    /// It is here.
    Done,
    /// It ended otherwise, for this reason.
    Failed(String),
}

impl fmt::Display for FetchState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Searching => "searching",
            Self::Fetching => "fetching",
            Self::Waiting => "waiting",
            Self::Done => "done",
            Self::Failed(why) => why,
        })
    }
}

impl From<FetchState> for String {
    fn from(state: FetchState) -> Self {
        state.to_string()
    }
}

impl From<String> for FetchState {
    fn from(text: String) -> Self {
        match text.as_str() {
            "searching" => Self::Searching,
            "fetching" => Self::Fetching,
            "waiting" => Self::Waiting,
            "done" => Self::Done,
            _ => Self::Failed(text),
        }
    }
}

/// One fetch, as `why` and `status` show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FetchReport {
    /// What was asked for.
    pub key: Key,
    /// Where it goes.
    #[serde(serialize_with = "as_text")]
    pub to: PathBuf,
    /// Bytes that are here and verified.
    pub here: u64,
    /// Of so many, once known.
    pub size: Option<u64>,
    /// For how long, in seconds.
    pub seconds: f64,
    /// Bytes a second, lately; once it is over, on average.
    pub rate: u64,
    /// Whether it is over.
    pub ended: bool,
    /// How it stands.
    pub state: FetchState,
    /// As [`Got::copied_from`].
    #[serde(default, serialize_with = "as_text_if_any")]
    pub copied_from: Option<PathBuf>,
    /// Everybody who was asked for pieces.
    pub sources: Vec<SourceReport>,
    /// How the last search for holders went, question by question.
    #[serde(default)]
    pub asked: Vec<AskedReport>,
    /// What limits it, in words: the reader's answer to "why is it slow".
    pub because: Vec<String>,
}

/// One question of a search for holders, in words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AskedReport {
    /// Who was asked.
    pub who: String,
    /// Why.
    pub why: String,
    /// What it said.
    pub answer: String,
}

/// How a peer stands with its tracker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrackerStatus {
    /// Where the tracker is.
    pub addr: SocketAddr,
    /// Whether the peer is registered, as far as it knows.
    pub registered: bool,
    /// For how long that has been so, in seconds.
    pub seconds: f64,
    /// Why it is not, in words.
    pub why: Option<String>,
    /// In how many seconds it is tried again; `None` if it is registered, is being tried, or is not
    /// to be.
    pub again_in: Option<f64>,
}

/// What a peer is doing about content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Who it is.
    pub me: Contact,
    /// How it stands with its tracker; `None` if it has none, or is ending.
    #[serde(default)]
    pub tracker: Option<TrackerStatus>,
    /// How many contents are here.
    pub contents: usize,
    /// Their bytes.
    pub bytes: u64,
    /// What is being fetched.
    pub fetches: Vec<FetchReport>,
    /// Bytes of content sent since it began.
    pub sent: u64,
    /// Bytes of content received since it began.
    pub received: u64,
    /// The most bytes sent a second.
    pub up_limit: Option<u64>,
    /// The most bytes received a second.
    pub down_limit: Option<u64>,
}

/// A path that is told: what is not UTF-8 in it is replaced, as everywhere where paths are shown.
fn as_text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    path.to_string_lossy().serialize(serializer)
}

fn as_text_if_any<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    path.as_deref().map(Path::to_string_lossy).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_fetch_stands_is_told_as_words_and_understood() {
        use FetchState::{Done, Failed, Fetching, Searching, Waiting};
        for (state, words) in [
            (Searching, "searching"),
            (Fetching, "fetching"),
            (Waiting, "waiting"),
            (Done, "done"),
            (Failed("nobody has it".into()), "nobody has it"),
        ] {
            let json = serde_json::to_string(&state).unwrap();
            assert_eq!(json, format!("\"{words}\""));
            assert_eq!(serde_json::from_str::<FetchState>(&json).unwrap(), state);
        }
    }
}
