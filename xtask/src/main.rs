//! The project's own chores: `cargo xtask test`, `bench`, `check-models` and `soak`.

mod measure;
mod models;
mod proc;
mod release;
mod soak;
mod test;

use std::process::ExitCode;

const HELP: &str = "\
usage: cargo xtask test           all checks: format, clippy, docs, structure, wasm32, tests
       cargo xtask bench [NAME…]  all benchmarks, or those whose name contains NAME
       cargo xtask check-models   every state of the larger models of the core's machines
       cargo xtask soak [OPTION…] the real program in an order by chance, killed and disturbed:
                                  wrong bytes, panics, commands that do not end
           --seconds N            how long operations begin [default: 60]
           --seed N               the operations of another run [default: by chance]
           --peers N              [default: 5]
           --workers N            operations at the same time [default: 4]
           --full-disk            peers have a small disk, which fills up (root only)
           --few-files            peers may open 40 files
           --slow                 peers send at most 4 MB a second";

fn main() -> ExitCode {
    // Many nodes in one process need many sockets; where the limit stays low, the benchmark says so.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.split_first() {
        Some((chore, [])) if chore == "test" => test::run(),
        Some((chore, [])) if chore == "check-models" => models::run(),
        Some((chore, rest)) if chore == "bench" => measure::run(rest),
        Some((chore, rest)) if chore == "soak" => match soak::Options::parse(rest) {
            Some(options) => soak::run(&options),
            None => return wrong_use(),
        },
        _ => return wrong_use(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("xtask: {problem}");
            ExitCode::from(1)
        }
    }
}

fn wrong_use() -> ExitCode {
    eprintln!("{HELP}");
    ExitCode::from(2)
}
