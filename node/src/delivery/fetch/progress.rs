//! What a fetch tells: how far it is, and what limits it.

use std::time::Duration;

use askaround_core::download::Download;

use super::super::target::Target;
use super::super::types::{GetEvent, SourceReport};
use super::Fetch;
use crate::lock;

/// How far a fetch was when it was looked at last.
#[derive(Debug)]
pub(super) struct Pace {
    here: u64,
    /// Bytes a second.
    rate: f64,
}

impl Pace {
    /// A fetch of which so much is here already.
    pub(super) fn new(here: u64) -> Self {
        Self { here, rate: 0.0 }
    }

    fn look(&mut self, here: u64, elapsed: Duration) -> u64 {
        let lately = here.saturating_sub(self.here) as f64 / elapsed.as_secs_f64().max(1e-3);
        self.rate = if self.rate == 0.0 { lately } else { self.rate * 0.7 + lately * 0.3 };
        self.here = here;
        self.rate as u64
    }
}

impl Fetch {
    /// Tells what is fetched. How many bytes of it are here.
    pub(super) fn found(&mut self, target: &dyn Target, size: u64, files: Option<u64>) -> u64 {
        let (worth, have) = (target.worth(), target.have());
        let here = have.iter().map(|piece| worth[piece as usize]).sum();
        {
            let mut report = lock(&self.job.report);
            (report.size, report.here, report.state) = (Some(size), here, "fetching".into());
        }
        let event = GetEvent::Found { size, pieces: have.count(), files, here };
        self.tell(event);
        here
    }

    /// Tells how far it is.
    pub(super) fn progress(&mut self, pace: &mut Pace, download: &Download, here: u64, elapsed: Duration) {
        let rate = pace.look(here, elapsed);
        let waiting = download.lacks_a_holder();
        let mut sources = self.sources.reports();
        for state in download.sources() {
            if let Some(source) = sources.iter_mut().find(|s| s.addr == state.addr && s.lost.is_none()) {
                (source.rate, source.complete) = (state.rate, state.complete);
            }
        }
        let count = self.sources.len();
        let size = {
            let mut report = lock(&self.job.report);
            report.here = here;
            report.rate = rate;
            report.state = if waiting { "waiting".into() } else { "fetching".into() };
            report.because = because(&sources, waiting, self.delivery.0.down.limit(), rate);
            report.sources = sources;
            report.size.unwrap_or(here)
        };
        self.tell(GetEvent::Progress { here, size, rate, sources: count, waiting });
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

/// What limits a fetch, in words.
fn because(sources: &[SourceReport], waiting: bool, limit: Option<u64>, rate: u64) -> Vec<String> {
    let mut because = Vec::new();
    let live: Vec<_> = sources.iter().filter(|source| source.lost.is_none()).collect();
    if live.is_empty() {
        because.push("there is no source: it is searched for more".into());
    }
    if waiting {
        because.push("no source has what is missing".into());
    }
    if let Some(limit) = limit
        && rate * 10 >= limit * 9
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
