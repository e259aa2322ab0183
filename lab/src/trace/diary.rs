//! Diaries: what a node saw that has a process of its own, written down by that process, and read
//! by whoever puts the diaries of a run together.
//!
//! A diary is JSON lines, one a note: `{"at_ns": …, "note": …}`, in the order in which things
//! happened. `at_ns` is the machine's monotonic clock, which all processes share. A node notes what
//! it sends before it leaves and what it receives after it has come, so that in the order of that
//! clock every message is sent before it is received.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use askaround_node::observe::Observer;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::Host;
use super::note::Note;
use super::record::MAX_EVENTS;
use crate::ports;
use crate::run::{TRACKER, blocking};
use crate::scenario::Scenario;

/// One line of a diary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When, in nanoseconds of the machine's monotonic clock.
    pub at_ns: u64,
    /// What.
    pub note: Note,
}

/// What a node of this process sees, in memory until it is written. It holds as many notes as a
/// trace has events; what comes after is left out. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Diary(Arc<Mutex<Vec<Entry>>>);

impl Diary {
    /// What watches the node.
    pub fn observer(&self) -> Observer {
        let diary = self.0.clone();
        Observer::new(move |seen| {
            let Some(note) = Note::of(seen) else { return };
            let mut entries = diary.lock().unwrap_or_else(PoisonError::into_inner);
            if entries.len() < MAX_EVENTS {
                // Taken while the lock is held, so that the times go with the order.
                entries.push(Entry { at_ns: now_ns(), note });
            }
        })
    }

    /// Writes it.
    ///
    /// # Errors
    /// What the operating system says.
    pub async fn write(self, path: &Path) -> io::Result<()> {
        let path = path.to_owned();
        blocking(move || {
            let entries = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
            // Whoever finds it finds it whole.
            let unfinished = path.with_extension("part");
            let mut out = BufWriter::new(File::create(&unfinished)?);
            for entry in entries {
                serde_json::to_writer(&mut out, &entry)?;
                out.write_all(b"\n")?;
            }
            out.flush()?;
            std::fs::rename(unfinished, path)
        })
        .await
    }
}

/// The folder that the processes of a run write their diaries into. It goes with the value.
#[derive(Debug)]
pub struct Diaries(TempDir);

/// The diaries of a run.
#[derive(Debug)]
pub struct Read {
    /// By host, and where it listens.
    pub diaries: Vec<(Host, SocketAddr, Vec<Entry>)>,
    /// Who left none.
    pub missing: Vec<Host>,
}

impl Diaries {
    /// A new folder among the system's temporary ones.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn new() -> io::Result<Self> {
        tempfile::Builder::new().prefix("askaround-diaries-").tempdir().map(Self)
    }

    /// The file of a host.
    pub fn of(&self, host: Host) -> PathBuf {
        self.0.path().join(format!("{host}.jsonl"))
    }

    /// Reads the diaries of all hosts of a scenario and removes the folder.
    ///
    /// # Errors
    /// If one cannot be read, or is none.
    pub async fn read(self, scenario: &Scenario) -> io::Result<Read> {
        let ids: Vec<_> = scenario.scripts.iter().map(|(_, script)| script.id).collect();
        blocking(move || {
            let mut read = Read { diaries: Vec::new(), missing: Vec::new() };
            let addresses = ports::assign(ids.iter().copied());
            let peers = ids.into_iter().map(Host::Peer).zip(addresses);
            for (host, at) in [(Host::Tracker, TRACKER)].into_iter().chain(peers) {
                match File::open(self.of(host)) {
                    Ok(file) => read.diaries.push((host, at, entries(file)?)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => read.missing.push(host),
                    Err(error) => return Err(error),
                }
            }
            self.0.close()?;
            Ok(read)
        })
        .await
    }
}

fn entries(file: File) -> io::Result<Vec<Entry>> {
    BufReader::new(file).lines().map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // Neither is ever negative.
    let (seconds, nanos) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    seconds.unwrap_or(0) * 1_000_000_000 + nanos.unwrap_or(0)
}
