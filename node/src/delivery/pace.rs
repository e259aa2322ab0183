//! [`Pace`]: how often progress is told.

use std::cell::Cell;
use std::time::{Duration, Instant};

const PACE: Duration = Duration::from_millis(200);

/// Tells of progress, not more often than is of use: so many bytes are done, of so many.
pub(super) struct Pace<F> {
    tell: F,
    last: Cell<Option<Instant>>,
}

impl<F: Fn(u64, u64)> Pace<F> {
    pub(super) fn new(tell: F) -> Self {
        Self { tell, last: Cell::new(None) }
    }

    pub(super) fn tell(&self, done: u64, size: u64) {
        if self.last.get().is_none_or(|last| last.elapsed() >= PACE) {
            self.last.set(Some(Instant::now()));
            (self.tell)(done, size);
        }
    }
}
