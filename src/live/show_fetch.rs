//! Fetches as text: how each stands, why it is as fast as it is, who sends, who was asked.

use std::fmt::Write as _;
use std::time::Duration;

use askaround_node::delivery::types::{AskedReport, FetchReport, FetchState, SourceReport};

use super::units;
use crate::{plain, table};

/// So many questions of a search are shown when a fetch has failed.
const MOST_ASKED: usize = 20;

pub(super) fn fetches_text(fetches: &[FetchReport]) -> String {
    if fetches.is_empty() {
        return "no fetch lately\n".into();
    }
    fetches.iter().map(fetch_text).collect::<Vec<_>>().join("\n")
}

/// One fetch: how it stands, why it is as fast as it is, who sends, who was asked.
fn fetch_text(fetch: &FetchReport) -> String {
    let mut text = fetch_head(fetch);
    if let Some(from) = &fetch.copied_from {
        let from = plain::name(&from.to_string_lossy()).into_owned();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  copied, as far as it was here, from {from}");
    } else if fetch.state == FetchState::Done && fetch.sources.iter().all(|source| source.bytes == 0) {
        text += "  it was here already\n";
    }
    for because in &fetch.because {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  because {}", plain::name(because));
    }
    text += &sources_text(fetch);
    text += &questions_text(fetch, usize::MAX);
    text
}

/// What is fetched and how that stands.
pub(super) fn fetch_head(fetch: &FetchReport) -> String {
    let time = Duration::try_from_secs_f64(fetch.seconds).unwrap_or_default();
    let far = fetch.size.map_or(String::new(), |size| {
        let (here, size) = (units::bytes(fetch.here), units::bytes(size));
        format!("{here} of {size}, {}, ", units::rate(fetch.rate))
    });
    let to = fetch.to.to_string_lossy();
    let (key, to) = (&fetch.key, plain::name(&to));
    format!("{key} to {to}\n  {far}{}: {}\n", units::time(time), fetch.state)
}

fn sources_text(fetch: &FetchReport) -> String {
    if fetch.sources.is_empty() {
        return String::new();
    }
    let row = |source: &SourceReport| {
        let peer = source.peer.map_or("-".into(), |peer| peer.id.to_string());
        let state = match (&source.lost, source.complete) {
            (Some(why), _) => format!("lost: {why}"),
            (None, true) => "has all of it".into(),
            (None, false) => "has a part".into(),
        };
        vec![
            source.addr.to_string(),
            peer,
            units::bytes(source.bytes),
            units::rate(source.rate),
            source.how.clone(),
            state,
        ]
    };
    let rows: Vec<_> = fetch.sources.iter().map(row).collect();
    indented(&table::render(&["SOURCE", "PEER", "SENT", "RATE", "FOUND", "STATE"], &rows))
}

/// The questions of the last search for holders, of very many the first ones.
fn questions_text(fetch: &FetchReport, most: usize) -> String {
    if fetch.asked.is_empty() {
        return String::new();
    }
    let row = |asked: &AskedReport| vec![asked.who.clone(), asked.answer.clone(), asked.why.clone()];
    let rows: Vec<_> = fetch.asked.iter().take(most).map(row).collect();
    let mut text = indented(&table::render(&["ASKED", "ANSWER", "WHY ASKED"], &rows));
    if let more @ 1.. = fetch.asked.len().saturating_sub(most) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  and {more} more");
    }
    text
}

/// Who was asked by a fetch that has failed, and what became of its sources.
pub(super) fn asked(fetch: &FetchReport) -> String {
    sources_text(fetch) + &questions_text(fetch, MOST_ASKED)
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}
