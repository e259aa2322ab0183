//! A submission to be graded, what was said about it, and what of it runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use tempfile::TempDir;

use super::{ASKAROUND, stderr, stdout};

/// Python itself, without what no test needs: `python3` may be a slow script around it.
static PYTHON: LazyLock<String> = LazyLock::new(|| {
    let output = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    String::from_utf8(output.expect("these tests need python3").stdout).unwrap().trim().to_owned()
});

/// Every process of a grading has this in its environment, whatever it forks or leaves.
const MARK: &str = "SUBMISSION_TEST_MARK";

/// Python that brings up `lo` (netdevice(7): SIOCSIFFLAGS with IFF_UP), and becomes a program.
const ALONE: &str = "import fcntl, os, socket, struct, sys
fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh', b'lo', 1))
os.execv(sys.argv[1], sys.argv[1:])";

fn submissions() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/submissions")
}

/// A submission, and the mark of whatever is started for it.
pub(crate) struct Submission {
    pub(crate) folder: TempDir,
    mark: String,
    alone: bool,
    default_client: bool,
}

impl Submission {
    /// The right one, with what the wrong one called `name` does differently.
    pub(crate) fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let folder = tempfile::tempdir().unwrap();
        for part in ["correct", name] {
            for entry in fs::read_dir(submissions().join(part)).unwrap().map(Result::unwrap) {
                fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
            }
        }
        let mark = format!("{}-{}-", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self { folder, mark, alone: false, default_client: false }
    }

    /// The same, graded on a machine whose ports nobody else uses.
    pub(crate) fn alone(name: &str) -> Self {
        Self { alone: true, ..Self::new(name) }
    }

    /// The same, with clients started as nobody said how.
    pub(crate) fn by_default(name: &str) -> Self {
        Self { default_client: true, ..Self::new(name) }
    }

    pub(crate) fn command(&self, more: &[&str]) -> Command {
        let mut command = if self.alone {
            let mut command = Command::new("unshare");
            command.args(["--user", "--map-root-user", "--net", "--", &PYTHON, "-c", ALONE, ASKAROUND]);
            command
        } else {
            Command::new(ASKAROUND)
        };
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ASKAROUND_")) {
            command.env_remove(name);
        }
        command.args(["lab", "grade", "--submission", self.folder.path().to_str().unwrap()]);
        if !more.contains(&"--tracker") {
            // Told how many will come, it need not wait 10 seconds.
            command.args(["--tracker", &format!("{} -S bootstrapper.py {{count}}", *PYTHON)]);
        }
        if !self.default_client {
            command.args(["--client", &format!("{} -S client.py --file {{file}}", *PYTHON)]);
        }
        command.args(more);
        command.env(MARK, &self.mark).env("TURNS", self.folder.path().join("turns"));
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, more: &[&str]) -> Output {
        let output = self.command(more).output().unwrap();
        assert_eq!(self.running(), Vec::<String>::new(), "left running: {}", stdout(&output));
        output
    }

    /// As JSON, graded in one scenario, in which it is wrong.
    pub(crate) fn wrong(&self, scenario: &str, more: &[&str]) -> Graded {
        let output = self.run(&[&[scenario, "--json"], more].concat());
        assert_eq!(output.status.code(), Some(1), "{}{}", stdout(&output), stderr(&output));
        Graded::new(&output)
    }

    /// How many clients run.
    pub(crate) fn clients(&self) -> usize {
        self.running()
            .iter()
            .filter(|line| line.contains("client.py --file") && !line.contains("lab grade"))
            .count()
    }

    /// The command lines of what is marked and runs.
    pub(crate) fn running(&self) -> Vec<String> {
        let mark = format!("{MARK}={}", self.mark);
        let has = |path: &Path| {
            let environment = fs::read(path.join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        };
        let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
        let marked = processes.filter(|path| has(path));
        marked
            .map(|path| fs::read_to_string(path.join("cmdline")).unwrap_or_default().replace('\0', " "))
            .collect()
    }
}

/// Two clients, four timesteps, no expected logs: those of virtual time count.
pub(crate) fn small() -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let one = r#"{"client_id": 1, "actions": [{"time": 1, "code": "Q", "content_id": "k"},
        {"time": 3, "code": "M", "client_id": 2}]}"#;
    let two = r#"{"client_id": 2, "content": ["k"], "actions": [{"time": 2, "code": "U"},
        {"time": 4, "code": "R"}]}"#;
    fs::write(folder.path().join("1.json"), one).unwrap();
    fs::write(folder.path().join("2.json"), two).unwrap();
    let name = folder.path().to_str().unwrap().to_owned();
    (folder, name)
}

/// What was said about one scenario.
pub(crate) struct Graded(Value);

impl Graded {
    pub(crate) fn new(output: &Output) -> Self {
        Self(serde_json::from_str(&stdout(output)).unwrap_or_else(|e| panic!("{e}: {}", stderr(output))))
    }

    pub(crate) fn round(&self) -> &Value {
        &self.0["scenarios"][0]["rounds"][0]
    }

    /// The text of the finding of this kind.
    pub(crate) fn finding(&self, kind: &str) -> String {
        let findings = self.round()["findings"].as_array().unwrap();
        let finding = findings.iter().find(|finding| finding["kind"] == kind);
        let finding = finding.unwrap_or_else(|| panic!("no {kind} in {findings:#?}"));
        let details = finding["details"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
        let details: Vec<_> = details.collect();
        format!(
            "{}: {}\n{}",
            finding["who"].as_str().unwrap(),
            finding["text"].as_str().unwrap(),
            details.join("\n")
        )
    }

    /// The kinds of all findings.
    pub(crate) fn kinds(&self) -> Vec<&str> {
        let findings = self.round()["findings"].as_array().unwrap();
        findings.iter().map(|finding| finding["kind"].as_str().unwrap()).collect()
    }

    /// What is said of the whole submission under this name.
    pub(crate) fn said(&self, name: &str) -> &Value {
        &self.0[name]
    }

    /// The causes of the differences in a log, in order.
    pub(crate) fn causes(&self, log: &str) -> Vec<&str> {
        let logs = self.round()["grade"]["logs"].as_array().unwrap();
        let log = logs.iter().find(|other| other["name"] == log).unwrap();
        log["differences"].as_array().unwrap().iter().map(|d| d["cause"].as_str().unwrap()).collect()
    }
}

#[track_caller]
pub(crate) fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
}
