//! One source of a download: what it has, what it owes, how fast it is.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::types::{DownloadConfig, SourceId};
use crate::pieces::PieceSet;
use crate::time::Instant;

/// A rate is measured over windows of at least so long.
const RATE_WINDOW: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Source {
    pub(super) addr: SocketAddr,
    pub(super) pieces: PieceSet,
    /// What it said that it has and did not send, once and more than once.
    pub(super) refused: [PieceSet; 2],
    /// Whether it does not fetch the content itself.
    pub(super) holds: bool,
    /// What it was asked for, in order; it answers in order.
    pub(super) owes: VecDeque<Owed>,
    pub(super) owed_bytes: u64,
    /// What it need not send, and has not answered yet, oldest first.
    pub(super) taken_back: Vec<u32>,
    pub(super) last_progress: Instant,
    /// Whether others may be asked for what it owes.
    pub(super) slow: bool,
    /// Until then it is not dropped: it has just become slow, or only it has what it owes.
    pub(super) kept_until: Instant,
    pub(super) got: u32,
    /// What came from it.
    pub(super) sent: PieceSet,
    pub(super) bytes: u64,
    rate: Option<f64>,
    /// The shortest time from a request until its piece began to come: what the path takes.
    path: Option<Duration>,
    window_began: Instant,
    window_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owed {
    pub(super) piece: u32,
    pub(super) length: u64,
    pub(super) state: Owing,
    asked_at: Instant,
}

/// How far a source is with what it owes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owing {
    /// It was asked.
    Asked,
    /// It was told that another may send it instead, which is asked as soon as this one agrees. It
    /// may have begun already.
    TakenBack { by: SourceId, since: Instant },
    /// It comes.
    Begun,
}

impl Source {
    pub(super) fn new(now: Instant, addr: SocketAddr, pieces: PieceSet, holds: bool) -> Self {
        let nothing = || PieceSet::empty(pieces.count());
        let (sent, refused) = (nothing(), [nothing(), nothing()]);
        Self {
            addr,
            pieces,
            sent,
            refused,
            holds,
            owes: VecDeque::new(),
            owed_bytes: 0,
            taken_back: Vec::new(),
            last_progress: now,
            slow: false,
            kept_until: now,
            got: 0,
            bytes: 0,
            rate: None,
            path: None,
            window_began: now,
            window_bytes: 0,
        }
    }

    pub(super) fn asked(&mut self, now: Instant, piece: u32, length: u64) {
        if self.owes.is_empty() {
            self.last_progress = now;
            self.window_began = now;
            self.window_bytes = 0;
        }
        self.owes.push_back(Owed { piece, length, state: Owing::Asked, asked_at: now });
        self.owed_bytes += length;
    }

    /// It sends a piece that it was not asked for.
    pub(super) fn chose(&mut self, now: Instant, piece: u32, length: u64) {
        self.asked(now, piece, length);
        if let Some(last) = self.owes.pop_back() {
            // Behind those that have come and are still being verified.
            let at = self.owes.iter().position(|owed| owed.state != Owing::Begun).unwrap_or(self.owes.len());
            self.owes.insert(at, Owed { state: Owing::Begun, ..last });
        }
    }

    /// How long ago it was asked for a piece that it owes.
    pub(super) fn has_waited(&self, now: Instant, piece: u32) -> Option<Duration> {
        let owed = self.owes.iter().find(|owed| owed.piece == piece)?;
        Some(now.since(owed.asked_at))
    }

    /// A piece that it owes begins to come. How far it was with it; none if it does not owe it.
    pub(super) fn begins(&mut self, now: Instant, piece: u32) -> Option<Owing> {
        let owed = self.owes.iter_mut().find(|owed| owed.piece == piece)?;
        let took = now.since(owed.asked_at);
        self.path = Some(self.path.map_or(took, |path| path.min(took)));
        Some(std::mem::replace(&mut owed.state, Owing::Begun))
    }

    /// Whether one of the pieces that it owes comes.
    pub(super) fn is_sending(&self) -> bool {
        self.owes.iter().any(|owed| owed.state == Owing::Begun)
    }

    /// It no longer owes this piece. How far it was with it, if it did.
    pub(super) fn settled(&mut self, piece: u32) -> Option<Owing> {
        let at = self.owes.iter().position(|owed| owed.piece == piece)?;
        let owed = self.owes.remove(at)?;
        self.owed_bytes -= owed.length;
        Some(owed.state)
    }

    /// It has this piece now. False if it had, or has not sent it twice after it said so.
    pub(super) fn gets(&mut self, piece: u32) -> bool {
        let [_, again] = &self.refused;
        !again.contains(piece) && self.pieces.insert(piece)
    }

    /// It has not sent this piece after all. False if it did not say that it has it.
    pub(super) fn refuses(&mut self, piece: u32) -> bool {
        let [once, again] = &mut self.refused;
        let removed = self.pieces.remove(piece);
        if removed && !once.insert(piece) {
            again.insert(piece);
        }
        removed
    }

    /// Its answer to a request for this piece comes. True if that was taken back: what was asked
    /// for first is answered first.
    pub(super) fn answers_taken_back(&mut self, piece: u32) -> bool {
        let Some(at) = self.taken_back.iter().position(|taken| *taken == piece) else { return false };
        self.taken_back.remove(at);
        true
    }

    pub(super) fn progress(&mut self, now: Instant, bytes: u64) {
        self.bytes += bytes;
        self.last_progress = now;
        self.slow = false;
        self.window_bytes += bytes;
        let elapsed = now.since(self.window_began);
        if elapsed >= RATE_WINDOW {
            let lately = self.window_bytes as f64 / elapsed.as_secs_f64();
            // Half of the weight on the latest window: quick to follow, slow to jump.
            self.rate = Some(self.rate.map_or(lately, |rate| (rate + lately) / 2.0));
            self.window_began = now;
            self.window_bytes = 0;
        }
    }

    /// Bytes a second, once known.
    pub(super) fn rate(&self) -> Option<f64> {
        self.rate
    }

    /// Whether it has everything, and for good. Such a source may send another piece than the one that
    /// it is asked for, since it knows best what the others lack. It is told what is here; who was
    /// fetching itself a moment ago is not, and might choose that.
    pub(super) fn holds_all(&self) -> bool {
        self.holds && self.pieces.is_full()
    }

    /// Whether it should be asked for more.
    pub(super) fn has_room(&self, config: &DownloadConfig, crowded: bool) -> bool {
        if self.owes.len() < if crowded { 1 } else { config.min_pipeline } {
            return true;
        }
        let wanted = match self.rate {
            Some(rate) => {
                let time = config.pipeline_time + self.path.unwrap_or_default();
                (rate * time.as_secs_f64()) as u64
            }
            // Twice as much each time that all of it has come.
            None => config.first_pipeline.saturating_add(self.bytes),
        };
        self.owes.len() < config.max_pipeline && self.owed_bytes < wanted
    }

    /// How long it will be until it has sent everything up to this piece. A source that has been
    /// silent is expected to be so for as long again: it serves others meanwhile.
    pub(super) fn time_until(&self, now: Instant, piece: u32) -> Option<Duration> {
        let owed = self.owes.iter().find(|owed| owed.piece == piece)?;
        Some(self.time_for(self.bytes_before(piece) + owed.length)?.max(now.since(self.last_progress)))
    }

    /// How much it sends before this piece.
    pub(super) fn bytes_before(&self, piece: u32) -> u64 {
        self.owes.iter().take_while(|owed| owed.piece != piece).map(|owed| owed.length).sum()
    }

    /// How long it takes for so many bytes.
    pub(super) fn time_for(&self, bytes: u64) -> Option<Duration> {
        time_at(self.rate?, bytes)
    }
}

/// How long so many bytes take at a rate in bytes a second.
pub(super) fn time_at(rate: f64, bytes: u64) -> Option<Duration> {
    Duration::try_from_secs_f64(bytes as f64 / rate).ok()
}
