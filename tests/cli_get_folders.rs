//! `get` of folders.

mod support;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use support::content::{bytes, json_lines, write};
use support::net::Net;
use support::serving::{Serving, assert_fails, key_of};
use support::{ASKAROUND, Running, run, stderr, stdout, wait_for};

#[test]
fn a_folder_whose_files_are_here_is_copied_and_that_is_said() {
    let (net, user) = (Net::new(1), tempfile::tempdir().unwrap());
    let folder = user.path().join("folder");
    write(&folder, "x", &bytes(100_000));
    write(&folder, "y", b"y");
    let key = key_of(&net.verb(0, &["add", "-q", folder.to_str().unwrap()]));
    let to = user.path().join("to");
    let words = ["get", &key, "-o", to.to_str().unwrap()];
    net.assert_says(0, &words, 0, &format!("was copied from {}/x and other files", folder.display()));
    net.assert_says(0, &words, 0, "is here already");
}

#[test]
fn a_folder_comes_whole_and_only_what_is_missing_comes_again() {
    let user = tempfile::tempdir().unwrap();
    let folder = user.path().join("folder");
    let run_me = write(&folder, "bin/run me", b"#!/bin/sh\n");
    std::fs::set_permissions(run_me, std::fs::Permissions::from_mode(0o755)).unwrap();
    write(&folder, "größe/data", &bytes(200_000));
    write(&folder, "empty", b"");
    let serving = Serving::new(folder.to_str().unwrap(), &[]);
    let to = user.path().join("copy");
    let words = serving.get(to.to_str().unwrap(), &["--json"]);
    let lines = json_lines(&stdout(&run(ASKAROUND, &words)));
    assert_eq!(lines.last().unwrap()["got"]["files"], 3, "{lines:?}");
    assert_eq!(std::fs::read(to.join("größe/data")).unwrap(), bytes(200_000));
    assert_eq!(std::fs::metadata(to.join("empty")).unwrap().len(), 0);
    let mode = std::fs::metadata(to.join("bin/run me")).unwrap().permissions().mode();
    assert_eq!(mode & 0o111, 0o111);
    std::fs::remove_file(to.join("bin/run me")).unwrap();
    let lines = json_lines(&stdout(&run(ASKAROUND, &words)));
    assert_eq!(lines.last().unwrap()["got"]["here_before"], 200_000, "{lines:?}");
    assert!(to.join("bin/run me").exists());
    // What is in the way is named, all of it, and stays.
    let taken = user.path().join("taken");
    let mine = ["empty", "bin/run me"].map(|name| write(&taken, name, b"mine"));
    let output = run(ASKAROUND, &serving.get(taken.to_str().unwrap(), &[]));
    assert_fails(&output, 2, "2 files of other content are in the way");
    assert!(mine.iter().all(|path| stderr(&output).contains(path)), "{}", stderr(&output));
    assert!(mine.iter().all(|path| std::fs::read(path).unwrap() == b"mine"));
    assert_eq!(std::fs::read_dir(&taken).unwrap().count(), 2, "something was left behind");
}

#[test]
fn names_of_any_unicode_come_as_they_are_and_are_shown_on_a_line() {
    let (net, user) = (Net::new(2), tempfile::tempdir().unwrap());
    let folder = user.path().join("folder");
    let long = "n".repeat(255);
    let names = [
        "a b",
        "new\nline",
        "tab\t",
        "\u{1b}[2J",
        "größe",
        "gro\u{308}ße",
        "日本語",
        "🦀",
        "-rf",
        "it's \"it\"",
        "$HOME",
        "a\\b",
        "..x",
        ". ",
        "\u{202e}txt",
        "CON",
        &long,
    ];
    for (n, name) in names.iter().enumerate() {
        write(&folder, name, n.to_string().as_bytes());
    }
    let key = key_of(&net.verb(0, &["add", "-q", folder.to_str().unwrap()]));
    let to = user.path().join(format!("{}\n\u{1b}[2J", "日".repeat(83)));
    let got = net.verb(1, &["get", &key, "-o", to.to_str().unwrap()]);
    assert_eq!(got.status.code(), Some(0), "{}", stderr(&got));
    for (n, name) in names.iter().enumerate() {
        assert_eq!(std::fs::read_to_string(to.join(name)).unwrap(), n.to_string(), "{name:?}");
    }
    assert_eq!(std::fs::read_dir(&to).unwrap().count(), names.len());
    let listed = net.verb(1, &["ls", "--all"]);
    // A heading, the folder, its files.
    assert_eq!(stdout(&listed).lines().count(), 2 + names.len(), "{}", stdout(&listed));
    for said in [got, listed, net.verb(1, &["why"]), net.verb(1, &["purge", &key])] {
        let said = stdout(&said) + &stderr(&said);
        assert!(said.contains("日\\n\\u{1b}[2J"), "{said}");
        assert!(!said.contains(['\u{1b}', '\u{202e}', '\t']), "{said:?}");
    }
}

#[test]
fn a_name_in_a_message_is_no_line_of_its_own() {
    let (net, user) = (Net::new(1), tempfile::tempdir().unwrap());
    let folder = user.path().join("folder");
    write(&folder, "x\ngot it", &bytes(1000));
    let key = key_of(&net.verb(0, &["add", "-q", folder.to_str().unwrap()]));
    std::fs::remove_dir_all(&folder).unwrap();
    let to = user.path().join("to");
    let here = ["--tracker", &net.tracker, "--listen", "127.0.0.1:0", "--holder-timeout", "1"];
    let got = run(ASKAROUND, &[&["get", &key, "-o", to.to_str().unwrap()], &here[..]].concat());
    assert_eq!(got.status.code(), Some(1));
    let said = stderr(&got);
    assert!(said.lines().any(|line| line.contains("no source has x\\ngot it")), "{said}");
    assert!(!said.lines().any(|line| line.starts_with("got it")), "{said}");
}

/// The files below a folder that a process has open.
fn open_below(process: u32, folder: &Path) -> usize {
    let Ok(open) = std::fs::read_dir(format!("/proc/{process}/fd")) else { return 0 };
    open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|to| to.starts_with(folder))
        .count()
}

#[test]
fn a_folder_of_many_files_needs_few_of_them_open() {
    let (net, user) = (Net::new(2), tempfile::tempdir().unwrap());
    let (folder, to) = (user.path().join("folder"), user.path().join("to"));
    // Of three pieces each, some of one, some twice.
    let size = |n: usize| if n.is_multiple_of(10) { 1000 } else { 140_000 + n / 2 };
    for n in 0..300 {
        write(&folder, &format!("{}/{n}", n % 7), &bytes(size(n)));
    }
    // From two at once the pieces do not come in order.
    let [key, _] = [0, 1].map(|n| key_of(&net.verb(n, &["add", "-q", folder.to_str().unwrap()])));
    let (tracker, to_folder) = (&net.tracker, to.display());
    let words = format!(
        "get {key} -o {to_folder} --tracker {tracker} --listen 127.0.0.1:0 --json --max-open-files 16"
    );
    // Without a bound it fails: the system gives it no more than 64.
    let fetch = || {
        let mut command = Command::new("sh");
        Running::start(command.args(["-c", &format!("ulimit -n 64; exec {ASKAROUND} {words}")]))
    };
    let getting = fetch();
    wait_for("a file to be here", || to.join("0/7").exists().then_some(()));
    getting.signal("-KILL");
    getting.end();
    // What the first has left is gone on with.
    let mut getting = fetch();
    let mut lines = BufReader::new(getting.0.stdout.take().unwrap()).lines();
    let said = std::thread::spawn(move || lines.by_ref().map(Result::unwrap).last().unwrap());
    let (process, mut most) = (getting.0.id(), 0);
    while getting.0.try_wait().unwrap().is_none() {
        most = most.max(open_below(process, &to));
    }
    let (status, complained) = getting.end();
    assert_eq!(status, Some(0), "{complained}");
    let got = &json_lines(&said.join().unwrap())[0]["got"];
    assert!(got["here_before"].as_u64() > Some(0) && got["files"] == 300, "{got}");
    assert!((1..=17).contains(&most), "{most} files were open");
    for n in 0..300 {
        assert!(std::fs::read(to.join(format!("{}/{n}", n % 7))).unwrap() == bytes(size(n)), "{n}");
    }
    for n in 0..7 {
        let left = std::fs::read_dir(to.join(n.to_string())).unwrap();
        let left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(left.filter(|name| name.starts_with('.')).collect::<Vec<_>>(), [""; 0], "in {n}");
    }
}

#[test]
fn a_folder_is_added_served_and_got_where_no_temporary_file_can_be_made() {
    let user = tempfile::tempdir().unwrap();
    let folder = user.path().join("folder");
    write(&folder, "x", &bytes(200_000));
    write(&folder, "y", b"y");
    let nowhere = user.path().join("nowhere");
    let serving = Serving::set_up(folder.to_str().unwrap(), &[], |command| {
        command.env("TMPDIR", &nowhere);
    });
    let to = user.path().join("copy");
    let mut command = Command::new(ASKAROUND);
    let got = command.args(serving.get(to.to_str().unwrap(), &[])).env("TMPDIR", &nowhere).output().unwrap();
    assert_eq!(got.status.code(), Some(0), "{}", stderr(&got));
    assert_eq!(std::fs::read(to.join("x")).unwrap(), bytes(200_000));
    assert_eq!(std::fs::read(to.join("y")).unwrap(), b"y");
}
