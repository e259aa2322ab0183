//! What other entries of the same run show about a mistake, so that causes with the same effect
//! can be told apart.

use std::collections::{BTreeMap, BTreeSet};

use askaround_core::id::PeerId;
use askaround_core::log::LogEntry;
use askaround_core::message::Timestep;

use super::align::Pair;
use super::replay::{Replay, obtained};
use super::{Logs, log_name};

/// What the logs say beside the entry that is looked at.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// Whom a client knew, as it told somebody: when, as it should be, and as it was.
    known: Vec<Told>,
    /// Who is registered at the end of each timestep, as it should be.
    registered: BTreeMap<Timestep, String>,
    /// Who was registered at the end of each timestep, as the tracker wrote.
    listed: BTreeMap<Timestep, BTreeSet<PeerId>>,
    /// Whose log says that it has registered.
    announced: BTreeSet<PeerId>,
    /// A client that no longer knows somebody whom it got a key from.
    forgetful: Option<PeerId>,
    /// A client that still has a key that it has purged.
    keeps: Option<PeerId>,
}

#[derive(Debug)]
struct Told {
    by: PeerId,
    time: Timestep,
    expected: BTreeSet<PeerId>,
    got: BTreeSet<PeerId>,
}

/// Whether a client still knows whom it got something from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Knows {
    /// Its own list says so.
    Still,
    /// Its own list lacks it.
    NoLonger,
    /// It was never asked.
    Untold,
}

impl Evidence {
    pub(super) fn gather(
        replay: &Replay,
        expected: &Logs,
        got: &Logs,
        aligned: &BTreeMap<String, Vec<Pair>>,
    ) -> Self {
        let mut evidence = Self::default();
        for (id, log) in &expected.clients {
            let pairs = aligned.get(&log_name(*id)).map_or(&[][..], Vec::as_slice);
            for pair in pairs {
                let (Some(i), Some(j)) = (pair.expected, pair.got) else { continue };
                let (want, have) = (&log[i], &got.clients[id][j]);
                let keeps = || keeps_purged(replay, (*id, i), want, have);
                evidence.keeps = evidence.keeps.or_else(keeps);
                if let (Some((by, expected)), Some((same, got))) = (known(&want.text), known(&have.text))
                    && by == same
                {
                    evidence.known.push(Told { by, time: want.time, expected, got });
                }
            }
        }
        for entry in expected.tracker.iter().flatten() {
            if let Some((_, list)) = entry.text.split_once(": ") {
                evidence.registered.insert(entry.time, list.to_owned());
            }
        }
        for (id, log) in &got.clients {
            if log.iter().any(|entry| entry.text == format!("Client ID {id} registered")) {
                evidence.announced.insert(*id);
            }
        }
        for entry in got.tracker.iter().flatten() {
            evidence.listed.insert(entry.time, ids(&entry.text));
        }
        let forgets =
            |told: &&Told| told.expected.difference(&told.got).any(|whom| replay.purged_from(told.by, *whom));
        evidence.forgetful = evidence.known.iter().find(forgets).map(|told| told.by);
        evidence
    }

    /// Whether `by` still knew `whom` at or after `since`, as far as it was asked.
    pub(super) fn knows(&self, by: PeerId, whom: PeerId, since: Timestep) -> Knows {
        let told = self.known.iter().filter(|t| t.by == by && t.time >= since && t.expected.contains(&whom));
        let mut knows = Knows::Untold;
        for told in told {
            match told.got.contains(&whom) {
                true => knows = Knows::Still,
                false => return Knows::NoLonger,
            }
        }
        knows
    }

    /// Who should be registered at the end of a timestep.
    pub(super) fn registered(&self, time: Timestep) -> Option<&str> {
        self.registered.get(&time).map(String::as_str)
    }

    /// Whether the log of `id` says that it has registered.
    pub(super) fn has_registered(&self, id: PeerId) -> bool {
        self.announced.contains(&id)
    }

    /// A client of which it shows that it still has a key that it has purged.
    pub(super) fn keeps(&self) -> Option<PeerId> {
        self.keeps
    }

    /// A client whose own list shows that its purge forgot whom the key came from.
    pub(super) fn forgetful(&self) -> Option<PeerId> {
        self.forgetful
    }

    /// The first timestep after `time` at whose end the tracker did (`is`) or did not list `id`, if
    /// it was the other way at the end of `time`.
    pub(super) fn first_listed(&self, time: Timestep, id: PeerId, is: bool) -> Option<Timestep> {
        self.listed.get(&time).filter(|listed| listed.contains(&id) != is)?;
        let mut later = self.listed.range(time + 1..);
        later.find(|(_, listed)| listed.contains(&id) == is).map(|(time, _)| *time)
    }
}

/// Who still has a key that it has purged, as an entry shows: it lists the key, or is named for it
/// although it gave no hint.
fn keeps_purged(
    replay: &Replay,
    (client, index): (PeerId, usize),
    want: &LogEntry,
    have: &LogEntry,
) -> Option<PeerId> {
    if want.text == have.text {
        return None;
    }
    if let Some((key, address)) = obtained(&have.text) {
        let named = replay.peer_at(address)?;
        let hints = replay.route(client, index).is_some_and(|route| route.hinters.contains(&Some(named)));
        return (!hints && replay.has_purged(named, key, (client, index))).then_some(named);
    }
    let (head, keys) = have.text.split_once(": ")?;
    let of: PeerId = head.strip_prefix("Client ")?.parse().ok()?;
    let purged = |key: &str| {
        replay.has_purged(of, key, (client, index)) && !want.text.split([' ', ',']).any(|other| other == key)
    };
    keys.split(", ").any(purged).then_some(of)
}

/// `Client 3: <4, 127.0.0.1, 9241>, …`. A list of keys, or an empty one, is of nobody.
fn known(text: &str) -> Option<(PeerId, BTreeSet<PeerId>)> {
    let (by, list) = text.strip_prefix("Client ")?.split_once(':')?;
    let ids = ids(list);
    (!ids.is_empty() || list.trim().is_empty()).then_some((by.parse().ok()?, ids))
}

/// The ids in `<4, 127.0.0.1, 9241>, …`.
fn ids(list: &str) -> BTreeSet<PeerId> {
    list.split('<').skip(1).filter_map(|peer| peer.split(',').next()?.trim().parse().ok()).collect()
}
