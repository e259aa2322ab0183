//! [`OriginatorList`]: whom a peer got each key from, ever.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::id::{Contact, PeerId};
use crate::key::Key;

/// Whom each key was obtained from (PROTOCOL.md §3). Entries are replaced, never removed.
#[derive(Debug, Clone, Default)]
pub struct OriginatorList {
    by_key: BTreeMap<Key, Contact>,
    /// Each peer that stands in `by_key`, with how many keys, and its newest address.
    peers: BTreeMap<PeerId, Known>,
}

#[derive(Debug, Clone)]
struct Known {
    entries: usize,
    ip: IpAddr,
    port: u16,
}

impl OriginatorList {
    /// Notes that `key` came from `sender`, in place of whoever was noted before.
    pub fn record(&mut self, key: Key, sender: Contact) {
        let known =
            self.peers.entry(sender.id).or_insert(Known { entries: 0, ip: sender.ip, port: sender.port });
        known.entries += 1;
        (known.ip, known.port) = (sender.ip, sender.port);
        if let Some(before) = self.by_key.insert(key, sender) {
            self.forget_entry(before.id);
        }
    }

    fn forget_entry(&mut self, id: PeerId) {
        if let Some(known) = self.peers.get_mut(&id) {
            known.entries -= 1;
            if known.entries == 0 {
                self.peers.remove(&id);
            }
        }
    }

    /// Whom `key` came from last.
    pub fn sender_of(&self, key: &Key) -> Option<Contact> {
        self.by_key.get(key).copied()
    }

    /// The unique peers below id `before` (all, if `None`), in decreasing id.
    pub fn peers(&self, before: Option<PeerId>) -> impl Iterator<Item = Contact> {
        let end = match before {
            Some(id) => std::ops::Bound::Excluded(id),
            None => std::ops::Bound::Unbounded,
        };
        let range = self.peers.range((std::ops::Bound::Unbounded, end));
        range.rev().map(|(id, known)| Contact { id: *id, ip: known.ip, port: known.port })
    }

    /// Each key and whom it came from, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, Contact)> {
        self.by_key.iter().map(|(key, sender)| (key, *sender))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(id: u64, port: u16) -> Contact {
        Contact { id: PeerId::new(id).unwrap(), ip: [127, 0, 0, 1].into(), port }
    }

    #[test]
    fn lists_each_peer_once_in_decreasing_id_with_its_newest_address() {
        let mut list = OriginatorList::default();
        let key = |text| Key::new(text).unwrap();
        list.record(key("a"), contact(2, 20));
        list.record(key("b"), contact(5, 50));
        list.record(key("c"), contact(2, 21));
        assert_eq!(list.peers(None).collect::<Vec<_>>(), [contact(5, 50), contact(2, 21)]);
        assert_eq!(list.peers(PeerId::new(5).ok()).collect::<Vec<_>>(), [contact(2, 21)]);
        assert_eq!(list.sender_of(&key("a")), Some(contact(2, 20)));

        list.record(key("b"), contact(1, 10));
        assert_eq!(list.peers(None).collect::<Vec<_>>(), [contact(2, 21), contact(1, 10)]);
    }
}
