//! A process with a process group of its own, and what it says on stderr.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use askaround_node::network::LOOPBACK_VARIABLE;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, Command};
use tokio_util::sync::CancellationToken;

use crate::loopback::Loopback;

/// So much of what a process says on stderr is kept.
const MAX_STDERR: u64 = 16 << 10;
/// How long a process may take to end after `SIGTERM`.
const END: Duration = Duration::from_secs(3);
/// How long its last words are waited for: somebody who has left the group may hold its stderr.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A running process and its group, which is ended with the value.
pub(super) struct Group {
    name: String,
    child: Child,
    group: Option<Pid>,
}

/// A process that has ended.
pub(super) struct Ended {
    pub(super) name: String,
    pub(super) status: ExitStatus,
    stderr: String,
}

impl Ended {
    /// What it said on stderr.
    pub(super) fn said(&self) -> &str {
        self.stderr.trim()
    }
}

impl Group {
    /// Starts `command`. Ctrl-C in a terminal does not reach it; it comes through us.
    pub(super) fn start(name: &str, mut command: Command, loopback: &Loopback) -> io::Result<Self> {
        command
            .env(LOOPBACK_VARIABLE, loopback.ip().to_string())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let child = command.spawn()?;
        let group = child.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        Ok(Self { name: name.to_owned(), child, group })
    }

    /// Waits until it has ended by itself or, after `ending`, by signals. Its group has ended too
    /// then.
    pub(super) async fn wait(mut self, ending: CancellationToken) -> io::Result<Ended> {
        let mut kept = Vec::new();
        let stderr = self.child.stderr.take();
        let status = {
            let mut reading = std::pin::pin!(read(stderr, &mut kept));
            let mut open = true;
            let mut status = std::pin::pin!(self.end(ending));
            let status = loop {
                tokio::select! {
                    status = &mut status => break status?,
                    () = &mut reading, if open => open = false,
                }
            };
            if open {
                let _ = tokio::time::timeout(LAST_WORDS, reading).await;
            }
            status
        };
        let name = std::mem::take(&mut self.name);
        Ok(Ended { name, status, stderr: String::from_utf8_lossy(&kept).into_owned() })
    }

    async fn end(&mut self, ending: CancellationToken) -> io::Result<ExitStatus> {
        let by_itself = tokio::select! {
            status = self.child.wait() => Some(status?),
            () = ending.cancelled() => None,
        };
        let status = match by_itself {
            Some(status) => status,
            None => {
                self.signal(Signal::TERM);
                match tokio::time::timeout(END, self.child.wait()).await {
                    Ok(status) => status?,
                    Err(_) => {
                        self.signal(Signal::KILL);
                        self.child.wait().await?
                    }
                }
            }
        };
        self.signal(Signal::KILL);
        // Its number may soon be somebody else's.
        self.group = None;
        Ok(status)
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // Nobody of it is left: that is what is wanted.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Keeps the beginning. The rest is read, so that the process does not wait for us, and dropped.
async fn read(stderr: Option<ChildStderr>, kept: &mut Vec<u8>) {
    let Some(stderr) = stderr else { return };
    let mut stderr = stderr.take(MAX_STDERR);
    let _ = stderr.read_to_end(kept).await;
    let _ = tokio::io::copy(&mut stderr.into_inner(), &mut tokio::io::sink()).await;
}
