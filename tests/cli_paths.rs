//! Paths as users spell them.

mod support;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Command;

use support::content::{bytes, write};
use support::net::Net;
use support::serving::{Serving, assert_fails, key_of};
use support::{ASKAROUND, run, stdout};

#[test]
fn a_file_is_known_by_a_path_that_goes_on_to_lead_there() {
    let (net, user) = (Net::new(2), tempfile::tempdir().unwrap());
    let build = user.path().join("build");
    std::fs::create_dir(&build).unwrap();
    write(user.path(), "out", &bytes(100_000));
    let in_build = |n: usize, words: &[&str]| {
        let mut command = Command::new(ASKAROUND);
        command.current_dir(&build).args(words).arg("--dir").arg(net.dir(n)).output().unwrap()
    };
    let key = key_of(&in_build(0, &["add", "-q", "../out"]));
    let got = in_build(1, &["get", &key, "-o", "../got"]);
    let (real, said) = (user.path().canonicalize().unwrap(), stdout(&got));
    assert!(said.contains(real.join("got").to_str().unwrap()), "{said}");
    std::fs::remove_dir(&build).unwrap();
    for (n, name) in ["out", "got"].into_iter().enumerate() {
        let listed = stdout(&net.verb(n, &["ls"]));
        assert!(listed.contains("good") && listed.contains(real.join(name).to_str().unwrap()), "{listed}");
        assert!(!listed.contains(".."), "{listed}");
    }
}

#[test]
fn a_folder_goes_to_a_path_with_a_slash_at_its_end_and_a_file_does_not() {
    let (net, user) = (Net::new(2), tempfile::tempdir().unwrap());
    let folder = user.path().join("folder");
    let file = write(&folder, "sub/x", &bytes(100_000));
    let serving = Serving::new(folder.to_str().unwrap(), &[]);
    let keys = [folder.to_str().unwrap(), &file].map(|path| key_of(&net.verb(0, &["add", "-q", path])));
    std::fs::create_dir(user.path().join("there")).unwrap();
    let to = |name: &str| user.path().join(name).to_str().unwrap().to_owned();
    for name in ["new/", "there/", "other/./"] {
        let output = run(ASKAROUND, &serving.get(&to(name), &[]));
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(std::fs::read(user.path().join(name).join("sub/x")).unwrap(), bytes(100_000));
    }
    net.assert_says(1, &["get", &keys[1], "-o", &to("a file/")], 2, "a file/: ends in a slash");
    net.assert_says(1, &["get", &keys[1], "-o", &to("a file/"), "--in-place"], 2, "ends in a slash");
    net.assert_says(1, &["get", &keys[0], "-o", &to("by a peer/")], 0, "got ");
    assert_eq!(std::fs::read(user.path().join("by a peer/sub/x")).unwrap(), bytes(100_000));
    net.assert_says(1, &["get", &keys[1], "-o", &to("a file/")], 2, "ends in a slash");
    assert!(!user.path().join("a file").exists());
}

/// Names of content are UTF-8; where a link leads need not be.
#[test]
fn a_folder_whose_name_is_no_utf_8_is_told_as_well_as_it_can_be() {
    let (net, user) = (Net::new(2), tempfile::tempdir().unwrap());
    let real = user.path().join(OsStr::from_bytes(b"bad\xff"));
    std::fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, user.path().join("link")).unwrap();
    let key = key_of(&net.verb(0, &["add", "-q", &write(user.path(), "source", &bytes(100_000))]));
    let to = |name: &str| user.path().join("link").join(name).to_str().unwrap().to_owned();
    for (name, how) in [("fetched", "from 1 source"), ("copied", "was copied from ")] {
        net.assert_says(1, &["get", &key, "-o", &to(name)], 0, how);
        assert_eq!(std::fs::read(real.join(name)).unwrap(), bytes(100_000));
        net.assert_says(1, &["why"], 0, &format!("bad\u{fffd}/{name}"));
        net.assert_says(1, &["status", "--json"], 0, "status");
    }
    let (serving, json) = (Serving::new(user.path().join("source").to_str().unwrap(), &[]), ["--json"]);
    let output = run(ASKAROUND, &serving.get(&to("by a peer of its own"), &json));
    let said = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("bad\u{fffd}/by a peer of its own"), "{said}");
}

#[test]
fn content_goes_to_no_stdout() {
    let user = tempfile::tempdir().unwrap();
    let serving = Serving::new(&write(user.path(), "source", b"s"), &[]);
    let get = |to: &str| {
        let mut command = Command::new(ASKAROUND);
        command.current_dir(user.path()).args(serving.get(to, &[])).output().unwrap()
    };
    for stdout in ["-", "/dev/stdout"] {
        assert_fails(&get(stdout), 2, "content goes to a file, not to stdout");
    }
    assert!(!user.path().join("-").exists());
    assert_eq!(get("./-").status.code(), Some(0));
    assert_eq!(std::fs::read(user.path().join("-")).unwrap(), b"s");
}
