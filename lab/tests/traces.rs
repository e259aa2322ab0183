//! What the trace of a run over sockets says, against the logs of that run and the rules of
//! vector clocks.

mod play;

use std::collections::BTreeMap;
use std::path::Path;

use askaround_core::clock::Turns;
use askaround_core::log::LogEntry;
use askaround_core::message::Message;
use askaround_core::peer::Change;
use askaround_lab::run::{TRACKER_LOG, log_name};
use askaround_lab::trace::clocks::Clocks;
use askaround_lab::trace::{Host, Trace, What};
use play::{play, scenario};

fn log(trace: &Trace, host: Host) -> Vec<LogEntry> {
    let logged = trace.events.iter().filter(|event| event.host == host);
    logged
        .filter_map(|event| match &event.what {
            What::Log(entry) => Some(entry.clone()),
            _ => None,
        })
        .collect()
}

fn check_logs(trace: &Trace, out: &Path) {
    let read = |name: &str| -> Vec<LogEntry> {
        serde_json::from_slice(&std::fs::read(out.join(name)).unwrap()).unwrap()
    };
    assert_eq!(log(trace, Host::Tracker), read(TRACKER_LOG));
    for member in &trace.header.peers {
        assert_eq!(log(trace, Host::Peer(member.script.id)), read(&log_name(member.script.id)));
    }
}

/// Every message arrives once, at whom it was sent to, after it was sent; every request is
/// answered, by whom it went to.
fn check_messages(trace: &Trace) {
    let (mut sent, mut answered, mut received) = (BTreeMap::new(), BTreeMap::new(), 0);
    let mut last_ns = 0;
    for event in &trace.events {
        assert!(event.at_ns >= last_ns, "events are in order of time");
        last_ns = event.at_ns;
        match &event.what {
            What::Send { message, to, body, answers, .. } => {
                assert_eq!(sent.insert(*message, (event.host, *to, body)), None);
                if matches!(body, Message::Answer(_) | Message::Error(_)) {
                    let request = answers.expect("an answer says to what");
                    assert_eq!(answered.insert(request, ()), None);
                    let (asker, asked, _) = sent[&request];
                    assert_eq!((asker, asked), (*to, event.host));
                }
            }
            What::Receive { message, from } => {
                received += 1;
                let (sender, to, _) = sent[message];
                assert_eq!((sender, to), (*from, event.host));
            }
            _ => {}
        }
    }
    assert_eq!(received, sent.len(), "what is sent arrives");
    let requests = sent.values().filter(|(_, _, body)| matches!(body, Message::Request(_))).count();
    assert_eq!(answered.len(), requests);
}

/// What ShiViz demands: each host counts its own events from 1 on, and knows of no event that
/// has not happened; whoever receives knows all that the sender knew.
fn check_clocks(trace: &Trace) {
    let mut clocks = Clocks::default();
    let mut happened: BTreeMap<Host, u32> = BTreeMap::new();
    let mut carried: BTreeMap<u64, BTreeMap<Host, u32>> = BTreeMap::new();
    for event in &trace.events {
        clocks.count(event);
        let clock: BTreeMap<Host, u32> = clocks.of(event.host).collect();
        let own = happened.entry(event.host).or_default();
        *own += 1;
        assert_eq!(clock[&event.host], *own);
        assert!(clock.iter().all(|(host, count)| happened.get(host) >= Some(count)));
        match &event.what {
            What::Send { message, .. } => {
                carried.insert(*message, clock);
            }
            What::Receive { message, .. } => {
                let sender = &carried[message];
                assert!(sender.iter().all(|(host, count)| clock.get(host) >= Some(count)));
            }
            _ => {}
        }
    }
}

#[test]
fn a_trace_tells_the_whole_run() {
    for (name, turns) in [("campus-20", Turns::ById), ("rubric-11-more-than-20-clients", Turns::Concurrent)] {
        let (trace, out) = play(&scenario(name), turns);
        check_logs(&trace, out.path());
        check_messages(&trace);
        check_clocks(&trace);
        assert!(!trace.header.expected.is_empty() && !trace.cut_off);
    }
}

#[test]
fn obtained_keys_come_from_whoever_said_that_it_has_them() {
    let (trace, _out) = play(&scenario("campus-20"), Turns::ById);
    let mut obtained = 0;
    let mut last_answer = BTreeMap::new();
    let mut sent = BTreeMap::new();
    for event in &trace.events {
        match &event.what {
            What::Send { message, body, .. } => {
                sent.insert(*message, body);
            }
            What::Receive { message, from } => {
                last_answer.insert(event.host, (*from, sent[message]));
            }
            What::Change(Change::Obtained(_, from)) => {
                obtained += 1;
                let (who, said) = last_answer[&event.host];
                assert_eq!(who, Host::Peer(from.id));
                let have = askaround_core::message::HaveAnswer::Have;
                assert_eq!(*said, Message::Answer(askaround_core::message::Answer::Have(have)));
            }
            _ => {}
        }
    }
    assert!(obtained > 10, "{obtained}");
}
