//! What is said about content and its bytes (PROTOCOL.md §7).

use crate::id::PeerId;
use crate::key::Key;
use crate::pieces::{Geometry, HASH_LEN, MAX_PIECE, Md5, PieceIndex, Root};

/// The most bytes that one `G` asks for: a piece of the largest size.
pub const MAX_BYTES: u64 = MAX_PIECE;
/// The most piece hashes in one answer to `H`.
pub const MAX_HASHES: u32 = 32_768;
/// The longest bitmap, in bytes: as many pieces as the files of a collection have at most.
pub const MAX_BITMAP: u32 = (1 << 22) / 8;
/// The most pieces in one `N`.
pub const MAX_NEWS: usize = 1000;

/// Bytes of a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByteRange {
    /// Of which content.
    pub key: Key,
    /// The first byte.
    pub from: u64,
    /// How many bytes, 1 to [`MAX_BYTES`].
    pub length: u64,
}

impl ByteRange {
    /// A piece of the content with this key, which is cut like this.
    pub fn of_piece(key: Key, geometry: Geometry, piece: PieceIndex) -> Self {
        let range = geometry.range(piece);
        Self { key, from: range.start, length: range.end - range.start }
    }
}

/// `I` (§7.4): what have you got, and tell me what you get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interest {
    /// Of which content.
    pub key: Key,
    /// Whether it is about the files of a collection instead of its list (§7.6).
    pub files: bool,
    /// Who asks, if it fetches the content too.
    pub id: Option<PeerId>,
    /// Where it listens, at the address that the connection comes from.
    pub port: Option<u16>,
}

/// `N` (§7.4): these pieces I have now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// Of which content.
    pub key: Key,
    /// Whether it is about the files of a collection instead of its list (§7.6).
    pub files: bool,
    /// Their numbers, at most [`MAX_NEWS`].
    pub pieces: Vec<u32>,
}

/// What a content is (§7.2). Nothing in it is proven until the pieces are verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its BLAKE3 hash.
    pub root: Root,
    /// Its bytes.
    pub size: u64,
    /// Its md5, where the sender knows it.
    pub md5: Option<Md5>,
    /// Whether it is the list of a folder (§7.6).
    pub collection: bool,
    /// Whether a good part of it is zeros that need no room on a disk.
    pub sparse: bool,
}

/// Which pieces somebody has (§7.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// All.
    All,
    /// Those of a bitmap of so many bytes, which follow.
    Bitmap(u32),
}

/// An answer that tells how many raw bytes follow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawAnswer {
    /// To `H`: so many piece hashes.
    Hashes(u32),
    /// To `I`.
    Pieces(Availability),
    /// To `G`: these bytes.
    Bytes(ByteRange),
}

impl RawAnswer {
    /// How many raw bytes follow the line.
    pub fn raw_len(&self) -> u64 {
        match self {
            Self::Hashes(count) => u64::from(*count) * HASH_LEN as u64,
            Self::Pieces(Availability::All) => 0,
            Self::Pieces(Availability::Bitmap(bytes)) => u64::from(*bytes),
            Self::Bytes(range) => range.length,
        }
    }
}
