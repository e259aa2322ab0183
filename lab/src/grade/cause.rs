//! Why an entry differs, most likely.

use std::collections::BTreeSet;

use askaround_core::id::PeerId;
use askaround_core::log::LogEntry;
use askaround_core::message::Timestep;
use serde::Serialize;

use super::evidence::{Evidence, Knows};
use super::render::shown;
use super::replay::{Replay, Route, Way, searched};
use super::texts::{PORT_RULE, is_spelt_otherwise, items, other_ports, peer_id};

/// The kinds of mistakes that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The file is not there.
    LogMissing,
    /// The file is not a log.
    NotALog,
    /// The log ends before this entry.
    LogEnds,
    /// An entry is not there.
    EntryMissing,
    /// An entry too many.
    ExtraEntry,
    /// The right entry at another time.
    AnotherTime,
    /// The right entries of one time in another order.
    AnotherOrder,
    /// `<>` instead of nothing.
    AngleBracketsForEmpty,
    /// Other spelling, case, spaces or punctuation.
    Spelling,
    /// The right list in another order.
    ListOrder,
    /// The list as it should be a timestep later or earlier.
    ClockAhead,
    /// The list before or after another action of the same timestep.
    OrderWithinTimestep,
    /// Who unregistered is still listed.
    StillListed,
    /// Who is registered is not listed.
    NotListed,
    /// A purged key is still held.
    PurgeNotDone,
    /// A list with something missing or too much.
    ListContent,
    /// The peer that hinted is named, not the one that had the key.
    HintingPeerNamed,
    /// The own originator was not asked first.
    OwnOriginatorNotAsked,
    /// The hint was used after the list, or not at all.
    HintTooLate,
    /// The hint was not given or not followed, though whoever should give it knows whom it got
    /// the key from.
    HintNotFollowed,
    /// A purge forgot whom the key came from, so no hint was given: its own list shows it.
    PurgeForgotOriginator,
    /// The hint was not given or not followed, and nothing shows which.
    HintLost,
    /// The longer list was not asked.
    LongerListNotAsked,
    /// The listed peers were not asked in order, or not all.
    ListNotAsked,
    /// The right peer at another address.
    AnotherAddress,
    /// Found although it should be nowhere.
    FoundTooMuch,
    /// Something else.
    Other,
}

impl Cause {
    /// Whether the file, or the rest of it, is not there.
    pub fn is_of_the_file(self) -> bool {
        matches!(self, Self::LogMissing | Self::NotALog | Self::LogEnds)
    }
}

/// What is known around a log.
pub(super) struct Context<'a> {
    pub(super) replay: &'a Replay,
    pub(super) evidence: &'a Evidence,
    /// Whose log it is; the tracker's, if `None`.
    pub(super) client: Option<PeerId>,
}

impl Context<'_> {
    /// The cause of a difference, and one sentence. `index` is that of the expected entry; `at_the_end`
    /// says that nothing comes after it.
    pub(super) fn explain(
        &self,
        index: Option<usize>,
        want: Option<&LogEntry>,
        have: Option<&LogEntry>,
        at_the_end: bool,
    ) -> (Cause, String) {
        let (index, want, have) = match (index, want, have) {
            (Some(index), Some(want), Some(have)) => (index, want, have),
            (_, Some(_), None) if at_the_end => {
                return (Cause::LogEnds, "the log ends before this entry".into());
            }
            (_, Some(want), None) => return missing(want),
            (_, None, Some(have)) => return extra(have),
            _ => return (Cause::Other, "no difference".into()),
        };
        if want == have {
            return (Cause::AnotherOrder, "the right entry in another place".into());
        }
        if want.text == have.text {
            let text = format!("the right entry, but at time {} instead of {}", have.time, want.time);
            return (Cause::AnotherTime, text);
        }
        if is_spelt_otherwise(&want.text, &have.text) {
            if have.text.contains("<>") {
                let text = "an empty list is written as nothing, not as <>";
                return (Cause::AngleBracketsForEmpty, text.into());
            }
            return (Cause::Spelling, "only case, spaces or punctuation differ".into());
        }
        if let (Some((head, wanted)), Some((other, listed))) =
            (want.text.split_once(": "), have.text.split_once(':'))
            && head == other
        {
            return self.lists(head, want, wanted, listed.trim());
        }
        self.source(index, want, have)
    }

    /// A list of the registered clients that would be right at another time.
    fn clock(&self, head: &str, want: &LogEntry, listed: &str) -> Option<(Cause, String)> {
        let time = want.time;
        let is_at = |time: u32| self.evidence.registered(time) == Some(listed);
        if head == "Bootstrapper" && (is_at(time) || time.checked_sub(1).is_some_and(is_at)) {
            let when = if is_at(time) { "after" } else { "before" };
            let text = format!(
                "the list as it is {when} another client's action of the same timestep; expected is turns by increasing id, and the assignment leaves the order open"
            );
            return Some((Cause::OrderWithinTimestep, text));
        }
        if head != "Bootstrapper" && head != "Clients registered" {
            return None;
        }
        if is_at(time + 1) {
            let text = format!(
                "the list as it should be in timestep {}: somebody went on before everybody had completed timestep {time}",
                time + 1
            );
            return Some((Cause::ClockAhead, text));
        }
        None
    }

    /// Another list than the one wanted.
    fn lists(&self, head: &str, want: &LogEntry, wanted: &str, listed: &str) -> (Cause, String) {
        if let Some(clock) = self.clock(head, want, listed) {
            return clock;
        }
        let (wanted, listed) = (items(wanted), items(listed));
        let set = |items: &[String]| items.iter().cloned().collect::<BTreeSet<_>>();
        let (want_set, have_set) = (set(&wanted), set(&listed));
        if want_set == have_set {
            let order = match head {
                "Bootstrapper" | "Clients registered" => "increasing client id",
                _ if wanted.iter().any(|item| item.contains(", ")) => "decreasing client id",
                _ => "the order in which the keys came",
            };
            return (Cause::ListOrder, format!("the right list in the wrong order: expected {order}"));
        }
        let much: Vec<_> = have_set.difference(&want_set).cloned().collect();
        let little: Vec<_> = want_set.difference(&have_set).cloned().collect();
        if head == "Bootstrapper" || head == "Clients registered" {
            if let ([much, ..], []) = (much.as_slice(), little.as_slice()) {
                return self.listed_too_long(want.time, much);
            }
            if let ([], [little, ..]) = (much.as_slice(), little.as_slice()) {
                return self.listed_too_late(want.time, little);
            }
        }
        if let Some(of) = head.strip_prefix("Client ").and_then(|id| id.parse::<PeerId>().ok()) {
            if let Some(key) = much.iter().find(|key| self.replay.ever_removed(of, key)) {
                return (Cause::PurgeNotDone, format!("client {of} purged {key} and still holds it"));
            }
            let forgotten = little.iter().filter_map(|item| peer_id(item));
            if let Some(whom) = forgotten.into_iter().find(|whom| self.replay.purged_from(of, *whom)) {
                let text = format!(
                    "client {of} no longer knows client {whom}, whom it got a key from that it has purged: a purge removes a key from the content list, never from the originator list"
                );
                return (Cause::PurgeForgotOriginator, text);
            }
        }
        if let Some(text) = other_ports(&little, &much) {
            return (Cause::AnotherAddress, text);
        }
        let difference = [("missing", little), ("too much", much)];
        let parts = difference.iter().filter(|(_, items)| !items.is_empty());
        let part = |(what, items): &(&str, Vec<String>)| format!("{what}: {}", shown(&items.join("; ")));
        let parts: Vec<_> = parts.map(part).collect();
        (Cause::ListContent, format!("another list ({})", parts.join(", ")))
    }

    /// The tracker lists somebody too many.
    fn listed_too_long(&self, time: Timestep, item: &str) -> (Cause, String) {
        let Some(id) = peer_id(item) else { return (Cause::ListContent, format!("too much: {item}")) };
        match self.evidence.first_listed(time, id, false) {
            // Whoever can never unregister stays.
            Some(later) => {
                let text = format!(
                    "client {id} is still listed, and only from timestep {later} on no longer: timestep {time} was taken for over before everybody had completed it"
                );
                (Cause::ClockAhead, text)
            }
            None => (Cause::StillListed, format!("client {id} is listed although it is not registered")),
        }
    }

    /// The tracker does not list somebody.
    fn listed_too_late(&self, time: Timestep, item: &str) -> (Cause, String) {
        let Some(id) = peer_id(item) else { return (Cause::ListContent, format!("missing: {item}")) };
        match self.evidence.first_listed(time, id, true) {
            Some(later) if time > 0 => {
                let text = format!(
                    "client {id} is not yet listed, and only from timestep {later} on: timestep {time} was taken for over before everybody had completed it"
                );
                (Cause::ClockAhead, text)
            }
            _ if !self.evidence.has_registered(id) => {
                let text = format!("client {id} is not listed; its log does not say that it has registered");
                (Cause::NotListed, text)
            }
            _ => (Cause::NotListed, format!("client {id} is registered but not listed")),
        }
    }

    /// A key came from somewhere else, or did not come, or came though it should not.
    fn source(&self, index: usize, want: &LogEntry, have: &LogEntry) -> (Cause, String) {
        let replay = self.replay;
        let searched = (self.client, searched(&want.text), searched(&have.text));
        let (Some(client), Some((key, wanted)), Some((same, instead))) = searched else {
            return (Cause::Other, "another entry altogether".into());
        };
        if key != same {
            return (Cause::Other, format!("an entry about another key than {key}"));
        }
        let route = replay.route(client, index);
        let other = instead.and_then(|address| replay.peer_at(address));
        if let Some(other) = other.filter(|other| replay.has_purged(*other, key, (client, index))) {
            let hints = route.is_some_and(|route| route.hinters.contains(&Some(other)));
            if !hints || self.evidence.keeps().is_some() {
                let text = format!(
                    "client {other} is named, which purged {key} before: its purge has not removed it"
                );
                return (Cause::PurgeNotDone, text);
            }
        }
        let Some(address) = wanted else {
            let text = "the key was found although nobody that can be reached has it";
            return (Cause::FoundTooMuch, text.into());
        };
        let Some(route) = route else {
            return (Cause::Other, "the key came from elsewhere".into());
        };
        let named = |address: &str| {
            replay.peer_at(address).map_or_else(|| address.to_owned(), |id| format!("client {id}"))
        };
        let source = named(address);
        if let Some(instead) = instead.filter(|_| other.is_none()) {
            let text =
                format!("nobody should listen on {instead}, and {source} should on {address}: {PORT_RULE}");
            return (Cause::AnotherAddress, text);
        }
        match (route.way, other) {
            (Way::OwnOriginator, _) => {
                let text = format!("the key had come from {source} before, so that peer is asked first");
                (Cause::OwnOriginatorNotAsked, text)
            }
            (Way::Hint, other) => self.hint(&route, &source, other),
            (Way::LongerList, _) => {
                let text = format!("{source} is found only by asking the listed peers whom they know");
                (Cause::LongerListNotAsked, text)
            }
            (Way::Listed, Some(other)) => {
                let text = format!(
                    "{source} comes first: the listed peers are asked by increasing id, and the log names the peer that had the key (client {other} is another)"
                );
                (Cause::ListNotAsked, text)
            }
            (Way::Listed, None) => {
                let text = format!("{source} is registered and has it: ask each listed peer");
                (Cause::ListNotAsked, text)
            }
            (Way::Own, _) => (Cause::Other, "the client holds the key itself: nobody is asked".into()),
        }
    }

    /// A hint should have led to `source`; the key came from `other`, or not at all.
    fn hint(&self, route: &Route, source: &str, other: Option<PeerId>) -> (Cause, String) {
        let Some((hinter, whom, since)) = route.hint else {
            return (Cause::HintLost, format!("a hint leads to {source}: follow it"));
        };
        if let Some(other) = other.filter(|other| route.hinters.contains(&Some(*other))) {
            let text = format!(
                "client {other} is named, whose hint leads to {source}: the log names the peer that had the key, not one that hinted (or the purge of client {other} has not removed the key)"
            );
            return (Cause::HintingPeerNamed, text);
        }
        match (self.evidence.knows(hinter, whom, since), other) {
            (Knows::NoLonger, _) => {
                let text = format!(
                    "client {hinter} should hint at client {whom} and no longer knows it, as its own list shows: a purge removes the key from the content list, never from the originator list"
                );
                (Cause::PurgeForgotOriginator, text)
            }
            (Knows::Untold, _) if self.evidence.forgetful().is_some() => {
                let like = self.evidence.forgetful().unwrap_or(hinter);
                let text = format!(
                    "client {hinter} should hint at client {whom}; its purge has probably forgotten it, as that of client {like} did"
                );
                (Cause::PurgeForgotOriginator, text)
            }
            (Knows::Untold, Some(other)) => {
                let text = format!(
                    "client {hinter} should hint at client {whom}, and hints are followed before client {other} is reached: it was not followed at once, or the purge of client {hinter} forgot whom the key came from"
                );
                (Cause::HintTooLate, text)
            }
            (_, Some(other)) => {
                let text = format!(
                    "client {hinter} hints at client {whom} before client {other} is reached: follow a hint before going on down the list"
                );
                (Cause::HintTooLate, text)
            }
            (Knows::Still, None) => {
                let text = format!(
                    "client {hinter} knows client {whom}, as its own list shows, so it did not hint at it, or the hint was not followed"
                );
                (Cause::HintNotFollowed, text)
            }
            (Knows::Untold, None) => {
                let text = format!(
                    "client {hinter} should hint at client {whom}: its purge forgot whom the key came from, or it did not hint, or the hint was not followed (asking client {hinter} with O after its purge tells which)"
                );
                (Cause::HintLost, text)
            }
        }
    }
}

fn missing(want: &LogEntry) -> (Cause, String) {
    (Cause::EntryMissing, format!("the entry \"{}\" of time {} is missing", want.text, want.time))
}

fn extra(have: &LogEntry) -> (Cause, String) {
    (
        Cause::ExtraEntry,
        format!(
            "there is an entry too many (an action has one): \"{}\" at time {}",
            shown(&have.text),
            have.time
        ),
    )
}
