//! What a played scenario left: its logs, as a table, as JSON, and against the expected ones.

use std::collections::BTreeMap;
use std::path::Path;

use askaround_core::log::LogEntry;
use askaround_lab::grade::Logs;
use askaround_lab::run::{TRACKER_LOG, log_name};
use askaround_lab::scenario::Scenario;
use askaround_lab::shell::quote;

use super::deliveries::{self, Deliveries};
use crate::exit::Failure;
use crate::live::print;
use crate::{plain, table};

/// So much of what happened is shown, in characters: the list of more than 300 clients.
const SHOWN: usize = 10_000;

/// Logs by the names of their files.
pub(super) type ByName = BTreeMap<String, Vec<LogEntry>>;

/// The logs that a run of `scenario` left in `folder`.
pub(super) fn read_logs(scenario: &Scenario, folder: &Path) -> Result<ByName, Failure> {
    let clients = scenario.scripts.iter().map(|(_, script)| log_name(script.id));
    let mut logs = ByName::new();
    for name in clients.chain([TRACKER_LOG.to_owned()]) {
        let path = folder.join(&name);
        if let Ok(bytes) = std::fs::read(&path) {
            let log = askaround_lab::json::read(&bytes)
                .map_err(|e| Failure::run(format!("{} is not a log: {e}", path.display())))?;
            logs.insert(name, log);
        }
    }
    Ok(logs)
}

/// What is printed of a played scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// A table of what happened, and the comparison.
    Table,
    /// The comparison.
    Quiet,
    /// Logs and comparison as JSON.
    Json,
}

impl Shown {
    /// From the options `--json` and `--quiet`.
    pub(super) fn new(json: bool, quiet: bool) -> Self {
        match (json, quiet) {
            (true, _) => Self::Json,
            (false, true) => Self::Quiet,
            (false, false) => Self::Table,
        }
    }
}

/// Prints what happened, and compares with what was expected.
pub(super) fn finish(
    shown: Shown,
    scenario: &Scenario,
    out: &Path,
    logs: &ByName,
    expected: Option<&Logs>,
    delivered: Option<&Deliveries>,
) -> Result<(), Failure> {
    if shown == Shown::Table {
        print(&happened(scenario, logs))?;
    }
    let differing = expected.map(|expected| {
        let differing = expected.by_name().filter(|(name, log)| logs.get(name) != Some(*log));
        differing.map(|(name, _)| name).collect::<Vec<_>>().join(", ")
    });
    let missing = expected.map(|expected| scenario.unexpected(expected).join(", ")).unwrap_or_default();
    let equal = differing.as_ref().map(|differing| differing.is_empty() && missing.is_empty());
    if shown == Shown::Json {
        let mut value = serde_json::json!({ "scenario": scenario.name, "logs": logs, "as_expected": equal });
        if let Some(delivered) = delivered {
            value["deliveries"] = deliveries::json(delivered);
        }
        print(&format!("{value}\n"))?;
    } else {
        if let Some(delivered) = delivered {
            print(&deliveries::summary(delivered))?;
        }
        print(&format!("logs are in {}\n", out.display()))?;
        if equal == Some(true) {
            print("all logs are as expected\n")?;
        }
    }
    let differing = differing.unwrap_or_default();
    if equal != Some(false) {
        return Ok(());
    }
    let expected = scenario.folder.join(askaround_lab::scenario::EXPECTED);
    let mut said = Vec::new();
    if !differing.is_empty() {
        said.push(format!(
            "not as expected: {differing}\nto see why: askaround lab grade {} {}",
            quote(&expected.to_string_lossy()),
            quote(&out.to_string_lossy())
        ));
    }
    if !missing.is_empty() {
        said.push(format!("not compared: {missing}, for {} has no such log", expected.display()));
    }
    Err(Failure::run(said.join("\n")))
}

/// What happened, by timestep and peer.
fn happened(scenario: &Scenario, logs: &ByName) -> String {
    let mut text = scenario.name.clone();
    if let Some(about) = &scenario.about {
        text = format!("{text}: {}", plain::name(about));
    }
    text.push_str("\n\n");
    let mut rows = Vec::new();
    let mut entries = Vec::new();
    for (_, script) in &scenario.scripts {
        for entry in logs.get(&log_name(script.id)).into_iter().flatten().filter(|entry| entry.time > 0) {
            entries.push((entry.time, script.id, &entry.text));
        }
    }
    // Stable: entries of one peer and timestep keep their order.
    entries.sort_by_key(|(time, id, _)| (*time, *id));
    let registered = match scenario.scripts.len() {
        1 => "1 client registered".into(),
        clients => format!("{clients} clients registered"),
    };
    rows.push(vec!["0".into(), "all".into(), registered]);
    let mut last = 0;
    for (time, id, what) in entries {
        let shown = if time == last { String::new() } else { time.to_string() };
        last = time;
        // Somebody else's program may have written anything.
        rows.push(vec![shown, id.to_string(), plain::beginning(what, SHOWN).into_owned()]);
    }
    text + &table::render(&["TIME", "PEER", "WHAT HAPPENED"], &rows) + "\n"
}

/// Logs to compare with: every one of them must be usable.
pub(super) fn read_expected(folder: &Path) -> Result<Logs, Failure> {
    let logs = Logs::read(folder).map_err(Failure::usage)?;
    match logs.unusable.first_key_value() {
        Some((name, problem)) => Err(Failure::usage(format!("{}: {problem}", folder.join(name).display()))),
        None => Ok(logs),
    }
}

/// The verdict on the logs, and what came of the pictures. The verdict is told first.
pub(super) fn verdict_and_pictures(
    verdict: Result<(), Failure>,
    pictures: Result<(), Failure>,
) -> Result<(), Failure> {
    match (verdict, pictures) {
        (Ok(()), pictures) => pictures,
        (verdict, Ok(())) => verdict,
        (Err(verdict), Err(pictures)) => {
            for text in [verdict.text(), pictures.text()].into_iter().flatten() {
                crate::plain::say!("askaround: {text}");
            }
            Err(Failure::Shown(verdict.status()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_log_says_stays_on_its_line_and_ends() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("1.json"), r#"{"client_id": 1, "actions": []}"#).unwrap();
        std::fs::write(folder.path().join("about.txt"), "shows \u{1b}[2J").unwrap();
        let scenario = Scenario::read(folder.path()).unwrap();
        let texts = ["x\r\n2  1  Removed y\u{1b}[2J\u{9b}\u{202e}".to_owned(), "z".repeat(3 << 20)];
        let log = texts.map(|text| LogEntry { time: 1, text }).into();
        let id = scenario.scripts[0].1.id;
        let text = happened(&scenario, &ByName::from([(log_name(id), log)]));
        assert!(!text.contains(|c: char| c != '\n' && (c.is_control() || c == '\u{202e}')), "{text:?}");
        assert!(!text.lines().any(|line| line.starts_with("2  1")), "{text}");
        assert!(text.contains(r"x\r\n2  1  Removed y\u{1b}[2J\u{9b}\u{202e}"), "{text}");
        assert!(text.len() < 20_000, "{}", text.len());
        assert!(text.contains("all   1 client registered"), "{text}");
    }
}
