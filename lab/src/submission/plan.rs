//! What a keeper is told, and what it tells: one line of JSON each way, and progress between.

use std::path::PathBuf;
use std::time::Duration;

use askaround_core::id::PeerId;
use serde::{Deserialize, Serialize};

/// How much a run may use.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// From the first process to the last log.
    pub time: Duration,
    /// Until the tracker listens.
    pub start: Duration,
    /// Without any sign of life: no output, no log, no processor time.
    pub stall: Duration,
    /// From the last log until everybody has exited; whoever has not is ended.
    pub grace: Duration,
    /// Memory of one process, in bytes.
    pub memory: u64,
    /// What one process may write to stdout and stderr together, and to one file, in bytes.
    pub output: u64,
    /// What all processes of a run may write, to files and streams, in bytes.
    pub written: u64,
    /// Processes at the same time that the submission starts beside those that it is started as.
    /// Those count that stay; a starter, such as a `python3` that is a shell script, has helpers
    /// that come and go.
    pub extra_processes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(120),
            start: Duration::from_secs(10),
            // The document's tracker sleeps for 10 seconds while clients register.
            stall: Duration::from_secs(20),
            grace: Duration::from_secs(2),
            memory: 512 << 20,
            output: 16 << 20,
            written: 1 << 30,
            extra_processes: 256,
        }
    }
}

/// The line that a keeper reads.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Order {
    /// Only say whether all that a run needs can be had.
    Probe {
        /// As in [`Plan::own_network`].
        own_network: bool,
    },
    /// Carry this out.
    Run(Box<Plan>),
}

/// One run: what to start, what to wait for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Plan {
    /// The scratch copy of the submission: the working directory of all processes.
    pub folder: PathBuf,
    /// The port that the tracker is expected to listen on.
    pub tracker_port: u16,
    /// The tracker.
    pub tracker: Node,
    /// The clients, in the order in which they are started.
    pub clients: Vec<Node>,
    /// Start each client when the one before listens, not all at once.
    pub one_by_one: bool,
    /// The run has a network namespace of its own, whose loopback must be brought up.
    pub own_network: bool,
    /// What may be used.
    pub limits: Limits,
}

/// One process, and the log that is expected of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Node {
    /// Which client; the tracker, if `None`.
    pub id: Option<PeerId>,
    /// The words of its command.
    pub words: Vec<String>,
    /// The name of its log.
    pub log: String,
    /// How many entries that log will have.
    pub entries: usize,
}

/// A line of a keeper's stdout.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Event {
    /// The answer to [`Order::Probe`].
    Able,
    /// So many logs are complete.
    Progress(usize),
    /// The run is over, and nothing of it is left.
    Over(RunRecord),
    /// The run could not take place.
    Failed(String),
}

/// What happened in a run, logs apart.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunRecord {
    /// How it ended.
    pub end: RunEnd,
    /// How long it took.
    pub seconds: f64,
    /// The tracker, then the clients by id.
    pub processes: Vec<ProcessRecord>,
    /// Processes that outlived those that they came from, as their command lines.
    pub left_behind: Vec<String>,
    /// Whether it could be observed who listens (it needs `/proc`).
    pub observed: bool,
}

impl RunRecord {
    /// Whether every client failed before it listened: nothing was seen of what it does.
    pub(super) fn no_client_started(&self) -> bool {
        let failed = |process: &ProcessRecord| {
            matches!(process.ended, Ended::Exited(status) if status != 0) && process.listened_on.is_none()
        };
        let mut clients = self.processes.iter().filter(|process| process.id.is_some()).peekable();
        clients.peek().is_some() && clients.all(failed)
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunEnd {
    /// All logs are complete.
    Complete,
    /// All processes exited, and logs are missing or short.
    AllExited,
    /// Nothing happened for too long.
    Stalled,
    /// It took too long.
    OutOfTime,
    /// The tracker did not listen in time, or exited before; no client was started.
    NoTracker,
    /// Too many processes.
    TooManyProcesses,
    /// They wrote more than [`Limits::written`].
    TooMuchWritten,
    /// It was told to stop.
    Stopped,
}

/// What became of one process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProcessRecord {
    /// Which client; the tracker, if `None`.
    pub id: Option<PeerId>,
    /// Its command.
    pub command: String,
    /// How it ended.
    pub ended: Ended,
    /// When it ended by itself, in seconds since the run began.
    pub ended_after: Option<f64>,
    /// What it was ended for, if it used too much.
    pub exceeded: Option<Exceeded>,
    /// The port that it was first seen to listen on.
    pub listened_on: Option<u16>,
    /// A port that the tracker was seen to listen on instead of its own.
    pub listened_elsewhere: Option<u16>,
    /// How long it was connected to the tracker before it listened on any port, if that was seen.
    pub connected_before_listening: Option<f64>,
    /// What it said on stdout.
    pub stdout: Said,
    /// What it said on stderr.
    pub stderr: Said,
    /// Where each thread was when it was ended although its log was not complete: innermost
    /// first, lines of the submission only. Known of Python programs.
    pub stuck_at: Vec<String>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// It exited with this status.
    Exited(i32),
    /// A signal that we did not send ended it.
    Signal(i32),
    /// It was running, and was ended at the end of the run.
    StillRunning,
    /// It was never started.
    NotStarted,
}

/// A limit on one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exceeded {
    /// [`Limits::memory`].
    Memory,
    /// [`Limits::output`].
    Output,
}

/// What a process said on one stream: the beginning and the end of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// What is kept.
    pub text: String,
    /// How many bytes it was.
    pub bytes: u64,
}
