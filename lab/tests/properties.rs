//! Random scenarios in virtual time, against the rules written down a second time.

mod model;
mod seeded;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use askaround_core::Key;
use askaround_core::clock::Turns;
use askaround_core::id::{Contact, PeerId};
use askaround_core::log;
use askaround_core::message::{Answer, HaveAnswer, Message, Request};
use askaround_core::peer::Target;
use askaround_core::script::{Action, Script};
use askaround_core::search::Reason;
use askaround_lab::ports;
use askaround_lab::world::links::Links;
use askaround_lab::world::{Exchange, Find, WorldConfig, WorldRun, run};
use model::{Mistake, Model};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

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

/// The ids are not the numbers from 1 on, and may be as large as any.
fn scripts() -> impl Strategy<Value = Vec<Script>> {
    let gaps = proptest::collection::vec(prop_oneof![1u64..4, 1u64..1 << 49], 10);
    (prop_oneof![anything(), relay()], gaps).prop_map(|(mut scripts, gaps)| {
        let renamed = |old: PeerId| id(gaps.iter().take(usize::try_from(old.as_u64()).unwrap()).sum());
        for script in &mut scripts {
            script.id = renamed(script.id);
            for (_, action) in &mut script.actions {
                if let Action::Known(id) | Action::Contents(id) = action {
                    *id = renamed(*id);
                }
            }
        }
        scripts
    })
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
        let content = proptest::sample::subsequence((0..KEYS.len()).collect::<Vec<_>>(), 0..=2);
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
            other => panic!("nobody delivers content in these runs: {other:?}"),
        };
        let to = delivery.to.map_or("tracker".into(), |id| id.to_string());
        format!("{} {verb} {to}", delivery.from.unwrap())
    });
    named.skip(peers).collect()
}

/// Every find of a run in turns, in the order in which they took place, and whose it is.
fn all_finds(run: &WorldRun) -> Vec<(PeerId, &Find)> {
    let mut all: Vec<(PeerId, &Find)> =
        run.finds.iter().flat_map(|(id, finds)| finds.iter().map(|find| (*id, find))).collect();
    all.sort_by_key(|(id, find)| (find.time, *id));
    all
}

proptest! {
    #![proptest_config(seeded::cases(1000))]

    /// Logs and questions, one by one and in order, are what the rules say: serial order, nobody
    /// asked twice in a search, at most two further hints, originators that survive a purge. The
    /// model also checks that a key is found whenever somebody reachable holds it.
    #[test]
    fn the_machines_do_what_the_rules_say(scripts in scripts()) {
        let addresses = ports::assign(scripts.iter().map(|script| script.id));
        let model = Model::run(&scripts, &addresses);
        let run = world(&scripts, &WorldConfig::default());
        prop_assert!(run.finished && run.troubles.is_empty());
        prop_assert_eq!(&run.logs, &model.logs);
        prop_assert_eq!(&run.tracker_log, &model.tracker_log);
        prop_assert_eq!(questions(&run, scripts.len()), model.questions);
    }

    /// What is found is logged, and whoever had it said so.
    #[test]
    fn what_is_found_is_logged(scripts in scripts()) {
        let run = world(&scripts, &WorldConfig::default());
        for script in &scripts {
            let texts = run.logs[&script.id][1..].iter().zip(&script.actions);
            let texts = texts.filter(|(_, (_, action))| matches!(action, Action::Obtain(_)));
            let finds = &run.finds[&script.id];
            prop_assert_eq!(texts.clone().count(), finds.len());
            for (find, (entry, _)) in finds.iter().zip(texts) {
                let text = match &find.found {
                    Some(from) => log::obtained_text(&find.key, from),
                    None => log::unavailable_text(&find.key),
                };
                prop_assert_eq!((find.time, &text), (entry.time, &entry.text));
                let had = find.exchanges.last().filter(|e| e.answer == Some(Answer::Have(HaveAnswer::Have)));
                let asked = find.found.filter(|from| from.id != script.id);
                prop_assert_eq!(had.map(|e| e.to), asked.map(|from| Target::Peer(from.addr())));
                prop_assert_eq!(find.route.is_some(), asked.is_some());
            }
        }
    }

    /// Nobody is asked the same thing twice in a search, and no more is open than the width
    /// allows: with a width of 1, each question waits for the answer before it.
    #[test]
    fn nobody_is_asked_twice_and_the_width_is_kept(scripts in scripts(), width in 1usize..4) {
        let run = world(&scripts, &WorldConfig { width, ..WorldConfig::default() });
        for find in run.finds.values().flatten() {
            for (i, exchange) in find.exchanges.iter().enumerate() {
                let same = |e: &&Exchange| (e.to, &e.request) == (exchange.to, &exchange.request);
                prop_assert!(!find.exchanges[..i].iter().any(|e| same(&e)), "twice: {:?}", exchange);
                let open = |e: &&Exchange| {
                    e.asked_at <= exchange.asked_at && exchange.asked_at < e.answered_at
                };
                prop_assert!(find.exchanges.iter().filter(open).count() <= width);
            }
        }
    }

    /// Between the tracker's list and the longer list, whoever is asked is registered, or at most
    /// three hints (two further ones) lead there from somebody who is.
    #[test]
    fn at_most_two_further_hints_are_followed(scripts in scripts()) {
        let run = world(&scripts, &WorldConfig::default());
        for (id, find) in all_finds(&run) {
            let (mut listed, mut hints) = (Vec::new(), BTreeMap::new());
            for exchange in &find.exchanges {
                match (exchange.to, &exchange.request, &exchange.answer) {
                    (Target::Tracker, _, Some(Answer::Peers { peers, .. })) => {
                        listed.extend(peers.iter().filter(|p| p.id != id).map(Contact::addr));
                        // Alone, it goes on with the longer list at once.
                        if listed.is_empty() {
                            break;
                        }
                    }
                    (Target::Peer(addr), Request::Have(_), answer) => {
                        let lead_here = |from: &SocketAddr| {
                            let chain = std::iter::successors(Some(*from), |by| hints.get(by).copied());
                            chain.take(4).any(|peer| peer == addr)
                        };
                        let own_originator = listed.is_empty();
                        prop_assert!(own_originator || listed.iter().any(lead_here), "{id}: {find:?}");
                        if let Some(Answer::Have(HaveAnswer::Hint(to))) = answer {
                            hints.insert(addr, to.addr());
                        }
                    }
                    _ => break,
                }
            }
        }
    }

    /// Whom a peer got a key from last is what it hints at and lists for ever, purged or not.
    #[test]
    fn originators_survive_a_purge(scripts in scripts()) {
        let run = world(&scripts, &WorldConfig::default());
        let ids = scripts.iter().map(|script| script.id);
        let by_addr: BTreeMap<SocketAddr, PeerId> = ports::assign(ids.clone()).into_iter().zip(ids).collect();
        let mut originators: BTreeMap<PeerId, BTreeMap<Key, Contact>> = BTreeMap::new();
        for (id, find) in all_finds(&run) {
            for exchange in &find.exchanges {
                let (Target::Peer(addr), Some(answer)) = (exchange.to, &exchange.answer) else { continue };
                let of = originators.get(&by_addr[&addr]).cloned().unwrap_or_default();
                match answer {
                    Answer::Have(HaveAnswer::Hint(to)) => prop_assert_eq!(of.get(&find.key), Some(to)),
                    Answer::Have(HaveAnswer::No) => prop_assert_eq!(of.get(&find.key), None),
                    Answer::Peers { peers, .. } => {
                        let unique: BTreeSet<Contact> = of.into_values().collect();
                        let expected: Vec<Contact> = unique.into_iter().rev().collect();
                        prop_assert_eq!(peers, &expected);
                    }
                    _ => {}
                }
            }
            if let Some(from) = find.found.filter(|from| from.id != id) {
                originators.entry(id).or_default().insert(find.key.clone(), from);
            }
        }
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

/// The comparison with the rules is alive: for each rule that is got wrong, some random scenario
/// shows it.
#[test]
fn each_rule_that_is_got_wrong_is_seen() {
    use Mistake::{AsksAgain, HintIgnored, OneHintMore, OneLevel};
    use Mistake::{OriginatorIgnored, PurgeForgets, UnregisteredIsGone};
    let mut runner = TestRunner::deterministic();
    let mut unseen = vec![
        PurgeForgets,
        OneHintMore,
        HintIgnored,
        OriginatorIgnored,
        OneLevel,
        AsksAgain,
        UnregisteredIsGone,
    ];
    for _ in 0..1000 {
        let scripts = scripts().new_tree(&mut runner).unwrap().current();
        let addresses = ports::assign(scripts.iter().map(|script| script.id));
        let run = world(&scripts, &WorldConfig::default());
        let questions = questions(&run, scripts.len());
        unseen.retain(|mistake| {
            let model = Model::run_wrong(&scripts, &addresses, Some(*mistake));
            run.logs == model.logs && questions == model.questions
        });
    }
    assert_eq!(unseen, []);
}

/// Every route once: the way a key is found is told along with whose it was.
#[test]
fn finds_tell_their_routes() {
    let act = |time, action| (time, action);
    let obtain = |time| act(time, Action::Obtain(key(0)));
    let purge = |time| act(time, Action::Purge(key(0)));
    let scripts = [
        // From 4, which is listed; then from 4 again, as its own originator.
        (1, vec![], vec![obtain(1), obtain(2), purge(3), obtain(4), purge(5)]),
        // 1 hints at 4, which is no longer listed.
        (2, vec![], vec![obtain(7), purge(8)]),
        // 1 and 2 have unregistered: 5 knows 4.
        (3, vec![], vec![obtain(11)]),
        (4, vec![0], vec![act(6, Action::Unregister)]),
        (5, vec![], vec![act(5, Action::Obtain(key(1))), act(12, Action::List)]),
    ];
    let mut scripts = scripts.map(|(n, content, actions)| Script {
        id: id(n),
        content: content.into_iter().map(key).collect(),
        actions,
    });
    scripts[3].content.push(key(1));
    scripts[0].actions.push(act(9, Action::Unregister));
    scripts[1].actions.push(act(9, Action::Unregister));
    let run = world(&scripts, &WorldConfig::default());
    let routes = |n| run.finds[&id(n)].iter().map(|f| (f.found.unwrap().id, f.route)).collect::<Vec<_>>();
    let (one, four) = (Contact::new(id(1), ports::assign([id(1)])[0]), id(4));
    let by_hint = Reason::Hint { by: one, further: 0 };
    assert_eq!(routes(1), [(four, Some(Reason::Listed)), (id(1), None), (four, Some(Reason::OwnOriginator))]);
    assert_eq!(routes(2), [(four, Some(by_hint))]);
    assert_eq!(routes(3), [(four, Some(Reason::LongerList(1)))]);
}

/// Lists that are longer than a page: 300 peers, one of which has been to each.
#[test]
fn long_lists_come_in_pages() {
    let peers = 300;
    let name = |n: u64| Key::new(&format!("k{n}")).unwrap();
    let script = |n: u64| {
        let actions = match n {
            1 => (2..=peers).map(|other| (1, Action::Obtain(name(other)))).collect(),
            2 => vec![(2, Action::Known(id(1))), (2, Action::Contents(id(1))), (2, Action::List)],
            _ => Vec::new(),
        };
        Script { id: id(n), content: vec![name(n)], actions }
    };
    let scripts: Vec<_> = (1..=peers).map(script).collect();
    let run = world(&scripts, &WorldConfig::default());
    let model = Model::run(&scripts, &ports::assign(scripts.iter().map(|script| script.id)));
    assert!(run.finished);
    assert_eq!(run.logs, model.logs);
}

/// Messages that take longer than anybody waits: timers go off in between, and the run ends.
#[test]
fn a_world_too_slow_for_its_timers_ends() {
    let scripts = [1, 2].map(|n| Script { id: id(n), content: Vec::new(), actions: vec![(1, Action::List)] });
    let slow =
        |seconds| WorldConfig { links: Links::new(Duration::from_secs(seconds)), ..WorldConfig::default() };
    let run = world(&scripts, &slow(6));
    assert!(!run.finished, "nobody could register");
    for n in [1, 2] {
        assert!(run.troubles.iter().any(|t| t.contains(&format!("client {n}: could not register"))));
    }
    assert!(world(&scripts, &slow(4)).finished);
}
