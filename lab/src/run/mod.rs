//! Runs a scenario: over real sockets on loopback, or in virtual time.

pub mod deliver;
mod group;
mod in_process;
mod processes;
mod scratch;
mod simulated;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use askaround_core::clock::Turns;
use askaround_core::id::PeerId;
use askaround_core::message::Timestep;
use askaround_core::peer::PeerConfig;
use askaround_core::tracker::LabConfig;
use tokio_util::sync::CancellationToken;

use askaround_node::delivery::stock::{Delivered, StockError};

use crate::loopback::Loopback;
use crate::scenario::Scenario;
use crate::shell;
use crate::trace::watch::Watcher;
use deliver::Scratch;
pub use simulated::simulate;

/// Where the tracker of a lab run listens, as the assignment has it.
pub const TRACKER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8888);

/// On a busy machine whoever does not hang may take about as long to answer.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// How a scenario is run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The folder for the logs.
    pub out: PathBuf,
    /// Who may act when.
    pub turns: Turns,
    /// How long a peer may take for its turn.
    pub step_timeout: Duration,
    /// How long to wait until everybody has registered.
    pub gather: Duration,
    /// A process a node instead of one for all.
    pub processes: Option<Programs>,
    /// Whether what is obtained is delivered, from whoever was found to have it.
    pub deliver: bool,
    /// Who watches. Programs of others in place of peers are not seen.
    pub watcher: Option<Watcher>,
}

/// The programs of a run with a process a node.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The tracker's.
    pub bootstrapper: PathBuf,
    /// The peers'.
    pub client: PathBuf,
    /// Commands for peers in place of `client`; the last that fits a peer counts.
    pub others: Vec<OtherClient>,
}

/// A command that is a peer (PROTOCOL.md §6, command line).
#[derive(Debug, Clone)]
pub struct OtherClient {
    /// Which peers; all, if `None`.
    pub ids: Option<Vec<PeerId>>,
    /// Its words, with placeholders.
    pub command: Vec<String>,
}

impl std::str::FromStr for OtherClient {
    type Err = String;

    /// `2,4=python3 peer.py {file}` or `all=…`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (ids, command) =
            text.split_once('=').ok_or("expected IDS=COMMAND, for example 2,4=./peer {file}")?;
        let ids = match ids.trim() {
            "all" => None,
            ids => {
                let ids = ids.split(',').map(|id| id.trim().parse::<PeerId>().map_err(|e| e.to_string()));
                Some(ids.collect::<Result<Vec<_>, _>>()?)
            }
        };
        let command = shell::split(command);
        Ok(Self { ids, command: command.ok_or("the command is empty or has an open quote")? })
    }
}

/// What happens during a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunNews {
    /// This timestep is over.
    TimestepOver(Timestep),
    /// Something went wrong, in words; the run goes on.
    Trouble(String),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunReport {
    /// What went wrong, in words; empty if nothing did.
    pub troubles: Vec<String>,
    /// Whether it was stopped before its end.
    pub stopped: bool,
    /// What was delivered, by whom it was wanted; `None` if nothing was to be.
    pub deliveries: Option<Vec<(PeerId, Delivered)>>,
}

/// Why a run could not take place.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The folder for the logs would overwrite the scenario.
    #[error("the logs cannot go to {0}: that is part of the scenario")]
    OutIsScenario(PathBuf),
    /// A fault of a simulated run cannot be.
    #[error(transparent)]
    Fault(crate::world::faults::FaultError),
    /// The content of a peer cannot be used.
    #[error("client {id}: {error}")]
    Content {
        /// Whose.
        id: PeerId,
        /// Why.
        error: StockError,
    },
    /// Something the operating system refused.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What the operating system says.
        source: io::Error,
    },
}

impl RunError {
    fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::System { what, source }
    }
}

/// Runs `scenario` until its end or until `stop` is cancelled. The logs are in `options.out`
/// then, and no log of an earlier run is.
///
/// # Errors
/// If it could not take place at all. What goes wrong in the run is in the report.
pub async fn run(
    scenario: &Scenario,
    options: &RunOptions,
    stop: &CancellationToken,
    news: &mut (dyn FnMut(RunNews) + Send),
) -> Result<RunReport, RunError> {
    prepare(scenario, &options.out)?;
    let loopback =
        Loopback::claim().await.map_err(RunError::system("get a loopback address for this run"))?;
    let scratch = match options.deliver {
        true => Some(Scratch::make(scenario).await?),
        false => None,
    };
    let folder = scratch.as_ref().map(Scratch::path);
    let mut report = match &options.processes {
        None => in_process::run(scenario, options, folder, &loopback, stop, news).await,
        Some(programs) => processes::run(scenario, options, programs, folder, &loopback, stop, news).await,
    }?;
    if let Some(scratch) = scratch {
        report.deliveries = Some(scratch.end(scenario).await?);
    }
    Ok(report)
}

/// Makes the folder and removes the logs of earlier runs.
fn prepare(scenario: &Scenario, out: &Path) -> Result<(), RunError> {
    let making = || format!("make the folder {}", out.display());
    std::fs::create_dir_all(out).map_err(RunError::system(making()))?;
    let same = |other: &Path| matches!((out.canonicalize(), other.canonicalize()), (Ok(a), Ok(b)) if a == b);
    if same(&scenario.folder) || scenario.expected.as_deref().is_some_and(same) {
        return Err(RunError::OutIsScenario(out.to_owned()));
    }
    for entry in
        std::fs::read_dir(out).map_err(RunError::system(format!("read {}", out.display())))?.flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        let number = name.strip_prefix("client_").and_then(|rest| rest.strip_suffix(".json"));
        let is_log = number.is_some_and(|n| n.parse::<PeerId>().is_ok()) || name == "bootstrapper.json";
        if is_log {
            let what = format!("remove the old log {}", entry.path().display());
            std::fs::remove_file(entry.path()).map_err(RunError::system(what))?;
        }
    }
    Ok(())
}

/// Runs what blocks on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// The name of a peer's log.
pub fn log_name(id: PeerId) -> String {
    format!("client_{id}.json")
}

/// The name of the tracker's log.
pub const TRACKER_LOG: &str = "bootstrapper.json";

/// How long a peer of a run waits for an answer, if it has `step_timeout` for its turn: so that several
/// that hang, each of which is waited for once in a turn, do not cost it its own.
pub fn answer_timeout(step_timeout: Duration) -> Duration {
    (step_timeout / 10).clamp(SHORTEST_WAIT, PeerConfig::default().ask_timeout)
}

fn lab_config(scenario: &Scenario, options: &RunOptions) -> LabConfig {
    LabConfig {
        gather: options.gather,
        expect: Some(scenario.scripts.len()),
        turns: options.turns,
        step_timeout: options.step_timeout,
    }
}
