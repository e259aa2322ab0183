//! [`Md5`]: the other name of a content, and how it is computed.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use askaround_core::Key;

/// The md5 of a content: what `md5sum` prints, 32 hexadecimal digits. It is a name, not a proof:
/// anybody can make two contents with one md5.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Md5([u8; 16]);

/// A text that is not an [`Md5`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an md5 is 32 lower-case hexadecimal digits")]
pub struct InvalidMd5;

impl Md5 {
    /// The md5 with these bytes.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The md5 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(fast_md5::digest(bytes))
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The key that names this content.
    pub fn key(&self) -> Key {
        Key::new(&self.to_string()).expect("32 digits are a key")
    }

    /// The content that `key` names by its md5, if it is such a key.
    pub fn from_key(key: &Key) -> Option<Self> {
        key.as_str().parse().ok()
    }
}

impl fmt::Display for Md5 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(32);
        for byte in self.0 {
            write!(text, "{byte:02x}")?;
        }
        f.pad(&text)
    }
}

impl fmt::Debug for Md5 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Md5 {
    type Err = InvalidMd5;

    /// Keys are compared as text, so that there is one spelling: lower case.
    fn from_str(text: &str) -> Result<Self, InvalidMd5> {
        let lower = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 32 || !text.bytes().all(lower) {
            return Err(InvalidMd5);
        }
        let value = u128::from_str_radix(text, 16).map_err(|_| InvalidMd5)?;
        Ok(Self(value.to_be_bytes()))
    }
}

/// An md5 under way.
pub(super) struct Hasher(fast_md5::Md5);

impl Hasher {
    pub(super) fn new() -> Self {
        Self(fast_md5::Md5::new())
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn finish(self) -> Md5 {
        Md5(self.0.finalize())
    }
}

#[cfg(test)]
mod tests {
    use ::md5::Digest as _;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_spelling() {
        let text = "d41d8cd98f00b204e9800998ecf8427e";
        let md5: Md5 = text.parse().unwrap();
        assert_eq!(md5, Md5::of(b""));
        assert_eq!(md5.to_string(), text);
        assert_eq!(Md5::from_key(&md5.key()), Some(md5));
        for bad in [&text[1..], &text.to_uppercase(), &format!("+{}", &text[1..]), ""] {
            assert_eq!(bad.parse::<Md5>(), Err(InvalidMd5), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn equals_the_md5_of_another_library(
            bytes in proptest::collection::vec(any::<u8>(), 0..700),
            cuts in proptest::collection::vec(0usize..700, 0..6),
        ) {
            let expected = Md5::new(::md5::Md5::digest(&bytes).into());
            prop_assert_eq!(Md5::of(&bytes), expected);
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut hasher = Hasher::new();
            for pair in cuts.windows(2) {
                hasher.update(&bytes[pair[0]..pair[1]]);
            }
            prop_assert_eq!(hasher.finish(), expected);
        }
    }
}
