//! Traces on disk, and their bounds. What a trace says of a run is tested in `lab/tests/traces.rs`.

use askaround_core::clock::LeftOutReason;
use askaround_core::message::{Answer, HaveAnswer, Request};
use askaround_core::peer::{AskError, PeerInput, PeerOutput, Target};
use askaround_core::script::Action;
use askaround_core::tracker::TrackerOutput;
use askaround_core::{Key, PeerId};

use super::read::{TraceError, read};
use super::record::Recorder;
use super::*;

fn id(n: u64) -> PeerId {
    PeerId::new(n).unwrap()
}

fn key() -> Key {
    Key::new("\"</script>\\$é").unwrap()
}

fn header() -> Header {
    let member = |n: u64| Member {
        addr: SocketAddr::from(([127, 0, 0, 1], 9000 + n as u16)),
        script: Script { id: id(n), content: vec![key()], actions: vec![(1, Action::Obtain(key()))] },
    };
    let log = vec![LogEntry { time: 0, text: "Client ID 1 registered".into() }];
    Header {
        name: "a \"name\"".into(),
        about: None,
        how: How::Simulated,
        peers: vec![member(1), member(2)],
        expected: BTreeMap::from([("client_1.json".to_owned(), log)]),
    }
}

/// Peer 1 asks peer 2, which hints at itself, and then an address where nobody is.
pub(crate) fn everything() -> Recorder {
    let mut recorder = Recorder::new(header());
    let (one, two) = (header().peers[0].contact(), header().peers[1].contact());
    let ask = |ask, to: SocketAddr, why| PeerOutput::Ask {
        ask,
        to: Target::Peer(to),
        request: Request::Have(key()),
        why: Some(why),
    };
    recorder.connected(Host::Peer(two.id), 7, one.id);
    recorder.connected(Host::Tracker, 3, one.id);
    recorder.tracker_output(0, &TrackerOutput::Send(3, Message::Start));
    recorder.tracker_output(1, &TrackerOutput::Send(3, Message::Go(1)));
    recorder.peer_input(2, one.id, &PeerInput::Tracker(Message::Start));
    recorder.peer_input(2, one.id, &PeerInput::Tracker(Message::Go(1)));
    recorder.peer_output(3, one.id, &ask(1, two.addr(), Reason::Listed));
    let message = Message::Request(Request::Have(key()));
    recorder.peer_input(4, two.id, &PeerInput::Request { connection: 7, message });
    let answer = Answer::Have(HaveAnswer::Hint(two));
    let message = Message::Answer(answer.clone());
    recorder.peer_output(5, two.id, &PeerOutput::Reply { connection: 7, message });
    recorder.peer_input(6, one.id, &PeerInput::Answered { ask: 1, result: Ok(answer) });
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    recorder.peer_output(7, one.id, &ask(2, nobody, Reason::Hint { by: two, further: 1 }));
    recorder.peer_output(7, one.id, &ask(3, nobody, Reason::LongerList(2)));
    recorder.peer_output(7, one.id, &ask(4, nobody, Reason::OwnOriginator));
    let result = Err(AskError::TimedOut);
    recorder.peer_input(8, one.id, &PeerInput::Answered { ask: 2, result });
    recorder.peer_output(9, one.id, &PeerOutput::Cancel(3));
    for change in [
        Change::Held(key()),
        Change::Purged(key()),
        Change::Obtained(key(), two),
        Change::Originator(key(), two),
    ] {
        recorder.peer_output(10, one.id, &PeerOutput::Changed(change));
    }
    for (ask, result) in [(5, Ok(())), (6, Err("other bytes".to_owned()))] {
        recorder.peer_output(10, one.id, &PeerOutput::Fetch { ask, key: key(), from: two });
        recorder.peer_input(10, one.id, &PeerInput::Fetched { ask, result });
    }
    let entry = LogEntry { time: 1, text: "\"\\\n".into() };
    recorder.peer_output(11, one.id, &PeerOutput::Log(entry));
    let why = LeftOutReason::TimedOut;
    recorder.tracker_output(12, &TrackerOutput::LeftOut { id: two.id, time: 1, why });
    recorder.tracker_output(13, &TrackerOutput::Finished);
    recorder
}

fn written(trace: &Trace) -> Vec<u8> {
    let mut bytes = Vec::new();
    super::write::write(trace, &mut bytes).unwrap();
    bytes
}

fn read_bytes(bytes: &[u8]) -> Result<Trace, TraceError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.jsonl");
    std::fs::write(&path, bytes).unwrap();
    read(&path)
}

#[test]
fn a_trace_is_read_back_as_it_was_written() {
    let trace = everything().finish();
    assert_eq!(trace.events.len(), 24, "{:#?}", trace.events);
    assert_eq!(read_bytes(&written(&trace)).unwrap(), trace);
}

#[test]
fn each_event_is_where_shiviz_looks_for_it() {
    let bytes = written(&everything().finish());
    let text = String::from_utf8(bytes).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 26);
    for line in &lines[1..25] {
        // "host":"(?<host>[^"]*)","clock":(?<clock>{[^}]*}),"event":"(?<event>[^"]*)"
        let (host, rest) = line.strip_prefix("{\"host\":\"").unwrap().split_once("\",\"clock\":").unwrap();
        let (clock, rest) = rest.split_once('}').unwrap();
        let (event, _) = rest.strip_prefix(",\"event\":\"").unwrap().split_once('"').unwrap();
        let clock: BTreeMap<String, u32> = serde_json::from_str(&format!("{clock}}}")).unwrap();
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((value["host"].as_str(), value["event"].as_str()), (Some(host), Some(event)));
        assert!(clock.contains_key(host));
    }
}

#[test]
fn many_hosts_have_only_what_changed_in_their_clocks() {
    let mut trace = everything().finish();
    let events = trace.events.len();
    let mut header = header();
    header.peers = (1..=70)
        .map(|n| Member {
            script: Script { id: id(n), ..header.peers[0].script.clone() },
            ..header.peers[0].clone()
        })
        .collect();
    trace.header = header;
    let text = String::from_utf8(written(&trace)).unwrap();
    assert!(text.lines().next().unwrap().contains("\"clocks\":\"changes\""));
    let (mut known, mut clocks) =
        (BTreeMap::<String, BTreeMap<String, u32>>::new(), clocks::Clocks::default());
    for (line, event) in text.lines().skip(1).zip(&trace.events) {
        clocks.count(event);
        let whole: BTreeMap<_, _> = clocks.of(event.host).map(|(host, n)| (host.to_string(), n)).collect();
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let changes: BTreeMap<String, u32> = serde_json::from_value(line["clock"].clone()).unwrap();
        assert!(changes.contains_key(&event.host.to_string()));
        let known = known.entry(event.host.to_string()).or_default();
        known.extend(changes);
        assert_eq!(*known, whole, "the changes add up");
    }
    assert_eq!(read_bytes(text.as_bytes()).unwrap().events.len(), events);
}

#[test]
fn a_trace_is_bounded_and_says_so() {
    let mut recorder = Recorder::with_room(header(), 2);
    for _ in 0..3 {
        recorder.tracker_output(0, &TrackerOutput::Finished);
    }
    let trace = recorder.finish();
    assert_eq!((trace.events.len(), trace.cut_off), (2, true));
    assert!(read_bytes(&written(&trace)).unwrap().cut_off);
}

#[test]
fn strangers_leave_no_trace() {
    let mut recorder = Recorder::new(header());
    let message = Message::Request(Request::Have(key()));
    recorder.peer_input(0, id(1), &PeerInput::Request { connection: 9, message });
    let message = Message::Answer(Answer::Have(HaveAnswer::No));
    recorder.peer_output(0, id(1), &PeerOutput::Reply { connection: 9, message });
    assert_eq!(recorder.finish().events, []);
}

#[test]
fn what_is_wrong_with_a_file_is_named() {
    let whole = String::from_utf8(written(&everything().finish())).unwrap();
    let with = |from: &str, to: &str| {
        assert!(whole.contains(from), "{from}");
        whole.replacen(from, to, 1)
    };
    let lines: Vec<&str> = whole.lines().collect();
    let cases = [
        (String::new(), "not a trace: it is empty"),
        ("GIF89a".into(), "not a trace: its first line is not JSON"),
        ("{\"client_id\": 1}\n".into(), "not a trace: its first line has no askaround_trace"),
        (with("\"askaround_trace\":1", "\"askaround_trace\":\"x\""), "its version is no number"),
        (
            with("\"askaround_trace\":1", "\"askaround_trace\":2"),
            "of version 2, and this program reads version 1",
        ),
        (with("\"how\":\"simulated\"", "\"how\":\"dreamt\""), "line 1: unknown variant `dreamt`"),
        (with("[1,\"Q\",", "[1,\"X\","), "line 1: peer 1: no action has the code X"),
        (
            with("[1,\"127.0.0.1\",9001]", "[3,\"127.0.0.1\",9001]"),
            "line 1: the peers are not in increasing order",
        ),
        (with("\"kind\":\"send\"", "\"kind\":\"shout\""), "line 2: there is no event of kind \"shout\""),
        (with("\"message\":1", "\"massage\":1"), "line 2: an event of kind send needs message"),
        (with("\"verb\":\"T\"", "\"verb\":\"Z\""), "line 3: there is no verb Z"),
        (with("\"to\":\"1\"", "\"to\":\"1x\""), "line 2: \"1x\" is neither tracker"),
        (with("\"why\":\"listed\"", "\"why\":\"fancy\""), "there is no reason \"fancy\""),
        (with("\"change\":\"held\"", "\"change\":\"eaten\""), "there is no change Some(\"eaten\")"),
        (with("\"time\":1", "\"time\":10001"), "time 10001 is above 10000"),
        (lines[..5].join("\n"), "ends in the middle, after 4 events"),
        (whole[..whole.len() / 2].to_owned(), "ends in the middle"),
        (whole.replace("\"events\":24", "\"events\":23"), "ends in the middle, after 24 events"),
    ];
    for (text, expected) in cases {
        let error = read_bytes(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("t.jsonl: ") && error.contains(expected), "{error}\nexpected {expected}");
    }
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().to_owned(), folder.path().join("none")] {
        assert!(matches!(read(&path), Err(TraceError::Unreadable { .. })));
    }
}
