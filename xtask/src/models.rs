//! `cargo xtask check-models`: every state of the larger models of `models/`.

use std::process::{Command, Stdio};

/// What one model came to.
pub(crate) struct Checked {
    pub(crate) name: String,
    pub(crate) unique: usize,
    pub(crate) states: usize,
    pub(crate) seconds: f64,
}

/// Checks the larger models, printing what each comes to.
///
/// # Errors
/// If a property does not hold, or the program could not be run.
pub(crate) fn run() -> Result<(), String> {
    let status = command(&[]).status().map_err(|e| format!("cannot run cargo: {e}"))?;
    if status.success() { Ok(()) } else { Err("the models do not hold, see above".into()) }
}

/// Checks the smaller models and gives what each came to.
///
/// # Errors
/// If a property does not hold, or the program could not be run.
pub(crate) fn small() -> Result<Vec<Checked>, String> {
    let output = command(&["small"])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| format!("cannot run cargo: {e}"))?;
    if !output.status.success() {
        return Err("the models do not hold, see above".into());
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .skip(1)
        .map(|line| checked(line).ok_or_else(|| format!("not a line of the models: {line}")))
        .collect()
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(["run", "--quiet", "--release", "--locked", "--package", "askaround-models", "--"])
        .args(words);
    command
}

/// `clock, by id  8920  23490  24  0.02  1119763`
fn checked(line: &str) -> Option<Checked> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [name @ .., unique, states, _depth, seconds, _rate] = words.as_slice() else { return None };
    Some(Checked {
        name: name.join(" "),
        unique: unique.parse().ok()?,
        states: states.parse().ok()?,
        seconds: seconds.parse().ok()?,
    })
}
