//! A peer of a lab run, under the name that the course gives it.

use std::process::ExitCode;

use askaround::{args, course, exit};
use clap::Parser;

fn main() -> ExitCode {
    // The course writes -file with one dash.
    let words = std::env::args_os().map(|word| if word == "-file" { "--file".into() } else { word });
    let args = args::Client::parse_from(words);
    exit::show_traces(args.verbose);
    exit::status("client", exit::block_on(course::client(args)))
}
