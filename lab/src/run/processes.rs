//! A process a node: our own programs, or others' in place of peers.

use std::process::{ExitStatus, Stdio};

use askaround_core::clock::Turns;
use askaround_core::id::PeerId;
use askaround_node::network::LOOPBACK_VARIABLE;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Programs, RunError, RunNews, RunOptions, RunReport, TRACKER};
use crate::loopback::Loopback;
use crate::ports;
use crate::scenario::Scenario;

/// So much of what a process says on stderr is kept.
const MAX_STDERR: u64 = 16 << 10;

pub(super) async fn run(
    scenario: &Scenario,
    options: &RunOptions,
    programs: &Programs,
    loopback: &Loopback,
    stop: &CancellationToken,
    news: &mut (dyn FnMut(RunNews) + Send),
) -> Result<RunReport, RunError> {
    let mut running = JoinSet::new();
    let tracker = tracker_command(scenario, options, programs);
    start(&mut running, "the tracker".into(), tracker, loopback)?;
    let ids = scenario.scripts.iter().map(|(_, script)| script.id);
    for ((file, script), addr) in scenario.scripts.iter().zip(ports::assign(ids)) {
        let mut words = client_words(programs, script.id).into_iter();
        let fill = |word: String| {
            word.replace("{file}", &file.display().to_string())
                .replace("{id}", &script.id.to_string())
                .replace("{tracker}", &TRACKER.to_string())
                .replace("{port}", &addr.port().to_string())
                .replace("{out}", &options.out.display().to_string())
        };
        let mut command = Command::new(words.next().map(fill).unwrap_or_default());
        command.args(words.map(fill));
        start(&mut running, format!("client {}", script.id), command, loopback)?;
    }
    let mut troubles = Vec::new();
    while !running.is_empty() {
        let ended = tokio::select! {
            // Dropping the set ends every process.
            () = stop.cancelled() => return Ok(RunReport { troubles, stopped: true }),
            Some(ended) = running.join_next() => ended,
        };
        let Ended { name, status, stderr } = match ended {
            Ok(ended) => ended.map_err(RunError::system("wait for a process"))?,
            Err(bug) => {
                troubles.push(format!("a bug of ours: {bug}"));
                continue;
            }
        };
        let said = stderr.trim();
        if !status.success() {
            let trouble = if said.is_empty() {
                format!("{name}: {status}")
            } else {
                format!("{name}: {status}: {said}")
            };
            news(RunNews::Trouble(trouble.clone()));
            troubles.push(trouble);
        } else if !said.is_empty() {
            news(RunNews::Trouble(format!("{name}: {said}")));
        }
    }
    Ok(RunReport { troubles, stopped: false })
}

fn tracker_command(scenario: &Scenario, options: &RunOptions, programs: &Programs) -> Command {
    let mut command = Command::new(&programs.bootstrapper);
    command.arg("--expect").arg(scenario.scripts.len().to_string());
    command.arg("--wait").arg(options.gather.as_secs_f64().to_string());
    command.arg("--step-timeout").arg(options.step_timeout.as_secs_f64().to_string());
    command.arg("--turns").arg(match options.turns {
        Turns::ById => "by-id",
        Turns::Concurrent => "concurrent",
    });
    command.arg("--out").arg(&options.out);
    command
}

fn client_words(programs: &Programs, id: PeerId) -> Vec<String> {
    let fits = |other: &&super::OtherClient| other.ids.as_ref().is_none_or(|ids| ids.contains(&id));
    match programs.others.iter().rev().find(fits) {
        Some(other) => other.command.clone(),
        None => {
            let client = programs.client.display().to_string();
            let words = ["--file", "{file}", "--tracker", "{tracker}", "--port", "{port}", "--out", "{out}"];
            std::iter::once(client).chain(words.map(String::from)).collect()
        }
    }
}

struct Ended {
    name: String,
    status: ExitStatus,
    stderr: String,
}

/// Starts a process that dies when its task is dropped.
fn start(
    running: &mut JoinSet<std::io::Result<Ended>>,
    name: String,
    mut command: Command,
    loopback: &Loopback,
) -> Result<(), RunError> {
    command
        .env(LOOPBACK_VARIABLE, loopback.ip().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let child = command.spawn().map_err(RunError::system(format!("start {program} as {name}")))?;
    running.spawn(wait(name, child));
    Ok(())
}

async fn wait(name: String, mut child: Child) -> std::io::Result<Ended> {
    let mut kept = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        let mut stderr = stderr.take(MAX_STDERR);
        stderr.read_to_end(&mut kept).await?;
        // The rest is read, so that the process does not wait for us, and dropped.
        tokio::io::copy(&mut stderr.into_inner(), &mut tokio::io::sink()).await?;
    }
    let status = child.wait().await?;
    Ok(Ended { name, status, stderr: String::from_utf8_lossy(&kept).into_owned() })
}
