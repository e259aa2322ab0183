//! [`Throughput`]: how fast bytes go, as people are told.

use std::time::Duration;

use tokio::time::Instant;

/// What counts as lately, at least: over slow links and under low limits bytes come in portions, and
/// then it is as long as two of them take.
const LATELY: Duration = Duration::from_secs(2);
/// When nothing has come for so long, and for as long as two portions take, nothing comes.
const STILL: Duration = Duration::from_secs(10);

/// How many bytes a second come, or are sent.
#[derive(Debug)]
pub struct Throughput {
    /// Since the last look.
    came: u64,
    looked_at: Instant,
    /// When something had come, at a look.
    last: Instant,
    /// The longest that nothing came, lately.
    gap: Duration,
    /// Bytes that came and seconds that took, of which the latest count most. Both fade, and so what
    /// came at once in the first moment counts for no more than the moment that it took.
    bytes: f64,
    seconds: f64,
}

impl Throughput {
    /// Begins at this time.
    pub fn new(now: Instant) -> Self {
        Self { came: 0, looked_at: now, last: now, gap: Duration::ZERO, bytes: 0.0, seconds: 0.0 }
    }

    /// So many more came.
    pub fn came(&mut self, bytes: u64) {
        self.came += bytes;
    }

    /// How many bytes a second came lately. To be asked some times a second.
    pub fn look(&mut self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.looked_at).as_secs_f64();
        let came = std::mem::take(&mut self.came);
        self.looked_at = now;
        let silent = now.saturating_duration_since(self.last);
        if came > 0 {
            (self.last, self.gap) = (now, silent.max(self.gap / 2));
        }
        let kept = (-passed / LATELY.max(2 * self.gap).as_secs_f64()).exp();
        self.bytes = self.bytes * kept + came as f64;
        self.seconds = self.seconds * kept + passed;
        if came == 0 && silent >= STILL.max(2 * self.gap) {
            return 0;
        }
        (self.bytes / self.seconds.max(1e-3)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told at each look: so many milliseconds later, so many bytes more.
    fn rates(looks: &[(u64, u64)]) -> Vec<u64> {
        let mut now = Instant::now();
        let mut throughput = Throughput::new(now);
        let mut look = |(passed, came): &(u64, u64)| {
            now += Duration::from_millis(*passed);
            throughput.came(*came);
            throughput.look(now)
        };
        looks.iter().map(&mut look).collect()
    }

    #[test]
    fn what_comes_at_once_at_first_is_not_taken_for_the_rate() {
        // 200 kB at once, then 1,000 bytes a millisecond.
        let told = rates(&[&[(1, 200_000)][..], &[(250, 250_000); 16]].concat());
        assert!(told[1] < 2_000_000, "{told:?}");
        assert!((1_000_000..1_050_000).contains(&told[16]), "{told:?}");
    }

    #[test]
    fn a_steady_rate_is_told_however_often_it_is_looked_at() {
        assert!(
            rates(&[(250, 250_000), (10, 10_000), (500, 500_000)]).iter().all(|r| r.abs_diff(1_000_000) < 2)
        );
        assert_eq!(rates(&[(0, 0), (0, 0)]), [0, 0]);
    }

    #[test]
    fn what_comes_in_portions_has_a_rate_between_them_too() {
        for (looks, bytes) in [(4, 16_000), (32, 128_000), (64, 256_000)] {
            let portion = [vec![(250, 0); looks - 1], vec![(250, bytes)]].concat();
            let told = rates(&portion.repeat(8));
            assert!(told[5 * looks..].iter().all(|rate| (11_000..22_000).contains(rate)), "{told:?}");
        }
    }

    #[test]
    fn what_has_stopped_fades_and_is_nothing_after_a_while() {
        let told = rates(&[&[(250, 250_000); 4][..], &[(250, 0); 40], &[(250, 250_000); 16]].concat());
        assert!(told[15] < told[3] / 2 && told[42] > 0, "{told:?}");
        assert_eq!(told[43], 0);
        assert!(told[44] < 200_000 && told[59] > 800_000, "{told:?}");
    }
}
