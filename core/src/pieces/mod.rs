//! How content is cut into pieces, and how a piece from a stranger is checked (PROTOCOL.md §7.1).
//!
//! A piece is a power-of-two run of BLAKE3 chunks, so that its hash is a node of the content's own
//! BLAKE3 tree: the pieces' hashes merge up to the root, which is the key.

mod geometry;
mod hash;
mod manifest;
mod set;

pub use geometry::{Geometry, MAX_PIECE, MAX_PIECES, MIN_PIECE, PieceIndex, TooLarge};
pub use hash::{InvalidHash, Md5, Root};
pub use manifest::{HASH_LEN, Manifest, ManifestError, piece_hash};
pub use set::{InvalidBitmap, PieceSet};
