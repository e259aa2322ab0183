//! Each search of a run as a tree: who was asked why, and what they said.

use std::collections::BTreeMap;

use askaround_core::log::LogEntry;
use askaround_core::message::Timestep;
use askaround_core::script::Action;
use askaround_core::search::Reason;
use askaround_core::{Key, PeerId};

use super::model::{HostIndex, KeyIndex, Kind, MessageReport};
use crate::trace::{Event, Host, Member};

/// A search for a key, from its first question to the log's entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    /// Who searches.
    pub host: HostIndex,
    /// In which timestep.
    pub time: Timestep,
    /// For which key.
    pub key: Option<KeyIndex>,
    /// Who has it; the searcher itself, if it had it all along.
    pub found: Option<HostIndex>,
    /// How long it took.
    pub took_ns: u64,
    /// What the log says of it; absent if the run ended before.
    pub log: Option<String>,
    /// What was asked, in order.
    pub steps: Vec<Step>,
    began_ns: u64,
}

/// A question of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The place of the message; its answer is found there.
    pub message: usize,
    /// Why it was asked.
    pub why: Why,
    /// The level of the longer list, or how many hints came before.
    pub level: u32,
    /// The place of the step that led to this one, for a hint.
    pub parent: Option<usize>,
    /// Whether it is on the way to whoever has the key.
    pub on_path: bool,
    /// Who gave the hint.
    by: Option<HostIndex>,
}

/// A question of a search, as it is asked.
pub(super) struct Asked {
    /// The place of the message.
    pub(super) message: usize,
    pub(super) reason: Reason,
    /// Who gave the hint, if it was one.
    pub(super) by: Option<HostIndex>,
}

/// Why somebody was asked; see [`Reason`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The key came from there before.
    Originator,
    /// On the tracker's list.
    Listed,
    /// On the longer list.
    Longer,
    /// Hinted at.
    Hint,
}

/// Finds the searches in a trace. A scripted peer does one thing at a time, and ends each with
/// an entry in its log: so what it asks belongs to the action that its script has next.
pub(super) struct Searches<'a> {
    actions: BTreeMap<PeerId, std::slice::Iter<'a, (Timestep, Action)>>,
    open: BTreeMap<Host, usize>,
    all: Vec<Search>,
}

impl<'a> Searches<'a> {
    pub(super) fn new(members: &'a [Member]) -> Self {
        let actions = members.iter().map(|m| (m.script.id, m.script.actions.iter())).collect();
        Self { actions, open: BTreeMap::new(), all: Vec::new() }
    }

    /// The key that this peer searches for now, or next.
    pub(super) fn wanted(&self, host: Host) -> Option<&'a Key> {
        let Host::Peer(id) = host else { return None };
        match self.actions.get(&id)?.as_slice().first()? {
            (_, Action::Obtain(key)) => Some(key),
            _ => None,
        }
    }

    /// `host` asks something: its place among the messages, and why.
    pub(super) fn asks(&mut self, event: &Event, host: HostIndex, key: Option<KeyIndex>, asked: Asked) {
        let place = *self.open.entry(event.host).or_insert_with(|| {
            self.all.push(Search::begin(event, host, key));
            self.all.len() - 1
        });
        let Asked { message, reason, by } = asked;
        let (why, level) = match reason {
            Reason::OwnOriginator => (Why::Originator, 0),
            Reason::Listed => (Why::Listed, 0),
            Reason::LongerList(level) => (Why::Longer, level),
            Reason::Hint { further, .. } => (Why::Hint, further.into()),
        };
        let step = Step { message, why, level, by, parent: None, on_path: false };
        self.all[place].steps.push(step);
    }

    /// The key of the search that this peer has under way came from `source`.
    pub(super) fn obtains(&mut self, host: Host, source: HostIndex) {
        if let Some(open) = self.open.get(&host) {
            self.all[*open].found = Some(source);
        }
    }

    /// An entry in the log of `host`: the action is over.
    pub(super) fn logs(&mut self, event: &Event, host: HostIndex, key: Option<KeyIndex>, entry: &LogEntry) {
        let Host::Peer(id) = event.host else { return };
        // The registration at time 0 is no action of the script.
        if entry.time == 0 {
            return;
        }
        let searched = self.wanted(event.host).is_some();
        if let Some(actions) = self.actions.get_mut(&id) {
            actions.next();
        }
        let place = match self.open.remove(&event.host) {
            Some(place) => place,
            // Only for a key of its own does it ask nobody.
            None if searched => {
                self.all.push(Search { found: Some(host), ..Search::begin(event, host, key) });
                self.all.len() - 1
            }
            None => return,
        };
        let search = &mut self.all[place];
        search.took_ns = event.at_ns.saturating_sub(search.began_ns);
        search.log = Some(entry.text.clone());
    }

    /// All searches, with their trees. `messages` are those of the run.
    pub(super) fn end(mut self, messages: &[MessageReport]) -> Vec<Search> {
        for search in &mut self.all {
            search.grow(messages);
        }
        self.all
    }
}

impl Search {
    fn begin(event: &Event, host: HostIndex, key: Option<KeyIndex>) -> Self {
        Self {
            host,
            time: event.time,
            key,
            found: None,
            took_ns: 0,
            log: None,
            steps: Vec::new(),
            began_ns: event.at_ns,
        }
    }

    /// Finds what led to each hinted peer, and the way to whoever has the key.
    fn grow(&mut self, messages: &[MessageReport]) {
        for i in 0..self.steps.len() {
            let by = self.steps[i].by;
            let gave_hint = |step: &Step| by.is_some_and(|by| messages[step.message].to == by);
            self.steps[i].parent = self.steps[..i].iter().rposition(gave_hint);
        }
        let has_it = |step: &Step| {
            let answer = messages[step.message].answer.map(|answer| messages[answer].kind);
            answer == Some(Kind::Have) && self.found == Some(messages[step.message].to)
        };
        let mut at = self.steps.iter().rposition(has_it);
        while let Some(i) = at {
            self.steps[i].on_path = true;
            at = self.steps[i].parent;
        }
    }
}
