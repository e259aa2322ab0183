//! The figures of populations: as a table, as JSON and as comma-separated values.

use std::fmt::Write;

use askaround_lab::population::report::{Report, Summary};

use crate::table;

/// A kind of figure: its name, and its values in a report.
type Kind = (&'static str, fn(&Report) -> Values);

/// The values of a kind: some in four, or only one.
enum Values {
    Four(Summary),
    One(f64),
}

const KINDS: [Kind; 5] = [
    ("messages a lookup", |r| Values::Four(r.messages)),
    ("hops to what was found", |r| Values::Four(r.hops)),
    ("virtual latency, ms", |r| Values::Four(r.latency_ms)),
    ("questions to the tracker a lookup", |r| Values::One(r.tracker.a_lookup)),
    ("questions to the busiest peer a lookup", |r| Values::One(r.busiest.load.a_lookup)),
];

/// For people: each kind with a line for each number of peers, and how it grows.
pub(super) fn table(reports: &[Report], about: &str, command: &str) -> String {
    let mut rows = Vec::new();
    for (name, values) in KINDS {
        for (i, report) in reports.iter().enumerate() {
            let before = i.checked_sub(1).map(|i| &reports[i]);
            let growth = before.map_or(String::new(), |before| growth(values, before, report));
            let cells = match values(report) {
                Values::Four(s) => [s.mean, s.median, s.p99, s.max].map(number),
                Values::One(value) => [number(value), String::new(), String::new(), String::new()],
            };
            let name = if i == 0 { name } else { "" };
            let mut row = vec![name.to_owned(), format!("{:>10}", grouped(u64::from(report.peers)))];
            row.extend(cells.map(|cell| format!("{cell:>10}")));
            row.push(growth);
            rows.push(row);
        }
    }
    let headings = ["", "     PEERS", "      MEAN", "    MEDIAN", "       P99", "       MAX", "GROWTH"];
    let mut text = format!("{about}\n\n{}\n", table::render(&headings, &rows));
    for report in reports {
        let _ = writeln!(text, "{}", in_words(report));
    }
    let _ = writeln!(text, "the same again: {command}");
    text
}

fn in_words(report: &Report) -> String {
    let success = report.success().map_or("nothing to be found".into(), |share| {
        format!("found {} of {} that somebody had ({:.1}%)", report.found, report.findable, share * 100.0)
    });
    let mut text = format!(
        "{} peers: {success}; busiest is peer {}; {} events in {} virtual seconds",
        grouped(u64::from(report.peers)),
        report.busiest.id,
        grouped(report.events_before + report.events),
        number(report.simulated_s),
    );
    if report.cut_short > 0 {
        let _ = write!(text, "; {} lookups ended at a bound", report.cut_short);
    }
    if report.interrupted > 0 {
        let _ = write!(text, "; {} because whoever looked was gone", report.interrupted);
    }
    text
}

/// How the mean grows with the number of peers: the power of N that it follows between two rows.
fn growth(values: fn(&Report) -> Values, before: &Report, after: &Report) -> String {
    let mean = |report| match values(report) {
        Values::Four(summary) => summary.mean,
        Values::One(value) => value,
    };
    match power(f64::from(before.peers), f64::from(after.peers), mean(before), mean(after)) {
        Some(power) => format!("as N^{power:.2}"),
        None => String::new(),
    }
}

fn power(peers_before: f64, peers_after: f64, before: f64, after: f64) -> Option<f64> {
    let power = (after / before).ln() / (peers_after / peers_before).ln();
    power.is_finite().then(|| if power.abs() < 0.005 { 0.0 } else { power })
}

/// For programs.
pub(super) fn json(reports: &[Report], seed: u64, command: &str) -> String {
    let growth: Vec<_> = reports
        .windows(2)
        .map(|pair| {
            let power = |mean: fn(&Report) -> f64| {
                power(f64::from(pair[0].peers), f64::from(pair[1].peers), mean(&pair[0]), mean(&pair[1]))
            };
            serde_json::json!({
                "from": pair[0].peers,
                "to": pair[1].peers,
                "messages": power(|r| r.messages.mean),
                "hops": power(|r| r.hops.mean),
                "latency": power(|r| r.latency_ms.mean),
                "tracker": power(|r| r.tracker.a_lookup),
                "busiest": power(|r| r.busiest.load.a_lookup),
            })
        })
        .collect();
    let value = serde_json::json!({ "seed": seed, "command": command, "rows": reports, "growth": growth });
    format!("{value}\n")
}

/// For spreadsheets and plots: a line for each number of peers.
pub(super) fn csv(reports: &[Report]) -> String {
    let mut text = String::from("peers,lookups,found,findable,cut_short,interrupted");
    for name in ["messages", "hops", "latency_ms"] {
        for part in ["mean", "median", "p99", "max"] {
            let _ = write!(text, ",{name}_{part}");
        }
    }
    text.push_str(",tracker_questions,busiest_peer,busiest_questions,upkeep,simulated_s,events\n");
    for r in reports {
        let counts = [r.found, r.findable, r.cut_short];
        let _ = write!(
            text,
            "{},{},{},{},{},{}",
            r.peers, r.lookups, counts[0], counts[1], counts[2], r.interrupted
        );
        for s in [r.messages, r.hops, r.latency_ms] {
            let _ = write!(text, ",{},{},{},{}", s.mean, s.median, s.p99, s.max);
        }
        let (busiest, events) = (r.busiest, r.events_before + r.events);
        let _ = writeln!(
            text,
            ",{},{},{},{},{},{events}",
            r.tracker.questions, busiest.id, busiest.load.questions, r.upkeep, r.simulated_s
        );
    }
    text
}

/// A figure with as many digits as it deserves.
fn number(value: f64) -> String {
    if value >= 100.0 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, rounded")]
        let whole = value.round() as u64;
        grouped(whole)
    } else if value == value.round() {
        format!("{value}")
    } else if value >= 1.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}")
    }
}

/// 1234567 as 1,234,567.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
