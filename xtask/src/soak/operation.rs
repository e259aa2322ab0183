//! What a worker does, drawn from chance alone: the same seed gives the same operations, whatever
//! comes of them. What is chosen among things that are there only then is a `pick`, a number that
//! is taken modulo how many there are.

use std::time::Duration;

use fastrand::Rng;
use nix::sys::signal::Signal;

/// One thing that is done, with all that is drawn for it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operation {
    /// A peer is given a file or a folder.
    Add { peer: usize, copy: bool, recipe: u64 },
    /// A peer fetches; if that fails, perhaps again.
    Get { peer: usize, what: Wanted, in_place: bool, again: bool },
    /// A peer of its own fetches, perhaps from that peer alone, whether it has it or not; perhaps it is
    /// ended after that time, and the command repeated.
    OneShot { what: Wanted, from: Option<usize>, interrupted: Option<(Duration, Signal)> },
    /// A peer is ended and, after a pause, started again.
    Restart { peer: usize, signal: Signal, pause: Duration },
    /// A peer stands still.
    Stop { peer: usize, time: Duration },
    /// A peer forgets content.
    Purge { peer: usize, pick: usize },
    /// A file that was added is written to, at that share of its length.
    Change { pick: usize, file: usize, at: f64 },
    /// A peer reads all that it has, or one content.
    Verify { peer: usize, repair: bool, one: Option<usize> },
    /// A peer is asked something.
    Ask { peer: usize, words: &'static [&'static str] },
    /// The tracker is killed and, after a pause, started again at its address.
    Tracker { pause: Duration },
    /// Folders of things that were added and fetched are removed, the oldest first.
    Remove { folders: usize },
}

/// What is fetched, and how it is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    pub(super) pick: usize,
    /// By its md5, if it has one, and not by its BLAKE3 hash.
    pub(super) by_md5: bool,
    /// Which name it gets.
    pub(super) name: usize,
}

impl Wanted {
    fn draw(random: &mut Rng, pick: usize) -> Self {
        Self { pick, by_md5: random.u8(0..4) == 0, name: random.usize(0..100) }
    }
}

/// The operations, with how often each is drawn.
const WEIGHTS: [(&str, u32); 11] = [
    ("add", 25),
    ("get", 70),
    ("one-shot", 20),
    ("restart", 7),
    ("stop", 5),
    ("purge", 10),
    ("change", 5),
    ("verify", 5),
    ("ask", 12),
    ("tracker", 1),
    ("remove", 5),
];

const QUESTIONS: [&[&str]; 8] = [
    &["ls"],
    &["ls", "--all", "--long"],
    &["ls", "--json"],
    &["status"],
    &["status", "--json"],
    &["why"],
    &["why", "--json"],
    &["peers"],
];

impl Operation {
    /// Draws the next one, for a run of so many peers.
    pub(super) fn draw(random: &mut Rng, peers: usize) -> Self {
        // One step of the worker's own chance, however much is drawn for the operation.
        let random = &mut random.fork();
        let mut at = random.u32(0..WEIGHTS.iter().map(|(_, weight)| weight).sum());
        let drawn = WEIGHTS.iter().find(|(_, weight)| {
            let here = at < *weight;
            at = at.saturating_sub(*weight);
            here
        });
        let peer = random.usize(0..peers);
        let pick = random.u32(..) as usize;
        match drawn.map_or("get", |(name, _)| *name) {
            "add" => Self::Add { peer, copy: random.u8(0..10) < 3, recipe: random.u32(..).into() },
            "one-shot" => {
                let interrupted = random.bool().then(|| {
                    // Most fetches take little, and some a while.
                    let most = [10, 50, 400][random.usize(0..3)];
                    (millis(random, most), if random.bool() { Signal::SIGKILL } else { Signal::SIGINT })
                });
                let from = (random.u8(0..4) == 0).then_some(peer);
                Self::OneShot { what: Wanted::draw(random, pick), from, interrupted }
            }
            "restart" => {
                let signals = [Signal::SIGKILL, Signal::SIGKILL, Signal::SIGTERM, Signal::SIGINT];
                Self::Restart { peer, signal: signals[random.usize(0..4)], pause: millis(random, 500) }
            }
            "stop" => Self::Stop { peer, time: millis(random, 3000) },
            "purge" => Self::Purge { peer, pick },
            "change" => Self::Change { pick, file: random.u32(..) as usize, at: random.f64() },
            "verify" => Self::Verify { peer, repair: random.bool(), one: random.bool().then_some(pick) },
            "ask" => Self::Ask { peer, words: QUESTIONS[random.usize(0..QUESTIONS.len())] },
            "tracker" => Self::Tracker { pause: millis(random, 2000) },
            "remove" => Self::Remove { folders: random.usize(1..=20) },
            _ => {
                let (in_place, again) = (random.u8(0..100) < 15, random.bool());
                Self::Get { peer, what: Wanted::draw(random, pick), in_place, again }
            }
        }
    }

    /// What it counts as.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Add { .. } => "add",
            Self::Get { .. } => "get",
            Self::OneShot { .. } => "get --tracker",
            Self::Restart { .. } => "restart of a peer",
            Self::Stop { .. } => "stop of a peer",
            Self::Purge { .. } => "purge",
            Self::Change { .. } => "change of a source",
            Self::Verify { repair: false, .. } => "verify",
            Self::Verify { repair: true, .. } => "verify --repair",
            Self::Ask { words, .. } => words[0],
            Self::Tracker { .. } => "restart of the tracker",
            Self::Remove { .. } => "removal of files",
        }
    }
}

fn millis(random: &mut Rng, most: u64) -> Duration {
    Duration::from_millis(random.u64(0..most))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Operation, WEIGHTS};

    #[test]
    fn a_seed_gives_the_same_operations_and_every_kind_of_them() {
        let operations = |seed| {
            let mut random = fastrand::Rng::with_seed(seed);
            (0..2000).map(|_| Operation::draw(&mut random, 5)).collect::<Vec<_>>()
        };
        let drawn = operations(1);
        assert_eq!(drawn, operations(1));
        assert_ne!(drawn, operations(2));
        let kinds: BTreeSet<_> = drawn.iter().map(|o| format!("{:?}", std::mem::discriminant(o))).collect();
        assert_eq!(kinds.len(), WEIGHTS.len());
    }
}
