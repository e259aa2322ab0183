//! What a program may ask of a peer, and what comes back.

use askaround_core::id::{Contact, PeerId};
use askaround_core::key::Key;
use askaround_core::peer::{AskError, Outcome};
use serde::{Deserialize, Serialize};

use super::search::ApiSearch;
use crate::content::{CatalogueError, Fault, PartError, RestoreError};
use crate::delivery::GetError;
use crate::delivery::keep::{AddRequest, Added, KeepError, KeepEvent, Listed, Purged};
use crate::delivery::types::{FetchReport, GetEvent, GetRequest, Got, Status};
use crate::delivery::verify::VerifySummary;

/// What a program may ask of a running peer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case")]
pub enum ApiRequest {
    /// List the registered peers.
    Peers,
    /// Whom does this peer know.
    Known {
        /// Which peer.
        id: PeerId,
    },
    /// What does this peer hold.
    Contents {
        /// Which peer.
        id: PeerId,
    },
    /// Who has this key.
    Find {
        /// Which key.
        key: Key,
        /// Whether each question is wanted.
        trace: bool,
    },
    /// Register with the tracker.
    Register,
    /// Unregister.
    Unregister,
    /// Hold this key no longer, and forget the content that it names.
    Purge {
        /// Which key.
        key: Key,
    },
    /// Hold this key.
    Hold {
        /// Which key.
        key: Key,
    },
    /// Add files and folders.
    Add(AddRequest),
    /// Fetch content.
    Get(GetRequest),
    /// What content is here.
    Ls,
    /// Read content again, and say what is not as it should be.
    Verify {
        /// Which; all, if empty.
        #[serde(default)]
        keys: Vec<Key>,
        /// Whether to fetch what is wrong or missing.
        #[serde(default)]
        repair: bool,
    },
    /// How fetches go, and went.
    Why {
        /// Of which key; of all, if `None`.
        #[serde(default)]
        key: Option<Key>,
    },
    /// What the peer is doing.
    Status,
    /// Change how fast the peer may be.
    Limit {
        /// How fast it may send.
        #[serde(default)]
        up: LimitChange,
        /// How fast it may receive.
        #[serde(default)]
        down: LimitChange,
    },
}

/// What becomes of a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitChange {
    /// It stays.
    #[default]
    Keep,
    /// It goes.
    None,
    /// It becomes so many bytes a second.
    To(u64),
}

impl LimitChange {
    /// For [`Delivery::set_limits`](crate::delivery::Delivery::set_limits).
    pub(super) fn limit(self) -> Option<Option<u64>> {
        match self {
            Self::Keep => None,
            Self::None => Some(None),
            Self::To(bytes_per_s) => Some(Some(bytes_per_s)),
        }
    }
}

/// One line of what comes back: any number of events, then one reply.
#[derive(Debug, Clone, PartialEq)]
pub enum ApiLine {
    /// Something happened.
    Event(ApiEvent),
    /// How it ended.
    Reply(Box<ApiReply>),
}

/// Something that happens while a request is carried out. Each is an object with a field `event`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ApiEvent {
    /// While something is fetched.
    Get(GetEvent),
    /// While something is added or verified.
    Keep(KeepEvent),
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApiReply {
    /// Registered, as the tracker lists it.
    Registered(Contact),
    /// No longer registered.
    Unregistered(PeerId),
    /// A list of peers.
    Peers(Vec<Contact>),
    /// A list of keys.
    Keys(Vec<Key>),
    /// How a search went.
    Search(ApiSearch),
    /// What came of a purge.
    Purged(Purged),
    /// What came of a hold.
    Held {
        /// Which key.
        key: Key,
        /// Whether it was not held before.
        new: bool,
    },
    /// What was added.
    Added(Vec<Added>),
    /// What was fetched.
    Got(Got),
    /// What content is here.
    Contents(Vec<Listed>),
    /// How much of it is as it should be.
    Verified(VerifySummary),
    /// How fetches go, and went.
    Fetches(Vec<FetchReport>),
    /// What the peer is doing.
    Status(Status),
    /// It could not be done, in words.
    Error(String),
    /// The request was wrong, or names a file that cannot be used, in words.
    Unusable(String),
    /// It ended early because that was asked for.
    Stopped,
}

impl ApiLine {
    /// Reads a line.
    ///
    /// # Errors
    /// If it is neither an event nor a reply.
    pub fn parse(line: &str) -> Result<Self, serde_json::Error> {
        let value: serde_json::Value = serde_json::from_str(line)?;
        if value.get("event").is_some() {
            return Ok(Self::Event(serde_json::from_value(value)?));
        }
        Ok(Self::Reply(Box::new(serde_json::from_value(value)?)))
    }
}

impl From<Outcome> for ApiReply {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Registered { contact, .. } => Self::Registered(contact),
            Outcome::Unregistered(id) => Self::Unregistered(id),
            Outcome::TrackerFailed(error) => Self::Error(format!("the tracker: {error}")),
            Outcome::Listed(peers) | Outcome::Known { peers, .. } => Self::Peers(peers),
            Outcome::Contents { keys, .. } => Self::Keys(keys),
            Outcome::Found { report, .. } => Self::Search((*report).into()),
            Outcome::Purged(key) => Self::Purged(Purged { key: Some(key), held: true, ..Purged::default() }),
            Outcome::NotHeld(key) => Self::Purged(Purged { key: Some(key), ..Purged::default() }),
            Outcome::Held { key, new } => Self::Held { key, new },
            Outcome::Unreachable { id, why } => Self::Error(match why {
                AskError::Refused(error) => format!("client {id}: {}", error.text),
                why => format!("client {id}: {why}"),
            }),
        }
    }
}

impl From<KeepError> for ApiReply {
    fn from(error: KeepError) -> Self {
        match &error {
            KeepError::Stopped => Self::Stopped,
            KeepError::Catalogue(
                CatalogueError::NoHome | CatalogueError::OwnState(_) | CatalogueError::Unfinished(_),
            ) => Self::Unusable(error.to_string()),
            KeepError::Catalogue(CatalogueError::Disk(disk)) if is_users(&disk.fault) => {
                Self::Unusable(error.to_string())
            }
            _ => Self::Error(error.to_string()),
        }
    }
}

impl From<GetError> for ApiReply {
    fn from(error: GetError) -> Self {
        match &error {
            GetError::Stopped => Self::Stopped,
            GetError::IsFolder(_)
            | GetError::Exists { .. }
            | GetError::Restore(RestoreError::InTheWay { .. }) => Self::Unusable(error.to_string()),
            GetError::Disk(disk)
            | GetError::Part(PartError::Disk(disk))
            | GetError::Restore(RestoreError::Disk(disk))
                if is_users(&disk.fault) =>
            {
                Self::Unusable(error.to_string())
            }
            _ => Self::Error(error.to_string()),
        }
    }
}

/// Whether it lies with the path that the user gave, and not with the state of the disk.
fn is_users(fault: &Fault) -> bool {
    match fault {
        Fault::Missing
        | Fault::Exists
        | Fault::IsFolder
        | Fault::Slash
        | Fault::NotFolder
        | Fault::NotFile
        | Fault::Link
        | Fault::Denied
        | Fault::ReadOnly
        | Fault::NoSize
        | Fault::NameTooLong => true,
        Fault::Full { .. }
        | Fault::Quota
        | Fault::TooLarge
        | Fault::Truncated
        | Fault::NoTemporary(_)
        | Fault::Other(_) => false,
    }
}
