//! [`Registry`]: who is online. The tracker's one piece of knowledge.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Bound;
use std::time::Duration;

use crate::id::{Contact, PeerId};
use crate::time::Instant;

/// Limits of a registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RegistryConfig {
    /// How long a registration lasts unless renewed; for ever, if `None` (lab runs).
    pub lease: Option<Duration>,
    /// How long a peer that is no longer registered can still be looked up by id.
    pub forget_after: Duration,
    /// The most entries, registered or not.
    pub max_entries: usize,
    /// The most entries from one IP address.
    pub max_entries_per_ip: usize,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            lease: Some(Duration::from_secs(120)),
            forget_after: Duration::from_secs(24 * 3600),
            max_entries: 2_000_000,
            max_entries_per_ip: 2_000_000,
        }
    }
}

/// Why a registration was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Another peer is registered under this id.
    IdTaken,
    /// There is no room.
    Full,
    /// Nobody of this id was ever registered.
    UnknownPeer,
}

/// Everybody who is or was registered, by id (PROTOCOL.md §2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Registry {
    config: RegistryConfig,
    entries: BTreeMap<PeerId, Entry>,
    per_ip: BTreeMap<IpAddr, usize>,
    /// Where the next call of [`Registry::sweep`] goes on.
    sweep_from: Option<PeerId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Entry {
    ip: IpAddr,
    port: u16,
    state: State,
    token: Option<Box<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum State {
    /// Until then; for ever, if `None`.
    Registered {
        until: Option<Instant>,
    },
    Gone {
        since: Instant,
    },
}

impl Entry {
    fn is_registered(&self, now: Instant) -> bool {
        match self.state {
            State::Registered { until } => until.is_none_or(|until| now < until),
            State::Gone { .. } => false,
        }
    }

    fn contact(&self, id: PeerId) -> Contact {
        Contact { id, ip: self.ip, port: self.port }
    }
}

/// A page visits at most so many entries that are not registered, so that a list costs the
/// same however many have left (PROTOCOL.md §1.6 allows short pages).
const MAX_SKIPPED: usize = 4096;

impl Registry {
    /// An empty registry.
    pub fn new(config: RegistryConfig) -> Self {
        Self { config, entries: BTreeMap::new(), per_ip: BTreeMap::new(), sweep_from: None }
    }

    /// How long a registration lasts.
    pub fn lease(&self) -> Option<Duration> {
        self.config.lease
    }

    /// How many entries there are, registered or not.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody ever registered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Registers a peer or renews its registration (PROTOCOL.md §2.1).
    ///
    /// # Errors
    /// [`Refusal::IdTaken`] or [`Refusal::Full`]; then nothing changed.
    pub fn register(&mut self, now: Instant, peer: Contact, token: Option<&str>) -> Result<(), Refusal> {
        let until = self.config.lease.map(|lease| now + lease);
        if let Some(entry) = self.entries.get_mut(&peer.id) {
            let moved = (entry.ip, entry.port) != (peer.ip, peer.port);
            let proven = entry.token.is_some() && entry.token.as_deref() == token;
            let protected = moved || entry.token.is_some();
            if entry.is_registered(now) && protected && !proven {
                return Err(Refusal::IdTaken);
            }
            if entry.ip == peer.ip {
                entry.port = peer.port;
                entry.state = State::Registered { until };
                entry.token = token.map(Into::into);
                return Ok(());
            }
        }
        let from_here = self.per_ip.get(&peer.ip).copied().unwrap_or(0);
        let is_new = !self.entries.contains_key(&peer.id);
        if from_here >= self.config.max_entries_per_ip || (is_new && self.len() >= self.config.max_entries) {
            return Err(Refusal::Full);
        }
        self.remove(peer.id);
        *self.per_ip.entry(peer.ip).or_default() += 1;
        let token = token.map(Into::into);
        let state = State::Registered { until };
        self.entries.insert(peer.id, Entry { ip: peer.ip, port: peer.port, state, token });
        Ok(())
    }

    /// Takes a peer off the list; its entry stays for look-ups (PROTOCOL.md §2.2).
    ///
    /// # Errors
    /// [`Refusal::UnknownPeer`], or [`Refusal::IdTaken`] if the token does not match.
    pub fn unregister(&mut self, now: Instant, id: PeerId, token: Option<&str>) -> Result<(), Refusal> {
        let entry = self.entries.get_mut(&id).ok_or(Refusal::UnknownPeer)?;
        if entry.is_registered(now) {
            if entry.token.is_some() && entry.token.as_deref() != token {
                return Err(Refusal::IdTaken);
            }
            entry.state = State::Gone { since: now };
        }
        Ok(())
    }

    /// Removes an entry altogether.
    pub fn remove(&mut self, id: PeerId) {
        let Some(entry) = self.entries.remove(&id) else { return };
        if let Some(count) = self.per_ip.get_mut(&entry.ip) {
            *count -= 1;
            if *count == 0 {
                self.per_ip.remove(&entry.ip);
            }
        }
    }

    /// Where a peer is, registered or not (PROTOCOL.md §2.4).
    pub fn lookup(&self, id: PeerId) -> Option<Contact> {
        self.entries.get(&id).map(|entry| entry.contact(id))
    }

    /// Registered peers with an id above `after`, in increasing id, and where to go on, if
    /// there is more (PROTOCOL.md §2.3).
    pub fn list(&self, now: Instant, after: Option<u64>, limit: usize) -> (Vec<Contact>, Option<u64>) {
        let mut peers = Vec::with_capacity(limit.min(self.len()));
        let mut last = after;
        let mut skipped = 0;
        for (id, entry) in self.entries.range((above(after), Bound::Unbounded)) {
            let registered = entry.is_registered(now);
            if (registered && peers.len() == limit) || skipped == MAX_SKIPPED {
                return (peers, last);
            }
            if registered {
                peers.push(entry.contact(*id));
            } else {
                skipped += 1;
            }
            last = Some(id.as_u64());
        }
        (peers, None)
    }

    /// At most `count` registered peers that follow `id` on the ring of ids, itself excepted
    /// (the `list` of PROTOCOL.md §2.1).
    pub fn followers(&self, now: Instant, id: PeerId, count: usize) -> Vec<Contact> {
        let after = self.entries.range((Bound::Excluded(id), Bound::Unbounded));
        let before = self.entries.range(..id);
        let visited = after.chain(before).take(count + MAX_SKIPPED);
        let registered = visited.filter(|(_, entry)| entry.is_registered(now));
        let mut followers = Vec::with_capacity(count.min(self.len()));
        followers.extend(registered.take(count).map(|(id, entry)| entry.contact(*id)));
        followers
    }

    /// Looks at up to `budget` entries, going round: registrations that ran out become gone,
    /// and who has long been gone is forgotten.
    pub fn sweep(&mut self, now: Instant, budget: usize) {
        let start = self.sweep_from.map_or(Bound::Unbounded, Bound::Excluded);
        let mut forgotten = Vec::new();
        let mut seen = 0;
        self.sweep_from = None;
        for (id, entry) in self.entries.range_mut((start, Bound::Unbounded)) {
            if seen == budget {
                break;
            }
            seen += 1;
            self.sweep_from = Some(*id);
            match entry.state {
                State::Registered { until: Some(until) } if until <= now => {
                    entry.state = State::Gone { since: until };
                }
                State::Gone { since } if now.since(since) >= self.config.forget_after => {
                    forgotten.push(*id);
                }
                _ => {}
            }
        }
        if seen < budget {
            self.sweep_from = None;
        }
        for id in forgotten {
            self.remove(id);
        }
    }
}

fn above(after: Option<u64>) -> Bound<PeerId> {
    match after.map(PeerId::new) {
        None => Bound::Unbounded,
        Some(Ok(id)) => Bound::Excluded(id),
        Some(Err(_)) if after == Some(0) => Bound::Unbounded,
        Some(Err(_)) => Bound::Excluded(PeerId::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(id: u64, port: u16) -> Contact {
        Contact { id: PeerId::new(id).unwrap(), ip: [127, 0, 0, 1].into(), port }
    }

    fn registry(n: u64) -> Registry {
        let mut registry = Registry::new(RegistryConfig::default());
        for id in 1..=n {
            registry.register(Instant::ZERO, contact(id, 1000), None).unwrap();
        }
        registry
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn pages_are_whole_and_in_order() {
        let mut registry = registry(5);
        let third = PeerId::new(3).unwrap();
        registry.unregister(at(1), third, None).unwrap();
        let ids = |peers: Vec<Contact>| peers.iter().map(|c| c.id.as_u64()).collect::<Vec<_>>();
        let (first, next) = registry.list(at(1), None, 2);
        assert_eq!((ids(first), next), (vec![1, 2], Some(3)));
        let (second, next) = registry.list(at(1), next, 2);
        assert_eq!((ids(second), next), (vec![4, 5], None));
        assert_eq!(registry.lookup(third), Some(contact(3, 1000)));
        assert_eq!(ids(registry.followers(at(1), PeerId::new(4).unwrap(), 9)), [5, 1, 2]);
        assert_eq!(registry.list(at(1), Some(u64::MAX), 2), (vec![], None));
    }

    #[test]
    fn a_registration_ends_with_its_lease_and_is_forgotten_later() {
        let mut registry = registry(1);
        assert_eq!(registry.list(at(119), None, 9).0.len(), 1);
        assert_eq!(registry.list(at(120), None, 9).0.len(), 0);
        registry.sweep(at(121), 10);
        assert_eq!(registry.len(), 1);
        registry.sweep(at(121 + 24 * 3600), 10);
        assert_eq!(registry.len(), 0);
    }

    #[test]
    fn nobody_takes_over_a_registered_id_without_its_token() {
        let mut registry = registry(0);
        registry.register(at(0), contact(1, 10), None).unwrap();
        assert_eq!(registry.register(at(1), contact(1, 11), None), Err(Refusal::IdTaken));
        assert_eq!(registry.register(at(1), contact(1, 10), Some("t")), Ok(()));
        assert_eq!(registry.register(at(2), contact(1, 11), Some("x")), Err(Refusal::IdTaken));
        assert_eq!(registry.register(at(2), contact(1, 10), None), Err(Refusal::IdTaken));
        assert_eq!(registry.unregister(at(2), contact(1, 0).id, None), Err(Refusal::IdTaken));
        assert_eq!(registry.register(at(2), contact(1, 11), Some("t")), Ok(()));
        assert_eq!(registry.register(at(200), contact(1, 12), None), Ok(()), "the lease is over");
    }

    #[test]
    fn an_address_can_only_hold_so_many_entries() {
        let config = RegistryConfig { max_entries: 3, max_entries_per_ip: 2, ..RegistryConfig::default() };
        let mut registry = Registry::new(config);
        registry.register(at(0), contact(1, 1), None).unwrap();
        registry.register(at(0), contact(2, 1), None).unwrap();
        assert_eq!(registry.register(at(0), contact(3, 1), None), Err(Refusal::Full));
        let elsewhere = |id| Contact { ip: [10, 0, 0, 1].into(), ..contact(id, 1) };
        registry.register(at(0), elsewhere(3), None).unwrap();
        assert_eq!(registry.register(at(0), elsewhere(4), None), Err(Refusal::Full));
        registry.remove(contact(1, 1).id);
        registry.register(at(0), elsewhere(4), None).unwrap();
    }
}
