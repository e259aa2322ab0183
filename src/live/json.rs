//! `--json`: whether it is wanted, and the lines that are no reply of a peer. docs/json.md lists
//! all lines and fields.

use std::ffi::{OsStr, OsString};

use askaround_node::delivery::conditions::ConditionChange;
use clap::CommandFactory;
use clap::builder::{FalseyValueParser, TypedValueParser as _};
use serde::Serialize;

use super::print;
use crate::args::Askaround;
use crate::exit::Failure;

/// The last line of a command that has no result.
#[derive(Debug, Serialize)]
pub struct ErrorLine<'a> {
    /// What failed, in words.
    pub error: &'a str,
    /// The exit status.
    pub exit: u8,
}

/// What is told while `add --serve` serves.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ServeEvent {
    /// At the beginning, and each second in which something was sent.
    Serving {
        /// Bytes of content sent.
        sent: u64,
        /// Bytes a second, lately.
        rate: u64,
    },
    /// A file is not served any more, or again.
    Condition(ConditionChange),
}

/// The last line of `add --serve`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ServeResult {
    /// It has served until it was told to end.
    Served {
        /// Bytes of content sent.
        sent: u64,
        /// For how long it served.
        seconds: f64,
    },
}

/// Whether a command line is one of a live command with `--json`, or with the variable that stands
/// for it. Also of one that is wrong use, and has to say so in a line.
pub fn is_wanted(words: &[OsString]) -> bool {
    let name = words.iter().skip(1).find(|word| !word.to_string_lossy().starts_with('-'));
    let mut askaround = Askaround::command();
    let command = name.and_then(|name| askaround.find_subcommand_mut(name));
    let Some(command) = command.filter(|c| c.get_arguments().any(|arg| arg.get_id() == "json")) else {
        return false;
    };
    let is_given = words.iter().take_while(|word| *word != "--").any(|word| word == "--json");
    let is_on = |value: &OsStr| FalseyValueParser::new().parse_ref(command, None, value).unwrap_or(false);
    is_given || std::env::var_os("ASKAROUND_JSON").is_some_and(|value| is_on(&value))
}

/// Prints an object as a line.
///
/// # Errors
/// If stdout cannot be written.
pub(super) fn line(value: &impl Serialize) -> Result<(), Failure> {
    print(&format!("{}\n", serde_json::to_string(value).map_err(Failure::run)?))
}

/// Prints how a command failed, unless its result says so.
pub fn failed(failure: &Failure) {
    if let Some(error) = failure.text() {
        // If stdout is what failed, the exit status and stderr have to do.
        let _ = line(&ErrorLine { error: &error, exit: failure.status() });
    }
}

/// Prints that a command line is wrong use, in the words of the parser but without its advice.
pub fn wrong_use(error: &clap::Error) {
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    failed(&Failure::usage(first.trim_start_matches("error: ").trim_end()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_live_commands_that_take_it_want_lines() {
        for (line, wanted) in [
            ("askaround ls --json", true),
            ("askaround -v get nonsense --json", true),
            ("askaround ls", false),
            ("askaround add -- --json", false),
            ("askaround lab run --json", false),
            ("askaround tracker --json", false),
            ("askaround --json", false),
        ] {
            let words: Vec<_> = line.split(' ').map(OsString::from).collect();
            assert_eq!(is_wanted(&words), wanted, "{line}");
        }
    }
}
