//! [`Pool`]: the memory that pieces on their way are held in, bounded for the whole node.
//!
//! A source that sends slowly holds the memory for its piece for long. Two rules keep it from
//! keeping others waiting:
//!
//! - A quarter of the pool, or room for the largest piece if that is more, is the *reserve*: it is
//!   lent only to sources whose last piece came quickly. The rest is *shared*: whoever waits for it
//!   is served in turn. So whoever has been quick once goes on, whatever else is held. A pool with
//!   room for a single piece has no reserve.
//! - While somebody waits, holders that are too slow give their memory back, as much of it as is
//!   waited for, once every [`Terms::grace`] in each part; those first whose pieces have longest to
//!   come. The connection ends as one that is too slow, and its pieces are asked of others.
//!
//! Only the time counts in which the source is read from: nobody is slow because our own limit,
//! disk or driver is.

mod lending;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

pub use self::lending::Terms;
use self::lending::{Lending, Part};
use crate::lock;

/// What is counted, in bytes: the smallest piece.
const UNIT: usize = 64 << 10;

/// Lends buffers and waits when all are lent.
///
/// Buffers are used again: fresh memory costs a page fault every 4 KiB, used memory costs nothing.
#[derive(Debug)]
pub struct Pool {
    units: usize,
    shared: Arc<Semaphore>,
    reserve: Arc<Semaphore>,
    reserve_units: usize,
    terms: Terms,
    kept: Mutex<Kept>,
    lending: Mutex<Lending>,
    last_borrower: AtomicU64,
}

/// Buffers that are not lent, those used last at the end.
#[derive(Debug, Default)]
struct Kept {
    buffers: Vec<Vec<u8>>,
    /// Units of memory in use, lent or kept.
    units: usize,
}

/// A buffer of exactly the length asked for. Its bytes are whatever its last user left.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    length: usize,
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

/// Whoever fills buffers, one at a time: a connection to a source. Buffers that are full may be
/// held meanwhile.
#[derive(Debug)]
pub struct Borrower {
    pool: Arc<Pool>,
    number: u64,
    /// Whether its last piece came quickly.
    quick: bool,
    /// Notified when its buffer is recalled; perhaps also when an earlier one was.
    called: Arc<Notify>,
}

impl Pool {
    /// A pool of so many bytes, and never less than `largest`, the largest buffer that will be
    /// asked for.
    pub fn new(bytes: usize, largest: usize) -> Arc<Self> {
        Self::with_terms(bytes, largest, Terms::default())
    }

    /// The same, with other ideas of what is quick and what is too slow.
    pub fn with_terms(bytes: usize, largest: usize, terms: Terms) -> Arc<Self> {
        let largest = units(largest);
        let all = units(bytes).max(largest).min(Semaphore::MAX_PERMITS);
        // Either part has room for the largest.
        let reserve_units = if all >= 2 * largest { largest.max(all / 4) } else { 0 };
        Arc::new(Self {
            units: all,
            shared: Arc::new(Semaphore::new(all - reserve_units)),
            reserve: Arc::new(Semaphore::new(reserve_units)),
            reserve_units,
            terms,
            kept: Mutex::default(),
            lending: Mutex::default(),
            last_borrower: AtomicU64::new(0),
        })
    }

    /// Somebody who will fill buffers.
    pub fn borrower(self: &Arc<Self>) -> Borrower {
        let number = self.last_borrower.fetch_add(1, Ordering::Relaxed);
        Borrower { pool: self.clone(), number, quick: false, called: Arc::default() }
    }

    /// Memory of so many units, and of which part, when there is some.
    async fn permit(&self, units: usize, quick: bool) -> (OwnedSemaphorePermit, Part) {
        // Units fit: the pool has fewer than Semaphore::MAX_PERMITS, and buffers are pieces.
        let permits = u32::try_from(units).unwrap_or(u32::MAX);
        let (permit, part) = tokio::select! {
            biased;
            permit = self.reserve.clone().acquire_many_owned(permits), if quick && units <= self.reserve_units => {
                (permit, Part::Reserve)
            }
            permit = self.shared.clone().acquire_many_owned(permits) => (permit, Part::Shared),
        };
        (permit.expect("the pool is never closed"), part)
    }
}

impl Borrower {
    /// A buffer of `length` bytes to fill, when there is memory for it.
    ///
    /// # Panics
    /// If it is larger than the shared part of the pool: a bug of the caller.
    pub fn take(&self, length: usize) -> impl Future<Output = Buffer> + Send + use<> {
        let (pool, number, quick, called) = (self.pool.clone(), self.number, self.quick, self.called.clone());
        async move {
            let wanted = units(length);
            assert!(wanted <= pool.units - pool.reserve_units, "{length} bytes of a smaller pool");
            let (permit, part) = {
                let mut permit = std::pin::pin!(pool.permit(wanted, quick));
                loop {
                    tokio::select! {
                        biased;
                        permit = &mut permit => break permit,
                        () = tokio::time::sleep(pool.terms.grace / 8) => {
                            let mut lending = lock(&pool.lending);
                            lending.recall(Part::Shared, wanted, &pool.terms, Instant::now());
                            if quick {
                                lending.recall(Part::Reserve, wanted, &pool.terms, Instant::now());
                            }
                        }
                    }
                }
            };
            lock(&pool.lending).lent(number, part, length, called);
            let bytes = lock(&pool.kept).take(wanted, pool.units);
            Buffer { bytes, length, pool, _permit: permit }
        }
    }

    /// So many bytes of the buffer are filled; whether its source is being read from at the moment.
    pub fn filling(&self, filled: usize, reading: bool) {
        lock(&self.pool.lending).filling(self.number, filled, reading, Instant::now());
    }

    /// The buffer is full: the next may be taken.
    pub fn filled(&mut self) {
        if let Some(took) = lock(&self.pool.lending).ended(self.number, Instant::now()) {
            self.quick = took <= self.pool.terms.quick;
        }
    }

    /// Waits until the buffer that is being filled has to be given back. What waits for this may
    /// be dropped at any time.
    pub async fn recalled(&self) {
        while !lock(&self.pool.lending).is_recalled(self.number) {
            self.called.notified().await;
        }
    }
}

impl Drop for Borrower {
    fn drop(&mut self) {
        lock(&self.pool.lending).ended(self.number, Instant::now());
    }
}

impl Kept {
    /// A kept buffer of exactly `wanted` units, or a new one, in the place of kept ones if there
    /// is no more room. The caller holds permits for it, so that there is room then.
    fn take(&mut self, wanted: usize, most: usize) -> Vec<u8> {
        if let Some(at) = self.buffers.iter().rposition(|b| units(b.len()) == wanted) {
            return self.buffers.remove(at);
        }
        while self.units + wanted > most && !self.buffers.is_empty() {
            self.units -= units(self.buffers.remove(0).len());
        }
        self.units += wanted;
        vec![0; wanted * UNIT]
    }
}

impl std::ops::Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // Before the permit goes, so that whoever waits for it finds this buffer.
        lock(&self.pool.kept).buffers.push(std::mem::take(&mut self.bytes));
    }
}

fn units(bytes: usize) -> usize {
    bytes.div_ceil(UNIT).max(1)
}

#[cfg(test)]
mod tests;
