//! [`Entry`]: a content at one of its places, and in which condition it is there.

use std::path::PathBuf;

use askaround_core::Key;
use askaround_core::pieces::Root;
use serde::{Deserialize, Serialize};

use crate::content::boot::BootId;
use crate::content::file::Stamp;
use crate::content::md5::Md5;

/// A content at one of its places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its BLAKE3 hash.
    pub root: Root,
    /// Its bytes.
    pub size: u64,
    /// Its md5, if that was computed.
    pub md5: Option<Md5>,
    /// This file of it. Of a collection's list, which has none: the folder that was added or fetched.
    pub path: PathBuf,
    /// How it came here.
    pub kept: Kept,
    /// Whether it was added or fetched by itself, and not only as a file of a collection.
    pub own: bool,
    /// Whether at least a piece of it is a hole.
    pub sparse: bool,
    /// Whether its file may be run.
    pub executable: bool,
    /// How its file looked when it was verified.
    pub stamp: Stamp,
    /// In which run of the machine that was, and on which mount of its disk.
    pub boot: Option<BootId>,
    /// Whether it is surely on the disk, and not only in the system's memory.
    pub synced: bool,
    /// Whether it turned out to be wrong, while it looks as it is noted here, or but for its number.
    pub damaged: bool,
}

/// How a content came here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kept {
    /// The user's file, used where it lies.
    Reference,
    /// A copy in the peer's folder, which goes when the entry goes.
    Copy,
    /// Fetched from others to where the user wanted it.
    Fetched,
    /// The list of a collection, kept in the catalogue itself.
    List,
}

/// Whether a content can be served; what is best comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// As it was verified.
    Good,
    /// Not known to have been on the disk when the machine went down, or with another number than it
    /// had: it has to be verified.
    Unchecked,
    /// Found to be wrong, though nobody seems to have written to its file: it has to be repaired.
    Damaged,
    /// Its file was changed since: it has to be verified, or added again.
    Changed,
    /// Its file cannot be read by this user.
    Unreadable,
    /// Its file is gone.
    Missing,
}

impl Entry {
    /// The names by which others find it. A folder goes by its BLAKE3 hash only: no other program knows
    /// what its list's md5 is for.
    pub fn keys(&self) -> impl Iterator<Item = Key> + use<> {
        [self.root.key()].into_iter().chain(self.md5_key())
    }

    /// The md5 that is one of them.
    pub fn md5_key(&self) -> Option<Key> {
        self.md5.filter(|_| self.kept != Kept::List).map(|md5| md5.key())
    }

    /// Whether its file, which looks so, can be served.
    pub(super) fn condition(&self, now: Stamp) -> Condition {
        if now != self.stamp {
            let is_new_number = self.is_renumbered(now) && !self.damaged;
            let is_unchecked = is_new_number || self.is_rolled_back(now);
            return if is_unchecked { Condition::Unchecked } else { Condition::Changed };
        }
        match (self.damaged, self.is_unsure()) {
            (true, _) => Condition::Damaged,
            (false, true) => Condition::Unchecked,
            (false, false) => Condition::Good,
        }
    }

    /// Whether the file, which looks so, has another number and looks as it did otherwise: a FAT gives
    /// new numbers whenever it is mounted. It may be another file.
    pub(super) fn is_renumbered(&self, now: Stamp) -> bool {
        now.inode != self.stamp.inode && Stamp { inode: self.stamp.inode, ..now } == self.stamp
    }

    /// Whether the machine may have gone down, or the disk been pulled, before it was on that.
    fn is_unsure(&self) -> bool {
        !self.synced && self.boot != Some(BootId::at(&self.path))
    }

    /// Whether the file, which looks so, may be what the disk had of it when the machine went down:
    /// its length and the time of its last change may be older than what is noted. Whoever changed
    /// it since has made it younger.
    pub(super) fn is_rolled_back(&self, now: Stamp) -> bool {
        self.is_unsure() && now.inode == self.stamp.inode && now.mtime_ns <= self.stamp.mtime_ns
    }
}
