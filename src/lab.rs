//! The lab's commands.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use askaround_core::log::LogEntry;
use askaround_core::script::Script;
use askaround_lab::grade::Logs;
use askaround_lab::run::{Programs, RunNews, RunOptions, TRACKER_LOG, log_name};
use askaround_lab::scenario::Scenario;
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::{GradeArgs, LabCommand, RunArgs};
use crate::exit::{Failure, Stop};
use crate::live::print;
use crate::table;

/// How long everybody may take to register.
const GATHER: Duration = Duration::from_secs(30);

/// Runs a lab command.
///
/// # Errors
/// As the command fails.
pub async fn run(command: LabCommand) -> Result<(), Failure> {
    match command {
        LabCommand::Run(args) => run_scenario(args).await,
        LabCommand::Grade(args) => grade(&args),
    }
}

async fn run_scenario(args: RunArgs) -> Result<(), Failure> {
    let stop = Stop::on_signals()?;
    let scenario = Scenario::read(&args.dir).map_err(Failure::usage)?;
    for warning in &scenario.warnings {
        eprintln!("askaround: {warning}");
    }
    let expected = scenario.expected.as_deref().map(read_expected).transpose()?;
    let out = args.out.clone().unwrap_or_else(|| Path::new("logs").join(&scenario.name));
    let options = RunOptions {
        out: out.clone(),
        turns: args.turns.into(),
        step_timeout: args.step_timeout,
        gather: GATHER,
        processes: args.processes.then(|| programs(&args)).transpose()?,
    };
    let mut first: Option<ByName> = None;
    let mut differing = 0;
    for round in 1..=args.repeat {
        let report = one_run(&scenario, &options, &stop, round, args.repeat).await?;
        if report.stopped {
            eprintln!("askaround: stopped; the logs so far are in {}", out.display());
            return Err(stop.failure());
        }
        let logs = read_logs(&scenario, &out)?;
        if !report.troubles.is_empty() {
            return Err(Failure::run(format!(
                "the run did not go well, see above; its logs are in {}",
                out.display()
            )));
        }
        match &first {
            None => first = Some(logs),
            Some(first) if *first == logs => {}
            Some(first) => {
                differing += 1;
                let names: Vec<_> = logs
                    .iter()
                    .filter(|(n, log)| first.get(*n) != Some(log))
                    .map(|(n, _)| n.as_str())
                    .collect();
                eprintln!("askaround: run {round} differs from run 1 in {}", names.join(", "));
            }
        }
    }
    let logs = first.unwrap_or_default();
    if args.repeat > 1 && !args.json {
        let same = args.repeat - differing;
        print(&format!("{same} of {} runs gave the logs of the first\n", args.repeat))?;
    }
    let compared = finish(&args, &scenario, &out, &logs, expected.as_ref());
    if differing > 0 { compared.and(Err(Failure::Shown)) } else { compared }
}

type ByName = BTreeMap<String, Vec<LogEntry>>;

async fn one_run(
    scenario: &Scenario,
    options: &RunOptions,
    stop: &Stop,
    round: u32,
    rounds: u32,
) -> Result<askaround_lab::run::RunReport, Failure> {
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
        RunNews::Trouble(text) => bar.suspend(|| eprintln!("askaround: {text}")),
    };
    let report = askaround_lab::run::run(scenario, options, stop.token(), &mut news).await;
    bar.finish_and_clear();
    report.map_err(|e| match e {
        askaround_lab::run::RunError::OutIsScenario(_) => Failure::usage(e),
        e => Failure::run(e),
    })
}

/// The programs that are installed beside this one.
fn programs(args: &RunArgs) -> Result<Programs, Failure> {
    let me = std::env::current_exe().map_err(Failure::run)?;
    let beside = |name: &str| -> Result<PathBuf, Failure> {
        let path = me.with_file_name(name);
        let missing = || Failure::run(format!("{} is missing: --processes needs it", path.display()));
        if path.is_file() { Ok(path.clone()) } else { Err(missing()) }
    };
    Ok(Programs {
        bootstrapper: beside("bootstrapper")?,
        client: beside("client")?,
        others: args.client.clone(),
    })
}

fn read_logs(scenario: &Scenario, folder: &Path) -> Result<ByName, Failure> {
    let clients = scenario.scripts.iter().map(|(_, script)| log_name(script.id));
    let mut logs = ByName::new();
    for name in clients.chain([TRACKER_LOG.to_owned()]) {
        let path = folder.join(&name);
        if let Ok(bytes) = std::fs::read(&path) {
            let log = serde_json::from_slice(&bytes)
                .map_err(|e| Failure::run(format!("{} is not a log: {e}", path.display())))?;
            logs.insert(name, log);
        }
    }
    Ok(logs)
}

fn finish(
    args: &RunArgs,
    scenario: &Scenario,
    out: &Path,
    logs: &ByName,
    expected: Option<&Logs>,
) -> Result<(), Failure> {
    if !args.quiet && !args.json {
        print(&happened(scenario, logs))?;
    }
    let differing = expected.map(|expected| {
        let differing = expected.by_name().filter(|(name, log)| logs.get(name) != Some(*log));
        differing.map(|(name, _)| name).collect::<Vec<_>>().join(", ")
    });
    let equal = differing.as_ref().map(String::is_empty);
    if args.json {
        let value = serde_json::json!({ "scenario": scenario.name, "logs": logs, "as_expected": equal });
        print(&format!("{value}\n"))?;
    } else {
        print(&format!("logs are in {}\n", out.display()))?;
        if equal == Some(true) {
            print("all logs are as expected\n")?;
        }
    }
    match differing {
        Some(differing) if !differing.is_empty() => {
            let expected = scenario.folder.join(askaround_lab::scenario::EXPECTED);
            Err(Failure::run(format!(
                "not as expected: {differing}\nto see why: askaround lab grade {} {}",
                expected.display(),
                out.display()
            )))
        }
        _ => Ok(()),
    }
}

/// What happened, by timestep and peer.
fn happened(scenario: &Scenario, logs: &ByName) -> String {
    let mut text = scenario.name.clone();
    if let Some(about) = &scenario.about {
        text = format!("{text}: {about}");
    }
    text.push_str("\n\n");
    let mut rows = Vec::new();
    let mut entries = Vec::new();
    for (_, script) in &scenario.scripts {
        for entry in logs.get(&log_name(script.id)).into_iter().flatten().filter(|entry| entry.time > 0) {
            entries.push((entry.time, script.id, &entry.text));
        }
    }
    // Stable: entries of one peer and timestep keep their order.
    entries.sort_by_key(|(time, id, _)| (*time, *id));
    rows.push(vec!["0".into(), "all".into(), format!("{} clients registered", scenario.scripts.len())]);
    let mut last = 0;
    for (time, id, what) in entries {
        let shown = if time == last { String::new() } else { time.to_string() };
        last = time;
        rows.push(vec![shown, id.to_string(), what.clone()]);
    }
    text + &table::render(&["TIME", "PEER", "WHAT HAPPENED"], &rows) + "\n"
}

fn grade(args: &GradeArgs) -> Result<(), Failure> {
    let expected = read_expected(&args.expected)?;
    let got = Logs::read(&args.got).map_err(Failure::usage)?;
    let scripts = scripts_for(args)?;
    let grade = askaround_lab::grade::grade(&expected, &got, &scripts);
    if args.json {
        let text = serde_json::to_string_pretty(&grade).map_err(Failure::run)?;
        print(&format!("{text}\n"))?;
    } else {
        print(&grade.render())?;
    }
    if grade.equal { Ok(()) } else { Err(Failure::Shown) }
}

/// Logs to compare with: every one of them must be usable.
fn read_expected(folder: &Path) -> Result<Logs, Failure> {
    let logs = Logs::read(folder).map_err(Failure::usage)?;
    match logs.unusable.first_key_value() {
        Some((name, problem)) => Err(Failure::usage(format!("{}: {problem}", folder.join(name).display()))),
        None => Ok(logs),
    }
}

/// The scenario's scripts: with them, what each client held at the start is known.
fn scripts_for(args: &GradeArgs) -> Result<Vec<Script>, Failure> {
    let scripts = |scenario: Scenario| scenario.scripts.into_iter().map(|(_, script)| script).collect();
    if let Some(folder) = &args.scenario {
        return Ok(scripts(Scenario::read(folder).map_err(Failure::usage)?));
    }
    // The folder around the expected logs is the scenario, if it has scripts.
    let around = args.expected.canonicalize().ok().and_then(|path| path.parent().map(Path::to_owned));
    Ok(around.and_then(|folder| Scenario::read(&folder).ok()).map(scripts).unwrap_or_default())
}
