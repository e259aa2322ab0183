//! [`Rate`]: a limit in bytes a second that all connections of one direction share.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::lock;

/// What a limit that nobody used for a while lets through at once, in time at its rate. A swarm
/// comes as close to what its uplinks can carry as this is small.
const BURST: Duration = Duration::from_millis(20);
/// What is handed out at once, in time at the limit's rate. Each time costs a change of threads, so
/// that a whole piece is better than thirds of one: in a crowd of 33 processes on two cores that was a
/// tenth of all work. Connections take turns with it.
const PORTION: Duration = Duration::from_millis(30);
/// But not less than this, so that a slow limit does not cost a system call a packet.
const LEAST_PORTION: u64 = 16 << 10;
/// A machine that is busy wakes a sleeper late. So much of what a sleeper missed is made up for;
/// after a longer sleep (a laptop's lid) it is not.
const MADE_UP_FOR: Duration = Duration::from_millis(250);

/// A limit in bytes a second, shared, and adjustable while it is in use. Whoever waits is served
/// in turn, a small portion each time, so that all get the same.
#[derive(Debug)]
pub struct Rate {
    /// Bytes a second; 0: no limit.
    bytes_per_s: AtomicU64,
    /// Whose turn it is. A semaphore because it is fair, and may be held across a wait.
    turn: Semaphore,
    account: Mutex<Account>,
    changed: Notify,
    /// Bytes that passed.
    passed: AtomicU64,
}

/// The account is even at `even_at`: before that time more was let through than the limit
/// allows, after it the limit has something to give.
#[derive(Debug)]
struct Account {
    even_at: Instant,
    /// When something was last handed out.
    last: Instant,
}

impl Rate {
    /// A limit, or none.
    pub fn new(bytes_per_s: Option<u64>) -> Self {
        let now = Instant::now();
        Self {
            bytes_per_s: AtomicU64::new(stored(bytes_per_s)),
            turn: Semaphore::new(1),
            account: Mutex::new(Account { even_at: now, last: now }),
            changed: Notify::new(),
            passed: AtomicU64::new(0),
        }
    }

    /// Counts bytes that have passed, for those who ask.
    pub(crate) fn count(&self, bytes: u64) {
        self.passed.fetch_add(bytes, Ordering::Relaxed);
    }

    /// How many bytes have passed.
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    /// What the limit is.
    pub fn limit(&self) -> Option<u64> {
        Some(self.bytes_per_s.load(Ordering::Relaxed)).filter(|rate| *rate != 0)
    }

    /// How much the limit lets through in a moment: what is handed out at once.
    pub(crate) fn in_a_moment(&self) -> u64 {
        self.limit().map_or(u64::MAX, portion)
    }

    /// Changes the limit, also for those who wait.
    pub fn set(&self, bytes_per_s: Option<u64>) {
        self.bytes_per_s.store(stored(bytes_per_s), Ordering::Relaxed);
        let now = Instant::now();
        *lock(&self.account) = Account { even_at: now, last: now };
        self.changed.notify_waiters();
    }

    /// Waits until some of `wanted` bytes may pass, and says how many: all of them if there is no
    /// limit, never 0 unless `wanted` is.
    pub async fn take(&self, wanted: u64) -> u64 {
        if self.limit().is_none() || wanted == 0 {
            return wanted;
        }
        // It is never closed.
        let _turn = self.turn.acquire().await;
        self.wait_until_even(self.begin()).await;
        let Some(rate) = self.limit() else { return wanted };
        let granted = wanted.min(portion(rate));
        let mut account = lock(&self.account);
        account.even_at += time_for(granted, rate);
        account.last = Instant::now();
        granted
    }

    /// Gives back what was taken and is not needed.
    pub fn give_back(&self, bytes: u64) {
        if let Some(rate) = self.limit() {
            let mut account = lock(&self.account);
            account.even_at = account.even_at.checked_sub(time_for(bytes, rate)).unwrap_or(account.even_at);
        }
    }

    /// When the account will be even. What could have been used in a pause is gone but for a
    /// burst; what a late sleeper missed while there was demand is not.
    fn begin(&self) -> Instant {
        let mut account = lock(&self.account);
        let missed = account.last.saturating_duration_since(account.even_at).min(MADE_UP_FOR);
        let credit = missed.max(self.limit().map_or(BURST, |rate| BURST.max(time_for(portion(rate), rate))));
        if let Some(earliest) = Instant::now().checked_sub(credit) {
            account.even_at = account.even_at.max(earliest);
        }
        account.even_at
    }

    async fn wait_until_even(&self, mut even_at: Instant) {
        loop {
            let changed = self.changed.notified();
            if self.limit().is_none() || even_at <= Instant::now() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep_until(even_at) => {}
                () = changed => {}
            }
            even_at = lock(&self.account).even_at;
        }
    }
}

fn stored(limit: Option<u64>) -> u64 {
    // A limit of nothing would never let anything through; one byte a second is as good.
    limit.map_or(0, |rate| rate.max(1))
}

/// What is handed out at once.
fn portion(rate: u64) -> u64 {
    (rate / 1000).saturating_mul(PORTION.as_millis() as u64).max(LEAST_PORTION)
}

fn time_for(bytes: u64, rate: u64) -> Duration {
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate);
    // A portion takes at most hours; this is for rates near the end of the range.
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX >> 1))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const MIB: u64 = 1 << 20;

    async fn pass(rate: &Rate, bytes: u64) {
        let mut left = bytes;
        while left > 0 {
            left -= rate.take(left).await;
        }
    }

    /// How long four connections take for `bytes` each.
    async fn four(rate: Arc<Rate>, bytes: u64) -> Vec<Duration> {
        let start = Instant::now();
        let all: Vec<_> = (0..4)
            .map(|_| {
                let rate = rate.clone();
                tokio::spawn(async move {
                    pass(&rate, bytes).await;
                    start.elapsed()
                })
            })
            .collect();
        let mut took = Vec::new();
        for one in all {
            took.push(one.await.unwrap());
        }
        took
    }

    #[tokio::test(start_paused = true)]
    async fn four_connections_share_it_to_the_percent() {
        for rate in [100_000, MIB, 5 * MIB, 100 * MIB] {
            let took = four(Arc::new(Rate::new(Some(rate))), 10 * rate / 4).await;
            for one in took {
                let seconds = one.as_secs_f64();
                // The first burst, what is let through ahead, and the others' last turns.
                let ahead = BURST + 8 * time_for(portion(rate), rate);
                assert!((10.0 - ahead.as_secs_f64()..=10.05).contains(&seconds), "{seconds} s at {rate}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_saves_up_no_more_than_a_burst() {
        let rate = Rate::new(Some(MIB));
        pass(&rate, MIB).await;
        tokio::time::advance(Duration::from_secs(60)).await;
        let start = Instant::now();
        pass(&rate, MIB).await;
        let took = start.elapsed();
        assert!(took > Duration::from_millis(950) && took < Duration::from_millis(1005), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_woken_late_loses_nothing() {
        let rate = Rate::new(Some(MIB));
        let start = Instant::now();
        let mut left = 10 * MIB;
        while left > 0 {
            left -= rate.take(left).await;
            if left.is_multiple_of(7) {
                // As on a machine with something else to do; well within what the limit allows.
                tokio::time::advance(Duration::from_millis(15)).await;
            }
        }
        let took = start.elapsed();
        assert!(took < Duration::from_millis(10_050), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn it_can_be_changed_while_somebody_waits() {
        let rate = Arc::new(Rate::new(Some(1)));
        let waiting = tokio::spawn({
            let rate = rate.clone();
            async move { pass(&rate, 10 * MIB).await }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!waiting.is_finished());
        let start = Instant::now();
        rate.set(Some(MIB));
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(!waiting.is_finished());
        rate.set(None);
        waiting.await.unwrap();
        assert!(start.elapsed() < Duration::from_millis(5100), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn no_limit_costs_nothing_and_what_is_given_back_counts() {
        let start = Instant::now();
        assert_eq!(Rate::new(None).take(u64::MAX).await, u64::MAX);
        let rate = Rate::new(Some(MIB));
        assert_eq!(rate.take(0).await, 0);
        for _ in 0..1000 {
            rate.give_back(rate.take(MIB).await);
        }
        assert!(start.elapsed() < Duration::from_millis(20), "{:?}", start.elapsed());
    }
}
