//! Paths as users spell them.

mod support;

use std::process::Command;

use support::content::{bytes, write};
use support::net::Net;
use support::serving::key_of;
use support::{ASKAROUND, stdout};

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
