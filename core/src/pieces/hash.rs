//! [`Root`] and [`Md5`]: the two hashes that name a content, and their one spelling as text.

use std::fmt;
use std::str::FromStr;

use crate::key::Key;

/// The BLAKE3 hash of a content: what `b3sum` prints, 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Root([u8; 32]);

/// The md5 hash of a content: what `md5sum` prints, 32 hexadecimal digits. It names content, as
/// the assignment has it; it proves nothing against somebody who makes two files of one md5.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Md5([u8; 16]);

/// A text that is not a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {digits} lower-case hexadecimal digits")]
pub struct InvalidHash {
    digits: usize,
}

macro_rules! hash {
    ($name:ident, $len:literal) => {
        impl $name {
            /// The hash with these bytes.
            pub const fn new(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// Its bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// The key that names this content.
            pub fn key(&self) -> Key {
                Key::new(&self.to_string()).expect("hexadecimal digits are a key")
            }

            /// The hash that `key` is, if it is one.
            pub fn from_key(key: &Key) -> Option<Self> {
                key.as_str().parse().ok()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidHash;

            fn from_str(text: &str) -> Result<Self, InvalidHash> {
                unhex(text).map(Self).ok_or(InvalidHash { digits: 2 * $len })
            }
        }
    };
}

hash!(Root, 32);
hash!(Md5, 16);

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits =
        bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    digits.map(char::from).collect()
}

/// Keys are compared as text, so there is one spelling: lower case.
fn unhex<const LEN: usize>(text: &str) -> Option<[u8; LEN]> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, odd) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != LEN || !odd.is_empty() {
        return None;
    }
    let mut bytes = [0; LEN];
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling() {
        let text = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        let root: Root = text.parse().unwrap();
        assert_eq!(root.to_string(), text);
        assert_eq!(root, Root::new(*blake3::hash(b"").as_bytes()));
        assert_eq!(Root::from_key(&root.key()), Some(root));
        for bad in [&text[1..], &text.to_uppercase(), &text.replace('a', "é"), "", &format!("{text}0")] {
            assert!(bad.parse::<Root>().is_err(), "{bad}");
        }
        let md5: Md5 = text[..32].parse().unwrap();
        assert_eq!(Root::from_key(&md5.key()), None);
        assert_eq!(Md5::from_key(&md5.key()), Some(md5));
    }
}
