//! [`Pool`]: the memory that pieces on their way are held in, bounded for the whole node.

use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::lock;

/// What is counted, in bytes: the smallest piece.
const UNIT: usize = 64 << 10;

/// Lends buffers and waits when all are lent. Whoever waits is served in turn.
///
/// Buffers are used again: fresh memory costs a page fault every 4 KiB, used memory costs nothing.
#[derive(Debug)]
pub struct Pool {
    units: usize,
    free_units: Arc<Semaphore>,
    kept: Mutex<Kept>,
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

impl Pool {
    /// A pool of so many bytes, and never less than `largest`, the largest buffer that will be
    /// asked for.
    pub fn new(bytes: usize, largest: usize) -> Arc<Self> {
        let units = units(bytes.max(largest)).min(Semaphore::MAX_PERMITS);
        Arc::new(Self { units, free_units: Arc::new(Semaphore::new(units)), kept: Mutex::default() })
    }

    /// A buffer of `length` bytes, when there is memory for it.
    ///
    /// # Panics
    /// If it is larger than the whole pool: a bug of the caller.
    pub async fn take(self: &Arc<Self>, length: usize) -> Buffer {
        let wanted = units(length);
        assert!(wanted <= self.units, "a buffer of {length} bytes from a smaller pool");
        // Units fit: the pool has fewer than Semaphore::MAX_PERMITS, and buffers are pieces.
        let permits = u32::try_from(wanted).unwrap_or(u32::MAX);
        let permit = self.free_units.clone().acquire_many_owned(permits).await;
        let permit = permit.expect("the pool is never closed");
        let bytes = lock(&self.kept).take(wanted, self.units);
        Buffer { bytes, length, pool: self.clone(), _permit: permit }
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
mod tests {
    use super::*;

    fn memory(pool: &Pool) -> usize {
        lock(&pool.kept).units
    }

    #[tokio::test]
    async fn all_that_is_lent_and_kept_stays_within_the_pool() {
        let pool = Pool::new(8 * UNIT, UNIT);
        let small: Vec<_> = [pool.take(1).await, pool.take(UNIT).await, pool.take(10).await].into();
        assert_eq!((small[0].len(), small[1].len(), memory(&pool)), (1, UNIT, 3));
        let mut large = pool.take(5 * UNIT).await;
        large[5 * UNIT - 1] = 7;
        assert_eq!(memory(&pool), 8);
        let waiting = tokio::spawn({
            let pool = pool.clone();
            async move { pool.take(4 * UNIT).await.len() }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "there is no memory for it");
        drop(large);
        assert_eq!(waiting.await.unwrap(), 4 * UNIT);
        assert!(memory(&pool) <= 8, "the large buffer made room");
        drop(small);
        drop(pool.take(8 * UNIT).await);
        assert_eq!(memory(&pool), 8);
    }

    #[tokio::test]
    async fn memory_is_used_again() {
        let pool = Pool::new(8 * UNIT, UNIT);
        let mut first = pool.take(UNIT).await;
        first[0] = 42;
        drop(first);
        assert_eq!(pool.take(UNIT).await[0], 42);
        assert_eq!(memory(&pool), 1);
        assert_eq!(Pool::new(0, 3 * UNIT).take(3 * UNIT).await.len(), 3 * UNIT, "one always fits");
    }
}
