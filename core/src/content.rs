//! [`ContentList`]: what a peer holds, in the order in which it came.

use std::collections::BTreeMap;

use crate::key::Key;

/// The keys that a peer holds, in the order in which they came (PROTOCOL.md §3).
///
/// Each key has a serial number that is never used again, so that a reader who pages through
/// the list misses nothing and sees nothing twice while keys come and go.
#[derive(Debug, Clone, Default)]
pub struct ContentList {
    in_order: BTreeMap<u64, Key>,
    serials: BTreeMap<Key, u64>,
    last_serial: u64,
}

impl ContentList {
    /// Adds `key` at the end. False if it was there already; then nothing changes.
    pub fn add(&mut self, key: Key) -> bool {
        if self.serials.contains_key(&key) {
            return false;
        }
        self.last_serial += 1;
        self.serials.insert(key.clone(), self.last_serial);
        self.in_order.insert(self.last_serial, key);
        true
    }

    /// Removes `key`. False if it was not there.
    pub fn purge(&mut self, key: &Key) -> bool {
        match self.serials.remove(key) {
            Some(serial) => self.in_order.remove(&serial).is_some(),
            None => false,
        }
    }

    /// Whether `key` is held.
    pub fn contains(&self, key: &Key) -> bool {
        self.serials.contains_key(key)
    }

    /// How many keys are held.
    pub fn len(&self) -> usize {
        self.in_order.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.in_order.is_empty()
    }

    /// The keys in order.
    pub fn iter(&self) -> impl Iterator<Item = &Key> {
        self.in_order.values()
    }

    /// At most `limit` keys whose serial number is above `after`, with their serial numbers.
    pub fn page(&self, after: u64, limit: usize) -> impl Iterator<Item = (u64, &Key)> {
        let range = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
        self.in_order.range(range).take(limit).map(|(serial, key)| (*serial, key))
    }

    /// Whether there is a key with a serial number above `after`.
    pub fn has_after(&self, after: u64) -> bool {
        self.page(after, 1).next().is_some()
    }
}

impl FromIterator<Key> for ContentList {
    /// Keys that come twice are added once.
    fn from_iter<I: IntoIterator<Item = Key>>(keys: I) -> Self {
        let mut list = Self::default();
        for key in keys {
            list.add(key);
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    #[test]
    fn keeps_the_order_in_which_keys_came() {
        let mut list: ContentList = ["b", "a", "b", "c"].map(key).into_iter().collect();
        assert!(list.purge(&key("b")));
        assert!(!list.purge(&key("b")));
        assert!(list.add(key("b")));
        assert!(!list.add(key("a")));
        assert_eq!(list.iter().map(Key::as_str).collect::<Vec<_>>(), ["a", "c", "b"]);
    }

    #[test]
    fn paging_survives_changes() {
        let mut list: ContentList = ["a", "b", "c", "d"].map(key).into_iter().collect();
        let first: Vec<_> = list.page(0, 2).map(|(serial, key)| (serial, key.clone())).collect();
        list.purge(&key("a"));
        list.add(key("e"));
        let rest: Vec<_> = list.page(first[1].0, 9).map(|(_, key)| key.as_str()).collect();
        assert_eq!(rest, ["c", "d", "e"]);
    }
}
