//! Processes that are started. None outlives the value that stands for it.

use std::fmt;
use std::fs::File;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How often it is looked whether one has ended.
const LOOK: Duration = Duration::from_millis(5);

/// How a process came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Status(i32),
    Signal(i32),
    /// It was killed since it took too long.
    TooLong,
    /// It was killed since the run is interrupted.
    CutShort,
}

impl End {
    fn of(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Status(code),
            (None, signal) => Self::Signal(signal.unwrap_or(0)),
        }
    }

    /// Is it how a program ends that is sent this signal: killed by it, or with the status for it?
    pub(super) fn is_by(self, signal: Signal) -> bool {
        match self {
            // Before a program listens for signals it does not survive them.
            Self::Signal(number) => number == signal as i32,
            Self::Status(status) => signal != Signal::SIGKILL && status == 128 + signal as i32,
            Self::TooLong | Self::CutShort => false,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "exit {status}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::TooLong => f.write_str("too long"),
            Self::CutShort => f.write_str("cut short"),
        }
    }
}

/// A process that was started.
pub(super) struct Process(Child);

impl Process {
    /// Starts it, with files for what it prints. A Ctrl-C in the terminal is not for it.
    pub(super) fn start(command: &mut Command, stdout: File, stderr: File) -> Result<Self, String> {
        let ours = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ASKAROUND_"));
        ours.for_each(|(name, _)| {
            command.env_remove(name);
        });
        command.process_group(0).stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        command.spawn().map(Self).map_err(|e| format!("cannot start {command:?}: {e}"))
    }

    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Sends a signal, unless it is known to have ended.
    pub(super) fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            // It is not reaped yet, so nothing else has its number.
            let _ = kill(Pid::from_raw(self.0.id().cast_signed()), signal);
        }
    }

    /// How it has ended, if it has.
    pub(super) fn ended(&mut self) -> Option<End> {
        self.0.try_wait().ok().flatten().map(End::of)
    }

    /// Waits for its end, and brings it about after `limit` or when `cut_short` says so.
    pub(super) fn wait(&mut self, limit: Duration, cut_short: impl Fn() -> bool) -> End {
        let begin = Instant::now();
        loop {
            let why = match self.ended() {
                Some(end) => return end,
                None if cut_short() => End::CutShort,
                None if begin.elapsed() > limit => End::TooLong,
                None => {
                    std::thread::sleep(LOOK);
                    continue;
                }
            };
            self.kill();
            return why;
        }
    }

    fn kill(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a process has printed to a file.
pub(super) fn printed(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}
