//! What the workers of a run share: the programs that listen, what was added, the folders on the
//! disk, and when it is over.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::disk::Place;
use super::options::Options;
use super::record::Record;
use super::server::Server;
use super::tree::Tree;
use crate::release::askaround;

/// The most contents that are chosen from: the last ones.
const MOST_CONTENTS: usize = 200;
/// The most that sources and what was fetched may take on the disk, in bytes; then the oldest goes.
const MOST_BYTES: u64 = 1 << 30;

/// Content that was added.
pub(super) struct Added {
    pub(super) key: String,
    /// Of a file.
    pub(super) md5: Option<String>,
    pub(super) source: PathBuf,
    pub(super) tree: Tree,
}

/// All of it. What is first is ended first.
pub(super) struct World {
    pub(super) peers: Vec<Server>,
    pub(super) tracker: Server,
    pub(super) record: Record,
    pub(super) place: Place,
    contents: Mutex<VecDeque<Arc<Added>>>,
    folders: Mutex<VecDeque<(PathBuf, u64)>>,
    next_folder: AtomicU64,
    begin: Instant,
    time: Duration,
    stopped: OnceLock<String>,
    cut_short: AtomicBool,
}

impl World {
    /// Starts the tracker and the peers.
    ///
    /// # Errors
    /// If one does not start.
    pub(super) fn new(options: &Options, place: Place) -> Result<Self, String> {
        let record = Record::new(place.root()).map_err(|e| e.to_string())?;
        let server = |name: String, words: &[&str], prefix: &[&str]| {
            let words = words.iter().map(OsString::from);
            let prefix = prefix.iter().map(OsString::from);
            let words = prefix.chain([askaround().into_os_string()]).chain(words).collect();
            Server::new(name, words, place.root().to_owned())
        };
        let mut tracker = server("tracker".into(), &["tracker", "--listen", "127.0.0.1:0"], &[]);
        let address = tracker.start(&mut tracker.take())?;
        // From now on it is where the peers expect it.
        tracker.words.pop();
        tracker.words.push(address.clone().into());
        let mut peers = Vec::new();
        for number in 0..options.peers {
            let name = format!("peer-{number}");
            let folder = place.of_peers().join(&name);
            fs::create_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
            let mut words = vec!["peer", "--tracker", &address, "--listen", "127.0.0.1:0"];
            let folder = folder.to_string_lossy();
            words.extend(["--holder-timeout", "5", "--dir", &folder]);
            if options.slow {
                words.extend(["--up", "4M"]);
            }
            let limit: &[&str] =
                if options.few_files { &["sh", "-c", "ulimit -n 40; exec \"$0\" \"$@\""] } else { &[] };
            let peer = server(name, &words, limit);
            peer.start(&mut peer.take())?;
            peers.push(peer);
        }
        Ok(Self {
            peers,
            tracker,
            record,
            place,
            contents: Mutex::default(),
            folders: Mutex::default(),
            next_folder: AtomicU64::new(0),
            begin: Instant::now(),
            time: options.time,
            stopped: OnceLock::new(),
            cut_short: AtomicBool::new(false),
        })
    }

    /// The folder of a peer.
    pub(super) fn folder_of(&self, peer: &Server) -> PathBuf {
        self.place.of_peers().join(&peer.name)
    }

    /// One of the contents that were added, if there is one.
    pub(super) fn pick(&self, pick: usize) -> Option<Arc<Added>> {
        let contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        contents.get(pick % contents.len().max(1)).cloned()
    }

    /// This was added, too.
    pub(super) fn added(&self, added: Added) {
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        contents.push_back(Arc::new(added));
        if contents.len() > MOST_CONTENTS {
            contents.pop_front();
        }
    }

    /// A fresh folder.
    ///
    /// # Errors
    /// If it could not be made.
    pub(super) fn fresh(&self, within: &Path, what: &str) -> Result<PathBuf, String> {
        let number = self.next_folder.fetch_add(1, Ordering::Relaxed);
        let folder = within.join(format!("{number}-{what}"));
        fs::create_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        Ok(folder)
    }

    /// The folder may be removed from now on, and older ones are if there is too much.
    pub(super) fn done_with(&self, folder: PathBuf) {
        let bytes = bytes_of(&folder);
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        folders.push_back((folder, bytes));
        let mut sum: u64 = folders.iter().map(|(_, bytes)| bytes).sum();
        while sum > MOST_BYTES {
            sum -= remove_oldest(&mut folders);
        }
    }

    /// Removes the oldest folders, and leaves as many.
    pub(super) fn remove(&self, count: usize) {
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..count.min(folders.len() / 2) {
            remove_oldest(&mut folders);
        }
    }

    /// Since the run began.
    pub(super) fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Is it time for no more operations?
    pub(super) fn is_over(&self) -> bool {
        self.elapsed() >= self.time || self.why_stopped().is_some()
    }

    /// Has no more operations begin, for this reason.
    pub(super) fn stop(&self, why: &str) {
        self.stopped.get_or_init(|| why.to_owned());
    }

    /// Has those that are under way end at once, too.
    pub(super) fn cut_short(&self, why: &str) {
        self.stop(why);
        self.cut_short.store(true, Ordering::Relaxed);
    }

    /// Why it was stopped before its time, if it was.
    pub(super) fn why_stopped(&self) -> Option<&str> {
        self.stopped.get().map(String::as_str)
    }

    /// Are operations to end at once?
    pub(super) fn is_cut_short(&self) -> bool {
        self.cut_short.load(Ordering::Relaxed)
    }

    /// Waits, unless operations are to end at once.
    pub(super) fn pause(&self, time: Duration) {
        let begin = Instant::now();
        while !self.is_cut_short() && begin.elapsed() < time {
            std::thread::sleep(Duration::from_millis(5).min(time));
        }
    }
}

/// What the folder takes on the disk, in bytes. What cannot be read is not counted.
fn bytes_of(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_of(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    });
    bytes.sum()
}

fn remove_oldest(folders: &mut VecDeque<(PathBuf, u64)>) -> u64 {
    let Some((folder, bytes)) = folders.pop_front() else { return 0 };
    // A peer may be repairing files in it. Then the rest of it goes with the run.
    let _ = fs::remove_dir_all(folder);
    bytes
}
