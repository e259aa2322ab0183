//! Traces: everything that happened in a run, event by event.
//!
//! | module | what lives there |
//! | --- | --- |
//! | this one | [`Trace`], [`Event`] |
//! | [`note`] | [`note::Note`], what a trace needs to know of what happens in a node |
//! | [`record`] | [`record::Recorder`], which makes a trace of notes |
//! | [`watch`] | the same for nodes over TCP |
//! | [`diary`] | the same for nodes in processes of their own: what each saw, put together |
//! | [`simulated`] | the same for a world in virtual time |
//! | [`clocks`] | vector clocks |
//! | [`words`] | messages and events in few words |
//! | [`write`](mod@write), [`read`] | a trace as JSON lines |
//!
//! # The file
//!
//! The first line is the [`Header`]: who took part, their scripts, the expected logs. Then comes
//! one line an event, in an order in which they could have happened; a last line says how many
//! there were. Each event has
//!
//! - `host`: the peer's id, or `tracker`;
//! - `clock`: its vector clock, by host. With more than [`write::FULL_CLOCKS`] hosts only what
//!   changed since the host's event before, or the file would be mostly clocks; the header's
//!   `clocks` says which;
//! - `event`: the event in words, without quotes and backslashes;
//! - `at_ns`, `time`: when, in nanoseconds since the run began, and in which timestep;
//! - `kind`: `send`, `receive`, `unanswered`, `fetch`, `fetched`, `log`, `change`, `left-out`, `finished`, `failed`,
//!   and what belongs to it. A message has a number, which its `send` and its `receive` share;
//!   the `send` also has the message as it is on the wire, as `verb` and `body`, for an answer
//!   the number of the request, and for a question of a search why it is asked.
//!
//! ShiViz reads it with this parser expression:
//!
//! ```text
//! "host":"(?<host>[^"]*)","clock":(?<clock>{[^}]*}),"event":"(?<event>[^"]*)"
//! ```

pub mod clocks;
pub mod diary;
mod line;
pub mod note;
pub mod read;
pub mod record;
pub mod simulated;
pub mod watch;
pub mod words;
pub mod write;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use askaround_core::Key;
use askaround_core::id::{Contact, PeerId};
use askaround_core::log::LogEntry;
use askaround_core::message::{Message, Timestep};
use askaround_core::peer::Change;
use askaround_core::script::Script;
use askaround_core::search::Reason;

use crate::grade::{GradeError, Logs};
use crate::ports;
use crate::scenario::Scenario;

/// What a run was, and everything that happened in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// What the run was.
    pub header: Header,
    /// What happened, in an order in which it could have happened.
    pub events: Vec<Event>,
    /// Whether there was more than [`record::MAX_EVENTS`].
    pub cut_off: bool,
}

/// What a run was.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// The scenario's name.
    pub name: String,
    /// What it shows, in one line.
    pub about: Option<String>,
    /// How it was run.
    pub how: How,
    /// Who took part, by increasing id.
    pub peers: Vec<Member>,
    /// The logs as they should be, by file name, where there are any.
    pub expected: BTreeMap<String, Vec<LogEntry>>,
}

/// How a scenario was run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Over real sockets: the times are those of a clock.
    Sockets,
    /// In virtual time.
    Simulated,
}

/// A peer of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Who it is, what it holds at the start, and what it does when.
    pub script: Script,
}

/// Where something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// The tracker.
    Tracker,
    /// A peer.
    Peer(PeerId),
    /// An address where nobody of the run listens.
    Elsewhere(SocketAddr),
}

/// `tracker`, `3`, `127.0.0.1:9137`.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tracker => f.write_str("tracker"),
            Self::Peer(id) => id.fmt(f),
            Self::Elsewhere(addr) => addr.fmt(f),
        }
    }
}

/// The number of a message, from 1 on.
pub type MessageId = u64;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When, in nanoseconds since the run began.
    pub at_ns: u64,
    /// In which timestep.
    pub time: Timestep,
    /// Where.
    pub host: Host,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A message was sent.
    Send {
        /// Its number.
        message: MessageId,
        /// To whom.
        to: Host,
        /// What it says.
        body: Message,
        /// The request that it answers.
        answers: Option<MessageId>,
        /// Why it is asked, if it is a question of a search.
        why: Option<Reason>,
    },
    /// A message came.
    Receive {
        /// Its number.
        message: MessageId,
        /// From whom.
        from: Host,
    },
    /// Nobody waits for the answer to this request any more.
    Unanswered {
        /// The request.
        message: MessageId,
        /// Who did not answer.
        to: Host,
        /// Why, in words.
        why: String,
    },
    /// The peer fetches what a key stands for, in a run that delivers.
    Fetch {
        /// The key.
        key: Key,
        /// From whom.
        from: Host,
    },
    /// What came of that.
    Fetched {
        /// The key.
        key: Key,
        /// From whom.
        from: Host,
        /// Why it is not here, in words; `None` if it is, verified.
        failed: Option<String>,
    },
    /// A line of the log.
    Log(LogEntry),
    /// What the peer holds or whom it got something from changed.
    Change(Change),
    /// The tracker goes on without this peer.
    LeftOut(PeerId),
    /// The run is over for this host.
    Finished,
    /// The run is over for this peer, and not as it should be; why, in words.
    Failed(String),
}

impl Header {
    /// What is known of `scenario` before it is run, with the addresses that the assignment
    /// gives its peers.
    ///
    /// # Errors
    /// If its expected logs cannot be read.
    pub fn of(scenario: &Scenario, how: How) -> Result<Self, GradeError> {
        let expected = scenario.expected.as_deref().map(Logs::read).transpose()?.unwrap_or_default();
        let addresses = ports::assign(scenario.scripts.iter().map(|(_, script)| script.id));
        let members = scenario.scripts.iter().zip(addresses);
        Ok(Self {
            name: scenario.name.clone(),
            about: scenario.about.clone(),
            how,
            peers: members.map(|((_, script), addr)| Member { addr, script: script.clone() }).collect(),
            expected: expected.by_name().map(|(name, log)| (name, log.clone())).collect(),
        })
    }

    /// The peer that listens there.
    pub fn host_at(&self, addr: SocketAddr) -> Host {
        let member = self.peers.iter().find(|member| member.addr == addr);
        member.map_or(Host::Elsewhere(addr), |member| Host::Peer(member.script.id))
    }
}

impl Member {
    /// Who it is and where it listens.
    pub fn contact(&self) -> Contact {
        Contact::new(self.script.id, self.addr)
    }
}
