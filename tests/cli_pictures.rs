//! Traces and pictures as a user asks for them.

mod support;

use std::fs;
use std::path::Path;

use support::{ASKAROUND, run, scenario, stderr};

fn lab_run(name: &str, out: &Path, more: &[&str]) -> std::process::Output {
    let logs = out.join("logs");
    let dir = scenario(name);
    let mut words = vec!["lab", "run", dir.to_str().unwrap(), "--quiet", "--out", logs.to_str().unwrap()];
    words.extend(more);
    run(ASKAROUND, &words)
}

#[test]
fn a_trace_appears_as_a_whole_and_in_a_new_folder() {
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("new/folder/t.jsonl");
    let output =
        lab_run("corner-hint-loop", out.path(), &["--trace", path.to_str().unwrap(), "--repeat", "2"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("the trace is in "), "{}", stderr(&output));
    let trace = askaround_lab::trace::read::read(&path).unwrap();
    assert_eq!((trace.header.name.as_str(), trace.header.peers.len()), ("corner-hint-loop", 5));
    let beside = fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!(beside, 1, "nothing is left beside it");
}

#[test]
fn what_cannot_be_written_is_said_before_the_run() {
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("file");
    fs::write(&file, "").unwrap();
    let below = file.join("t.jsonl");
    for (path, problem) in [(out.path(), "it is a folder"), (&below, "t.jsonl: ")] {
        let output = lab_run("corner-own-key", out.path(), &["--trace", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2));
        let said = stderr(&output);
        assert!(said.contains("cannot write") && said.contains(problem), "{said}");
        assert!(!out.path().join("logs").exists(), "nothing was run");
    }
}

#[test]
fn processes_cannot_be_watched() {
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("t.jsonl");
    let output = lab_run("corner-own-key", out.path(), &["--processes", "--trace", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("leave --processes away"), "{}", stderr(&output));
    assert!(!path.exists());
}
