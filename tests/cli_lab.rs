//! `askaround lab run` as a person runs it: every scenario, each way to run one, and what it says
//! of input that it cannot use.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Running, command, copy, log, repository, run, scenario, until};

const AS_EXPECTED: &str = "all logs are as expected\n";

fn lab_run(folder: &Path, out: &Path) -> Command {
    let mut command = command("askaround");
    command.args(["lab", "run"]).arg(folder).arg("--out").arg(out);
    command
}

/// Every file below a folder.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn every_scenario_gives_its_logs() {
    let out = tempfile::tempdir().unwrap();
    let mut count = 0;
    for entry in fs::read_dir(repository().join("scenarios")).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        count += 1;
        let ended = run(lab_run(&folder, out.path())).with(0);
        assert!(ended.stdout.ends_with(AS_EXPECTED), "{}: {ended:#?}", folder.display());
        let expected = files(&folder.join("expected_outcomes"));
        assert_eq!(files(out.path()).len(), expected.len(), "{}", folder.display());
        for path in expected.keys() {
            assert_eq!(
                log(&out.path().join(path.file_name().unwrap())),
                log(path),
                "{} does not say so itself",
                path.display()
            );
        }
    }
    assert!(count >= 38, "only {count} scenarios");
}

#[test]
fn processes_give_the_same_logs() {
    for name in ["campus-20", "corner-port-taken", "rubric-12-unregistered-still-serves"] {
        let out = tempfile::tempdir().unwrap();
        let mut command = lab_run(&scenario(name), out.path());
        command.arg("--processes");
        let ended = run(command).with(0);
        assert!(ended.stdout.ends_with(AS_EXPECTED), "{name}: {ended:#?}");
    }
}

#[test]
fn repeated_concurrent_runs_are_counted() {
    let out = tempfile::tempdir().unwrap();
    let mut command = lab_run(&scenario("campus-20"), out.path());
    command.args(["--repeat", "3", "--turns", "concurrent", "--quiet"]);
    let ended = run(command).with(0);
    let expected = format!(
        "3 of 3 runs gave the logs of the first\nlogs are in {}\n{AS_EXPECTED}",
        out.path().display()
    );
    assert_eq!(ended.stdout, expected);
}

#[test]
fn runs_at_the_same_time_do_not_meet() {
    let outs: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let start = |(n, out): (usize, &tempfile::TempDir)| {
        let mut command = lab_run(&scenario("campus-20"), out.path());
        command.args(["--repeat", "2", "--quiet"]);
        if n == 2 {
            command.arg("--processes");
        }
        Running::start(command)
    };
    let runs: Vec<_> = outs.iter().enumerate().map(start).collect();
    for run in runs {
        let ended = run.ended().with(0);
        assert!(ended.stdout.ends_with(AS_EXPECTED), "{ended:#?}");
    }
}

/// The Python peer, which leaves a mark that it was started.
fn python(ids: &str) -> String {
    let peer = repository().join("examples/peer.py");
    format!(
        "{ids}=sh -c 'echo > {{out}}/python-{{id}}; exec python3 \"$0\" \"$@\"' '{}' {{file}} --tracker {{tracker}} \
         --port {{port}} --out {{out}}",
        peer.display()
    )
}

#[test]
fn peers_of_another_make_play_along() {
    for (name, ids, marks) in [
        ("campus-20", "2,4", vec!["python-2", "python-4"]),
        ("rubric-08-longer-list", "all", vec!["python-1", "python-2", "python-3", "python-4", "python-5"]),
    ] {
        let out = tempfile::tempdir().unwrap();
        let mut command = lab_run(&scenario(name), out.path());
        command.args(["--processes", "--client", &python(ids)]);
        let ended = run(command).with(0);
        assert!(ended.stdout.ends_with(AS_EXPECTED), "{name}: {ended:#?}");
        let scripts = fs::read_dir(scenario(name)).unwrap().flatten();
        let peers = scripts.filter(|e| e.path().extension().is_some_and(|e| e == "json")).count();
        let mut found: Vec<_> = fs::read_dir(out.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("python-"))
            .collect();
        found.sort();
        if ids == "all" {
            assert_eq!(found.len(), peers, "{found:?}");
        }
        assert!(marks.iter().all(|mark| found.iter().any(|f| f == mark)), "{found:?}");
        assert!(ids == "all" || found.len() == marks.len(), "{found:?}");
    }
}

#[test]
fn a_peer_that_cannot_be_started_is_named() {
    let out = tempfile::tempdir().unwrap();
    let mut command = lab_run(&scenario("rubric-04-hints"), out.path());
    command.args(["--processes", "--client", "2=/nowhere/peer {file}"]);
    run(command).with(1).complains(&["cannot start /nowhere/peer as client 2"]);
    let mut command = lab_run(&scenario("rubric-04-hints"), out.path());
    command.args(["--client", "2=true"]);
    run(command).with(2).complains(&["--processes"]);
}

#[test]
fn a_signal_ends_a_run_and_all_its_processes() {
    let out = tempfile::tempdir().unwrap();
    let mut command = lab_run(&scenario("rubric-04-hints"), out.path());
    let stuck = "3=sh -c 'echo $$ > {out}/new; mv {out}/new {out}/pid; exec sleep 600'";
    command.args(["--processes", "--client", stuck]);
    let run = Running::start(command);
    let pid = until("client 3 runs", || fs::read_to_string(out.path().join("pid")).ok());
    run.signal("TERM");
    run.ended().with(143).complains(&["stopped"]);
    until("client 3 is gone", || {
        let status = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        status.map_or(true, |stat| stat.contains(") Z ")).then_some(())
    });
}

#[test]
fn a_difference_is_named() {
    for file in ["client_3.json", "bootstrapper.json"] {
        let folder = copy("rubric-04-hints");
        let path = folder.path().join("expected_outcomes").join(file);
        let mut entries: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let last = entries.as_array().unwrap().len() - 1;
        entries[last]["text"] = "Something else".into();
        fs::write(&path, entries.to_string()).unwrap();
        let out = tempfile::tempdir().unwrap();
        let ended = run(lab_run(folder.path(), out.path())).with(1);
        assert!(!ended.stdout.contains(AS_EXPECTED), "{ended:#?}");
        ended.complains(&[&format!("not as expected: {file}\n"), "askaround lab grade"]);
    }
}

#[test]
fn a_missing_entry_and_a_missing_log_are_differences() {
    let folder = copy("rubric-04-hints");
    let expected = folder.path().join("expected_outcomes");
    fs::write(expected.join("client_2.json"), "[]").unwrap();
    fs::remove_file(folder.path().join("1.json")).unwrap();
    let out = tempfile::tempdir().unwrap();
    // Client 1 leaves no log, yet one is expected of it.
    run(lab_run(folder.path(), out.path())).with(1).complains(&["client_2.json"]);
}

#[test]
fn a_run_leaves_no_log_of_the_run_before() {
    let out = tempfile::tempdir().unwrap();
    for name in ["client_77.json", "bootstrapper.json", "client_notes.json", "notes.txt"] {
        fs::write(out.path().join(name), "old").unwrap();
    }
    run(lab_run(&scenario("rubric-04-hints"), out.path())).with(0);
    assert!(!out.path().join("client_77.json").exists());
    assert_eq!(fs::read_to_string(out.path().join("client_notes.json")).unwrap(), "old");
    assert_eq!(fs::read_to_string(out.path().join("notes.txt")).unwrap(), "old");
}

#[test]
fn bad_input_is_named_by_file_and_field() {
    let out = tempfile::tempdir().unwrap();
    let action = |action: &str| format!(r#"{{"client_id": 3, "content": [], "actions": [{action}]}}"#);
    for (files, parts) in [
        (vec![], vec!["no script here"]),
        (vec![("3.json", "not JSON".to_owned())], vec!["3.json", "not JSON"]),
        (vec![("3.json", action(r#"{"time": -1, "code": "L"}"#))], vec!["3.json", "actions[0]: time"]),
        (
            vec![("3.json", action(r#"{"time": 1, "code": "L"}, {"time": 1, "code": "X"}"#))],
            vec!["3.json", "actions[1]: code", "R U L Q P O M"],
        ),
        (vec![("4.json", action(""))], vec!["4.json", "client_id is 3"]),
        (
            vec![("3.json", action("")), ("03.json", action(""))],
            vec!["3.json", "client 3 has a second script"],
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in &files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let ended = run(lab_run(folder.path(), out.path())).with(2);
        ended.complains(&parts);
        ended.complains(&[&folder.path().display().to_string()]);
        assert_eq!(ended.stdout, "");
    }
    run(lab_run(Path::new("/nowhere/at-all"), out.path())).with(2).complains(&["/nowhere/at-all"]);
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0, "something was written");
}

#[test]
fn a_scenario_is_never_overwritten() {
    let folder = copy("rubric-04-hints");
    for name in ["client_1.json", "bootstrapper.json"] {
        fs::write(folder.path().join(name), "mine").unwrap();
    }
    let links = tempfile::tempdir().unwrap();
    let link = links.path().join("link");
    let expected = folder.path().join("expected_outcomes");
    std::os::unix::fs::symlink(&expected, &link).unwrap();
    let before = files(folder.path());
    for out in [folder.path().to_owned(), folder.path().join("."), expected, link] {
        run(lab_run(folder.path(), &out)).with(2).complains(&["part of the scenario"]);
        assert!(files(folder.path()) == before, "--out {} changed the scenario", out.display());
    }
}

#[test]
fn json_has_the_logs() {
    let out = tempfile::tempdir().unwrap();
    let mut command = lab_run(&scenario("rubric-04-hints"), out.path());
    command.arg("--json");
    let ended = run(command).with(0);
    let value: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(value["scenario"], "rubric-04-hints");
    assert_eq!(value["as_expected"], true);
    for (name, log) in value["logs"].as_object().unwrap() {
        let path = scenario("rubric-04-hints").join("expected_outcomes").join(name);
        let expected: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        assert_eq!(*log, expected, "{name}");
    }
    assert_eq!(value["logs"].as_object().unwrap().len(), 6);
}
