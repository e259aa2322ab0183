//! `askaround lab sim` as a user runs it.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use support::{ASKAROUND, run, scenario, stderr, stdout};

fn sim(words: &[&str]) -> Output {
    run(ASKAROUND, &[&["lab", "sim"], words].concat())
}

fn shipped() -> Vec<PathBuf> {
    let folders = fs::read_dir(scenario("")).unwrap().map(|entry| entry.unwrap().path());
    folders.filter(|path| path.is_dir()).collect()
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
    let folders = shipped();
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
    let dir = folder.path().to_str().unwrap();
    assert_eq!(sim(&[dir]).status.code(), Some(2));
    fs::write(folder.path().join("1.json"), r#"{"client_id": 1}"#).unwrap();
    assert_eq!(sim(&[dir, "--out", dir]).status.code(), Some(2), "the logs would be part of the scenario");
    fs::create_dir(folder.path().join("expected_outcomes")).unwrap();
    fs::write(folder.path().join("expected_outcomes/client_1.json"), "[]").unwrap();
    let out = tempfile::tempdir().unwrap();
    let output = sim(&[dir, "--out", out.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("not as expected: client_1.json"), "{}", stderr(&output));
}
