//! What happened in a run, in words: who died and what it said, who never listened, who never
//! finished which timestep, who would not end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use askaround_core::id::PeerId;
use askaround_core::message::Timestep;
use serde::Serialize;

use super::endings::{merged, of_process};
use super::plan::{Ended, Limits, ProcessRecord, RunEnd, RunRecord};
use crate::grade::{Grade, Logs};
use crate::plain;

/// So many places where processes hang are shown.
const SHOWN_PLACES: usize = 8;

/// The longest of the lines that show what happened, in characters.
const MAX_DETAIL: usize = 500;

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of thing.
    pub kind: FindingKind,
    /// Whom it is about, in words; empty if it is about the whole run.
    pub who: String,
    /// What happened, in a sentence or two.
    pub text: String,
    /// Lines that show it: what a process said, or where it hung.
    pub details: Vec<String>,
}

/// The kinds of things that go wrong, logs apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// It could not be started.
    NotStarted,
    /// The tracker did not listen.
    TrackerNeverListened,
    /// It ended with an exit status or by a signal of its own.
    Crashed,
    /// It exited with status 0 before its log was complete.
    ExitedEarly,
    /// It wrote more than it may, and was ended.
    TooMuchOutput,
    /// It used more memory than it may, and was ended.
    TooMuchMemory,
    /// There were more processes than there may be.
    TooManyProcesses,
    /// The processes of the run wrote too much in all.
    TooMuchWritten,
    /// A client did not listen on any port.
    NeverListened,
    /// A client was connected to the tracker before it listened.
    ConnectedBeforeListening,
    /// Nothing happened any more.
    Stalled,
    /// The time was up.
    OutOfTime,
    /// The log of somebody ends before the last timestep.
    NeverFinished,
    /// Somebody wrote no log.
    NoLog,
    /// Somebody did not exit at the end.
    StillRunning,
    /// Entries of another order within a timestep; they are right.
    OrderLeftOpen,
    /// Processes outlived those that had started them.
    LeftBehind,
}

/// All that went wrong in a run, causes before their effects.
pub(super) fn find(
    run: &RunRecord,
    grade: &Grade,
    got: &Logs,
    expected: &Logs,
    limits: &Limits,
    tracker_port: u16,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let ended = run.processes.iter();
    let ended = ended.filter_map(|process| of_process(process, run, got, expected, limits, tracker_port));
    findings.extend(merged(ended));
    // What those would have done that were ended in the midst of it, nobody knows.
    let cut_short = matches!(run.end, RunEnd::TooManyProcesses | RunEnd::TooMuchWritten);
    if !grade.equal && !cut_short {
        findings.extend(run.processes.iter().filter_map(|process| of_sockets(process, run)));
    }
    findings.extend(of_the_end(run, limits));
    if run.end != RunEnd::NoTracker && !cut_short {
        findings.extend(unfinished(run, got, expected));
    }
    if run.end == RunEnd::Complete {
        findings.extend(still_running(run, limits));
    }
    if !run.left_behind.is_empty() {
        findings.push(Finding {
            kind: FindingKind::LeftBehind,
            who: String::new(),
            text: format!(
                "{} left running by those that had started them; ended now",
                count(run.left_behind.len(), "process was", "processes were")
            ),
            details: counted(&run.left_behind),
        });
    }
    // What a process says, and how its files and functions are called, comes from strangers.
    for detail in findings.iter_mut().flat_map(|finding| &mut finding.details) {
        *detail = plain::beginning(detail, MAX_DETAIL).into_owned();
    }
    findings
}

pub(super) fn name(process: &ProcessRecord) -> String {
    process.id.map_or_else(|| "the tracker".into(), |id| format!("client {id}"))
}

/// Whether somebody's log has all the entries that it should.
pub(super) fn is_complete(id: Option<PeerId>, got: &Logs, expected: &Logs) -> bool {
    let (got, expected) = match id {
        Some(id) => (got.clients.get(&id), expected.clients.get(&id)),
        None => (got.tracker.as_ref(), expected.tracker.as_ref()),
    };
    got.map_or(0, Vec::len) >= expected.map_or(0, Vec::len) && (got.is_some() || expected.is_none())
}

/// Who did not listen, or too late.
fn of_sockets(process: &ProcessRecord, run: &RunRecord) -> Option<Finding> {
    process.id.filter(|_| run.observed && process.ended != Ended::NotStarted)?;
    let (kind, text) = match (process.listened_on, process.connected_before_listening) {
        (None, Some(_)) if process.ended == Ended::StillRunning => (
            FindingKind::NeverListened,
            "was connected to the tracker and never listened on any port: others cannot ask it".to_owned(),
        ),
        // It may have listened for a moment that nobody looked at.
        (None, Some(seconds)) => (
            FindingKind::ConnectedBeforeListening,
            format!(
                "was connected to the tracker for {seconds:.1} s without listening on any port: a client listens before it registers, or others find nobody there"
            ),
        ),
        (None, None) if process.ended == Ended::StillRunning => {
            (FindingKind::NeverListened, "never listened on any port: others cannot ask it".to_owned())
        }
        (Some(port), Some(seconds)) => (
            FindingKind::ConnectedBeforeListening,
            format!(
                "was connected to the tracker {seconds:.1} s before it listened (on port {port}): a client listens before it registers, or others find nobody there"
            ),
        ),
        _ => return None,
    };
    Some(Finding { kind, who: name(process), text, details: Vec::new() })
}

fn of_the_end(run: &RunRecord, limits: &Limits) -> Option<Finding> {
    let (kind, text) = match run.end {
        RunEnd::Stalled => (
            FindingKind::Stalled,
            format!(
                "nothing happened for {}: everybody waits for somebody; the run was ended",
                seconds(limits.stall)
            ),
        ),
        RunEnd::OutOfTime => {
            (FindingKind::OutOfTime, format!("not over after {}; the run was ended", seconds(limits.time)))
        }
        RunEnd::TooManyProcesses => (
            FindingKind::TooManyProcesses,
            format!(
                "more than {} processes, beside those that were started, that stayed, or far more at once; the run was ended, so its logs are not complete (--processes allows more)",
                limits.extra_processes
            ),
        ),
        RunEnd::TooMuchWritten => (
            FindingKind::TooMuchWritten,
            format!("wrote more than {} MiB in all; the run was ended", limits.written >> 20),
        ),
        RunEnd::Complete | RunEnd::AllExited | RunEnd::NoTracker | RunEnd::Stopped => return None,
    };
    Some(Finding { kind, who: String::new(), text, details: Vec::new() })
}

/// Who never finished which timestep.
fn unfinished(run: &RunRecord, got: &Logs, expected: &Logs) -> Vec<Finding> {
    let everybody = expected.clients.keys().map(|id| Some(*id)).chain([None]);
    let mut without_log = BTreeSet::new();
    let mut by_time: BTreeMap<Timestep, BTreeSet<Option<PeerId>>> = BTreeMap::new();
    for id in everybody {
        let (log, wanted) = match id {
            Some(id) => (got.clients.get(&id), &expected.clients[&id]),
            None => match &expected.tracker {
                Some(wanted) => (got.tracker.as_ref(), wanted),
                None => continue,
            },
        };
        match log {
            None => drop(without_log.insert(id)),
            Some(log) => {
                if let Some(missing) = wanted.get(log.len()) {
                    by_time.entry(missing.time).or_default().insert(id);
                }
            }
        }
    }
    let mut findings = Vec::new();
    for (time, who) in by_time {
        let last = match who.first() {
            Some(Some(id)) => got.clients.get(id).and_then(|log| log.last()),
            _ => got.tracker.as_ref().and_then(|log| log.last()),
        };
        let ends = match last {
            Some(last) if who.len() == 1 => format!("the last entry of its log is of timestep {}", last.time),
            None if who.len() == 1 => "its log is empty".to_owned(),
            _ => "their logs end before it".to_owned(),
        };
        let text = format!("never finished timestep {time}: {ends}");
        findings.push(Finding {
            kind: FindingKind::NeverFinished,
            details: places(run, &who),
            who: names(&who),
            text,
        });
    }
    if !without_log.is_empty() {
        let all = without_log.len() == run.processes.len();
        let hint = "; a log that is written after each timestep survives a run that hangs";
        let text = format!("wrote no log{}", if all { hint } else { "" });
        findings.push(Finding {
            kind: FindingKind::NoLog,
            details: places(run, &without_log),
            who: names(&without_log),
            text,
        });
    }
    findings
}

/// Where those of `who` were that had to be ended; the place where the fewest were, first: it
/// tells most.
fn places(run: &RunRecord, who: &BTreeSet<Option<PeerId>>) -> Vec<String> {
    let mut by_place: BTreeMap<&str, BTreeSet<Option<PeerId>>> = BTreeMap::new();
    for process in run.processes.iter().filter(|process| who.contains(&process.id)) {
        for place in &process.stuck_at {
            by_place.entry(place).or_default().insert(process.id);
        }
    }
    let mut places: Vec<_> = by_place.into_iter().collect();
    places.sort_by_key(|(_, who)| who.len());
    let place = |(place, who): (&str, BTreeSet<Option<PeerId>>)| {
        format!("{} {} at {place}", names(&who), if who.len() == 1 { "was" } else { "were" })
    };
    places.into_iter().map(place).take(SHOWN_PLACES).collect()
}

fn still_running(run: &RunRecord, limits: &Limits) -> Option<Finding> {
    let running = run.processes.iter().filter(|p| p.ended == Ended::StillRunning && p.exceeded.is_none());
    let who: BTreeSet<_> = running.map(|process| process.id).collect();
    if who.is_empty() {
        return None;
    }
    let text = format!(
        "still running {} after the last log was complete; everybody should exit at the end (no points are lost)",
        seconds(limits.grace)
    );
    Some(Finding { kind: FindingKind::StillRunning, who: names(&who), text, details: Vec::new() })
}

/// `the tracker and clients 1, 2 and 5`.
pub(super) fn names(who: &BTreeSet<Option<PeerId>>) -> String {
    let ids: Vec<String> = who.iter().flatten().map(ToString::to_string).collect();
    let clients = match ids.as_slice() {
        [] => None,
        [one] => Some(format!("client {one}")),
        [some @ .., last] => Some(format!("clients {} and {last}", some.join(", "))),
    };
    let tracker = who.contains(&None).then(|| "the tracker".to_owned());
    tracker.into_iter().chain(clients).collect::<Vec<_>>().join(" and ")
}

/// Each line once, with how often it is there.
fn counted(lines: &[String]) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for line in lines {
        *counts.entry(line).or_default() += 1;
    }
    let line = |(line, count): (&str, usize)| match count {
        1 => line.to_owned(),
        _ => format!("{line} ({count} of these)"),
    };
    counts.into_iter().map(line).take(SHOWN_PLACES).collect()
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

pub(super) fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::submission::plan::Said;

    #[test]
    fn what_processes_say_and_are_called_acts_on_no_terminal() {
        let bad = "a\r\u{1b}[2J\u{9b}\u{202e}b";
        let process = ProcessRecord {
            id: None,
            command: String::new(),
            ended: Ended::Exited(1),
            ended_after: None,
            exceeded: None,
            listened_on: None,
            listened_elsewhere: None,
            connected_before_listening: None,
            stdout: Said::default(),
            stderr: Said { text: bad.into(), bytes: 1 },
            stuck_at: vec![format!("{bad}\n")],
        };
        let run = RunRecord {
            end: RunEnd::AllExited,
            seconds: 1.0,
            processes: vec![process],
            left_behind: vec![bad.repeat(100_000)],
            observed: true,
        };
        let second = Duration::from_secs(1);
        let limits = Limits {
            time: second,
            start: second,
            stall: second,
            grace: second,
            memory: 1,
            output: 1,
            written: 1,
            extra_processes: 1,
        };
        let none = Logs::default();
        let grade = crate::grade::grade(&none, &none, &[]);
        let findings = find(&run, &grade, &none, &none, &limits, 8888);
        let details: Vec<&String> = findings.iter().flat_map(|finding| &finding.details).collect();
        let plain = r"a\r\u{1b}[2J\u{9b}\u{202e}b";
        assert_eq!(details[..2], [plain, &format!(r"it was at {plain}\n")]);
        assert!(details[2].starts_with(plain) && details[2].len() < 5000, "{}", details[2].len());
        assert_eq!(details.len(), 3);
    }
}
