//! The tracker of a lab run, under the name that the course gives it.

use std::process::ExitCode;

use askaround::{args, course, exit};
use clap::Parser;

fn main() -> ExitCode {
    let args = args::Bootstrapper::parse();
    exit::show_traces(args.verbose);
    exit::status("bootstrapper", exit::block_on(course::bootstrapper(args)))
}
