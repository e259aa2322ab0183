//! Every order of one timestep that can make a difference, and as few others as possible: dynamic
//! partial-order reduction with source sets and sleep sets (Abdulla, Aronsson, Jonsson, Sagonas,
//! "Optimal dynamic partial order reduction", POPL 2014, algorithm 1).
//!
//! Two orders that differ only in how they arrange actions that do not touch the same thing come
//! to the same, so one of them is enough. What an action touches is known only once it has been
//! carried out, and may depend on what came before; the algorithm finds the orders to try from the
//! races that it meets. Sound because an action is a function of what it reads.

use std::collections::BTreeSet;

use askaround_core::script::Script;

use super::floor::{Floor, Footprint};
use super::parts::Turn;
use super::schedule::{Acting, Step};

/// An action that has been carried out.
struct Event {
    /// Whose: the place in [`Step::acting`].
    actor: usize,
    /// Which of that peer's actions in this timestep.
    nth: usize,
    text: String,
    footprint: Footprint,
    /// How many actions of each actor come before this one in every order that comes to the same,
    /// itself included.
    clock: Vec<usize>,
}

impl Event {
    fn is_after(&self, other: &Self) -> bool {
        self.clock[other.actor] > other.nth
    }
}

/// The floor after some actions, and what is still to be tried from there.
struct Frame {
    floor: Floor,
    /// How many actions of each actor are over.
    done: Vec<usize>,
    /// Whom to let go next, tried ones included.
    backtrack: BTreeSet<usize>,
    /// Whose next action need not be tried here, and what it touches.
    sleep: Vec<(usize, Footprint)>,
    /// The action that leads to the next frame.
    event: Option<Event>,
}

impl Frame {
    fn new(floor: Floor, acting: &[Acting], done: Vec<usize>, sleep: Vec<(usize, Footprint)>) -> Self {
        let asleep = |actor: &usize| sleep.iter().any(|(other, _)| other == actor);
        let first = (0..acting.len()).find(|actor| done[*actor] < acting[*actor].count && !asleep(actor));
        Self { floor, done, backtrack: first.into_iter().collect(), sleep, event: None }
    }

    fn next_actor(&self) -> Option<usize> {
        let asleep = |actor: &usize| self.sleep.iter().any(|(other, _)| other == actor);
        self.backtrack.iter().copied().find(|actor| !asleep(actor))
    }
}

/// One order of a timestep.
pub(super) struct Tried<'a> {
    /// Who acted, and what the log says of it, in the order in which it took place.
    pub(super) turns: Vec<Turn<'a>>,
    /// What each touched.
    pub(super) footprints: Vec<&'a Footprint>,
    /// Everything after it.
    pub(super) floor: &'a Floor,
}

/// Tries the orders of `step` that can differ, starting from `start`; the order of turns by id is
/// the first. `visit` says whether to go on. True if all were tried.
pub(super) fn explore(
    start: &Floor,
    scripts: &[Script],
    step: &Step,
    mut visit: impl FnMut(&Tried<'_>) -> bool,
) -> bool {
    let acting = &step.acting;
    let total: usize = acting.iter().map(|a| a.count).sum();
    let mut stack = vec![Frame::new(start.clone(), acting, vec![0; acting.len()], Vec::new())];
    loop {
        let Some(frame) = stack.last() else { return true };
        if stack.len() > total {
            let events = || stack.iter().filter_map(|frame| frame.event.as_ref());
            let turns = events().map(|event| (acting[event.actor].peer, event.text.as_str())).collect();
            let footprints = events().map(|event| &event.footprint).collect();
            if !visit(&Tried { turns, footprints, floor: &frame.floor }) {
                return false;
            }
        }
        let Some(actor) = frame.next_actor() else {
            stack.pop();
            let Some(before) = stack.last_mut() else { return true };
            if let Some(event) = before.event.take() {
                before.sleep.push((event.actor, event.footprint));
            }
            continue;
        };
        let (event, floor) = act(&stack, scripts, acting, actor);
        add_backtracks(&mut stack, &event);
        let Some(frame) = stack.last_mut() else { return true };
        let awake = |(_, footprint): &&(usize, Footprint)| !footprint.conflicts(&event.footprint);
        let sleep = frame.sleep.iter().filter(awake).cloned().collect();
        let mut done = frame.done.clone();
        done[actor] += 1;
        frame.event = Some(event);
        stack.push(Frame::new(floor, acting, done, sleep));
    }
}

/// Lets `actor` act after everything on the stack.
fn act(stack: &[Frame], scripts: &[Script], acting: &[Acting], actor: usize) -> (Event, Floor) {
    let frame = &stack[stack.len() - 1];
    let Acting { peer, first, .. } = acting[actor];
    let nth = frame.done[actor];
    let mut floor = frame.floor.clone();
    let done = floor.act(peer, &scripts[peer].actions[first + nth].1);
    let mut clock = vec![0; acting.len()];
    for before in stack.iter().filter_map(|frame| frame.event.as_ref()) {
        if before.actor == actor || before.footprint.conflicts(&done.footprint) {
            for (mine, theirs) in clock.iter_mut().zip(&before.clock) {
                *mine = (*mine).max(*theirs);
            }
        }
    }
    clock[actor] = nth + 1;
    (Event { actor, nth, text: done.text, footprint: done.footprint, clock }, floor)
}

/// For each race of `event` with one before it, makes sure that the other order is tried too.
fn add_backtracks(stack: &mut [Frame], event: &Event) {
    let mut additions = Vec::new();
    {
        let events: Vec<&Event> = stack.iter().filter_map(|frame| frame.event.as_ref()).collect();
        for (at, earlier) in events.iter().enumerate() {
            let races = earlier.actor != event.actor
                && earlier.footprint.conflicts(&event.footprint)
                && !events[at + 1..]
                    .iter()
                    .any(|between| event.is_after(between) && between.is_after(earlier));
            if !races {
                continue;
            }
            // Everything that can take place without `earlier`, and whoever may begin it.
            let free = events[at + 1..].iter().copied().filter(|later| !later.is_after(earlier));
            let free: Vec<&Event> = free.chain([event]).collect();
            let begins = |i: usize| !free[..i].iter().any(|other| free[i].is_after(other));
            let initials: Vec<usize> =
                (0..free.len()).filter(|i| begins(*i)).map(|i| free[i].actor).collect();
            if !initials.iter().any(|actor| stack[at].backtrack.contains(actor)) {
                let choice = initials.iter().copied().find(|actor| *actor == event.actor);
                additions.push((at, choice.unwrap_or(initials[0])));
            }
        }
    }
    for (at, actor) in additions {
        stack[at].backtrack.insert(actor);
    }
}
