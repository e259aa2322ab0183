//! Options and their environment variables.

mod support;

use std::process::Command;

use clap::CommandFactory;
use support::{ASKAROUND, run, stderr};

#[test]
fn every_option_of_the_nodes_has_a_variable_and_every_limit_stands_in_its_page() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/limits.md")).unwrap();
    let askaround = askaround::args::Askaround::command();
    let nodes = ["tracker", "peer"].map(|name| askaround.find_subcommand(name).unwrap());
    let mut limits = 0;
    for argument in nodes.into_iter().flat_map(clap::Command::get_arguments) {
        let long = argument.get_long().unwrap();
        let variable = argument.get_env().unwrap_or_else(|| panic!("--{long} has no variable"));
        let expected = format!("ASKAROUND_{}", long.to_uppercase().replace('-', "_"));
        assert_eq!(variable.to_str(), Some(expected.as_str()));
        if argument.get_help_heading().is_none_or(|heading| !heading.starts_with("Limits")) {
            continue;
        }
        limits += 1;
        let row = page.lines().find(|line| line.contains(&format!("`--{long}` | `{expected}`")));
        let row = row.unwrap_or_else(|| panic!("docs/limits.md does not list --{long}"));
        if let [default] = argument.get_default_values() {
            let shown = row.trim_end_matches(" |").rsplit("| ").next().unwrap().replace(',', "");
            assert_eq!(default.to_str(), Some(shown.as_str()), "{row}");
        }
    }
    assert!(limits > 10, "{limits}");
}

#[test]
fn a_limit_that_makes_no_sense_is_wrong_use() {
    for (words, expected) in [
        (["tracker", "--max-connections", "0"], "expected a whole number from 1 to 1000000"),
        (["tracker", "--idle-timeout", "0"], "expected a number of seconds from 0.01"),
        (["peer", "--ask-timeout", "-1"], "expected a number of seconds from 0.01"),
        (["peer", "--ask-timeout", "NaN"], "expected a number of seconds from 0.01"),
        (["peer", "--max-list", "many"], "expected a whole number from 1"),
        (["peer", "--width", "1000"], "expected a whole number from 1 to 256"),
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
