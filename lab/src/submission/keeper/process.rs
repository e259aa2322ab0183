//! One process of a run: started in a process group of its own, read, watched, ended.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use super::output::Output;
use super::proc_files::{Process, SocketsOf};
use crate::submission::plan::{Ended, Exceeded, Node, ProcessRecord};

/// A process that was started, or could not be.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) node: Node,
    child: Option<Child>,
    pid: Option<i32>,
    stdout: Output,
    stderr: Output,
    said: Arc<AtomicU64>,
    ended: Option<Ended>,
    pub(super) ended_after: Option<f64>,
    exceeded: Option<Exceeded>,
    pub(super) listened_on: Option<u16>,
    listened_elsewhere: Option<u16>,
    connected_since: Option<Instant>,
    /// How often it was seen connected and not listening. Once may be an accident of the moment.
    seen_connected: u32,
    connected_before_listening: Option<f64>,
    /// We have sent it a signal: what it dies of is our doing.
    signalled: bool,
}

impl Started {
    /// Starts `node` in `folder`. What it says is read by tasks of `readers`.
    pub(super) fn start(node: &Node, folder: &Path, readers: &mut JoinSet<()>) -> Self {
        let mut started = Self {
            node: node.clone(),
            child: None,
            pid: None,
            stdout: Output::default(),
            stderr: Output::default(),
            said: Arc::default(),
            ended: None,
            ended_after: None,
            exceeded: None,
            listened_on: None,
            listened_elsewhere: None,
            connected_since: None,
            seen_connected: 0,
            connected_before_listening: None,
            signalled: false,
        };
        let mut words = node.words.iter();
        let mut command = Command::new(words.next().map_or("", String::as_str));
        command.args(words).current_dir(folder).process_group(0);
        for (name, _) in std::env::vars_os()
            .filter(|(name, _)| name.to_str().is_some_and(|name| name.starts_with("ASKAROUND_")))
        {
            command.env_remove(name);
        }
        command
            // So that what it says last is not lost in its buffer when it is ended, and so that
            // it can be made to say where it hangs.
            .env("PYTHONUNBUFFERED", "1")
            .env("PYTHONFAULTHANDLER", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        match command.spawn() {
            Ok(mut child) => {
                started.pid = child.id().and_then(|pid| i32::try_from(pid).ok());
                if let Some(stdout) = child.stdout.take() {
                    readers.spawn(started.stdout.clone().read(stdout, Arc::clone(&started.said)));
                }
                if let Some(stderr) = child.stderr.take() {
                    readers.spawn(started.stderr.clone().read(stderr, Arc::clone(&started.said)));
                }
                started.child = Some(child);
            }
            Err(error) => {
                started.ended = Some(Ended::NotStarted);
                let problem = format!("cannot start {}: {error}", node.words.join(" "));
                started.stderr.add(problem.as_bytes());
            }
        }
        started
    }

    /// A process that was not started.
    pub(super) fn not_started(node: &Node) -> ProcessRecord {
        ProcessRecord {
            id: node.id,
            command: node.words.join(" "),
            ended: Ended::NotStarted,
            ended_after: None,
            exceeded: None,
            listened_on: None,
            listened_elsewhere: None,
            connected_before_listening: None,
            stdout: Default::default(),
            stderr: Default::default(),
            stuck_at: Vec::new(),
        }
    }

    pub(super) fn pid(&self) -> Option<i32> {
        self.pid
    }

    pub(super) fn is_running(&self) -> bool {
        self.ended.is_none()
    }

    /// How many bytes it has said.
    pub(super) fn said(&self) -> u64 {
        self.said.load(Ordering::Relaxed)
    }

    /// Looks whether it has ended, and reaps it.
    pub(super) fn reap(&mut self, since: Instant) {
        use std::os::unix::process::ExitStatusExt;
        let Some(child) = &mut self.child else { return };
        let status = match child.try_wait() {
            Ok(Some(status)) => status,
            Ok(None) | Err(_) => return,
        };
        self.child = None;
        self.ended_after = (!self.signalled).then(|| since.elapsed().as_secs_f64());
        self.ended = Some(match (status.code(), status.signal()) {
            _ if self.signalled => Ended::StillRunning,
            (Some(code), _) => Ended::Exited(code),
            (None, signal) => Ended::Signal(signal.unwrap_or_default()),
        });
    }

    /// The process and its descendants among `all`.
    pub(super) fn family<'a>(&self, all: &'a [Process]) -> Vec<&'a Process> {
        let Some(pid) = self.pid else { return Vec::new() };
        let mut pids = vec![pid];
        let mut family: Vec<&Process> = all.iter().filter(|process| process.pid == pid).collect();
        let mut next = 0;
        while next < pids.len() {
            let parent = pids[next];
            let children = all.iter().filter(|process| process.parent == parent);
            for child in children {
                pids.push(child.pid);
                family.push(child);
            }
            next += 1;
        }
        family
    }

    /// Notes where it listens and whether it is connected to the tracker already.
    pub(super) fn observe(&mut self, sockets: &SocketsOf, tracker_port: u16) {
        if self.listened_on.is_some() {
            return;
        }
        let is_tracker = self.node.id.is_none();
        let port = match is_tracker {
            true => sockets.listening.get(&tracker_port),
            false => sockets.listening.first(),
        };
        if let Some(port) = port {
            self.listened_on = Some(*port);
            self.connected_before_listening = self.connected_for();
        } else if is_tracker {
            self.listened_elsewhere = sockets.listening.first().copied();
        } else if sockets.connected.contains(&tracker_port) {
            self.connected_since.get_or_insert_with(Instant::now);
            self.seen_connected += 1;
        }
    }

    /// For how long it has been connected without listening, if that is certain.
    fn connected_for(&self) -> Option<f64> {
        let since = self.connected_since.filter(|_| self.seen_connected > 1);
        since.map(|at| at.elapsed().as_secs_f64())
    }

    /// Ends it, with its process group, because it used too much.
    pub(super) fn end_for(&mut self, exceeded: Exceeded) {
        if self.exceeded.is_none() && self.is_running() {
            self.exceeded = Some(exceeded);
            self.signal(Signal::KILL);
        }
    }

    /// Sends a signal to it and to its process group.
    pub(super) fn signal(&mut self, signal: Signal) {
        if let Some(pid) = self.pid.and_then(Pid::from_raw).filter(|_| self.is_running()) {
            self.signalled = true;
            // A group whose leader is not reaped still exists; whoever left it is found by
            // descent.
            let _ = kill_process_group(pid, signal);
            let _ = kill_process(pid, signal);
        }
    }

    /// Has a Python program that hangs (and was stopped) say where, on stderr; it dies of it.
    pub(super) fn ask_where(&mut self) {
        if let Some(pid) = self.pid.and_then(Pid::from_raw).filter(|_| self.is_running()) {
            self.signalled = true;
            let _ = kill_process(pid, Signal::ABORT);
            let _ = kill_process(pid, Signal::CONT);
        }
    }

    /// What became of it.
    pub(super) fn into_record(self, folder: &Path) -> ProcessRecord {
        let mut stderr = self.stderr.said();
        let stuck_at = match self.signalled && self.exceeded.is_none() {
            true => super::stuck::split_off(&mut stderr.text, folder),
            false => Vec::new(),
        };
        let connected = match self.listened_on {
            Some(_) => self.connected_before_listening,
            None => self.connected_for(),
        };
        let mut stdout = self.stdout.said();
        // Paths as whoever handed it in knows them.
        let prefix = format!("{}/", folder.display());
        for said in [&mut stdout, &mut stderr] {
            said.text = said.text.replace(&prefix, "");
        }
        ProcessRecord {
            id: self.node.id,
            command: self.node.words.join(" "),
            ended: self.ended.unwrap_or(Ended::StillRunning),
            ended_after: self.ended_after,
            exceeded: self.exceeded,
            listened_on: self.listened_on,
            listened_elsewhere: self.listened_elsewhere,
            connected_before_listening: connected,
            stdout,
            stderr,
            stuck_at,
        }
    }
}
