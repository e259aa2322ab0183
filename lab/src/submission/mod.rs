//! Somebody else's tracker and clients, started as the assignment says, each run apart from
//! everything else, and graded by the logs that they write.
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`check`](Submission::check) | whether the folder has what its commands need |
//! | `scratch` | a copy of the submission for each run |
//! | [`isolation`] | namespaces, where the system allows them |
//! | [`keeper`] | the process that runs one scenario and ends all that was started |
//! | `remote` | starts keepers and listens to them |
//! | `plan` | what is said between the two |
//! | `exam` | what is expected, and what else is right |
//! | `round` | one run of one scenario |
//! | `findings`, `endings` | what happened, in words; how processes ended |
//! | `report` | for people, for Gradescope, as a page |
//!
//! This is no prison: a submission runs as whoever starts it, and can read what they can read.

mod check;
mod endings;
mod exam;
mod findings;
pub mod isolation;
pub mod keeper;
mod plan;
mod remote;
mod report;
mod round;
mod scratch;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::grade::RubricLine;
use crate::scenario::Scenario;
use exam::Exam;
pub use findings::{Finding, FindingKind};
use isolation::Isolation;
pub use plan::{Ended, Exceeded, Limits, ProcessRecord, RunEnd, RunRecord, Said};
pub use round::Round;
use round::StartedAs;

/// What was handed in, and how it is started.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Its folder.
    pub folder: PathBuf,
    /// The words that start the tracker. `{count}` is the number of clients.
    pub tracker: Vec<String>,
    /// The words that start a client. `{file}` is its script, `{id}` its id.
    pub client: Vec<String>,
    /// Other words for that, if nobody said which: they are tried where every client that is
    /// started by [`Submission::client`] fails at once.
    pub client_otherwise: Option<Vec<String>>,
}

/// How a submission is run.
#[derive(Debug, Clone)]
pub struct SubmissionOptions {
    /// The words that start a process that calls [`keeper::keep`].
    pub keeper: Vec<OsString>,
    /// How runs are kept apart; as well as the system allows, if `None`.
    pub isolation: Option<Isolation>,
    /// What each run may use.
    pub limits: Limits,
    /// So many runs at once, where they are kept apart.
    pub jobs: usize,
    /// So many runs of each scenario.
    pub repeat: u32,
    /// Decides the order in which clients are started.
    pub seed: u32,
    /// Where the tracker is expected to listen.
    pub tracker_port: u16,
    /// A folder for the logs and for what was said, one a run.
    pub keep: Option<PathBuf>,
}

/// What happens meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubmissionNews {
    /// How runs are kept apart, and why not better.
    Isolation(Isolation, Option<String>),
    /// A run is over.
    RunOver {
        /// The scenario.
        scenario: String,
        /// Which run of it, from 1.
        round: u32,
        /// Whether all logs were right.
        right: bool,
    },
}

/// Why a submission could not be graded.
#[derive(Debug, thiserror::Error)]
pub enum SubmissionError {
    /// It cannot be started as asked.
    #[error("{folder}: {problem}", folder = folder.display())]
    Unusable {
        /// Its folder.
        folder: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// It is too large to copy.
    #[error("{folder}: more than {mebibytes} MiB or {files} files: hand in the programs alone", folder = folder.display())]
    TooLarge {
        /// Its folder.
        folder: PathBuf,
        /// The limit on its size.
        mebibytes: u64,
        /// The limit on the number of its files.
        files: usize,
    },
    /// The isolation that was asked for is not to be had.
    #[error("this system does not allow {wanted}: {why}")]
    NoIsolation {
        /// What was asked for.
        wanted: Isolation,
        /// What the system says.
        why: String,
    },
    /// Without a network of its own, the tracker needs the machine's port.
    #[error("port {port} of this machine is taken, and the runs have no network of their own: {why}")]
    PortTaken {
        /// The port.
        port: u16,
        /// Why there is no network of their own.
        why: String,
    },
    /// A run could not take place.
    #[error("{scenario} could not be run: {problem}")]
    Keeper {
        /// The scenario.
        scenario: String,
        /// What went wrong.
        problem: String,
    },
    /// Something the operating system refused.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// It was told to stop.
    #[error("stopped")]
    Stopped,
}

impl SubmissionError {
    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::System { what, source }
    }
}

/// How good a submission is.
#[derive(Debug, Clone, Serialize)]
pub struct SubmissionGrade {
    /// Its folder.
    pub submission: PathBuf,
    /// Points earned, over all runs.
    pub earned: u32,
    /// Points that could be earned: those of the items that the scenarios exercise.
    pub possible: u32,
    /// The assignment's 12 items, over all runs.
    pub rubric: Vec<RubricLine>,
    /// How many entries were too many: each takes the points of one that is right.
    pub surplus: usize,
    /// How many entries differed that no item asks for: they carry no points.
    pub unscored: usize,
    /// How the runs were kept apart.
    pub isolation: String,
    /// How a client was started.
    pub client: String,
    /// How else it had been tried, where every client failed at once.
    pub client_failed: Option<String>,
    /// How long all of it took, in seconds.
    pub seconds: f64,
    /// Each scenario.
    pub scenarios: Vec<ScenarioGrade>,
}

/// How good a submission is in one scenario.
#[derive(Debug, Clone, Serialize)]
pub struct ScenarioGrade {
    /// Its name.
    pub name: String,
    /// What it shows.
    pub about: Option<String>,
    /// How many runs gave exactly the expected logs.
    pub right: usize,
    /// The runs.
    pub rounds: Vec<Round>,
}

impl SubmissionGrade {
    /// Whether every run of every scenario gave the expected logs.
    pub fn all_right(&self) -> bool {
        self.scenarios.iter().all(ScenarioGrade::is_right)
    }
}

/// Runs `submission` in each of `scenarios` and grades what it writes. Whatever it started has
/// ended when this returns.
///
/// # Errors
/// If it could not be run; what goes wrong in a run is in the grade.
pub async fn grade(
    submission: &Submission,
    scenarios: Vec<Scenario>,
    options: &SubmissionOptions,
    stop: &CancellationToken,
    news: &mut (dyn FnMut(SubmissionNews) + Send),
) -> Result<SubmissionGrade, SubmissionError> {
    submission.check()?;
    let exams = exams(scenarios)?;
    let begun = std::time::Instant::now();
    let isolation = choose(options, news).await?;
    let jobs = if isolation.is_apart() { options.jobs.max(1) } else { 1 };
    let permits = Arc::new(Semaphore::new(jobs));
    // A run that fails stops the others.
    let stop = stop.child_token();
    let mut running = JoinSet::new();
    let started_as = Arc::new(OnceLock::new());
    for (index, exam) in exams.iter().enumerate() {
        for number in 1..=options.repeat {
            let (permits, stop) = (Arc::clone(&permits), stop.clone());
            let (submission, exam) = (submission.clone(), Arc::clone(exam));
            let (options, started_as) = (options.clone(), Arc::clone(&started_as));
            running.spawn(async move {
                let _permit = permits.acquire().await;
                let run =
                    round::Run { submission: &submission, exam: &exam, number, isolation, options: &options };
                let round = run.as_it_starts(&started_as, &stop).await;
                (index, number, round)
            });
        }
    }
    let mut rounds = Vec::new();
    let mut failed = None;
    while let Some(joined) = running.join_next().await {
        let result = match joined {
            Ok((index, number, Ok(round))) => {
                let (scenario, right) = (exams[index].scenario.name.clone(), round.grade.equal);
                news(SubmissionNews::RunOver { scenario, round: number, right });
                rounds.push((index, number, round));
                continue;
            }
            Ok((_, _, Err(error))) => error,
            Err(bug) => SubmissionError::system("run a scenario")(io::Error::other(bug)),
        };
        stop.cancel();
        // The first failure is the reason; the others only stopped.
        failed.get_or_insert(result);
    }
    if let Some(error) = failed {
        return Err(error);
    }
    rounds.sort_by_key(|(index, number, _)| (*index, *number));
    let otherwise = started_as.get() == Some(&StartedAs::Otherwise);
    Ok(sum_up(submission, &exams, rounds, isolation, otherwise, begun.elapsed().as_secs_f64()))
}

/// Reads what is expected before anything is started.
fn exams(scenarios: Vec<Scenario>) -> Result<Vec<Arc<Exam>>, SubmissionError> {
    scenarios.into_iter().map(|scenario| Ok(Arc::new(Exam::new(scenario)?))).collect()
}

async fn choose(
    options: &SubmissionOptions,
    news: &mut (dyn FnMut(SubmissionNews) + Send),
) -> Result<Isolation, SubmissionError> {
    let (isolation, why) = match Isolation::choose(options.isolation, &options.keeper).await {
        Ok(chosen) => chosen,
        Err(why) => {
            let wanted = options.isolation.unwrap_or(Isolation::None);
            return Err(SubmissionError::NoIsolation { wanted, why });
        }
    };
    news(SubmissionNews::Isolation(isolation, why.clone()));
    if !isolation.is_apart() {
        let port = options.tracker_port;
        let addr = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        if let Err(error) = askaround_node::network::Network::default().listen(addr) {
            let why = why.unwrap_or_else(|| error.to_string());
            return Err(SubmissionError::PortTaken { port, why });
        }
    }
    Ok(isolation)
}

fn sum_up(
    submission: &Submission,
    exams: &[Arc<Exam>],
    rounds: Vec<(usize, u32, Round)>,
    isolation: Isolation,
    otherwise: bool,
    seconds: f64,
) -> SubmissionGrade {
    let mut grades: Vec<ScenarioGrade> = exams
        .iter()
        .map(|exam| ScenarioGrade {
            name: exam.scenario.name.clone(),
            about: exam.scenario.about.clone(),
            right: 0,
            rounds: Vec::new(),
        })
        .collect();
    for (index, _, round) in rounds {
        grades[index].right += usize::from(round.grade.equal);
        grades[index].rounds.push(round);
    }
    let all = grades.iter().flat_map(|scenario| &scenario.rounds);
    let rubric = crate::grade::sum(all.clone().map(|round| round.grade.rubric.as_slice()));
    let exercised = || rubric.iter().filter(|line| line.earned.is_some());
    SubmissionGrade {
        submission: submission.folder.clone(),
        earned: exercised().filter_map(|line| line.earned).sum(),
        possible: exercised().map(|line| line.points).sum(),
        isolation: isolation.to_string(),
        client: match (&submission.client_otherwise, otherwise) {
            (Some(words), true) => words.join(" "),
            _ => submission.client.join(" "),
        },
        client_failed: otherwise.then(|| submission.client.join(" ")),
        seconds,
        surplus: all.clone().map(|round| round.grade.surplus).sum(),
        unscored: all.map(|round| round.grade.unscored).sum(),
        rubric,
        scenarios: grades,
    }
}
