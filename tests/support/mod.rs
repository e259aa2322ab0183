//! What the command-line tests share: programs, folders, waiting for something to be so.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod content;
pub(crate) mod json_doc;
pub(crate) mod lab;
pub(crate) mod net;
pub(crate) mod serving;
pub(crate) mod submission;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

pub(crate) const ASKAROUND: &str = env!("CARGO_BIN_EXE_askaround");
pub(crate) const BOOTSTRAPPER: &str = env!("CARGO_BIN_EXE_bootstrapper");
pub(crate) const CLIENT: &str = env!("CARGO_BIN_EXE_client");

/// How long something may take before a test gives up. Never a measure of speed.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn scenario(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(name)
}

/// Runs a program to its end.
pub(crate) fn run(program: &str, words: &[&str]) -> Output {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ASKAROUND_")) {
        command.env_remove(name);
    }
    command.args(words).stdin(Stdio::null()).output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A loopback address that no other test uses.
pub(crate) fn loopback() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let [high, low] = (std::process::id() as u16).to_be_bytes();
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("127.{}.{low}.{next}", high.max(1))
}

/// Waits until `ready` gives something.
pub(crate) fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < give_up, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The lines that a program prints, as they come; it panics if none comes for long.
pub(crate) fn lines_of(reader: impl std::io::Read + Send + 'static) -> impl Iterator<Item = String> {
    let (sender, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let read = BufReader::new(reader).lines().map_while(Result::ok);
        read.map_while(|line| sender.send(line).ok()).count()
    });
    std::iter::from_fn(move || match lines.recv_timeout(PATIENCE) {
        Ok(line) => Some(line),
        Err(RecvTimeoutError::Disconnected) => None,
        Err(RecvTimeoutError::Timeout) => panic!("waited too long for a line"),
    })
}

/// A program that runs beside the test and is ended with it.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(name).arg(self.0.id().to_string()).status().unwrap();
        assert!(status.success());
    }

    /// Waits for its end: exit status and what it said on stderr.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let status = wait_for("a program to end", || self.0.try_wait().unwrap());
        let mut said = String::new();
        std::io::Read::read_to_string(&mut self.0.stderr.take().unwrap(), &mut said).unwrap();
        (status.code(), said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
