//! The tracker of a lab run, under the name that the course gives it.

use std::process::ExitCode;

use askaround::{args, course, exit};
use clap::Parser;

fn main() -> ExitCode {
    let args = args::Bootstrapper::try_parse().unwrap_or_else(|error| exit::wrong_use(&error));
    exit::show_traces(args.verbose);
    exit::status("bootstrapper", exit::block_on(course::bootstrapper(args)))
}
