//! A peer of a lab run, under the name that the course gives it.

use std::ffi::OsString;
use std::process::ExitCode;

use askaround::{args, course, exit};
use clap::Parser;

fn main() -> ExitCode {
    let words = std::env::args_os().map(with_two_dashes);
    let args = args::Client::try_parse_from(words).unwrap_or_else(|error| exit::wrong_use(&error));
    exit::show_traces(args.verbose);
    exit::status("client", exit::block_on(course::client(args)))
}

/// The course writes `-file` with one dash.
fn with_two_dashes(word: OsString) -> OsString {
    match word.to_str() {
        Some("-file") => "--file".into(),
        Some(text) if text.starts_with("-file=") => format!("-{text}").into(),
        _ => word,
    }
}
