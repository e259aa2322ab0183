//! [`Checks`]: pieces that came are checked and written on threads that may block, small ones
//! together.

use std::sync::Arc;

use askaround_core::message::ByteRange;
use tokio::task::{JoinError, JoinSet};

use super::super::pool::Buffer;
use super::{Rejected, Sink};

/// The most threads that check pieces of a connection while the next one is read.
const MAX_THREADS: usize = 2;
/// With so many bytes or pieces that wait, another thread begins before the first is done.
const TOGETHER: usize = 1 << 20;
const MAX_TOGETHER: usize = 64;

/// The pieces of a connection that are being checked, and those that wait for it.
pub(super) struct Checks {
    sink: Arc<dyn Sink>,
    waiting: Vec<Piece>,
    waiting_bytes: usize,
    running: JoinSet<Vec<Checked>>,
}

/// A piece that came whole.
#[derive(Debug)]
pub(super) struct Piece {
    /// Which.
    pub(super) piece: u32,
    /// The bytes that it was then.
    pub(super) range: ByteRange,
    pub(super) bytes: Buffer,
}

/// A piece that was checked and, if it is right, written.
pub(super) struct Checked {
    pub(super) piece: u32,
    pub(super) result: Result<(), Rejected>,
}

impl Checks {
    pub(super) fn new(sink: Arc<dyn Sink>) -> Self {
        Self { sink, waiting: Vec::new(), waiting_bytes: 0, running: JoinSet::new() }
    }

    /// Whether another piece may come.
    pub(super) fn has_room(&self) -> bool {
        self.running.len() < MAX_THREADS && !self.is_full()
    }

    pub(super) fn add(&mut self, piece: Piece) {
        self.waiting_bytes += piece.bytes.len();
        self.waiting.push(piece);
        self.start();
    }

    /// Pieces that were checked together, when they are. `None` if there are none.
    pub(super) async fn next(&mut self) -> Option<Result<Vec<Checked>, JoinError>> {
        let checked = self.running.join_next().await;
        self.start();
        checked
    }

    /// What waits goes to a thread if none is at work, or if there is enough for another one. So
    /// whatever comes while a thread is at work is done together by the next.
    fn start(&mut self) {
        let is_due = self.running.is_empty() || self.is_full();
        if self.waiting.is_empty() || self.running.len() == MAX_THREADS || !is_due {
            return;
        }
        let (sink, waiting) = (self.sink.clone(), std::mem::take(&mut self.waiting));
        self.waiting_bytes = 0;
        self.running.spawn_blocking(move || {
            let check = |Piece { piece, range, bytes }| {
                let result = sink.accept(piece, &range, &bytes);
                Checked { piece, result }
            };
            waiting.into_iter().map(check).collect()
        });
    }

    fn is_full(&self) -> bool {
        self.waiting_bytes >= TOGETHER || self.waiting.len() >= MAX_TOGETHER
    }
}
