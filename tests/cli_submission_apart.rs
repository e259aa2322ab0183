//! What `askaround lab grade --submission` runs is kept apart and within limits, and nothing of it is
//! left running, however it ends.

mod support;

use support::submission::{Graded, Submission, assert_has, small};
use support::{Running, stderr, stdout, wait_for};

#[test]
fn output_and_memory_are_limited() {
    let (_folder, small) = small();
    let scenario = small.as_str();
    let graded = Submission::new("floods").wrong(scenario, &["--output", "1", "--stall", "2"]);
    assert_has(&graded.finding("too-much-output"), &["client 2: wrote more than 1 MiB", "still looking"]);
    let graded = Submission::new("eats-memory").wrong(scenario, &["--memory", "64", "--stall", "2"]);
    assert_has(&graded.finding("too-much-memory"), &["client 2: used more than 64 MiB"]);
    for isolation in ["full", "none"] {
        let more = ["--disk", "20", "--isolation", isolation];
        let graded = Submission::alone("fills-the-disk").wrong(scenario, &more);
        assert_has(&graded.finding("too-much-written"), &["wrote more than 20 MiB in all"]);
    }
}

#[test]
fn children_that_leave_session_and_parent_are_ended_however_runs_are_kept_apart() {
    let (_folder, small) = small();
    for isolation in ["full", "network", "none"] {
        let submission = Submission::alone("leaves-children");
        let output = submission.run(&[&small, "--json", "--isolation", isolation]);
        assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
        assert_has(&Graded::new(&output).finding("left-behind"), &["left running", "of these"]);
    }
}

#[test]
fn processes_that_stay_are_counted_and_helpers_that_come_and_go_are_not() {
    let (_folder, small) = small();
    let output = Submission::new("helpers").run(&[&small, "--processes", "1"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    let graded = Submission::new("keeps-children").wrong(&small, &["--processes", "3", "--stall", "60"]);
    assert_has(&graded.finding("too-many-processes"), &["more than 3 processes", "--processes allows more"]);
    assert_eq!(graded.kinds(), ["too-many-processes"], "nothing is said of what they could not do");
}

#[test]
fn nothing_outlives_us_when_we_are_told_to_stop_or_are_killed() {
    let (_folder, small) = small();
    for (signal, isolation) in
        [("-INT", "full"), ("-TERM", "network"), ("-KILL", "full"), ("-KILL", "network")]
    {
        let submission = Submission::new("hangs");
        let more = [small.as_str(), "--stall", "600", "--isolation", isolation];
        let running = Running::start(&mut submission.command(&more));
        // Ourselves, the keeper, the tracker, and clients.
        wait_for("clients to run", || (submission.clients() == 2).then_some(()));
        running.signal(signal);
        let (status, said) = running.end();
        match signal {
            "-KILL" => wait_for("everybody to end", || submission.running().is_empty().then_some(())),
            _ => {
                let expected = if signal == "-INT" { 130 } else { 143 };
                assert_eq!(status, Some(expected), "{said}");
                assert_has(&said, &["stopped; everything that was started has ended"]);
                assert_eq!(submission.running(), Vec::<String>::new(), "{signal} {isolation}");
            }
        }
    }
}
