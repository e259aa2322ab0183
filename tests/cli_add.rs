//! `add` and other verbs at the edges of the local socket: more than one request can say, a socket
//! that cannot be used.

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;

use serde_json::Value;
use support::content::{json_lines, write};
use support::net::Net;
use support::{ASKAROUND, run, stderr, stdout};

/// The longest request.
const MAX_REQUEST: usize = 1 << 20;

#[test]
fn paths_that_are_too_many_for_one_request_are_added_in_several() {
    let (net, user) = (Net::new(1), tempfile::tempdir().unwrap());
    // Long paths, so that few are enough.
    let folder = (0..8).fold(user.path().to_owned(), |folder, _| folder.join("d".repeat(200)));
    let paths: Vec<_> =
        (0..700).map(|n: u32| write(&folder, &format!("file {n}"), &n.to_le_bytes())).collect();
    assert!(paths.iter().map(String::len).sum::<usize>() > MAX_REQUEST);
    let words: Vec<_> = ["add", "--json"].into_iter().chain(paths.iter().map(String::as_str)).collect();
    let added = net.verb(0, &words);
    assert_eq!(added.status.code(), Some(0), "{}", stderr(&added));
    let lines = json_lines(&stdout(&added));
    let told = lines.iter().filter(|line| line["event"] == "added").map(|line| &line["path"]);
    assert!(told.eq(paths.iter().map(String::as_str)), "not each was told of once, in order");
    let (last, events) = lines.split_last().unwrap();
    assert!(events.iter().all(|line| line["event"].is_string()), "more than one result");
    let result = last["added"].as_array().unwrap().iter().map(|added| &added["path"]);
    assert!(result.eq(paths.iter().map(String::as_str)), "{last}");
    // One that cannot be added ends it as in one request.
    let gone = folder.join("gone");
    let words = [&words[..], &[gone.to_str().unwrap()]].concat();
    let failed = net.verb(0, &words);
    assert_eq!(failed.status.code(), Some(2));
    let lines = json_lines(&stdout(&failed));
    assert!(lines.last().unwrap()["error"].as_str().unwrap().contains("gone: there is no such file"));
    assert_eq!(lines.iter().filter(|line| line["event"] == "added").count(), paths.len());
}

#[test]
fn a_request_that_is_too_long_is_wrong_use_and_says_so() {
    let net = Net::new(1);
    let keys: Vec<_> = (0..MAX_REQUEST / 64).map(|n| format!("{n:064x}")).collect();
    let words: Vec<_> = ["verify"].into_iter().chain(keys.iter().map(String::as_str)).collect();
    net.assert_says(0, &words, 2, "takes 1048576 bytes at once");
    // Nor does the peer take it for a damaged one.
    let mut stream = UnixStream::connect(net.dir(0).join("peer.sock")).unwrap();
    stream.write_all(&vec![b' '; MAX_REQUEST]).unwrap();
    let mut reply = String::new();
    BufReader::new(stream).read_line(&mut reply).unwrap();
    let reply: Value = serde_json::from_str(&reply).unwrap();
    assert_eq!(reply["unusable"], "a request has at most 1048576 bytes");
}

#[test]
fn a_socket_that_cannot_be_reached_is_not_taken_for_none() {
    let user = tempfile::tempdir().unwrap();
    let file = write(user.path(), "file", b"x");
    std::os::unix::fs::symlink("peer.sock", user.path().join("peer.sock")).unwrap();
    let dir = user.path().to_str().unwrap();
    for words in [&["ls"][..], &["add", &file], &["get", &"0".repeat(64)]] {
        let output = run(ASKAROUND, &[words, &["--dir", dir]].concat());
        let expected = format!("cannot talk to the peer on {dir}: ");
        assert!(stderr(&output).contains(&expected), "{words:?}: {}", stderr(&output));
        assert_eq!(output.status.code(), Some(1));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_peer_whose_folder_has_a_path_too_long_for_a_socket_is_reached() {
    let user = tempfile::tempdir().unwrap();
    let dir = user.path().join("d".repeat(120));
    let dir = dir.to_str().unwrap();
    let ls = ["ls", "--dir", dir];
    support::serving::assert_fails(&run(ASKAROUND, &ls), 1, "no peer is running on");
    let (peer, _) =
        support::net::start(&["peer", "--listen", "127.0.0.1:0", "--tracker", "127.0.0.1:9", "--dir", dir]);
    let listed = run(ASKAROUND, &ls);
    assert_eq!((listed.status.code(), stdout(&listed).as_str()), (Some(0), "nothing\n"));
    peer.signal("-TERM");
    assert_eq!(peer.end().0, Some(143));
    assert!(!std::path::Path::new(dir).join("peer.sock").exists());
}

#[test]
fn a_peer_keeps_its_own_state_to_itself() {
    let net = Net::new(1);
    let link = net.dir(0).join("link");
    std::os::unix::fs::symlink("state.redb", &link).unwrap();
    for path in [net.dir(0).join("state.redb"), link] {
        let words = ["add", path.to_str().unwrap()];
        net.assert_says(0, &words, 2, "is the state of this peer, which it keeps to itself");
    }
    // Another file of that name is one as any other.
    write(&net.dir(0).join("sub"), "state.redb", b"x");
    let added = net.verb(0, &["add", "--json", net.dir(0).to_str().unwrap()]);
    let lines = json_lines(&stdout(&added));
    let left_out: Vec<_> = lines.iter().filter_map(|line| line["text"].as_str()).collect();
    let state = format!("{}: left out: the state of this peer", net.dir(0).join("state.redb").display());
    assert!(left_out.contains(&state.as_str()), "{left_out:?}");
    assert_eq!(lines.last().unwrap()["added"][0]["files"], 1, "{lines:?}");
    net.assert_says(0, &["verify"], 0, "1 file good");
}

#[test]
fn what_was_at_a_path_before_it_was_changed_and_added_again_is_forgotten_and_told() {
    let (net, user) = (Net::new(1), tempfile::tempdir().unwrap());
    let folder = user.path().join("build");
    let (path, same) = (write(&folder, "program", b"of monday"), write(&folder, "same", b"same"));
    let add = |words: &[&str]| {
        let added = net.verb(0, &[&["add", "--json"], words].concat());
        assert_eq!(added.status.code(), Some(0), "{}", stderr(&added));
        json_lines(&stdout(&added))
    };
    let result = |lines: &[Value]| lines.last().unwrap()["added"][0].clone();
    let folder = folder.to_str().unwrap();
    let monday = [result(&add(&[folder])), result(&add(&[&path]))];
    write(user.path(), "build/program", b"of tuesday");
    let lines = add(&[folder]);
    let told: Vec<_> = lines.iter().filter(|line| line["event"] == "replaced").collect();
    assert_eq!(told.len(), 2, "{lines:?}");
    for (before, at) in monday.iter().zip([folder, &path]) {
        assert!(told.iter().any(|line| line["blake3"] == before["blake3"] && line["path"] == at), "{told:?}");
        net.assert_says(0, &["purge", before["blake3"].as_str().unwrap()], 1, "");
    }
    let listed = json_lines(&stdout(&net.verb(0, &["ls", "--json"])));
    let listed = listed[0]["contents"].as_array().unwrap();
    let mut paths: Vec<_> = listed.iter().map(|content| content["path"].as_str().unwrap()).collect();
    paths.sort_unstable();
    assert_eq!(paths, [folder, &path, &same]);
    assert!(listed.iter().all(|content| content["condition"] == "good"), "{listed:?}");
    let held = json_lines(&stdout(&net.verb(0, &["contents", "1", "--json"])));
    let before = monday.iter().flat_map(|before| [&before["blake3"], &before["md5"]]);
    let held = held[0]["keys"].as_array().unwrap();
    assert!(before.into_iter().all(|key| !held.contains(key)), "{held:?}");
}
