//! `askaround lab grade --submission DIR SCENARIO…`: somebody else's programs.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use askaround_lab::scenario::Scenario;
use askaround_lab::submission::{
    Limits, Submission, SubmissionError, SubmissionNews, SubmissionOptions, grade as grade_submission,
};
use indicatif::{ProgressBar, ProgressStyle};

use super::grade_args::{GradeArgs, SubmissionArgs};
use crate::exit::{Failure, Stop};
use crate::live::print;

/// Names a folder of scenarios to look into, in place of those that are found.
const SCENARIOS_VARIABLE: &str = "ASKAROUND_SCENARIOS";
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
        client: words("--client", &run.client)?,
    };
    submission.check().map_err(Failure::usage)?;
    let scenarios = scenarios(&args.folders)?;
    let options = options(run)?;
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
                    eprintln!("askaround: runs have {isolation}; this system allows no more: {why}");
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
            eprintln!("askaround: stopped; everything that was started has ended");
            stop.failure()
        }
        SubmissionError::Unusable { .. } | SubmissionError::TooLarge { .. } => Failure::usage(error),
        error => Failure::run(error),
    })?;
    let in_out = |name: &str| run.out.as_ref().map(|folder| folder.join(name));
    let results = serde_json::to_string_pretty(&grade.gradescope()).map_err(Failure::run)?;
    for file in run.gradescope.iter().chain(&in_out("results.json")) {
        write(file, &results)?;
    }
    for file in run.html.iter().chain(&in_out("report.html")) {
        write(file, &grade.html())?;
    }
    if args.json {
        let text = serde_json::to_string_pretty(&grade).map_err(Failure::run)?;
        print(&format!("{text}\n"))?;
    } else {
        print(&grade.render())?;
    }
    if grade.all_right() { Ok(()) } else { Err(Failure::Shown) }
}

/// Writes a report as a whole, and the folder for it.
fn write(file: &Path, text: &str) -> Result<(), Failure> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let made = folder.map_or(Ok(()), std::fs::create_dir_all);
    made.and_then(|()| askaround_node::log_file::replace(file, text.as_bytes()))
        .map_err(|e| Failure::run(format!("cannot write {}: {e}", file.display())))
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
            ..Limits::default()
        },
        jobs: run.jobs.map_or(processors, usize::from),
        repeat: run.repeat,
        seed: run.seed,
        tracker_port: run.port,
        keep: run.out.as_ref().map(|folder| folder.join("logs")),
    })
}

/// The scenarios that are named, or those of the rubric.
fn scenarios(named: &[PathBuf]) -> Result<Vec<Scenario>, Failure> {
    let shipped = shipped();
    let folders = if named.is_empty() {
        let folder = shipped.unwrap_or_default();
        let of_rubric = names(&folder).into_iter().filter(|name| name.starts_with(RUBRIC));
        let folders: Vec<_> = of_rubric.map(|name| folder.join(name)).collect();
        if folders.is_empty() {
            return Err(Failure::usage(format!(
                "no scenario is named, and the ones that come with askaround are not found: name a folder, or set {SCENARIOS_VARIABLE}"
            )));
        }
        folders
    } else {
        named.iter().map(|name| find(name, shipped.as_deref())).collect::<Result<_, _>>()?
    };
    folders.iter().map(|folder| Scenario::read(folder).map_err(Failure::usage)).collect()
}

/// A folder, or the name of a shipped scenario.
fn find(name: &Path, shipped: Option<&Path>) -> Result<PathBuf, Failure> {
    if name.is_dir() {
        return Ok(name.to_owned());
    }
    let plain = name.components().count() == 1;
    if let Some(folder) = shipped.map(|shipped| shipped.join(name)).filter(|folder| plain && folder.is_dir())
    {
        return Ok(folder);
    }
    let text = name.display();
    let Some(shipped) = shipped else {
        return Err(Failure::usage(format!(
            "there is no folder {text}, and the scenarios that come with askaround are not found: set {SCENARIOS_VARIABLE}"
        )));
    };
    let wanted = name.to_string_lossy().into_owned();
    let close: Vec<_> = names(shipped).into_iter().filter(|name| is_close(name, &wanted)).collect();
    let hint = match close.as_slice() {
        [] => format!("those of {} are: {}", shipped.display(), names(shipped).join(", ")),
        close => format!("is one of these meant: {}?", close.join(", ")),
    };
    Err(Failure::usage(format!(
        "there is no scenario {text}: neither a folder nor one that comes with askaround\n{hint}"
    )))
}

/// Shares a word with it: `hint` is close to `rubric-04-hints`.
fn is_close(name: &str, wanted: &str) -> bool {
    let words = wanted.split(['-', '_', '/', '.']).filter(|word| word.len() > 2 && *word != "rubric");
    words.into_iter().any(|word| name.contains(word.trim_end_matches('s')))
}

/// The folder of the scenarios that come with askaround: as the environment says, or in this
/// folder or one around it, or around the program.
fn shipped() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os(SCENARIOS_VARIABLE) {
        return Some(PathBuf::from(folder));
    }
    let here = std::env::current_dir().ok();
    let program = std::env::current_exe().ok();
    let around = |path: &Path| {
        let folders = path.ancestors().map(|folder| folder.join("scenarios"));
        folders.into_iter().find(|folder| folder.join("rubric-04-hints").is_dir())
    };
    here.as_deref().and_then(around).or_else(|| program.as_deref().and_then(around))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().is_dir());
    let mut names: Vec<_> = folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
