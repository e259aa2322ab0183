//! What a run is told on its command line.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

/// How long the run is, how large, and what makes it harder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// How long operations begin.
    pub(super) time: Duration,
    /// What every choice comes from.
    pub(super) seed: u64,
    pub(super) peers: usize,
    pub(super) workers: usize,
    /// Peers' folders and what is fetched lie on a small file system.
    pub(super) full_disk: bool,
    /// Peers may have few files open.
    pub(super) few_files: bool,
    /// Peers may send little a second.
    pub(super) slow: bool,
}

impl Options {
    /// Reads them; `None` if that is not how they are given.
    pub(crate) fn parse(words: &[String]) -> Option<Self> {
        // Short enough to be typed again. The standard library has no other chance than this.
        let seed = RandomState::new().build_hasher().finish() % 1_000_000;
        let mut options = Self {
            time: Duration::from_secs(60),
            seed,
            peers: 5,
            workers: 4,
            full_disk: false,
            few_files: false,
            slow: false,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut number = || words.next()?.parse::<u32>().ok();
            match word.as_str() {
                "--seconds" => options.time = Duration::from_secs(number()?.into()),
                "--seed" => options.seed = words.next()?.parse().ok()?,
                "--peers" => options.peers = number().filter(|n| *n > 0)? as usize,
                "--workers" => options.workers = number().filter(|n| *n > 0)? as usize,
                "--full-disk" => options.full_disk = true,
                "--few-files" => options.few_files = true,
                "--slow" => options.slow = true,
                _ => return None,
            }
        }
        Some(options)
    }

    /// The words that give the same operations again.
    pub(super) fn replay(&self) -> String {
        let mut words = format!(
            "--seed {} --seconds {} --peers {} --workers {}",
            self.seed,
            self.time.as_secs(),
            self.peers,
            self.workers
        );
        let switches =
            [(self.full_disk, " --full-disk"), (self.few_files, " --few-files"), (self.slow, " --slow")];
        switches.iter().filter(|(on, _)| *on).for_each(|(_, word)| words.push_str(word));
        words
    }
}

#[cfg(test)]
mod tests {
    use super::Options;

    #[test]
    fn what_a_run_prints_gives_the_same_run() {
        let parse = |line: &str| Options::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let options = parse("--slow --seed 7 --workers 2 --full-disk --seconds 9").expect("options");
        assert_eq!((options.seed, options.workers, options.peers), (7, 2, 5));
        assert_eq!(parse(&options.replay()), Some(options));
        for wrong in ["--sed 7", "--seed", "--seed x", "--peers 0", "7"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
