//! [`Delivery::whole`]: keys by their first digits, as `ls` prints them.

use std::collections::BTreeSet;

use askaround_core::key::Key;
use askaround_core::pieces::Root;

use super::Delivery;
use crate::content::Md5;
use crate::store::StoreError;

/// The fewest digits that stand for a key: fewer are often the start of several, and easily of
/// another one than was meant.
pub const MIN_DIGITS: usize = 8;
/// The digits of the longest key of content.
const MAX_DIGITS: usize = 64;

/// Why the first digits of a key do not stand for one.
#[derive(Debug, thiserror::Error)]
pub enum PrefixError {
    /// No key begins so.
    #[error("nothing here has a key that begins with {0}")]
    NotHere(Key),
    /// Several do.
    #[error(
        "several keys that are here begin with {prefix}, {first} and {second} among them: give more digits"
    )]
    Ambiguous {
        /// What was given.
        prefix: Key,
        /// One of them.
        first: Key,
        /// Another.
        second: Key,
    },
    /// The catalogue cannot be read.
    #[error(transparent)]
    State(#[from] StoreError),
    /// A task of ours panicked.
    #[error("a bug of ours: {0}")]
    Bug(#[from] tokio::task::JoinError),
}

/// Whether `key` may be the first digits of a key of content, and is not a whole one: a text of 32
/// hexadecimal digits is an md5, never the start of a BLAKE3 hash.
pub fn is_prefix(key: &Key) -> bool {
    let text = key.as_str();
    (MIN_DIGITS..MAX_DIGITS).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        && Md5::from_key(key).is_none()
        && Root::from_key(key).is_none()
}

impl Delivery {
    /// The whole key of content that is here, or of a fetch that `why` knows, from its first
    /// digits. A key that [`is_prefix`] is not true of is given back as it is.
    ///
    /// # Errors
    /// If no key begins so, several do, or the catalogue cannot be read.
    pub async fn whole(&self, key: Key) -> Result<Key, PrefixError> {
        if !is_prefix(&key) {
            return Ok(key);
        }
        let catalogue = self.catalogue().clone();
        let mut keys: BTreeSet<_> = self.why(None).into_iter().map(|fetch| fetch.key).collect();
        // A catalogue can be long, and reading it blocks.
        let work = move || {
            for entry in catalogue.entries() {
                keys.extend(entry?.keys().filter(|known| begins(known, &key)));
            }
            unique(key, &keys)
        };
        tokio::task::spawn_blocking(work).await?
    }
}

/// Whether these are the first digits of a key.
fn begins(key: &Key, prefix: &Key) -> bool {
    let begins = key.as_str().as_bytes().get(..prefix.as_str().len());
    begins.is_some_and(|begins| begins.eq_ignore_ascii_case(prefix.as_str().as_bytes()))
}

/// The only one of `keys` that begins with `prefix`.
fn unique(prefix: Key, keys: &BTreeSet<Key>) -> Result<Key, PrefixError> {
    let mut found = keys.iter().filter(|key| begins(key, &prefix));
    match (found.next(), found.next()) {
        (None, _) => Err(PrefixError::NotHere(prefix)),
        (Some(only), None) => Ok(only.clone()),
        (Some(first), Some(second)) => {
            Err(PrefixError::Ambiguous { prefix, first: first.clone(), second: second.clone() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    #[test]
    fn the_first_digits_stand_for_one_key_or_none() {
        let whole = |end: &str| key(&format!("{}{end}", "0a".repeat(30)));
        let keys = BTreeSet::from([whole("aaaa"), whole("bbbb"), key(&"1b".repeat(16))]);
        assert_eq!(unique(key("1B1b1b1b"), &keys).unwrap(), key(&"1b".repeat(16)));
        assert_eq!(unique(whole("b"), &keys).unwrap(), whole("bbbb"));
        assert!(matches!(unique(whole(""), &keys), Err(PrefixError::Ambiguous { .. })));
        assert!(matches!(unique(key("0b0a0a0a"), &keys), Err(PrefixError::NotHere(_))));
        // Not in the middle.
        assert!(matches!(unique(key("a0a0a0a0"), &keys), Err(PrefixError::NotHere(_))));
    }

    #[test]
    fn a_whole_key_and_other_texts_are_no_first_digits() {
        for (text, expected) in [
            ("0123abc".to_owned(), false),
            ("0123abcd".to_owned(), true),
            ("0123abcg".to_owned(), false),
            ("0".repeat(32), false),
            ("0".repeat(33), true),
            ("0".repeat(63), true),
            ("0".repeat(64), false),
        ] {
            assert_eq!(is_prefix(&key(&text)), expected, "{text}");
        }
    }
}
