//! The expected logs played over time: who held what, who got it from whom, who was registered.
//! From that it follows which way each key must have been found.

use std::collections::{BTreeMap, BTreeSet};

use askaround_core::id::PeerId;
use askaround_core::log::LogEntry;
use askaround_core::message::Timestep;
use askaround_core::script::{Action, Script};

use super::Logs;
use super::texts::keys;

/// A hint and two further ones are followed.
const HINTS: usize = 3;

/// How a key was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) way: Way,
    /// The source was not registered then.
    pub(super) from_unregistered: bool,
    /// Who gives the hint that leads to the source, whom it names, and when it purged the key.
    pub(super) hint: Option<(PeerId, PeerId, Timestep)>,
    /// Everybody who gives a hint on the way to the source, in order.
    pub(super) hinters: [Option<PeerId>; HINTS],
    /// Without hints, somebody else on the list would have been named.
    pub(super) hint_decides: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Own,
    OwnOriginator,
    Listed,
    Hint,
    LongerList,
}

/// What is known of the expected run.
#[derive(Debug, Default)]
pub(super) struct Replay {
    /// By client and number of the entry.
    routes: BTreeMap<(PeerId, usize), Route>,
    /// Entries, also by client and number, that would be others if a purge had not been done.
    show_purges: BTreeSet<(PeerId, usize)>,
    by_address: BTreeMap<String, PeerId>,
    /// Whom a client got a key from that it purged later.
    purged_from: BTreeSet<(PeerId, PeerId)>,
    /// Where each entry stands among all, by client and number.
    places: BTreeMap<(PeerId, usize), usize>,
    /// For each client and key that it ever removed: where it did, and where it got it again.
    removed: BTreeMap<(PeerId, String), Vec<(usize, bool)>>,
}

#[derive(Default)]
struct State {
    /// When a client last purged a key.
    purged: BTreeMap<(PeerId, String), Timestep>,
    holds: BTreeMap<PeerId, BTreeSet<String>>,
    originators: BTreeMap<(PeerId, String), PeerId>,
    registered: BTreeSet<PeerId>,
}

impl Replay {
    pub(super) fn new(logs: &Logs, scripts: &[Script]) -> Self {
        let mut replay = Self { by_address: addresses(logs), ..Self::default() };
        let mut state = State::default();
        for script in scripts {
            let keys = script.content.iter().map(ToString::to_string);
            state.holds.entry(script.id).or_default().extend(keys);
        }
        let mut order: Vec<(Timestep, PeerId, usize, &LogEntry)> = Vec::new();
        for (id, log) in &logs.clients {
            order.extend(log.iter().enumerate().map(|(i, entry)| (entry.time, *id, i, entry)));
        }
        order.sort_by_key(|(time, id, index, _)| (*time, *id, *index));
        let scripts: BTreeMap<PeerId, &Script> = scripts.iter().map(|script| (script.id, script)).collect();
        for (place, (time, id, index, entry)) in order.into_iter().enumerate() {
            replay.places.insert((id, index), place);
            // The first entry is that of timestep 0, and stands for no action.
            let actions = scripts.get(&id).map(|script| &script.actions[..]).unwrap_or_default();
            let action = index.checked_sub(1).and_then(|index| actions.get(index));
            let action = action.filter(|(at, _)| *at == time).map(|(_, action)| action);
            if state.shows_purge(id, &entry.text, action, &replay.by_address) {
                replay.show_purges.insert((id, index));
            }
            replay.play(&mut state, time, id, index, &entry.text);
        }
        replay
    }

    fn play(&mut self, state: &mut State, time: Timestep, id: PeerId, index: usize, text: &str) {
        let place = self.places[&(id, index)];
        if let Some((key, address)) = obtained(text) {
            let Some(source) = self.by_address.get(address).copied() else { return };
            self.routes.insert((id, index), state.route(id, source, key));
            if source != id {
                state.originators.insert((id, key.to_owned()), source);
            }
            state.holds.entry(id).or_default().insert(key.to_owned());
            if let Some(changes) = self.removed.get_mut(&(id, key.to_owned())) {
                changes.push((place, false));
            }
            state.holds.entry(source).or_default().insert(key.to_owned());
        } else if let Some(key) = text.strip_prefix("Removed ") {
            state.holds.entry(id).or_default().remove(key);
            state.purged.insert((id, key.to_owned()), time);
            if let Some(source) = state.originators.get(&(id, key.to_owned())) {
                self.purged_from.insert((id, *source));
            }
            self.removed.entry((id, key.to_owned())).or_default().push((place, true));
        } else if text == "Unregistered" {
            state.registered.remove(&id);
        } else if text.ends_with(" registered") {
            state.registered.insert(id);
        }
    }

    pub(super) fn route(&self, client: PeerId, index: usize) -> Option<Route> {
        self.routes.get(&(client, index)).copied()
    }

    /// Whether an entry shows that a purge was done.
    pub(super) fn shows_purge(&self, client: PeerId, index: usize) -> bool {
        self.show_purges.contains(&(client, index))
    }

    pub(super) fn peer_at(&self, address: &str) -> Option<PeerId> {
        self.by_address.get(address).copied()
    }

    /// Whether `client` ever purged a key that it had got from `source`.
    pub(super) fn purged_from(&self, client: PeerId, source: PeerId) -> bool {
        self.purged_from.contains(&(client, source))
    }

    pub(super) fn ever_removed(&self, client: PeerId, key: &str) -> bool {
        self.removed.contains_key(&(client, key.to_owned()))
    }

    /// Whether `client` had purged a key and not got it again when the action of entry `at` began.
    pub(super) fn has_purged(&self, client: PeerId, key: &str, at: (PeerId, usize)) -> bool {
        let Some(at) = self.places.get(&at) else { return false };
        let changes = self.removed.get(&(client, key.to_owned()));
        let last = changes.and_then(|changes| changes.iter().rfind(|(place, _)| place < at));
        last.is_some_and(|(_, removed)| *removed)
    }
}

impl State {
    /// Whether an entry of `client` would be another one if a purge had not been done, and does not
    /// take hints or longer lists besides to be right. `action` is what it stands for, if that is known.
    fn shows_purge(
        &self,
        client: PeerId,
        text: &str,
        action: Option<&Action>,
        by_address: &BTreeMap<String, PeerId>,
    ) -> bool {
        let of = match action {
            Some(Action::Contents(of)) if !text.ends_with(" is unreachable") => Some(*of),
            Some(_) => None,
            None => keys(text).map(|(of, _)| of),
        };
        if let Some(of) = of {
            let of_it = self.purged.range((of, String::new())..).take_while(|((peer, _), _)| *peer == of);
            return of_it.map(|((_, key), _)| key).any(|key| self.has_purged(of, key));
        }
        let Some((key, address)) = searched(text) else { return false };
        let before = |source: Option<PeerId>| {
            let asked = self.registered.iter().take_while(|peer| source.is_none_or(|source| **peer < source));
            asked.copied().any(|peer| self.has_purged(peer, key))
        };
        let own = self.has_purged(client, key);
        let is_purge = matches!(action, Some(Action::Purge(_)));
        let Some(address) = address else { return own || !is_purge && before(None) };
        let Some(source) = by_address.get(address).copied() else { return false };
        match self.route(client, source, key).way {
            Way::OwnOriginator => own,
            Way::Listed => own || before(Some(source)),
            Way::Own | Way::Hint | Way::LongerList => false,
        }
    }

    /// Whether a client has purged a key and not got it again.
    fn has_purged(&self, client: PeerId, key: &str) -> bool {
        let holds = || self.holds.get(&client).is_some_and(|keys| keys.contains(key));
        self.purged.contains_key(&(client, key.to_owned())) && !holds()
    }

    fn route(&self, client: PeerId, source: PeerId, key: &str) -> Route {
        let originator = |peer: PeerId| self.originators.get(&(peer, key.to_owned())).copied();
        let holds = |peer: PeerId| self.holds.get(&peer).is_some_and(|keys| keys.contains(key));
        let listed = self.registered.iter().copied().filter(|peer| *peer != client);
        let mut route = Route {
            way: Way::LongerList,
            from_unregistered: source != client && !self.registered.contains(&source),
            hint: None,
            hinters: [None; HINTS],
            hint_decides: false,
        };
        if source == client {
            route.way = Way::Own;
            return route;
        }
        if originator(client) == Some(source) {
            route.way = Way::OwnOriginator;
            return route;
        }
        let first_holder = listed.clone().find(|peer| holds(*peer));
        for peer in listed {
            if peer == source {
                route.way = Way::Listed;
                return route;
            }
            let mut at = peer;
            let mut hinters = [None; HINTS];
            for hinter in &mut hinters {
                // Who holds the key says so, and hints at nobody.
                let Some(hinted) = originator(at).filter(|_| !holds(at)) else { break };
                // A hint to the searcher is dropped.
                if hinted == client {
                    break;
                }
                *hinter = Some(at);
                if hinted == source {
                    route.way = Way::Hint;
                    let since = self.purged.get(&(at, key.to_owned())).copied().unwrap_or_default();
                    route.hint = Some((at, source, since));
                    route.hinters = hinters;
                    route.hint_decides = first_holder.is_none_or(|first| first != source);
                    return route;
                }
                at = hinted;
            }
        }
        route
    }
}

/// `Obtained K from A`: the key and the address.
pub(super) fn obtained(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix("Obtained ")?.split_once(" from ")
}

/// What a search came to, or a purge of what is not held: the key, and where it was, if it was found.
pub(super) fn searched(text: &str) -> Option<(&str, Option<&str>)> {
    match obtained(text) {
        Some((key, address)) => Some((key, Some(address))),
        None => Some((text.strip_prefix("Content ")?.strip_suffix(" is unavailable")?, None)),
    }
}

/// Who listens where, from every `<id, ip, port>` in the tracker's log.
fn addresses(logs: &Logs) -> BTreeMap<String, PeerId> {
    let mut addresses = BTreeMap::new();
    for entry in logs.tracker.iter().flatten() {
        for peer in entry.text.split('<').skip(1) {
            let mut parts = peer.split(['>', ',']).map(str::trim);
            if let (Some(id), Some(ip), Some(port)) = (parts.next(), parts.next(), parts.next())
                && let Ok(id) = id.parse()
            {
                addresses.insert(format!("{ip}#{port}"), id);
            }
        }
    }
    addresses
}
