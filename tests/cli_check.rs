//! `askaround lab check` as a user runs it.

mod support;

use std::fs;
use std::path::Path;

use serde_json::Value;
use support::lab::scenarios;
use support::{ASKAROUND, run, scenario, stderr, stdout};

fn check(dir: &Path, more: &[&str]) -> std::process::Output {
    let mut words = vec!["lab", "check", dir.to_str().unwrap()];
    words.extend(more);
    run(ASKAROUND, &words)
}

fn json(dir: &Path, more: &[&str]) -> Value {
    let output = check(dir, &[more, &["--json"]].concat());
    serde_json::from_str(&stdout(&output)).unwrap_or_else(|e| panic!("{e}: {}", stderr(&output)))
}

/// What the races' names say is so, and the logs of all others do not depend on the order.
#[test]
fn of_our_scenarios_those_race_that_are_meant_to() {
    let mut races = 0;
    for folder in scenarios() {
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        // The town has more orders than can be tried.
        let orders = if name == "town-200" { "1" } else { "1000" };
        let output = check(&folder, &["--orders", orders]);
        let race = name.starts_with("race-") && !name.starts_with("race-none-");
        races += usize::from(race);
        assert_eq!(output.status.code(), Some(i32::from(race)), "{name}: {}", stdout(&output));
        let sure = stdout(&output).contains("every one that can make a difference");
        assert!(sure || name == "town-200", "{name}: {}", stdout(&output));
    }
    assert!(races >= 7);
}

#[test]
fn a_race_is_named_with_places_orders_and_commands_that_replay_it() {
    let dir = scenario("race-both-obtain");
    let found = json(&dir, &[]);
    assert_eq!(found["order_matters"], true);
    assert_eq!(found["exhaustive"], true);
    let race = &found["races"][0];
    assert_eq!(race["time"], 1);
    for (at, client) in [(0, 1), (1, 2)] {
        let action = &race["actions"][at];
        assert_eq!((&action["client"], &action["line"]), (&client.into(), &5.into()));
        let line = fs::read_to_string(action["file"].as_str().unwrap()).unwrap();
        assert_eq!(line.lines().nth(4).unwrap().trim(), "{", "where the action begins");
        assert_eq!(race["orders"][at]["first"], client);
    }
    let varying: Vec<_> = found["entries"].as_array().unwrap().iter().map(|e| &e["log"]).collect();
    assert_eq!(varying, ["client_1.json", "client_2.json", "client_3.json"]);

    // The commands give what was said.
    for (at, order) in race["orders"].as_array().unwrap().iter().enumerate() {
        let words: Vec<&str> = order["command"].as_str().unwrap().split(' ').skip(1).collect();
        let replayed = run(ASKAROUND, &[words.as_slice(), &["--json"]].concat());
        let replayed: Value = serde_json::from_str(&stdout(&replayed)).unwrap();
        for entry in race["entries"].as_array().unwrap() {
            let log = &replayed["logs"][entry["log"].as_str().unwrap()];
            assert_eq!(log[entry["index"].as_u64().unwrap() as usize]["text"], entry["texts"][at]);
        }
    }
    let text = stdout(&check(&dir, &[]));
    assert!(text.contains("race-both-obtain/1.json:5: client 1: Q "), "{text}");
}

/// By whole turns of a peer the two would never race: it takes an action between two of another.
#[test]
fn actions_race_and_not_only_turns() {
    let found = json(&scenario("race-between-two-actions"), &[]);
    let entry = &found["entries"][0];
    assert_eq!(entry["by_id"], "Bootstrapper: <1, 127.0.0.1, 9137>, <2, 127.0.0.1, 9978>");
    assert_eq!(entry["others"], serde_json::json!(["Bootstrapper: <1, 127.0.0.1, 9137>"]));
}

#[test]
fn one_order_can_be_played() {
    let dir = scenario("race-purge-while-searched");
    let by_id = check(&dir, &["--order", "1:1"]);
    assert_eq!(by_id.status.code(), Some(0), "{}", stderr(&by_id));
    assert!(stdout(&by_id).contains("are those of turns by id"));
    let other = check(&dir, &["--order", "1:2,1"]);
    assert_eq!(other.status.code(), Some(1));
    assert!(stdout(&other).contains("in this order: Obtained"), "{}", stdout(&other));
}

#[test]
fn what_is_too_much_is_sampled_by_seed() {
    let dir = scenario("race-three-obtain-one-purges");
    let (one, other) = (json(&dir, &["--orders", "2"]), json(&dir, &["--orders", "2", "--seed", "9"]));
    assert_eq!(one["exhaustive"], false);
    assert_eq!(one, json(&dir, &["--orders", "2", "--seed", "1"]), "the same seed, the same findings");
    assert_ne!(one["entries"], other["entries"]);
    let text = stdout(&check(&scenario("town-200"), &["--orders", "1", "--seed", "5"]));
    assert!(text.contains("were not seen to depend") && text.contains("--seed 5"), "{text}");
}

#[test]
fn bad_input_is_named_and_exits_2() {
    let dir = scenario("race-both-obtain");
    let cases: &[(&[&str], &str)] = &[
        (&["--orders", "0"], "expected a whole number from 1"),
        (&["--seed", "x"], "expected a whole number"),
        (&["--order", "1"], "expected TIME:ID,ID"),
        (&["--order", "1:0"], "whole number from 1"),
        (&["--order", "9:1"], "--order: nobody acts in timestep 9"),
        (&["--order", "1:7"], "--order: there is no client 7 in the scenario"),
        (&["--order", "1:3"], "--order: client 3 has 0 actions in timestep 1"),
        (&["--order", "1:1", "--order", "1:2"], "--order: timestep 1 is given two orders"),
        (&["--order", "1:1", "--seed", "2"], "cannot be used with"),
    ];
    for (words, expected) in cases {
        let output = check(&dir, words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(stderr(&output).contains(expected), "{words:?}: {}", stderr(&output));
        assert!(stdout(&output).is_empty());
    }
    assert_eq!(check(Path::new("/nowhere"), &[]).status.code(), Some(2));
}
