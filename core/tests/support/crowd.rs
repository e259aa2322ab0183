//! Who takes part in a swarm, and what came of it.

use std::time::Duration;

/// Who takes part, and over which links.
#[derive(Debug, Clone)]
pub(crate) struct Crowd {
    pub(crate) fetchers: usize,
    pub(crate) pieces: u32,
    pub(crate) piece_bytes: u32,
    /// Bits a second.
    pub(crate) seed_up: f64,
    pub(crate) up: f64,
    pub(crate) down: f64,
    pub(crate) latency: Duration,
    /// How many others each fetcher knows.
    pub(crate) neighbours: usize,
    /// Whether the holder leaves when it has sent each piece once.
    pub(crate) seed_leaves: bool,
    /// The longest that those who are complete stay for others. None if they never leave.
    pub(crate) longest_stay: Option<Duration>,
    pub(crate) seed: u64,
}

impl Default for Crowd {
    fn default() -> Self {
        Self {
            fetchers: 8,
            pieces: 1024,
            piece_bytes: 64 << 10,
            seed_up: 40e6,
            up: 40e6,
            down: 100e6,
            latency: Duration::from_millis(1),
            neighbours: 40,
            seed_leaves: false,
            longest_stay: None,
            seed: 1,
        }
    }
}

impl Crowd {
    pub(crate) fn size(&self) -> u64 {
        u64::from(self.pieces) * u64::from(self.piece_bytes)
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) finished: usize,
    pub(crate) last_seconds: f64,
    /// Pieces that came to somebody who had them.
    pub(crate) duplicates: u64,
    /// Pieces that the holder sent, of those it has.
    pub(crate) seed_sent: u64,
    pub(crate) news: u64,
    pub(crate) events: u64,
}
