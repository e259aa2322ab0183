//! How an [`Md5`], the other name of a content, is computed.

pub use askaround_core::pieces::Md5;

/// The md5 of `bytes`.
pub fn md5_of(bytes: &[u8]) -> Md5 {
    Md5::new(fast_md5::digest(bytes))
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
        Md5::new(self.0.finalize())
    }
}

#[cfg(test)]
mod tests {
    use ::md5::Digest as _;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn equals_the_md5_of_another_library(
            bytes in proptest::collection::vec(any::<u8>(), 0..700),
            cuts in proptest::collection::vec(0usize..700, 0..6),
        ) {
            let expected = Md5::new(::md5::Md5::digest(&bytes).into());
            prop_assert_eq!(md5_of(&bytes), expected);
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
