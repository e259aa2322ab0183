//! The check against every order there is, and against the world of virtual time.

#[path = "../../tests/seeded/mod.rs"]
mod seeded;

use std::collections::{BTreeMap, BTreeSet};

use askaround_core::Key;
use askaround_core::id::PeerId;
use askaround_core::script::Action;
use proptest::prelude::*;

use super::schedule::Order;
use super::*;
use crate::ports;

fn action() -> impl Strategy<Value = Action> {
    let key = || "[ab]".prop_map(|text| Key::new(&text).unwrap());
    let id = || (1u64..5).prop_map(|n| PeerId::new(n).unwrap());
    prop_oneof![
        6 => key().prop_map(Action::Obtain),
        3 => key().prop_map(Action::Purge),
        2 => Just(Action::Unregister),
        1 => Just(Action::Register),
        1 => Just(Action::List),
        1 => id().prop_map(Action::Known),
        1 => id().prop_map(Action::Contents),
    ]
}

/// What a random peer holds at the start and does.
type Part = (Vec<&'static str>, Vec<(u32, Action)>);

/// Up to four peers, two timesteps and two actions in each: few enough to try every order.
fn scripts() -> impl Strategy<Value = Vec<Script>> {
    let peer = || {
        let keys = proptest::sample::subsequence(vec!["a", "b"], 0..=2);
        (keys, proptest::collection::vec((prop_oneof![Just(1u32), Just(3)], action()), 0..4))
    };
    proptest::collection::vec(peer(), 2..5).prop_map(|peers| {
        let script = |(i, (keys, mut actions)): (usize, Part)| {
            actions.sort_by_key(|(time, _)| *time);
            let content = keys.into_iter().map(|key| Key::new(key).unwrap()).collect();
            Script { id: PeerId::new(i as u64 + 1).unwrap(), content, actions }
        };
        peers.into_iter().enumerate().map(script).collect()
    })
}

/// Every order of a timestep, without any cleverness. `None` if they are very many.
fn all_orders(step: &Step) -> Option<Vec<Order>> {
    fn extend(left: &mut BTreeMap<usize, usize>, order: &mut Order, all: &mut Vec<Order>) {
        if left.values().all(|count| *count == 0) {
            all.push(order.clone());
        }
        for peer in left.keys().copied().collect::<Vec<_>>() {
            if all.len() < 200 && left[&peer] > 0 {
                *left.get_mut(&peer).unwrap() -= 1;
                order.push(peer);
                extend(left, order, all);
                order.pop();
                *left.get_mut(&peer).unwrap() += 1;
            }
        }
    }
    let mut all = Vec::new();
    let mut left = step.acting.iter().map(|a| (a.peer, a.count)).collect();
    extend(&mut left, &mut Vec::new(), &mut all);
    (all.len() < 200).then_some(all)
}

/// What else than with turns by id each entry can say, over every order of every timestep.
fn by_force(scripts: &[Script]) -> Option<BTreeMap<ActionId, BTreeSet<String>>> {
    let addresses = ports::assign(scripts.iter().map(|script| script.id));
    let checker = Checker::new(scripts, &addresses, &|| false);
    let mut schedules = vec![Schedule(Vec::new())];
    for step in &checker.steps {
        let orders = all_orders(step)?;
        let longer = |schedule: Schedule| {
            let one =
                move |order: &Order| Schedule([schedule.0.as_slice(), std::slice::from_ref(order)].concat());
            orders.iter().map(one).collect::<Vec<_>>()
        };
        schedules = schedules.into_iter().flat_map(longer).collect();
        if schedules.len() > 2000 {
            return None;
        }
    }
    let mut variants: BTreeMap<ActionId, BTreeSet<String>> = BTreeMap::new();
    for schedule in schedules {
        for (action, [_, text]) in races::differing(&checker.by_id, &checker.texts(&schedule)) {
            variants.entry(action).or_default().insert(text);
        }
    }
    Some(variants)
}

fn checked(scripts: &[Script], orders: usize) -> Check {
    let addresses = ports::assign(scripts.iter().map(|script| script.id));
    check(scripts, &addresses, &CheckOptions { orders, seed: 1 }, &|| false)
}

proptest! {
    #![proptest_config(seeded::cases(400))]

    /// The clever way finds each variant of each entry that trying every order finds, and no other.
    #[test]
    fn nothing_is_missed(scripts in scripts()) {
        if let Some(by_force) = by_force(&scripts) {
            let check = checked(&scripts, 100_000);
            prop_assert!(check.exhaustive);
            let found = check.varying.into_iter().map(|v| (v.action, v.others)).collect::<BTreeMap<_, _>>();
            prop_assert_eq!(found, by_force);
        }
    }

    /// Whatever order is tried, the world of virtual time says the same; and the two orders of a
    /// race differ in one swap of neighbours, and give the entries that they are said to.
    #[test]
    fn races_are_what_they_are_said_to_be(scripts in scripts()) {
        let addresses = ports::assign(scripts.iter().map(|script| script.id));
        let check = checked(&scripts, 300);
        let steps = steps(&scripts);
        for race in &check.races {
            let logs = race.orders.clone().map(|told| logs_in_order(&scripts, &addresses, &told).unwrap());
            for (action, texts) in &race.entries {
                let says = |logs: &Logs| logs.peers[&scripts[action.peer].id][action.index + 1].text.clone();
                prop_assert_eq!(&[says(&logs[0]), says(&logs[1])], texts);
            }
            let differing = logs[0].peers.values().flatten().zip(logs[1].peers.values().flatten());
            prop_assert_eq!(differing.filter(|(a, b)| a != b).count(), race.entries.len());
            prop_assert!(!race.entries.is_empty());
            prop_assert_eq!(&logs[0].tracker, &logs[1].tracker);

            let orders = race.orders.clone().map(|told| Schedule::from_told(&told, &steps, &scripts).unwrap());
            let flat = orders.map(|schedule| schedule.0.concat());
            let at = (0..flat[0].len()).find(|i| flat[0][*i] != flat[1][*i]).unwrap();
            let mut swapped = flat[0].clone();
            swapped.swap(at, at + 1);
            prop_assert_eq!(&swapped, &flat[1]);
            prop_assert_eq!([flat[0][at], flat[0][at + 1]], race.actions.map(|action| action.peer));
        }
        // Each variant is shown by one of the races.
        for varying in &check.varying {
            for other in &varying.others {
                let shows = |(action, texts): &(ActionId, [String; 2])| {
                    *action == varying.action && texts.contains(other)
                };
                prop_assert!(check.races.iter().any(|race| race.entries.iter().any(shows)));
            }
        }
    }

    /// Turns by id are the turns of an ordinary run.
    #[test]
    fn turns_by_id_are_an_ordinary_run(scripts in scripts()) {
        let addresses = ports::assign(scripts.iter().map(|script| script.id));
        let logs = logs_by_id(&scripts, &addresses);
        let run = crate::world::run(&scripts, &addresses, &crate::world::WorldConfig::default());
        prop_assert_eq!((logs.peers, logs.tracker), (run.logs, run.tracker_log));
    }
}

#[test]
fn what_is_not_tried_in_full_is_sampled_and_said_to_be() {
    let obtain = |id| Script {
        id: PeerId::new(id).unwrap(),
        content: if id == 8 { vec![Key::new("a").unwrap()] } else { Vec::new() },
        actions: vec![(1, Action::Obtain(Key::new("a").unwrap()))],
    };
    let scripts: Vec<Script> = (1..9).map(obtain).collect();
    let all = checked(&scripts, 1_000_000);
    assert!(all.exhaustive && all.tried > 20, "{}", all.tried);
    let some = checked(&scripts, 20);
    assert_eq!((some.exhaustive, some.tried), (false, 40));
}

/// Ten races that have nothing to do with each other take ten orders, not a thousand.
#[test]
fn parts_that_do_not_touch_add_up() {
    let script = |n: u64| {
        let key = Key::new(&format!("k{n}")).unwrap();
        let id = |n| PeerId::new(n).unwrap();
        let action = if n % 2 == 1 { Action::Purge(key.clone()) } else { Action::Contents(id(n - 1)) };
        Script { id: id(n), content: vec![key], actions: vec![(1, action)] }
    };
    let scripts: Vec<Script> = (1..=20).map(script).collect();
    let check = checked(&scripts, 20);
    assert_eq!((check.exhaustive, check.tried), (true, 11));
    assert_eq!((check.varying.len(), check.races.len()), (10, 10));
}
