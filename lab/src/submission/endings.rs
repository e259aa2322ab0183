//! How the processes of a run ended, in words; those that ended alike together.

use std::collections::BTreeSet;

use askaround_core::id::PeerId;

use super::findings::{Finding, FindingKind, is_complete, names, seconds};
use super::plan::{Ended, Exceeded, Limits, ProcessRecord, RunEnd, RunRecord};
use crate::grade::Logs;

/// So many lines of the end of what a process said are shown.
const SHOWN_LINES: usize = 12;
/// The longest line of it that is shown, in characters.
const SHOWN_WIDTH: usize = 160;
/// Stands in a text for when it was.
const AFTER: &str = " after {after}";

/// How one process ended, if that is worth telling.
pub(super) struct Ending {
    id: Option<PeerId>,
    /// When, in seconds.
    after: Option<f64>,
    kind: FindingKind,
    text: String,
    details: Vec<String>,
}

/// Those that ended in the same way, and said the same, are told of once.
pub(super) fn merged(endings: impl Iterator<Item = Ending>) -> Vec<Finding> {
    let mut groups: Vec<Vec<Ending>> = Vec::new();
    for ending in endings {
        let alike = |group: &&mut Vec<Ending>| {
            let first = &group[0];
            first.id.is_some() == ending.id.is_some()
                && (first.kind, &first.text, &first.details) == (ending.kind, &ending.text, &ending.details)
        };
        match groups.iter_mut().find(alike) {
            Some(group) => group.push(ending),
            None => groups.push(vec![ending]),
        }
    }
    let finding = |group: Vec<Ending>| {
        let who: BTreeSet<_> = group.iter().map(|ending| ending.id).collect();
        let mut times: Vec<f64> = group.iter().filter_map(|ending| ending.after).collect();
        times.sort_by(f64::total_cmp);
        let after = match times.as_slice() {
            [first, .., last] if last - first >= 0.1 => format!("{first:.1} to {last:.1} s"),
            [first, ..] => format!("{first:.1} s"),
            [] => String::new(),
        };
        let first = group.into_iter().next()?;
        let text = first.text.replace("{after}", &after);
        Some(Finding { kind: first.kind, who: names(&who), text, details: first.details })
    };
    groups.into_iter().filter_map(finding).collect()
}

/// How one process ended, if that is worth telling.
pub(super) fn of_process(
    process: &ProcessRecord,
    run: &RunRecord,
    got: &Logs,
    expected: &Logs,
    limits: &Limits,
    tracker_port: u16,
) -> Option<Ending> {
    let after = process.ended_after.map(|_| AFTER).unwrap_or_default().to_owned();
    let no_tracker = process.id.is_none() && run.end == RunEnd::NoTracker;
    let not_listening =
        if no_tracker { format!(" before it listened on port {tracker_port}") } else { after };
    let (kind, text) = match (process.exceeded, process.ended) {
        (Some(Exceeded::Output), _) => {
            (FindingKind::TooMuchOutput, format!("wrote more than {} MiB and was ended", limits.output >> 20))
        }
        (Some(Exceeded::Memory), _) => (
            FindingKind::TooMuchMemory,
            format!("used more than {} MiB of memory and was ended", limits.memory >> 20),
        ),
        (None, Ended::NotStarted) if process.stderr.bytes > 0 => {
            (FindingKind::NotStarted, "could not be started".to_owned())
        }
        (None, Ended::Exited(0)) if no_tracker => {
            (FindingKind::TrackerNeverListened, format!("exited{not_listening}"))
        }
        (None, Ended::Exited(0)) if !is_complete(process.id, got, expected) => {
            (FindingKind::ExitedEarly, format!("exited{not_listening}, and its log is not complete"))
        }
        (None, Ended::Exited(status)) if status != 0 => {
            (FindingKind::Crashed, format!("ended with exit status {status}{not_listening}"))
        }
        (None, Ended::Signal(signal)) => {
            (FindingKind::Crashed, format!("was ended by signal {signal}{not_listening}"))
        }
        (None, Ended::StillRunning) if no_tracker => {
            let elsewhere = process.listened_elsewhere.map(|port| format!("; it listens on port {port}"));
            let text = format!(
                "did not listen on port {tracker_port} within {}, so no client was started{}",
                seconds(limits.start),
                elsewhere.unwrap_or_default()
            );
            (FindingKind::TrackerNeverListened, text)
        }
        _ => return None,
    };
    let mut details = last_lines(&process.stderr.text);
    if kind == FindingKind::TooMuchOutput && details.is_empty() {
        details = last_lines(&process.stdout.text);
    }
    details.extend(process.stuck_at.iter().map(|place| format!("it was at {place}")));
    Some(Ending { id: process.id, after: process.ended_after, kind, text, details })
}

fn last_lines(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let skipped = lines.len().saturating_sub(SHOWN_LINES);
    let cut = |line: &&str| match line.char_indices().nth(SHOWN_WIDTH) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => (*line).to_owned(),
    };
    lines[skipped..].iter().map(cut).collect()
}
