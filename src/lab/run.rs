//! `askaround lab run`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use askaround_lab::run::{Programs, RunError, RunNews, RunOptions, RunReport};
use askaround_lab::scenario::Scenario;
use askaround_lab::trace::watch::Watcher;
use askaround_lab::trace::{Header, How};
use indicatif::{ProgressBar, ProgressStyle};

use super::deliveries;
use super::logs::{self, ByName, Shown};
use super::pictures::Pictures;
use crate::args::RunArgs;
use crate::exit::{Failure, Stop};
use crate::live::print;

/// How long everybody may take to register.
const GATHER: Duration = Duration::from_secs(30);

/// Plays a scenario over real sockets.
pub(super) async fn run(args: RunArgs) -> Result<(), Failure> {
    // Not left to the parser, to which a variable that says no is an option that was given.
    if args.json && args.quiet {
        return Err(Failure::usage(
            "--json (or ASKAROUND_JSON) and --quiet do not go together: leave one out",
        ));
    }
    if !args.client.is_empty() && !args.processes {
        return Err(Failure::usage("--client needs --processes: another program is a process of its own"));
    }
    if args.deliver && !args.client.is_empty() {
        return Err(Failure::usage(
            "--deliver does not go with --client: another program keeps no content that it could send",
        ));
    }
    let scenario = Scenario::read(&args.dir).map_err(Failure::usage)?;
    for warning in &scenario.warnings {
        crate::plain::say!("askaround: {warning}");
    }
    let expected = scenario.expected.as_deref().map(logs::read_expected).transpose()?;
    // Not before the files are read: one of them may be a pipe that nobody writes to.
    let stop = Stop::on_signals()?;
    let out = args.out.clone().unwrap_or_else(|| Path::new("logs").join(&scenario.name));
    let mut pictures = Some(begin_pictures(&args, &scenario, &out)?);
    let mut options = RunOptions {
        out: out.clone(),
        turns: args.turns.into(),
        step_timeout: args.step_timeout,
        gather: GATHER,
        processes: args.processes.then(|| programs(&args)).transpose()?,
        deliver: args.deliver,
        watcher: None,
    };
    let mut first: Option<ByName> = None;
    let mut delivered = None;
    let mut differing = 0;
    let mut drawn = Ok(());
    for round in 1..=args.repeat {
        // The first run is the one that is drawn.
        let pictures = pictures.take().filter(|_| args.pictures.any());
        options.watcher = match pictures {
            Some(_) => Some(Watcher::new(Header::of(&scenario, How::Sockets).map_err(Failure::usage)?)),
            None => None,
        };
        let report = one_run(&scenario, &options, &stop, round, args.repeat).await?;
        if let (Some(pictures), Some(watcher)) = (pictures, &options.watcher) {
            drawn = pictures.draw(&watcher.finish());
        }
        if report.stopped {
            crate::plain::say!("askaround: stopped; the logs so far are in {}", out.display());
            return logs::verdict_and_pictures(Err(stop.failure()), drawn);
        }
        for failed in report.deliveries.iter().flat_map(deliveries::failed) {
            crate::plain::say!("askaround: {failed}");
        }
        let logs = logs::read_logs(&scenario, &out)?;
        if !report.troubles.is_empty() {
            let verdict = Failure::run(format!(
                "the run did not go well, see above; its logs are in {}",
                out.display()
            ));
            return logs::verdict_and_pictures(Err(verdict), drawn);
        }
        match &first {
            None => (first, delivered) = (Some(logs), report.deliveries),
            Some(first) if *first == logs => {}
            Some(first) => {
                differing += 1;
                let names: Vec<_> = logs
                    .iter()
                    .filter(|(n, log)| first.get(*n) != Some(log))
                    .map(|(n, _)| n.as_str())
                    .collect();
                crate::plain::say!("askaround: run {round} differs from run 1 in {}", names.join(", "));
            }
        }
    }
    let logs = first.unwrap_or_default();
    if args.repeat > 1 && !args.json {
        let same = args.repeat - differing;
        print(&format!("{same} of {} runs gave the logs of the first\n", args.repeat))?;
    }
    let shown = Shown::new(args.json, args.quiet);
    let compared = logs::finish(shown, &scenario, &out, &logs, expected.as_ref(), delivered.as_ref());
    let verdict = if differing > 0 { compared.and(Err(Failure::Shown(1))) } else { compared };
    logs::verdict_and_pictures(verdict, drawn)
}

/// Whatever cannot be written is known before the run.
fn begin_pictures(args: &RunArgs, scenario: &Scenario, out: &Path) -> Result<Pictures, Failure> {
    if !args.client.is_empty() && args.pictures.any() {
        return Err(Failure::usage(
            "programs of --client do not say what they see: leave --client away to get a trace or a picture",
        ));
    }
    args.pictures.begin(scenario, out)
}

async fn one_run(
    scenario: &Scenario,
    options: &RunOptions,
    stop: &Stop,
    round: u32,
    rounds: u32,
) -> Result<RunReport, Failure> {
    let last = scenario.scripts.iter().map(|(_, script)| script.end()).max().unwrap_or(0);
    let bar =
        if std::io::stderr().is_terminal() { ProgressBar::new(last.into()) } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template("{msg} [{bar:30}] timestep {pos} of {len}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    let run = if rounds > 1 { format!(", run {round} of {rounds}") } else { String::new() };
    bar.set_message(format!("{} peers{run}", scenario.scripts.len()));
    let mut news = |news| match news {
        RunNews::TimestepOver(time) => bar.set_position(time.into()),
        RunNews::Trouble(text) => bar.suspend(|| crate::plain::say!("askaround: {text}")),
    };
    let report = askaround_lab::run::run(scenario, options, stop.token(), &mut news).await;
    bar.finish_and_clear();
    report.map_err(|e| match e {
        RunError::OutIsScenario(_) => Failure::usage(e),
        e => Failure::run(e),
    })
}

/// The programs that are installed beside this one.
fn programs(args: &RunArgs) -> Result<Programs, Failure> {
    let me = std::env::current_exe().map_err(Failure::run)?;
    let beside = |name: &str| -> Result<PathBuf, Failure> {
        let path = me.with_file_name(name);
        let missing = || {
            let path = path.display();
            Failure::run(format!(
                "{path} is missing: --processes needs it. `cargo build --release` makes all three programs, \
                 `cargo install --path . --locked` installs them"
            ))
        };
        if path.is_file() { Ok(path.clone()) } else { Err(missing()) }
    };
    Ok(Programs {
        bootstrapper: beside("bootstrapper")?,
        client: beside("client")?,
        others: args.client.clone(),
    })
}
