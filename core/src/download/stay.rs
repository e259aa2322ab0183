//! How long a download that is complete stays, for those who still need what is here.
//!
//! A holder may leave when it has sent everything once. From then on the content is with those who
//! fetch it, each with a part, and whoever is complete first must not take the last copy of a piece
//! along. So the complete stay for all who listen to them and are not: those finish, and then
//! everybody may go. Nobody who lacks a piece is waited *by*, so there are no circles, and no
//! agreement is needed on who goes first. What can be missing is news: a holder that leaves as the
//! last piece comes is seen to go a little later. So also with a holder there is a moment to wait,
//! and so there is for those who fetch and have not found us yet. It is short when nobody waits to
//! be sent something.

use std::net::SocketAddr;
use std::time::Duration;

use super::source::Source;
use super::{Download, DownloadOutput};
use crate::time::Instant;

/// With a holder there, a complete download stays this part of the time that it took, within
/// [`SHORTEST_MOMENT`] and [`LONGEST_MOMENT`]; the first of them if its uplink is idle.
const MOMENT: u32 = 4;
const SHORTEST_MOMENT: Duration = Duration::from_millis(250);
const LONGEST_MOMENT: Duration = Duration::from_secs(5);
/// Without a holder it stays as long as somebody needs it, for at most the time that the
/// fetch took, or this if that is more.
const LEAST_ALONE: Duration = Duration::from_secs(30);

/// Where a download is in its life.
#[derive(Debug, Default)]
pub(super) struct Stay {
    /// When the first input came.
    began: Option<Instant>,
    /// When every piece was here.
    complete: Option<Instant>,
    /// Whether it was said that nobody is waited for.
    over: bool,
}

impl Download {
    /// Notes the time of an input, before it is taken.
    pub(super) fn begins(&mut self, now: Instant) {
        self.stay.began.get_or_insert(now);
    }

    /// Until when a complete download stays, if somebody needs it.
    pub(super) fn stays_until(&self) -> Option<Instant> {
        let (Some(began), Some(complete)) = (self.stay.began, self.stay.complete) else { return None };
        let longest = self.config.longest_stay.filter(|_| !self.stay.over)?;
        let fetches = |source: &Source| !source.holds && !source.pieces.is_full();
        if !self.sources.values().any(fetches) {
            return None;
        }
        let took = complete.since(began);
        let stay = if self.sources.values().any(Source::holds_all) {
            let moment = if self.uplink_idle { SHORTEST_MOMENT } else { took / MOMENT };
            moment.clamp(SHORTEST_MOMENT, LONGEST_MOMENT).min(longest)
        } else if self.waited_for().next().is_some() {
            took.max(LEAST_ALONE).min(longest)
        } else {
            LONGEST_MOMENT.min(longest)
        };
        Some(complete + stay)
    }

    /// Says so when a complete download need not stay, after an input was taken.
    pub(super) fn end_stay(&mut self, now: Instant) {
        if !self.done || self.stay.over {
            return;
        }
        self.stay.complete.get_or_insert(now);
        if self.stays_until().is_none_or(|until| until <= now) {
            self.stay.over = true;
            self.outputs.push_back(DownloadOutput::Unneeded);
        }
    }

    /// Who listens and has not everything yet: where it listens, and how many pieces it has.
    pub fn waited_for(&self) -> impl Iterator<Item = (SocketAddr, u32)> {
        let listening = self.subscribers.values().flatten().filter_map(|addr| self.by_addr.get(addr));
        let sources = listening.filter_map(|id| self.sources.get(id));
        sources.filter(|source| !source.pieces.is_full()).map(|source| (source.addr, source.pieces.len()))
    }
}
