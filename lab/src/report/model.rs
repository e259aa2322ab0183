//! [`Report`]: a trace, put together for drawing. Hosts, keys and messages are numbers here, so
//! that the data of a page stays small. [`Report::of`] stands in `build.rs`.

use askaround_core::message::{Answer, HaveAnswer, Message, Request, Timestep};
use serde::Serialize;

use super::compare::LogReport;
use super::searches::Search;

/// What a message is about: each has a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The clock of the run.
    Clock,
    /// Registering and unregistering.
    Register,
    /// Who is registered, and where somebody is.
    List,
    /// Have you this key?
    Ask,
    /// Have it.
    Have,
    /// A hint.
    Hint,
    /// Neither.
    No,
    /// Whom do you know, what do you hold?
    Known,
    /// An error.
    Error,
    /// Content and its pieces.
    Content,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::Clock,
        Self::Register,
        Self::List,
        Self::Ask,
        Self::Have,
        Self::Hint,
        Self::No,
        Self::Known,
        Self::Error,
        Self::Content,
    ];

    /// In a word or two, for a legend.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Register => "register",
            Self::List => "list, where",
            Self::Ask => "have you?",
            Self::Have => "have it",
            Self::Hint => "hint",
            Self::No => "no",
            Self::Known => "known, contents",
            Self::Error => "error",
            Self::Content => "content",
        }
    }

    /// Of a message by itself.
    pub(super) fn of(message: &Message) -> Self {
        match message {
            Message::Version(_)
            | Message::Start
            | Message::Go(_)
            | Message::Complete(_)
            | Message::Finish => Self::Clock,
            Message::Request(Request::Register(_) | Request::Unregister { .. }) => Self::Register,
            Message::Request(Request::List(_) | Request::WhereIs(_)) => Self::List,
            Message::Request(Request::Have(_)) => Self::Ask,
            Message::Request(Request::Known(_) | Request::Contents(_)) => Self::Known,
            Message::Answer(Answer::Registered { .. } | Answer::Unregistered(_)) => Self::Register,
            Message::Answer(Answer::Peer(_)) => Self::List,
            Message::Answer(Answer::Have(HaveAnswer::Have)) => Self::Have,
            Message::Answer(Answer::Have(HaveAnswer::Hint(_))) => Self::Hint,
            Message::Answer(Answer::Have(HaveAnswer::No)) => Self::No,
            // The tracker's list is told from a peer's by the request.
            Message::Answer(Answer::Peers { .. } | Answer::Keys { .. }) => Self::Known,
            Message::Error(_) => Self::Error,
            Message::Request(
                Request::Describe(_) | Request::Hashes { .. } | Request::Interest(_) | Request::Get { .. },
            )
            | Message::Answer(Answer::Content(_) | Answer::Raw(_) | Answer::Have(HaveAnswer::Fetching(_)))
            | Message::News(_)
            | Message::Cancel(_) => Self::Content,
        }
    }
}

/// The place of a host in [`Report::hosts`].
pub type HostIndex = usize;
/// The place of a key in [`Report::keys`].
pub type KeyIndex = usize;

/// A run, ready to be drawn.
#[derive(Debug)]
pub struct Report {
    /// The scenario's name.
    pub name: String,
    /// What it shows.
    pub about: Option<String>,
    /// Whether the times are virtual.
    pub simulated: bool,
    /// Whether the trace held only the beginning of the run.
    pub cut_off: bool,
    /// What the kinds are called.
    pub kinds: Vec<&'static str>,
    /// The tracker first, then the peers by id, then addresses where nobody listens.
    pub hosts: Vec<HostReport>,
    /// Every key of the run.
    pub keys: Vec<String>,
    /// Every message, in the order in which they were sent.
    pub messages: Vec<MessageReport>,
    /// Entries of logs and changes of lists, in order.
    pub notes: Vec<Note>,
    /// Every search, in the order in which they began.
    pub searches: Vec<Search>,
    /// Each host's log, beside the expected one.
    pub logs: Vec<LogReport>,
    /// What went wrong, in words.
    pub troubles: Vec<String>,
}

/// The tracker, or a peer.
#[derive(Debug, Serialize)]
pub struct HostReport {
    /// `tracker`, or the id.
    pub name: String,
    /// Where it listens; empty for the tracker.
    pub addr: String,
    /// What it holds at the start.
    pub holds: Vec<KeyIndex>,
    /// How many messages of each kind it sent.
    pub sent: [u32; Kind::ALL.len()],
    /// How many messages it received.
    pub received: u32,
}

/// A message.
#[derive(Debug, Clone, PartialEq)]
pub struct MessageReport {
    /// Who sent it.
    pub from: HostIndex,
    /// To whom.
    pub to: HostIndex,
    /// The number of the event of its sending.
    pub sent: usize,
    /// The number of the event of its arrival, if it arrived.
    pub received: Option<usize>,
    /// When it was sent, in nanoseconds.
    pub sent_ns: u64,
    /// When it arrived.
    pub received_ns: Option<u64>,
    /// In which timestep.
    pub time: Timestep,
    /// What it is about.
    pub kind: Kind,
    /// About which key, if about one.
    pub key: Option<KeyIndex>,
    /// What it says.
    pub text: String,
    /// The place of the request that it answers.
    pub answers: Option<usize>,
    /// The place of its answer.
    pub answer: Option<usize>,
    /// Why nobody waits for its answer any more.
    pub unanswered: Option<String>,
    /// Why it was asked, if it is part of a search.
    pub why: Option<String>,
    /// The place of the search that it is part of.
    pub search: Option<usize>,
}

/// Something that happened at a host without a message.
#[derive(Debug, Serialize)]
pub struct Note {
    /// Where.
    pub host: HostIndex,
    /// The number of the event.
    pub at: usize,
    /// When, in nanoseconds.
    pub at_ns: u64,
    /// In which timestep.
    pub time: Timestep,
    /// What, for people.
    pub text: String,
    /// The change, if it is one to what is held.
    #[serde(flatten)]
    pub change: Option<Holding>,
}

/// A change to what a peer holds.
#[derive(Debug, Serialize)]
pub struct Holding {
    /// Which key.
    pub key: KeyIndex,
    /// Whether it is held from now on.
    pub held: bool,
    /// Whom it came from.
    pub source: Option<HostIndex>,
}
