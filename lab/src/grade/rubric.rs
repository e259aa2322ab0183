//! The assignment's rubric: 12 items, 100 points. Each expected entry that exercises an item
//! counts for it; an item earns its points in proportion to those that are right. An entry too
//! many takes the points of one that is right (`surplus`). Entries that exercise no item carry no
//! points: those of `O`, empty lists of keys, keys that a client has or finds where they had come from
//! before, keys that are unavailable and clients that are unreachable. What depends on a purge exercises
//! item 6: that `Removed` is logged does not show that anything was.

use std::collections::BTreeMap;

use askaround_core::id::PeerId;
use askaround_core::log::LogEntry;
use serde::Serialize;

use super::Logs;
use super::replay::{Replay, Way, obtained};
use super::texts::keys;

/// One item, and what it earned.
#[derive(Debug, Clone, Serialize)]
pub struct RubricLine {
    /// Its number in the document, from 1.
    pub item: usize,
    /// What it asks for.
    pub title: &'static str,
    /// What it is worth.
    pub points: u32,
    /// How many expected entries exercise it.
    pub entries: usize,
    /// How many of them are right and count.
    pub matching: usize,
    /// The points earned; `None` if the scenario does not exercise it.
    pub earned: Option<u32>,
}

const ITEMS: [(&str, u32); 12] = [
    ("the tracker keeps a list, registers and unregisters", 10),
    ("a client obtains the list of clients from the tracker", 5),
    ("a client checks for data objects at the listed clients", 10),
    ("a client provides hints about data objects it knows about", 10),
    ("a client uses hints before going on down the list", 10),
    ("a client purges data objects from its own list", 5),
    ("a client still provides hints about purged data objects", 5),
    ("a client fetches from one known only to known clients", 10),
    ("a client obtains all data object hashes of a peer", 10),
    ("a client can register again", 5),
    ("more than 20 clients are supported", 10),
    ("a client unregisters but goes on serving", 10),
];

/// From so many clients on, item 11 is exercised: the document tests it with 20.
const MANY_CLIENTS: usize = 20;

/// The rubric, and how many entries differ that no item asks for. `counts` says of each expected
/// entry whether it counts.
pub(super) fn grade(
    replay: &Replay,
    expected: &Logs,
    counts: &BTreeMap<Option<PeerId>, Vec<bool>>,
) -> (Vec<RubricLine>, usize) {
    let mut entries = [0usize; 12];
    let mut matching = [0usize; 12];
    let mut unscored = 0;
    let many = expected.clients.len() >= MANY_CLIENTS;
    let mut count = |client: Option<PeerId>, index: usize, entry: &LogEntry| {
        let right = counts.get(&client).and_then(|flags| flags.get(index)).copied().unwrap_or(false);
        let items = items(replay, client, index, entry, many);
        unscored += usize::from(items.is_empty() && !right);
        for item in items {
            entries[item - 1] += 1;
            matching[item - 1] += usize::from(right);
        }
    };
    for (id, log) in &expected.clients {
        log.iter().enumerate().for_each(|(i, entry)| count(Some(*id), i, entry));
    }
    expected.tracker.iter().flatten().enumerate().for_each(|(i, entry)| count(None, i, entry));
    (lines(&entries, &matching), unscored)
}

/// The rubric over several runs: their entries together.
pub fn sum<'a>(rubrics: impl Iterator<Item = &'a [RubricLine]>) -> Vec<RubricLine> {
    let mut entries = [0usize; 12];
    let mut matching = [0usize; 12];
    for line in rubrics.flatten() {
        entries[line.item - 1] += line.entries;
        matching[line.item - 1] += line.matching;
    }
    lines(&entries, &matching)
}

fn lines(entries: &[usize; 12], matching: &[usize; 12]) -> Vec<RubricLine> {
    let line = |(i, (title, points)): (usize, &(&'static str, u32))| {
        let share = (u64::from(*points) * matching[i] as u64).checked_div(entries[i] as u64);
        RubricLine {
            item: i + 1,
            title,
            points: *points,
            entries: entries[i],
            matching: matching[i],
            earned: share.map(|earned| u32::try_from(earned).unwrap_or(*points)),
        }
    };
    ITEMS.iter().enumerate().map(line).collect()
}

/// Whether an expected entry carries points.
pub(super) fn is_scored(replay: &Replay, client: Option<PeerId>, index: usize, entry: &LogEntry) -> bool {
    !items(replay, client, index, entry, false).is_empty()
}

/// The items that an expected entry exercises.
fn items(replay: &Replay, client: Option<PeerId>, index: usize, entry: &LogEntry, many: bool) -> Vec<usize> {
    let Some(client) = client else {
        // The tracker's log shows that it registers and unregisters.
        return if many && entry.time == 0 { vec![1, 11] } else { vec![1] };
    };
    let text = entry.text.as_str();
    let mut items = Vec::new();
    if replay.shows_purge(client, index) {
        items.push(6);
    }
    if text == "Unregistered" {
        items.push(1);
    } else if text.starts_with("Client ID ") {
        match entry.time {
            0 if many => items.extend([1, 11]),
            0 => items.push(1),
            _ => items.push(10),
        }
    } else if text.starts_with("Bootstrapper: ") {
        items.push(2);
    } else if text.starts_with("Removed ") {
        items.push(6);
    } else if keys(text).is_some() {
        items.push(9);
    } else if let Some(route) = replay.route(client, index).filter(|_| obtained(text).is_some()) {
        match route.way {
            Way::Listed => items.push(3),
            // Whoever holds a key says so: it hints only at what it has purged.
            Way::Hint => items.extend([4, 7]),
            Way::LongerList => items.push(8),
            Way::Own | Way::OwnOriginator => {}
        }
        if route.hint_decides {
            items.push(5);
        }
        if route.from_unregistered {
            items.push(12);
        }
    }
    items
}
