//! Why a log differs, most likely.

use std::collections::BTreeSet;

use askaround_core::id::PeerId;
use askaround_core::log::LogEntry;
use serde::Serialize;

use super::replay::{Replay, Way, obtained};

/// The kinds of mistakes that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The file is not there.
    LogMissing,
    /// The file is not a log.
    NotALog,
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
    /// The hint was not followed.
    HintNotFollowed,
    /// A purge forgot whom the key came from, so no hint was given.
    PurgeForgotOriginator,
    /// The longer list was not asked.
    LongerListNotAsked,
    /// A peer that is not registered was not asked or does not serve.
    UnregisteredNotAsked,
    /// The listed peers were not asked in order, or not all.
    ListNotAsked,
    /// The right peer at another address.
    AnotherAddress,
    /// Found although it should be nowhere.
    FoundTooMuch,
    /// Something else.
    Other,
}

/// The cause of the difference at `index`, and one sentence.
pub(super) fn explain(
    replay: &Replay,
    client: Option<PeerId>,
    expected: &[LogEntry],
    got: &[LogEntry],
    index: usize,
) -> (Cause, String) {
    let (want, have) = match (expected.get(index), got.get(index)) {
        (Some(want), Some(have)) => (want, have),
        (Some(want), None) => return missing(want),
        (None, Some(have)) => return extra(have),
        (None, None) => return (Cause::Other, "no difference".into()),
    };
    if want.text == have.text {
        let text = format!("the right entry, but at time {} instead of {}", have.time, want.time);
        return (Cause::AnotherTime, text);
    }
    // An entry that comes right after is missing before, or there is one too many.
    if got.get(index + 1) == Some(want) && expected.get(index + 1) == Some(have) {
        return (Cause::AnotherOrder, "two entries have changed places".into());
    }
    if expected.get(index + 1) == Some(have) {
        return missing(want);
    }
    if got.get(index + 1) == Some(want) {
        return extra(have);
    }
    if squeeze(&want.text) == squeeze(&have.text) {
        if have.text.contains("<>") {
            return (Cause::AngleBracketsForEmpty, "an empty list is written as nothing, not as <>".into());
        }
        return (Cause::Spelling, "only case, spaces or punctuation differ".into());
    }
    if let (Some((head, wanted)), Some((other, listed))) =
        (want.text.split_once(": "), have.text.split_once(':'))
        && head == other
    {
        return lists(replay, head, wanted, listed.trim());
    }
    source(replay, client, index, &want.text, &have.text)
}

fn missing(want: &LogEntry) -> (Cause, String) {
    (Cause::EntryMissing, format!("the entry \"{}\" of time {} is missing", want.text, want.time))
}

fn extra(have: &LogEntry) -> (Cause, String) {
    (Cause::ExtraEntry, format!("there is an entry too many: \"{}\" at time {}", have.text, have.time))
}

/// Letters and digits only, in lower case.
fn squeeze(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn lists(replay: &Replay, head: &str, wanted: &str, listed: &str) -> (Cause, String) {
    let items = |text: &str| -> Vec<String> {
        let separator = if text.contains('<') { ">, " } else { ", " };
        text.split(separator)
            .map(|item| item.trim_matches(['<', '>', ' ']).to_owned())
            .filter(|i| !i.is_empty())
            .collect()
    };
    let (wanted, listed) = (items(wanted), items(listed));
    let set = |items: &[String]| items.iter().cloned().collect::<BTreeSet<_>>();
    let (want, have) = (set(&wanted), set(&listed));
    if want == have {
        let order = match head {
            "Bootstrapper" | "Clients registered" => "increasing client id",
            _ if wanted.iter().any(|item| item.contains(", ")) => "decreasing client id",
            _ => "the order in which the keys came",
        };
        return (Cause::ListOrder, format!("the right list in the wrong order: expected {order}"));
    }
    let much: Vec<_> = have.difference(&want).cloned().collect();
    let little: Vec<_> = want.difference(&have).cloned().collect();
    let registered = head == "Bootstrapper" || head == "Clients registered";
    let id = |item: &String| item.split(',').next().unwrap_or_default().to_owned();
    if registered && !much.is_empty() && little.is_empty() {
        let text = format!("client {} is listed although it is not registered", id(&much[0]));
        return (Cause::StillListed, text);
    }
    if registered && much.is_empty() {
        let text = format!("client {} is registered but not listed", id(&little[0]));
        return (Cause::NotListed, text);
    }
    let of = head.strip_prefix("Client ").and_then(|id| id.parse::<PeerId>().ok());
    if let Some(of) = of
        && let Some(key) = much.iter().find(|key| replay.ever_removed(of, key))
    {
        return (Cause::PurgeNotDone, format!("client {of} purged {key} and still holds it"));
    }
    let difference = [("missing", little), ("too much", much)];
    let parts = difference.iter().filter(|(_, items)| !items.is_empty());
    let parts: Vec<_> = parts.map(|(what, items)| format!("{what}: {}", items.join("; "))).collect();
    (Cause::ListContent, format!("another list ({})", parts.join(", ")))
}

/// A key came from somewhere else, or did not come, or came though it should not.
fn source(replay: &Replay, client: Option<PeerId>, index: usize, want: &str, have: &str) -> (Cause, String) {
    let (Some((key, address)), Some(client)) = (obtained(want), client) else {
        if obtained(have).is_some() {
            return (
                Cause::FoundTooMuch,
                "the key was found although nobody that can be reached has it".into(),
            );
        }
        return (Cause::Other, "another entry altogether".into());
    };
    let Some(route) = replay.route(client, index) else {
        return (Cause::Other, "the key came from elsewhere".into());
    };
    let source = replay.peer_at(address).map_or_else(|| address.to_owned(), |id| format!("client {id}"));
    let instead = obtained(have).filter(|(other, _)| *other == key).map(|(_, address)| address);
    let same_host = |other: &str| replay.peer_at(other).is_none();
    match (route.way, instead) {
        (_, Some(other)) if same_host(other) => {
            (Cause::AnotherAddress, format!("nobody listens on {other}; {source} listens on {address}"))
        }
        (Way::OwnOriginator, _) => (
            Cause::OwnOriginatorNotAsked,
            format!("the key had come from {source} before, so that peer is asked first"),
        ),
        (Way::Hint, Some(other)) => {
            let other = replay.peer_at(other).map_or_else(|| other.to_owned(), |id| format!("client {id}"));
            (
                Cause::HintTooLate,
                format!(
                    "a hint led to {source} before {other} was reached: follow it before going on down the list"
                ),
            )
        }
        (Way::Hint, None) if route.from_unregistered => (
            Cause::HintNotFollowed,
            format!(
                "a hint leads to {source}, which is not registered: follow hints, and give them for purged keys too"
            ),
        ),
        (Way::Hint, None) => (
            Cause::PurgeForgotOriginator,
            format!(
                "a hint leads to {source}; a purge removes the key from the content list, never from the originator list"
            ),
        ),
        (Way::LongerList, _) => (
            Cause::LongerListNotAsked,
            format!("{source} is found only by asking the listed peers whom they know"),
        ),
        (Way::Listed, Some(other)) => {
            let named = replay.peer_at(other).map_or_else(|| other.to_owned(), |id| format!("client {id}"));
            (
                Cause::ListNotAsked,
                format!(
                    "{source} comes first: the listed peers are asked by increasing id, and the log names the peer that had the key ({named} is another)"
                ),
            )
        }
        (Way::Listed, None) => {
            (Cause::ListNotAsked, format!("{source} is registered and has it: ask each listed peer"))
        }
        (Way::Own, _) => (Cause::Other, "the client holds the key itself: nobody is asked".into()),
    }
}
