//! Traces and pictures as a user asks for them.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use askaround_lab::report::model::Report;
use askaround_lab::trace::read::read;
use askaround_lab::trace::{Trace, What};
use support::{ASKAROUND, run, scenario, stderr, stdout};

fn lab_run(name: &str, out: &Path, more: &[&str]) -> std::process::Output {
    let logs = out.join("logs");
    let dir = scenario(name);
    let mut words = vec!["lab", "run", dir.to_str().unwrap(), "--quiet", "--out", logs.to_str().unwrap()];
    words.extend(more);
    run(ASKAROUND, &words)
}

#[test]
fn a_trace_appears_as_a_whole_and_in_a_new_folder() {
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("new/folder/t.jsonl");
    let output =
        lab_run("corner-hint-loop", out.path(), &["--trace", path.to_str().unwrap(), "--repeat", "2"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("the trace is in "), "{}", stderr(&output));
    let trace = read(&path).unwrap();
    assert_eq!((trace.header.name.as_str(), trace.header.peers.len()), ("corner-hint-loop", 5));
    let beside = fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!(beside, 1, "nothing is left beside it");
}

#[test]
fn who_may_read_what_a_run_writes_is_what_the_umask_says() {
    let (out, dir) = (tempfile::tempdir().unwrap(), scenario("corner-own-key"));
    for (umask, expected) in [("077", 0o600), ("022", 0o644), ("002", 0o664)] {
        let logs = out.path().join(umask);
        let trace = logs.join("t.jsonl");
        let script = format!("umask {umask} && exec \"$@\"");
        let mut run = Command::new("sh");
        run.args(["-c", &script, "sh", ASKAROUND, "lab", "run", dir.to_str().unwrap(), "--quiet"]);
        let output = run.arg("--out").arg(&logs).arg("--trace").arg(&trace).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        for file in [&trace, &logs.join("bootstrapper.json")] {
            let mode = fs::metadata(file).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, expected, "{umask}: {} has {mode:o}", file.display());
        }
    }
}

#[test]
fn what_cannot_be_written_is_said_before_the_run() {
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("file");
    fs::write(&file, "").unwrap();
    let below = file.join("t.jsonl");
    let device = Path::new("/dev/null");
    for (path, problem) in
        [(out.path(), "it is a folder"), (&below, "t.jsonl: "), (device, "it is not a plain file")]
    {
        let output = lab_run("corner-own-key", out.path(), &["--trace", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2));
        let said = stderr(&output);
        assert!(said.contains("cannot write") && said.contains(problem), "{said}");
        assert!(!out.path().join("logs").exists(), "nothing was run");
    }
    let same = out.path().join("same").to_str().unwrap().to_owned();
    for (one, other) in [("--trace", "--svg"), ("--report", "--mermaid")] {
        let output = lab_run("corner-own-key", out.path(), &[one, &same, other, &same]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains("two pictures cannot go to the same file"), "{}", stderr(&output));
    }
}

#[test]
fn programs_of_others_cannot_be_watched() {
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("t.jsonl");
    let more = ["--processes", "--client", "1=./peer {file}", "--trace", path.to_str().unwrap()];
    let output = lab_run("corner-own-key", out.path(), &more);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("leave --client away"), "{}", stderr(&output));
    assert!(!path.exists());
}

/// What is sent once the run goes. In turns only one acts at a time: it is the same every time.
fn steps(trace: &Trace) -> Vec<String> {
    let messages = Report::of(trace).messages.into_iter().filter(|message| message.time > 0);
    messages.map(|m| format!("{:?}", (m.from, m.to, m.text, m.why))).collect()
}

#[test]
fn a_process_a_node_is_traced_as_all_in_one() {
    let out = tempfile::tempdir().unwrap();
    let many_at_once = &["--processes", "--turns", "concurrent", "--deliver"][..];
    let [one, many, at_once] = [&[][..], &["--processes"], many_at_once].map(|how: &[&str]| {
        let path = out.path().join("t.jsonl");
        let output = lab_run("campus-20", out.path(), &[how, &["--trace", path.to_str().unwrap()]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        read(&path).unwrap()
    });
    assert_eq!(steps(&one), steps(&many));
    let kinds = |trace: &Trace| {
        let mut kinds = BTreeMap::<_, usize>::new();
        for event in &trace.events {
            let what = format!("{:?}", event.what);
            let kind = what.split(['(', ' ']).next().unwrap().to_owned();
            *kinds.entry((event.host, kind)).or_default() += 1;
        }
        kinds
    };
    assert_eq!(kinds(&one), kinds(&many));
    let is_here = |what: &What| matches!(what, What::Fetched { failed: None, .. });
    assert_eq!(at_once.events.iter().filter(|event| is_here(&event.what)).count(), 27, "deliveries");
    for trace in [many, at_once] {
        assert!(trace.events.is_sorted_by_key(|event| event.at_ns));
        let (mut sent, mut received) = (BTreeSet::new(), BTreeSet::new());
        for event in &trace.events {
            match event.what {
                What::Send { message, .. } => assert!(sent.insert(message)),
                What::Receive { message, .. } => assert!(sent.contains(&message) && received.insert(message)),
                _ => {}
            }
        }
        assert!(sent == received && sent.len() > 1000, "all that is sent arrives");
    }
}

/// A trace of a shipped scenario.
fn trace(name: &str, out: &Path) -> String {
    let path = out.join("t.jsonl").to_str().unwrap().to_owned();
    let output = lab_run(name, out, &["--trace", &path]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    path
}

#[test]
fn a_run_and_its_replay_draw_the_same() {
    let out = tempfile::tempdir().unwrap();
    let path = |name: &str| out.path().join(name).to_str().unwrap().to_owned();
    let pictures = |prefix: &str| {
        ["report", "svg", "mermaid"].map(|kind| (format!("--{kind}"), path(&format!("{prefix}-{kind}"))))
    };
    let (first, second) = (pictures("run"), pictures("replay"));
    let mut words = vec!["--trace".to_owned(), path("t.jsonl")];
    words.extend(first.iter().flat_map(|(option, path)| [option.clone(), path.clone()]));
    let output =
        lab_run("corner-hint-loop", out.path(), &words.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let trace = path("t.jsonl");
    let mut words = vec!["lab", "replay", &trace];
    words.extend(second.iter().flat_map(|(option, path)| [option.as_str(), path.as_str()]));
    let output = run(ASKAROUND, &words);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for ((_, first), (_, second)) in first.iter().zip(&second) {
        let (first, second) = (fs::read_to_string(first).unwrap(), fs::read_to_string(second).unwrap());
        assert!(first == second && first.len() > 1000, "{first}");
    }
}

#[test]
fn a_replay_without_a_picture_says_what_is_in_the_trace() {
    let out = tempfile::tempdir().unwrap();
    let output = run(ASKAROUND, &["lab", "replay", &trace("corner-hint-loop", out.path())]);
    let said = stdout(&output);
    assert!(
        said.starts_with("corner-hint-loop: ") && said.contains("TIME  PEER  FOUND AT  QUESTIONS  KEY"),
        "{said}"
    );
}

#[test]
fn what_cannot_be_drawn_is_said() {
    let out = tempfile::tempdir().unwrap();
    let trace = trace("campus-20", out.path());
    let script = scenario("campus-20").join("1.json").to_str().unwrap().to_owned();
    let picture = out.path().join("picture").to_str().unwrap().to_owned();
    let cases: &[(&[&str], &str)] = &[
        (&["/nowhere/t.jsonl"], "/nowhere/t.jsonl: cannot be read"),
        (&[&script], "1.json: not a trace: "),
        (&[&trace, "--mermaid", &picture], "906 messages are more than the 400"),
        (&[&trace, "--svg", &picture, "--draw-peers", "99"], "peer 99 did not take part"),
        (&[&trace, "--svg", &picture, "--draw-key", "none"], "nobody asked for or held the key none"),
        (&[&trace, "--svg", &picture, "--draw-times", "13-20"], "no message of this run fits"),
        (&[&trace, "--svg", &picture, "--draw-times", "5-2"], "expected a timestep, or two"),
        (&[&trace, "--report", "/proc/none/r.html"], "cannot write /proc/none/r.html"),
    ];
    for (words, expected) in cases {
        let output = run(ASKAROUND, &[&["lab", "replay"], *words].concat());
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 2, "the logs and the trace, and nothing else");
}

/// Also of a page, which shows everything, and of a population, which is drawn as a whole.
#[test]
fn what_is_shown_is_chosen_only_where_something_shows_it() {
    let out = tempfile::tempdir().unwrap();
    let (dir, picture) = (scenario("corner-hint-loop"), out.path().join("picture"));
    let (dir, picture) = (dir.to_str().unwrap(), picture.to_str().unwrap());
    let nothing_shows_it = "is for what --svg and --mermaid show";
    let cases: &[(&[&str], &str)] = &[
        (&["run", dir, "--draw-peers", "1"], nothing_shows_it),
        (&["run", dir, "--draw-times", "2", "--report", picture], nothing_shows_it),
        (&["run", dir, "--draw-key", "k", "--trace", picture], nothing_shows_it),
        (&["sim", dir, "--draw-clock"], nothing_shows_it),
        (&["replay", "t.jsonl", "--draw-clock"], nothing_shows_it),
        (&["sim", "--peers", "100", "--draw-times", "2"], "is for the messages of a scenario"),
        (&["sim", "--peers", "100", "--draw-clock", "--svg", picture], "is for the messages of a scenario"),
    ];
    for (words, expected) in cases {
        let mut command = Command::new(ASKAROUND);
        let output = command.current_dir(out.path()).arg("lab").args(*words).output().unwrap();
        let option = words.iter().find(|word| word.starts_with("--draw")).unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", stdout(&output));
        assert!(stderr(&output).contains(&format!("{option} {expected}")), "{}", stderr(&output));
    }
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0, "nothing is written");
}

#[test]
fn the_verdict_on_the_logs_comes_before_what_cannot_be_drawn() {
    let out = tempfile::tempdir().unwrap();
    let dir = out.path().join("campus");
    let copied = run(ASKAROUND, &["lab", "scenarios", "campus-20", "--out", out.path().to_str().unwrap()]);
    assert_eq!(copied.status.code(), Some(0), "{}", stderr(&copied));
    fs::rename(out.path().join("campus-20"), &dir).unwrap();
    fs::write(dir.join("expected_outcomes/client_1.json"), "[]").unwrap();
    let picture = out.path().join("p.mmd");
    for command in ["run", "sim"] {
        let logs = out.path().join("logs");
        let words =
            ["lab", command, dir.to_str().unwrap(), "--out", logs.to_str().unwrap(), "--quiet", "--mermaid"];
        let output = run(ASKAROUND, &[&words[..], &[picture.to_str().unwrap()]].concat());
        assert_eq!(output.status.code(), Some(1));
        let said = stderr(&output);
        let verdict = said.find("not as expected: client_1.json").expect("a verdict");
        assert!(said.find("906 messages are more than the 400").expect("the picture") > verdict, "{said}");
        assert!(stdout(&output).contains("logs are in "), "{}", stdout(&output));
    }
}

#[test]
fn pictures_do_not_go_over_what_is_read_or_logged() {
    let out = tempfile::tempdir().unwrap();
    let trace = trace("corner-own-key", out.path());
    let before = fs::read(&trace).unwrap();
    let link = out.path().join("link").to_str().unwrap().to_owned();
    std::os::unix::fs::symlink(&trace, &link).unwrap();
    let logs = out.path().join("logs");
    let log = |name: &str| logs.join(name).to_str().unwrap().to_owned();
    let (one, tracker) = (log("client_1.json"), log("../logs/bootstrapper.json"));
    let dir = scenario("corner-own-key").to_str().unwrap().to_owned();
    let script = format!("{dir}/1.json");
    let rows = format!("{dir}/2.json");
    let over: &[&[&str]] = &[
        &["replay", &trace, "--svg", &trace],
        &["replay", &trace, "--report", &link],
        &["plot", &rows, "--svg", &rows],
        &["run", &dir, "--out", logs.to_str().unwrap(), "--trace", &one],
        &["sim", &dir, "--out", logs.to_str().unwrap(), "--svg", &tracker],
        &["run", &dir, "--out", logs.to_str().unwrap(), "--mermaid", &script],
    ];
    for words in over {
        let output = run(ASKAROUND, &[&["lab"], *words].concat());
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(stderr(&output).contains("name another file for the picture"), "{}", stderr(&output));
    }
    assert_eq!(fs::read(&trace).unwrap(), before);
}

#[test]
fn a_simulated_run_is_traced_and_drawn_as_one_over_sockets() {
    let out = tempfile::tempdir().unwrap();
    let path = |name: &str| out.path().join(name).to_str().unwrap().to_owned();
    let (logs, trace, page) = (path("logs"), path("t.jsonl"), path("r.html"));
    let dir = scenario("campus-20").to_str().unwrap().to_owned();
    let words = ["lab", "sim", &dir, "--quiet", "--out", &logs, "--trace", &trace, "--report", &page];
    let output = run(ASKAROUND, &words);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let simulated = read(Path::new(&trace)).unwrap();
    let sockets = path("s.jsonl");
    lab_run("campus-20", out.path(), &["--trace", &sockets]);
    let sockets = read(Path::new(&sockets)).unwrap();
    assert_eq!(steps(&simulated), steps(&sockets));
    assert!(fs::read_to_string(&page).unwrap().contains("\"simulated\":true"));
}

#[test]
fn the_cost_of_lookups_is_plotted() {
    let out = tempfile::tempdir().unwrap();
    let path = |name: &str| out.path().join(name).to_str().unwrap().to_owned();
    let (direct, rows, plotted) = (path("direct.svg"), path("rows.json"), path("plot.svg"));
    let population = ["lab", "sim", "--peers", "20,40", "--lookups", "5", "--json"];
    let output = run(ASKAROUND, &[&population[..], &["--svg", &direct]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    fs::write(&rows, stdout(&output)).unwrap();
    let output = run(ASKAROUND, &["lab", "plot", &rows, "--svg", &plotted]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let (direct, plotted) = (fs::read_to_string(direct).unwrap(), fs::read_to_string(plotted).unwrap());
    assert!(direct == plotted && direct.contains("messages a lookup"));

    let output = run(ASKAROUND, &[&population[..], &["--report", "x.html"]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("a population is drawn by --svg"), "{}", stderr(&output));
    let script = scenario("campus-20").join("1.json").to_str().unwrap().to_owned();
    let output = run(ASKAROUND, &["lab", "plot", &script, "--svg", &path("none.svg")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("1.json: there is no `rows`"), "{}", stderr(&output));
}
