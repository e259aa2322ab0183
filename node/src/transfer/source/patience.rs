//! [`Patience`]: whether a source that has begun to say something goes on fast enough.

use std::time::Duration;

use tokio::time::Instant;

/// Counts what comes while something is due.
#[derive(Debug)]
pub(super) struct Patience {
    window: Duration,
    least: u64,
    since: Option<Instant>,
    came: u64,
}

impl Patience {
    /// Within each `window`, `least` bytes must come.
    pub(super) fn new(window: Duration, least: u64) -> Self {
        Self { window, least, since: None, came: 0 }
    }

    /// Something is due from now on, or was already.
    pub(super) fn begin(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// Nothing is due, or it is us who do not read.
    pub(super) fn rest(&mut self) {
        self.since = None;
        self.came = 0;
    }

    /// So much came.
    pub(super) fn came(&mut self, bytes: u64) {
        self.came += bytes;
    }

    /// When to call [`Patience::is_over`].
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.since.map(|since| since + self.window)
    }

    /// At the deadline: whether that was too slow; `counts` is whether what came counts, or only
    /// a whole does.
    pub(super) fn is_over(&mut self, counts: bool) -> bool {
        if self.deadline().is_none_or(|at| at > Instant::now()) {
            return false;
        }
        let enough = counts && self.came >= self.least;
        self.rest();
        !enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_trickle_is_too_slow_and_a_pause_of_ours_is_not() {
        let window = Duration::from_secs(10);
        let mut patience = Patience::new(window, 100);
        patience.begin();
        patience.came(100);
        tokio::time::advance(window).await;
        assert!(!patience.is_over(true), "fast enough");
        patience.begin();
        patience.came(99);
        tokio::time::advance(window / 2).await;
        assert!(!patience.is_over(true), "not yet");
        tokio::time::advance(window / 2).await;
        patience.begin();
        assert!(patience.is_over(true));
        patience.begin();
        tokio::time::advance(window / 2).await;
        patience.rest();
        patience.begin();
        tokio::time::advance(window / 2).await;
        assert!(!patience.is_over(true), "it was us");
        patience.came(1000);
        tokio::time::advance(window / 2).await;
        assert!(patience.is_over(false), "a line is whole or not");
    }
}
