//! Content from one to another by command: peers that run, and peers that last as long as a
//! command.

mod support;

use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::content::{bytes, json_lines, write};
use support::net::Net;
use support::serving::{Serving, assert_fails, key_of, wait_for_progress, wait_for_words};
use support::{ASKAROUND, Running, run, stderr, stdout, wait_for};

#[test]
fn one_running_peer_gets_what_another_added_by_either_key() {
    let (net, user) = (Net::new(3), tempfile::tempdir().unwrap());
    let content = bytes(300_000);
    let source = write(user.path(), "source", &content);
    let blake3 = key_of(&net.verb(0, &["add", "-q", &source]));
    let listed = stdout(&net.verb(0, &["ls", "-l"]));
    let md5 = listed.lines().nth(1).unwrap().split_whitespace().nth(1).unwrap();
    let to = user.path().join("by blake3");
    let got = net.verb(1, &["get", &blake3, "-o", to.to_str().unwrap(), "--json"]);
    let lines = json_lines(&stdout(&got));
    let last = &lines.last().unwrap()["got"];
    assert_eq!((&last["blake3"], &last["size"]), (&blake3.as_str().into(), &300_000.into()), "{lines:?}");
    assert!(lines.iter().any(|line| line["event"] == "found"), "{lines:?}");
    assert_eq!(std::fs::read(&to).unwrap(), content);
    net.assert_says(1, &["ls"], 0, "fetched");
    net.assert_says(1, &["why", &blake3], 0, "done");
    // What was got is held, and found by its hint.
    let to = user.path().join("by md5");
    net.assert_says(2, &["get", md5, "-o", to.to_str().unwrap()], 0, "got ");
    assert_eq!(std::fs::read(&to).unwrap(), content);
    for key in [md5, &blake3, &blake3.to_uppercase()] {
        net.assert_says(2, &["find", key], 0, "this peer holds it");
    }
    // A second time, to where it is already.
    net.assert_says(2, &["get", md5, "-o", to.to_str().unwrap()], 0, "already");
    net.assert_says(2, &["why", md5], 0, "it was here already");
    let other = user.path().join("a copy");
    let words = ["get", md5, "-o", other.to_str().unwrap()];
    let copied = format!("a copy (300 kB) was copied from {}: nothing had to be fetched", to.display());
    net.assert_says(2, &words, 0, &copied);
    let why = stdout(&net.verb(2, &["why", md5]));
    assert!(why.contains(&format!("copied, as far as it was here, from {}\n", to.display())), "{why}");
    assert!(!why.contains("no source"), "{why}");
    net.assert_says(2, &words, 0, "is here already");
    assert_eq!(std::fs::read(&other).unwrap(), content);
}

#[test]
fn with_nothing_else_running_one_serves_and_the_printed_command_gets_it() {
    let (user, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let content = bytes(1_000_000);
    let source = write(user.path(), "a build's.tar", &content);
    let serving = Serving::new(&source, &[]);
    let command = serving.said.lines().find(|line| line.contains("askaround get")).unwrap();
    let command = command.trim().strip_prefix("askaround").unwrap();
    let program = format!("{ASKAROUND} {command}");
    let output = Command::new("sh").args(["-c", &program]).current_dir(other.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).starts_with("got "), "{}", stdout(&output));
    assert_eq!(std::fs::read(other.path().join("a build's.tar")).unwrap(), content);
    assert_eq!(std::fs::read_dir(other.path()).unwrap().count(), 1, "something was left behind");
    serving.running.signal("-INT");
    assert_eq!(serving.running.end().0, Some(130));
}

#[test]
fn a_get_that_was_killed_goes_on_where_it_was() {
    let user = tempfile::tempdir().unwrap();
    let content = bytes(3_000_000);
    let serving = Serving::new(&write(user.path(), "source", &content), &[]);
    let to = user.path().join("got");
    let slow = serving.get(to.to_str().unwrap(), &["--json", "--down", "1M"]);
    let mut getting = Running::start(Command::new(ASKAROUND).args(&slow));
    wait_for_progress(&mut getting);
    getting.signal("-KILL");
    getting.end();
    assert!(!to.exists(), "it has its name before it is whole");
    let lines = json_lines(&stdout(&run(ASKAROUND, &serving.get(to.to_str().unwrap(), &["--json"]))));
    let here = lines.last().unwrap()["got"]["here_before"].as_u64();
    assert!(here > Some(0), "{lines:?}");
    assert_eq!(std::fs::read(&to).unwrap(), content);
}

#[test]
fn a_peer_that_is_killed_in_a_get_goes_on_with_it_when_it_runs_again() {
    let (mut net, user) = (Net::new(2), tempfile::tempdir().unwrap());
    let content = bytes(3_000_000);
    let key = key_of(&net.verb(0, &["add", "-q", &write(user.path(), "source", &content)]));
    net.assert_says(1, &["limit", "--down", "1M"], 0, "at most");
    let (dir, to) = (net.dir(1).to_owned(), user.path().join("to"));
    for in_place in [&[][..], &["--in-place"]] {
        let words = [&["get", &key, "-o", to.to_str().unwrap(), "--json"], in_place].concat();
        let mut getting = Running::start(Command::new(ASKAROUND).args(&words).arg("--dir").arg(&dir));
        wait_for_progress(&mut getting);
        let peer = net.peers[1].take().unwrap();
        peer.signal("-KILL");
        peer.end();
        let (status, said) = getting.end();
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains("the same command goes on"), "{said}");
        net.peers[1] = Some(net.start_peer(1));
        net.assert_says(1, &["ls"], 0, "nothing");
        let lines = json_lines(&stdout(&net.verb(1, &words)));
        assert!(lines.last().unwrap()["got"]["here_before"].as_u64() > Some(0), "{lines:?}");
        assert_eq!(std::fs::read(&to).unwrap(), content);
        net.assert_says(1, &["purge", &key], 0, "purged");
        std::fs::remove_file(&to).unwrap();
        net.assert_says(1, &["limit", "--down", "1M"], 0, "at most");
    }
}

#[test]
fn ctrl_c_stops_a_get_and_says_how_to_go_on() {
    let user = tempfile::tempdir().unwrap();
    let serving = Serving::new(&write(user.path(), "source", &bytes(3_000_000)), &["--up", "1M"]);
    let to = user.path().join("got");
    let words = serving.get(to.to_str().unwrap(), &[]);
    let getting = Running::start(Command::new(ASKAROUND).args(&words));
    wait_for("a piece to be here", || std::fs::read_dir(user.path()).unwrap().count().gt(&2).then_some(()));
    getting.signal("-INT");
    let (status, said) = getting.end();
    assert_eq!(status, Some(130), "{said}");
    assert!(said.contains("the same command goes on from there"), "{said}");
    assert!(!to.exists());
}

#[test]
fn a_purge_of_what_is_being_fetched_says_so_and_removes_what_a_stopped_fetch_left() {
    let (net, user) = (Net::new(2), tempfile::tempdir().unwrap());
    let key = key_of(&net.verb(0, &["add", "-q", &write(user.path(), "source", &bytes(3_000_000))]));
    net.assert_says(1, &["limit", "--down", "1M"], 0, "at most");
    let (to, dir) = (user.path().join("to"), net.dir(1).to_str().unwrap());
    let words = ["get", &key, "-o", to.to_str().unwrap(), "--json", "--dir", dir];
    let mut getting = Running::start(Command::new(ASKAROUND).args(words));
    wait_for_progress(&mut getting);
    net.assert_says(1, &["purge", &key], 1, "is being fetched to");
    getting.signal("-INT");
    assert_eq!(getting.end().0, Some(130));
    let purge = || {
        let output = net.verb(1, &["purge", &key]);
        stdout(&output).contains("removed what a stopped fetch had left").then_some(output)
    };
    assert_eq!(wait_for("the fetch to end", purge).status.code(), Some(0));
    assert_eq!(std::fs::read_dir(user.path()).unwrap().count(), 1, "something is left");
    net.assert_says(1, &["purge", &key], 1, "that end in .askaround-part");
}

#[test]
fn whoever_names_the_peer_needs_no_tracker() {
    let (net, user) = (Net::new(1), tempfile::tempdir().unwrap());
    let key = key_of(&net.verb(0, &["add", "-q", &write(user.path(), "source", b"content")]));
    let listed: Value = serde_json::from_str(&stdout(&net.verb(0, &["status", "--json"]))).unwrap();
    let me = &listed["status"]["me"];
    let addr = format!("127.0.0.1:{}", me[2]);
    let (to, empty) = (user.path().join("to"), tempfile::tempdir().unwrap());
    let words = ["get", &key, "-o", to.to_str().unwrap(), "--from", &addr, "--listen", "127.0.0.1:0"];
    let output = run(ASKAROUND, &[&words[..], &["--dir", empty.path().to_str().unwrap()]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(std::fs::read(&to).unwrap(), b"content");
}

/// A variable may be meant for wherever no peer runs; an option is meant for this command.
#[test]
fn a_running_peer_is_asked_also_where_a_variable_names_a_tracker() {
    let (net, user) = (Net::new(2), tempfile::tempdir().unwrap());
    let keys = ["a", "b", "c"].map(|name| {
        key_of(&net.verb(0, &["add", "-q", &write(user.path(), name, name.repeat(9).as_bytes())]))
    });
    // Where a peer is that nobody names.
    let (home, nobodys_home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::os::unix::fs::symlink(net.dir(1), home.path().join("askaround")).unwrap();
    let get = |home: &Path, key: &String, name: &str, more: &[&str]| {
        let mut command = Command::new(ASKAROUND);
        command.env("XDG_DATA_HOME", home).env("ASKAROUND_TRACKER", &net.tracker);
        command.env("ASKAROUND_LISTEN", "127.0.0.1:0").args(["get", key, "-o"]).arg(user.path().join(name));
        command.args(more).output().unwrap()
    };
    let is_at_the_peer = |key: &str| stdout(&net.verb(1, &["ls", "--long"])).contains(key);
    let dir = net.dir(1).to_str().unwrap();
    for (key, name, more) in [(&keys[0], "by default", &[][..]), (&keys[1], "by name", &["--dir", dir])] {
        let output = get(home.path(), key, name, more);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(is_at_the_peer(key), "{name}: it was a peer of the command's own");
    }
    assert_fails(&get(home.path(), &keys[2], "limited", &["--up", "1M"]), 2, "--up is for a peer that");
    for (home, name, more) in
        [(nobodys_home.path(), "no peer", &[][..]), (home.path(), "option", &["--tracker", &net.tracker])]
    {
        let output = get(home, &keys[2], name, more);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(!is_at_the_peer(&keys[2]), "{name}: it was the running peer");
    }
}

#[test]
fn two_gets_of_one_key_do_not_mix() {
    let (net, user) = (Net::new(2), tempfile::tempdir().unwrap());
    let content = bytes(3_000_000);
    let key = key_of(&net.verb(0, &["add", "-q", &write(user.path(), "source", &content)]));
    net.assert_says(1, &["limit", "--down", "1M"], 0, "at most 1.00 MB/s");
    let (dir, to) = (net.dir(1).to_str().unwrap(), user.path().join("to"));
    let words = ["get", &key, "-o", to.to_str().unwrap(), "--json", "--dir", dir];
    let mut first = Running::start(Command::new(ASKAROUND).args(words));
    wait_for_progress(&mut first);
    let second = ["get", &key, "-o", to.to_str().unwrap(), "--dir", dir];
    let mut second = Running::start(Command::new(ASKAROUND).args(second));
    wait_for_words(&mut second, "it is being fetched to");
    let here = ["--tracker", &net.tracker, "--listen", "127.0.0.1:0"];
    let other = run(ASKAROUND, &[&["get", &key, "-o", to.to_str().unwrap()], &here[..]].concat());
    assert_fails(&other, 1, "another fetch is writing this file");
    net.assert_says(1, &["status"], 0, "fetching");
    net.assert_says(1, &["limit", "--down", "none"], 0, "no limit");
    assert_eq!(first.end().0, Some(0));
    assert_eq!(wait_for("a program to end", || second.0.try_wait().unwrap()).code(), Some(0));
    assert_eq!(std::fs::read(&to).unwrap(), content);
}

#[test]
fn a_pipe_that_closes_harms_no_get() {
    let user = tempfile::tempdir().unwrap();
    let serving = Serving::new(&write(user.path(), "source", &bytes(100_000)), &[]);
    let to = user.path().join("to");
    let mut getting =
        Running::start(Command::new(ASKAROUND).args(serving.get(to.to_str().unwrap(), &["--json"])));
    drop(getting.0.stdout.take());
    assert_eq!(getting.end().0, Some(0));
    assert!(to.exists());
    // Without a terminal there is no bar, and what is soon done needs no line.
    let again = user.path().join("again");
    let output = run(ASKAROUND, &serving.get(again.to_str().unwrap(), &[]));
    assert!(!stderr(&output).contains('\u{1b}'), "{}", stderr(&output));
    let quiet = user.path().join("quiet");
    let output = run(ASKAROUND, &serving.get(quiet.to_str().unwrap(), &["-q"]));
    assert_eq!((stdout(&output).as_str(), stderr(&output).as_str()), ("", ""));
}

#[test]
fn verify_repairs_what_is_wrong_from_others() {
    let (net, user) = (Net::new(2), tempfile::tempdir().unwrap());
    let (large, small) = (bytes(300_000), b"small".as_slice());
    let sources = [write(user.path(), "a/large", &large), write(user.path(), "a/small", small)];
    let copies = [write(user.path(), "b/large", &large), write(user.path(), "b/small", small)];
    std::fs::set_permissions(&copies[1], std::fs::Permissions::from_mode(0o755)).unwrap();
    net.assert_says(0, &["add", &sources[0], &sources[1]], 0, "added");
    net.assert_says(1, &["add", &copies[0], &copies[1]], 0, "added");
    std::fs::File::options().write(true).open(&copies[0]).unwrap().write_all_at(b"?", 70_000).unwrap();
    std::fs::remove_file(&copies[1]).unwrap();
    net.assert_says(1, &["verify"], 1, "2 bad");
    // What its user seems to have changed is written over only when it is named.
    net.assert_says(1, &["verify", "--repair"], 1, "by its key");
    assert_ne!(std::fs::read(&copies[0]).unwrap(), large);
    let key = key_of(&net.verb(0, &["add", "-q", &sources[0]]));
    net.assert_says(1, &["verify", "--repair", &key], 0, "repaired");
    assert_eq!(std::fs::read(&copies[0]).unwrap(), large);
    assert_eq!(std::fs::read(&copies[1]).unwrap(), small);
    let mode = std::fs::metadata(&copies[1]).unwrap().permissions().mode();
    assert_eq!(mode & 0o100, 0o100, "it can be run again");
    net.assert_says(1, &["verify"], 0, "2 files good");
    assert_eq!(std::fs::read_dir(user.path().join("b")).unwrap().count(), 2, "something was left behind");
}

#[test]
fn a_repair_neither_undoes_an_edit_nor_leaves_half_a_file() {
    let (net, user) = (Net::new(2), tempfile::tempdir().unwrap());
    let file = write(user.path(), "a/thesis", b"draft 1");
    let first = key_of(&net.verb(0, &["add", "-q", &file]));
    // The folder is still known as it was.
    let folder = key_of(&net.verb(0, &["add", "-q", user.path().join("a").to_str().unwrap()]));
    write(user.path(), "a/thesis", b"draft two");
    let second = key_of(&net.verb(0, &["add", "-q", &file]));
    for words in [vec!["verify", "--repair"], vec!["verify", "--repair", &first]] {
        net.assert_says(0, &words, 1, &second);
        assert_eq!(std::fs::read(&file).unwrap(), b"draft two");
    }
    net.assert_says(0, &["purge", &folder], 0, "purged");
    std::fs::remove_file(&file).unwrap();
    net.assert_says(0, &["verify", "--repair"], 1, "could not be repaired");
    assert!(!Path::new(&file).exists(), "a file has its name only once it is whole");
}

#[test]
fn rates_are_limits_that_can_be_changed() {
    let net = Net::new(1);
    net.assert_says(0, &["limit", "--up", "5M"], 0, "at most 5.00 MB/s");
    net.assert_says(0, &["limit", "--down", "500k"], 0, "at most 5.00 MB/s");
    net.assert_says(0, &["status"], 0, "at most 500 kB/s");
    net.assert_says(0, &["limit", "--up", "none", "--down", "none"], 0, "no limit");
    net.assert_says(0, &["limit", "--up", "fast"], 2, "expected bytes a second");
    let key = "0b".repeat(16);
    net.assert_says(0, &["get", &key, "--up", "1M"], 2, "askaround limit");
}

#[test]
fn serving_needs_a_tracker() {
    let output = run(ASKAROUND, &["add", "--serve", "/dev/null"]);
    assert_fails(&output, 2, "--serve needs --tracker");
}

#[test]
fn a_second_ctrl_c_ends_a_command_whose_output_nobody_reads() {
    let user = tempfile::tempdir().unwrap();
    let serving = Serving::new(&write(user.path(), "source", b"content"), &[]);
    let to = user.path().join("to");
    let (_reader, mut writer) = std::io::pipe().unwrap();
    // As much as goes into a pipe.
    writer.write_all(&[b'x'; 1 << 16]).unwrap();
    let mut command = Command::new(ASKAROUND);
    command.args(serving.get(to.to_str().unwrap(), &[])).stdout(writer).stderr(Stdio::null());
    let mut getting = Running(command.spawn().unwrap());
    wait_for("it to be here", || to.exists().then_some(()));
    let status = wait_for("its end", || {
        getting.signal("-INT");
        getting.0.try_wait().unwrap()
    });
    assert_eq!(status.code(), Some(130));
}
