//! Programs that are started to be measured: servers, which end with the value that stands for
//! them, and whole commands, of which it is told what they took.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

use crate::proc::status_bytes;

/// The name under which this program runs another and says what that took.
pub(super) const USAGE: &str = "usage";

/// A program that runs until it has ended by itself, or this value is dropped.
pub(super) struct Running(Child);

impl Running {
    /// Starts it. What it prints on its standard output waits to be read.
    pub(super) fn start(command: &mut Command) -> Result<Self, String> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        child.map(Self).map_err(|e| format!("cannot start {command:?}: {e}"))
    }

    /// Starts it and waits until it prints `before`. The word that follows is given too.
    pub(super) fn server(command: &mut Command, before: &str) -> Result<(Self, String), String> {
        let mut server = Self::start(command)?;
        let stdout = server.0.stdout.take().ok_or("no output")?;
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some((_, rest)) = line.split_once(before) {
                let word = rest.split_whitespace().next().unwrap_or_default().to_owned();
                return Ok((server, word));
            }
        }
        Err(format!("{command:?} never said {before:?}"))
    }

    /// Waits until it has ended, which must be with a success.
    pub(super) fn ends(mut self) -> Result<(), String> {
        let status = self.0.wait().map_err(|e| e.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("a program ended with {status}")) }
    }

    /// CPU seconds that its threads have used, to the nanosecond.
    pub(super) fn cpu_s(&self) -> f64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.0.id())).into_iter().flatten();
        let nanos = tasks.flatten().filter_map(|task| {
            let schedstat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            schedstat.split(' ').next()?.parse::<f64>().ok()
        });
        nanos.sum::<f64>() / 1e9
    }

    /// What it has in memory now.
    pub(super) fn rss_bytes(&self) -> f64 {
        status_bytes(self.0.id(), "VmRSS")
    }

    /// The most that it has had in memory.
    pub(super) fn peak_bytes(&self) -> f64 {
        status_bytes(self.0.id(), "VmHWM")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a whole command took.
pub(super) struct Usage {
    /// From its start to its end.
    pub(super) seconds: f64,
    /// In which it and what it started were on a core.
    pub(super) cpu_seconds: f64,
    /// The most that it had in memory.
    pub(super) peak_bytes: f64,
}

impl Usage {
    /// Runs a command to its end, which must be a success.
    pub(super) fn of<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> Result<Self, String> {
        // The system adds up what all children of a process used. So it is another process's child.
        let me = std::env::current_exe().map_err(|e| e.to_string())?;
        let mut command = Command::new(me);
        command.args(["bench", USAGE]).args(words);
        let output = command.output().map_err(|e| format!("cannot start {command:?}: {e}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        let printed = String::from_utf8_lossy(&output.stdout);
        let numbers: Vec<f64> = printed.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        match numbers[..] {
            [seconds, cpu_seconds, peak_bytes] => Ok(Self { seconds, cpu_seconds, peak_bytes }),
            _ => Err(format!("{command:?} says {printed:?}")),
        }
    }
}

/// The other process of [`Usage::of`].
pub(super) fn print_usage(words: &[String]) -> Result<(), String> {
    let (program, rest) = words.split_first().ok_or("no command")?;
    let begin = Instant::now();
    let status = Command::new(program).args(rest).stdin(Stdio::null()).stdout(Stdio::null()).status();
    let seconds = begin.elapsed().as_secs_f64();
    let status = status.map_err(|e| format!("cannot start {program}: {e}"))?;
    if !status.success() {
        return Err(format!("{words:?}: {status}"));
    }
    let used = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|e| e.to_string())?;
    let cpu_micros = (used.user_time() + used.system_time()).num_microseconds();
    println!("{seconds} {} {}", cpu_micros as f64 / 1e6, used.max_rss() * 1024);
    Ok(())
}
