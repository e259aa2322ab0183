//! `cargo xtask bench`: whole commands, the tracker under load, and searches, each as the median
//! of several runs, against a target or a yardstick of the same run.

mod content;
mod load;
mod models;
mod process;
mod program;
mod search;
mod sim;

use std::path::PathBuf;
use std::process::Command;

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
    if cfg!(debug_assertions) {
        return optimized(names);
    }
    let wanted = |name: &str| names.is_empty() || names.iter().any(|n| name.contains(n.as_str()));
    eprintln!("xtask: building the release programs");
    let status = Command::new("cargo").args(["build", "--release", "--locked", "--bins"]).status();
    if !status.is_ok_and(|status| status.success()) {
        return Err("cannot build the release programs".into());
    }
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    println!("{cores} cores, Linux {}; medians of {RUNS} runs\n", kernel.trim());
    let mut rows = Vec::new();
    if wanted("lab") {
        process::lab(&mut rows)?;
    }
    if wanted("tracker") {
        load::tracker(&mut rows)?;
    }
    if wanted("content") {
        content::content(&mut rows)?;
    }
    if wanted("models") {
        models::models(&mut rows)?;
    }
    if wanted("sim") {
        sim::sim(&mut rows)?;
    }
    if wanted("search") {
        search::search(&mut rows)?;
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

/// The release program, beside the folder that this one was built into.
fn askaround() -> PathBuf {
    let me = std::env::current_exe().unwrap_or_default();
    me.ancestors().nth(2).unwrap_or(std::path::Path::new("target")).join("release/askaround")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
