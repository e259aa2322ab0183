//! [`Lending`]: who fills which memory of the pool, and who has to give it back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::units;

/// When a source is quick, and when it is too slow. Both are about the time that a piece takes, so
/// a small one may come slower than a large one.
#[derive(Debug, Clone)]
pub struct Terms {
    /// A source is quick if its last piece took no longer.
    pub quick: Duration,
    /// Nobody is too slow before it has been read from for so long.
    pub grace: Duration,
    /// A source is too slow if its piece, as it comes, will have taken longer.
    pub most: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self { quick: Duration::from_secs(2), grace: Duration::from_secs(10), most: Duration::from_secs(60) }
    }
}

/// A part of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// For everybody, in turn.
    Shared,
    /// For sources that have been quick.
    Reserve,
}

/// The buffers that are being filled.
#[derive(Debug, Default)]
pub(super) struct Lending {
    by_borrower: BTreeMap<u64, Filling>,
    /// When memory of a part was recalled last.
    recalled: BTreeMap<Part, Instant>,
}

/// A buffer that is being filled.
#[derive(Debug)]
struct Filling {
    part: Part,
    length: usize,
    filled: usize,
    /// How long its source was read from, until `since`.
    before: Duration,
    /// Since when it is being read from, if it is.
    since: Option<Instant>,
    recalled: bool,
    called: Arc<Notify>,
}

impl Filling {
    fn took(&self, now: Instant) -> Duration {
        self.before + self.since.map_or(Duration::ZERO, |since| now - since)
    }

    fn is_too_slow(&self, terms: &Terms, now: Instant) -> bool {
        let took = self.took(now);
        let all = took.as_nanos() * self.length as u128;
        self.filled < self.length && took >= terms.grace && all > terms.most.as_nanos() * self.filled as u128
    }

    /// How long the rest will take, in nanoseconds.
    fn to_come(&self, now: Instant) -> u128 {
        let rest = (self.length - self.filled) as u128;
        (self.took(now).as_nanos() * rest).checked_div(self.filled as u128).unwrap_or(u128::MAX)
    }
}

impl Lending {
    /// A borrower has a buffer of so many bytes to fill, and is told through `called` if it has to
    /// give it back.
    pub(super) fn lent(&mut self, borrower: u64, part: Part, length: usize, called: Arc<Notify>) {
        let (before, since) = (Duration::ZERO, None);
        let filling = Filling { part, length, filled: 0, before, since, recalled: false, called };
        self.by_borrower.insert(borrower, filling);
    }

    /// So much of it is filled, and its source is being read from, or is not.
    pub(super) fn filling(&mut self, borrower: u64, filled: usize, reading: bool, now: Instant) {
        let Some(filling) = self.by_borrower.get_mut(&borrower) else { return };
        filling.filled = filled;
        match (filling.since, reading) {
            (None, true) => filling.since = Some(now),
            (Some(_), false) => (filling.before, filling.since) = (filling.took(now), None),
            _ => {}
        }
    }

    /// It fills nothing any more. How long its source was read from.
    pub(super) fn ended(&mut self, borrower: u64, now: Instant) -> Option<Duration> {
        self.by_borrower.remove(&borrower).map(|filling| filling.took(now))
    }

    /// Whether it has to give its buffer back.
    pub(super) fn is_recalled(&self, borrower: u64) -> bool {
        self.by_borrower.get(&borrower).is_some_and(|filling| filling.recalled)
    }

    /// Somebody waits for `wanted` units of a part: holders that are too slow give back as many,
    /// unless some were to do so a short while ago.
    pub(super) fn recall(&mut self, part: Part, wanted: usize, terms: &Terms, now: Instant) {
        if self.recalled.get(&part).is_some_and(|last| now - *last < terms.grace) {
            return;
        }
        let is_it = |f: &&mut Filling| f.part == part && !f.recalled && f.is_too_slow(terms, now);
        let mut slow: Vec<_> = self.by_borrower.values_mut().filter(is_it).collect();
        slow.sort_by_key(|filling| std::cmp::Reverse(filling.to_come(now)));
        let mut left = wanted;
        for filling in slow {
            if left == 0 {
                break;
            }
            filling.recalled = true;
            filling.called.notify_one();
            left = left.saturating_sub(units(filling.length));
            self.recalled.insert(part, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A minute into pieces of 1,000,000 bytes each, of which so much has come.
    fn after_a_minute(filled: &[usize]) -> (Lending, Instant) {
        let (mut lending, start) = (Lending::default(), Instant::now());
        for (borrower, filled) in (0..).zip(filled) {
            lending.lent(borrower, Part::Shared, 1_000_000, Arc::default());
            lending.filling(borrower, 0, true, start);
            lending.filling(borrower, *filled, true, start + 50 * SECOND);
        }
        (lending, start + 60 * SECOND)
    }

    fn recalled(lending: &Lending) -> Vec<u64> {
        lending.by_borrower.keys().copied().filter(|borrower| lending.is_recalled(*borrower)).collect()
    }

    #[tokio::test]
    async fn those_with_longest_to_come_give_back_as_much_as_is_waited_for() {
        let terms = Terms::default();
        let (mut lending, now) = after_a_minute(&[500_000, 2000, 999_999, 1000, 1_000_000]);
        lending.recall(Part::Reserve, 1, &terms, now);
        assert_eq!(recalled(&lending), [] as [u64; 0], "of that part nothing is lent");
        lending.recall(Part::Shared, units(1_000_000) + 1, &terms, now);
        assert_eq!(recalled(&lending), [1, 3]);
        lending.recall(Part::Shared, 100, &terms, now + 9 * SECOND);
        assert_eq!(recalled(&lending), [1, 3], "memory may be about to come back");
        lending.recall(Part::Shared, 100, &terms, now + 10 * SECOND);
        assert_eq!(recalled(&lending), [0, 1, 2, 3], "never one that is full");
    }

    #[tokio::test]
    async fn who_is_new_or_fast_enough_or_not_read_from_keeps_its_memory() {
        let (mut lending, now) = after_a_minute(&[0, 1_000_000]);
        // New.
        lending.lent(0, Part::Shared, 1_000_000, Arc::default());
        lending.filling(0, 0, true, now - 9 * SECOND);
        // Half of it in 29 seconds.
        lending.lent(2, Part::Shared, 1_000_000, Arc::default());
        lending.filling(2, 500_000, true, now - 29 * SECOND);
        // Little of it in 9 seconds, and then it was us.
        lending.lent(3, Part::Shared, 1_000_000, Arc::default());
        lending.filling(3, 0, true, now - 50 * SECOND);
        lending.filling(3, 1, false, now - 41 * SECOND);
        lending.recall(Part::Shared, 100, &Terms::default(), now);
        assert_eq!(recalled(&lending), [] as [u64; 0]);
        assert_eq!(lending.ended(3, now), Some(9 * SECOND));
        lending.recall(Part::Shared, 100, &Terms::default(), now + SECOND);
        assert_eq!(recalled(&lending), [0], "nothing came of it in its time");
    }
}
