//! A trace as ShiViz reads it: by the expression that the documentation gives, in a browser's own
//! regular expressions, and by ShiViz's rules for clocks.

mod driver;
mod play;

use std::collections::BTreeMap;
use std::path::PathBuf;

use askaround_core::clock::Turns;
use askaround_lab::trace::{What, write};
use driver::Driver;
use play::{play, scenario};
use serde::Deserialize;
use serde_json::json;

/// What ShiViz does: every match in the whole text is an event, whose clock is JSON.
const READ: &str = "const [expression, text] = arguments, found = [];
    for (const m of text.matchAll(new RegExp(expression, 'gm')))
        found.push({ host: m.groups.host, clock: JSON.parse(m.groups.clock), event: m.groups.event });
    return found;";

#[derive(Debug, Deserialize)]
struct Read {
    host: String,
    clock: BTreeMap<String, u32>,
    event: String,
}

/// The expression that a user copies, which is the same wherever it stands.
fn expression() -> &'static str {
    let is_it = |line: &&str| line.trim_start_matches(['/', '!', ' ']).starts_with("\"host\":\"(?<host>");
    let docs = include_str!("../../docs/trace.md").lines().find(is_it).unwrap();
    for other in [include_str!("../src/trace/mod.rs"), include_str!("../../src/lab/pictures.rs")] {
        assert!(other.lines().find(is_it).unwrap().ends_with(docs));
    }
    docs
}

#[test]
fn shiviz_reads_every_event_and_its_clocks_hold() {
    let (trace, _out) = play(&scenario("campus-20"), Turns::Concurrent);
    let mut text = Vec::new();
    write::write(&trace, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let page_file: PathBuf = folder.path().join("empty.html");
    std::fs::write(&page_file, "<!doctype html>").unwrap();
    let driver = Driver::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    runtime.block_on(driver.with_browser(false, |page| async move {
        page.open(&page_file).await;
        let read = page.0.execute(READ, vec![json!(expression()), json!(text)]).await.unwrap();
        sender.send(serde_json::from_value::<Vec<Read>>(read).unwrap()).unwrap();
    }));
    let events = receiver.recv().unwrap();
    assert_eq!(events.len(), trace.events.len());

    let mut clocks: BTreeMap<&str, &BTreeMap<String, u32>> = BTreeMap::new();
    let mut sent: BTreeMap<u64, &BTreeMap<String, u32>> = BTreeMap::new();
    let covers = |all: &BTreeMap<String, u32>, part: &BTreeMap<String, u32>| {
        part.iter().all(|(host, count)| all.get(host) >= Some(count))
    };
    for (read, event) in events.iter().zip(&trace.events) {
        assert_eq!(read.host, event.host.to_string());
        assert!(!read.event.is_empty());
        let before = clocks.insert(&read.host, &read.clock);
        let own = before.map_or(0, |before| before[&read.host]);
        assert_eq!(read.clock[&read.host], own + 1, "a host counts its events from 1 on, one by one");
        assert!(before.is_none_or(|before| covers(&read.clock, before)), "no host forgets");
        // Whoever is named has got as far already.
        for (host, count) in &read.clock {
            assert!(clocks.get(host.as_str()).is_some_and(|clock| clock[host] >= *count), "{read:?}");
        }
        match &event.what {
            What::Send { message, .. } => _ = sent.insert(*message, &read.clock),
            What::Receive { message, .. } => assert!(covers(&read.clock, sent[message]), "{read:?}"),
            _ => {}
        }
    }
    assert!(sent.len() > 1000);
}
