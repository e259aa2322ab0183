//! A live tracker and its peers, and the verbs against them.

mod support;

use std::process::Command;

use support::content::{json_lines, write};
#[cfg(target_os = "linux")]
use support::lines_of;
use support::net::{Net, start};
use support::serving::wait_for_words;
use support::{ASKAROUND, Running, run, stderr, stdout, wait_for};

#[test]
fn the_verbs_do_what_they_say() {
    let net = Net::new(3);
    net.assert_says(2, &["hold", "k"], 0, "holds k");
    net.assert_says(2, &["hold", "k"], 0, "held k already");
    net.assert_says(2, &["hold", "k"], 0, "k is no hash of content");
    assert_eq!(stderr(&net.verb(2, &["hold", &"0b".repeat(16)])), "");
    net.assert_says(0, &["find", "k"], 0, "found k at <3, 127.0.0.1,");
    net.assert_says(0, &["find", "k", "--trace"], 0, "has it");
    net.assert_says(0, &["find", "other"], 1, "nobody has other");
    net.assert_says(0, &["contents", "3"], 0, "k\n");
    net.assert_says(0, &["contents", "9"], 1, "no peer 9 was ever registered");
    net.assert_says(0, &["known", "3"], 0, "nobody");
    net.assert_says(1, &["unregister"], 0, "unregistered 2");
    assert_eq!(stdout(&net.verb(0, &["peers"])).lines().count(), 3);
    net.assert_says(1, &["register"], 0, "registered as <2,");
    net.assert_says(2, &["purge", "k"], 0, "purged k");
    net.assert_says(2, &["purge", "k"], 1, "k is not held");
    net.assert_says(0, &["find", "a b"], 2, "a key has no white space");

    let json: serde_json::Value = serde_json::from_str(&stdout(&net.verb(0, &["peers", "--json"]))).unwrap();
    assert_eq!(json["peers"].as_array().unwrap().len(), 3);
    let found = net.verb(0, &["find", "other", "--trace", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&stdout(&found)).unwrap();
    assert_eq!(json["search"]["found"], serde_json::Value::Null);
    assert!(!json["search"]["trace"].as_array().unwrap().is_empty());
}

#[test]
fn who_knows_nobody_asks_the_tracker_and_then_all_whom_it_lists_at_once() {
    let mut net = Net::new(5);
    net.assert_says(4, &["hold", "k"], 0, "holds k");
    let found = stdout(&net.verb(0, &["find", "k", "--trace", "--json"]));
    let json: serde_json::Value = serde_json::from_str(&found).unwrap();
    let trace = json["search"]["trace"].as_array().unwrap();
    let asked: Vec<_> = trace.iter().map(|step| (&step["what"], &step["why"])).collect();
    assert_eq!(asked[0].0, "list", "{found}");
    assert!(asked[1..].iter().all(|(what, why)| *what == "have" && **why == *asked[1].1), "{found}");
    assert!((2..=5).contains(&asked.len()), "{found}");
    net.kill_tracker();
    let unasked = "not found k, but the tracker did not say who is online: ";
    net.assert_says(1, &["find", "k"], 1, unasked);
    let json: serde_json::Value =
        serde_json::from_str(&stdout(&net.verb(1, &["find", "k", "--json"]))).unwrap();
    assert!(json["search"]["tracker_failed"].is_string(), "{json}");
}

#[test]
fn a_peer_that_was_killed_comes_back_with_what_it_held() {
    let mut net = Net::new(1);
    for key in ["b", "a", "c"] {
        net.assert_says(0, &["hold", key], 0, "holds");
    }
    net.assert_says(0, &["purge", "a"], 0, "purged");
    let peer = net.peers[0].take().unwrap();
    peer.signal("-KILL");
    peer.end();
    net.assert_says(0, &["peers"], 1, "no peer is running");
    net.peers[0] = Some(net.start_peer(0));
    wait_for("the peer to be back", || (stdout(&net.verb(0, &["peers"])).lines().count() == 2).then_some(()));
    assert_eq!(stdout(&net.verb(0, &["contents", "1"])), "b\nc\n");
}

/// The system takes nothing from a program whose files must not grow, as from all on a full disk.
#[test]
fn what_the_disk_does_not_take_is_told_and_stored_once_it_does() {
    let mut net = Net::new(1);
    let stop = |peer: Running| {
        peer.signal("-KILL");
        peer.end();
    };
    stop(net.peers[0].take().unwrap());
    let (tracker, dir) = (&net.tracker, net.dir(0).display());
    // Without the trap the system would end it.
    let words = format!("peer --listen 127.0.0.1:0 --tracker {tracker} --dir {dir} --id 1");
    let mut command = Command::new("sh");
    let mut peer = Running::start(command.args(["-c", &format!("trap '' XFSZ; exec {ASKAROUND} {words}")]));
    let files_end_at = |bytes: &str, peer: &Running| {
        let (limit, process) = (format!("--fsize={bytes}:"), format!("--pid={}", peer.0.id()));
        assert!(Command::new("prlimit").args([limit, process]).status().unwrap().success());
    };
    wait_for("the peer to listen", || (net.verb(0, &["hold", "a"]).status.code() == Some(0)).then_some(()));
    files_end_at("4096", &peer);
    net.assert_says(0, &["hold", "b"], 1, "File too large");
    net.assert_says(0, &["hold", "c"], 1, "the peer stores it as soon as it can");
    net.assert_says(0, &["purge", "a"], 1, "File too large");
    net.assert_says(0, &["peers"], 0, "127.0.0.1:");
    files_end_at("unlimited", &peer);
    wait_for_words(&mut peer, "is stored again");
    peer.signal("-KILL");
    peer.0.wait().unwrap();
    net.peers[0] = Some(net.start_peer(0));
    wait_for("the peer to be back", || (stdout(&net.verb(0, &["peers"])).lines().count() == 2).then_some(()));
    assert_eq!(stdout(&net.verb(0, &["contents", "1"])), "a\nb\nc\n");
}

#[test]
fn status_says_whether_the_peer_is_registered_and_if_not_why() {
    let mut net = Net::new(1);
    let tracker = net.tracker.clone();
    let stands =
        |net: &Net| json_lines(&stdout(&net.verb(0, &["status", "--json"])))[0]["status"]["tracker"].take();
    net.assert_says(0, &["status"], 0, &format!("tracker   {tracker}, registered for "));
    let registered = stands(&net);
    assert_eq!((&registered["addr"], &registered["registered"]), (&tracker.as_str().into(), &true.into()));
    assert!(registered["why"].is_null() && registered["again_in"].is_null(), "{registered}");
    net.assert_says(0, &["unregister"], 0, "unregistered");
    net.assert_says(0, &["status"], 0, "s: it was told to unregister\n");
    net.kill_tracker();
    net.assert_says(0, &["register"], 1, "not reachable");
    net.assert_says(0, &["status"], 0, ": not reachable: Connection refused");
    let not = stands(&net);
    assert_eq!(not["registered"], false);
    assert!(not["why"].as_str().unwrap().starts_with("not reachable"), "{not}");
    let again = wait_for("a time of the next try", || stands(&net)["again_in"].as_f64());
    assert!(again <= 16.0, "{again}");
}

#[test]
fn a_peer_that_is_stopped_unregisters() {
    let mut net = Net::new(2);
    let peer = net.peers[1].take().unwrap();
    peer.signal("-INT");
    assert_eq!(peer.end().0, Some(130));
    assert_eq!(stdout(&net.verb(0, &["peers"])).lines().count(), 2, "heading and one peer");
}

/// Whether a program ignores SIGHUP, the first signal of the mask.
#[cfg(target_os = "linux")]
fn ignores_hangup(id: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() & 1 == 1
}

#[cfg(target_os = "linux")]
#[test]
fn a_terminal_that_is_closed_ends_a_peer_cleanly_unless_that_is_ignored() {
    let mut net = Net::new(2);
    let peer = net.peers[1].take().unwrap();
    peer.signal("-HUP");
    let (status, said) = peer.end();
    assert_eq!(status, Some(129), "{said}");
    assert_eq!(stdout(&net.verb(0, &["peers"])).lines().count(), 2);
    assert!(!net.dir(1).join("peer.sock").exists());

    let dir = net.dir(1).to_str().unwrap();
    let words = ["peer", "--listen", "127.0.0.1:0", "--tracker", &net.tracker, "--dir", dir];
    let mut running = Running::start(Command::new("nohup").arg(ASKAROUND).args(words));
    let line = lines_of(running.0.stdout.take().unwrap()).next();
    assert!(line.is_some_and(|line| line.contains("listens on")));
    assert!(ignores_hangup(running.0.id()));
    running.signal("-TERM");
    assert_eq!(running.end().0, Some(143));
}

#[test]
fn two_peers_cannot_share_a_folder() {
    let net = Net::new(1);
    let output = net.verb(0, &["peer", "--listen", "127.0.0.1:0", "--tracker", &net.tracker]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("another peer is running on"), "{}", stderr(&output));
    let file = tempfile::NamedTempFile::new().unwrap();
    let dir = ["--dir", file.path().to_str().unwrap()];
    let peer = ["peer", "--listen", "127.0.0.1:0", "--tracker", &net.tracker];
    let output = run(ASKAROUND, &[&peer[..], &dir].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("its folder is a file"), "{}", stderr(&output));
    let output = run(ASKAROUND, &[&["ls"], &dir[..]].concat());
    assert!(stderr(&output).contains("no peer is running on"), "{}", stderr(&output));
}

#[test]
fn help_version_completions_and_manual_pages() {
    let out = tempfile::tempdir().unwrap();
    assert_eq!(run(ASKAROUND, &["man", out.path().to_str().unwrap()]).status.code(), Some(0));
    assert!(out.path().join("askaround-find.1").is_file());
    assert!(stdout(&run(ASKAROUND, &["completions", "bash"])).contains("_askaround"));
    assert!(stdout(&run(ASKAROUND, &["--version"])).starts_with("askaround 0."));
    assert!(stdout(&run(ASKAROUND, &["lab", "run", "--help"])).contains("expected_outcomes"));
    assert_eq!(run(ASKAROUND, &["nonsense"]).status.code(), Some(2));
}

#[test]
fn a_peer_of_a_tracker_with_an_ipv6_address_can_be_reached_there() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        // A machine without IPv6 has no such tracker.
        return;
    }
    let (_tracker, tracker) = start(&["tracker", "--listen", "[::1]:0"]);
    let user = tempfile::tempdir().unwrap();
    let (file, dir) = (write(user.path(), "file", b"six"), user.path().join("dir"));
    let dir = dir.to_str().unwrap();
    let (_peer, addr) = start(&["peer", "--tracker", &tracker, "--dir", dir]);
    assert!(addr.starts_with("[::]:"), "{addr}");
    let added = run(ASKAROUND, &["add", "-q", &file, "--dir", dir]);
    let (key, to) = (stdout(&added), user.path().join("to"));
    wait_for("the peer to register", || {
        stdout(&run(ASKAROUND, &["peers", "--dir", dir])).contains("[::1]:").then_some(())
    });
    let words = ["get", key.trim(), "-o", to.to_str().unwrap(), "--tracker", &tracker];
    let got = run(ASKAROUND, &words);
    assert_eq!(got.status.code(), Some(0), "{}", stderr(&got));
    let refused = run(ASKAROUND, &[&words[..], &["--listen", "127.0.0.1:0"]].concat());
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("listen on an IPv6 address"), "{}", stderr(&refused));
    let (_tracker, four) = start(&["tracker", "--listen", "127.0.0.1:0"]);
    let words = ["get", key.trim(), "-o", to.to_str().unwrap(), "--tracker", &four, "--listen", "[::1]:0"];
    let refused = run(ASKAROUND, &words);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("listen on an IPv4 address"), "{}", stderr(&refused));
}
