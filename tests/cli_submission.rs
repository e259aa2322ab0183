//! What `askaround lab grade --submission` says of small implementations, one right and others each
//! wrong in one way (`tests/submissions/`).

mod support;

use std::fs;

use serde_json::Value;
use support::submission::{Graded, Submission, assert_has, small};
use support::{ASKAROUND, stderr, stdout};

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
fn a_byte_order_mark_before_a_log_is_no_mistake() {
    let submission = Submission::new("never-exits");
    let tracker = submission.folder.path().join("tracker.py");
    let text = fs::read_to_string(&tracker).unwrap();
    let marked =
        text.replace("open(name + \".new\", \"w\")", "open(name + \".new\", \"w\", encoding=\"utf-8-sig\")");
    assert_ne!(text, marked);
    fs::write(&tracker, marked).unwrap();
    let (_folder, small) = small();
    let output = submission.run(&[&small, "--grace", "0.2", "--stall", "5"]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert!(!stdout(&output).contains("nothing happened"), "{}", stdout(&output));
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
fn clients_are_started_as_the_assignment_says_or_with_two_dashes() {
    let (_folder, small) = small();
    let output = Submission::by_default("only-dash-file").run(&[&small, "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    let graded = Graded::new(&output);
    assert_eq!(graded.said("client"), "python3 client.py -file {file}");
    assert_eq!(graded.said("client_failed"), &Value::Null);

    let two_dashes = Submission::by_default("only-dash-file");
    let client = two_dashes.folder.path().join("client.py");
    let text = fs::read_to_string(&client).unwrap();
    fs::write(&client, text.replace("\"-file\"", "\"--file\"")).unwrap();
    let output = two_dashes.run(&[&small, &small]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    let said = "clients were started by: python3 client.py --file {file} (by python3 client.py -file {file} every one fails at once)";
    assert_has(&stdout(&output), &[said]);
}

#[test]
fn clients_that_fail_alike_are_told_of_once_and_are_not_said_to_have_registered() {
    let (_folder, small) = small();
    let submission = Submission::by_default("correct");
    fs::write(submission.folder.path().join("client.py"), "raise SystemExit('no such option')").unwrap();
    let output = submission.run(&[&small]);
    let said = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{said}{}", stderr(&output));
    assert_has(&said, &["clients 1 and 2: ended with exit status 1 after ", "client 1 is not listed"]);
    assert_eq!(said.matches("no such option").count(), 1, "{said}");
    assert!(!said.contains("is registered but not listed"), "{said}");
}

#[test]
fn another_port_is_told_by_the_rule_of_ports() {
    let submission = Submission::new("correct");
    let peer = submission.folder.path().join("peer.py");
    let text = fs::read_to_string(&peer).unwrap();
    fs::write(&peer, text.replace("random.seed(self.id)", "random.seed(self.id + 100)")).unwrap();
    let output = submission.run(&["rubric-03-ask-listed-peers"]);
    let parts =
        ["client 1 is listed with port", "the port of a client follows from its id (the assignment's 5.8"];
    assert_has(&stdout(&output), &parts);
}

#[test]
fn several_answers_to_one_action_do_not_earn_its_points() {
    let output = Submission::new("answers-twice").run(&["rubric-03-ask-listed-peers"]);
    assert_eq!(output.status.code(), Some(1));
    assert_has(&stdout(&output), &["too many: an action has one entry", "0/10\n"]);
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
        (&["--tracker", "x \"", "a", "b"], &["--submission"]),
        (&["--client", "x", "a", "b"], &["--submission"]),
        (&["a"], &["expected two folders of logs", "found 1"]),
    ];
    for (words, expected) in cases {
        let output = support::run(ASKAROUND, &[&["lab", "grade"], *words].concat());
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", stderr(&output));
        assert_has(&stderr(&output), expected);
    }
}
