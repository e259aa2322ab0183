//! A live tracker and its peers, with loopback addresses that the system picks.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output};

use super::{ASKAROUND, Running, run, stderr, stdout, wait_for};

/// A node, and the address that it printed.
pub(crate) fn start(words: &[&str]) -> (Running, String) {
    let mut running = Running::start(Command::new(ASKAROUND).args(words));
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.split("listens on ").nth(1).unwrap_or_else(|| panic!("{line}"));
    let address = address.split([',', '\n']).next().unwrap().to_owned();
    (running, address)
}

/// A tracker and peers, each with a folder.
pub(crate) struct Net {
    folders: Vec<tempfile::TempDir>,
    tracker_program: Option<Running>,
    pub(crate) tracker: String,
    pub(crate) peers: Vec<Option<Running>>,
}

impl Net {
    pub(crate) fn new(peers: usize) -> Self {
        let (running, tracker) = start(&["tracker", "--listen", "127.0.0.1:0"]);
        let folders = (0..peers).map(|_| tempfile::tempdir().unwrap()).collect();
        let mut net = Self { folders, tracker_program: Some(running), tracker, peers: Vec::new() };
        for n in 0..peers {
            let peer = net.start_peer(n);
            net.peers.push(Some(peer));
        }
        wait_for("all peers to register", || {
            let listed = stdout(&net.verb(0, &["peers"])).lines().count();
            (listed == peers + 1).then_some(())
        });
        net
    }

    pub(crate) fn dir(&self, n: usize) -> &Path {
        self.folders[n].path()
    }

    /// The tracker is gone without a word.
    pub(crate) fn kill_tracker(&mut self) {
        self.tracker_program = None;
    }

    pub(crate) fn start_peer(&self, n: usize) -> Running {
        let id = (n + 1).to_string();
        let dir = self.dir(n).to_str().unwrap();
        start(&["peer", "--listen", "127.0.0.1:0", "--tracker", &self.tracker, "--dir", dir, "--id", &id]).0
    }

    pub(crate) fn verb(&self, n: usize, words: &[&str]) -> Output {
        run(ASKAROUND, &[words, &["--dir", self.dir(n).to_str().unwrap()]].concat())
    }

    pub(crate) fn assert_says(&self, n: usize, words: &[&str], status: i32, expected: &str) {
        let output = self.verb(n, words);
        let said = stdout(&output) + &stderr(&output);
        assert!(said.contains(expected), "{words:?}: {said}");
        assert_eq!(output.status.code(), Some(status), "{words:?}: {said}");
    }
}
