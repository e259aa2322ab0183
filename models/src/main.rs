//! Checks all models in full and prints how many states each has.

use std::process::ExitCode;

use askaround_models::suite::{Size, run};

fn main() -> ExitCode {
    let small = std::env::args().nth(1).is_some_and(|word| word == "small");
    println!(
        "{:<26} {:>12} {:>12} {:>6} {:>9} {:>12}",
        "MODEL", "DIFFERENT", "STATES", "DEPTH", "SECONDS", "STATES/S"
    );
    let checked = run(if small { Size::Small } else { Size::Large }, |summary| {
        let seconds = summary.took.as_secs_f64();
        let rate = summary.states as f64 / seconds;
        println!(
            "{:<26} {:>12} {:>12} {:>6} {seconds:>9.4} {rate:>12.0}",
            summary.name, summary.unique, summary.states, summary.depth
        );
    });
    match checked {
        Ok(()) => ExitCode::SUCCESS,
        Err(violation) => {
            eprintln!("askaround-models: {violation}");
            ExitCode::from(1)
        }
    }
}
