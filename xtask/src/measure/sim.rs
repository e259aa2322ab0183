//! The simulator: a scenario as a whole process, and populations of up to a million peers.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::{RUNS, Row, median};
use crate::proc::status_bytes;
use crate::release::askaround;

pub(super) fn sim(rows: &mut Vec<Row>) -> Result<(), String> {
    let seconds = (0..RUNS).map(|_| scenario()).collect::<Result<Vec<_>, _>>()?;
    let figure = median(seconds) * 1000.0;
    rows.push(Row {
        name: "lab sim, campus of 20 peers".into(),
        figure,
        unit: "ms, whole process",
        against: format!("target 20 ms: x{:.2}", figure / 20.0),
        note: String::new(),
    });
    let mut before: Option<Measured> = None;
    for peers in [1_000u32, 100_000, 1_000_000] {
        // Small populations have more lookups, so that there is something to measure.
        let lookups = (20_000_000 / peers).clamp(20, 2_000);
        let measured = population(peers, lookups)?;
        let growth = |of: fn(&Measured) -> f64| match &before {
            Some(before) => format!("x{:.2} of the row before", of(&measured) / of(before)),
            None => "-".into(),
        };
        rows.push(Row {
            name: format!("sim, {peers} peers, {lookups} lookups"),
            figure: measured.events / measured.seconds,
            unit: "events a second",
            against: growth(|m| m.events / m.seconds),
            note: format!("{:.0} events in {:.1} s, whole process", measured.events, measured.seconds),
        });
        rows.push(Row {
            name: format!("sim, {peers} peers, memory"),
            figure: measured.bytes / f64::from(peers),
            unit: "bytes a peer",
            against: growth(|m| m.bytes / m.peers),
            note: format!("{:.2} GiB at most, target 8 at a million", measured.bytes / f64::from(1 << 30)),
        });
        before = Some(measured);
    }
    Ok(())
}

fn scenario() -> Result<f64, String> {
    let out = tempfile::tempdir().map_err(|e| e.to_string())?;
    let begin = Instant::now();
    let status = Command::new(askaround())
        .args(["lab", "sim", "--quiet", "--out"])
        .args([out.path(), Path::new("scenarios/campus-20")])
        .stdout(Stdio::null())
        .status()
        .map_err(|e| e.to_string())?;
    let seconds = begin.elapsed().as_secs_f64();
    if status.success() { Ok(seconds) } else { Err("lab sim failed".into()) }
}

struct Measured {
    peers: f64,
    seconds: f64,
    events: f64,
    /// The most memory that was resident at once.
    bytes: f64,
}

fn population(peers: u32, lookups: u32) -> Result<Measured, String> {
    let begin = Instant::now();
    let mut child = Command::new(askaround())
        .args(["lab", "sim", "--json", "--peers", &peers.to_string(), "--lookups", &lookups.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| e.to_string())?;
    let mut bytes: f64 = 0.0;
    // The high-water mark is gone with the process, so it is read while that runs.
    while child.try_wait().map_err(|e| e.to_string())?.is_none() {
        bytes = bytes.max(status_bytes(child.id(), "VmHWM"));
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let seconds = begin.elapsed().as_secs_f64();
    let output = child.wait_with_output().map_err(|e| e.to_string())?;
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).map_err(|e| e.to_string())?;
    let row = &value["rows"][0];
    let count = |name: &str| row[name].as_f64().ok_or_else(|| format!("lab sim says no {name}"));
    let events = count("events_before")? + count("events")?;
    Ok(Measured { peers: f64::from(peers), seconds, events, bytes })
}
