//! Random scenarios in virtual time, against the rules written down a second time.

mod model;

use askaround_core::Key;
use askaround_core::clock::Turns;
use askaround_core::id::PeerId;
use askaround_core::message::{Message, Request};
use askaround_core::script::{Action, Script};
use askaround_lab::ports;
use askaround_lab::world::{WorldConfig, WorldRun, run};
use model::Model;
use proptest::prelude::*;

const KEYS: [&str; 4] = ["a", "b", "c", "d"];

fn id(n: u64) -> PeerId {
    PeerId::new(n).unwrap()
}

fn key(n: usize) -> Key {
    Key::new(KEYS[n % KEYS.len()]).unwrap()
}

/// Mostly what makes originators and hints: obtain, purge, unregister.
fn action(peers: u64) -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => (0..KEYS.len()).prop_map(|k| Action::Obtain(key(k))),
        4 => (0..KEYS.len()).prop_map(|k| Action::Purge(key(k))),
        3 => Just(Action::Unregister),
        1 => Just(Action::Register),
        1 => Just(Action::List),
        // One more than there are, so that some do not exist.
        1 => (1..=peers + 1).prop_map(|n| Action::Known(id(n))),
        1 => (1..=peers + 1).prop_map(|n| Action::Contents(id(n))),
    ]
}

/// What a random peer holds at the start and does.
type Part = (Vec<usize>, Vec<(u32, Action)>);

fn scripts() -> impl Strategy<Value = Vec<Script>> {
    prop_oneof![anything(), relay()]
}

/// The key wanders from the last peer down to the second; then some purge it and some unregister.
/// That makes long chains of hints, which random actions hardly ever do.
fn relay() -> impl Strategy<Value = Vec<Script>> {
    let masks = (any::<u16>(), any::<u16>(), any::<u16>());
    (5u64..10, masks).prop_map(|(peers, (purge, unregister, obtain))| {
        let bit = |mask: u16, n: u64| mask >> n & 1 == 1;
        let end = u32::try_from(peers).unwrap();
        let script = |n: u64| {
            let mut actions = Vec::new();
            if 1 < n && n < peers {
                actions.push((u32::try_from(peers - n).unwrap(), Action::Obtain(key(0))));
            }
            let last = [
                (bit(purge, n) && n < peers, end, Action::Purge(key(0))),
                (bit(unregister, n), end + 1, Action::Unregister),
                (bit(obtain, n) || n == 1, end + 2, Action::Obtain(key(0))),
            ];
            actions.extend(
                last.into_iter().filter(|(wanted, ..)| *wanted).map(|(_, time, action)| (time, action)),
            );
            let content = if n == peers { vec![key(0)] } else { Vec::new() };
            Script { id: id(n), content, actions }
        };
        (1..=peers).map(script).collect()
    })
}

fn anything() -> impl Strategy<Value = Vec<Script>> {
    (2u64..9).prop_flat_map(|peers| {
        let content = proptest::sample::subsequence((0..KEYS.len()).collect::<Vec<_>>(), 0..=1);
        let actions = proptest::collection::vec((1u32..8, action(peers)), 0..12);
        proptest::collection::vec((content, actions), peers as usize).prop_map(|peers| {
            let script = |(i, (content, mut actions)): (usize, Part)| {
                actions.sort_by_key(|(time, _)| *time);
                Script { id: id(i as u64 + 1), content: content.into_iter().map(key).collect(), actions }
            };
            peers.into_iter().enumerate().map(script).collect()
        })
    })
}

fn world(scripts: &[Script], config: &WorldConfig) -> WorldRun {
    run(scripts, &ports::assign(scripts.iter().map(|script| script.id)), config)
}

/// The questions of a run after everybody has registered, as the model notes them.
fn questions(run: &WorldRun, peers: usize) -> Vec<String> {
    let requests = run.transcript.iter().filter_map(|delivery| match &delivery.message {
        Message::Request(request) => Some((delivery, request)),
        _ => None,
    });
    let named = requests.map(|(delivery, request)| {
        let verb = match request {
            Request::Register(_) => "R",
            Request::Unregister { .. } => "U",
            Request::List(_) => "L",
            Request::WhereIs(_) => "W",
            Request::Have(_) => "Q",
            Request::Known(_) => "O",
            Request::Contents(_) => "M",
        };
        let to = delivery.to.map_or("tracker".into(), |id| id.to_string());
        format!("{} {verb} {to}", delivery.from.unwrap())
    });
    named.skip(peers).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// Logs and questions, one by one and in order, are what the rules say: serial order, nobody
    /// asked twice in a search, at most two further hints, originators that survive a purge. The
    /// model also checks that a key is found whenever somebody reachable holds it.
    #[test]
    fn the_machines_do_what_the_rules_say(scripts in scripts()) {
        let addresses = ports::assign(scripts.iter().map(|script| script.id));
        let model = Model::run(&scripts, &addresses);
        let run = world(&scripts, &WorldConfig::default());
        prop_assert!(run.finished);
        prop_assert_eq!(&run.logs, &model.logs);
        prop_assert_eq!(questions(&run, scripts.len()), model.questions);
    }

    /// The same scenario gives the same run, message by message.
    #[test]
    fn a_run_can_be_repeated(scripts in scripts()) {
        let config = WorldConfig { turns: Turns::Concurrent, width: 3, ..WorldConfig::default() };
        prop_assert_eq!(world(&scripts, &config), world(&scripts, &config));
    }

    /// A wider search finds a key exactly when the serial one does, as long as nobody else acts.
    #[test]
    fn a_wider_search_finds_the_same(scripts in scripts(), width in 2usize..20) {
        let first_obtain = |run: &WorldRun| {
            let texts = run.logs.values().flatten().filter(|e| e.time == 1);
            texts.map(|e| e.text.starts_with("Obtained")).collect::<Vec<_>>()
        };
        let obtain_only = |script: &Script| {
            let actions = script.actions.iter().filter(|(_, a)| matches!(a, Action::Obtain(_)));
            let actions = actions.take(1).map(|(_, a)| (1, a.clone())).collect();
            Script { actions, ..script.clone() }
        };
        let scripts: Vec<_> = scripts.iter().map(obtain_only).collect();
        let serial = world(&scripts, &WorldConfig::default());
        let wide = world(&scripts, &WorldConfig { width, ..WorldConfig::default() });
        prop_assert!(wide.finished);
        prop_assert_eq!(first_obtain(&wide), first_obtain(&serial));
    }

    /// Also when everybody acts at once, every run ends and every action is logged.
    #[test]
    fn concurrent_runs_end(scripts in scripts(), width in 1usize..5) {
        let config = WorldConfig { turns: Turns::Concurrent, width, ..WorldConfig::default() };
        let run = world(&scripts, &config);
        prop_assert!(run.finished);
        for script in &scripts {
            prop_assert_eq!(run.logs[&script.id].len(), script.actions.len() + 1);
        }
    }
}
