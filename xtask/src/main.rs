//! The project's own chores: `cargo xtask test`, `cargo xtask bench` and `cargo xtask check-models`.

mod measure;
mod models;
mod proc;
mod release;
mod test;

use std::process::ExitCode;

const HELP: &str = "\
usage: cargo xtask test           all checks: format, clippy, docs, structure, wasm32, tests
       cargo xtask bench [NAME…]  all benchmarks, or those whose name contains NAME
       cargo xtask check-models   every state of the larger models of the core's machines";

fn main() -> ExitCode {
    // Many nodes in one process need many sockets; where the limit stays low, the benchmark says so.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.split_first() {
        Some((chore, [])) if chore == "test" => test::run(),
        Some((chore, [])) if chore == "check-models" => models::run(),
        Some((chore, rest)) if chore == "bench" => measure::run(rest),
        _ => {
            eprintln!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("xtask: {problem}");
            ExitCode::from(1)
        }
    }
}
