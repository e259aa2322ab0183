//! `askaround lab grade --submission` on small implementations, one right and others each wrong
//! in one way (`tests/submissions/`), and that nothing of them is left running.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use support::{ASKAROUND, Running, stderr, stdout, wait_for};
use tempfile::TempDir;

/// Python itself, without what no test needs: `python3` may be a slow script around it.
static PYTHON: LazyLock<String> = LazyLock::new(|| {
    let output = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    String::from_utf8(output.expect("these tests need python3").stdout).unwrap().trim().to_owned()
});

/// Every process of a grading has this in its environment, whatever it forks or leaves.
const MARK: &str = "SUBMISSION_TEST_MARK";

fn submissions() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/submissions")
}

/// A submission, and the mark of whatever is started for it.
struct Submission {
    folder: TempDir,
    mark: String,
}

impl Submission {
    /// The right one, with what the wrong one called `name` does differently.
    fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let folder = tempfile::tempdir().unwrap();
        for part in ["correct", name] {
            for entry in fs::read_dir(submissions().join(part)).unwrap().map(Result::unwrap) {
                fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
            }
        }
        let mark = format!("{}-{}-", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self { folder, mark }
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(ASKAROUND);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ASKAROUND_")) {
            command.env_remove(name);
        }
        command.args(["lab", "grade", "--submission", self.folder.path().to_str().unwrap()]);
        if !more.contains(&"--tracker") {
            // Told how many will come, it need not wait 10 seconds.
            command.args(["--tracker", &format!("{} -S bootstrapper.py {{count}}", *PYTHON)]);
        }
        command.args(["--client", &format!("{} -S client.py --file {{file}}", *PYTHON)]).args(more);
        command.env(MARK, &self.mark).env("TURNS", self.folder.path().join("turns"));
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, more: &[&str]) -> Output {
        let output = self.command(more).output().unwrap();
        assert_eq!(self.running(), Vec::<String>::new(), "left running: {}", stdout(&output));
        output
    }

    /// As JSON, graded in one scenario, in which it is wrong.
    fn wrong(&self, scenario: &str, more: &[&str]) -> Graded {
        let output = self.run(&[&[scenario, "--json"], more].concat());
        assert_eq!(output.status.code(), Some(1), "{}{}", stdout(&output), stderr(&output));
        Graded::new(&output)
    }

    /// How many clients run.
    fn clients(&self) -> usize {
        self.running()
            .iter()
            .filter(|line| line.contains("client.py --file") && !line.contains("lab grade"))
            .count()
    }

    /// The command lines of what is marked and runs.
    fn running(&self) -> Vec<String> {
        let mark = format!("{MARK}={}", self.mark);
        let has = |path: &Path| {
            let environment = fs::read(path.join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        };
        let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
        let marked = processes.filter(|path| has(path));
        marked
            .map(|path| fs::read_to_string(path.join("cmdline")).unwrap_or_default().replace('\0', " "))
            .collect()
    }
}

/// Two clients, four timesteps, no expected logs: those of virtual time count.
fn small() -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let one = r#"{"client_id": 1, "actions": [{"time": 1, "code": "Q", "content_id": "k"},
        {"time": 3, "code": "M", "client_id": 2}]}"#;
    let two = r#"{"client_id": 2, "content": ["k"], "actions": [{"time": 2, "code": "U"},
        {"time": 4, "code": "R"}]}"#;
    fs::write(folder.path().join("1.json"), one).unwrap();
    fs::write(folder.path().join("2.json"), two).unwrap();
    let name = folder.path().to_str().unwrap().to_owned();
    (folder, name)
}

/// What was said about one scenario.
struct Graded(Value);

impl Graded {
    fn new(output: &Output) -> Self {
        Self(serde_json::from_str(&stdout(output)).unwrap_or_else(|e| panic!("{e}: {}", stderr(output))))
    }

    fn round(&self) -> &Value {
        &self.0["scenarios"][0]["rounds"][0]
    }

    /// The text of the finding of this kind.
    fn finding(&self, kind: &str) -> String {
        let findings = self.round()["findings"].as_array().unwrap();
        let finding = findings.iter().find(|finding| finding["kind"] == kind);
        let finding = finding.unwrap_or_else(|| panic!("no {kind} in {findings:#?}"));
        let details = finding["details"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
        let details: Vec<_> = details.collect();
        format!(
            "{}: {}\n{}",
            finding["who"].as_str().unwrap(),
            finding["text"].as_str().unwrap(),
            details.join("\n")
        )
    }

    /// The causes of the differences in a log, in order.
    fn causes(&self, log: &str) -> Vec<&str> {
        let logs = self.round()["grade"]["logs"].as_array().unwrap();
        let log = logs.iter().find(|other| other["name"] == log).unwrap();
        log["differences"].as_array().unwrap().iter().map(|d| d["cause"].as_str().unwrap()).collect()
    }
}

#[track_caller]
fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
}

#[test]
fn the_right_one_gets_100_of_100() {
    let output = Submission::new("correct").run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    assert_has(&stdout(&output), &["rubric-12-unregistered-still-serves: right", "100/100"]);
    let output = Submission::new("correct").run(&["corner-unknown-peer"]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
}

#[test]
fn logs_that_are_only_written_at_the_end_are_waited_for() {
    let (_folder, small) = small();
    let output = Submission::new("log-at-the-end").run(&[&small]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
}

#[test]
fn whoever_listens_after_registering_is_named() {
    let graded = Submission::new("registers-before-listening").wrong("rubric-03-ask-listed-peers", &[]);
    assert_has(
        &graded.finding("connected-before-listening"),
        &["client ", "a client listens before it registers"],
    );
    assert_eq!(graded.causes("client_1.json")[0], "list-not-asked");
}

#[test]
fn arrival_order_is_told_from_a_wrong_list() {
    let graded = Submission::new("arrival-order").wrong("corner-answers-reused", &[]);
    assert_eq!(graded.causes("bootstrapper.json")[0], "list-order");
}

#[test]
fn an_ignored_hint_is_told_from_a_purge_that_forgets() {
    let graded = Submission::new("hint-ignored").wrong("rubric-05-hint-before-the-list", &[]);
    assert_eq!(graded.causes("client_1.json"), ["hint-too-late"]);
    let graded = Submission::new("purge-forgets").wrong("rubric-07-hint-for-a-purged-key", &[]);
    assert_eq!(graded.causes("client_1.json")[0], "purge-forgot-originator");
    assert_eq!(graded.causes("client_3.json"), ["purge-forgot-originator"]);
}

#[test]
fn a_clock_that_does_not_wait_is_seen_in_the_trackers_log() {
    let graded = Submission::new("fixed-sleeps").wrong("rubric-01-register-unregister", &[]);
    assert_eq!(graded.causes("bootstrapper.json")[0], "clock-ahead");
    let graded = Submission::new("counts-completions").wrong("rubric-01-register-unregister", &[]);
    assert_eq!(graded.causes("bootstrapper.json")[0], "clock-ahead");
}

#[test]
fn another_order_within_a_timestep_counts_as_right() {
    let submission = Submission::new("turns-the-other-way-round");
    let output = submission.run(&["race-list-while-leaving", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert_has(&Graded::new(&output).finding("order-left-open"), &["client 1", "Bootstrapper: "]);
}

#[test]
fn a_run_that_hangs_is_ended_and_says_who_waits_where() {
    let (_folder, small) = small();
    let graded = Submission::new("hangs").wrong(&small, &["--stall", "1"]);
    assert_has(&graded.finding("stalled"), &["nothing happened for 1 s"]);
    assert_has(&graded.finding("never-finished"), &["the tracker: never finished timestep 2"]);
    let no_log = graded.finding("no-log");
    assert_has(
        &no_log,
        &["clients 1 and 2: wrote no log", "client 2 was at client.py line 19, in wait_for_nobody"],
    );
}

#[test]
fn a_run_that_never_stops_is_ended_in_time() {
    let (_folder, small) = small();
    let graded = Submission::new("hangs").wrong(&small, &["--time", "2", "--stall", "60"]);
    assert_has(&graded.finding("out-of-time"), &["not over after 2 s"]);
}

#[test]
fn who_stays_at_the_end_is_ended_and_loses_nothing() {
    let submission = Submission::new("never-exits");
    let (_folder, small) = small();
    let output = submission.run(&[&small, "--json", "--grace", "0.2"]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert_has(&Graded::new(&output).finding("still-running"), &["clients 1 and 2", "0.2 s after"]);
}

#[test]
fn last_words_are_kept_and_gradescope_is_told() {
    let (submission, out) = (Submission::new("crashes"), tempfile::tempdir().unwrap());
    let folder = out.path().to_str().unwrap();
    let graded = submission.wrong("rubric-03-ask-listed-peers", &["--stall", "2", "--out", folder]);
    let words =
        ["client 2: ended with exit status 1", "File \"client.py\", line 11, in timestep", "no such client"];
    assert_has(&graded.finding("crashed"), &words);
    assert_has(&graded.finding("never-finished"), &["client 2: never finished timestep 4"]);

    let results: Value = serde_json::from_slice(&fs::read(out.path().join("results.json")).unwrap()).unwrap();
    let tests = results["tests"].as_array().unwrap();
    let scores: u64 = tests.iter().filter_map(|test| test["score"].as_u64()).sum();
    assert_eq!((results["score"].as_u64(), scores), (Some(17), 17), "{results:#}");
    let item = tests.iter().find(|test| test["number"] == "3").unwrap();
    assert_eq!(
        (&item["score"], &item["max_score"], &item["status"]),
        (&7.into(), &10.into(), &"failed".into())
    );
    assert_has(item["output"].as_str().unwrap(), &["See below: rubric-03-ask-listed-peers."]);
    let scenario = tests.iter().find(|test| test["name"] == "scenario rubric-03-ask-listed-peers").unwrap();
    assert_has(scenario["output"].as_str().unwrap(), &["client 2: ended with exit status 1"]);
    let page = fs::read_to_string(out.path().join("report.html")).unwrap();
    assert_has(
        &page,
        &["<strong>17</strong> of 20 points", "KeyError: &#39;no such client&#39;", "client_2.json"],
    );
    assert!(!page.contains("<script") && !page.contains("http"), "it needs nothing else");
    let kept = out.path().join("logs/rubric-03-ask-listed-peers/1");
    assert!(kept.join("client_1.json").is_file());
    assert_has(&fs::read_to_string(kept.join("client_2.stderr.txt")).unwrap(), &["no such client"]);
}

#[test]
fn output_and_memory_are_limited() {
    let (_folder, small) = small();
    let scenario = small.as_str();
    let graded = Submission::new("floods").wrong(scenario, &["--output", "1", "--stall", "2"]);
    assert_has(&graded.finding("too-much-output"), &["client 2: wrote more than 1 MiB", "still looking"]);
    let graded = Submission::new("eats-memory").wrong(scenario, &["--memory", "64", "--stall", "2"]);
    assert_has(&graded.finding("too-much-memory"), &["client 2: used more than 64 MiB"]);
    for isolation in ["full", "none"] {
        let more = ["--disk", "20", "--isolation", isolation];
        let graded = Submission::new("fills-the-disk").wrong(scenario, &more);
        assert_has(&graded.finding("too-much-written"), &["wrote more than 20 MiB in all"]);
    }
}

#[test]
fn children_that_leave_session_and_parent_are_ended_however_runs_are_kept_apart() {
    let (_folder, small) = small();
    for isolation in ["full", "network"] {
        let submission = Submission::new("leaves-children");
        let output = submission.run(&[&small, "--json", "--isolation", isolation]);
        assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
        assert_has(&Graded::new(&output).finding("left-behind"), &["left running", "of these"]);
    }
    // On this machine's own ports, which others may use: only that nothing is left is sure.
    Submission::new("leaves-children").run(&[&small, "--isolation", "none", "--stall", "2"]);
}

#[test]
fn a_tracker_that_does_not_listen_is_said_at_once() {
    let (_folder, small) = small();
    let scenario = small.as_str();
    let graded = Submission::new("never-listens").wrong(scenario, &["--start", "1"]);
    let said = ["did not listen on port 8888 within 1 s", "it was at bootstrapper.py line 7, in get_ready"];
    assert_has(&graded.finding("tracker-never-listened"), &said);
    let graded = Submission::new("another-port").wrong(scenario, &["--start", "1"]);
    assert_has(&graded.finding("tracker-never-listened"), &["it listens on port 8889"]);
    let graded = Submission::new("does-not-start").wrong(scenario, &[]);
    let said = ["before it listened on port 8888", "No module named 'p2pbootstrapper'"];
    assert_has(&graded.finding("crashed"), &said);
}

#[test]
fn flakiness_is_k_of_n() {
    let submission = Submission::new("right-every-other-time");
    let (_folder, small) = small();
    let output = submission.run(&[&small, "--repeat", "4", "--jobs", "1"]);
    assert_eq!(output.status.code(), Some(1));
    assert_has(&stdout(&output), &["right in 2 of 4 runs"]);
}

#[test]
fn our_own_programs_can_be_handed_in_too() {
    let submission = Submission::new("correct");
    let tracker = format!("{} --expect {{count}}", support::BOOTSTRAPPER);
    let client = format!("{} --file {{file}}", support::CLIENT);
    let folder = submission.folder.path().to_str().unwrap();
    let words = ["lab", "grade", "--submission", folder, "--tracker", &tracker, "--client", &client];
    let output =
        support::run(ASKAROUND, &[&words[..], &["corner-port-taken", "corner-longer-list-hint"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
}

#[test]
fn nothing_outlives_us_when_we_are_told_to_stop_or_are_killed() {
    let (_folder, small) = small();
    for (signal, isolation) in
        [("-INT", "full"), ("-TERM", "network"), ("-KILL", "full"), ("-KILL", "network")]
    {
        let submission = Submission::new("hangs");
        let more = [small.as_str(), "--stall", "600", "--isolation", isolation];
        let running = Running::start(&mut submission.command(&more));
        // Ourselves, the keeper, the tracker, and clients.
        wait_for("clients to run", || (submission.clients() == 2).then_some(()));
        running.signal(signal);
        let (status, said) = running.end();
        match signal {
            "-KILL" => wait_for("everybody to end", || submission.running().is_empty().then_some(())),
            _ => {
                let expected = if signal == "-INT" { 130 } else { 143 };
                assert_eq!(status, Some(expected), "{said}");
                assert_has(&said, &["stopped; everything that was started has ended"]);
                assert_eq!(submission.running(), Vec::<String>::new(), "{signal} {isolation}");
            }
        }
    }
}

#[test]
fn bad_input_is_named_and_exits_2() {
    let submission = Submission::new("correct");
    let empty = tempfile::tempdir().unwrap();
    let around = tempfile::tempdir().unwrap();
    fs::create_dir(around.path().join("pa2")).unwrap();
    fs::write(around.path().join("pa2/bootstrapper.py"), "").unwrap();
    let (good, empty) = (submission.folder.path().to_str().unwrap(), empty.path().to_str().unwrap());
    let around = around.path().to_str().unwrap();
    let file = submission.folder.path().join("client.py");
    let cases: &[(&[&str], &[&str])] = &[
        (&["--submission", "/nowhere"], &["/nowhere: no such folder"]),
        (&["--submission", file.to_str().unwrap()], &["not a folder: unpack the submission first"]),
        (
            &["--submission", empty],
            &["no bootstrapper.py here", "the folder is empty", "--tracker names another"],
        ),
        (&["--submission", around], &["pa2: is that the submission?"]),
        (
            &["--submission", good, "--client", "python3 peer2.py"],
            &["no peer2.py here", "the folder has: bootstrapper.py"],
        ),
        (&["--submission", good, "--client", "./peer"], &["there is no program ./peer in the submission"]),
        (
            &["--submission", good, "--tracker", "no-such-tracker"],
            &["no program no-such-tracker on the PATH"],
        ),
        (
            &["--submission", good, "--tracker", "a 'b"],
            &["--tracker: the command is empty or has an open quote"],
        ),
        (&["--submission", good, "hints"], &["there is no scenario hints", "rubric-04-hints"]),
        (&["--submission", good, empty], &["no script here: expected files named 1.json"]),
        (&["--submission", good, "--scenario", "x"], &["--scenario goes with two folders of logs"]),
        (&["--submission", good, "--repeat", "0"], &["--repeat"]),
        (&["--submission", good, "--html", "/proc/no/page.html"], &["cannot write /proc/no/page.html"]),
        (&["--submission", good, "--out", "/proc/no"], &["cannot write /proc/no/results.json"]),
        (&["--submission", good, "--time=-3"], &["expected a number of seconds"]),
        (&["--repeat", "2", "a", "b"], &["--submission"]),
        (&["a"], &["expected two folders of logs", "found 1"]),
    ];
    for (words, expected) in cases {
        let output = support::run(ASKAROUND, &[&["lab", "grade"], *words].concat());
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", stderr(&output));
        assert_has(&stderr(&output), expected);
    }
}
