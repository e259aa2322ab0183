//! What a fetch tells: how far it is, and what limits it.

use std::time::Duration;

use askaround_core::download::Download;
use tokio::time::Instant;

use super::super::target::Target;
use super::super::types::{FetchState, GetEvent, SourceReport};
use super::Fetch;
use super::run::Run;
use crate::lock;

/// How long a piece is lacking everywhere before that is said.
const SAYS_THAT_IT_LACKS: Duration = Duration::from_secs(3);

/// Whether some piece is missing that no source has. That is said once, when it has lasted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lack {
    /// None is, or it has not been looked yet.
    None,
    Since(Instant),
    Said,
}

impl Lack {
    /// Whether it is to be said now, if some piece is lacking or not.
    fn is_due(&mut self, lacks: bool, now: Instant) -> bool {
        let next = match *self {
            Self::Said => Self::Said,
            _ if !lacks => Self::None,
            Self::None => Self::Since(now),
            Self::Since(since) if now.duration_since(since) < SAYS_THAT_IT_LACKS => Self::Since(since),
            Self::Since(_) => Self::Said,
        };
        let was_said = matches!(std::mem::replace(self, next), Self::Said);
        matches!(next, Self::Said) && !was_said
    }
}

impl Fetch {
    /// Tells what is fetched. How many bytes of it are here.
    pub(super) fn found(&mut self, target: &dyn Target, size: u64, files: Option<u64>) -> u64 {
        let (worth, have) = (target.worth(), target.have());
        let here = have.iter().map(|piece| worth[piece as usize]).sum();
        {
            let mut report = lock(&self.job.report);
            (report.size, report.here, report.state) = (Some(size), here, FetchState::Fetching);
        }
        let event = GetEvent::Found { size, pieces: have.count(), files, here };
        self.tell(event);
        here
    }

    /// Tells how far it is.
    pub(super) fn progress(&mut self, run: &mut Run) {
        let (here, rate) = (run.here, run.throughput.look(Instant::now()));
        let waiting = run.lacks_a_holder();
        let download = lock(&run.download);
        let mut sources = self.sources.reports();
        for state in download.sources() {
            if let Some(source) = sources.iter_mut().find(|s| s.addr == state.addr && s.lost.is_none()) {
                (source.rate, source.complete) = (state.rate, state.complete);
            }
        }
        let count = self.sources.len();
        let missing = waiting.then(|| nobody_has(&*run.target, &download));
        let is_due = run.lack.is_due(waiting, Instant::now());
        let to_say = missing.clone().filter(|_| is_due);
        let size = {
            let mut report = lock(&self.job.report);
            report.here = here;
            report.rate = rate;
            report.state = if waiting { FetchState::Waiting } else { FetchState::Fetching };
            let size = report.size.unwrap_or(here);
            report.because = because(&sources, missing, self.delivery.0.down.limit(), rate, here == size);
            report.sources = sources;
            size
        };
        self.tell(GetEvent::Progress { here, size, rate, sources: count, waiting });
        if let Some(what) = to_say {
            self.note(format!("{what}; looking for somebody who does"));
        }
    }

    /// Notes at the end who sent what.
    pub(super) fn report(&self) {
        let mut report = lock(&self.job.report);
        let elapsed = self.took().as_secs_f64();
        let came: u64 = self.sources.reports().iter().map(|source| source.bytes).sum();
        report.rate = (came as f64 / elapsed.max(1e-3)) as u64;
        let mut sources = self.sources.reports();
        for source in &mut sources {
            let known = report.sources.iter().find(|known| known.addr == source.addr);
            source.complete = known.is_some_and(|known| known.complete);
            source.rate = (source.bytes as f64 / elapsed.max(1e-3)) as u64;
        }
        report.sources = sources;
    }
}

/// What no source has of what is missing, in words.
fn nobody_has(target: &dyn Target, download: &Download) -> String {
    if let Some(files) = target.files_of(&mut download.missing_everywhere()) {
        return format!("no source has {files}");
    }
    match download.missing_everywhere().count() {
        1 => "no source has 1 of the pieces".into(),
        missing => format!("no source has {missing} of the pieces"),
    }
}

/// What limits a fetch, in words.
fn because(
    sources: &[SourceReport],
    missing: Option<String>,
    limit: Option<u64>,
    rate: u64,
    complete: bool,
) -> Vec<String> {
    let mut because = Vec::new();
    let live: Vec<_> = sources.iter().filter(|source| source.lost.is_none()).collect();
    if live.is_empty() && !complete {
        because.push("there is no source: it is searched for more".into());
    }
    because.extend(missing);
    if let Some(limit) = limit
        && u128::from(rate) * 10 >= u128::from(limit) * 9
    {
        because.push(format!("--down limits it to {limit} bytes a second"));
    }
    if let [only] = live[..] {
        because.push(format!("there is one source, {}: it is as fast as that one sends", only.addr));
    }
    let silent = live.iter().filter(|source| source.rate == 0).count();
    if silent > 0 && live.len() > 1 {
        because.push(format!("{silent} of {} sources have sent nothing lately", live.len()));
    }
    let lost = sources.len() - live.len();
    if lost > 0 {
        let were = if lost == 1 { "source was" } else { "sources were" };
        because.push(format!("{lost} {were} lost"));
    }
    because
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_has_is_said_once_when_that_has_lasted() {
        let (mut lack, start) = (Lack::None, Instant::now());
        let mut is_due = |lacks, seconds| lack.is_due(lacks, start + Duration::from_secs(seconds));
        assert!(!is_due(true, 0) && !is_due(true, 2));
        assert!(!is_due(false, 3) && !is_due(true, 4) && !is_due(true, 6), "somebody had it meanwhile");
        assert!(is_due(true, 7));
        assert!(!is_due(true, 8) && !is_due(false, 9) && !is_due(true, 10) && !is_due(true, 20), "once");
    }

    #[test]
    fn a_limit_is_blamed_where_it_is_nearly_reached_however_high() {
        let why = |rate, limit| because(&[], None, Some(limit), rate, true);
        assert_eq!(why(900, 1000), ["--down limits it to 1000 bytes a second"]);
        assert_eq!(why(899, 1000), [""; 0]);
        assert_eq!(why(1000, u64::MAX), [""; 0]);
    }
}
