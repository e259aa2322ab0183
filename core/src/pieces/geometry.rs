//! [`Geometry`]: where the pieces of a content begin and end.

use std::ops::Range;

/// The smallest piece size, in bytes. Content that is no larger is one piece.
pub const MIN_PIECE: u64 = 64 << 10;
/// The largest piece size, in bytes: a piece is held in memory until it is checked.
pub const MAX_PIECE: u64 = 4 << 20;
/// Content is cut into at most so many pieces, as long as [`USUAL_LARGEST`] allows. Fewer pieces
/// cost less; with more, a crowd loses less time to the first and to the last of them.
const AIM: u64 = 512;
/// Larger pieces do not stay in a processor's cache while they are received, hashed and written.
const USUAL_LARGEST: u64 = 1 << 20;
/// With more pieces than this, they become larger all the same, up to [`MAX_PIECE`].
const MANY: u64 = 8192;
/// The most pieces of a content, so that its manifest (32 bytes a piece) fits into memory.
pub const MAX_PIECES: u64 = 1 << 20;

/// Content of more bytes than [`MAX_PIECE`] × [`MAX_PIECES`] (4 TiB).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("content has at most {max} bytes, not {0}", max = MAX_PIECE * MAX_PIECES)]
pub struct TooLarge(pub u64);

/// How a content of some size is cut into pieces. A function of the size alone, so that
/// everybody cuts it in the same way (PROTOCOL.md §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    size: u64,
    piece_size: u64,
    count: u32,
}

/// The number of a piece, from 0 on. Only a [`Geometry`] makes one, and it is good for that
/// geometry alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PieceIndex(u32);

impl PieceIndex {
    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Geometry {
    /// The pieces of content of `size` bytes (PROTOCOL.md §7.1): of the smallest power of two, of
    /// at least 64 KiB, that gives at most 512 of them; but at most 1 MiB large as long as that
    /// gives no more than 8,192, and at most 4 MiB in any case.
    ///
    /// # Errors
    /// If that were more than [`MAX_PIECES`].
    pub fn new(size: u64) -> Result<Self, TooLarge> {
        if size > MAX_PIECE * MAX_PIECES {
            return Err(TooLarge(size));
        }
        let at_most = |pieces| size.div_ceil(pieces).next_power_of_two();
        let piece_size = at_most(AIM).min(USUAL_LARGEST.max(at_most(MANY))).clamp(MIN_PIECE, MAX_PIECE);
        let count = u32::try_from(size.div_ceil(piece_size)).map_err(|_| TooLarge(size))?;
        Ok(Self { size, piece_size, count })
    }

    /// The bytes of the content.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The bytes of every piece but the last.
    pub const fn piece_size(&self) -> u64 {
        self.piece_size
    }

    /// How many pieces there are; none if the content is empty.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Piece number `index`, if there is one.
    pub fn piece(&self, index: u32) -> Option<PieceIndex> {
        (index < self.count).then_some(PieceIndex(index))
    }

    /// All pieces in order.
    pub fn pieces(&self) -> impl DoubleEndedIterator<Item = PieceIndex> + use<> {
        (0..self.count).map(PieceIndex)
    }

    /// The bytes of a piece within the content.
    pub fn range(&self, piece: PieceIndex) -> Range<u64> {
        let start = u64::from(piece.0) * self.piece_size;
        start..(start + self.piece_size).min(self.size)
    }

    /// How many bytes a piece has; at most [`MAX_PIECE`].
    pub fn length(&self, piece: PieceIndex) -> usize {
        let range = self.range(piece);
        // At most MAX_PIECE, which every usize holds.
        (range.end - range.start) as usize
    }

    /// The length of each piece, in order.
    pub fn lengths(self) -> impl Iterator<Item = u32> {
        // At most MAX_PIECE.
        self.pieces().map(move |piece| self.length(piece) as u32)
    }

    /// The piece that begins at byte `from` and has `length` bytes, if one does.
    pub fn exactly(&self, from: u64, length: u64) -> Option<PieceIndex> {
        let index = u32::try_from(from / self.piece_size).ok()?;
        let piece = self.piece(index)?;
        (self.range(piece) == (from..from.checked_add(length)?)).then_some(piece)
    }

    /// The pieces that the bytes of `range` lie in.
    pub fn covering(&self, range: Range<u64>) -> impl Iterator<Item = PieceIndex> + use<> {
        let first = u32::try_from(range.start / self.piece_size).unwrap_or(u32::MAX);
        let end = u32::try_from(range.end.div_ceil(self.piece_size)).unwrap_or(u32::MAX);
        (first..end.min(self.count)).map(PieceIndex)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_sized_by_the_content() {
        for (size, piece_size, count) in [
            (0, 64 << 10, 0),
            (1, 64 << 10, 1),
            (64 << 10, 64 << 10, 1),
            ((64 << 10) + 1, 64 << 10, 2),
            (32 << 20, 64 << 10, 512),
            ((32 << 20) + 1, 128 << 10, 257),
            (1 << 30, 1 << 20, 1024),
            (8 << 30, 1 << 20, 8192),
            ((8 << 30) + 1, 2 << 20, 4097),
            (100 << 30, 4 << 20, 25_600),
            (MAX_PIECE * MAX_PIECES, 4 << 20, 1 << 20),
        ] {
            let geometry = Geometry::new(size).unwrap();
            assert_eq!((geometry.piece_size(), geometry.count()), (piece_size, count), "{size}");
        }
        assert_eq!(Geometry::new(u64::MAX), Err(TooLarge(u64::MAX)));
    }

    #[test]
    fn pieces_cover_the_content_and_nothing_else() {
        let geometry = Geometry::new(150_000).unwrap();
        let ranges: Vec<_> = geometry.pieces().map(|p| geometry.range(p)).collect();
        assert_eq!(ranges, [0..65_536, 65_536..131_072, 131_072..150_000]);
        assert_eq!(geometry.length(geometry.piece(2).unwrap()), 18_928);
        assert_eq!(geometry.piece(3), None);
        assert_eq!(geometry.exactly(131_072, 18_928), geometry.piece(2));
        assert_eq!(geometry.exactly(131_072, 18_929), None);
        assert_eq!(geometry.exactly(u64::MAX, 1), None);
        let touched: Vec<_> = geometry.covering(65_535..65_537).map(PieceIndex::get).collect();
        assert_eq!(touched, [0, 1]);
        assert_eq!(geometry.covering(0..u64::MAX).count(), 3);
    }
}
