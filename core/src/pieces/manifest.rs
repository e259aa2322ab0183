//! [`Manifest`]: the hashes of a content's pieces, checked against its root.

use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

use super::geometry::{Geometry, PieceIndex, TooLarge};
use super::hash::Root;

/// The bytes of a piece's hash.
pub const HASH_LEN: usize = 32;

/// The hashes of all pieces of a content. Whoever has one has checked that they merge up to the
/// root: each piece can be checked alone, whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    geometry: Geometry,
    root: Root,
    hashes: Vec<ChainingValue>,
}

/// Why hashes are not the manifest of a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not one hash a piece.
    #[error("{expected} piece hashes were expected, {got} came")]
    Count {
        /// How many pieces there are.
        expected: u32,
        /// How many hashes came.
        got: usize,
    },
    /// They do not merge up to the root.
    #[error("the piece hashes do not belong to the key")]
    Mismatch,
    /// The content is too large.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

impl Manifest {
    /// Checks that `hashes` are those of content of `size` bytes whose hash is `root`.
    ///
    /// The hashes do not prove the size within the last piece; the last piece itself does.
    ///
    /// # Errors
    /// If they are too few or too many, or belong to another content.
    pub fn new(root: Root, size: u64, hashes: Vec<ChainingValue>) -> Result<Self, ManifestError> {
        let manifest = Self::of(size, hashes)?;
        if manifest.root != root {
            return Err(ManifestError::Mismatch);
        }
        Ok(manifest)
    }

    /// The manifest of content whose pieces were hashed here ([`piece_hash`]): its root is what
    /// they merge up to.
    ///
    /// # Errors
    /// If there is not one hash a piece, or the content is too large.
    pub fn of(size: u64, hashes: Vec<ChainingValue>) -> Result<Self, ManifestError> {
        let geometry = Geometry::new(size)?;
        let expected = geometry.count();
        if hashes.len() != expected as usize {
            return Err(ManifestError::Count { expected, got: hashes.len() });
        }
        let merged = match hashes.as_slice() {
            [] => *blake3::hash(b"").as_bytes(),
            [only] => *only,
            [left @ .., _] => {
                // BLAKE3 §2.1: the left subtree has the largest power of two of chunks that
                // leaves something for the right one.
                let split = left_pieces(left.len() + 1);
                let (left, right) = hashes.split_at(split);
                *merge_subtrees_root(&subtree(left), &subtree(right), Mode::Hash).as_bytes()
            }
        };
        Ok(Self { geometry, root: Root::new(merged), hashes })
    }

    /// The same from one run of bytes, [`HASH_LEN`] a piece.
    ///
    /// # Errors
    /// As [`Manifest::new`].
    pub fn from_bytes(root: Root, size: u64, bytes: &[u8]) -> Result<Self, ManifestError> {
        let (hashes, rest) = bytes.as_chunks::<HASH_LEN>();
        if !rest.is_empty() {
            return Err(ManifestError::Mismatch);
        }
        Self::new(root, size, hashes.to_vec())
    }

    /// The content's hash.
    pub fn root(&self) -> Root {
        self.root
    }

    /// How the content is cut.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// The hash of a piece.
    pub fn hash(&self, piece: PieceIndex) -> &ChainingValue {
        &self.hashes[piece.get() as usize]
    }

    /// Whether `bytes` are that piece.
    pub fn verify(&self, piece: PieceIndex, bytes: &[u8]) -> bool {
        bytes.len() == self.geometry.length(piece)
            && piece_hash(&self.geometry, piece, bytes) == *self.hash(piece)
    }

    /// All hashes, one after the other.
    pub fn as_bytes(&self) -> &[u8] {
        self.hashes.as_flattened()
    }
}

/// The hash of a piece: the chaining value of its subtree. A content of one piece has no tree
/// above it, so that the piece's hash is the root.
pub fn piece_hash(geometry: &Geometry, piece: PieceIndex, bytes: &[u8]) -> ChainingValue {
    let mut hasher = blake3::Hasher::new();
    if geometry.count() == 1 {
        return *hasher.update(bytes).finalize().as_bytes();
    }
    hasher.set_input_offset(geometry.range(piece).start);
    hasher.update(bytes);
    hasher.finalize_non_root()
}

/// How many of `count` pieces, 2 or more, lie in the left subtree.
fn left_pieces(count: usize) -> usize {
    count.next_power_of_two() / 2
}

/// The chaining value over a run of pieces. Recursion goes as deep as the logarithm of their
/// number.
fn subtree(hashes: &[ChainingValue]) -> ChainingValue {
    if let [only] = hashes {
        return *only;
    }
    let (left, right) = hashes.split_at(left_pieces(hashes.len()));
    merge_subtrees_non_root(&subtree(left), &subtree(right), Mode::Hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(size: usize) -> Vec<u8> {
        (0..size).map(|i| (i * 31 % 251) as u8).collect()
    }

    fn hashes(bytes: &[u8]) -> Vec<ChainingValue> {
        let geometry = Geometry::new(bytes.len() as u64).unwrap();
        let piece = |p| {
            let range = geometry.range(p);
            piece_hash(&geometry, p, &bytes[range.start as usize..range.end as usize])
        };
        geometry.pieces().map(piece).collect()
    }

    #[test]
    fn piece_hashes_merge_up_to_what_b3sum_prints() {
        for size in [0, 1, 1024, 1025, 65_536, 65_537, 131_072, 200_000, 459_000, 1 << 20] {
            let bytes = content(size);
            let root = Root::new(*blake3::hash(&bytes).as_bytes());
            let manifest = Manifest::new(root, size as u64, hashes(&bytes)).unwrap();
            for piece in manifest.geometry().pieces() {
                let range = manifest.geometry().range(piece);
                let mut bytes = bytes[range.start as usize..range.end as usize].to_vec();
                assert!(manifest.verify(piece, &bytes), "{size}");
                bytes[0] ^= 1;
                assert!(!manifest.verify(piece, &bytes), "one bit of {size}");
                assert!(!manifest.verify(piece, &bytes[1..]), "one byte short of {size}");
            }
            let again = Manifest::from_bytes(root, size as u64, manifest.as_bytes());
            assert_eq!(again, Ok(manifest));
        }
    }

    #[test]
    fn foreign_hashes_are_refused() {
        let bytes = content(300_000);
        let root = Root::new(*blake3::hash(&bytes).as_bytes());
        let good = hashes(&bytes);
        let mut swapped = good.clone();
        swapped.swap(0, 1);
        assert_eq!(Manifest::new(root, 300_000, swapped), Err(ManifestError::Mismatch));
        let short = good[1..].to_vec();
        assert_eq!(Manifest::new(root, 300_000, short), Err(ManifestError::Count { expected: 5, got: 4 }));
        assert!(matches!(Manifest::new(root, u64::MAX, good), Err(ManifestError::TooLarge(_))));
    }
}
