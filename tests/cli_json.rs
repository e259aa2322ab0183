//! What `--json` prints: as docs/json.md says, and always ended by a result or an error.

mod support;

use std::io::{BufRead, BufReader};
use std::process::Command;

use askaround::live::json::{ErrorLine, ServeEvent, ServeResult};
use askaround_core::id::{Contact, PeerId};
use askaround_core::key::Key;
use askaround_node::api::{ApiEvent, ApiReply, ApiSearch, ApiStep};
use askaround_node::content::{Condition, Kept};
use askaround_node::delivery::conditions::ConditionChange;
use askaround_node::delivery::keep::{Added, KeepEvent, Listed, Purged};
use askaround_node::delivery::types::{
    AskedReport, FetchReport, GetEvent, Got, SourceReport, Status, TrackerStatus,
};
use askaround_node::delivery::verify::{Checked, Verdict, VerifySummary};
use serde_json::{Value, json};
use support::content::{bytes, json_lines, write};
use support::json_doc::JsonDoc;
use support::net::Net;
use support::serving::key_of;
use support::{ASKAROUND, Running, run, stderr, stdout};

fn key() -> Key {
    Key::new("0b").unwrap()
}

fn contact() -> Contact {
    Contact::new(PeerId::MIN, "127.0.0.1:1".parse().unwrap())
}

/// What may be unknown, both ways.
fn known<T: Clone>(value: T) -> [Option<T>; 2] {
    [Some(value), None]
}

fn source((peer, lost): (Option<Contact>, Option<String>)) -> SourceReport {
    let addr = contact().addr();
    SourceReport { addr, peer, how: "how".into(), bytes: 1, rate: 1, complete: true, lost }
}

fn sources() -> Vec<SourceReport> {
    known(contact()).into_iter().zip(known("why".to_owned())).map(source).collect()
}

fn added(files: Option<u64>) -> Added {
    Added { blake3: key(), md5: files.map(|_| key()), size: 1, files, path: "path".into() }
}

fn fetch(size: Option<u64>) -> FetchReport {
    FetchReport {
        key: key(),
        to: "to".into(),
        here: 1,
        size,
        seconds: 1.0,
        rate: 1,
        ended: false,
        state: "searching".into(),
        copied_from: size.map(|_| "from".into()),
        sources: sources(),
        asked: vec![AskedReport { who: "who".into(), why: "why".into(), answer: "answer".into() }],
        because: vec!["because".into()],
    }
}

fn search(found: Option<Contact>) -> ApiSearch {
    let step = |asked: Option<Contact>| ApiStep {
        asked,
        what: "have".into(),
        why: "why".into(),
        answer: "answer".into(),
        seconds: asked.map(|_| 1.0),
    };
    ApiSearch {
        key: key(),
        found,
        how: found.map(|_| "how".into()),
        truncated: false,
        questions: 1,
        seconds: 1.0,
        trace: found.map_or(Vec::new(), |_| known(contact()).map(step).into()),
    }
}

fn status(limit: Option<u64>) -> Status {
    let tracker = |again_in: Option<f64>| TrackerStatus {
        addr: contact().addr(),
        registered: true,
        seconds: 1.0,
        why: again_in.map(|_| "why".into()),
        again_in,
    };
    Status {
        me: contact(),
        tracker: limit.map(|limit| tracker((limit > 1).then_some(1.0))),
        contents: 1,
        bytes: 1,
        fetches: known(1).map(fetch).into(),
        sent: 1,
        received: 1,
        up_limit: limit,
        down_limit: limit,
    }
}

fn listed(files: Option<u64>) -> Listed {
    Listed {
        blake3: key(),
        md5: files.map(|_| key()),
        size: 1,
        files,
        kept: Kept::Copy,
        condition: Condition::Good,
        own: true,
        path: "path".into(),
        also: vec!["also".into()],
    }
}

/// Every event that a peer tells, with everything that may be in it. No variant may be missing: a
/// new one does not compile.
fn events() -> Vec<ApiEvent> {
    let (size, rate, done, here, sources, path) = (1, 1, 1, 1, 1, String::from("path"));
    let addr = contact().addr();
    let checked = |verdict| Checked { blake3: key(), path: "path".into(), size: 1, verdict };
    let why = || String::from("why");
    let verdicts = [
        Verdict::Good,
        Verdict::Bad { pieces: 1, of: 1, too_long: true },
        Verdict::Unreadable { why: why() },
        Verdict::Repaired,
        Verdict::NotRepaired { why: why() },
    ];
    let mut kept: Vec<_> = verdicts.map(|verdict| KeepEvent::Checked(checked(verdict))).into();
    kept.extend([
        KeepEvent::Reading { path: path.clone(), done, size },
        KeepEvent::LeftOut { text: "text".into() },
        KeepEvent::Repairing { path, done, size, rate, sources },
    ]);
    kept.extend(known(1).map(|files| KeepEvent::Added(added(files))));
    for event in &kept {
        match event {
            KeepEvent::Reading { .. }
            | KeepEvent::LeftOut { .. }
            | KeepEvent::Repairing { .. }
            | KeepEvent::Added(_)
            | KeepEvent::Checked(_) => {}
        }
    }
    let mut got = vec![
        GetEvent::Progress { here, size, rate, sources, waiting: true },
        GetEvent::Lost { addr, why: why() },
        GetEvent::Note { text: "text".into() },
    ];
    got.extend(known(1).map(|files| GetEvent::Found { size, pieces: 1, files, here }));
    got.extend(known(contact()).map(|peer| GetEvent::Source { addr, peer, how: "how".into() }));
    for event in &got {
        match event {
            GetEvent::Progress { .. }
            | GetEvent::Lost { .. }
            | GetEvent::Note { .. }
            | GetEvent::Found { .. }
            | GetEvent::Source { .. } => {}
        }
    }
    kept.into_iter().map(ApiEvent::Keep).chain(got.into_iter().map(ApiEvent::Get)).collect()
}

/// Every reply of a peer that is printed, in the same way.
fn results() -> Vec<ApiReply> {
    let got = |files| Got {
        key: key(),
        blake3: "0b".into(),
        size: 1,
        path: "path".into(),
        files,
        here_before: 1,
        copied_from: files.map(|_| "from".into()),
        seconds: 1.0,
        sources: sources(),
    };
    let purged = |path: Option<String>| Purged {
        key: Some(key()),
        held: true,
        contents: 1,
        in_folder: false,
        stays: path.clone(),
        also_stay: 1,
        fetching: path.clone(),
        given_up: path,
    };
    let mut results = vec![
        ApiReply::Registered(contact()),
        ApiReply::Unregistered(PeerId::MIN),
        ApiReply::Peers(vec![contact()]),
        ApiReply::Keys(vec![key()]),
        ApiReply::Held { key: key(), new: true },
        ApiReply::Added(known(1).map(added).into()),
        ApiReply::Contents(known(1).map(listed).into()),
        ApiReply::Verified(VerifySummary::default()),
        ApiReply::Fetches(known(1).map(fetch).into()),
    ];
    results.extend(known(contact()).map(search).map(ApiReply::Search));
    results.extend(known("path".to_owned()).map(purged).map(ApiReply::Purged));
    results.extend(known(1).map(got).map(ApiReply::Got));
    results.extend([Some(2), Some(1), None].map(status).map(ApiReply::Status));
    for result in &results {
        match result {
            ApiReply::Registered(_)
            | ApiReply::Unregistered(_)
            | ApiReply::Peers(_)
            | ApiReply::Keys(_)
            | ApiReply::Search(_)
            | ApiReply::Purged(_)
            | ApiReply::Held { .. }
            | ApiReply::Added(_)
            | ApiReply::Got(_)
            | ApiReply::Contents(_)
            | ApiReply::Verified(_)
            | ApiReply::Fetches(_)
            | ApiReply::Status(_) => {}
            // Printed as the error.
            ApiReply::Error(_) | ApiReply::Unusable(_) | ApiReply::Stopped => panic!("{result:?}"),
        }
    }
    results
}

#[test]
fn the_page_has_every_line_and_field_and_no_other() {
    let doc = JsonDoc::read();
    for event in events() {
        assert_eq!(doc.check(&json!(event)), "event");
    }
    for result in results() {
        assert_eq!(doc.check(&json!(result)), "result");
    }
    assert_eq!(doc.check(&json!(ServeEvent::Serving { sent: 1, rate: 1 })), "event");
    let change = ConditionChange { blake3: key(), path: "path".into(), condition: Condition::Changed };
    assert_eq!(doc.check(&json!(ServeEvent::Condition(change))), "event");
    assert_eq!(doc.check(&json!(ServeResult::Served { sent: 1, seconds: 1.0 })), "result");
    assert_eq!(doc.check(&json!(ErrorLine { error: "why", exit: 1 })), "error");
    doc.assert_all_seen();
}

/// The last line of what a command printed; every other is an event.
fn last_line(said: &str) -> Value {
    json_lines(said).pop().unwrap_or_else(|| panic!("nothing was printed"))
}

#[test]
fn whatever_fails_ends_with_a_line_that_says_so() {
    let (mut net, user) = (Net::new(1), tempfile::tempdir().unwrap());
    let (file, empty) = (write(user.path(), "file", b"file"), tempfile::tempdir().unwrap());
    let to = user.path().join("to");
    let (nobody, to) = ("0b".repeat(32), to.to_str().unwrap());
    let no_peer = empty.path().to_str().unwrap();
    let nothing = user.path().join("nothing");
    let nothing = nothing.to_str().unwrap();
    let fails = |words: &[&str], exit: i32, expected: &str| {
        let output = run(ASKAROUND, &[words, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(exit), "{words:?}: {}", stderr(&output));
        let last = last_line(&stdout(&output));
        let error = last["error"].as_str().unwrap_or_else(|| panic!("{words:?}: {last}"));
        assert!(error.contains(expected) && !error.contains("Usage"), "{words:?}: {error}");
        assert_eq!(last["exit"], exit, "{words:?}");
        // For whoever looks why it failed.
        assert!(stderr(&output).contains(expected), "{words:?}: {}", stderr(&output));
    };
    let dir = net.dir(0).to_str().unwrap().to_owned();
    for verb in ["get", "verify", "why"] {
        fails(&[verb, "nonsense", "--dir", &dir], 2, "expected a BLAKE3 hash");
    }
    for verb in ["find", "purge", "hold"] {
        fails(&[verb, "a b", "--dir", &dir], 2, "a key has no white space");
    }
    fails(&["limit", "--up", "fast", "--dir", &dir], 2, "expected bytes a second");
    fails(&["add", "--dir", &dir], 2, "required arguments were not provided");
    fails(&["add", "--serve", &file], 2, "--serve needs --tracker");
    fails(&["add", nothing, "--dir", &dir], 2, "there is no such file");
    fails(&["add", &file, "--max-sources", "3", "--dir", &dir], 2, "--max-sources is");
    fails(&["verify", &nobody, "--dir", &dir], 1, "is not here");
    fails(&["get", &nobody, "-o", to, "--dir", &dir], 1, "nobody has");
    fails(&["get", &nobody, "-o", to, "--tracker", &net.tracker, "--listen", "127.0.0.1:0"], 1, "nobody has");
    for words in [
        &["add", &file][..],
        &["get", &nobody],
        &["find", "k"],
        &["ls"],
        &["purge", "k"],
        &["verify"],
        &["why"],
        &["status"],
        &["limit"],
        &["peers"],
        &["known", "1"],
        &["contents", "1"],
        &["hold", "k"],
        &["register"],
        &["unregister"],
    ] {
        fails(&[words, &["--dir", no_peer]].concat(), 1, "no peer is running");
    }
    net.kill_tracker();
    for words in [&["peers"][..], &["register"], &["unregister"], &["known", "9"], &["contents", "9"]] {
        fails(&[words, &["--dir", &dir]].concat(), 1, "not reachable");
    }
    fails(&["get", &nobody, "-o", to, "--dir", &dir], 1, "not reachable");
}

#[test]
fn what_is_not_so_is_a_result_and_an_exit_status() {
    let (net, user) = (Net::new(1), tempfile::tempdir().unwrap());
    let file = write(user.path(), "file", b"file");
    net.assert_says(0, &["add", &file], 0, "added");
    std::fs::remove_file(&file).unwrap();
    let result = |words: &[&str], exit: i32| {
        let output = net.verb(0, &[words, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(exit), "{words:?}: {}", stderr(&output));
        assert_eq!(stderr(&output).is_empty(), words[0] != "hold", "{words:?}");
        last_line(&stdout(&output))
    };
    assert_eq!(result(&["find", "k", "--trace"], 1)["search"]["found"], Value::Null);
    assert_eq!(result(&["purge", "k"], 1)["purged"]["held"], false);
    assert_eq!(result(&["verify"], 1)["verified"]["bad"], 1);
    assert_eq!(result(&["hold", "k"], 0)["held"]["new"], true);
    assert_eq!(result(&["hold", "k"], 0)["held"]["new"], false);
    assert_eq!(result(&["find", "k"], 0)["search"]["found"][0], 1);
    assert_eq!(result(&["ls"], 0)["contents"][0]["condition"], "missing");
    assert_eq!(result(&["why"], 0)["fetches"], json!([]));
    assert_eq!(result(&["limit", "--up", "1M"], 0)["status"]["up_limit"], 1_000_000);
    assert!(result(&["contents", "1"], 0)["keys"].as_array().unwrap().contains(&"k".into()));
    assert_eq!(result(&["known", "1"], 0)["peers"], json!([]));
    assert_eq!(result(&["unregister"], 0)["unregistered"], 1);
    assert_eq!(result(&["register"], 0)["registered"][0], 1);
    assert_eq!(result(&["peers"], 0)["peers"][0][0], 1);
}

/// Sends a signal to a command that works; its last line.
fn last_line_after(mut running: Running, signal: &str, mut said: Vec<u8>) -> (Option<i32>, Value) {
    let mut stdout = running.0.stdout.take().unwrap();
    running.signal(signal);
    std::io::Read::read_to_end(&mut stdout, &mut said).unwrap();
    (running.end().0, last_line(&String::from_utf8(said).unwrap()))
}

/// Starts a command; goes on when it has printed a line with this in it.
fn start(words: &[&str], until: &str) -> (Running, Vec<u8>) {
    let mut running = Running::start(Command::new(ASKAROUND).args(words));
    let mut stdout = BufReader::new(running.0.stdout.take().unwrap());
    let (mut line, mut said) = (String::new(), String::new());
    while !line.contains(until) {
        line.clear();
        assert!(stdout.read_line(&mut line).unwrap() > 0, "it ended: {said}");
        said += &line;
    }
    said += std::str::from_utf8(stdout.buffer()).unwrap();
    running.0.stdout = Some(stdout.into_inner());
    (running, said.into_bytes())
}

#[test]
fn a_signal_ends_with_a_line_too() {
    let (net, user) = (Net::new(2), tempfile::tempdir().unwrap());
    let source = write(user.path(), "source", &bytes(3_000_000));
    let key = key_of(&net.verb(0, &["add", "-q", &source]));
    net.assert_says(1, &["limit", "--down", "1M"], 0, "at most");
    let endless = user.path().join("endless");
    // No machine reads this in the time of a test.
    std::fs::File::create(&endless).unwrap().set_len(1 << 42).unwrap();
    let to = user.path().join("to");
    let (to, endless) = (to.to_str().unwrap(), endless.to_str().unwrap());
    let dirs = [net.dir(0).to_str().unwrap(), net.dir(1).to_str().unwrap()];
    let here = ["--tracker", &net.tracker, "--listen", "127.0.0.1:0"];
    let get = ["get", &key, "-o", to, "--json"];
    for (words, until) in [
        ([&get[..], &["--dir", dirs[1]]].concat(), "progress"),
        ([&get[..], &["--down", "1M"], &here].concat(), "progress"),
        (vec!["add", endless, "--json", "--dir", dirs[0]], "reading"),
        ([&["add", "--serve", endless, "--json"], &here[..]].concat(), "reading"),
    ] {
        for (signal, exit) in [("-INT", 130), ("-TERM", 143)] {
            let (running, said) = start(&words, until);
            let (status, last) = last_line_after(running, signal, said);
            assert_eq!((status, &last["exit"]), (Some(exit), &exit.into()), "{words:?}: {last}");
        }
    }
    // To be ended is what it is for.
    let words = [&["add", "--serve", &source, "--json"], &here[..]].concat();
    let (running, said) = start(&words, "serving");
    let (status, last) = last_line_after(running, "-INT", said);
    assert_eq!((status, &last["served"]["sent"]), (Some(130), &0.into()), "{last}");
}

#[test]
fn a_stdout_that_cannot_be_written_is_said_on_stderr() {
    let net = Net::new(1);
    let dir = net.dir(0).to_str().unwrap();
    for words in [&["ls"][..], &["status", "--json"], &["find", "k", "--json"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(ASKAROUND);
        let output = command.args(words).args(["--dir", dir]).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert!(stderr(&output).contains("cannot write to stdout"), "{words:?}: {}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    }
}

#[test]
fn a_stderr_that_cannot_be_written_is_no_reason_to_fail() {
    let (net, user) = (Net::new(1), tempfile::tempdir().unwrap());
    let file = write(user.path(), "file", b"file");
    let key = key_of(&net.verb(0, &["add", "-q", &file]));
    let to = user.path().join("to");
    for (words, status) in [
        (
            &["get", &key, "-o", to.to_str().unwrap(), "--tracker", &net.tracker, "--listen", "127.0.0.1:0"]
                [..],
            0,
        ),
        (&["-vv", "find", "k", "--dir", net.dir(0).to_str().unwrap()], 1),
        (&["find", "k", "--dir", "/nowhere"], 1),
        (&["hold", "k", "--dir", net.dir(0).to_str().unwrap()], 0),
    ] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = Command::new(ASKAROUND).args(words).stderr(full).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{words:?}");
    }
}
