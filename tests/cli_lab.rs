//! `askaround lab` as a user runs it.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::lab::{assert_as_expected, lab_run, scenarios};
use support::{ASKAROUND, run, scenario, stderr, stdout};

#[test]
fn every_scenario_gives_its_expected_logs() {
    for folder in scenarios() {
        assert_as_expected(&folder, &[]);
    }
}

#[test]
fn a_process_a_node_gives_the_same_logs() {
    for name in ["campus-20", "corner-port-taken", "corner-longer-list-second-level"] {
        assert_as_expected(&scenario(name), &["--processes"]);
    }
}

#[test]
fn peers_in_python_and_in_rust_play_together() {
    let peer = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/peer.py");
    let command =
        format!("python3 '{}' {{file}} --tracker {{tracker}} --port {{port}} --out {{out}}", peer.display());
    for (name, ids) in
        [("campus-20", "2,3,5,8,13"), ("corner-answers-reused", "1,2"), ("corner-three-hints-deep", "all")]
    {
        assert_as_expected(&scenario(name), &["--processes", "--client", &format!("{ids}={command}")]);
    }
}

#[test]
fn runs_can_be_repeated_and_do_not_disturb_each_other() {
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let output = lab_run(&scenario("campus-20"), &["--repeat", "3", "--quiet"]);
                assert!(
                    stdout(&output).contains("3 of 3 runs gave the logs of the first"),
                    "{}",
                    stderr(&output)
                );
            });
        }
    });
}

#[test]
fn the_table_shows_what_happened_and_json_is_json() {
    let output = lab_run(&scenario("corner-own-key"), &[]);
    assert!(stdout(&output).contains("TIME  PEER  WHAT HAPPENED"));
    let output = lab_run(&scenario("corner-own-key"), &["--json"]);
    let value: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(value["as_expected"], true);
}

/// A scenario of one's own.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

#[test]
fn a_difference_is_an_exit_status_of_1_and_can_be_graded() {
    let wrong = r#"[{"time": 0, "text": "Client ID 2 registered"}]"#;
    let folder = folder(&[("1.json", r#"{"client_id": 1}"#), ("expected_outcomes/client_1.json", wrong)]);
    let out = tempfile::tempdir().unwrap();
    let (dir, out) = (folder.path().to_str().unwrap(), out.path().to_str().unwrap());
    let output = run(ASKAROUND, &["lab", "run", dir, "--out", out]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("not as expected: client_1.json"), "{}", stderr(&output));

    let expected = folder.path().join("expected_outcomes");
    let graded = run(ASKAROUND, &["lab", "grade", expected.to_str().unwrap(), out]);
    assert_eq!(graded.status.code(), Some(1));
    assert!(stdout(&graded).contains("expected  time 0: Client ID 2 registered"), "{}", stdout(&graded));
    let graded = run(ASKAROUND, &["lab", "grade", "--json", out, out]);
    assert_eq!(graded.status.code(), Some(0));
    let value: serde_json::Value = serde_json::from_str(&stdout(&graded)).unwrap();
    assert_eq!(value["equal"], true);
}

#[test]
fn bad_input_is_named_and_exits_2() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[], "no script here"),
        (&[("1.json", "{")], "1.json: not JSON"),
        (&[("1.json", r#"{"client_id": 2}"#)], "1.json: client_id is 2, but the file's name says 1"),
        (
            &[("3.json", r#"{"client_id": 3}"#), ("03.json", r#"{"client_id": 3}"#)],
            "client 3 has a second script",
        ),
        (
            &[("1.json", r#"{"client_id": 1, "actions": [{"time": -2, "code": "L"}]}"#)],
            "1.json: actions[0]: time: expected a whole number from 1 to 10000, found -2",
        ),
        (
            &[("1.json", r#"{"client_id": 1, "actions": [{"time": 1, "code": "K"}]}"#)],
            "expected one of R U L Q P O M",
        ),
    ];
    for (files, expected) in cases {
        let output = lab_run(folder(files).path(), &[]);
        assert_eq!(output.status.code(), Some(2), "{expected}");
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
    assert_eq!(lab_run(Path::new("/nowhere"), &[]).status.code(), Some(2));
    assert_eq!(lab_run(&scenario("campus-20"), &["--repeat", "0"]).status.code(), Some(2));
    assert_eq!(
        lab_run(&scenario("campus-20"), &["--client", "1=x"]).status.code(),
        Some(2),
        "needs --processes"
    );
}

#[test]
fn a_field_that_is_not_read_is_told_and_stops_nothing() {
    let output = lab_run(folder(&[("1.json", r#"{"client_id": 1, "contents": []}"#)]).path(), &[]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stderr(&output).contains("1.json: \"contents\" is no field here"), "{}", stderr(&output));
}

#[test]
fn expected_logs_count_all_and_must_be_usable() {
    let script = ("1.json", r#"{"client_id": 1}"#);
    let surplus = lab_run(folder(&[script, ("expected_outcomes/client_9.json", "[]")]).path(), &[]);
    assert_eq!(surplus.status.code(), Some(1));
    assert!(stderr(&surplus).contains("not as expected: client_9.json"), "{}", stderr(&surplus));
    let broken = lab_run(folder(&[script, ("expected_outcomes/client_1.json", "{")]).path(), &[]);
    assert_eq!(broken.status.code(), Some(2));
    assert!(stderr(&broken).contains("client_1.json: expected an array"), "{}", stderr(&broken));
    let empty = lab_run(folder(&[script, ("expected_outcomes/README", "none yet")]).path(), &[]);
    assert_eq!(empty.status.code(), Some(2));
    assert!(stderr(&empty).contains("no log here"), "{}", stderr(&empty));
}

#[test]
fn logs_that_nothing_is_expected_of_are_not_as_expected() {
    let scripts = [("1.json", r#"{"client_id": 1}"#), ("2.json", r#"{"client_id": 2}"#)];
    let one = ("expected_outcomes/client_1.json", r#"[{"time": 0, "text": "Client ID 1 registered"}]"#);
    let incomplete = folder(&[scripts[0], scripts[1], one]);
    for command in ["run", "sim"] {
        let out = tempfile::tempdir().unwrap();
        let words =
            ["lab", command, incomplete.path().to_str().unwrap(), "--out", out.path().to_str().unwrap()];
        let output = run(ASKAROUND, &words);
        assert_eq!(output.status.code(), Some(1));
        let said = stderr(&output);
        assert!(said.contains("not compared: client_2.json, bootstrapper.json, for "), "{said}");
        assert!(!stdout(&output).contains("as expected"), "{}", stdout(&output));
    }
    let file = lab_run(folder(&[scripts[0], ("expected_outcomes", "[]")]).path(), &[]);
    assert_eq!(file.status.code(), Some(2));
    assert!(stderr(&file).contains("expected_outcomes: is a file: expected a folder"), "{}", stderr(&file));
}

#[test]
fn what_looks_like_a_script_and_is_not_read_is_said() {
    let script = r#"{"client_id": 1}"#;
    let names = ["2.JSON", "2.txt", "copy.json", "peer1.json"];
    let files: Vec<_> = names.iter().chain(&["1.json", "notes.md"]).map(|name| (*name, script)).collect();
    let output = lab_run(folder(&files).path(), &[]);
    assert_eq!(output.status.code(), Some(0));
    let said = stderr(&output);
    let warned: Vec<_> = names.iter().filter(|name| said.contains(&format!("{name}: not read"))).collect();
    assert_eq!((warned.len(), said.lines().count()), (4, 4), "{said}");
    let output = lab_run(folder(&files[..4]).path(), &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("…; found 2.JSON, 2.txt, copy.json, peer1.json"), "{}", stderr(&output));
}

#[test]
fn logs_never_replace_the_scenario() {
    let folder = folder(&[("1.json", r#"{"client_id": 1}"#), ("expected_outcomes/client_1.json", "[]")]);
    for out in [folder.path().to_owned(), folder.path().join("expected_outcomes")] {
        let words = ["lab", "run", folder.path().to_str().unwrap(), "--out", out.to_str().unwrap()];
        assert_eq!(run(ASKAROUND, &words).status.code(), Some(2));
    }
    assert_eq!(fs::read_to_string(folder.path().join("expected_outcomes/client_1.json")).unwrap(), "[]");
}

#[test]
fn a_client_that_cannot_be_started_fails_the_run() {
    let output = lab_run(&scenario("corner-own-key"), &["--processes", "--client", "1=/no/such/program"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("cannot start /no/such/program as client 1"), "{}", stderr(&output));
}

/// Not 30 seconds for everybody to register: what went wrong is known at once.
#[test]
fn a_client_that_ends_before_the_run_begins_ends_the_run() {
    for (command, said) in [
        ("true", "ended before the run began"),
        ("sh -c 'echo oh >&2; exit 3'", "3 before the run began: oh"),
    ] {
        let client = format!("2={command}");
        let output = lab_run(&scenario("corner-own-key"), &["--processes", "--client", &client]);
        assert_eq!(output.status.code(), Some(1));
        let stderr = stderr(&output);
        assert!(stderr.contains("client 2") && stderr.contains(said), "{stderr}");
        assert!(!stderr.contains("the tracker"), "it was ended on purpose: {stderr}");
    }
}

#[test]
fn what_a_client_leaves_in_its_group_is_ended_with_it() {
    let peer = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/peer.py");
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    // The child keeps stderr open, and outlives the shell unless somebody ends it.
    let command = format!(
        "1=sh -c 'sleep 600 & echo $! > \"{}\"; python3 \"{}\" \"$0\" --tracker \"$1\" --port \"$2\" --out \"$3\"' {{file}} {{tracker}} {{port}} {{out}}",
        pid.display(),
        peer.display()
    );
    assert_as_expected(&scenario("corner-own-key"), &["--processes", "--client", &command]);
    let pid = fs::read_to_string(pid).unwrap();
    let state = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    // Nobody may have reaped it yet.
    assert!(state.is_empty() || state.contains(") Z "), "still there: {state}");
}

#[test]
fn what_the_system_refuses_a_run_is_named() {
    let (out, dir) = (tempfile::tempdir().unwrap(), scenario("corner-hint-loop"));
    let run = ["lab", "run", dir.to_str().unwrap(), "--out", out.path().to_str().unwrap()];
    let nowhere = out.path().join("nowhere");
    let mut command = Command::new(ASKAROUND);
    let output = command.args(run).arg("--deliver").env("TMPDIR", &nowhere).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(nowhere.to_str().unwrap()), "{}", stderr(&output));

    // Where nobody is connected to anything.
    let mut apart = Command::new("unshare");
    let output = apart.args(["--user", "--net", ASKAROUND]).args(run).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("is the loopback interface up?"), "{}", stderr(&output));
}

#[test]
fn the_shipped_scenarios_are_part_of_the_program() {
    let out = tempfile::tempdir().unwrap();
    let list = run(ASKAROUND, &["lab", "scenarios"]);
    assert_eq!(stdout(&list).lines().count(), 48, "a heading and 47 scenarios");
    let written = run(ASKAROUND, &["lab", "scenarios", "campus-20", "--out", out.path().to_str().unwrap()]);
    assert_eq!(written.status.code(), Some(0), "{}", stderr(&written));
    for file in ["1.json", "about.txt", "expected_outcomes/bootstrapper.json"] {
        let text = |folder: &std::path::Path| std::fs::read(folder.join(file)).unwrap();
        assert_eq!(text(&out.path().join("campus-20")), text(&scenario("campus-20")));
    }
    let unknown = run(ASKAROUND, &["lab", "scenarios", "campus"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("is one of these meant: campus-20?"), "{}", stderr(&unknown));
}

#[test]
fn a_process_a_node_needs_all_three_programs_and_says_how_to_get_them() {
    let folder = tempfile::tempdir().unwrap();
    let alone = folder.path().join("askaround");
    fs::hard_link(ASKAROUND, &alone).or_else(|_| fs::copy(ASKAROUND, &alone).map(|_| ())).unwrap();
    let dir = scenario("corner-hint-loop");
    let output = run(alone.to_str().unwrap(), &["lab", "run", dir.to_str().unwrap(), "--processes"]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("bootstrapper is missing") && said.contains("cargo install"), "{said}");
}
