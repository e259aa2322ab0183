//! [`Asks`]: what a peer has asked, or is having fetched, and until when it waits for each.

use std::collections::{BTreeMap, BTreeSet};

use super::types::{AskId, Target};
use crate::time::Instant;

/// Everything that is awaited. Each has its deadline, and each deadline its ask.
#[derive(Debug, Clone, Default)]
pub(super) struct Asks {
    open: BTreeMap<AskId, Ask>,
    deadlines: BTreeSet<(Instant, AskId)>,
    /// When those that are not slow yet are.
    slow: BTreeSet<(Instant, AskId)>,
    /// The number that was given last.
    last: AskId,
}

#[derive(Debug, Clone)]
pub(super) struct Ask {
    /// For which operation.
    pub(super) operation: u64,
    pub(super) what: Awaited,
    pub(super) deadline: Instant,
    /// From when on its search need not wait for it with what it does besides; never, if none.
    pub(super) slow_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The answer to a request.
    Answer {
        /// Of whom.
        of: Target,
        /// The number of the search's question, where it is one.
        question: u64,
    },
    /// What the operation's search has found.
    Fetch,
}

impl Asks {
    pub(super) fn open(&mut self, ask: Ask) -> AskId {
        self.last += 1;
        self.deadlines.insert((ask.deadline, self.last));
        self.slow.extend(ask.slow_at.map(|at| (at, self.last)));
        self.open.insert(self.last, ask);
        self.last
    }

    /// `None` if it was given up before: what came of it comes too late and changes nothing.
    pub(super) fn close(&mut self, ask: AskId) -> Option<Ask> {
        let closed = self.open.remove(&ask)?;
        self.deadlines.remove(&(closed.deadline, ask));
        if let Some(at) = closed.slow_at {
            self.slow.remove(&(at, ask));
        }
        Some(closed)
    }

    /// Closes everything that an operation waits for, and gives it in the order in which it was
    /// asked.
    pub(super) fn close_all_of(&mut self, operation: u64) -> Vec<AskId> {
        let of = self.open.iter().filter(|(_, ask)| ask.operation == operation);
        let all: Vec<AskId> = of.map(|(ask, _)| *ask).collect();
        for ask in &all {
            self.close(*ask);
        }
        all
    }

    /// Whether an operation waits for what its search has found.
    pub(super) fn is_fetching(&self, operation: u64) -> bool {
        self.open.values().any(|ask| ask.operation == operation && ask.what == Awaited::Fetch)
    }

    /// When the first of them is slow, or too late.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        [&self.deadlines, &self.slow].into_iter().filter_map(|all| all.first()).map(|(at, _)| *at).min()
    }

    /// The next one that is slow at `now`, once: its operation, and the number of its question.
    pub(super) fn next_slow(&mut self, now: Instant) -> Option<(u64, u64)> {
        while self.slow.first().is_some_and(|(at, _)| *at <= now) {
            let (_, ask) = self.slow.pop_first()?;
            if let Some(Ask { operation, what: Awaited::Answer { question, .. }, .. }) = self.open.get(&ask) {
                return Some((*operation, *question));
            }
        }
        None
    }

    /// The first one that is too late at `now`, still open.
    pub(super) fn late(&self, now: Instant) -> Option<(AskId, Awaited)> {
        let (_, ask) = self.deadlines.first().filter(|(deadline, _)| *deadline <= now)?;
        self.open.get(ask).map(|open| (*ask, open.what))
    }
}
