//! Says who is at fault, without letting a stranger fill a log.

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::lock;

/// At most one line in this time; the others are counted, and shown by `-v -v`.
const EVERY: Duration = Duration::from_secs(5);

/// Complaints about others.
#[derive(Debug)]
pub(crate) struct Complaints {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    last: Option<Instant>,
    unsaid: u64,
}

impl Complaints {
    /// Nothing was complained about yet.
    pub(crate) const fn new() -> Self {
        Self { state: Mutex::new(State { last: None, unsaid: 0 }) }
    }

    /// Complains about `who`.
    pub(crate) fn about(&self, who: impl fmt::Display, what: impl fmt::Display) {
        match self.due() {
            Some(0) => tracing::warn!("{who}: {what}"),
            Some(unsaid) => tracing::warn!("{who}: {what} ({unsaid} other complaints are not shown)"),
            None => tracing::debug!("{who}: {what}"),
        }
    }

    /// Whether the next one may be said, and how many were not.
    fn due(&self) -> Option<u64> {
        let mut state = lock(&self.state);
        if state.last.is_some_and(|last| last.elapsed() < EVERY) {
            state.unsaid += 1;
            return None;
        }
        state.last = Some(Instant::now());
        Some(std::mem::take(&mut state.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_complaints_is_one_line_and_a_number() {
        let complaints = Complaints::new();
        assert_eq!(complaints.due(), Some(0));
        for _ in 0..1000 {
            assert_eq!(complaints.due(), None);
        }
        lock(&complaints.state).last = None;
        assert_eq!(complaints.due(), Some(1000));
        assert_eq!(complaints.due(), None);
    }
}
