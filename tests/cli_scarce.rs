//! What programs do where the system gives them little: threads, files, room for a file.

mod support;

use std::process::Command;

use support::{ASKAROUND, BOOTSTRAPPER, CLIENT, scenario, stderr};

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
