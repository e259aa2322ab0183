//! Compares two folders of logs, explains the first difference of each, and grades by the
//! assignment's rubric.

mod cause;
mod replay;
mod rubric;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use askaround_core::id::PeerId;
use askaround_core::log::LogEntry;
use askaround_core::script::Script;
use serde::Serialize;

use crate::run::{TRACKER_LOG, log_name};
pub use cause::Cause;
use replay::Replay;
pub use rubric::RubricLine;

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
    let size = fs::metadata(path).map_err(|e| e.to_string())?.len();
    if size > MAX_LOG {
        return Err(format!("larger than {} MiB", MAX_LOG >> 20));
    }
    let bytes = fs::read(path).map_err(|e| e.to_string())?;
    serde_json::from_slice(&bytes)
        .map_err(|e| format!("expected an array of {{\"time\": …, \"text\": …}}: {e}"))
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
    /// The first difference, if there is one.
    pub divergence: Option<Divergence>,
}

/// Where a log first differs.
#[derive(Debug, Clone, Serialize)]
pub struct Divergence {
    /// The entry's number, from 0.
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
    let mut logs = Vec::new();
    let mut matched = BTreeMap::new();
    for (name, log) in expected.by_name() {
        let client = expected.clients.keys().find(|id| log_name(**id) == name).copied();
        let (flags, divergence) = match others.get(&name) {
            Some(other) => (aligned(log, other), first_divergence(&replay, client, log, other)),
            None => {
                let problem = got.unusable.get(&name);
                (vec![false; log.len()], Some(absent(log, problem)))
            }
        };
        let matching = flags.iter().filter(|m| **m).count();
        logs.push(LogGrade { name, expected: log.len(), matching, divergence });
        matched.insert(client, flags);
    }
    let rubric = rubric::grade(&replay, expected, &matched);
    Grade {
        equal: logs.iter().all(|log| log.divergence.is_none()),
        earned: rubric.iter().filter_map(|line| line.earned).sum(),
        possible: rubric.iter().filter(|line| line.earned.is_some()).map(|line| line.points).sum(),
        rubric,
        logs,
    }
}

fn absent(log: &[LogEntry], problem: Option<&String>) -> Divergence {
    let (cause, explanation) = match problem {
        Some(problem) => (Cause::NotALog, format!("the file cannot be used: {problem}")),
        None => (Cause::LogMissing, "there is no such file: did the process end before it wrote it?".into()),
    };
    Divergence { index: 0, expected: log.first().cloned(), got: None, cause, explanation }
}

fn first_divergence(
    replay: &Replay,
    client: Option<PeerId>,
    expected: &[LogEntry],
    got: &[LogEntry],
) -> Option<Divergence> {
    let index = (0..expected.len().max(got.len())).find(|i| expected.get(*i) != got.get(*i))?;
    let (cause, explanation) = cause::explain(replay, client, expected, got, index);
    Some(Divergence {
        index,
        expected: expected.get(index).cloned(),
        got: got.get(index).cloned(),
        cause,
        explanation,
    })
}

/// For each expected entry, whether it is in `got`, in an order that fits as many as possible (a
/// longest common subsequence), so that one missing entry does not spoil all that follow.
fn aligned(expected: &[LogEntry], got: &[LogEntry]) -> Vec<bool> {
    let same = |i: usize, j: usize| expected[i] == got[j];
    let start = (0..expected.len().min(got.len())).take_while(|i| same(*i, *i)).count();
    let (rows, columns) = (expected.len() - start, got.len() - start);
    let mut flags = vec![false; expected.len()];
    flags[..start].fill(true);
    // A log that is longer than any script could make it is not worth the square of its length.
    if rows.saturating_mul(columns) > 25_000_000 {
        return flags;
    }
    let mut best = vec![vec![0u32; columns + 1]; rows + 1];
    for i in (0..rows).rev() {
        for j in (0..columns).rev() {
            best[i][j] = match same(start + i, start + j) {
                true => best[i + 1][j + 1] + 1,
                false => best[i + 1][j].max(best[i][j + 1]),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < rows && j < columns {
        if same(start + i, start + j) {
            flags[start + i] = true;
            (i, j) = (i + 1, j + 1);
        } else if best[i + 1][j] >= best[i][j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    flags
}

impl Grade {
    /// A report for people.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for log in self.logs.iter().filter(|log| log.divergence.is_some()) {
            let _ = writeln!(text, "{}: {} of {} entries are right", log.name, log.matching, log.expected);
            if let Some(first) = &log.divergence {
                let entry = |entry: &Option<LogEntry>| match entry {
                    Some(entry) => format!("time {}: {}", entry.time, entry.text),
                    None => "nothing".into(),
                };
                let _ = writeln!(text, "  entry {}", first.index + 1);
                let _ = writeln!(text, "    expected  {}", entry(&first.expected));
                let _ = writeln!(text, "    got       {}", entry(&first.got));
                let _ = writeln!(text, "    likely    {}", first.explanation);
            }
        }
        let right = self.logs.iter().filter(|log| log.divergence.is_none()).count();
        let _ = writeln!(text, "{right} of {} logs are right\n", self.logs.len());
        let _ = writeln!(text, "{:>2}  {:<58}  {:>7}  {:>9}", "", "RUBRIC", "ENTRIES", "POINTS");
        for line in &self.rubric {
            let (entries, points) = match line.earned {
                Some(earned) => {
                    (format!("{}/{}", line.matching, line.entries), format!("{earned}/{}", line.points))
                }
                None => ("-".into(), format!("-/{}", line.points)),
            };
            let _ = writeln!(text, "{:>2}  {:<58}  {entries:>7}  {points:>9}", line.item, line.title);
        }
        let total = format!("{}/{}", self.earned, self.possible);
        let _ = writeln!(text, "    {:<58}  {:>7}  {total:>9}", "total of what this scenario exercises", "");
        text
    }
}
