//! `askaround lab sim` as a user runs it.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use support::lab::scenarios;
use support::{ASKAROUND, Running, run, scenario, stderr, stdout, wait_for};

fn sim(words: &[&str]) -> Output {
    run(ASKAROUND, &[&["lab", "sim"], words].concat())
}

/// Each file of a folder and its bytes, by name.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut files: Vec<_> =
        entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect();
    files.sort();
    files
}

#[test]
fn every_scenario_gives_its_expected_logs_in_virtual_time() {
    let folders = scenarios();
    assert!(folders.len() > 30);
    for folder in folders {
        let out = tempfile::tempdir().unwrap();
        let words = [folder.to_str().unwrap(), "--quiet", "--out", out.path().to_str().unwrap()];
        let output = sim(&words);
        assert_eq!(output.status.code(), Some(0), "{folder:?}: {}", stderr(&output));
        assert!(stdout(&output).contains("all logs are as expected"), "{folder:?}");
    }
}

#[test]
fn virtual_time_and_real_sockets_give_the_same_bytes() {
    for name in ["campus-20", "corner-unknown-peer", "corner-port-taken", "rubric-11-more-than-20-clients"] {
        let (real, virtual_time) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut printed = Vec::new();
        for (command, out) in [("run", &real), ("sim", &virtual_time)] {
            let folder = scenario(name);
            let out = out.path().to_str().unwrap();
            let output = run(ASKAROUND, &["lab", command, folder.to_str().unwrap(), "--out", out]);
            assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
            printed.push(stdout(&output).replace(out, ""));
        }
        assert!(files(real.path()).len() > 2);
        assert_eq!(files(real.path()), files(virtual_time.path()), "{name}");
        assert_eq!(printed[0], printed[1]);
    }
}

#[test]
fn a_simulated_difference_and_bad_folders_are_told_as_lab_run_tells_them() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("two words");
    fs::create_dir(&folder).unwrap();
    let dir = folder.to_str().unwrap();
    assert_eq!(sim(&[dir]).status.code(), Some(2));
    fs::write(folder.join("1.json"), r#"{"client_id": 1}"#).unwrap();
    assert_eq!(sim(&[dir, "--out", dir]).status.code(), Some(2), "the logs would be part of the scenario");
    fs::create_dir(folder.join("expected_outcomes")).unwrap();
    fs::write(folder.join("expected_outcomes/client_1.json"), "[]").unwrap();
    let out = tempfile::tempdir().unwrap();
    let output = sim(&[dir, "--out", out.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("not as expected: client_1.json"), "{said}");
    assert_eq!(stderr(&again(&said)), said);
}

#[test]
fn a_signal_is_heard_while_a_population_is_made() {
    for (signal, status) in [("-INT", 130), ("-TERM", 143)] {
        let words = ["lab", "sim", "--peers", "3000000", "--keys", "10", "--copies", "1"];
        let running = Running::start(Command::new(ASKAROUND).args(words));
        let ready = format!("/proc/{}/task", running.0.id());
        // The thread that hears signals, and the one that makes the population.
        wait_for("its threads", || (fs::read_dir(&ready).ok()?.count() >= 3).then_some(()));
        running.signal(signal);
        assert_eq!(running.end().0, Some(status));
    }
}

/// Runs the command that a failure says does the same again.
fn again(said: &str) -> Output {
    let command = said.lines().find_map(|line| line.strip_prefix("the same again: askaround lab sim "));
    let words = askaround_lab::shell::split(command.expect("a command")).unwrap();
    sim(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

fn population(words: &[&str]) -> Output {
    sim(&[&["--peers", "100", "--copies", "4", "--keys", "10", "--lookups", "10"], words].concat())
}

#[test]
fn a_population_is_told_in_a_table_in_json_and_in_a_file_and_repeats_itself() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("figures/cost.csv");
    let csv_word = csv.to_str().unwrap();
    let words = ["--peers", "50,200", "--copies", "4", "--keys", "10", "--lookups", "10", "--csv", csv_word];
    let output = sim(&words);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = stdout(&output);
    assert!(said.contains("messages a lookup") && said.contains("as N^"), "{said}");
    assert_eq!(fs::read_to_string(&csv).unwrap().lines().count(), 3);

    let again =
        said.lines().find_map(|line| line.strip_prefix("the same again: askaround lab sim ")).unwrap();
    let again: Vec<_> = again.split(' ').collect();
    assert_eq!(stdout(&sim(&again)), said);

    let json = sim(&[&again[..], &["--json"]].concat());
    let value: serde_json::Value = serde_json::from_str(&stdout(&json)).unwrap();
    assert_eq!(value["rows"][1]["peers"], 200);
    assert_eq!(value["rows"][1]["found"], 10);
    assert!(value["growth"][0]["messages"].as_f64().unwrap() > 0.0);
    assert_ne!(stdout(&sim(&[&again[..], &["--json", "--seed", "2"]].concat())), stdout(&json));
}

#[test]
fn every_option_is_in_the_command_that_repeats_a_run() {
    let words = "--zipf 1.1 --missing 10% --known 3 --every 500ms --lease 30 --churn 20/5 --latency 5ms \
                 --jitter 2ms --loss 1% --bandwidth 1M --fault crash:10%@1+2 --fault stall:2-5@1+1 --width 4 \
                 --give-up 1m --seed 9";
    let words: Vec<_> = words.split_whitespace().collect();
    let output = population(&words);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = stdout(&output);
    let again =
        said.lines().find_map(|line| line.strip_prefix("the same again: askaround lab sim ")).unwrap();
    assert_eq!(stdout(&sim(&again.split(' ').collect::<Vec<_>>())), said);
    let flood = population(&["--search", "walk", "--walkers", "3", "--ttl", "20"]);
    assert!(stdout(&flood).contains("--search walk --ttl 20 --walkers 3"), "{}", stdout(&flood));
}

#[test]
fn a_fault_in_a_scenario_is_told_with_the_command_that_repeats_it() {
    let out = tempfile::tempdir().unwrap();
    let dir = scenario("campus-20");
    let out = ["--out", out.path().to_str().unwrap(), "--latency", "10ms"];
    let words = [&[dir.to_str().unwrap(), "--fault", "crash:3@0.5", "--seed", "4"], &out[..]].concat();
    let output = sim(&words);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("client 3 was left out in timestep"), "{said}");
    assert!(said.contains("--fault crash:3@0.5 --width 1 --seed 4"), "{said}");
    assert_eq!(stderr(&again(&said)), said);
    // Links alone change nothing but the time.
    let slow = [&[dir.to_str().unwrap(), "--jitter", "5ms", "--bandwidth", "1M"], &out[..]].concat();
    let output = sim(&slow);
    assert!(stdout(&output).contains("all logs are as expected"), "{}", stderr(&output));
}

#[test]
fn what_cannot_be_simulated_is_named_and_exits_2() {
    let campus = scenario("campus-20");
    let campus = campus.to_str().unwrap();
    let cases: &[(&[&str], &str)] = &[
        (&[], "required"),
        (&[campus, "--peers", "10"], "cannot be used with"),
        (&[campus, "--keys", "10"], "cannot be used with"),
        (&[campus, "--fault", "crash:99@0.001"], "there is no peer 99 in this run"),
        (&[campus, "--fault", "crash:3@1h"], "the run is over by then"),
        (&[campus, "--fault", "crash:3@0.001+1"], "nobody comes back"),
        (&["--peers", "0"], "1 to 10000000 peers, not 0"),
        (&["--peers", "x"], "invalid value"),
        (&["--peers", "5", "--copies", "6"], "6 copies of a key need as many peers"),
        (&["--peers", "10", "--known", "10"], "nobody can know 10 others"),
        (&["--peers", "10", "--lookups", "0"], "nothing to measure"),
        (&["--peers", "10", "--keys", "0"], "no key to look for"),
        (&["--peers", "100", "--walkers", "3"], "--walkers is for --search walk"),
        (&["--peers", "100", "--ttl", "3"], "--ttl is for"),
        (&["--peers", "100", "--search", "flood", "--width", "2"], "--width is for"),
        (&["--peers", "100", "--quiet"], "cannot be used with"),
        (&["--peers", "100", "--out", "x"], "cannot be used with"),
        (&["--peers", "100", "--fault", "crash:1@100"], "the run is over by then"),
        (&["--peers", "100", "--fault", "crash:101@1"], "there is no peer 101"),
        (&["--peers", "100", "--fault", "melt:1@1"], "none of crash, stall, partition and outage"),
        (&["--peers", "100", "--loss", "101%"], "from 0% to 100%"),
        (&["--peers", "100", "--loss", "100%"], "nobody gets an answer: 100% of the questions are lost"),
        (&["--peers", "100", "--latency", "20"], "a message alone takes 20s (a bare number is seconds"),
        (&["--peers", "20", "--bandwidth", "1"], "could register within 3600s of virtual time"),
        (&["--peers", "20", "--jitter", "10h"], "could register within 3600s of virtual time"),
        (&["--peers", "100", "--keys", "1000000000"], "at most 10000000 keys, not 1000000000"),
        (&["--peers", "100", "--churn", "5"], "expected UP/DOWN"),
        (&["--peers", "100", "--csv", "/proc/no/file.csv"], "cannot write /proc/no/file.csv"),
    ];
    for (words, expected) in cases {
        let output = sim(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{words:?}: {}", stderr(&output));
    }
}
