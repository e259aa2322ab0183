//! What a [`Part`] is made from, and why it cannot be made, written or finished.

use std::sync::Arc;

use askaround_core::pieces::{Manifest, PieceIndex, PieceSet};
use tokio::sync::oneshot;

use super::Part;
use crate::content::disk::DiskError;
use crate::content::file::Stamp;
use crate::content::md5::Md5;

/// How a file is to be fetched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PartOptions {
    /// Write into the destination itself, which is then there before it is whole.
    pub in_place: bool,
    /// The content is mostly zeros: leave pieces of zeros as holes, and do not set room aside.
    pub sparse: bool,
    /// Whoever may read the file may run it.
    pub executable: bool,
}

/// What content a fetch is to get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its pieces.
    pub manifest: Arc<Manifest>,
    /// The md5 that it is to have, if that is what was asked for, or is known.
    pub md5: Option<Md5>,
}

/// A file that is not what it should be, as it was found, to be repaired where it is.
#[derive(Debug)]
pub struct ToRepair {
    /// Its pieces that are right.
    pub good: PieceSet,
    /// How it looked when they were verified; `None` if there was no file.
    pub stamp: Option<Stamp>,
    /// Is told how it looks when the repair lets go of it before it is whole. Until then nobody else
    /// fetches into it.
    pub left: oneshot::Sender<Stamp>,
}

/// What an earlier fetch to the same destination has left.
#[derive(Debug)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// Something that cannot be gone on with, and why: [`Part::create`] starts anew, over it.
    Useless(&'static str),
    /// Its pieces.
    Part(Box<Part>),
}

/// Why a part cannot be made, written or finished.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// Another fetch is writing it.
    #[error("{}: another fetch is writing this file", .0.display())]
    Busy(std::path::PathBuf),
    /// The bytes are not that piece: the fault of whoever sent them. Nothing was written.
    #[error("these bytes are not piece {}", .0.get())]
    BadPiece(PieceIndex),
    /// It is not the file that was verified.
    #[error("{}: was changed since it was verified; verify it again", .0.display())]
    Changed(std::path::PathBuf),
    /// Not all pieces are there.
    #[error("{missing} pieces are missing")]
    Incomplete {
        /// How many.
        missing: u32,
    },
    /// Whoever asked for it does not want it any more.
    #[error("stopped")]
    Cancelled,
    /// The disk has failed to take some of what was written.
    #[error("{}: the disk could not take all that had come; the same command goes on with the rest", .0.display())]
    NotOnDisk(std::path::PathBuf),
    /// The disk's.
    #[error(transparent)]
    Disk(#[from] DiskError),
}
