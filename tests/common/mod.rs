//! What the tests of the programs share: programs that end with their test, waiting with a
//! deadline, copies of scenarios.

#![allow(dead_code, reason = "no test file uses all of it")]

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Longer than anything takes; only a test that fails waits so long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(5);

/// Asks again and again until there is something, or panics with `what`.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < give_up, "waited in vain until {what}");
        std::thread::sleep(POLL);
    }
}

/// A command with nothing of the caller's environment that the programs heed.
pub(crate) fn command(program: &str) -> Command {
    let path = match program {
        "askaround" => env!("CARGO_BIN_EXE_askaround"),
        "bootstrapper" => env!("CARGO_BIN_EXE_bootstrapper"),
        "client" => env!("CARGO_BIN_EXE_client"),
        other => other,
    };
    let mut command = Command::new(path);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ASKAROUND_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// A program under way; it is killed if its test ends first.
pub(crate) struct Running {
    child: Child,
    said: TempDir,
    name: String,
}

/// What a program left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let said = tempfile::tempdir().unwrap();
        let file = |name| Stdio::from(fs::File::create(said.path().join(name)).unwrap());
        let name = format!("{command:?}");
        let child = command.stdout(file("stdout")).stderr(file("stderr")).spawn();
        Self { child: child.unwrap_or_else(|e| panic!("{name}: {e}")), said, name }
    }

    /// Waits for its end.
    pub(crate) fn ended(mut self) -> Ended {
        let status = until(&format!("this ends: {}", self.name), || self.child.try_wait().unwrap());
        self.outcome(status)
    }

    pub(crate) fn stdout(&self) -> String {
        fs::read_to_string(self.said.path().join("stdout")).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.said.path().join("stderr")).unwrap()
    }

    /// Waits for a line on stdout that begins so, and gives the rest of it.
    pub(crate) fn line(&mut self, start: &str) -> String {
        let what = format!("{} says {start:?}", self.name);
        until(&what, || {
            let text = self.stdout();
            let found = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
            let found = found.filter_map(|line| line.strip_prefix(start)).map(str::to_owned).next();
            if found.is_none() {
                assert!(self.is_running(), "{} ended: {}", self.name, self.stderr());
            }
            found
        })
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends TERM or INT.
    pub(crate) fn signal(&self, signal: &str) {
        let kill = Command::new("kill").arg(format!("-{signal}")).arg(self.pid().to_string()).status();
        assert!(kill.unwrap().success());
    }

    /// Kills it as a crash would.
    pub(crate) fn crash(mut self) -> Ended {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        self.outcome(status)
    }

    fn outcome(&self, status: ExitStatus) -> Ended {
        Ended { status: status.code(), stdout: self.stdout(), stderr: self.stderr() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program to its end.
pub(crate) fn run(command: Command) -> Ended {
    Running::start(command).ended()
}

impl Ended {
    /// Panics unless it ended so.
    #[track_caller]
    pub(crate) fn with(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{self:#?}");
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
        self
    }

    /// Panics unless stderr has all of this.
    #[track_caller]
    pub(crate) fn complains(&self, parts: &[&str]) {
        for part in parts {
            assert!(self.stderr.contains(part), "no {part:?} in {self:#?}");
        }
    }
}

/// A loopback address that no other test uses at the same time.
pub(crate) fn loopback() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = std::process::id().wrapping_mul(64) + NEXT.fetch_add(1, Ordering::Relaxed);
    let octet = |n: u32| u8::try_from(n).unwrap();
    Ipv4Addr::new(
        127,
        1 + octet(number / (250 * 250) % 250),
        1 + octet(number / 250 % 250),
        1 + octet(number % 250),
    )
}

/// Waits until somebody listens there.
pub(crate) fn connect(ip: Ipv4Addr, port: u16) -> TcpStream {
    let stream = until(&format!("{ip}:{port} listens"), || TcpStream::connect((ip, port)).ok());
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn scenario(name: &str) -> PathBuf {
    repository().join("scenarios").join(name)
}

/// A copy of a scenario, to be damaged.
pub(crate) fn copy(name: &str) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    copy_folder(&scenario(name), to.path());
    to
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// A log: what stands in it for each time.
pub(crate) fn log(path: &Path) -> Vec<(u64, String)> {
    let text = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let log: Vec<serde_json::Value> = serde_json::from_slice(&text).unwrap();
    log.iter().map(|e| (e["time"].as_u64().unwrap(), e["text"].as_str().unwrap().to_owned())).collect()
}
