//! One run of one scenario: planned, carried out by a keeper, graded.

use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use askaround_core::id::PeerId;
use rand_mt::Mt;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::exam::Exam;
use super::findings::{self, Finding};
use super::isolation::Isolation;
use super::plan::{Event, Node, Order, Plan, RunEnd, RunRecord};
use super::{Submission, SubmissionError, SubmissionOptions, remote, scratch};
use crate::grade::{Grade, Logs};
use crate::ports;
use crate::run::{TRACKER_LOG, log_name};
use crate::scenario::Scenario;

/// One run of one scenario.
#[derive(Debug, Clone, Serialize)]
pub struct Round {
    /// The order in which the clients were started.
    pub start_order: Vec<PeerId>,
    /// What went wrong, worst first.
    pub findings: Vec<Finding>,
    /// How good the logs are.
    pub grade: Grade,
    /// What became of the processes.
    pub run: RunRecord,
}

/// Which of the two commands of a submission starts its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StartedAs {
    /// [`Submission::client`].
    First,
    /// [`Submission::client_otherwise`].
    Otherwise,
}

/// What is run.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    pub(super) submission: &'a Submission,
    pub(super) exam: &'a Arc<Exam>,
    pub(super) number: u32,
    pub(super) isolation: Isolation,
    pub(super) options: &'a SubmissionOptions,
}

impl Run<'_> {
    /// Runs it with the command that starts its clients, and notes which that is. Where neither
    /// does, the first is what is told of.
    pub(super) async fn as_it_starts(
        self,
        known: &OnceLock<StartedAs>,
        stop: &CancellationToken,
    ) -> Result<Round, SubmissionError> {
        let Some(otherwise) = &self.submission.client_otherwise else { return run(self, stop).await };
        let submission = Submission { client: otherwise.clone(), ..self.submission.clone() };
        let second = Run { submission: &submission, ..self };
        match known.get() {
            Some(StartedAs::First) => return run(self, stop).await,
            Some(StartedAs::Otherwise) => return run(second, stop).await,
            None => {}
        }
        let round = run(self, stop).await?;
        let mut started_as = StartedAs::First;
        let mut instead = None;
        if round.run.no_client_started() {
            let other = run(second, stop).await?;
            if !other.run.no_client_started() {
                started_as = StartedAs::Otherwise;
                instead = Some(other);
            }
        }
        let _ = known.set(started_as);
        Ok(instead.unwrap_or(round))
    }
}

async fn run(what: Run<'_>, stop: &CancellationToken) -> Result<Round, SubmissionError> {
    let Run { submission, exam, number, isolation, options } = what;
    if stop.is_cancelled() {
        return Err(SubmissionError::Stopped);
    }
    let name = &exam.scenario.name;
    let folder = blocking({
        let (exam, from) = (Arc::clone(exam), submission.folder.clone());
        move || scratch::copy(&from, &exam.scenario)
    })
    .await?;
    // What programs see as their working directory has no links in it.
    let path = folder.path().canonicalize().map_err(SubmissionError::system("find the scratch folder"))?;
    let plan = plan(submission, exam, &path, number, isolation, options);
    let start_order = plan.clients.iter().filter_map(|client| client.id).collect();
    let order = Order::Run(Box::new(plan));
    let event = remote::command(isolation, &options.keeper, &order, stop, &mut |_| {}).await;
    let problem = |problem: String| SubmissionError::Keeper { scenario: name.clone(), problem };
    let record = match event {
        Ok(Event::Over(RunRecord { end: RunEnd::Stopped, .. })) => return Err(SubmissionError::Stopped),
        Ok(Event::Over(record)) => record,
        Ok(other) => return Err(problem(format!("the keeper said {other:?}"))),
        Err(_) if stop.is_cancelled() => return Err(SubmissionError::Stopped),
        Err(error) => return Err(problem(error)),
    };
    let (exam, options) = (Arc::clone(exam), options.clone());
    blocking(move || {
        if let Some(keep) = &options.keep {
            keep_round(keep, &exam.scenario, number, &path, &record)
                .map_err(SubmissionError::system(format!("write to {}", keep.display())))?;
        }
        let got = read_logs(&path, &exam);
        let (grade, accepted) = exam.grade(got.clone());
        let mut findings =
            findings::find(&record, &grade, &got, &exam.expected, &options.limits, options.tracker_port);
        findings.extend(accepted);
        // Its folder goes when all has been read.
        drop(folder);
        Ok(Round { start_order, findings, grade, run: record })
    })
    .await
}

/// Does what waits for the disk or computes, away from the thread that serves all runs.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SubmissionError> + Send + 'static,
) -> Result<T, SubmissionError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|bug| SubmissionError::system("grade a run")(std::io::Error::other(bug)))?
}

/// The logs that were written. None at all is a grade, not an error.
fn read_logs(folder: &Path, exam: &Exam) -> Logs {
    // A log that is a link or a pipe was not written by the submission.
    for name in exam.expected.clients.keys().map(|id| log_name(*id)).chain([TRACKER_LOG.to_owned()]) {
        if fs::symlink_metadata(folder.join(&name)).is_ok_and(|meta| !meta.is_file()) {
            let _ = fs::remove_file(folder.join(&name));
        }
    }
    Logs::read(folder).unwrap_or_default()
}

fn plan(
    submission: &Submission,
    exam: &Exam,
    folder: &Path,
    number: u32,
    isolation: Isolation,
    options: &SubmissionOptions,
) -> Plan {
    let Exam { scenario, expected, .. } = exam;
    let ids: Vec<PeerId> = scenario.scripts.iter().map(|(_, script)| script.id).collect();
    let count = ids.len().to_string();
    let fill = |words: &[String], id: Option<PeerId>| -> Vec<String> {
        let id_text = id.map(|id| id.to_string()).unwrap_or_default();
        let file = id.map(scratch::script_name).unwrap_or_default();
        let fill = |word: &String| {
            word.replace("{count}", &count).replace("{file}", &file).replace("{id}", &id_text)
        };
        let mut words: Vec<String> = words.iter().map(fill).collect();
        if let Some(program) = words.first_mut().filter(|program| program.contains('/')) {
            *program = folder.join(&program).to_string_lossy().into_owned();
        }
        words
    };
    let client = |id: PeerId| Node {
        id: Some(id),
        words: fill(&submission.client, Some(id)),
        log: log_name(id),
        entries: expected.clients.get(&id).map_or(0, Vec::len),
    };
    let tracker = Node {
        id: None,
        words: fill(&submission.tracker, None),
        log: TRACKER_LOG.into(),
        entries: expected.tracker.as_ref().map_or(0, Vec::len),
    };
    // Whoever starts first gets a port that two draw; otherwise no order of arrival is to matter.
    let one_by_one = ids
        .iter()
        .zip(ports::assign(ids.iter().copied()))
        .any(|(id, addr)| ports::draws(*id).next() != Some(addr.port()));
    let order = if one_by_one { ids } else { shuffled(ids, options.seed.wrapping_add(number)) };
    Plan {
        folder: folder.to_owned(),
        tracker_port: options.tracker_port,
        tracker,
        clients: order.into_iter().map(client).collect(),
        one_by_one,
        own_network: isolation.is_apart(),
        limits: options.limits,
    }
}

/// In an order that `seed` decides.
fn shuffled(mut ids: Vec<PeerId>, seed: u32) -> Vec<PeerId> {
    let mut generator = Mt::new(seed);
    for last in (1..ids.len()).rev() {
        let other = generator.next_u32() as usize % (last + 1);
        ids.swap(last, other);
    }
    ids
}

/// Keeps the logs, and what the processes said.
fn keep_round(
    keep: &Path,
    scenario: &Scenario,
    number: u32,
    from: &Path,
    record: &RunRecord,
) -> std::io::Result<()> {
    let folder = keep.join(&scenario.name).join(number.to_string());
    fs::create_dir_all(&folder)?;
    let ids = scenario.scripts.iter().map(|(_, script)| script.id);
    for name in ids.map(log_name).chain([TRACKER_LOG.to_owned()]) {
        let _ = fs::remove_file(folder.join(&name));
        let is_file = fs::symlink_metadata(from.join(&name)).is_ok_and(|meta| meta.is_file());
        if is_file {
            fs::copy(from.join(&name), folder.join(&name))?;
        }
    }
    for process in &record.processes {
        let name = process.id.map_or_else(|| "bootstrapper".into(), |id| format!("client_{id}"));
        for (stream, said) in [("stdout", &process.stdout), ("stderr", &process.stderr)] {
            if !said.text.is_empty() {
                fs::write(folder.join(format!("{name}.{stream}.txt")), &said.text)?;
            }
        }
    }
    Ok(())
}
