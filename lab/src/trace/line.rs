//! The lines of a trace file, as serde sees them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use askaround_core::id::Contact;
use askaround_core::log::LogEntry;
use askaround_core::message::Timestep;
use askaround_core::{Key, PeerId};
use serde::{Deserialize, Serialize, Serializer};

use super::{Host, MessageId};

/// The version of the format.
pub(super) const VERSION: u32 = 1;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HeaderLine {
    pub(super) askaround_trace: u32,
    pub(super) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) about: Option<String>,
    pub(super) how: HowWord,
    pub(super) clocks: ClocksWord,
    pub(super) peers: Vec<MemberLine>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) expected: BTreeMap<String, Vec<LogEntry>>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum HowWord {
    Sockets,
    Simulated,
}

/// Whether each clock is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ClocksWord {
    Full,
    Changes,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MemberLine {
    pub(super) peer: Contact,
    #[serde(default)]
    pub(super) content: Vec<Key>,
    /// Time, code, and the key or the id where the code has one.
    #[serde(default)]
    pub(super) actions: Vec<(Timestep, String, Option<String>)>,
}

/// One event. What a kind does not have is absent.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct EventLine<'a> {
    pub(super) host: String,
    /// Worked out again from the messages where it is needed.
    #[serde(default, skip_deserializing)]
    pub(super) clock: ClockMap<'a>,
    #[serde(default, skip_deserializing)]
    pub(super) event: Cow<'a, str>,
    pub(super) at_ns: u64,
    pub(super) time: Timestep,
    pub(super) kind: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<MessageId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) verb: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) body: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) answers: Option<MessageId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) level: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) by: Option<Contact>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) further: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) log: Option<LogEntry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) change: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<Key>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) of: Option<Contact>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) peer: Option<PeerId>,
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EndLine {
    pub(super) events: usize,
    pub(super) cut_off: bool,
}

/// A clock as a JSON object.
#[derive(Debug, Default)]
pub(super) struct ClockMap<'a>(pub(super) &'a [(Host, u32)]);

impl Serialize for ClockMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(host, count)| (host.to_string(), count)))
    }
}
