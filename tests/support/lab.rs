//! `askaround lab run`, and the scenarios that come with it.

use std::path::{Path, PathBuf};
use std::process::Output;

use super::{ASKAROUND, run, scenario, stderr, stdout};

/// The folders of all scenarios.
pub(crate) fn scenarios() -> Vec<PathBuf> {
    let folders = std::fs::read_dir(scenario("")).unwrap().map(|entry| entry.unwrap().path());
    let folders: Vec<_> = folders.filter(|path| path.is_dir()).collect();
    assert!(folders.len() > 30);
    folders
}

/// Runs a scenario, with logs that nobody keeps.
pub(crate) fn lab_run(dir: &Path, more: &[&str]) -> Output {
    let out = tempfile::tempdir().unwrap();
    let words = ["lab", "run", dir.to_str().unwrap(), "--out", out.path().to_str().unwrap()];
    run(ASKAROUND, &[&words, more].concat())
}

/// Runs a scenario, without a table. Its logs have to be the expected ones.
pub(crate) fn assert_as_expected(dir: &Path, more: &[&str]) -> Output {
    let output = lab_run(dir, &[more, &["--quiet"]].concat());
    let name = dir.display();
    assert_eq!(output.status.code(), Some(0), "{name} {more:?}: {}", stderr(&output));
    assert!(stdout(&output).contains("all logs are as expected"), "{name}");
    output
}
