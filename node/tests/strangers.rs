//! Nodes against strangers: whatever comes, a good client is served afterwards.

mod support;

use std::time::Duration;

use askaround_core::PeerId;
use askaround_core::peer::{AskError, Outcome, PeerConfig};
use askaround_core::script::Action;
use askaround_node::server::ServerConfig;
use support::{HELLO, Node, Peer, Tracker, any_port, send_and_read_all, stranger};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn what_is_not_the_protocol_gets_an_error_and_is_closed() {
    for node in Node::both(&ServerConfig::default()) {
        for (bytes, code) in [
            ("GET / HTTP/1.1\r\n\r\n".to_owned(), "version"),
            ("V {\"version\":2}\n".to_owned(), "version"),
            (format!("{HELLO}R {{\"id\":1\n"), "bad-message"),
            (format!("{HELLO}\u{0}\u{1}\n"), "bad-message"),
            (format!("{HELLO}Q {}\n", "[".repeat(60_000)), "bad-message"),
            (format!("{HELLO}L {{\"x\":\"{}", "y".repeat(65_536)), "too-long"),
            (format!("{HELLO}{}", "y".repeat(1_000_000)), "too-long"),
        ] {
            let heard = send_and_read_all(node.addr(), bytes.as_bytes()).await;
            // What was sent after the error may make the system drop the error itself.
            let lost = heard.is_empty() && bytes.len() > 65_536;
            assert!(lost || heard.starts_with(&format!("E {{\"code\":\"{code}\"")), "{heard}");
        }
        node.assert_well().await;
    }
}

#[tokio::test]
async fn an_unknown_verb_does_not_end_the_connection() {
    let tracker = Tracker::start(ServerConfig::default());
    let mut stream = TcpStream::connect(tracker.addr).await.unwrap();
    stream.write_all(format!("{HELLO}NEW {{}}\nQ {{\"key\":\"a\"}}\nL {{}}\n").as_bytes()).await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    for expected in ["E {\"code\":\"unknown-verb\"", "E {\"code\":\"not-served\"", "A {\"peers\":[]}"] {
        let line = lines.next_line().await.unwrap().unwrap();
        assert!(line.starts_with(expected), "{line}");
    }
    tracker.assert_well().await;
}

#[tokio::test]
async fn half_a_line_and_silence_end_after_their_time() {
    let server = ServerConfig {
        message_timeout: Duration::from_millis(50),
        idle_timeout: Duration::from_millis(50),
        ..ServerConfig::default()
    };
    for node in Node::both(&server) {
        let half = format!("{HELLO}L {{\"after\"");
        for bytes in ["", "V {\"ver", HELLO, half.as_str()] {
            let heard = send_and_read_all(node.addr(), bytes.as_bytes()).await;
            assert!(heard.starts_with("E {\"code\":\"busy\""), "{bytes:?}: {heard}");
        }
        let (request, answer) = node.request();
        let heard = send_and_read_all(node.addr(), format!("{HELLO}{request}").as_bytes()).await;
        assert_eq!(heard, format!("{answer}]}}\n"), "an idle connection is closed without an error");
        node.assert_well().await;
    }
}

#[tokio::test]
async fn a_line_that_comes_in_drops_does_not_get_more_time() {
    let server = ServerConfig { message_timeout: Duration::from_millis(200), ..ServerConfig::default() };
    for node in Node::both(&server) {
        let mut stream = TcpStream::connect(node.addr()).await.unwrap();
        stream.write_all(format!("{HELLO}L {{\"x\":\"").as_bytes()).await.unwrap();
        let mut interval = tokio::time::interval(Duration::from_millis(20));
        let mut heard = Vec::new();
        // Each drop is in time for itself; the line as a whole never ends.
        let closed = tokio::time::timeout(Duration::from_secs(30), async {
            loop {
                tokio::select! {
                    _ = interval.tick() => if stream.write_all(b"y").await.is_err() { break },
                    read = stream.read_buf(&mut heard) => if !matches!(read, Ok(1..)) { break },
                }
            }
        });
        assert!(closed.await.is_ok(), "the line was waited for without end");
        node.assert_well().await;
    }
}

#[tokio::test]
async fn who_does_not_read_cannot_make_a_node_keep_answers() {
    let server = ServerConfig { message_timeout: Duration::from_millis(100), ..ServerConfig::default() };
    for node in Node::both(&server) {
        // Nobody reads the answers.
        let requests = node.request().0.repeat(200_000);
        let mut stream = TcpStream::connect(node.addr()).await.unwrap();
        stream.write_all(HELLO.as_bytes()).await.unwrap();
        // More than any socket buffer takes.
        let mut written = 0;
        while written < 200 && stream.write_all(requests.as_bytes()).await.is_ok() {
            written += 1;
        }
        assert!(written < 200, "the node stops reading, and closes when its time is over");
        node.assert_well().await;
    }
}

#[tokio::test]
async fn idle_connections_make_room_for_whoever_comes() {
    let server = ServerConfig { max_connections: 50, ..ServerConfig::default() };
    for node in Node::both(&server) {
        let mut idle = Vec::new();
        for _ in 0..500 {
            idle.push(TcpStream::connect(node.addr()).await.unwrap());
        }
        let mut first = String::new();
        BufReader::new(&mut idle[0]).read_line(&mut first).await.unwrap();
        assert_eq!(first, "", "the one that has been idle longest was closed");
        node.assert_well().await;
    }
}

#[tokio::test]
async fn peers_that_stall_lie_or_never_end_cost_a_bounded_time() {
    let tracker = Tracker::start(ServerConfig::default());
    let bad = [
        stranger(|_, _| String::new()).await,
        stranger(|_, _| "garbage\n".into()).await,
        stranger(|_, _| "x".repeat(100_000)).await,
        stranger(|n, _| format!("A {{\"peers\":[],\"next\":{n}}}\n")).await,
        stranger(|_, _| "A {\"have\":false}\nA {\"have\":true}\n".into()).await,
        stranger(|_, _| "T {\"time\":1}\n".into()).await,
    ];
    for (id, addr) in (2..).zip(&bad) {
        tracker.register(id, *addr).await;
    }
    let mut config = PeerConfig {
        ask_timeout: Duration::from_millis(100),
        operation_timeout: Duration::from_secs(20),
        ..PeerConfig::default()
    };
    config.search.max_pages = 20;
    let peer = Peer::start(Some(tracker.addr), config, ServerConfig::default());
    let outcome = peer.command(Action::Find("a".parse().unwrap())).await;
    let Outcome::Found { report, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!((report.found, report.truncated), (None, true), "the endless one is cut off");
    let failures = report.trace.iter().filter_map(|step| match &step.answered {
        Some((_, Err(error))) => Some(error.clone()),
        _ => None,
    });
    let failures: Vec<_> = failures.collect();
    assert!(failures.contains(&AskError::TimedOut));
    assert!(failures.iter().any(|e| matches!(e, AskError::Misbehaved(_))), "{failures:?}");

    let unreachable = peer.command(Action::Contents(PeerId::new(3).unwrap())).await;
    assert!(matches!(unreachable, Outcome::Unreachable { .. }), "{unreachable:?}");
    peer.assert_well().await;
    tracker.assert_well().await;
}

#[tokio::test]
async fn a_peer_finds_without_its_tracker() {
    let nobody = TcpListener::bind(any_port()).await.unwrap().local_addr().unwrap();
    let peer = Peer::start(Some(nobody), PeerConfig::default(), ServerConfig::default());
    let outcome = peer.command(Action::Find("a".parse().unwrap())).await;
    assert!(matches!(outcome, Outcome::Found { report, .. } if report.found.is_none()));
    let outcome = peer.command(Action::List).await;
    assert!(matches!(outcome, Outcome::TrackerFailed(AskError::Unreachable(_))));
    peer.assert_well().await;
}
