//! Whose turn it is to be sent something, and how many have one.

use std::net::IpAddr;
use std::time::Duration;

use super::{Upload, Want};
use crate::time::Instant;
use crate::tracker::ConnectionId;

/// How fast things have left lately.
#[derive(Debug, Default)]
pub(super) struct Pace {
    since: Instant,
    bytes: u64,
    bytes_per_s: u64,
    /// The fastest that they have left; what was long ago counts less.
    best: u64,
}

impl Pace {
    /// It is looked at so often.
    const SPAN: Duration = Duration::from_millis(250);

    pub(super) fn sent(&mut self, bytes: u64, at: Instant) {
        self.bytes += bytes;
        let took = at.since(self.since);
        if took >= Self::SPAN {
            let bytes_per_s = u128::from(self.bytes) * 1_000_000_000 / took.as_nanos();
            self.bytes_per_s = u64::try_from(bytes_per_s).unwrap_or(u64::MAX);
            // Half of it is forgotten within three minutes.
            self.best = self.bytes_per_s.max(self.best - self.best / 1024);
            (self.since, self.bytes) = (at, 0);
        }
    }

    fn slots(&self) -> usize {
        const BYTES_PER_S: u64 = 1_250_000;
        (self.bytes_per_s / BYTES_PER_S).clamp(2, 4) as usize
    }
}

/// Whom a turn is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    Anybody,
    /// Those who took what they were sent last as fast as it went.
    Proven,
}

/// How far somebody has got who has so many pieces, in a few steps: nothing at all is the first.
fn progress(has: u32, count: u32) -> u32 {
    const STEPS: u64 = 64;
    match has {
        0 => 0,
        has => 1 + (u64::from(has) * STEPS / u64::from(count.max(1))) as u32,
    }
}

impl Upload {
    /// Whoever takes less than this, in bytes a second, while there is something to take, does not
    /// hold a turn that others could use: a small part of what a turn is worth on this uplink.
    pub fn least_pace(&self) -> u64 {
        const ENOUGH: u64 = 128 << 10;
        ENOUGH.max(self.pace.best / (8 * self.slots() as u64))
    }

    fn slots(&self) -> usize {
        self.config.slots.map_or_else(|| self.pace.slots(), |slots| slots.max(1))
    }

    /// For whom a turn is free. If all are held by connections that have not shown yet that they
    /// take what they are sent, there is one more for those who have: however many take their turns
    /// and read nothing, the others are served.
    pub(super) fn free_turn(&self) -> Option<For> {
        let active = self.sending.iter().filter(|(_, sending)| !sending.stalled);
        let (held, proven) = active.fold((0, 0), |(held, proven), (connection, _)| {
            (held + 1, proven + usize::from(self.proven.contains(connection)))
        });
        let slots = self.slots();
        match held {
            held if held < slots => Some(For::Anybody),
            held if held == slots && proven == 0 => Some(For::Proven),
            _ => None,
        }
    }

    /// Those of a host with many connections come last, so that nobody gets more by asking more
    /// often; then whoever has got least comes first, so that all have something to pass on and
    /// finish together; then the piece that the fewest have, since whoever gets it can pass it on;
    /// then whoever has waited longest. But nobody waits for more than two rounds.
    pub(super) fn next_waiting(&mut self, who: For) -> Option<(ConnectionId, Want)> {
        let proven = &self.proven;
        let may = |connection: &ConnectionId| who == For::Anybody || proven.contains(connection);
        let patient = 2 * self.waiting.len();
        let mut waiting = self.waiting.iter().enumerate().filter(|(_, (connection, ..))| may(connection));
        let key = |(connection, want, _): &(ConnectionId, Want, usize)| {
            (self.crowd(want.from), self.progress(*connection, want), want.copies)
        };
        let at = match waiting.next()? {
            (at, (_, _, passed)) if *passed >= patient => at,
            first => std::iter::once(first).chain(waiting).min_by_key(|(_, waiting)| key(waiting))?.0,
        };
        for (connection, _, passed) in self.waiting.range_mut(..at) {
            *passed += usize::from(may(connection));
        }
        self.waiting.remove(at).map(|(connection, want, _)| (connection, want))
    }

    /// How many connections a host has that wait or are being sent to, in steps: a few are none.
    fn crowd(&self, host: IpAddr) -> usize {
        const FEW: usize = 8;
        self.hosts.get(&host).map_or(0, |connections| connections / FEW)
    }

    /// A connection of this host waits no more, or is not being sent to any more.
    pub(super) fn one_less(&mut self, host: IpAddr) {
        if let Some(connections) = self.hosts.get_mut(&host) {
            *connections -= 1;
            if *connections == 0 {
                self.hosts.remove(&host);
            }
        }
    }

    pub(super) fn waits_no_more(&mut self, connection: ConnectionId) {
        if let Some(at) = self.waiting.iter().position(|(waiting, ..)| *waiting == connection)
            && let Some((_, want, _)) = self.waiting.remove(at)
        {
            self.one_less(want.from);
        }
    }

    /// How far whoever is at the other end has got, as far as is known. Who does not say what its pieces
    /// are of, and so never has any more, comes last.
    fn progress(&self, connection: ConnectionId, want: &Want) -> u32 {
        match want.has.max(self.known.count(connection, want.served)) {
            0 if want.wishes.iter().all(|wish| wish.piece.is_none()) => u32::MAX,
            has => progress(has, want.count),
        }
    }
}
