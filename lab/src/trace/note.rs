//! [`Note`]: what a trace needs to know of what happens in a node, and nothing else of it.

use std::net::SocketAddr;

use askaround_core::id::PeerId;
use askaround_core::key::Key;
use askaround_core::log::LogEntry;
use askaround_core::message::Message;
use askaround_core::peer::{AskError, AskId, Change, PeerInput, PeerOutput, Target};
use askaround_core::search::Reason;
use askaround_core::tracker::{ConnectionId, TrackerInput, TrackerOutput};
use askaround_core::wire::{Decoder, encode};
use askaround_node::observe::Seen;
use serde::{Deserialize, Serialize};

/// Something that happened in a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Note {
    /// It opened a connection.
    Opened {
        /// Its address at this end.
        local: SocketAddr,
        /// Whom it leads to, as this node calls it.
        to: SocketAddr,
    },
    /// It accepted a connection.
    Accepted {
        /// Its number.
        connection: ConnectionId,
        /// The address at its other end.
        from: SocketAddr,
    },
    /// A message came on a connection that it accepted.
    Arrived(ConnectionId, #[serde(with = "text")] Message),
    /// A message goes out on a connection that it accepted.
    Replied(ConnectionId, #[serde(with = "text")] Message),
    /// It asks something.
    Asked {
        /// By this number.
        ask: AskId,
        /// A peer, or the tracker if `None`.
        to: Option<SocketAddr>,
        /// The request.
        #[serde(with = "text")]
        request: Message,
        /// Why, if it is a question of a search.
        why: Option<Reason>,
    },
    /// What came of something that it asked.
    Answered {
        /// What was asked.
        ask: AskId,
        /// Whether there is an answer. An error is one.
        answered: bool,
        /// What went wrong, in words.
        why: Option<String>,
    },
    /// It fetches what a key stands for from whoever was found to have it.
    Fetches {
        /// By this number.
        ask: AskId,
        /// The key.
        key: Key,
        /// From whom.
        from: PeerId,
    },
    /// What came of that.
    Fetched {
        /// Which fetch.
        ask: AskId,
        /// Why it is not here, in words; `None` if it is, verified.
        failed: Option<String>,
    },
    /// It does not wait any more for what it asked or fetches.
    GivenUp(AskId),
    /// The tracker sent something of itself.
    Told(#[serde(with = "text")] Message),
    /// It tells the tracker something.
    Tells(#[serde(with = "text")] Message),
    /// A line of its log.
    Log(LogEntry),
    /// What it keeps has changed.
    Changed(Change),
    /// It, the tracker, goes on without this peer.
    LeftOut(PeerId),
    /// The run is over for it.
    Finished,
    /// The run is over for it, and not as it should be; why, in words.
    Failed(String),
}

impl Note {
    /// What an observer has seen.
    pub fn of(seen: Seen<'_>) -> Option<Self> {
        match seen {
            Seen::PeerInput(input) => Self::of_peer_input(input),
            Seen::PeerOutput(output) => Self::of_peer_output(output),
            Seen::TrackerInput(input) => Self::of_tracker_input(input),
            Seen::TrackerOutput(output) => Self::of_tracker_output(output),
            Seen::Opened { local, to } => Some(Self::Opened { local, to }),
            Seen::Accepted { connection, from } => Some(Self::Accepted { connection, from }),
        }
    }

    /// Something is handed to a peer's machine.
    pub fn of_peer_input(input: &PeerInput) -> Option<Self> {
        match input {
            PeerInput::Request { connection, message } => Some(Self::Arrived(*connection, message.clone())),
            PeerInput::Answered { ask, result } => Some(Self::Answered {
                ask: *ask,
                answered: matches!(result, Ok(_) | Err(AskError::Refused(_))),
                why: result.as_ref().err().map(ToString::to_string),
            }),
            PeerInput::Tracker(message) => Some(Self::Told(message.clone())),
            PeerInput::Fetched { ask, result } => {
                Some(Self::Fetched { ask: *ask, failed: result.as_ref().err().cloned() })
            }
            PeerInput::Begin
            | PeerInput::Command { .. }
            | PeerInput::Abandon(_)
            | PeerInput::Fetching(..)
            | PeerInput::Delivered { .. }
            | PeerInput::TrackerLost(_)
            | PeerInput::Timeout => None,
        }
    }

    /// Something is taken from a peer's machine.
    pub fn of_peer_output(output: &PeerOutput) -> Option<Self> {
        match output {
            PeerOutput::Reply { connection, message } => Some(Self::Replied(*connection, message.clone())),
            PeerOutput::Ask { ask, to, request, why } => Some(Self::Asked {
                ask: *ask,
                to: match to {
                    Target::Tracker => None,
                    Target::Peer(addr) => Some(*addr),
                },
                request: Message::Request(request.clone()),
                why: *why,
            }),
            PeerOutput::Cancel(ask) => Some(Self::GivenUp(*ask)),
            PeerOutput::TellTracker(message) => Some(Self::Tells(message.clone())),
            PeerOutput::Log(entry) => Some(Self::Log(entry.clone())),
            PeerOutput::Changed(change) => Some(Self::Changed(change.clone())),
            PeerOutput::Finished => Some(Self::Finished),
            PeerOutput::Failed(reason) => Some(Self::Failed(reason.to_string())),
            PeerOutput::Fetch { ask, key, from } => {
                Some(Self::Fetches { ask: *ask, key: key.clone(), from: from.id })
            }
            PeerOutput::Done { .. } | PeerOutput::Holder { .. } | PeerOutput::Membership(_) => None,
        }
    }

    /// Something is handed to the tracker's machine.
    pub fn of_tracker_input(input: &TrackerInput) -> Option<Self> {
        match input {
            TrackerInput::Message { connection, message, .. } => {
                Some(Self::Arrived(*connection, message.clone()))
            }
            TrackerInput::Disconnected(_) | TrackerInput::Timeout => None,
        }
    }

    /// Something is taken from the tracker's machine.
    pub fn of_tracker_output(output: &TrackerOutput) -> Option<Self> {
        match output {
            TrackerOutput::Send(connection, message) => Some(Self::Replied(*connection, message.clone())),
            TrackerOutput::Log(entry) => Some(Self::Log(entry.clone())),
            TrackerOutput::LeftOut { id, .. } => Some(Self::LeftOut(*id)),
            TrackerOutput::Finished => Some(Self::Finished),
            TrackerOutput::Close(_) | TrackerOutput::Clocked(_) => None,
        }
    }
}

/// The line of a message, without its end (PROTOCOL.md §1.1).
pub(super) fn on_the_wire(message: &Message) -> String {
    let mut bytes = Vec::new();
    encode(message, &mut bytes);
    String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned()
}

/// The message of a line, checked by the decoder of the protocol.
pub(super) fn from_the_wire(line: &str) -> Result<Message, String> {
    let mut decoder = Decoder::client();
    decoder.feed(line.as_bytes());
    decoder.feed(b"\n");
    match decoder.next() {
        Ok(Some(message)) => Ok(message),
        Ok(None) => Err("a message has one line".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// Messages as they are on the wire.
mod text {
    use askaround_core::message::Message;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(message: &Message, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::on_the_wire(message))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Message, D::Error> {
        super::from_the_wire(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
