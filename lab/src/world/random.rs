//! [`Random`]: the one source of chance, made from a seed and handed to whoever draws.

use std::time::Duration;

use rand_mt::Mt64;

/// A generator whose draws depend on its seed alone (MT19937-64).
#[derive(Debug, Clone)]
pub struct Random(Mt64);

impl Random {
    /// Begins at a seed.
    pub fn new(seed: u64) -> Self {
        Self(Mt64::new(seed))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A whole number below `end`, each as likely; 0 if `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // Draws from the uneven rest are drawn again, so that no number is more likely.
        let even = u64::MAX - u64::MAX.checked_rem(end).unwrap_or(0);
        loop {
            let bits = self.bits();
            if bits < even || end == 0 {
                return bits.checked_rem(end).unwrap_or(0);
            }
        }
    }

    /// The place of an element of a list of `len`.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// A number from 0 to just below 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True so often.
    pub fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && self.unit() < share
    }

    /// A duration below `end`.
    pub fn duration(&mut self, end: Duration) -> Duration {
        Duration::from_nanos(self.below(u64::try_from(end.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long until something happens that happens every `mean` on average, at any moment as
    /// likely (an exponential distribution).
    pub fn waiting(&mut self, mean: Duration) -> Duration {
        let times = -(1.0 - self.unit()).ln();
        Duration::try_from_secs_f64(mean.as_secs_f64() * times).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_draws_and_they_stay_in_their_range() {
        let draws = |seed| {
            let mut random = Random::new(seed);
            (0..1000).map(|_| random.below(10)).collect::<Vec<_>>()
        };
        assert_eq!(draws(1), draws(1));
        assert_ne!(draws(1), draws(2));
        for n in 0..10 {
            assert!((60..140).contains(&draws(3).iter().filter(|draw| **draw == n).count()), "{n}");
        }
        let mut random = Random::new(4);
        let mean =
            (0..10_000).map(|_| random.waiting(Duration::from_secs(1)).as_secs_f64()).sum::<f64>() / 1e4;
        assert!((0.95..1.05).contains(&mean), "{mean}");
        assert_eq!(random.below(0), 0);
    }
}
