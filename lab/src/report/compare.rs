//! The logs of a run beside the expected ones.

use askaround_core::log::LogEntry;
use serde::Serialize;

use crate::grade::{Divergence, Logs, grade};
use crate::run::{TRACKER_LOG, log_name};
use crate::trace::{Host, Trace, What};

/// A host's log.
#[derive(Debug, Serialize)]
pub struct LogReport {
    /// The name of its file.
    pub name: String,
    /// What it says.
    pub entries: Vec<LogEntry>,
    /// What it should say, if that is known.
    pub expected: Option<Vec<LogEntry>>,
    /// Where it first differs, and why.
    pub divergence: Option<Divergence>,
}

/// Every log of the run and every expected one, the tracker's first.
pub(super) fn logs(trace: &Trace) -> Vec<LogReport> {
    let got = got(trace);
    let expected = expected(trace);
    let scripts: Vec<_> = trace.header.peers.iter().map(|member| member.script.clone()).collect();
    let grade = grade(&expected, &got, &scripts);
    let report = |name: String, log: Option<&Vec<LogEntry>>, wanted: Option<&Vec<LogEntry>>| {
        let graded = grade.logs.iter().find(|graded| graded.name == name);
        LogReport {
            divergence: graded.and_then(|graded| graded.differences.first().cloned()),
            name,
            entries: log.cloned().unwrap_or_default(),
            expected: wanted.cloned(),
        }
    };
    let mut logs = vec![report(TRACKER_LOG.to_owned(), got.tracker.as_ref(), expected.tracker.as_ref())];
    let mut ids: Vec<_> = got.clients.keys().chain(expected.clients.keys()).collect();
    ids.sort_unstable();
    ids.dedup();
    for id in ids {
        logs.push(report(log_name(*id), got.clients.get(id), expected.clients.get(id)));
    }
    logs
}

fn got(trace: &Trace) -> Logs {
    let mut logs = Logs { tracker: Some(Vec::new()), ..Logs::default() };
    logs.clients = trace.header.peers.iter().map(|member| (member.script.id, Vec::new())).collect();
    for event in &trace.events {
        let log = match event.host {
            Host::Tracker => logs.tracker.as_mut(),
            Host::Peer(id) => logs.clients.get_mut(&id),
            Host::Elsewhere(_) => None,
        };
        if let (Some(log), What::Log(entry)) = (log, &event.what) {
            log.push(entry.clone());
        }
    }
    logs
}

fn expected(trace: &Trace) -> Logs {
    let mut logs = Logs::default();
    for (name, log) in &trace.header.expected {
        let id = name.strip_prefix("client_").and_then(|rest| rest.strip_suffix(".json"));
        match id.map(str::parse) {
            Some(Ok(id)) => {
                logs.clients.insert(id, log.clone());
            }
            _ => logs.tracker = Some(log.clone()),
        }
    }
    logs
}
