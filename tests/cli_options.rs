//! Options and their environment variables.

mod support;

use std::process::Command;

use askaround::args::{Askaround, Bootstrapper, Client};
use clap::{Arg, Command as Options, CommandFactory};
use support::content::write;
use support::net::Net;
use support::{ASKAROUND, run, scenario, stderr, stdout};

/// The commands with which a node begins.
const NODES: [&str; 4] = ["tracker", "peer", "get", "add"];

/// What a row of docs/limits.md says.
#[derive(Debug, PartialEq)]
struct Row {
    option: String,
    variable: String,
    /// None if it is in words.
    default: Option<String>,
}

/// All rows, but for their words; each has five cells.
fn rows() -> Vec<Row> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/limits.md")).unwrap();
    let rows = page.lines().filter(|line| line.contains("`--") && line.starts_with("| "));
    rows.map(|line| {
        let cells: Vec<_> = line.trim_matches(['|', ' ']).split(" | ").collect();
        let [_, option, variable, default, _] = cells[..] else { panic!("{line}") };
        let plain = |cell: &str| cell.trim_matches('`').to_owned();
        let number = default.replace(',', "");
        let default = number.parse::<f64>().is_ok().then_some(number);
        Row { option: plain(option), variable: plain(variable), default }
    })
    .collect()
}

/// The row that is expected of an option.
fn row_of(argument: &Arg) -> Option<Row> {
    let default = match argument.get_default_values() {
        [default] => Some(default.to_str()?.to_owned()),
        _ => None,
    };
    let variable = argument.get_env()?.to_str()?.to_owned();
    Some(Row { option: format!("--{}", argument.get_long()?), variable, default })
}

fn is_limit(argument: &Arg) -> bool {
    argument.get_help_heading().is_some_and(|heading| heading.starts_with("Limits"))
        || matches!(argument.get_long(), Some("up" | "down"))
}

fn nodes() -> Vec<Options> {
    let mut askaround = Askaround::command();
    askaround.build();
    NODES.map(|name| askaround.find_subcommand(name).unwrap().clone()).into()
}

#[test]
fn every_option_of_a_node_has_a_variable() {
    let nodes = nodes();
    let options = nodes[..2].iter().flat_map(Options::get_arguments);
    let options = options.filter(|argument| !matches!(argument.get_long(), Some("help" | "verbose")));
    for argument in options {
        let long = argument.get_long().unwrap();
        let variable = argument.get_env().unwrap_or_else(|| panic!("--{long} has no variable"));
        let expected = format!("ASKAROUND_{}", long.to_uppercase().replace('-', "_"));
        assert_eq!(variable.to_str(), Some(expected.as_str()));
    }
}

#[test]
fn every_limit_stands_in_its_page_and_the_page_has_no_other() {
    let rows = rows();
    assert!(rows.len() > 20, "{rows:?}");
    for node in nodes() {
        for argument in node.get_arguments().filter(|argument| is_limit(argument)) {
            let row = row_of(argument).unwrap();
            assert!(rows.contains(&row), "docs/limits.md does not have {row:?}");
        }
    }
    let mut known = nodes();
    known.extend([Bootstrapper::command(), Client::command()]);
    let lab = Askaround::command().find_subcommand("lab").unwrap().clone();
    known.push(lab.find_subcommand("run").unwrap().clone());
    let known: Vec<_> = known.iter().flat_map(Options::get_arguments).filter_map(row_of).collect();
    for row in &rows {
        assert!(known.contains(row), "docs/limits.md has {row:?}, which is no option");
    }
}

#[test]
fn every_limit_of_a_peer_is_one_of_a_peer_for_the_time_of_a_command() {
    let [_, peer, get, add] = &nodes()[..] else { panic!() };
    let limits: Vec<_> = peer.get_arguments().filter(|argument| is_limit(argument)).collect();
    assert!(limits.len() > 12);
    for limit in limits {
        let long = limit.get_long().unwrap();
        for command in [get, add] {
            let name = command.get_name();
            let same = command.get_arguments().find(|argument| argument.get_long() == Some(long));
            let same = same.unwrap_or_else(|| panic!("{name} has no --{long}"));
            assert_eq!(row_of(same), row_of(limit), "{name}");
            let (short, whole) = (run(ASKAROUND, &[name, "-h"]), run(ASKAROUND, &[name, "--help"]));
            let option = format!("--{long} <");
            assert!(stdout(&whole).contains(&option), "{name} --help does not show {option}");
            let is_rate = matches!(long, "up" | "down");
            assert_eq!(stdout(&short).contains(&option), is_rate, "{name} -h: {option}");
        }
    }
}

/// One line says why, and a variable that may be meant for another command is no mistake.
#[test]
fn an_option_that_would_have_no_effect_is_wrong_use() {
    let (net, user) = (Net::new(1), tempfile::tempdir().unwrap());
    let (file, key) = (write(user.path(), "file", b"f"), "0b".repeat(32));
    for (words, named) in [
        (["get", &key, "--max-sources", "3"], "--max-sources is for a peer that this command starts"),
        (["get", &key, "--listen", "127.0.0.1:0"], "--listen is"),
        (["get", &key, "--up", "1M"], "askaround limit"),
        (["get", &key, "--stay", "3"], "--stay is"),
        (["add", &file, "--max-connections", "3"], "with --serve"),
        (["add", &file, "--tracker", &net.tracker], "--tracker is"),
        (["add", &file, "--idle-timeout", "3"], "--idle-timeout is"),
    ] {
        let output = net.verb(0, &words);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
        assert!(stderr(&output).contains(named), "{}", stderr(&output));
    }
    net.assert_says(0, &["get", &key, "--from", "127.0.0.1:9", "--width", "3"], 2, "--width is");
    net.assert_says(
        0,
        &["get", &key, "--width", "3", "--id", "7", "--up", "1M"],
        2,
        "--id, --up and --width",
    );
    net.assert_says(0, &["ls"], 0, "nothing");
    let mut command = Command::new(ASKAROUND);
    command.args(["add", &file, "--dir"]).arg(net.dir(0)).env("ASKAROUND_MAX_SOURCES", "3");
    assert_eq!(command.output().unwrap().status.code(), Some(0));
}

#[test]
fn options_that_do_not_go_together_are_refused_with_what_to_use() {
    let (net, user) = (Net::new(1), tempfile::tempdir().unwrap());
    let (file, key) = (write(user.path(), "file", b"f"), "0b".repeat(32));
    let here = ["--tracker", &net.tracker, "--listen", "127.0.0.1:0"];
    for (words, status, hint) in [
        (&["get", &key, "-q", "--json"][..], 2, "leave out --quiet"),
        (&["add", &file, "-q", "--json"], 2, "leave out --quiet"),
        (&["verify", "-q", "--json"], 2, "leave out --quiet"),
        (&["ls", "--long", "--json"], 2, "leave them out"),
        (&["ls", "--all", "--json"], 2, "leave them out"),
        (&[&["get", &key], &here[..]].concat(), 1, "leave out --tracker to have that one do it"),
        (&[&["add", "--serve", &file], &here[..]].concat(), 1, "leave out --serve and --tracker"),
    ] {
        let output = net.verb(0, words);
        assert_eq!(output.status.code(), Some(status), "{words:?}: {}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
        assert!(stderr(&output).contains(hint), "{}", stderr(&output));
    }
    let copies = run(ASKAROUND, &[&["add", "--serve", "--copy", &file], &here[..]].concat());
    assert_eq!(copies.status.code(), Some(2));
    assert!(stderr(&copies).contains("needs --dir"), "{}", stderr(&copies));
    // A variable that says no is none.
    let mut command = Command::new(ASKAROUND);
    command.args(["add", "-q", &file, "--dir"]).arg(net.dir(0)).env("ASKAROUND_JSON", "0");
    assert_eq!(command.output().unwrap().status.code(), Some(0));
}

#[test]
fn a_variable_that_says_no_is_not_an_option_of_a_run() {
    let (dir, out) = (scenario("rubric-04-hints"), tempfile::tempdir().unwrap());
    for (words, variable, status, said) in [
        (&["--quiet"][..], "ASKAROUND_JSON", 0, ""),
        (&["--client", "1=true"], "ASKAROUND_PROCESSES", 2, "--client needs --processes"),
    ] {
        for value in [None, Some("0")] {
            let mut command = Command::new(ASKAROUND);
            command.args(["lab", "run"]).arg(&dir).args(words).arg("--out").arg(out.path());
            command.env_remove("ASKAROUND_JSON").env_remove("ASKAROUND_PROCESSES");
            command.envs(value.map(|value| (variable, value)));
            let output = command.output().unwrap();
            assert_eq!(output.status.code(), Some(status), "{words:?} {value:?}: {}", stderr(&output));
            assert!(stderr(&output).contains(said), "{words:?} {value:?}: {}", stderr(&output));
        }
    }
    let words = ["lab", "run", dir.to_str().unwrap(), "--json", "--quiet"];
    let both = run(ASKAROUND, &words);
    assert_eq!(both.status.code(), Some(2));
    assert!(stderr(&both).contains("do not go together"), "{}", stderr(&both));
}

#[test]
fn a_value_that_makes_no_sense_is_wrong_use() {
    for (words, expected) in [
        (["tracker", "--max-connections", "0"], "expected a whole number from 1 to 1000000"),
        (["tracker", "--idle-timeout", "0"], "expected a number of seconds from 0.01"),
        (["peer", "--ask-timeout", "-1"], "expected a number of seconds from 0.01"),
        (["peer", "--ask-timeout", "NaN"], "expected a number of seconds from 0.01"),
        (["peer", "--max-list", "many"], "expected a whole number from 1"),
        (["peer", "--width", "1000"], "expected a whole number from 1 to 256"),
        (["peer", "--max-in-flight", "1"], "expected a whole number from 2 to 256"),
        (["peer", "--tracker", "localhost:8888"], "names of hosts are not looked up"),
        (["tracker", "--listen", "8888"], "expected an IP address and a port, as 10.0.0.5:8888"),
    ] {
        let option = format!("{}={}", words[1], words[2]);
        let output = run(ASKAROUND, &[words[0], &option]);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(stderr(&output).contains(expected), "{words:?}: {}", stderr(&output));
    }
}

#[test]
fn a_switch_can_be_a_variable() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/rubric-04-hints/expected_outcomes");
    for (value, is_json) in [("1", true), ("yes", true), ("0", false), ("false", false), ("", false)] {
        let mut command = Command::new(ASKAROUND);
        let output = command.args(["lab", "grade", folder, folder]).env("ASKAROUND_JSON", value);
        let output = output.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{value:?}: {}", stderr(&output));
        let parsed = serde_json::from_slice::<serde_json::Value>(&output.stdout);
        assert_eq!(parsed.is_ok(), is_json, "{value:?}");
    }
}

#[test]
fn numbers_that_are_none_or_below_zero_are_told_in_plain_words() {
    let cases: &[(&str, &[&str], &str)] = &[
        (ASKAROUND, &["lab", "sim", "--peers", "1e3"], "expected a whole number"),
        (ASKAROUND, &["lab", "sim", "--peers", "-3"], "-3 is not from 0 to 4294967295"),
        (ASKAROUND, &["lab", "sim", "--peers", "99999999999"], "99999999999 is not from 0 to 4294967295"),
        (ASKAROUND, &["lab", "grade", "--submission", "x", "--time", "-3"], "expected a number of seconds"),
        (ASKAROUND, &["lab", "run", "x", "--repeat", "-1"], "-1 is not from 1 to 10000"),
        (support::BOOTSTRAPPER, &["--expect", "two"], "expected a whole number"),
        (support::CLIENT, &["--file", "1.json", "--port", "-1"], "-1 is not from 0 to 65535"),
    ];
    for (program, words, expected) in cases {
        let output = run(program, words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(stderr(&output).contains(expected), "{words:?}: {}", stderr(&output));
    }
}
