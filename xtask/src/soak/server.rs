//! The tracker and the peers: started, ended and started again.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::process::{End, Process, printed};
use crate::proc::{descriptors, status_bytes};

/// The longest that one may take until it listens, and to end after a signal.
pub(super) const LIMIT: Duration = Duration::from_secs(30);

/// A program that listens, at most once at a time.
pub(super) struct Server {
    /// As it is called in what a run prints, and the name of its folder and files.
    pub(super) name: String,
    /// The program and its arguments.
    pub(super) words: Vec<OsString>,
    /// Where the files are for what it prints.
    logs: PathBuf,
    state: Mutex<State>,
    /// Where it listens, or listened last.
    address: Mutex<String>,
    /// How often it was sent a signal to end.
    ends: AtomicU32,
}

/// What there is of it while nobody else starts or ends it.
#[derive(Default)]
pub(super) struct State {
    process: Option<Process>,
    pub(super) used: Used,
}

/// What it was seen to use, in all its lives.
#[derive(Default, Clone, Copy)]
pub(super) struct Used {
    pub(super) starts: u32,
    pub(super) peak_bytes: f64,
    pub(super) most_descriptors: usize,
    pub(super) descriptors: usize,
}

impl Server {
    pub(super) fn new(name: String, words: Vec<OsString>, logs: PathBuf) -> Self {
        Self {
            name,
            words,
            logs,
            state: Mutex::default(),
            address: Mutex::default(),
            ends: AtomicU32::new(0),
        }
    }

    /// Takes it for oneself: nobody else starts or ends it meanwhile.
    pub(super) fn take(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, unless somebody has it.
    pub(super) fn try_take(&self) -> Option<MutexGuard<'_, State>> {
        self.state.try_lock().ok()
    }

    /// How often it was told to end.
    pub(super) fn ends(&self) -> u32 {
        self.ends.load(Ordering::SeqCst)
    }

    /// Where it listens, or listened last.
    pub(super) fn address(&self) -> String {
        self.address.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The file of its complaints, of all its lives.
    pub(super) fn stderr(&self) -> PathBuf {
        self.logs.join(format!("{}.err", self.name))
    }

    /// Starts it, and gives the address at which it listens.
    ///
    /// # Errors
    /// If it does not come to listen.
    pub(super) fn start(&self, state: &mut State) -> Result<String, String> {
        let stdout = self.logs.join(format!("{}.out", self.name));
        let cannot = |e| format!("cannot write what {} prints: {e}", self.name);
        let out = File::create(&stdout).map_err(cannot)?;
        let err = OpenOptions::new().create(true).append(true).open(self.stderr()).map_err(cannot)?;
        let (program, words) = self.words.split_first().ok_or("no program")?;
        let process = state.process.insert(Process::start(Command::new(program).args(words), out, err)?);
        state.used.starts += 1;
        let begin = Instant::now();
        let why = loop {
            let said = printed(&stdout);
            if let Some((_, rest)) = said.split_once("listens on ")
                && let Some(end) = rest.find([',', '\n'])
            {
                let address = rest[..end].to_owned();
                self.address.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&address);
                return Ok(address);
            }
            if let Some(end) = process.ended() {
                break end.to_string();
            }
            if begin.elapsed() > LIMIT {
                break format!("nothing said in {} s", LIMIT.as_secs());
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        state.process = None;
        Err(format!("{} does not start: {why}", self.name))
    }

    /// Sends it a signal and waits for its end. `None` if it was not running.
    pub(super) fn end(&self, state: &mut State, signal: Signal) -> Option<End> {
        self.look(state);
        self.ends.fetch_add(1, Ordering::SeqCst);
        let mut process = state.process.take()?;
        process.signal(signal);
        Some(process.wait(LIMIT, || false))
    }

    /// Sends it a signal that does not end it.
    pub(super) fn signal(&self, state: &mut State, signal: Signal) {
        if let Some(process) = &mut state.process {
            process.signal(signal);
        }
    }

    /// Looks at what it uses; how it has ended, if it has by itself.
    pub(super) fn look(&self, state: &mut State) -> Option<End> {
        let process = state.process.as_mut()?;
        if let Some(end) = process.ended() {
            state.process = None;
            return Some(end);
        }
        let used = &mut state.used;
        used.peak_bytes = used.peak_bytes.max(status_bytes(process.id(), "VmHWM"));
        used.descriptors = descriptors(process.id());
        used.most_descriptors = used.most_descriptors.max(used.descriptors);
        None
    }
}
