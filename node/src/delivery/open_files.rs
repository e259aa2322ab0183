//! [`OpenFiles`]: how many files are open at once for the fetches of folders, of which each may
//! begin thousands. Whoever needs one more has the one closed that was used longest ago.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::content::{DiskError, Fault, PartError};
use crate::lock;

/// A file that is fetched has so many open: its data, its journal, its folder, and what it is copied
/// from where another file of the folder is the same.
const EACH: usize = 4;
/// Whether one is in use is not told when it changes. It is for as long as a piece takes to write.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// So long a file is tried to be opened for which the system has no room, ...
const PATIENCE: Duration = Duration::from_secs(10);
/// ... and so often. Connections come and go, and nobody tells when.
const TRY_AGAIN: Duration = Duration::from_millis(20);
/// The process, or the system, can open no more files.
const OUT_OF_FILES: [Errno; 2] = [Errno::MFILE, Errno::NFILE];

/// Counts the files that are fetched and open, of all fetches.
#[derive(Debug)]
pub(super) struct OpenFiles {
    most: usize,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The number that was given last.
    last: u64,
    /// By when they were used last.
    open: BTreeMap<u64, Weak<dyn Closes>>,
}

/// Something that keeps a file open.
pub(super) trait Closes: std::fmt::Debug + Send + Sync {
    /// Closes it, unless it is in use. Does not wait for anybody.
    fn close(&self) -> bool;
}

/// The leave to keep one open, until this is dropped.
#[derive(Debug)]
pub(super) struct Leave {
    files: Arc<OpenFiles>,
    number: u64,
}

impl OpenFiles {
    /// At most so many files.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most: (most / EACH).max(1), state: Mutex::default(), freed: Condvar::new() })
    }

    /// Waits until `owner` may open a file, and has another closed for it. Blocks while all are in
    /// use. Whoever calls this uses no other, or two could wait for each other.
    pub(super) fn leave(self: &Arc<Self>, owner: Weak<dyn Closes>) -> Leave {
        let mut state = lock(&self.state);
        loop {
            if state.open.len() < self.most {
                state.last += 1;
                let number = state.last;
                state.open.insert(number, owner);
                return Leave { files: self.clone(), number };
            }
            drop(state);
            let closed = self.close_one();
            state = lock(&self.state);
            if !closed && state.open.len() >= self.most {
                let waited = self.freed.wait_timeout(state, LOOK_AGAIN);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    /// Opens files for which there is leave. Where the system lets the program open no more, others are
    /// closed, and where there are none, it is waited for a while. Blocks.
    ///
    /// # Errors
    /// As `open`, which is called again.
    pub(super) fn open<T>(&self, mut open: impl FnMut() -> Result<T, PartError>) -> Result<T, PartError> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            match open() {
                Err(PartError::Disk(error)) if is_out_of_files(&error) && Instant::now() < give_up => {
                    if !self.close_one() {
                        let waited = self.freed.wait_timeout(lock(&self.state), TRY_AGAIN);
                        drop(waited.unwrap_or_else(PoisonError::into_inner));
                    }
                }
                opened => return opened,
            }
        }
    }

    /// Closes the one that was used longest ago, of those that are not in use.
    /// False if there is none.
    fn close_one(&self) -> bool {
        let mut after = 0;
        loop {
            // Closing gives back a leave, which takes the lock.
            let next = lock(&self.state).open.range(after..).next().map(|(at, owner)| (*at, owner.clone()));
            let Some((number, owner)) = next else { return false };
            if owner.upgrade().is_some_and(|owner| owner.close()) {
                return true;
            }
            after = number + 1;
        }
    }
}

impl Leave {
    /// It is used: others are closed before it.
    pub(super) fn used(&mut self) {
        let mut state = lock(&self.files.state);
        state.last += 1;
        let number = state.last;
        if let Some(owner) = state.open.remove(&self.number) {
            state.open.insert(number, owner);
            self.number = number;
        }
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        lock(&self.files.state).open.remove(&self.number);
        self.files.freed.notify_one();
    }
}

fn is_out_of_files(error: &DiskError) -> bool {
    let Fault::Other(error) = &error.fault else { return false };
    OUT_OF_FILES.iter().any(|out| error.raw_os_error() == Some(out.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Is open while it has a leave, and in use while its lock is held.
    #[derive(Debug, Default)]
    struct File(Mutex<Option<Leave>>);

    impl Closes for File {
        fn close(&self) -> bool {
            self.0.try_lock().is_ok_and(|mut leave| leave.take().is_some())
        }
    }

    fn open(files: &Arc<OpenFiles>) -> Arc<File> {
        let file = Arc::new(File::default());
        let owner: Weak<File> = Arc::downgrade(&file);
        let leave = files.leave(owner);
        *lock(&file.0) = Some(leave);
        file
    }

    fn is_open(file: &File) -> bool {
        lock(&file.0).is_some()
    }

    #[test]
    fn the_one_that_was_used_longest_ago_is_closed() {
        let files = OpenFiles::new(3 * EACH + 1);
        let opened: Vec<_> = (0..3).map(|_| open(&files)).collect();
        lock(&opened[0].0).as_mut().unwrap().used();
        let fourth = open(&files);
        assert_eq!([0, 1, 2].map(|n| is_open(&opened[n])), [true, false, true]);
        let in_use = lock(&opened[2].0);
        let fifth = open(&files);
        drop(in_use);
        assert_eq!([0, 2].map(|n| is_open(&opened[n])), [false, true], "what is in use stays open");
        drop((fourth, fifth));
        assert_eq!(lock(&files.state).open.len(), 1, "what is dropped counts no more");
    }

    #[test]
    fn where_the_system_has_no_more_files_those_used_longest_ago_are_closed() {
        let files = OpenFiles::new(3 * EACH);
        let opened: Vec<_> = (0..2).map(|_| open(&files)).collect();
        let fails = |errno: Errno| Err(DiskError::at(Path::new("a"))(errno).into());
        let mut closed = Vec::new();
        let tried = files.open(|| {
            closed.push([0, 1].map(|n| !is_open(&opened[n])));
            // Once more after there is nothing to close.
            if closed.len() < 4 { fails(Errno::MFILE) } else { Ok(()) }
        });
        tried.unwrap();
        assert_eq!(closed, [[false, false], [true, false], [true, true], [true, true]]);
        let mut times = 0;
        let tried = files.open(|| {
            times += 1;
            fails(Errno::NOSPC) as Result<(), PartError>
        });
        assert!(tried.is_err() && times == 1, "{tried:?}, {times}");
    }

    #[test]
    fn whoever_finds_all_in_use_waits_until_one_is_not() {
        let files = OpenFiles::new(0);
        let first = open(&files);
        let in_use = lock(&first.0);
        std::thread::scope(|scope| {
            let second = scope.spawn(|| open(&files));
            // However far the other thread is.
            drop(in_use);
            assert!(is_open(&second.join().unwrap()));
        });
        assert!(!is_open(&first));
    }
}
