//! What goes into a [`Peer`](super::Peer) and what comes out of it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::report::FindReport;
use crate::id::{Contact, PeerId};
use crate::key::Key;
use crate::log;
use crate::log::LogEntry;
use crate::message::{Answer, ErrorAnswer, Message, Request};
use crate::script::Action;
use crate::search::{Ask, Holder, Reason, SearchConfig};
use crate::time::Instant;
use crate::tracker::ConnectionId;
use serde::{Deserialize, Serialize};

/// How a peer behaves.
#[derive(Debug, Clone)]
pub struct PeerConfig {
    /// Whether there is a tracker to register with.
    pub has_tracker: bool,
    /// The address to register; if `None`, the one that the tracker sees.
    pub advertised_ip: Option<IpAddr>,
    /// The secret that protects the registration.
    pub token: Option<String>,
    /// How a search goes about it.
    pub search: SearchConfig,
    /// How long somebody may take to answer.
    pub ask_timeout: Duration,
    /// How long an action may take altogether.
    pub operation_timeout: Duration,
    /// The longest list that an action puts together, in entries.
    pub max_list: usize,
    /// How long what was found may take to come, whole and verified, before whoever had it counts
    /// as not having it. If `None`, nothing is to come: a key is obtained when somebody says that
    /// it has it.
    pub delivery_timeout: Option<Duration>,
}

impl Default for PeerConfig {
    fn default() -> Self {
        Self {
            has_tracker: true,
            advertised_ip: None,
            token: None,
            search: SearchConfig::default(),
            ask_timeout: Duration::from_secs(10),
            operation_timeout: Duration::from_secs(600),
            max_list: 1_000_000,
            delivery_timeout: None,
        }
    }
}

/// A command, numbered by the driver.
pub type CommandId = u64;
/// Something asked of the tracker or of a peer, numbered by the machine.
pub type AskId = u64;

/// What happens to a peer.
#[derive(Debug, Clone)]
pub enum PeerInput {
    /// It listens now. A scripted peer registers.
    Begin,
    /// A message came on a connection that somebody opened.
    Request {
        /// Which.
        connection: ConnectionId,
        /// What came.
        message: Message,
    },
    /// Somebody at this machine wants something done.
    Command {
        /// Its number, which comes back with the outcome.
        command: CommandId,
        /// What.
        action: Action,
        /// Whether to keep the steps of a search.
        trace: bool,
    },
    /// Nobody waits for this command any more.
    Abandon(CommandId),
    /// The content of this key is being fetched, or no longer.
    Fetching(Key, bool),
    /// The content of these keys, which name the same, was fetched and verified.
    Delivered {
        /// Its keys.
        keys: Vec<Key>,
        /// Who sent it, if that is known.
        from: Option<Contact>,
    },
    /// What came of a [`PeerOutput::Ask`].
    Answered {
        /// Which.
        ask: AskId,
        /// The answer, or why there is none.
        result: Result<Answer, AskError>,
    },
    /// What came of a [`PeerOutput::Fetch`].
    Fetched {
        /// Which.
        ask: AskId,
        /// That all of it is here and verified, or why not, in words.
        result: Result<(), String>,
    },
    /// The tracker sent something of itself on the clocked connection.
    Tracker(Message),
    /// The clocked connection broke.
    TrackerLost(String),
    /// The time of [`Peer::poll_timeout`](super::Peer::poll_timeout) has come.
    Timeout,
}

/// What a peer wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum PeerOutput {
    /// Answer a connection. Replies of a connection come in the order of its requests.
    Reply {
        /// Which.
        connection: ConnectionId,
        /// With what.
        message: Message,
    },
    /// Ask this, and hand the answer back as [`PeerInput::Answered`].
    Ask {
        /// Its number.
        ask: AskId,
        /// Who.
        to: Target,
        /// What.
        request: Request,
        /// Why, if it is a question of a search.
        why: Option<Reason>,
    },
    /// Fetch what this key names from the peer that was found to have it, verify it, keep it, and
    /// tell what came of it by [`PeerInput::Fetched`]. Only with [`PeerConfig::delivery_timeout`].
    Fetch {
        /// Its number.
        ask: AskId,
        /// What.
        key: Key,
        /// From whom, and from nobody else.
        from: Contact,
    },
    /// Nobody waits for this ask, or this fetch, any more.
    Cancel(AskId),
    /// Send this on the clocked connection; the log so far is to be on disk first.
    TellTracker(Message),
    /// An [`Action::Gather`] has found somebody.
    Holder {
        /// Which command.
        command: CommandId,
        /// Whom.
        holder: Holder,
    },
    /// A command is over.
    Done {
        /// Which.
        command: CommandId,
        /// How it ended.
        outcome: Outcome,
    },
    /// Append this to the log.
    Log(LogEntry),
    /// Store this, before any [`PeerOutput::Done`] that follows is told.
    Changed(Change),
    /// A live peer's registration was renewed, or could not be.
    Membership(Outcome),
    /// The script is over and so is the run.
    Finished,
    /// The run is over for this peer, and not as it should be.
    Failed(FailReason),
}

/// How a live peer stands with its tracker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// How.
    pub standing: Standing,
    /// Since when.
    pub since: Instant,
    /// When it is renewed, or tried again; `None` if that is under way, or not to be.
    pub next: Option<Instant>,
}

/// Whether a live peer is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It has no tracker, or was told to unregister.
    NotWanted,
    /// The tracker has not answered yet.
    Unknown,
    /// It is.
    Registered,
    /// The tracker did not take the registration, or its renewal.
    Failed(AskError),
}

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The tracker.
    Tracker,
    /// The peer that listens there.
    Peer(SocketAddr),
}

/// Why something asked was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// No connection could be made, or it broke.
    #[error("not reachable: {0}")]
    Unreachable(String),
    /// It answered an error.
    #[error("refused: {0}")]
    Refused(ErrorAnswer),
    /// It answered, but not what was asked.
    #[error("broke the protocol: {0}")]
    Misbehaved(String),
    /// It took too long.
    #[error("no answer in time")]
    TimedOut,
}

/// A change to what a peer keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// This key is held from now on.
    Held(Key),
    /// This key is no longer held.
    Purged(Key),
    /// This key came from there, and is held.
    Obtained(Key, Contact),
    /// This key once came from there; whether it is held is another matter.
    Originator(Key, Contact),
}

/// Why a scripted peer cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FailReason {
    /// The tracker did not take the registration.
    #[error("could not register with the tracker: {0}")]
    NotRegistered(AskError),
    /// The tracker ended it.
    #[error("the tracker says: {0}")]
    Refused(ErrorAnswer),
    /// The connection to the tracker broke in the middle of the run.
    #[error("lost the tracker in the middle of the run: {0}")]
    TrackerLost(String),
}

/// How an action ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// `R`.
    Registered {
        /// As the tracker lists it.
        contact: Contact,
        /// How long it lasts.
        lease: Option<Duration>,
    },
    /// `U`.
    Unregistered(PeerId),
    /// The tracker could not be asked.
    TrackerFailed(AskError),
    /// `L`.
    Listed(Vec<Contact>),
    /// `Q`, and `find`.
    Found {
        /// How it went.
        report: Box<FindReport>,
        /// Whether it was to be obtained.
        obtain: bool,
    },
    /// `P`.
    Purged(Key),
    /// `P` of a key that is not held.
    NotHeld(Key),
    /// `hold`.
    Held {
        /// Which key.
        key: Key,
        /// Whether it was not held before.
        new: bool,
    },
    /// `O`.
    Known {
        /// Of whom.
        id: PeerId,
        /// Whom it knows.
        peers: Vec<Contact>,
    },
    /// `M`.
    Contents {
        /// Of whom.
        id: PeerId,
        /// What it holds.
        keys: Vec<Key>,
    },
    /// `O` or `M` of a peer that is unknown or does not answer.
    Unreachable {
        /// Who.
        id: PeerId,
        /// Why.
        why: AskError,
    },
}

impl Outcome {
    /// Found in the own content list.
    pub(super) fn own(key: Key, me: Contact, obtain: bool) -> Self {
        let report = FindReport {
            key,
            found: Some(me),
            route: None,
            level: 0,
            truncated: false,
            tracker_failed: None,
            silent: 0,
            questions: 0,
            took: Duration::ZERO,
            trace: Vec::new(),
        };
        Self::Found { report: Box::new(report), obtain }
    }

    /// Whether what the peer holds was changed by the command itself.
    pub fn has_changed(&self) -> bool {
        matches!(self, Self::Purged(_) | Self::Held { new: true, .. })
    }

    /// What the assignment's log says of it.
    pub fn log_text(&self) -> String {
        match self {
            Self::Registered { contact, .. } => log::register_text(contact.id),
            Self::Unregistered(_) => log::unregister_text(),
            Self::TrackerFailed(_) => "Bootstrapper is unreachable".into(),
            Self::Listed(peers) => log::list_text(peers),
            Self::Found { report, .. } => match &report.found {
                Some(from) => log::obtained_text(&report.key, from),
                None => log::unavailable_text(&report.key),
            },
            Self::Purged(key) => log::removed_text(key),
            Self::NotHeld(key) => log::unavailable_text(key),
            Self::Held { key, .. } => format!("Holds {key}"),
            Self::Known { id, peers } => log::known_text(*id, peers),
            Self::Contents { id, keys } => log::contents_text(*id, keys),
            Self::Unreachable { id, .. } => log::unreachable_text(*id),
        }
    }
}

/// How a question of a search is asked.
#[derive(Debug)]
pub enum Asked {
    /// Over the network.
    Remote(Target, Request),
    /// Of the own originator list.
    Own,
}

impl Asked {
    /// The request behind a question about `key`.
    pub fn new(ask: &Ask, key: &Key) -> Self {
        match ask {
            Ask::Tracker(page) => Self::Remote(Target::Tracker, Request::List(*page)),
            Ask::Have(peer) => Self::Remote(Target::Peer(peer.addr()), Request::Have(key.clone())),
            Ask::Known(peer, page) => Self::Remote(Target::Peer(peer.addr()), Request::Known(*page)),
            Ask::OwnKnown => Self::Own,
        }
    }
}
