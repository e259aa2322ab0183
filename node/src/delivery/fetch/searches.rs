//! [`Searches`]: looking for holders: when the next search begins, and what the last has come to.

use std::collections::BTreeSet;
use std::time::Duration;

use askaround_core::key::Key;
use askaround_core::peer::{FindReport, Outcome};
use askaround_core::search::{Ask, Holder};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::super::error::GetError;
use super::super::types::AskedReport;
use super::{Fetch, Kind};
use crate::lock;
use crate::peer::PeerHandle;

/// How long after a search begins the next one does: short times first, since those who begin at
/// the same time cannot find each other at once. The last one lasts.
const PAUSES_MS: [u64; 6] = [100, 300, 1000, 3000, 10_000, 30_000];
/// They begin anew at most so often.
const ANEW_EVERY: Duration = Duration::from_secs(3);
/// The most searches at once.
const MAX_SEARCHES: usize = 3;
/// Holders that a search has found and nobody has looked at yet.
const HOLDERS: usize = 256;

/// The searches of a fetch.
pub(super) struct Searches {
    key: Key,
    peer: PeerHandle,
    found: mpsc::Sender<Holder>,
    /// Whom they have found and nobody has looked at yet.
    pub(super) holders: mpsc::Receiver<Holder>,
    /// Those that are under way.
    pub(super) running: JoinSet<Option<Outcome>>,
    /// So many were begun, since it was at the beginning.
    begun: usize,
    /// When the next is due.
    pub(super) next_at: Instant,
    /// When they last began anew.
    anew_at: Option<Instant>,
    /// What the last has come to; `None` while there was none.
    pub(super) last: Option<Searched>,
}

/// What a search has come to.
#[derive(Debug, Clone)]
pub(super) struct Searched {
    /// How many peers were asked.
    pub(super) asked: usize,
    /// Whether a bound cut it short.
    pub(super) truncated: bool,
    /// How many peers did not say whether they have it.
    pub(super) silent: u64,
    /// Why the tracker did not say who is online, if it did not.
    pub(super) tracker_failed: Option<String>,
}

impl Searches {
    /// None is begun yet; the first is due now.
    pub(super) fn new(key: Key, peer: PeerHandle) -> Self {
        let (found, holders) = mpsc::channel(HOLDERS);
        let (running, next_at) = (JoinSet::new(), Instant::now());
        Self { key, peer, found, holders, running, begun: 0, next_at, anew_at: None, last: None }
    }

    /// Whether nobody has been found whom nobody has looked at, and nobody is looked for.
    pub(super) fn give_nobody(&self) -> bool {
        self.holders.is_empty() && self.running.is_empty()
    }

    /// Begins the next one, if it is due. Whether it was.
    fn begin_if_due(&mut self) -> bool {
        let is_due = self.next_at <= Instant::now();
        if is_due {
            let pause = PAUSES_MS[self.begun.min(PAUSES_MS.len() - 1)];
            self.begun += 1;
            self.next_at = Instant::now() + Duration::from_millis(pause);
            let (peer, key, found) = (self.peer.clone(), self.key.clone(), self.found.clone());
            self.running.spawn(async move { peer.gather(key, found).await });
        }
        is_due
    }

    /// They follow each other as quickly as at the beginning, unless that has just been so.
    pub(super) fn begin_anew(&mut self) {
        if self.anew_at.is_none_or(|at| at.elapsed() >= ANEW_EVERY) {
            (self.begun, self.next_at) = (0, Instant::now());
            self.anew_at = Some(self.next_at);
        }
    }

    /// The next begins no later than after so long.
    pub(super) fn begin_within(&mut self, pause: Duration) {
        self.next_at = self.next_at.min(Instant::now() + pause);
    }
}

impl Fetch {
    /// Whether there is no source, and nobody who could become one is known or looked for.
    pub(super) fn has_nobody(&self) -> bool {
        self.sources.is_empty() && self.searches.give_nobody()
    }

    /// Whether there may be another search. A search is as slow as the slowest that it asks, and
    /// must not keep a fetch that has begun from finding others.
    pub(super) fn may_search(&self) -> bool {
        let most = if self.sources.is_empty() { 1 } else { MAX_SEARCHES };
        self.kind != Kind::FromOne && self.searches.running.len() < most
    }

    pub(super) fn search_if_due(&mut self) {
        if self.may_search() && self.searches.begin_if_due() {
            // Whoever was named may have come back.
            self.open_named();
        }
    }

    /// Opens those whom the user named, unless they are sources already.
    pub(super) fn open_named(&mut self) {
        for addr in &self.named {
            self.sources.open(*addr, None, "named by its user".into(), false);
        }
    }

    /// A search is over.
    ///
    /// # Errors
    /// If it is because the peer has ended.
    pub(super) fn search_over(&mut self, outcome: Option<Outcome>) -> Result<(), GetError> {
        let Some(outcome) = outcome else { return Err(GetError::PeerEnded) };
        let soonest = Instant::now() + Duration::from_millis(PAUSES_MS[0]);
        self.searches.next_at = self.searches.next_at.max(soonest);
        let Outcome::Found { report, .. } = outcome else { return Ok(()) };
        let asked: BTreeSet<_> = report.trace.iter().filter_map(|step| step.question.ask.peer()).collect();
        self.searches.last = Some(Searched {
            asked: asked.len(),
            truncated: report.truncated,
            silent: report.silent,
            tracker_failed: report.tracker_failed.as_ref().map(ToString::to_string),
        });
        lock(&self.job.report).asked = in_words(&report);
        Ok(())
    }
}

/// What a search asked, question by question.
fn in_words(report: &FindReport) -> Vec<AskedReport> {
    let steps = report.trace.iter().map(|step| AskedReport {
        who: match &step.question.ask {
            Ask::Tracker(_) => "the tracker".into(),
            Ask::OwnKnown => "itself".into(),
            Ask::Have(peer) | Ask::Known(peer, _) => format!("peer {} at {}", peer.id, peer.addr()),
        },
        why: step.question.reason.to_string(),
        answer: step.answer(),
    });
    steps.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn searches_follow_each_other_more_and_more_slowly_until_they_begin_anew() {
        let (peer, _orders) = PeerHandle::new();
        let mut searches = Searches::new(Key::new("k").unwrap(), peer);
        assert!(searches.give_nobody());
        let mut begun_after = async |ms| {
            tokio::time::advance(Duration::from_millis(ms)).await;
            searches.begin_if_due()
        };
        assert!(begun_after(0).await, "the first is due at once");
        for pause in PAUSES_MS.iter().chain(PAUSES_MS.last()) {
            assert!(!begun_after(pause - 1).await && begun_after(1).await, "{pause} ms");
        }
        searches.begin_within(Duration::from_secs(5));
        assert_eq!(searches.next_at, Instant::now() + Duration::from_secs(5));
        searches.begin_anew();
        searches.begin_if_due();
        assert_eq!(searches.next_at, Instant::now() + Duration::from_millis(PAUSES_MS[0]));
        assert!(!searches.give_nobody());
        tokio::time::advance(ANEW_EVERY / 2).await;
        let next_at = searches.next_at;
        searches.begin_anew();
        assert_eq!(searches.next_at, next_at, "it has just been so");
        tokio::time::advance(ANEW_EVERY / 2).await;
        searches.begin_anew();
        assert_eq!(searches.next_at, Instant::now());
    }
}
