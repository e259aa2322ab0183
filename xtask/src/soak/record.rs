//! What happened in a run: how operations ended, what programs said, and the faults.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::message;
use super::operation::Operation;

/// The most faults, and different messages, that are told one by one.
const MOST_FAULTS: usize = 50;
const MOST_MESSAGES: usize = 1000;
/// The most of a command's output that a fault shows, in bytes at its end.
const MOST_OUTPUT: usize = 4000;

/// It is written to by everybody.
pub(super) struct Record(Mutex<Inner>);

struct Inner {
    /// Every operation with its outcome, a line each.
    operations: File,
    /// How often operations ended in a way, and the longest that one took.
    ends: BTreeMap<(&'static str, String), (u64, Duration)>,
    messages: BTreeMap<String, u64>,
    faults: Vec<String>,
    more_faults: u64,
}

impl Record {
    /// An empty one, with a file for the operations.
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        Ok(Self(Mutex::new(Inner {
            operations: File::create(folder.join("operations"))?,
            ends: BTreeMap::new(),
            messages: BTreeMap::new(),
            faults: Vec::new(),
            more_faults: 0,
        })))
    }

    fn take(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker's operation, which began and ended then, has ended in this way.
    pub(super) fn operation(
        &self,
        worker: usize,
        operation: &Operation,
        (begin, end): (Duration, Duration),
        how: String,
    ) {
        let mut inner = self.take();
        let (at, took) = (begin.as_secs_f64(), end - begin);
        // Without it the run is as good: the file only helps to look into a fault.
        let _ = writeln!(inner.operations, "{at:8.3} worker {worker} {operation:?}: {how} ({took:.1?})");
        let (times, longest) = inner.ends.entry((operation.name(), how)).or_default();
        *times += 1;
        *longest = took.max(*longest);
    }

    /// `who` said this line.
    pub(super) fn message(&self, who: &str, line: &str) {
        let said = format!("{who}: {}", message::without_details(line));
        let messages = &mut self.take().messages;
        if messages.len() < MOST_MESSAGES || messages.contains_key(&said) {
            *messages.entry(said).or_default() += 1;
        }
    }

    /// Something is wrong with what the program did.
    pub(super) fn fault(&self, what: &str, command: &str, output: &str) {
        let mut fault = what.to_owned();
        for (of, text) in [("command", command), ("output", output)] {
            let text = text.trim_end();
            if !text.is_empty() {
                let end = text.len().saturating_sub(MOST_OUTPUT);
                let end = (end..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(end);
                let _ = write!(fault, "\n  {of}: {}", text[end..].replace('\n', "\n    "));
            }
        }
        // At once, for those who wait for the end.
        eprintln!("fault: {what}");
        let mut inner = self.take();
        if inner.faults.len() < MOST_FAULTS { inner.faults.push(fault) } else { inner.more_faults += 1 }
    }

    /// How many faults there are.
    pub(super) fn faults(&self) -> u64 {
        let inner = self.take();
        inner.faults.len() as u64 + inner.more_faults
    }

    /// Prints how operations ended, and what was said.
    pub(super) fn print_ends(&self) {
        let inner = self.take();
        println!("{:>6} {:>9} OPERATION, HOW IT ENDED", "TIMES", "LONGEST");
        for ((operation, how), (times, longest)) in &inner.ends {
            println!("{times:>6} {:>7.1} s {operation}: {how}", longest.as_secs_f64());
        }
        println!("\n{:>6} WHAT WAS SAID", "TIMES");
        let mut messages: Vec<_> = inner.messages.iter().collect();
        messages.sort_by_key(|(_, times)| std::cmp::Reverse(**times));
        for (said, times) in messages {
            println!("{times:>6} {said}");
        }
    }

    /// Prints the faults.
    pub(super) fn print_faults(&self) {
        let inner = self.take();
        for (number, fault) in inner.faults.iter().enumerate() {
            println!("\nfault {}: {fault}", number + 1);
        }
        if inner.more_faults > 0 {
            println!("\nand {} more faults", inner.more_faults);
        }
    }
}
