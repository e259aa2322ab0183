//! [`Stage`]: how a fetch stands: whether somebody gives what is missing, and for how long nobody
//! has. It changes here alone, and once everything is here.

use std::ops::RangeInclusive;
use std::time::Duration;

use tokio::time::Instant;

use super::super::super::error::GetError;
use super::super::{Fetch, Kind};
use super::Run;

/// How long a fetch goes on while nothing comes.
const PATIENCE: Duration = Duration::from_secs(120);
/// After so many searches in a row that leave it without a source, a fetch waits for one no longer
/// than it may.
const DRY_SEARCHES: u32 = 4;
/// Others who fetch it too may get nothing for so long, however little it waits for a holder.
const LEAST_HOPE: Duration = Duration::from_secs(5);
/// The longest between two searches meanwhile.
const MOST_BETWEEN_SEARCHES: Duration = Duration::from_secs(5);

/// How a fetch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Pieces are missing, and somebody gives them, or may. How it starved before counts again as long
    /// as nothing comes: there are holders that say that they have it, and refuse it.
    Supplied { before: Option<Starved> },
    /// Pieces are missing, and nobody gives any, nor is anybody known who could.
    Starving {
        since: Instant,
        /// So many searches that ended, and sources that went, have left it so.
        in_vain: u32,
    },
    /// Every piece is here.
    Complete {
        since: Instant,
        /// Whether it was said that it stays for others.
        said: bool,
    },
}

/// How a fetch starved until somebody took part again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Starved {
    time: Duration,
    in_vain: u32,
    until: Instant,
}

impl Stage {
    /// How it begins.
    pub(super) const FIRST: Self = Self::Supplied { before: None };

    pub(super) fn is_complete(&self) -> bool {
        matches!(self, Self::Complete { .. })
    }

    pub(super) fn is_starving(&self) -> bool {
        matches!(self, Self::Starving { .. })
    }

    /// Somebody gives what is missing, or may.
    fn supplied(&mut self) {
        if let Self::Starving { since, in_vain } = *self {
            let starved = Starved { time: since.elapsed(), in_vain, until: Instant::now() };
            *self = Self::Supplied { before: Some(starved) };
        }
    }

    /// Nobody gives what is missing since then; something came last at `last_came`.
    fn starve(&mut self, since: Instant, last_came: Instant) {
        let Self::Supplied { before } = *self else { return };
        *self = match before.filter(|before| last_came < before.until) {
            Some(Starved { time, in_vain, .. }) => {
                Self::Starving { since: since.checked_sub(time).unwrap_or(since), in_vain }
            }
            None => Self::Starving { since, in_vain: 0 },
        };
    }
}

impl Fetch {
    /// Looks, now and then, whether those who take part have anything of what is missing.
    ///
    /// # Errors
    /// If they have not, and it is to come from nobody else.
    pub(super) fn look_at_supply(&mut self, run: &mut Run) -> Result<(), GetError> {
        if let Some(since) = run.stuck_since(self.hopes_for()) {
            if self.kind == Kind::FromOne {
                return Err(run.starves());
            }
            self.starve(run, since);
        } else if run.is_supplied() {
            run.stage.supplied();
        }
        Ok(())
    }

    /// A search is over, or a source gone: is there still hope?
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn go_on_or_starve(&mut self, run: &mut Run) -> Result<(), GetError> {
        if run.stage.is_complete() {
            return Ok(());
        }
        let stuck_since = run.stuck_since(self.hopes_for());
        let stuck_since = stuck_since.or_else(|| self.has_nobody().then(Instant::now));
        if let Some(since) = stuck_since {
            self.starve(run, since);
            if let Stage::Starving { in_vain, .. } = &mut run.stage {
                *in_vain += 1;
            }
            self.searches.begin_within(MOST_BETWEEN_SEARCHES);
        } else if run.is_supplied() || run.has_no_source() && self.is_about_to_have_one() {
            run.stage.supplied();
        }
        let most = self.delivery.0.options.holder_timeout;
        let nothing_comes = run.last_came.elapsed() > PATIENCE.max(most);
        let (in_vain, may_wait) = match run.stage {
            Stage::Starving { since, in_vain } => (in_vain, since.elapsed() < most),
            Stage::Supplied { .. } | Stage::Complete { .. } => (0, false),
        };
        if run.only_breaks_off(PATIENCE.max(most)) {
            return Err(GetError::NoSource { key: self.key.clone(), why: self.sources.complaints() });
        }
        if in_vain < DRY_SEARCHES && !nothing_comes {
            return Ok(());
        }
        if self.has_rival(run) {
            return Err(GetError::Doubted(self.key.clone()));
        }
        // Of a file that is repaired others are to be repaired too.
        if may_wait && !nothing_comes && self.kind != Kind::Repair {
            return Ok(());
        }
        Err(run.starves())
    }

    /// How long those who fetch it too may get nothing: at least and at most.
    fn hopes_for(&self) -> RangeInclusive<Duration> {
        let timeout = self.delivery.0.options.holder_timeout;
        timeout.max(LEAST_HOPE)..=timeout.max(PATIENCE)
    }

    /// Whether somebody may become a source who was found already.
    fn is_about_to_have_one(&self) -> bool {
        !self.sources.is_empty() || !self.searches.holders.is_empty()
    }

    /// Nobody gives what is missing. Whoever has it is looked for as at the beginning.
    fn starve(&mut self, run: &mut Run, since: Instant) {
        if let Stage::Supplied { .. } = run.stage {
            run.stage.starve(since, run.last_came);
            self.searches.begin_anew();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_takes_part_and_gives_nothing_ends_no_wait() {
        let (mut stage, begun) = (Stage::FIRST, Instant::now());
        stage.starve(begun, begun);
        for round in 1..=3 {
            tokio::time::advance(Duration::from_secs(10)).await;
            if let Stage::Starving { in_vain, .. } = &mut stage {
                *in_vain += 1;
            }
            stage.supplied();
            tokio::time::advance(Duration::from_secs(60)).await;
            let now = Instant::now();
            stage.starve(now, begun);
            let since = now - Duration::from_secs(10) * round;
            assert_eq!(stage, Stage::Starving { since, in_vain: round });
        }
        stage.supplied();
        tokio::time::advance(Duration::from_secs(1)).await;
        let now = Instant::now();
        stage.starve(now, now);
        assert_eq!(stage, Stage::Starving { since: now, in_vain: 0 }, "something has come");
    }
}
