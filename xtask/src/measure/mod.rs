//! `cargo xtask bench`: whole commands, the tracker under load, and searches, each as the median
//! of several runs, against a target or a yardstick of the same run.

mod content;
mod load;
mod models;
mod process;
mod program;
mod search;
mod sim;

use std::process::Command;

use crate::release;

/// How often each figure is measured; the median counts.
const RUNS: usize = 3;

/// One line of the table.
struct Row {
    name: String,
    figure: f64,
    unit: &'static str,
    /// What it is compared with, and the ratio.
    against: String,
    note: String,
}

type Benchmark = fn(&mut Vec<Row>) -> Result<(), String>;

const ALL: [(&str, Benchmark); 6] = [
    ("lab", process::lab),
    ("tracker", load::tracker),
    ("content", content::content),
    ("models", models::models),
    ("sim", sim::sim),
    ("search", search::search),
];

/// Runs the benchmarks whose names contain one of `names`, or all, and prints one table.
///
/// # Errors
/// If one could not be run.
pub(crate) fn run(names: &[String]) -> Result<(), String> {
    match names.split_first() {
        Some((name, _)) if name == load::ECHO => return load::echo_server(),
        Some((name, rest)) if name == content::plain::COPY => return content::plain::copy(rest),
        Some((name, rest)) if name == program::USAGE => return program::print_usage(rest),
        _ => {}
    }
    let wanted = |name: &str| names.is_empty() || names.iter().any(|n| name.contains(n.as_str()));
    if !ALL.iter().any(|(name, _)| wanted(name)) {
        return Err(format!("there are benchmarks of {}", ALL.map(|(name, _)| name).join(", ")));
    }
    if cfg!(debug_assertions) {
        return optimized(names);
    }
    release::build()?;
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    println!("{cores} cores, Linux {}; medians of {RUNS} runs\n", kernel.trim());
    let mut rows = Vec::new();
    for (_, measure) in ALL.into_iter().filter(|(name, _)| wanted(name)) {
        measure(&mut rows)?;
    }
    print(&rows);
    Ok(())
}

/// Prints the table, each column as wide as what is in it.
fn print(rows: &[Row]) {
    let width = |of: fn(&Row) -> &str| rows.iter().map(|row| of(row).chars().count()).max().unwrap_or(0);
    let (name, unit, against) =
        (width(|row| &row.name), width(|row| row.unit), width(|row| &row.against).max("AGAINST".len()));
    println!("{:<name$} {:>10} {:<unit$} {:<against$} NOTE", "WHAT", "FIGURE", "UNIT", "AGAINST");
    for row in rows {
        let figure =
            if row.figure < 10.0 { format!("{:.3}", row.figure) } else { format!("{:.0}", row.figure) };
        let line = format!(
            "{:<name$} {figure:>10} {:<unit$} {:<against$} {}",
            row.name, row.unit, row.against, row.note
        );
        println!("{}", line.trim_end());
    }
}

/// The same by a release build of this program: some of what is measured runs in it.
fn optimized(names: &[String]) -> Result<(), String> {
    eprintln!("xtask: building itself for release");
    let cargo = ["run", "--quiet", "--release", "--locked", "--package", "xtask", "--", "bench"];
    let status = Command::new("cargo").args(cargo).args(names).status().map_err(|e| e.to_string())?;
    if status.success() { Ok(()) } else { Err("the benchmarks failed, see above".into()) }
}

/// What was measured in turn with something else.
struct InTurn {
    /// The median of ours.
    seconds: f64,
    /// The median of ours as a multiple of the other's, pair by pair.
    ratio: f64,
}

/// Measures both of a pair again and again, so that whatever else the machine does meets both.
fn in_turn(mut pair: impl FnMut() -> Result<(f64, f64), String>) -> Result<InTurn, String> {
    let pairs = (0..RUNS).map(|_| pair()).collect::<Result<Vec<_>, _>>()?;
    let of = |what: fn(&(f64, f64)) -> f64| median(pairs.iter().map(what).collect());
    Ok(InTurn { seconds: of(|(ours, _)| *ours), ratio: of(|(ours, other)| ours / other) })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
