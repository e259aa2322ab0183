//! [`Key`]: the name of a piece of content.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The name of a piece of content: 1 to 128 bytes without white space, commas or control
/// characters, compared byte by byte (PROTOCOL.md §1.5). Cloning shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

/// A text that is not a [`Key`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// No text at all.
    #[error("a key has at least one character")]
    Empty,
    /// More than [`Key::MAX_LEN`] bytes.
    #[error("a key has at most {max} bytes, this one has {0}", max = Key::MAX_LEN)]
    TooLong(usize),
    /// White space, a comma or a control character.
    #[error("a key has no white space, comma or control character, this one has {0:?}")]
    Character(char),
}

impl Key {
    /// The longest key, in bytes.
    pub const MAX_LEN: usize = 128;

    /// Checks the rules.
    ///
    /// # Errors
    /// If `text` is empty, too long, or has a character that a key cannot have.
    pub fn new(text: &str) -> Result<Self, InvalidKey> {
        if text.is_empty() {
            return Err(InvalidKey::Empty);
        }
        if text.len() > Self::MAX_LEN {
            return Err(InvalidKey::TooLong(text.len()));
        }
        match text.chars().find(|c| c.is_whitespace() || c.is_control() || *c == ',') {
            Some(c) => Err(InvalidKey::Character(c)),
            None => Ok(Self(text.into())),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Key {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Key;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Key, E> {
                Key::new(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_checked() {
        assert_eq!(Key::new("2a").unwrap().as_str(), "2a");
        assert_eq!(Key::new(""), Err(InvalidKey::Empty));
        assert_eq!(Key::new(&"x".repeat(129)), Err(InvalidKey::TooLong(129)));
        for c in [' ', ',', '\n', '\0', '\u{7f}', '\u{2003}', '\u{85}'] {
            assert_eq!(Key::new(&format!("a{c}b")), Err(InvalidKey::Character(c)));
        }
        assert_ne!(Key::new("AB").unwrap(), Key::new("ab").unwrap());
    }
}
