//! [`RelativePath`]: the path of a file within a collection, which may come from a stranger.

use std::fmt;

/// A path below a folder: components separated by `/`, each a name, none of them `.` or `..`.
/// It is text, so that it means the same on every machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelativePath(String);

/// A text that is not a [`RelativePath`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// No text at all, or an absolute path, or two separators in a row, or one at the end.
    #[error("{0:?} has an empty component, or is absolute")]
    Empty(String),
    /// `.` or `..`.
    #[error("{0:?} has a component `.` or `..`")]
    Dots(String),
    /// A NUL byte, which no file name has.
    #[error("{0:?} has a NUL byte")]
    Nul(String),
    /// More than [`RelativePath::MAX_LEN`] bytes, or a component of more than
    /// [`RelativePath::MAX_COMPONENT`].
    #[error("a path of {0} bytes, or one of its components, is too long")]
    TooLong(usize),
}

impl RelativePath {
    /// The longest path, in bytes: below what systems take, so that a folder above it has room.
    pub const MAX_LEN: usize = 3072;
    /// The longest component, in bytes, as on every common file system.
    pub const MAX_COMPONENT: usize = 255;

    /// Checks the rules.
    ///
    /// # Errors
    /// If `text` is no such path.
    pub fn new(text: &str) -> Result<Self, InvalidPath> {
        if text.len() > Self::MAX_LEN {
            return Err(InvalidPath::TooLong(text.len()));
        }
        if text.contains('\0') {
            return Err(InvalidPath::Nul(text.to_owned()));
        }
        for component in text.split('/') {
            match component {
                "" => return Err(InvalidPath::Empty(text.to_owned())),
                "." | ".." => return Err(InvalidPath::Dots(text.to_owned())),
                _ if component.len() > Self::MAX_COMPONENT => return Err(InvalidPath::TooLong(text.len())),
                _ => {}
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folders above the file, outermost first, and the file's name.
    pub fn split(&self) -> (impl Iterator<Item = &str>, &str) {
        match self.0.rsplit_once('/') {
            Some((folders, name)) => (folders.split('/'), name),
            None => {
                // A split of nothing still gives one component: skip it.
                let mut none = "".split('/');
                none.next();
                (none, &self.0)
            }
        }
    }
}

impl fmt::Display for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn splits_into_folders_and_a_name() {
        let path = RelativePath::new("a/b/é 日本\n.txt").unwrap();
        let (folders, name) = path.split();
        assert_eq!((folders.collect::<Vec<_>>(), name), (vec!["a", "b"], "é 日本\n.txt"));
        let path = RelativePath::new("..a").unwrap();
        let (mut folders, name) = path.split();
        assert_eq!((folders.next(), name), (None, "..a"));
    }

    #[test]
    fn refuses_what_is_no_path_below() {
        for bad in ["", "/", "/etc/passwd", "a//b", "a/", ".", "..", "a/../b", "../a", "a/.", "a\0"] {
            assert!(RelativePath::new(bad).is_err(), "{bad:?}");
        }
        assert!(RelativePath::new(&"x".repeat(255)).is_ok());
        assert!(RelativePath::new(&"x".repeat(256)).is_err());
        assert!(RelativePath::new(&"x/".repeat(1536)).is_err());
        assert!(RelativePath::new(&"x/".repeat(1537)).is_err());
    }

    proptest! {
        #[test]
        fn what_is_taken_stays_below(text in r"[./\\a\x00é]{0,9}") {
            let normal = |c| matches!(c, Component::Normal(_));
            if let Ok(path) = RelativePath::new(&text) {
                prop_assert!(Path::new(path.as_str()).components().all(normal));
                let (folders, name) = path.split();
                let again: Vec<_> = folders.chain([name]).collect();
                prop_assert_eq!(again.join("/"), text);
            }
        }
    }
}
