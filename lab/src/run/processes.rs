//! A process a node: our own programs, or others' in place of peers. Each has a process group of
//! its own, and the whole group is ended with it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use askaround_core::clock::Turns;
use askaround_core::id::PeerId;
use askaround_core::message::Timestep;
use serde::de::IgnoredAny;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::group::{Ended, Group};
use super::{Programs, RunError, RunNews, RunOptions, RunReport, TRACKER, TRACKER_LOG};
use crate::loopback::Loopback;
use crate::ports;
use crate::scenario::Scenario;
use crate::trace::Host;
use crate::trace::diary::Diaries;

/// How often the tracker's log is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Who ends before the tracker's log says that the run has begun may have been faster than it.
const BEGIN: Duration = Duration::from_secs(1);

pub(super) async fn run(
    scenario: &Scenario,
    options: &RunOptions,
    programs: &Programs,
    content: Option<&Path>,
    loopback: &Loopback,
    stop: &CancellationToken,
    news: &mut (dyn FnMut(RunNews) + Send),
) -> Result<RunReport, RunError> {
    // Dropping the set ends every process and its group.
    let mut running = JoinSet::new();
    let ending = CancellationToken::new();
    let diaries = match options.watcher {
        Some(_) => Some(Diaries::new().map_err(RunError::system("make a folder for diaries"))?),
        None => None,
    };
    let folders = Folders { content, diaries: diaries.as_ref() };
    start_all(scenario, options, programs, &folders, loopback, &mut running, &ending)?;
    let mut progress = Progress::new(options.out.join(TRACKER_LOG));
    let mut report = RunReport { troubles: Vec::new(), stopped: false, deliveries: None };
    let mut look = tokio::time::interval(LOOK);
    while !running.is_empty() {
        let ended = tokio::select! {
            () = stop.cancelled(), if !report.stopped => {
                report.stopped = true;
                ending.cancel();
                continue;
            }
            _ = look.tick() => {
                progress.look(news);
                continue;
            }
            Some(ended) = running.join_next() => ended,
        };
        let ended = match ended {
            Ok(ended) => ended.map_err(RunError::system("wait for a process"))?,
            Err(bug) => {
                report.troubles.push(format!("a bug of ours: {bug}"));
                continue;
            }
        };
        // What is ended on purpose is no trouble.
        let on_purpose = ending.is_cancelled();
        let trouble = match on_purpose {
            true => None,
            false if progress.has_begun_soon(news).await => trouble(&ended, ""),
            // Without it the tracker would wait in vain for everybody to register.
            false => {
                ending.cancel();
                trouble(&ended, " before the run began")
                    .or_else(|| Some(format!("{}: ended before the run began, without a word", ended.name)))
            }
        };
        if let Some(trouble) = trouble {
            news(RunNews::Trouble(trouble.clone()));
            report.troubles.push(trouble);
        } else if !on_purpose && !ended.said().is_empty() {
            news(RunNews::Trouble(format!("{}: {}", ended.name, ended.said())));
        }
    }
    if let (Some(diaries), Some(watcher)) = (diaries, &options.watcher) {
        let read = diaries.read(scenario).await.map_err(RunError::system("read what a process saw"))?;
        for host in read.missing {
            news(RunNews::Trouble(format!("{host}: what it saw is missing from the trace")));
        }
        watcher.read(read.diaries);
    }
    Ok(report)
}

/// Where processes find what is theirs.
struct Folders<'a> {
    content: Option<&'a Path>,
    diaries: Option<&'a Diaries>,
}

impl Folders<'_> {
    /// What the program of this host is told of them.
    fn tell(&self, host: Host, command: &mut Command) {
        if let (Some(content), Host::Peer(_)) = (self.content, host) {
            command.arg("--deliver").arg(content);
        }
        if let Some(diaries) = self.diaries {
            command.arg("--diary").arg(diaries.of(host));
        }
    }
}

/// A failure in words.
fn trouble(ended: &Ended, when: &str) -> Option<String> {
    let colon = if ended.said().is_empty() { "" } else { ": " };
    let failed = !ended.status.success();
    failed.then(|| format!("{}: {}{when}{colon}{}", ended.name, ended.status, ended.said()))
}

fn start_all(
    scenario: &Scenario,
    options: &RunOptions,
    programs: &Programs,
    folders: &Folders<'_>,
    loopback: &Loopback,
    running: &mut JoinSet<std::io::Result<Ended>>,
    ending: &CancellationToken,
) -> Result<(), RunError> {
    let mut start = |name: String, command: Command| {
        let program = command.as_std().get_program().to_string_lossy().into_owned();
        let group = Group::start(&name, command, loopback);
        let group = group.map_err(RunError::system(format!("start {program} as {name}")))?;
        running.spawn(group.wait(ending.clone()));
        Ok(())
    };
    let mut tracker = tracker_command(scenario, options, programs);
    folders.tell(Host::Tracker, &mut tracker);
    start("the tracker".into(), tracker)?;
    let ids = scenario.scripts.iter().map(|(_, script)| script.id);
    for ((file, script), addr) in scenario.scripts.iter().zip(ports::assign(ids)) {
        let (words, own) = client_words(programs, script.id);
        let mut words = words.into_iter();
        let fill = |word: String| {
            word.replace("{file}", &file.display().to_string())
                .replace("{id}", &script.id.to_string())
                .replace("{tracker}", &TRACKER.to_string())
                .replace("{port}", &addr.port().to_string())
                .replace("{out}", &options.out.display().to_string())
        };
        let mut command = Command::new(words.next().map(fill).unwrap_or_default());
        command.args(words.map(fill));
        if own {
            command.arg("--step-timeout").arg(options.step_timeout.as_secs_f64().to_string());
            folders.tell(Host::Peer(script.id), &mut command);
        }
        start(format!("client {}", script.id), command)?;
    }
    Ok(())
}

/// How far the run is, as the tracker's log has it.
struct Progress {
    log: PathBuf,
    seen: Option<(u64, SystemTime)>,
    entries: usize,
}

impl Progress {
    fn new(log: PathBuf) -> Self {
        Self { log, seen: None, entries: 0 }
    }

    /// Looks again, and tells of each timestep that is over.
    fn look(&mut self, news: &mut (dyn FnMut(RunNews) + Send)) {
        let now =
            std::fs::metadata(&self.log).ok().and_then(|meta| Some((meta.len(), meta.modified().ok()?)));
        if now == self.seen {
            return;
        }
        self.seen = now;
        let log = std::fs::read(&self.log).unwrap_or_default();
        let entries = serde_json::from_slice::<Vec<IgnoredAny>>(&log).map_or(0, |entries| entries.len());
        for time in self.entries..entries {
            news(RunNews::TimestepOver(Timestep::try_from(time).unwrap_or(Timestep::MAX)));
        }
        self.entries = self.entries.max(entries);
    }

    /// Whether timestep 0 is over, or will be in a moment.
    async fn has_begun_soon(&mut self, news: &mut (dyn FnMut(RunNews) + Send)) -> bool {
        let give_up = tokio::time::Instant::now() + BEGIN;
        loop {
            self.look(news);
            if self.entries > 0 {
                return true;
            }
            if tokio::time::Instant::now() > give_up {
                return false;
            }
            tokio::time::sleep(LOOK / 4).await;
        }
    }
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

/// The words of a peer's command, and whether it is our own program.
fn client_words(programs: &Programs, id: PeerId) -> (Vec<String>, bool) {
    let fits = |other: &&super::OtherClient| other.ids.as_ref().is_none_or(|ids| ids.contains(&id));
    match programs.others.iter().rev().find(fits) {
        Some(other) => (other.command.clone(), false),
        None => {
            let client = programs.client.display().to_string();
            let words = ["--file", "{file}", "--tracker", "{tracker}", "--port", "{port}", "--out", "{out}"];
            (std::iter::once(client).chain(words.map(String::from)).collect(), true)
        }
    }
}
