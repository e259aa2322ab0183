//! One that serves, what others say when they get it, and how they fail.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output};

use super::content::json_lines;
use super::net::start;
use super::{ASKAROUND, Running, stderr, stdout};

/// The key that `add` prints.
pub(crate) fn key_of(added: &Output) -> String {
    assert_eq!(added.status.code(), Some(0), "{}", stderr(added));
    stdout(added).trim().to_owned()
}

/// A tracker, and `add --serve` of a path with it.
pub(crate) struct Serving {
    pub(crate) tracker: String,
    pub(crate) key: String,
    /// What it printed before it began to serve.
    pub(crate) said: String,
    pub(crate) running: Running,
    _tracker: Running,
}

impl Serving {
    pub(crate) fn new(path: &str, words: &[&str]) -> Self {
        Self::set_up(path, words, |_| ())
    }

    /// The same by a command that is set up as it should be.
    pub(crate) fn set_up(path: &str, words: &[&str], set_up: impl FnOnce(&mut Command)) -> Self {
        let (running_tracker, tracker) = start(&["tracker", "--listen", "127.0.0.1:0"]);
        let words =
            [&["add", "--serve", path, "--listen", "127.0.0.1:0", "--tracker", &tracker], words].concat();
        let mut command = Command::new(ASKAROUND);
        set_up(command.args(words));
        let mut running = Running::start(&mut command);
        let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
        let mut said = String::new();
        loop {
            let line = lines.next().unwrap_or_else(|| panic!("it ended: {said}")).unwrap();
            said += &format!("{line}\n");
            if line.contains("until Ctrl-C") {
                break;
            }
        }
        let key = said.lines().find_map(|line| line.strip_prefix("  blake3 ")).unwrap().to_owned();
        Self { tracker, key, said, running, _tracker: running_tracker }
    }

    /// The words of a `get` by a peer of its own.
    pub(crate) fn get<'a>(&'a self, to: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let words = ["get", &self.key, "-o", to, "--tracker", &self.tracker, "--listen", "127.0.0.1:0"];
        [&words, more].concat()
    }
}

/// Waits until a running `get --json` has got something, but not all.
pub(crate) fn wait_for_progress(getting: &mut Running) {
    let lines = BufReader::new(getting.0.stdout.take().unwrap()).lines();
    let mut said = Vec::new();
    for line in lines {
        let line = json_lines(&line.unwrap()).remove(0);
        let far = line["event"] == "progress" && line["here"].as_u64() > Some(0);
        said.push(line);
        if far {
            return;
        }
    }
    panic!("it ended too soon: {said:?}");
}

/// Waits until a running command has said this on stderr.
pub(crate) fn wait_for_words(running: &mut Running, words: &str) {
    let mut said = Vec::new();
    for line in BufReader::new(running.0.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        if line.contains(words) {
            return;
        }
        said.push(line);
    }
    panic!("it did not say so: {said:?}");
}

pub(crate) fn assert_fails(output: &Output, status: i32, expected: &str) {
    let said = stdout(output) + &stderr(output);
    assert!(said.contains(expected), "{said}");
    assert_eq!(output.status.code(), Some(status), "{said}");
}
