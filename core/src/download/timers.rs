//! What a download waits for, and what it does then.

use std::time::Duration;

use super::Download;
use super::source::Source;
use super::types::{DownloadOutput, DropReason, SourceId};
use crate::time::Instant;

/// What a download waits for. Each deadline is in [`Download::poll_timeout`].
#[derive(Debug, Clone, Copy)]
enum Timer {
    /// There is news that can wait no longer.
    News,
    /// A source sends nothing.
    Source,
    /// In the end game, it is time to see who could be of more use.
    EndGame,
    /// It has stayed long enough.
    Stay,
}

/// How often that is looked at.
const END_GAME_LOOK: Duration = Duration::from_millis(50);

const TIMERS: [Timer; 4] = [Timer::News, Timer::Source, Timer::EndGame, Timer::Stay];

impl Download {
    /// When to call with [`DownloadInput::Timeout`](super::DownloadInput::Timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        TIMERS.into_iter().filter_map(|timer| self.deadline(timer)).min()
    }

    fn deadline(&self, timer: Timer) -> Option<Instant> {
        match timer {
            Timer::News => self.news_at,
            Timer::Source => {
                let owing = self.sources.values().filter(|source| !source.owes.is_empty());
                let at = |source: &Source| match source.slow {
                    true => (source.last_progress + self.drop_after()).max(source.kept_until),
                    false => source.last_progress + self.slow_after(),
                };
                owing.map(at).min()
            }
            Timer::EndGame => self.is_end_game().then_some(self.looked_at + END_GAME_LOOK),
            Timer::Stay => self.stays_until(),
        }
    }

    pub(super) fn fire_all(&mut self, now: Instant) {
        for timer in TIMERS {
            self.fire(now, timer);
        }
    }

    fn fire(&mut self, now: Instant, timer: Timer) {
        match timer {
            // That is seen after every input.
            Timer::Stay => {}
            Timer::News => {
                if self.news_at.is_some_and(|at| at <= now) {
                    self.tell_all();
                }
            }
            Timer::EndGame => {
                if self.deadline(timer).is_some_and(|at| at <= now) {
                    self.looked_at = now;
                    self.fill_all(now);
                }
            }
            Timer::Source => {
                let owing = self.sources.iter().filter(|(_, source)| !source.owes.is_empty());
                let silent = owing.map(|(id, source)| (*id, source.slow, now.since(source.last_progress)));
                let silent: Vec<_> = silent.filter(|(_, _, time)| *time >= self.slow_after()).collect();
                for (source, slow, time) in silent {
                    if !slow {
                        self.is_slow(now, source);
                    } else if time >= self.drop_after() {
                        self.drop_or_keep(now, source, time);
                    }
                }
            }
        }
    }

    /// How long a source may send nothing before others are asked for what it owes. Behind slow uplinks
    /// everybody waits long for a turn, and who asks others too soon has everything sent twice.
    pub(super) fn slow_after(&self) -> Duration {
        self.config.slow_after.max(self.usual_wait.unwrap_or_default() * 4).min(self.config.drop_after)
    }

    /// How long before it is dropped.
    fn drop_after(&self) -> Duration {
        self.config.drop_after.max(self.slow_after() * 4)
    }

    /// A source has been slow for long.
    fn drop_or_keep(&mut self, now: Instant, id: SourceId, silent: Duration) {
        let (is_needed, slow_after) = (self.is_needed(id), self.slow_after());
        let Some(source) = self.sources.get_mut(&id).filter(|source| source.kept_until <= now) else {
            return;
        };
        if is_needed {
            // It may have others to serve before, for longer than that.
            source.kept_until = now + slow_after;
        } else {
            self.outputs.push_back(DownloadOutput::Drop(id, DropReason::Stalled(silent)));
            self.closed(now, id);
        }
    }

    /// Whether a source owes something that no other has that is not slow.
    fn is_needed(&self, id: SourceId) -> bool {
        let mut owes = self.sources.get(&id).into_iter().flat_map(|source| &source.owes);
        let others = || self.sources.iter().filter(|(other, source)| **other != id && !source.slow);
        let has = |piece| others().any(|(_, source)| source.pieces.contains(piece));
        owes.any(|owed| !has(owed.piece))
    }
}
