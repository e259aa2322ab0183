//! `askaround lab grade --submission DIR SCENARIO…`: somebody else's programs.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use askaround_lab::scenario::Scenario;
use askaround_lab::submission::{
    Limits, Submission, SubmissionError, SubmissionNews, SubmissionOptions, grade as grade_submission,
};
use indicatif::{ProgressBar, ProgressStyle};

use super::grade_args::{GradeArgs, SubmissionArgs};
use super::pictures::Begun;
use super::shipped;
use crate::exit::{Failure, Stop};
use crate::live::print;

/// How the assignment starts a client.
const CLIENT: &str = "python3 client.py -file {file}";
/// As most programs would have it, this project's own too.
const CLIENT_OTHERWISE: &str = "python3 client.py --file {file}";
/// How the scenarios of the rubric's items are named.
const RUBRIC: &str = "rubric-";

pub(super) async fn grade(args: GradeArgs) -> Result<(), Failure> {
    let stop = Stop::on_signals()?;
    if args.scenario.is_some() {
        return Err(Failure::usage(
            "--scenario goes with two folders of logs; with --submission, name the scenario alone",
        ));
    }
    let run = &args.run;
    let submission = Submission {
        folder: args.submission.clone().unwrap_or_default(),
        tracker: words("--tracker", &run.tracker)?,
        client: words("--client", run.client.as_deref().unwrap_or(CLIENT))?,
        client_otherwise: match run.client {
            Some(_) => None,
            None => Some(words("--client", CLIENT_OTHERWISE)?),
        },
    };
    submission.check().map_err(Failure::usage)?;
    let unpacked = tempfile::tempdir().map_err(|e| Failure::run(format!("no folder for scenarios: {e}")))?;
    let scenarios = scenarios(&args.folders, unpacked.path())?;
    let options = options(run)?;
    // Whatever cannot be written is known before the runs.
    let in_out = |name: &str| run.out.as_ref().map(|folder| folder.join(name));
    let begin = |files: [Option<PathBuf>; 2]| -> Result<Vec<Begun>, Failure> {
        files.iter().flatten().map(|file| Begun::new(file)).collect()
    };
    let results = begin([run.gradescope.clone(), in_out("results.json")])?;
    let pages = begin([run.html.clone(), in_out("report.html")])?;
    let runs = scenarios.len() as u64 * u64::from(options.repeat);
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(runs) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:30}] {pos} of {len} runs, {elapsed}") {
        bar.set_style(style);
    }
    bar.set_message("grading");
    let mut news = |news| match news {
        SubmissionNews::Isolation(isolation, why) => {
            if let Some(why) = why {
                bar.suspend(|| {
                    crate::plain::say!("askaround: runs have {isolation}; this system allows no more: {why}");
                });
            }
        }
        SubmissionNews::RunOver { scenario, right, .. } => {
            bar.set_message(format!("{scenario}: {}", if right { "right" } else { "wrong" }));
            bar.inc(1);
        }
    };
    let graded = grade_submission(&submission, scenarios, &options, stop.token(), &mut news).await;
    bar.finish_and_clear();
    let grade = graded.map_err(|error| match error {
        SubmissionError::Stopped => {
            crate::plain::say!("askaround: stopped; everything that was started has ended");
            stop.failure()
        }
        SubmissionError::Unusable { .. } | SubmissionError::TooLarge { .. } => Failure::usage(error),
        error => Failure::run(error),
    })?;
    let for_gradescope = serde_json::to_string_pretty(&grade.gradescope()).map_err(Failure::run)?;
    for file in results {
        file.finish("table of results", |out| out.write_all(for_gradescope.as_bytes()))?;
    }
    for file in pages {
        file.finish("report", |out| out.write_all(grade.html().as_bytes()))?;
    }
    if args.json {
        let text = serde_json::to_string_pretty(&grade).map_err(Failure::run)?;
        print(&format!("{text}\n"))?;
    } else {
        print(&grade.render())?;
    }
    if grade.all_right() { Ok(()) } else { Err(Failure::Shown(1)) }
}

fn words(option: &str, command: &str) -> Result<Vec<String>, Failure> {
    let words = askaround_lab::shell::split(command);
    words.ok_or_else(|| {
        Failure::usage(format!("{option}: the command is empty or has an open quote: {command}"))
    })
}

fn options(run: &SubmissionArgs) -> Result<SubmissionOptions, Failure> {
    let me = std::env::current_exe().map_err(Failure::run)?;
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Ok(SubmissionOptions {
        keeper: vec![me.into(), "lab".into(), "keep".into()],
        isolation: run.isolation.into(),
        limits: Limits {
            time: run.time,
            start: run.start,
            stall: run.stall,
            grace: run.grace,
            memory: run.memory << 20,
            output: run.output << 20,
            written: run.disk << 20,
            extra_processes: run.processes as usize,
        },
        jobs: run.jobs.map_or(processors, usize::from),
        repeat: run.repeat,
        seed: run.seed,
        tracker_port: run.port,
        keep: run.out.as_ref().map(|folder| folder.join("logs")),
    })
}

/// The scenarios that are named, or those of the rubric. Those that come with askaround are
/// unpacked into `unpacked`.
fn scenarios(named: &[PathBuf], unpacked: &Path) -> Result<Vec<Scenario>, Failure> {
    let of_rubric = shipped::names().into_iter().filter(|name| name.starts_with(RUBRIC));
    let wanted = match named {
        [] => of_rubric.map(PathBuf::from).collect(),
        named => named.to_vec(),
    };
    let read = |name: &PathBuf| {
        let folder = match name.to_str().filter(|name| shipped::names().contains(name)) {
            _ if !named.is_empty() && name.is_dir() => name.clone(),
            Some(name) => shipped::unpack(name, unpacked)
                .map_err(|e| Failure::run(format!("cannot unpack the scenario {name}: {e}")))?,
            None => return Err(Failure::usage(shipped::unknown_name(&name.to_string_lossy()))),
        };
        Scenario::read(&folder).map_err(Failure::usage)
    };
    wanted.iter().map(read).collect()
}
