//! Nodes against strangers: whatever comes, a good client is served afterwards.

use std::net::SocketAddr;
use std::time::Duration;

use askaround_core::PeerId;
use askaround_core::id::Contact;
use askaround_core::peer::{AskError, Outcome, PeerConfig};
use askaround_core::script::Action;
use askaround_core::tracker::TrackerConfig;
use askaround_node::network::Network;
use askaround_node::peer::{PeerCommand, PeerEnd, PeerNode, PeerOptions, command, command_channel};
use askaround_node::server::ServerConfig;
use askaround_node::tracker::{TrackerEnd, TrackerNode};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const HELLO: &str = "V {\"version\":1}\n";

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// A tracker that ends with the test.
struct Tracker {
    addr: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<std::io::Result<TrackerEnd>>,
}

impl Tracker {
    fn start(server: ServerConfig) -> Self {
        let config = TrackerConfig::default();
        let node = TrackerNode::bind(Network::default(), any_port(), config, server, None).unwrap();
        let (addr, stop) = (node.addr().unwrap(), CancellationToken::new());
        let task = tokio::spawn(node.run(stop.clone(), |_| {}));
        Self { addr, stop, task }
    }

    /// A good client is served, and the tracker ends as it should.
    async fn assert_well(self) {
        let answer = ask(self.addr, "R {\"id\":1000,\"port\":1}\n").await;
        assert!(answer.starts_with("A {\"registered\":[1000,"), "{answer}");
        self.stop.cancel();
        assert_eq!(self.task.await.unwrap().unwrap(), TrackerEnd::Stopped);
    }
}

async fn ask(addr: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(format!("{HELLO}{request}").as_bytes()).await.unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await.unwrap();
    line
}

/// Sends bytes and reads until the other end closes.
async fn send_and_read_all(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    // The other end may close before everything is sent.
    let _ = stream.write_all(bytes).await;
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard).await;
    String::from_utf8(heard).unwrap()
}

#[tokio::test]
async fn what_is_not_the_protocol_gets_an_error_and_is_closed() {
    let tracker = Tracker::start(ServerConfig::default());
    for (bytes, code) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "version"),
        ("V {\"version\":2}\n".to_owned(), "version"),
        (format!("{HELLO}R {{\"id\":1\n"), "bad-message"),
        (format!("{HELLO}\u{0}\u{1}\n"), "bad-message"),
        (format!("{HELLO}L {{\"x\":\"{}", "y".repeat(65_536)), "too-long"),
    ] {
        let heard = send_and_read_all(tracker.addr, bytes.as_bytes()).await;
        assert!(heard.starts_with(&format!("E {{\"code\":\"{code}\"")), "{heard}");
    }
    tracker.assert_well().await;
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
    let tracker = Tracker::start(server);
    for (bytes, expected) in
        [("", "E {\"code\":\"busy\""), ("V {\"ver", "E {\"code\":\"busy\""), (HELLO, "E {\"code\":\"busy\"")]
    {
        let heard = send_and_read_all(tracker.addr, bytes.as_bytes()).await;
        assert!(heard.starts_with(expected), "{bytes:?}: {heard}");
    }
    let heard = send_and_read_all(tracker.addr, format!("{HELLO}L {{}}\n").as_bytes()).await;
    assert_eq!(heard, "A {\"peers\":[]}\n", "an idle connection is closed without an error");
    tracker.assert_well().await;
}

#[tokio::test]
async fn who_does_not_read_cannot_make_the_tracker_keep_answers() {
    let server = ServerConfig { message_timeout: Duration::from_millis(100), ..ServerConfig::default() };
    let tracker = Tracker::start(server);
    let register: String = (1..=256).map(|id| format!("R {{\"id\":{id},\"port\":1}}\n")).collect();
    let mut filler = TcpStream::connect(tracker.addr).await.unwrap();
    filler.write_all(format!("{HELLO}{register}").as_bytes()).await.unwrap();
    let mut lines = BufReader::new(filler).lines();
    for _ in 0..256 {
        lines.next_line().await.unwrap().unwrap();
    }
    // Each request has an answer of some kilobytes, and nobody reads them.
    let requests = "L {}\n".repeat(200_000);
    let mut stream = TcpStream::connect(tracker.addr).await.unwrap();
    stream.write_all(HELLO.as_bytes()).await.unwrap();
    // More than any socket buffer takes.
    let mut written = 0;
    while written < 200 && stream.write_all(requests.as_bytes()).await.is_ok() {
        written += 1;
    }
    assert!(written < 200, "the tracker stops reading, and closes when its time is over");
    tracker.assert_well().await;
}

#[tokio::test]
async fn idle_connections_make_room_for_whoever_comes() {
    let server = ServerConfig { max_connections: 50, ..ServerConfig::default() };
    let tracker = Tracker::start(server);
    let mut idle = Vec::new();
    for _ in 0..500 {
        idle.push(TcpStream::connect(tracker.addr).await.unwrap());
    }
    let mut first = String::new();
    BufReader::new(&mut idle[0]).read_line(&mut first).await.unwrap();
    assert_eq!(first, "", "the one that has been idle longest was closed");
    tracker.assert_well().await;
}

/// A live peer without a store, and the way to it.
fn peer(
    tracker: SocketAddr,
    config: PeerConfig,
) -> (mpsc::Sender<PeerCommand>, CancellationToken, JoinHandle<PeerEnd>) {
    let listener = Network::default().listen(any_port()).unwrap();
    let me = Contact::new(PeerId::new(1).unwrap(), listener.local_addr().unwrap());
    let options = PeerOptions { tracker: Some(tracker), keep_connections: 4, ..PeerOptions::default() };
    let node = PeerNode::live(listener, me, config, options).unwrap();
    let (commands, incoming) = command_channel();
    let stop = CancellationToken::new();
    let run = node.run(stop.clone(), incoming, |_| {});
    (commands, stop, tokio::spawn(async move { run.await.unwrap() }))
}

/// Listens, and answers every line of every connection with `answer`.
async fn bad_peer(answer: impl Fn(u64) -> String + Send + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind(any_port()).await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let (reader, mut writer) = stream.into_split();
                let mut lines = BufReader::new(reader).lines();
                for n in 0.. {
                    match lines.next_line().await {
                        Ok(Some(line)) if line.starts_with('V') => {}
                        Ok(Some(_)) => {
                            if writer.write_all(answer(n).as_bytes()).await.is_err() {
                                return;
                            }
                        }
                        _ => return,
                    }
                }
            });
        }
    });
    addr
}

#[tokio::test]
async fn peers_that_stall_lie_or_never_end_cost_a_bounded_time() {
    let tracker = Tracker::start(ServerConfig::default());
    let bad = [
        bad_peer(|_| String::new()).await,
        bad_peer(|_| "garbage\n".into()).await,
        bad_peer(|_| "x".repeat(100_000)).await,
        bad_peer(|n| format!("A {{\"peers\":[],\"next\":{n}}}\n")).await,
        bad_peer(|_| "A {\"have\":false}\nA {\"have\":true}\n".into()).await,
        bad_peer(|_| "T {\"time\":1}\n".into()).await,
    ];
    for (i, addr) in bad.iter().enumerate() {
        let request = format!("R {{\"id\":{},\"port\":{}}}\n", i + 2, addr.port());
        assert!(ask(tracker.addr, &request).await.starts_with("A "));
    }
    let mut config = PeerConfig {
        ask_timeout: Duration::from_millis(100),
        operation_timeout: Duration::from_secs(20),
        max_list: 1000,
        ..PeerConfig::default()
    };
    config.search.max_pages = 20;
    let (commands, stop, task) = peer(tracker.addr, config);
    let key: askaround_core::Key = "a".parse().unwrap();
    let outcome = command(&commands, Action::Find(key), true).await.unwrap();
    let Outcome::Found { report, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!((report.found, report.truncated), (None, true), "the endless one is cut off");
    let failures = report.trace.iter().filter_map(|step| match &step.answered {
        Some((_, Err(error))) => Some(error.clone()),
        _ => None,
    });
    let failures: Vec<_> = failures.collect();
    assert!(failures.contains(&AskError::TimedOut));
    assert!(failures.iter().any(|e| matches!(e, AskError::Misbehaved(_))), "{failures:?}");

    let unreachable = command(&commands, Action::Contents(PeerId::new(3).unwrap()), false).await;
    assert!(matches!(unreachable, Some(Outcome::Unreachable { .. })), "{unreachable:?}");
    let endless = command(&commands, Action::Known(PeerId::new(5).unwrap()), false).await;
    let Some(Outcome::Unreachable { why: AskError::Misbehaved(why), .. }) = endless else {
        panic!("{endless:?}")
    };
    assert_eq!(why, "a list without end");
    stop.cancel();
    assert!(matches!(task.await.unwrap(), PeerEnd::Stopped));
    tracker.assert_well().await;
}

#[tokio::test]
async fn a_peer_finds_without_its_tracker() {
    let nobody = TcpListener::bind(any_port()).await.unwrap().local_addr().unwrap();
    let (commands, stop, task) = peer(nobody, PeerConfig::default());
    let key: askaround_core::Key = "a".parse().unwrap();
    let outcome = command(&commands, Action::Find(key), false).await.unwrap();
    assert!(matches!(outcome, Outcome::Found { report, .. } if report.found.is_none()));
    let outcome = command(&commands, Action::List, false).await.unwrap();
    assert!(matches!(outcome, Outcome::TrackerFailed(AskError::Unreachable(_))));
    stop.cancel();
    task.await.unwrap();
}
