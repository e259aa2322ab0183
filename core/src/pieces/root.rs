//! [`Root`]: the BLAKE3 hash of a content.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use crate::key::Key;

/// The BLAKE3 hash of a content: what `b3sum` prints, 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Root([u8; 32]);

/// A text that is not a [`Root`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a BLAKE3 hash is 64 lower-case hexadecimal digits")]
pub struct InvalidRoot;

impl Root {
    /// The root with these bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key that names this content.
    pub fn key(&self) -> Key {
        Key::new(&self.to_string()).expect("64 digits are a key")
    }

    /// The content that `key` names by its BLAKE3 hash, if it is such a key.
    pub fn from_key(key: &Key) -> Option<Self> {
        key.as_str().parse().ok()
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            write!(text, "{byte:02x}")?;
        }
        f.pad(&text)
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Root {
    type Err = InvalidRoot;

    fn from_str(text: &str) -> Result<Self, InvalidRoot> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(InvalidRoot);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

/// Keys are compared as text, so that there is one spelling: lower case.
fn digit(digit: u8) -> Result<u8, InvalidRoot> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(InvalidRoot),
    }
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
        for bad in [&text[1..], &text.to_uppercase(), &text.replace('a', "é"), ""] {
            assert_eq!(bad.parse::<Root>(), Err(InvalidRoot), "{bad}");
        }
    }
}
