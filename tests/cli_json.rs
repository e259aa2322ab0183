//! `--json`: however a command ends, it ends with a result or an error.

mod support;

use std::io::{BufRead, BufReader};
use std::process::Command;

use serde_json::{Value, json};
use support::content::{bytes, json_lines, write};
use support::net::Net;
use support::serving::key_of;
use support::{ASKAROUND, Running, run, stderr, stdout};

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
