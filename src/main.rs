//! The program `askaround`.

use std::process::ExitCode;

use askaround::args::{Askaround, Command};
use askaround::exit::{self, Failure};
use askaround::live::json;
use askaround::{lab, live};
use clap::{CommandFactory, Parser};

fn main() -> ExitCode {
    let wants_json = json::is_wanted(&std::env::args_os().collect::<Vec<_>>());
    let args = Askaround::try_parse().unwrap_or_else(|error| {
        // Help is an error too, to the parser.
        if wants_json && error.use_stderr() {
            json::wrong_use(&error);
        }
        exit::wrong_use(&error)
    });
    exit::show_traces(args.verbose);
    exit::tell_panics_once();
    let result = run(args.command);
    if let (true, Err(failure)) = (wants_json, &result) {
        json::failed(failure);
    }
    exit::status("askaround", result)
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Completions { shell } => {
            let mut out = Vec::new();
            clap_complete::generate(shell, &mut Askaround::command(), "askaround", &mut out);
            live::print(&String::from_utf8_lossy(&out))
        }
        Command::Man { folder } => std::fs::create_dir_all(&folder)
            .and_then(|()| clap_mangen::generate_to(Askaround::command(), &folder))
            .map_err(|e| Failure::run(format!("cannot write to {}: {e}", folder.display()))),
        Command::Lab(command) => exit::block_on(lab::run(command)),
        command => exit::block_on(live::run(command)),
    }
}
