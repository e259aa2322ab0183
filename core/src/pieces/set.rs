//! [`PieceSet`]: which pieces somebody has.

/// A set of piece numbers below a fixed count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PieceSet {
    words: Vec<u64>,
    count: u32,
    len: u32,
}

/// Bytes that are not the bitmap of so many pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a bitmap of {0} pieces")]
pub struct InvalidBitmap(pub u32);

impl PieceSet {
    /// No piece of `count`.
    pub fn empty(count: u32) -> Self {
        Self { words: vec![0; words_for(count)], count, len: 0 }
    }

    /// All of `count` pieces.
    pub fn full(count: u32) -> Self {
        let mut words = vec![u64::MAX; words_for(count)];
        if let (Some(last), true) = (words.last_mut(), !count.is_multiple_of(64)) {
            *last = (1 << (count % 64)) - 1;
        }
        Self { words, count, len: count }
    }

    /// How many pieces there could be.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// How many there are.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether all are there.
    pub fn is_full(&self) -> bool {
        self.len == self.count
    }

    /// Whether this piece is there; false for a number that is no piece.
    pub fn contains(&self, piece: u32) -> bool {
        piece < self.count && self.words[piece as usize / 64] >> (piece % 64) & 1 == 1
    }

    /// Adds a piece. False if it was there already, or is no piece.
    pub fn insert(&mut self, piece: u32) -> bool {
        if piece >= self.count || self.contains(piece) {
            return false;
        }
        self.words[piece as usize / 64] |= 1 << (piece % 64);
        self.len += 1;
        true
    }

    /// Removes a piece. False if it was not there.
    pub fn remove(&mut self, piece: u32) -> bool {
        if !self.contains(piece) {
            return false;
        }
        self.words[piece as usize / 64] &= !(1 << (piece % 64));
        self.len -= 1;
        true
    }

    /// Adds all of `other`, a set of as many pieces.
    pub fn union(&mut self, other: &Self) {
        assert_eq!(self.count, other.count, "sets of the same content");
        for (word, more) in self.words.iter_mut().zip(&other.words) {
            *word |= more;
        }
        self.len = self.words.iter().map(|word| word.count_ones()).sum();
    }

    /// The pieces that are there, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        bits(self.words.iter().copied())
    }

    /// The pieces that are not there, in order.
    pub fn missing(&self) -> impl Iterator<Item = u32> {
        let count = self.count;
        bits(self.words.iter().map(|word| !word)).take_while(move |piece| *piece < count)
    }

    /// The pieces of `self` that are in neither `a` nor `b`, in order.
    pub fn without<'a>(&'a self, a: &'a Self, b: &'a Self) -> impl Iterator<Item = u32> + 'a {
        let words = self.words.iter().zip(&a.words).zip(&b.words);
        bits(words.map(|((own, a), b)| own & !a & !b))
    }

    /// As on the wire (PROTOCOL.md §7.4): piece i is bit i mod 8 of byte i div 8, the least
    /// significant bit first.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.truncate(bytes_for(self.count));
        bytes
    }

    /// From the form of [`PieceSet::to_bytes`].
    ///
    /// # Errors
    /// If the length is not that of `count` pieces, or a spare bit is set.
    pub fn from_bytes(count: u32, bytes: &[u8]) -> Result<Self, InvalidBitmap> {
        if bytes.len() != bytes_for(count) {
            return Err(InvalidBitmap(count));
        }
        let mut set = Self::empty(count);
        for (word, chunk) in set.words.iter_mut().zip(bytes.chunks(8)) {
            let mut padded = [0; 8];
            padded[..chunk.len()].copy_from_slice(chunk);
            *word = u64::from_le_bytes(padded);
        }
        let spare = count % 64;
        if spare != 0 && set.words.last().is_some_and(|last| last >> spare != 0) {
            return Err(InvalidBitmap(count));
        }
        set.len = set.words.iter().map(|word| word.count_ones()).sum();
        Ok(set)
    }
}

fn words_for(count: u32) -> usize {
    count.div_ceil(64) as usize
}

/// The length of a bitmap on the wire.
fn bytes_for(count: u32) -> usize {
    count.div_ceil(8) as usize
}

fn bits(words: impl Iterator<Item = u64>) -> impl Iterator<Item = u32> {
    words.enumerate().flat_map(|(i, mut word)| {
        std::iter::from_fn(move || {
            let bit = (word != 0).then(|| word.trailing_zeros())?;
            word &= word - 1;
            Some(i as u32 * 64 + bit)
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bitmaps_are_exact() {
        for count in [0, 1, 7, 8, 63, 64, 65, 1024] {
            let full = PieceSet::full(count);
            assert_eq!(full.iter().count() as u32, count);
            assert_eq!(full.missing().count(), 0);
            assert_eq!(PieceSet::from_bytes(count, &full.to_bytes()), Ok(full));
        }
        assert!(PieceSet::from_bytes(9, &[0xff, 0x01]).is_ok());
        assert!(PieceSet::from_bytes(9, &[0xff, 0x02]).is_err(), "a spare bit");
        assert!(PieceSet::from_bytes(9, &[0xff]).is_err(), "too short");
    }

    proptest! {
        #[test]
        fn does_what_a_set_of_numbers_does(
            count in 1u32..200, changes in proptest::collection::vec((any::<bool>(), 0u32..200), 0..300),
        ) {
            let (mut set, mut model) = (PieceSet::empty(count), BTreeSet::new());
            for (add, piece) in changes {
                if add {
                    prop_assert_eq!(set.insert(piece), piece < count && model.insert(piece));
                } else {
                    prop_assert_eq!(set.remove(piece), model.remove(&piece));
                }
            }
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(set.len() as usize, model.len());
            let missing: Vec<_> = (0..count).filter(|p| !model.contains(p)).collect();
            prop_assert_eq!(set.missing().collect::<Vec<_>>(), missing);
            prop_assert_eq!(PieceSet::from_bytes(count, &set.to_bytes()).unwrap(), set);
        }
    }
}
