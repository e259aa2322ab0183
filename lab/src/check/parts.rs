//! One timestep in parts that do not touch each other: the orders of each part are tried by
//! themselves, so that their numbers add up instead of multiplying.
//!
//! Which actions touch the same thing is known only once they have been tried. So a part begins as
//! those that do when turns go by id, and grows when some order of it touches another part. In the
//! end no order of a part changes what any order of another reads, and so each action comes to the
//! same in an order of all as in the order of its own part.

use std::collections::BTreeSet;

use askaround_core::message::Timestep;
use askaround_core::script::Script;

use super::explore::explore;
use super::floor::{Floor, Footprint, Touch};
use super::schedule::{Acting, Order, Step};

/// What the orders of a timestep come to.
pub(super) struct Ends {
    /// The floors that they lead to, each with an order that does; the first is by id.
    pub(super) floors: Vec<(Floor, Order)>,
    /// Whether every order that can make a difference was tried.
    pub(super) exhaustive: bool,
}

/// Who acted, and what the log says of it.
pub(super) type Turn<'a> = (usize, &'a str);

/// Tries the orders of `step` that can differ, starting from `start`: at most `limit` of each part.
/// `visit` is shown all turns by id, and then every other order of each part; it says whether to go
/// on.
pub(super) fn explore_in_parts(
    start: &Floor,
    scripts: &[Script],
    step: &Step,
    limit: usize,
    visit: &mut dyn FnMut(&[Turn<'_>]) -> bool,
) -> Ends {
    let (by_id, mut todo) = by_id(start, scripts, step, visit);
    let mut parts: Vec<Part> = Vec::new();
    while let Some(mut part) = todo.pop() {
        if part.acting.len() > 1 {
            part.explore(start, scripts, step.time, limit, visit);
        }
        let (touching, apart) = parts.into_iter().partition(|other| part.touches(other));
        parts = apart;
        if touching.is_empty() {
            parts.push(part);
        } else {
            part.join(touching);
            todo.push(part);
        }
    }
    let mut exhaustive = parts.iter().all(|part| part.complete);
    let mut floors = vec![(by_id, step.by_id())];
    // Every way in which the parts can end together; the first is by id.
    let ways = parts.iter().try_fold(1usize, |ways, part| ways.checked_mul(part.ends.len()));
    let ways = ways.filter(|ways| *ways <= limit).unwrap_or_else(|| {
        exhaustive = false;
        limit
    });
    for way in 1..ways {
        let mut rest = way;
        let mut order = Vec::new();
        for part in &parts {
            order.extend(&part.ends[rest % part.ends.len()]);
            rest /= part.ends.len();
        }
        floors.push((start.after(scripts, step, &order), order));
    }
    Ends { floors, exhaustive }
}

/// Everybody's turn by id, and who touches the same things then.
fn by_id(
    start: &Floor,
    scripts: &[Script],
    step: &Step,
    visit: &mut dyn FnMut(&[Turn<'_>]) -> bool,
) -> (Floor, Vec<Part>) {
    let mut floor = start.clone();
    let (mut texts, mut parts) = (Vec::new(), Vec::<Part>::new());
    for acting in &step.acting {
        let mut part = Part { acting: vec![*acting], complete: true, ..Part::default() };
        for index in acting.first..acting.first + acting.count {
            let done = floor.act(acting.peer, &scripts[acting.peer].actions[index].1);
            part.touch(&done.footprint);
            texts.push((acting.peer, done.text));
        }
        part.ends = vec![vec![acting.peer; acting.count]];
        let (touching, apart) = parts.into_iter().partition(|other| part.touches(other));
        parts = apart;
        part.join(touching);
        parts.push(part);
    }
    let turns: Vec<Turn<'_>> = texts.iter().map(|(peer, text)| (*peer, text.as_str())).collect();
    visit(&turns);
    (floor, parts)
}

#[derive(Default)]
struct Part {
    acting: Vec<Acting>,
    reads: BTreeSet<Touch>,
    changes: BTreeSet<Touch>,
    /// An order for each way in which it can end; the first is by id.
    ends: Vec<Order>,
    /// Whether every order that can make a difference was tried.
    complete: bool,
}

impl Part {
    fn touch(&mut self, footprint: &Footprint) {
        self.reads.extend(footprint.reads.iter().cloned());
        self.changes.extend(footprint.changes.iter().cloned());
    }

    fn touches(&self, other: &Self) -> bool {
        !self.changes.is_disjoint(&other.reads) || !other.changes.is_disjoint(&self.reads)
    }

    /// Takes the others in. Its orders have to be tried anew.
    fn join(&mut self, others: Vec<Self>) {
        for other in others {
            self.acting.extend(other.acting);
            self.reads.extend(other.reads);
            self.changes.extend(other.changes);
            self.complete = false;
        }
        self.acting.sort_by_key(|acting| acting.peer);
    }

    fn explore(
        &mut self,
        start: &Floor,
        scripts: &[Script],
        time: Timestep,
        limit: usize,
        visit: &mut dyn FnMut(&[Turn<'_>]) -> bool,
    ) {
        let step = Step { time, acting: self.acting.clone() };
        let (mut tried, mut known) = (0, BTreeSet::new());
        self.ends.clear();
        self.complete = explore(start, scripts, &step, |order| {
            // The first is part of everybody's turns by id, which have been seen.
            if tried == limit || (tried > 0 && !visit(&order.turns)) {
                return false;
            }
            tried += 1;
            order.footprints.iter().for_each(|footprint| self.touch(footprint));
            if known.insert(order.floor.fingerprint(step.acting.iter().map(|acting| acting.peer))) {
                self.ends.push(order.turns.iter().map(|(peer, _)| *peer).collect());
            }
            true
        });
    }
}
