//! Compares two folders of logs, explains each difference, and grades by the assignment's rubric.

mod align;
mod cause;
mod evidence;
mod render;
mod replay;
mod rubric;
mod surplus;
#[cfg(test)]
mod tests;
mod texts;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use askaround_core::id::PeerId;
use askaround_core::log::LogEntry;
use askaround_core::message::Timestep;
use askaround_core::script::Script;
use serde::Serialize;

use crate::plain;
use crate::run::{TRACKER_LOG, log_name};
use align::{Pair, align};
pub use cause::Cause;
use cause::Context;
use evidence::Evidence;
pub use render::{entry_text, notes, render_rubric};
use replay::Replay;
pub use rubric::{RubricLine, sum};
use surplus::Counted;

/// So many differences of a log are explained.
pub const MAX_DIFFERENCES: usize = 20;
/// The longest explanation, in characters. One that says what a log has may be as long as that likes.
const MAX_EXPLANATION: usize = 2500;
/// The largest log that is read, in bytes.
const MAX_LOG: u64 = 64 << 20;

/// The logs of a folder.
#[derive(Debug, Clone, Default)]
pub struct Logs {
    /// Each client's.
    pub clients: BTreeMap<PeerId, Vec<LogEntry>>,
    /// The tracker's.
    pub tracker: Option<Vec<LogEntry>>,
    /// Files that should be logs and are not, by name, with the reason.
    pub unusable: BTreeMap<String, String>,
}

/// A folder without logs.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}", path = path.display())]
pub struct GradeError {
    /// Which.
    pub path: PathBuf,
    /// What is wrong, and what was expected.
    pub problem: String,
}

impl Logs {
    /// Reads `client_<n>.json` and `bootstrapper.json` in `folder`.
    ///
    /// # Errors
    /// If the folder cannot be read or has no log at all.
    pub fn read(folder: &Path) -> Result<Self, GradeError> {
        let wrong = |problem: String| GradeError { path: folder.to_owned(), problem };
        let mut logs = Self::default();
        for entry in fs::read_dir(folder).map_err(|e| wrong(format!("cannot be read: {e}")))? {
            let path = entry.map_err(|e| wrong(format!("cannot be read: {e}")))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let client = name.strip_prefix("client_").and_then(|rest| rest.strip_suffix(".json"));
            let client = client.and_then(|id| id.parse::<PeerId>().ok());
            if client.is_none() && name != TRACKER_LOG {
                continue;
            }
            match (read_log(&path), client) {
                (Ok(log), Some(id)) => {
                    logs.clients.insert(id, log);
                }
                (Ok(log), None) => logs.tracker = Some(log),
                (Err(problem), _) => {
                    logs.unusable.insert(name, problem);
                }
            }
        }
        if logs.clients.is_empty() && logs.tracker.is_none() && logs.unusable.is_empty() {
            return Err(wrong(format!("no log here: expected client_1.json, …, {TRACKER_LOG}")));
        }
        Ok(logs)
    }

    /// Each log with its file's name, the clients' by id, the tracker's last.
    pub fn by_name(&self) -> impl Iterator<Item = (String, &Vec<LogEntry>)> {
        let clients = self.clients.iter().map(|(id, log)| (log_name(*id), log));
        clients.chain(self.tracker.iter().map(|log| (TRACKER_LOG.to_owned(), log)))
    }
}

fn read_log(path: &Path) -> Result<Vec<LogEntry>, String> {
    let meta = fs::metadata(path).map_err(|e| e.to_string())?;
    if !meta.is_file() {
        return Err("not a file".into());
    }
    if meta.len() > MAX_LOG {
        return Err(format!("larger than {} MiB", MAX_LOG >> 20));
    }
    let bytes = fs::read(path).map_err(|e| e.to_string())?;
    crate::json::read(&bytes).map_err(|e| format!("expected an array of {{\"time\": …, \"text\": …}}: {e}"))
}

/// How good a folder of logs is.
#[derive(Debug, Clone, Serialize)]
pub struct Grade {
    /// Whether every expected log is there, entry by entry.
    pub equal: bool,
    /// Points earned.
    pub earned: u32,
    /// Points that could be earned: those of the items that the scenario exercises.
    pub possible: u32,
    /// The assignment's 12 items.
    pub rubric: Vec<RubricLine>,
    /// How many entries are too many: each takes the points of one that is right.
    pub surplus: usize,
    /// How many entries differ that no item asks for: they carry no points.
    pub unscored: usize,
    /// Each expected log.
    pub logs: Vec<LogGrade>,
}

/// How good one log is.
#[derive(Debug, Clone, Serialize)]
pub struct LogGrade {
    /// The file's name.
    pub name: String,
    /// How many entries are expected.
    pub expected: usize,
    /// How many of them are there, in order.
    pub matching: usize,
    /// How many entries it has too many.
    pub surplus: usize,
    /// How many of those that are right do not count, because of entries too many.
    pub taken: usize,
    /// Its differences in order, the first [`MAX_DIFFERENCES`] of them.
    pub differences: Vec<Divergence>,
    /// How many more there are.
    pub more: usize,
}

impl LogGrade {
    /// Whether it is not as expected.
    pub fn differs(&self) -> bool {
        !self.differences.is_empty()
    }

    /// How much of it is right, in words.
    pub fn verdict(&self) -> String {
        let mut text = format!("{} of {} entries are right", self.matching, self.expected);
        if self.surplus > 0 {
            let are = if self.surplus == 1 { "1 is".into() } else { format!("{} are", self.surplus) };
            text.push_str(&format!(
                "; {are} too many, so {} of those that are right {} nothing",
                self.taken,
                if self.taken == 1 { "earns" } else { "earn" }
            ));
        }
        text
    }

    /// The timestep of its first difference.
    pub fn first_time(&self) -> Option<Timestep> {
        let first = self.differences.first()?;
        first.expected.as_ref().or(first.got.as_ref()).map(|entry| entry.time)
    }
}

/// Where a log differs.
#[derive(Debug, Clone, Serialize)]
pub struct Divergence {
    /// The entry's number in the expected log, from 0; for one too many, in the other.
    pub index: usize,
    /// What is expected there.
    pub expected: Option<LogEntry>,
    /// What is there.
    pub got: Option<LogEntry>,
    /// Why, most likely.
    pub cause: Cause,
    /// The same in words.
    pub explanation: String,
}

/// Compares `got` with `expected`. With the `scripts` of the scenario, what each client held at
/// the start is known, and causes and rubric items are exact; without, they are inferred.
pub fn grade(expected: &Logs, got: &Logs, scripts: &[Script]) -> Grade {
    let replay = Replay::new(expected, scripts);
    let others: BTreeMap<String, &Vec<LogEntry>> = got.by_name().collect();
    let client = |name: &str| expected.clients.keys().find(|id| log_name(**id) == name).copied();
    let aligned: BTreeMap<String, Vec<Pair>> = expected
        .by_name()
        .filter_map(|(name, log)| others.get(&name).map(|other| (name, align(log, other))))
        .collect();
    let evidence = Evidence::gather(&replay, expected, got, &aligned);
    let mut logs = Vec::new();
    let mut counts = BTreeMap::new();
    for (name, log) in expected.by_name() {
        let client = client(&name);
        let (counted, differences) = match (others.get(&name), aligned.get(&name)) {
            (Some(other), Some(pairs)) => {
                let context = Context { replay: &replay, evidence: &evidence, client };
                let differing = differing(log, other, pairs);
                let is_scored = |i: usize| rubric::is_scored(&replay, client, i, &log[i]);
                let right = right(log, other, pairs);
                let counted = surplus::count(log, other, &differing, &right, &is_scored);
                (counted, differences(&context, log, other, pairs, differing))
            }
            _ => {
                let nothing = Counted { counts: vec![false; log.len()], surplus: 0, taken: 0 };
                (nothing, vec![absent(log, got.unusable.get(&name))])
            }
        };
        logs.push(LogGrade {
            name,
            expected: log.len(),
            matching: counted.counts.iter().filter(|counts| **counts).count() + counted.taken,
            surplus: counted.surplus,
            taken: counted.taken,
            more: differences.len().saturating_sub(MAX_DIFFERENCES),
            differences: differences.into_iter().take(MAX_DIFFERENCES).collect(),
        });
        counts.insert(client, counted.counts);
    }
    let (rubric, unscored) = rubric::grade(&replay, expected, &counts);
    Grade {
        equal: !logs.iter().any(LogGrade::differs),
        earned: rubric.iter().filter_map(|line| line.earned).sum(),
        possible: rubric.iter().filter(|line| line.earned.is_some()).map(|line| line.points).sum(),
        rubric,
        surplus: logs.iter().map(|log| log.surplus).sum(),
        unscored,
        logs,
    }
}

/// A log that is not there, or is none.
fn absent(log: &[LogEntry], problem: Option<&String>) -> Divergence {
    let (cause, explanation) = match problem {
        Some(problem) => {
            let problem = plain::beginning(problem, MAX_EXPLANATION);
            (Cause::NotALog, format!("the file cannot be used: {problem}"))
        }
        None => (Cause::LogMissing, "there is no such file: did the process end before it wrote it?".into()),
    };
    Divergence { index: 0, expected: log.first().cloned(), got: None, cause, explanation }
}

/// For each expected entry, whether it is there.
fn right(expected: &[LogEntry], got: &[LogEntry], pairs: &[Pair]) -> Vec<bool> {
    let mut flags = vec![false; expected.len()];
    for pair in pairs {
        if let (Some(i), Some(j)) = (pair.expected, pair.got) {
            flags[i] = expected[i] == got[j];
        }
    }
    flags
}

/// The pairs that are not equal; an entry that has moved is one.
fn differing(expected: &[LogEntry], got: &[LogEntry], pairs: &[Pair]) -> Vec<Pair> {
    let differs = |pair: &&Pair| pair.expected.map(|i| &expected[i]) != pair.got.map(|j| &got[j]);
    let mut differing: Vec<Pair> = pairs.iter().filter(differs).copied().collect();
    join_moved(&mut differing, expected, got);
    differing
}

fn differences(
    context: &Context<'_>,
    expected: &[LogEntry],
    got: &[LogEntry],
    pairs: &[Pair],
    differing: Vec<Pair>,
) -> Vec<Divergence> {
    let entry = |pair: &Pair| (pair.expected.map(|i| &expected[i]), pair.got.map(|j| &got[j]));
    // From here on nothing came any more.
    let end = pairs.iter().rposition(|pair| pair.got.is_some()).map_or(0, |last| last + 1);
    let ended: BTreeSet<usize> = pairs[end..].iter().filter_map(|pair| pair.expected).collect();
    let explain = |pair: Pair| {
        let (want, have) = entry(&pair);
        let at_the_end = pair.expected.is_some_and(|i| ended.contains(&i));
        let (cause, explanation) = context.explain(pair.expected, want, have, at_the_end);
        let explanation = plain::beginning(&explanation, MAX_EXPLANATION).into_owned();
        Divergence {
            index: pair.expected.or(pair.got).unwrap_or_default(),
            expected: want.cloned(),
            got: have.cloned(),
            cause,
            explanation,
        }
    };
    differing.into_iter().map(explain).collect()
}

/// A missing entry and one too many of the same text are one entry that has moved.
fn join_moved(pairs: &mut Vec<Pair>, expected: &[LogEntry], got: &[LogEntry]) {
    let mut at = 0;
    while at < pairs.len() {
        let text = match pairs[at] {
            Pair { expected: Some(i), got: None } => Some((&expected[i].text, true)),
            Pair { expected: None, got: Some(j) } => Some((&got[j].text, false)),
            _ => None,
        };
        let other = text.and_then(|(text, missing)| {
            (at + 1..pairs.len()).find(|other| match pairs[*other] {
                Pair { expected: None, got: Some(j) } => missing && got[j].text == *text,
                Pair { expected: Some(i), got: None } => !missing && expected[i].text == *text,
                _ => false,
            })
        });
        if let Some(other) = other {
            let other = pairs.remove(other);
            pairs[at].expected = pairs[at].expected.or(other.expected);
            pairs[at].got = pairs[at].got.or(other.got);
        }
        at += 1;
    }
}
