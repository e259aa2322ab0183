//! Does the order within a timestep matter? Tries the orders of a scenario's actions that can make
//! a difference, and names the actions that race.
//!
//! | part | what lives there |
//! | --- | --- |
//! | `schedule` | in which order the actions of each timestep take place |
//! | `floor` | the machines between two actions, and what an action touches |
//! | `explore` | every order of some actions that can make a difference |
//! | `parts` | a timestep in parts that do not touch each other |
//! | `races` | for each entry that varies, two orders that differ in one swap of neighbours |
//! | `replay` | one order in the world of virtual time, clock and all |
//!
//! An action is taken as a whole: that somebody acts in the midst of another's search is not tried.
//! Where no two actions of a timestep touch the same thing, that makes no difference either.

mod explore;
mod floor;
mod parts;
mod races;
mod replay;
mod schedule;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use askaround_core::message::Timestep;
use askaround_core::script::Script;
use rand_mt::Mt64;

use floor::Floor;
use parts::{Turn, explore_in_parts};
pub use races::Race;
pub use replay::{Logs, logs_by_id, logs_in_order};
use schedule::{Schedule, Step, steps};
pub use schedule::{TurnOrder, TurnOrderError};

/// How much is tried.
#[derive(Debug, Clone)]
pub struct CheckOptions {
    /// The most orders of those actions of a timestep that touch each other, and, where those are
    /// not all, of the whole scenario at random.
    pub orders: usize,
    /// What the random orders come from.
    pub seed: u64,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self { orders: 1000, seed: 1 }
    }
}

/// An action: a peer's number in the scenario, and the action's in its script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ActionId {
    /// Which peer, by its place in the scenario.
    pub peer: usize,
    /// Which of its actions, from 0.
    pub index: usize,
}

/// An entry of a log that depends on the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Varying {
    /// The action whose entry it is.
    pub action: ActionId,
    /// When.
    pub time: Timestep,
    /// What it says when turns go by id.
    pub by_id: String,
    /// What else it was seen to say.
    pub others: BTreeSet<String>,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// How many orders were tried, of parts of single timesteps and of the whole scenario.
    pub tried: usize,
    /// Whether every order that can make a difference was among them.
    pub exhaustive: bool,
    /// Every entry that varies, by timestep, peer and place in the script.
    pub varying: Vec<Varying>,
    /// The races behind them, at most [`MAX_RACES`].
    pub races: Vec<Race>,
    /// Whether it was stopped before its end; then this is what it had found.
    pub stopped: bool,
}

/// So many races are looked into. Each entry that varies is named all the same.
pub const MAX_RACES: usize = 64;
/// So many variants of one entry are kept.
const MAX_VARIANTS: usize = 16;

/// Tries the orders of `scripts`, which stand by increasing id, each at its address. `stop` is
/// asked now and then whether to stop.
pub fn check(
    scripts: &[Script],
    addresses: &[SocketAddr],
    options: &CheckOptions,
    stop: &dyn Fn() -> bool,
) -> Check {
    let mut checker = Checker::new(scripts, addresses, stop);
    let exhaustive = checker.systematically(options.orders);
    if !exhaustive {
        checker.at_random(options);
    }
    let races = races::find(&checker);
    let varying = checker.seen.iter().map(|(action, variants)| Varying {
        action: *action,
        time: checker.scripts[action.peer].actions[action.index].0,
        by_id: checker.by_id[action.peer][action.index].clone(),
        others: variants.keys().cloned().collect(),
    });
    let mut varying: Vec<Varying> = varying.collect();
    varying.sort_by_key(|v| (v.time, v.action));
    Check { tried: checker.tried, exhaustive, varying, races, stopped: stop() }
}

/// What the log says of each action of each peer.
type Texts = Vec<Vec<String>>;

struct Checker<'a> {
    scripts: &'a [Script],
    steps: Vec<Step>,
    start: Floor,
    /// The logs when turns go by id.
    by_id: Texts,
    /// What else an action came to, each with an order in which it does.
    seen: BTreeMap<ActionId, BTreeMap<String, Schedule>>,
    tried: usize,
    stop: &'a dyn Fn() -> bool,
}

impl<'a> Checker<'a> {
    fn new(scripts: &'a [Script], addresses: &[SocketAddr], stop: &'a dyn Fn() -> bool) -> Self {
        assert_eq!(scripts.len(), addresses.len(), "an address a script");
        assert!(scripts.is_sorted_by_key(|script| script.id), "by increasing id");
        let steps = steps(scripts);
        let mut checker = Self {
            scripts,
            start: Floor::new(scripts, addresses),
            by_id: Vec::new(),
            seen: BTreeMap::new(),
            tried: 0,
            stop,
            steps,
        };
        checker.by_id = checker.texts(&Schedule::by_id(&checker.steps));
        checker
    }

    /// What the logs say in this order.
    fn texts(&self, schedule: &Schedule) -> Texts {
        let mut floor = self.start.clone();
        let mut texts: Texts = self.scripts.iter().map(|s| Vec::with_capacity(s.actions.len())).collect();
        for peer in schedule.0.iter().flatten().copied() {
            let (_, action) = &self.scripts[peer].actions[texts[peer].len()];
            let text = floor.act(peer, action).text;
            texts[peer].push(text);
        }
        texts
    }

    /// Notes whatever differs from turns by id; `schedule` gives the order, if it is asked for.
    fn note(&mut self, action: ActionId, text: &str, schedule: impl FnOnce() -> Schedule) {
        if self.by_id[action.peer][action.index] != text {
            let variants = self.seen.entry(action).or_default();
            if variants.len() < MAX_VARIANTS && !variants.contains_key(text) {
                variants.insert(text.to_owned(), schedule());
            }
        }
    }

    /// Tries every order of each timestep that can make a difference, from everything that the
    /// timesteps before it can come to. False if there were more than `limit` of a part of one.
    fn systematically(&mut self, limit: usize) -> bool {
        let (steps, scripts, stop) = (self.steps.clone(), self.scripts, self.stop);
        let mut exhaustive = true;
        let mut starts = vec![(self.start.clone(), Vec::new())];
        for (number, step) in steps.iter().enumerate() {
            let mut ends = Vec::new();
            let mut known = BTreeSet::new();
            let share = (limit / starts.len()).max(1);
            for (floor, prefix) in &starts {
                if stop() {
                    return false;
                }
                let mut visit = |turns: &[Turn<'_>]| {
                    self.tried += 1;
                    self.note_step(number, turns, &|| {
                        let first: schedule::Order = turns.iter().map(|(peer, _)| *peer).collect();
                        let order = step.complete(&first).expect("turns of this step");
                        with_rest(prefix, order, &steps)
                    });
                    !stop()
                };
                let reached = explore_in_parts(floor, scripts, step, share, &mut visit);
                exhaustive &= reached.exhaustive;
                for (floor, order) in reached.floors {
                    let room = ends.len() < limit;
                    exhaustive &= room;
                    if room && known.insert(floor.fingerprint(0..scripts.len())) {
                        ends.push((floor, [prefix.as_slice(), &[order]].concat()));
                    }
                }
            }
            starts = ends;
        }
        exhaustive
    }

    fn note_step(&mut self, number: usize, turns: &[Turn<'_>], schedule: &dyn Fn() -> Schedule) {
        let acting = self.steps[number].acting.iter();
        let mut next: BTreeMap<usize, usize> = acting.map(|a| (a.peer, a.first)).collect();
        for (peer, text) in turns {
            if let Some(index) = next.get_mut(peer) {
                self.note(ActionId { peer: *peer, index: *index }, text, schedule);
                *index += 1;
            }
        }
    }

    /// Tries orders of the whole scenario at random.
    fn at_random(&mut self, options: &CheckOptions) {
        let mut random = Mt64::new(options.seed);
        for _ in 0..options.orders {
            if (self.stop)() {
                return;
            }
            let mut schedule = Schedule::by_id(&self.steps);
            for order in &mut schedule.0 {
                shuffle(order, &mut random);
            }
            self.tried += 1;
            let texts = self.texts(&schedule);
            for (peer, texts) in texts.iter().enumerate() {
                for (index, text) in texts.iter().enumerate() {
                    self.note(ActionId { peer, index }, text, || schedule.clone());
                }
            }
        }
    }
}

/// The orders of the first timesteps, and turns by id in the others.
fn with_rest(prefix: &[schedule::Order], order: schedule::Order, steps: &[Step]) -> Schedule {
    let rest = steps[prefix.len() + 1..].iter().map(Step::by_id);
    Schedule(prefix.iter().cloned().chain([order]).chain(rest).collect())
}

/// Fisher and Yates. The remainder favours some places by less than one in 2⁴⁰.
fn shuffle(order: &mut [usize], random: &mut Mt64) {
    for i in (1..order.len()).rev() {
        let j = random.next_u64() % (i as u64 + 1);
        order.swap(i, j as usize);
    }
}
