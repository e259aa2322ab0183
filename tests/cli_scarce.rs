//! What programs do where the system gives them little: threads, files, room for a file.

mod support;

use std::process::{Command, Output};

use support::content::{bytes, write};
use support::net::Net;
use support::{ASKAROUND, BOOTSTRAPPER, CLIENT, scenario, stderr, stdout};

/// Runs `askaround` with a limit of the system, as `ulimit` of a shell sets it.
fn limited(ulimit: &str, words: &[&str]) -> Output {
    let script = format!("ulimit {ulimit} && exec \"$@\"");
    Command::new("sh").args(["-c", &script, "sh", ASKAROUND]).args(words).output().unwrap()
}

#[test]
fn a_program_that_may_start_no_thread_says_so() {
    let scenario = scenario("corner-hint-loop");
    let script = scenario.join("1.json");
    let script = script.to_str().unwrap();
    let programs: [(&str, &[&str]); 4] = [
        (ASKAROUND, &["ls"]),
        (ASKAROUND, &["lab", "run", scenario.to_str().unwrap()]),
        (BOOTSTRAPPER, &["--listen", "127.0.0.1:0"]),
        (CLIENT, &["--file", script]),
    ];
    for (program, words) in programs {
        let mut command = Command::new(program);
        // No memory has room for the stack of a thread.
        command.args(words).env("RUST_MIN_STACK", (1_u64 << 60).to_string());
        let output = command.output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("lets the program start no thread") && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn a_file_that_may_not_be_so_large_is_what_fails() {
    let folder = tempfile::tempdir().unwrap();
    let large = write(folder.path(), "large", &bytes(3 << 20));
    let net = Net::new(1);
    let key = stdout(&net.verb(0, &["add", "-q", &large])).trim().to_owned();
    let to = folder.path().join("got");
    let get = ["get", &key, "-o", to.to_str().unwrap(), "--tracker", &net.tracker, "--listen", "127.0.0.1:0"];
    let output = limited("-f 2000", &get);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("the file is too large"), "{}", stderr(&output));

    let scenario = scenario("corner-hint-loop");
    let report = folder.path().join("run.html");
    let report = report.to_str().unwrap();
    let out = folder.path().to_str().unwrap();
    let run = ["lab", "run", scenario.to_str().unwrap(), "--out", out, "--report", report];
    let output = limited("-f 8", &run);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("File too large"), "{}", stderr(&output));
}

#[test]
fn with_too_few_open_files_nothing_begins_and_with_few_it_is_said() {
    for limit in [8, 31] {
        let output = limited(&format!("-n {limit}"), &["ls"]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("is {limit} (see ulimit -n)")) && said.lines().count() == 1, "{said}");
    }
    let (net, user) = (Net::new(1), tempfile::tempdir().unwrap());
    let key = stdout(&net.verb(0, &["add", "-q", &write(user.path(), "a", b"a")])).trim().to_owned();
    let to = user.path().join("got");
    let get = ["get", &key, "-o", to.to_str().unwrap(), "--tracker", &net.tracker, "--listen", "127.0.0.1:0"];
    let output = limited("-n 40", &get);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(stderr(&output).contains("only 40 files can be open at once"), "{}", stderr(&output));
}
