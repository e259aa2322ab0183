//! The races behind the entries that vary. For each variant two orders are found that differ in one
//! swap of neighbours, and that swap makes the difference: those two actions race.

use super::schedule::{Order, Schedule};
use super::{ActionId, Checker, MAX_RACES, Texts, TurnOrder};

/// Two actions of one timestep whose order makes a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Race {
    /// The two, the one of the lower id first.
    pub actions: [ActionId; 2],
    /// Two orders that differ in nothing but the two, which are neighbours in both: in the first
    /// one the first acts first. As the difference from turns by id.
    pub orders: [Vec<TurnOrder>; 2],
    /// Each entry that differs, and what it says in either order.
    pub entries: Vec<(ActionId, [String; 2])>,
}

/// Two schedules that differ in a swap of the neighbours at `at` and `at + 1` of a step.
#[derive(Clone)]
struct Pair {
    before: Schedule,
    after: Schedule,
    step: usize,
    at: usize,
}

pub(super) fn find(checker: &Checker<'_>) -> Vec<Race> {
    let mut races: Vec<Race> = Vec::new();
    // Earlier entries first: later ones often follow from the same race.
    let mut wanted: Vec<(ActionId, &String, &Schedule)> = Vec::new();
    for (action, variants) in &checker.seen {
        wanted.extend(variants.iter().map(|(text, schedule)| (*action, text, schedule)));
    }
    wanted.sort_by_key(|(action, ..)| (checker.scripts[action.peer].actions[action.index].0, *action));
    for (action, text, witness) in wanted {
        if races.len() == MAX_RACES || (checker.stop)() {
            break;
        }
        let told = |race: &Race| race.entries.iter().any(|(a, texts)| *a == action && texts.contains(text));
        if races.iter().any(told) {
            continue;
        }
        let differs = |pair: &Pair| {
            let says = |schedule| checker.texts(schedule)[action.peer].swap_remove(action.index);
            let (before, after) = (says(&pair.before), says(&pair.after));
            before != after && (before == *text || after == *text)
        };
        let pair = first_difference(checker, witness, action, text);
        let pair = simpler(checker, pair, &differs);
        races.push(race(checker, &pair));
    }
    races
}

/// Goes from turns by id to `witness` swap by swap, and finds one swap with which the entry comes
/// to say `text`: by bisection, since it does not say so at the start and does at the end.
fn first_difference(checker: &Checker<'_>, witness: &Schedule, action: ActionId, text: &str) -> Pair {
    let start = Schedule::by_id(&checker.steps);
    let says_so = |swaps| {
        let (schedule, _) = walk(&start, witness, swaps);
        checker.texts(&schedule)[action.peer][action.index] == text
    };
    let (mut without, mut with) = (0, distance(&start, witness));
    while with - without > 1 {
        let middle = without.midpoint(with);
        if says_so(middle) { with = middle } else { without = middle }
    }
    let (before, _) = walk(&start, witness, without);
    let (after, swapped) = walk(&start, witness, with);
    let (step, at) = swapped.expect("the witness differs from turns by id");
    Pair { before, after, step, at }
}

/// The first `swaps` swaps on the way from `from` to `to`, and where the last one was.
fn walk(from: &Schedule, to: &Schedule, swaps: usize) -> (Schedule, Option<(usize, usize)>) {
    let mut at = from.clone();
    let (mut left, mut last) = (swaps, None);
    for (step, (order, wanted)) in at.0.iter_mut().zip(&to.0).enumerate() {
        for place in 0..order.len() {
            let far = distance_at(order, wanted, place);
            let moved = far.min(left);
            for i in (place + far - moved..place + far).rev() {
                order.swap(i, i + 1);
                last = Some((step, i));
            }
            left -= moved;
            if left == 0 {
                return (at, last);
            }
        }
    }
    (at, last)
}

/// How far the turn that is wanted at `place` stands behind it.
fn distance_at(order: &Order, wanted: &Order, place: usize) -> usize {
    order[place..].iter().position(|peer| *peer == wanted[place]).expect("the same turns in another order")
}

/// How many swaps of neighbours lead from one to the other.
fn distance(from: &Schedule, to: &Schedule) -> usize {
    let mut swaps = 0;
    for (order, wanted) in from.0.iter().zip(&to.0) {
        let mut order = order.clone();
        for place in 0..order.len() {
            let far = distance_at(&order, wanted, place);
            order[place..=place + far].rotate_right(1);
            swaps += far;
        }
    }
    swaps
}

/// The same race in orders that are closer to turns by id, where that shows it too.
fn simpler(checker: &Checker<'_>, pair: Pair, differs: &dyn Fn(&Pair) -> bool) -> Pair {
    let mut best = pair;
    for order in plain_orders(checker, &best) {
        let mut other = best.clone();
        let at = order.1;
        other.before.0[best.step] = order.0.clone();
        other.after.0[best.step] = order.0;
        other.after.0[best.step].swap(at, at + 1);
        other.at = at;
        if differs(&other) {
            best = other;
            break;
        }
    }
    let raced = best.step;
    for step in (0..checker.steps.len()).filter(|step| *step != raced) {
        let by_id = checker.steps[step].by_id();
        if best.before.0[step] != by_id {
            let mut other = best.clone();
            other.before.0[step].clone_from(&by_id);
            other.after.0[step] = by_id;
            if differs(&other) {
                best = other;
            }
        }
    }
    best
}

/// Turns by id, but for the two that race, which are made neighbours: by letting the later one act
/// early, or the earlier one late. With the place of the first of them.
fn plain_orders(checker: &Checker<'_>, pair: &Pair) -> [(Order, usize); 2] {
    let order = &pair.before.0[pair.step];
    let turns = [order[pair.at], order[pair.at + 1]];
    let [one, other] = if turns[0] < turns[1] { turns } else { [turns[1], turns[0]] };
    // How many of its own come before.
    let own = |peer: usize| order[..pair.at].iter().filter(|turn| **turn == peer).count();
    let (own_one, own_other) = (own(one), own(other));
    let by_id = checker.steps[pair.step].by_id();
    let start = |peer: usize| by_id.partition_point(|turn| *turn < peer);
    let early = by_id[..start(one) + own_one].iter().copied().chain(std::iter::repeat_n(other, own_other));
    let early: Vec<usize> = early.collect();
    let without_one = by_id[..start(other) + own_other].iter().copied().enumerate();
    let late: Vec<usize> = without_one
        .filter(|(i, turn)| *turn != one || *i < start(one) + own_one)
        .map(|(_, turn)| turn)
        .collect();
    [early, late].map(|mut order| {
        let at = order.len();
        order.extend([one, other]);
        let order = checker.steps[pair.step].complete(&order).expect("each turn is one of the step's");
        (order, at)
    })
}

fn race(checker: &Checker<'_>, pair: &Pair) -> Race {
    let (mut first, mut second) = (&pair.before, &pair.after);
    if first.0[pair.step][pair.at] > first.0[pair.step][pair.at + 1] {
        std::mem::swap(&mut first, &mut second);
    }
    let turns = &first.0[pair.step];
    let action = |at: usize| {
        let peer = turns[at];
        let acting = checker.steps[pair.step].acting.iter().find(|acting| acting.peer == peer);
        let before = turns[..at].iter().filter(|turn| **turn == peer).count();
        ActionId { peer, index: acting.map_or(0, |acting| acting.first) + before }
    };
    let told = |schedule: &Schedule| schedule.told(&checker.steps, checker.scripts);
    Race {
        actions: [action(pair.at), action(pair.at + 1)],
        orders: [told(first), told(second)],
        entries: differing(&checker.texts(first), &checker.texts(second)),
    }
}

pub(super) fn differing(first: &Texts, second: &Texts) -> Vec<(ActionId, [String; 2])> {
    let mut entries = Vec::new();
    for (peer, (first, second)) in first.iter().zip(second).enumerate() {
        for (index, (first, second)) in first.iter().zip(second).enumerate() {
            if first != second {
                entries.push((ActionId { peer, index }, [first.clone(), second.clone()]));
            }
        }
    }
    entries
}
