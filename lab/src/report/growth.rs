//! How the cost of lookups grows with the number of peers, from what `lab sim --peers … --json`
//! prints.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::chart::{self, Chart, Series};
use crate::population::{self, report::Summary};

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 16 << 20;

/// What a population's lookups cost at several sizes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Costs {
    /// What distinguishes them from others in the same picture.
    #[serde(skip)]
    pub name: String,
    /// A row for each number of peers.
    pub rows: Vec<Row>,
}

/// The figures of one size that are drawn; others are ignored.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Row {
    /// How many peers.
    pub peers: u64,
    /// Messages a lookup.
    pub messages: Figures,
    /// Peers on the way to the key.
    pub hops: Figures,
    /// Virtual time of a lookup.
    pub latency_ms: Figures,
    /// Questions to the tracker.
    pub tracker: Load,
    /// Questions to the peer that got most.
    pub busiest: Load,
}

/// Two of the figures of a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Figures {
    /// The mean.
    pub mean: f64,
    /// 99 of 100 are at most this.
    pub p99: f64,
}

/// A load.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Load {
    /// Questions a lookup.
    pub a_lookup: f64,
}

impl Costs {
    /// Of populations that were run just now.
    pub fn of(reports: &[population::report::Report]) -> Self {
        let figures = |summary: Summary| Figures { mean: summary.mean, p99: summary.p99 };
        let row = |report: &population::report::Report| Row {
            peers: report.peers.into(),
            messages: figures(report.messages),
            hops: figures(report.hops),
            latency_ms: figures(report.latency_ms),
            tracker: Load { a_lookup: report.tracker.a_lookup },
            busiest: Load { a_lookup: report.busiest.load.a_lookup },
        };
        let mut rows: Vec<_> = reports.iter().map(row).collect();
        rows.sort_by_key(|row| row.peers);
        Self { name: String::new(), rows }
    }
}

/// Why a file cannot be drawn.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}; expected what askaround lab sim --peers N,N,… --json prints", path = path.display())]
pub struct CostsError {
    /// Which file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: String,
}

/// Reads one file. Its name distinguishes it from others.
///
/// # Errors
/// If it cannot be read or is something else.
pub fn read(path: &Path) -> Result<Costs, CostsError> {
    let wrong = |problem: String| CostsError { path: path.to_owned(), problem };
    let size = std::fs::metadata(path).map_err(|e| wrong(format!("cannot be read: {e}")))?.len();
    if size > MAX_FILE {
        return Err(wrong(format!("larger than {} MiB", MAX_FILE >> 20)));
    }
    let text = std::fs::read(path).map_err(|e| wrong(format!("cannot be read: {e}")))?;
    let costs: Costs = crate::json::read(&text).map_err(wrong)?;
    let mut rows = costs.rows;
    if rows.is_empty() {
        return Err(wrong("it has no rows".into()));
    }
    rows.sort_by_key(|row| row.peers);
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Costs { name, rows })
}

/// Writes four charts: messages, hops, virtual time, and the load on the tracker and the busiest
/// peer. One population has its means and its 99th percentiles drawn; of several, only means.
///
/// # Errors
/// What `out` says.
pub fn write(costs: &[Costs], out: &mut dyn Write) -> io::Result<()> {
    let spread = |title: &str, figures: fn(&Row) -> Figures| {
        let mean = |costs: &Costs| line(costs, "mean", &|row| figures(row).mean);
        let series = match costs {
            [one] => vec![mean(one), line(one, "p99", &|row| figures(row).p99)],
            several => {
                several.iter().map(|costs| Series { name: costs.name.clone(), ..mean(costs) }).collect()
            }
        };
        Chart { title: title.into(), series }
    };
    let load = |title: &str, name: &str, load: fn(&Row) -> Load| {
        let one = |costs: &Costs| line(costs, name, &|row| load(row).a_lookup);
        let several = costs.iter().map(|costs| Series { name: costs.name.clone(), ..one(costs) });
        let series = if let [one_only] = costs { vec![one(one_only)] } else { several.collect() };
        Chart { title: title.into(), series }
    };
    let charts = [
        spread("messages a lookup", |row| row.messages),
        spread("hops to what was found", |row| row.hops),
        spread("virtual latency, ms", |row| row.latency_ms),
        load("questions to the busiest peer a lookup", "busiest", |row| row.busiest),
        load("questions to the tracker a lookup", "tracker", |row| row.tracker),
    ];
    let title = if costs.len() > 1 { "What a lookup costs, on average" } else { "What a lookup costs" };
    chart::write(title, "peers", &charts, out)
}

fn line(costs: &Costs, name: &str, value: &dyn Fn(&Row) -> f64) -> Series {
    #[expect(clippy::cast_precision_loss, reason = "a number of peers, to draw")]
    let points = costs.rows.iter().map(|row| (row.peers as f64, value(row)));
    Series { name: name.into(), points: points.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_ROWS: &str = r#"{"seed": 1, "command": "askaround lab sim", "growth": [], "rows": [
        {"peers": 10000, "messages": {"mean": 90.0, "median": 80.0, "p99": 700.0, "max": 800.0},
         "hops": {"mean": 2.0, "median": 2.0, "p99": 3.0, "max": 4.0},
         "latency_ms": {"mean": 900.0, "median": 800.0, "p99": 7000.0, "max": 8000.0},
         "tracker": {"questions": 100, "a_lookup": 1.0}, "busiest": {"id": 7, "questions": 30, "a_lookup": 0.3}},
        {"peers": 1000, "messages": {"mean": 9.0, "p99": 70.0}, "hops": {"mean": 2.0, "p99": 3.0},
         "latency_ms": {"mean": 90.0, "p99": 700.0}, "tracker": {"a_lookup": 1.0}, "busiest": {"a_lookup": 0.3}}]}"#;

    fn file(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn the_figures_of_a_population_are_drawn() {
        let (_folder, path) = file("ask.json", TWO_ROWS);
        let costs = read(&path).unwrap();
        assert_eq!((costs.name.as_str(), costs.rows[0].peers), ("ask", 1000), "by size");
        let mut one = Vec::new();
        write(std::slice::from_ref(&costs), &mut one).unwrap();
        let mut two = Vec::new();
        write(&[costs.clone(), Costs { name: "walk".into(), ..costs }], &mut two).unwrap();
        let (one, two) = (String::from_utf8(one).unwrap(), String::from_utf8(two).unwrap());
        assert_eq!(one.matches("<circle").count(), 2 * (3 * 2 + 2));
        assert_eq!(two.matches("<circle").count(), 2 * 5 * 2);
        assert!(one.contains(">p99<") && two.contains(">walk<") && !two.contains(">p99<"));
    }

    #[test]
    fn other_files_are_named() {
        for (text, expected) in [
            ("", "it ends where a value should come"),
            ("{}", "there is no `rows`"),
            (r#"{"rows": []}"#, "it has no rows"),
            (r#"{"rows": [{"peers": 3}]}"#, "there is no `messages`"),
        ] {
            let (_folder, path) = file("x.json", text);
            let error = read(&path).unwrap_err().to_string();
            assert!(
                error.contains("x.json: ") && error.contains(expected) && error.contains("lab sim"),
                "{error}"
            );
        }
        assert!(read(Path::new("/nowhere")).unwrap_err().to_string().contains("cannot be read"));
    }
}
