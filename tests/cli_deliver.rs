//! `askaround lab run --deliver`: the logs come from deliveries that happened.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use support::lab::{assert_as_expected, lab_run, scenarios};
use support::{ASKAROUND, Running, run, scenario, stderr, stdout, wait_for};

fn deliver(dir: &Path, more: &[&str]) -> Output {
    lab_run(dir, &[&["--deliver"], more].concat())
}

fn assert_delivered(dir: &Path, more: &[&str]) {
    let output = assert_as_expected(dir, &[&["--deliver"], more].concat());
    let complained = stderr(&output);
    assert!(!complained.contains("did not come"), "{} {more:?}: {complained}", dir.display());
}

#[test]
fn every_scenario_gives_its_expected_logs() {
    for folder in scenarios() {
        assert_delivered(&folder, &[]);
    }
}

#[test]
fn processes_concurrent_turns_and_repetition_give_the_same() {
    for (name, more) in [
        ("campus-20", &["--processes"][..]),
        ("corner-unregistered-peer-still-serves", &["--processes"]),
        ("campus-20", &["--turns", "concurrent", "--repeat", "3"]),
        ("campus-20", &["--processes", "--turns", "concurrent"]),
    ] {
        assert_delivered(&scenario(name), more);
    }
}

/// Who obtained what from whom, other than itself, as the logs have it.
fn obtained(logs: &Value) -> Vec<(u64, String, u64)> {
    let first = logs["bootstrapper.json"][0]["text"].as_str().unwrap();
    // Clients registered: <1, 127.0.0.1, 9137>, <2, …>
    let members = first.split('<').skip(1).map(|member| member.split(['>']).next().unwrap());
    let ids: BTreeMap<&str, u64> = members
        .map(|member| {
            let fields: Vec<_> = member.split(", ").collect();
            (fields[2], fields[0].parse().unwrap())
        })
        .collect();
    let mut all = Vec::new();
    for (name, log) in logs.as_object().unwrap() {
        let Some(peer) = name.strip_prefix("client_") else { continue };
        let peer: u64 = peer.strip_suffix(".json").unwrap().parse().unwrap();
        for entry in log.as_array().unwrap() {
            let text = entry["text"].as_str().unwrap();
            let Some((key, from)) = text.strip_prefix("Obtained ").and_then(|rest| rest.split_once(" from "))
            else {
                continue;
            };
            let from = ids[from.split('#').nth(1).unwrap()];
            if from != peer {
                all.push((peer, key.to_owned(), from));
            }
        }
    }
    all.sort_unstable();
    all
}

#[test]
fn each_key_that_was_obtained_was_delivered_by_the_peer_in_the_log() {
    for more in [&["--json"][..], &["--json", "--processes"]] {
        let output = deliver(&scenario("campus-20"), more);
        let value: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(value["as_expected"], true);
        let deliveries = &value["deliveries"];
        let each = deliveries["each"].as_array().unwrap();
        assert!(each.iter().all(|delivery| delivery["verified"] == true));
        let mut delivered: Vec<_> = each
            .iter()
            .map(|delivery| {
                let number = |name: &str| delivery[name].as_u64().unwrap();
                (number("peer"), delivery["key"].as_str().unwrap().to_owned(), number("from"))
            })
            .collect();
        delivered.sort_unstable();
        assert!(delivered.len() > 20);
        assert_eq!(delivered, obtained(&value["logs"]));
        let bytes: u64 = each.iter().map(|delivery| delivery["bytes"].as_u64().unwrap()).sum();
        assert!(bytes > 1_000_000);
        assert_eq!(deliveries["bytes"], bytes);
        assert_eq!((&deliveries["verified"], &deliveries["failed"]), (&each.len().into(), &0.into()));
    }
}

#[test]
fn the_table_says_what_was_delivered() {
    let output = deliver(&scenario("rubric-04-hints"), &[]);
    let said = stdout(&output);
    assert!(said.contains("3 deliveries over TCP, ") && said.contains(", each verified whole\n"), "{said}");
    let output = deliver(&scenario("corner-no-actions"), &[]);
    assert!(stdout(&output).contains("nothing was to be delivered"), "{}", stdout(&output));
}

#[test]
fn programs_that_keep_no_content_are_refused() {
    let output = deliver(&scenario("campus-20"), &["--processes", "--client", "1=./peer {file}"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--deliver does not go with --client"), "{}", stderr(&output));
}

#[test]
fn a_client_whose_content_is_not_that_of_its_keys_does_not_take_part() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("1.json");
    fs::write(&script, r#"{"client_id": 1, "content": ["a"]}"#).unwrap();
    let client = |expected: &str| {
        let (script, folder) = (script.to_str().unwrap(), folder.path().to_str().unwrap());
        let output =
            run(support::CLIENT, &["--file", script, "--port", "0", "--out", folder, "--deliver", folder]);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    };
    client("keys.json");
    // The hash of nothing.
    let hash = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
    fs::write(folder.path().join("keys.json"), format!(r#"{{"a": "{hash}"}}"#)).unwrap();
    client(hash);
    fs::create_dir(folder.path().join("1")).unwrap();
    fs::write(folder.path().join("1").join(hash), "something").unwrap();
    client("is not the content of the key a");
}

#[test]
fn content_is_removed_at_the_end_and_after_ctrl_c() {
    let scratch = tempfile::tempdir().unwrap();
    let out = tempfile::tempdir().unwrap();
    let left = || fs::read_dir(scratch.path()).unwrap().count();
    for more in [&[][..], &["--processes"]] {
        let mut command = Command::new(ASKAROUND);
        command.env("TMPDIR", scratch.path()).args(["lab", "run"]).arg(scenario("campus-20"));
        command.args(["--deliver", "--quiet", "--out"]).arg(out.path()).args(more);
        assert_eq!(Running::start(&mut command).end().0, Some(0));
        assert_eq!(left(), 0, "{more:?}");
        let running = Running::start(command.args(["--repeat", "10000"]));
        wait_for("the content", || (left() > 0).then_some(()));
        running.signal("-INT");
        assert_eq!(running.end().0, Some(130));
        assert_eq!(left(), 0, "{more:?}");
    }
}
