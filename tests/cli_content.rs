//! Content by command: what is added, listed, verified and purged, with real programs.

mod support;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::content::{bytes, json_lines, write};
use support::net::{Net, start};
use support::serving::key_of;
use support::{ASKAROUND, Running, lines_of, stderr, stdout, wait_for};

#[test]
fn what_is_added_goes_by_two_keys_until_it_is_purged() {
    let (net, user) = (Net::new(2), tempfile::tempdir().unwrap());
    let path = write(user.path(), "hello", b"hello\n");
    // As b3sum and md5sum print them.
    let blake3 = "8e4c7c1b99dbfd50e7a95185fead5ee1448fa904a2fdd778eaf5f2dbfd629a99";
    let md5 = "b1946ac92492d2347c6235b4d2611184";
    net.assert_says(0, &["add", &path], 0, &format!("md5    {md5}"));
    let listed: Value = serde_json::from_str(&stdout(&net.verb(0, &["ls", "--json"]))).unwrap();
    let listed = &listed["contents"][0];
    assert_eq!((&listed["path"], &listed["condition"]), (&Value::from(path.as_str()), &"good".into()));
    assert_eq!(listed["blake3"], blake3);
    for key in [md5, blake3] {
        net.assert_says(1, &["find", key], 0, "found");
    }
    net.assert_says(0, &["ls"], 0, &blake3[..12]);
    net.assert_says(0, &["ls", "-l"], 0, md5);
    net.assert_says(0, &["purge", &md5[..8]], 0, &format!("purged {md5}; {path} stays where it is"));
    assert!(Path::new(&path).exists(), "a purge removed the user's file");
    for key in [md5, blake3] {
        net.assert_says(1, &["find", key], 1, "nobody has");
    }
    net.assert_says(0, &["ls"], 0, "nothing");
    net.assert_says(0, &["purge", blake3], 1, "is not held");
    net.assert_says(0, &["purge", &blake3[..12]], 1, "is not held");
    net.assert_says(0, &["purge", &blake3[..7]], 1, "at least the first 8 digits");
}

#[test]
fn the_first_digits_of_a_key_do_for_what_is_here() {
    let (net, user) = (Net::new(2), tempfile::tempdir().unwrap());
    let path = write(user.path(), "hello", b"hello\n");
    let (blake3, md5) = ("8e4c7c1b99db", "b1946ac92492");
    net.assert_says(0, &["add", &path], 0, md5);
    let copy = user.path().join("copy");
    net.assert_says(0, &["get", blake3, "-o", copy.to_str().unwrap()], 0, "");
    assert_eq!(std::fs::read(&copy).unwrap(), b"hello\n");
    net.assert_says(0, &["verify", &md5[..8]], 0, "");
    net.assert_says(0, &["verify", "8e4c7c1c"], 1, "begins with 8e4c7c1c");
    net.assert_says(0, &["verify", &md5[..7]], 2, "7 digits");
    net.assert_says(0, &["why", "8e4c7c1c"], 1, "begins with 8e4c7c1c");
    net.assert_says(0, &["why", blake3], 0, "");
    net.assert_says(1, &["find", blake3], 1, "is not a whole key of content");
    // The other peer has it not, and nobody is asked for half a key.
    net.assert_says(1, &["get", blake3, "-o", "/nowhere/x"], 1, "whole key");
}

#[test]
fn a_folder_is_one_content_and_each_of_its_files_another() {
    let (net, user) = (Net::new(1), tempfile::tempdir().unwrap());
    let folder = user.path().join("a folder");
    write(&folder, "x", b"hello\n");
    write(&folder, "sub/y", &bytes(200_000));
    std::os::unix::fs::symlink("x", folder.join("link")).unwrap();
    let added = net.verb(0, &["add", "--json", folder.to_str().unwrap()]);
    let lines = json_lines(&stdout(&added));
    assert!(lines.iter().any(|line| line["event"] == "left_out"), "{lines:?}");
    let added = &lines.last().unwrap()["added"][0];
    assert_eq!((&added["files"], &added["size"]), (&2.into(), &200_006.into()));
    let quietly = net.verb(0, &["add", "-q", folder.to_str().unwrap()]);
    assert_eq!(stdout(&quietly).trim(), added["blake3"]);
    assert!(
        stderr(&quietly).contains("link") && stderr(&quietly).lines().count() == 1,
        "{}",
        stderr(&quietly)
    );
    net.assert_says(0, &["ls"], 0, "2 files");
    assert_eq!(stdout(&net.verb(0, &["ls"])).lines().count(), 2, "the files of a folder are not listed");
    assert_eq!(stdout(&net.verb(0, &["ls", "--all"])).lines().count(), 4);
    let file = "b1946ac92492d2347c6235b4d2611184";
    net.assert_says(0, &["find", file], 0, "this peer holds it");
    net.assert_says(0, &["purge", file], 1, "purge the folder");
    net.assert_says(0, &["purge", added["blake3"].as_str().unwrap()], 0, "purged");
    net.assert_says(0, &["find", file], 1, "nobody has");
}

#[test]
fn verify_finds_one_wrong_byte_and_a_file_that_is_gone() {
    let (net, user) = (Net::new(1), tempfile::tempdir().unwrap());
    let (a, b) = (write(user.path(), "a", &bytes(300_000)), write(user.path(), "b", b"b"));
    net.assert_says(0, &["add", &a, &b], 0, "added");
    net.assert_says(0, &["verify"], 0, "2 files good, 300 kB");
    std::fs::File::options().write(true).open(&a).unwrap().write_all_at(b"?", 70_000).unwrap();
    net.assert_says(0, &["ls"], 0, "changed");
    net.assert_says(0, &["verify"], 1, "a: bad: 1 of 5 pieces are wrong or missing");
    std::fs::remove_file(&b).unwrap();
    net.assert_says(0, &["ls"], 0, "What is missing is not served: put it back");
    let lines = json_lines(&stdout(&net.verb(0, &["verify", "--json"])));
    assert_eq!(lines.last().unwrap()["verified"]["bad"], 2, "{lines:?}");
    net.assert_says(0, &["verify", "3e25960a79dbc69b674cd4ec67a72c62"], 1, "is not here");
    // The md5 of the one that is gone, of which nothing can stay.
    let purged = stdout(&net.verb(0, &["purge", "92eb5ffee6ae2fec3ad71c777531578f"]));
    assert_eq!(purged, "purged 92eb5ffee6ae2fec3ad71c777531578f\n");
    net.assert_says(0, &["verify", "k"], 2, "expected a BLAKE3 hash of 64 hexadecimal digits");
}

#[test]
fn what_is_at_several_places_is_one_content_and_each_of_them_is_seen_to() {
    let (net, user) = (Net::new(2), tempfile::tempdir().unwrap());
    let [a, b] = ["a", "b"].map(|name| write(user.path(), name, &bytes(300_000)));
    net.assert_says(0, &["add", &a, &b], 0, "added");
    net.assert_says(0, &["ls"], 0, "a and 1 more");
    let listed: Value = json_lines(&stdout(&net.verb(0, &["ls", "--json"]))).pop().unwrap();
    let listed = &listed["contents"][0];
    assert_eq!((&listed["path"], &listed["also"]), (&a.as_str().into(), &vec![b.as_str()].into()));
    let key = listed["blake3"].as_str().unwrap().to_owned();
    std::fs::remove_file(&a).unwrap();
    net.assert_says(0, &["ls"], 0, "good");
    net.assert_says(0, &["ls"], 0, "b and 1 more");
    let to = user.path().join("to");
    net.assert_says(1, &["get", &key, "-o", to.to_str().unwrap()], 0, "got");
    // Its user has removed one of two.
    net.assert_says(0, &["verify"], 0, "a: is gone, and forgotten: ");
    net.assert_says(0, &["verify"], 0, "1 file good");
    net.assert_says(0, &["add", &write(user.path(), "a", &bytes(300_000))], 0, "added");
    net.assert_says(0, &["ls"], 0, "a and 1 more");
    for damaged in [&a, &b] {
        std::fs::File::options().write(true).open(damaged).unwrap().write_all_at(b"?", 70_000).unwrap();
    }
    // Nobody has what is wrong in both.
    net.assert_says(1, &["purge", &key], 0, "purged");
    net.assert_says(0, &["verify", "--repair", &key], 1, "a: could not be repaired");
    std::fs::write(&b, bytes(300_000)).unwrap();
    // Nobody else has to be asked for what is here.
    net.assert_says(0, &["verify", "--repair", &key], 0, "a: repaired");
    assert_eq!(std::fs::read(&a).unwrap(), bytes(300_000));
    net.assert_says(0, &["purge", &key], 0, "a and 1 more stay where they are");
    net.assert_says(0, &["ls"], 0, "nothing");
}

#[test]
fn copies_that_are_not_known_are_found_again_only_where_the_state_was_lost() {
    let (mut net, user) = (Net::new(1), tempfile::tempdir().unwrap());
    net.assert_says(0, &["add", "--copy", &write(user.path(), "a", &bytes(70_000))], 0, "added");
    let files = net.dir(0).join("files");
    std::fs::write(files.join(".askaround-copy-1"), "half").unwrap();
    std::fs::write(files.join("left"), "of a purge").unwrap();
    // It is killed.
    net.peers[0] = None;
    net.peers[0] = Some(net.start_peer(0));
    assert!(!files.join(".askaround-copy-1").exists());
    net.assert_says(0, &["verify"], 0, "1 file good, 70.0 kB");
    net.peers[0].as_ref().unwrap().signal("-INT");
    let (_, said) = net.peers[0].take().unwrap().end();
    assert!(said.contains("left is left of a copy that was being added or purged"), "{said}");
    std::fs::remove_file(net.dir(0).join("state.redb")).unwrap();
    net.peers[0] = Some(net.start_peer(0));
    net.assert_says(0, &["verify"], 0, "2 files good");
}

#[test]
fn a_copy_that_cannot_be_removed_is_told_and_not_held() {
    let (net, user) = (Net::new(1), tempfile::tempdir().unwrap());
    net.assert_says(0, &["add", "--copy", &write(user.path(), "a", b"abc")], 0, "added");
    let copy = net.dir(0).join("files/a");
    std::fs::remove_file(&copy).unwrap();
    std::fs::create_dir(&copy).unwrap();
    // The md5 of abc.
    let key = "900150983cd24fb0d6963f7d28e17f72";
    net.assert_says(0, &["contents", "1"], 0, key);
    net.assert_says(0, &["purge", key], 1, "a copy of it stays: ");
    assert!(!stdout(&net.verb(0, &["contents", "1"])).contains(key));
}

#[test]
fn what_cannot_be_added_is_named() {
    let (net, user) = (Net::new(1), tempfile::tempdir().unwrap());
    let path = user.path().join("not there");
    net.assert_says(0, &["add", path.to_str().unwrap()], 2, "not there: there is no such file");
    net.assert_says(0, &["add", "/dev/null"], 2, "/dev/null: is neither a file nor a folder");
    let odd = user.path().join(OsStr::from_bytes(b"\xff"));
    std::fs::write(&odd, "odd").unwrap();
    let dir = net.dir(0).to_str().unwrap();
    let output = Command::new(ASKAROUND).args(["add", "--dir", dir]).arg(&odd).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains(": is not UTF-8"), "{}", stderr(&output));
    // Nothing was copied, so a copy is what makes a difference.
    let file = write(user.path(), "file", b"f");
    net.assert_says(0, &["add", "-q", "--copy", &file], 0, "");
    std::fs::remove_file(&file).unwrap();
    net.assert_says(0, &["verify"], 0, "1 file good");
    let key = stdout(&net.verb(0, &["ls", "-l"])).lines().nth(1).unwrap()[..64].to_owned();
    net.assert_says(0, &["purge", &key], 0, "purged");
    write(user.path(), "folder/of", b"f");
    let folder = net.verb(0, &["add", "-q", "--copy", user.path().join("folder").to_str().unwrap()]);
    let key = stdout(&folder).trim().to_owned();
    assert_eq!(stdout(&net.verb(0, &["purge", &key])), format!("purged {key}\n"), "nothing of it stays");
    assert_eq!(std::fs::read_dir(net.dir(0).join("files")).unwrap().count(), 0, "the copy is gone");
}

#[test]
fn a_damaged_state_is_said_and_what_was_copied_is_found_again() {
    let (mut net, user) = (Net::new(2), tempfile::tempdir().unwrap());
    let folder = user.path().join("folder");
    let (file, _) = (write(user.path(), "file", &bytes(200_000)), write(&folder, "x/y", b"y"));
    let mine = write(user.path(), "mine", b"mine");
    net.assert_says(0, &["add", "--copy", &file, folder.to_str().unwrap()], 0, "added");
    let keys = |net: &Net| {
        let listed: Value = serde_json::from_str(&stdout(&net.verb(0, &["ls", "--json"]))).unwrap();
        let contents = listed["contents"].as_array().unwrap().clone();
        contents.iter().map(|content| content["blake3"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let before = keys(&net);
    assert_eq!(before.len(), 3, "a file, a folder, its file");
    net.assert_says(0, &["add", &mine], 0, "added");
    let peer = net.peers[0].take().unwrap();
    peer.signal("-INT");
    peer.end();
    let state = net.dir(0).join("state.redb");
    let good = std::fs::read(&state).unwrap();
    let mut refused = 0;
    for page in 0..good.len() / 4096 {
        let damaged = std::fs::File::create(&state).unwrap();
        damaged.write_all_at(&good, 0).unwrap();
        damaged.write_all_at(&[0xa5; 4096], page as u64 * 4096).unwrap();
        let (dir, tracker) = (net.dir(0).to_str().unwrap(), &net.tracker);
        let words = ["peer", "--listen", "127.0.0.1:0", "--tracker", tracker, "--dir", dir];
        let mut peer = Running::start(Command::new(ASKAROUND).args(words));
        let mut line = String::new();
        BufReader::new(peer.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line.is_empty() {
            let (status, said) = peer.end();
            assert_eq!((status, said.lines().count()), (Some(2), 1), "page {page}: {said}");
            assert!(said.contains("state.redb is damaged") && said.contains("move it away"), "{said}");
            refused += 1;
        } else {
            peer.signal("-INT");
            assert_eq!(peer.end().0, Some(130), "page {page}");
        }
    }
    assert!(refused > 0);
    std::fs::remove_file(&state).unwrap();
    net.peers[0] = Some(net.start_peer(0));
    assert_eq!(keys(&net), before);
    net.assert_says(0, &["verify"], 0, "2 files good");
    for key in &before {
        wait_for("it to be found", || (net.verb(1, &["find", key]).status.code() == Some(0)).then_some(()));
    }
    net.assert_says(0, &["add", &mine], 0, "added");
}

#[test]
fn ctrl_c_stops_the_work_of_the_peer() {
    let (net, user) = (Net::new(1), tempfile::tempdir().unwrap());
    let path = user.path().join("endless");
    // No machine reads this in the time of a test.
    std::fs::File::create(&path).unwrap().set_len(1 << 42).unwrap();
    let dir = net.dir(0).to_str().unwrap();
    let words = ["add", path.to_str().unwrap(), "--json", "--dir", dir];
    let mut adding = Running::start(Command::new(ASKAROUND).args(words));
    let mut line = String::new();
    BufReader::new(adding.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(json_lines(&line)[0]["event"], "reading");
    adding.signal("-INT");
    let (status, said) = adding.end();
    assert_eq!(status, Some(130), "{said}");
    let peer = net.verb(0, &["ls"]);
    assert_eq!(stdout(&peer), "nothing\n", "{}", stderr(&peer));
}

#[test]
fn a_running_peer_tells_once_of_a_file_that_it_serves_no_longer() {
    let (mut net, user) = (Net::new(2), tempfile::tempdir().unwrap());
    let [changed, gone] =
        ["changed", "gone"].map(|name| write(user.path(), name, &bytes(100_000)[name.len()..]));
    let keys = [&changed, &gone].map(|path| key_of(&net.verb(0, &["add", "-q", path])));
    std::fs::File::options().write(true).open(&changed).unwrap().set_len(10).unwrap();
    let away = user.path().join("away");
    std::fs::rename(&gone, &away).unwrap();
    let addr = json_lines(&stdout(&net.verb(0, &["status", "--json"])))[0]["status"]["me"][2].clone();
    let (from, to) = (format!("127.0.0.1:{addr}"), user.path().join("to"));
    let get = |net: &Net, key: &str, status| {
        let words = ["get", key, "-o", to.to_str().unwrap(), "--from", &from];
        net.assert_says(1, &words, status, "");
    };
    for key in [&keys[0], &keys[1], &keys[0], &keys[1]] {
        get(&net, key, 1);
    }
    net.assert_says(0, &["ls"], 0, "missing");
    let mut peer = net.peers[0].take().unwrap();
    let mut told = lines_of(peer.0.stderr.take().unwrap()).filter(|line| line.contains("served"));
    let mut lines: Vec<_> = told.by_ref().take(2).collect();
    std::fs::rename(&away, &gone).unwrap();
    get(&net, &keys[1], 0);
    net.assert_says(1, &["purge", &keys[1]], 0, "purged");
    net.assert_says(1, &["find", &keys[1]], 0, "found");
    peer.signal("-INT");
    lines.extend(told);
    let expected = [
        format!("{changed} was changed and is not served any more"),
        format!("{gone} is gone and is not served any more"),
        format!("{gone} is as it was, and served again"),
    ];
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines.iter().zip(&expected).all(|(line, expected)| line.starts_with(expected)), "{lines:?}");
    assert!(lines[0].contains(&format!("askaround verify {}", &keys[0][..12])), "{lines:?}");
}

#[test]
fn whoever_serves_a_file_is_told_once_that_it_is_not_what_it_was() {
    let user = tempfile::tempdir().unwrap();
    let (_tracker, tracker) = start(&["tracker", "--listen", "127.0.0.1:0"]);
    let [one, other] = ["one", "other"].map(|name| write(user.path(), name, name.as_bytes()));
    let words = ["add", "--serve", &one, &other, "--listen", "127.0.0.1:0", "--tracker", &tracker];
    let serve = |more: &[&str]| Running::start(Command::new(ASKAROUND).args(words).args(more));
    let mut serving = serve(&["--json"]);
    let mut lines = lines_of(serving.0.stdout.take().unwrap());
    let mut until = |event: &str| loop {
        let line = json_lines(&lines.next().unwrap_or_else(|| panic!("no {event}"))).remove(0);
        if line["event"] == event {
            return line;
        }
    };
    until("serving");
    let away = user.path().join("away");
    std::fs::rename(&one, &away).unwrap();
    let told = until("condition");
    assert_eq!((&told["path"], &told["condition"]), (&one.as_str().into(), &"missing".into()));
    std::fs::rename(&away, &one).unwrap();
    let told = until("condition");
    assert_eq!((&told["path"], &told["condition"]), (&one.as_str().into(), &"good".into()));
    std::fs::write(&one, "one more").unwrap();
    let told = until("condition");
    assert_eq!((&told["path"], &told["condition"]), (&one.as_str().into(), &"changed".into()));
    std::fs::remove_file(&other).unwrap();
    let told = until("condition");
    assert_eq!((&told["path"], &told["condition"]), (&other.as_str().into(), &"missing".into()));
    // What was told already is not told again with what is looked at next.
    serving.signal("-INT");
    assert_eq!(serving.end().0, Some(130));
    let more: Vec<_> = lines.filter(|line| line.contains("condition")).collect();
    assert!(more.is_empty(), "{more:?}");

    write(user.path(), "other", b"other");
    let mut serving = serve(&[]);
    let mut said = lines_of(serving.0.stderr.take().unwrap());
    assert!(said.next().unwrap().starts_with("registered"));
    let mut printed = lines_of(serving.0.stdout.take().unwrap());
    assert!(printed.any(|line| line.contains("until Ctrl-C")));
    std::fs::remove_file(&other).unwrap();
    let told = said.find(|line| line.contains("not served any more")).unwrap();
    assert_eq!(
        told,
        format!("{other} is gone and is not served any more: put it back and give this command again")
    );
}

#[test]
fn of_many_files_that_are_served_no_longer_a_few_are_named() {
    let user = tempfile::tempdir().unwrap();
    let (_tracker, tracker) = start(&["tracker", "--listen", "127.0.0.1:0"]);
    let files: Vec<_> = (0..9_u8).map(|n| write(user.path(), &n.to_string(), &[n])).collect();
    // By somebody who may read only what everybody may.
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user"]);
    command.args(["setpriv", "--bounding-set", "-dac_override,-dac_read_search", ASKAROUND]);
    command.args(["add", "--serve", "--listen", "127.0.0.1:0", "--tracker", &tracker]).args(&files);
    let mut serving = Running::start(&mut command);
    let mut said = lines_of(serving.0.stderr.take().unwrap());
    let mut printed = lines_of(serving.0.stdout.take().unwrap());
    assert!(printed.any(|line| line.contains("until Ctrl-C")));
    let chmod = |mode| std::fs::set_permissions(&files[0], std::fs::Permissions::from_mode(mode)).unwrap();
    chmod(0);
    let mut told = || said.find(|line| line.contains("served ")).unwrap();
    let expected = "cannot be read and is not served any more: see to its permissions";
    assert_eq!(told(), format!("{} {expected}", files[0]));
    chmod(0o600);
    assert_eq!(told(), format!("{} is as it was, and served again", files[0]));
    let away = user.path().join("away");
    std::fs::create_dir(&away).unwrap();
    serving.signal("-STOP");
    for (n, file) in files.iter().enumerate() {
        std::fs::rename(file, away.join(n.to_string())).unwrap();
    }
    serving.signal("-CONT");
    for _ in 0..5 {
        assert!(told().contains(" is gone and is not served any more: "));
    }
    assert_eq!(told(), "4 other files are not served any more");
}
