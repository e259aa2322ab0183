//! What the tests against strangers share: nodes that end with the test, and bad company.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::net::SocketAddr;

use askaround_core::PeerId;
use askaround_core::id::Contact;
use askaround_core::peer::{Outcome, PeerConfig};
use askaround_core::script::Action;
use askaround_core::tracker::TrackerConfig;
use askaround_node::network::Network;
use askaround_node::peer::{PeerEnd, PeerHandle, PeerNode, PeerOptions};
use askaround_node::server::ServerConfig;
use askaround_node::tracker::{TrackerEnd, TrackerNode};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const HELLO: &str = "V {\"version\":1}\n";

pub(crate) fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// A tracker that ends with the test.
pub(crate) struct Tracker {
    pub(crate) addr: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<std::io::Result<TrackerEnd>>,
}

impl Tracker {
    pub(crate) fn start(server: ServerConfig) -> Self {
        let config = TrackerConfig::default();
        let node = TrackerNode::bind(Network::default(), any_port(), config, server, None).unwrap();
        let (addr, stop) = (node.addr().unwrap(), CancellationToken::new());
        let task = tokio::spawn(node.run(stop.clone(), |_| {}));
        Self { addr, stop, task }
    }

    /// Registers who listens there.
    pub(crate) async fn register(&self, id: u64, addr: SocketAddr) {
        let request = format!("R {{\"id\":{id},\"port\":{}}}\n", addr.port());
        assert!(ask(self.addr, &request).await.starts_with("A "));
    }

    /// A good client is served, and the tracker ends as it should.
    pub(crate) async fn assert_well(self) {
        let answer = ask(self.addr, "R {\"id\":1000,\"port\":1}\n").await;
        assert!(answer.starts_with("A {\"registered\":[1000,"), "{answer}");
        self.stop.cancel();
        assert_eq!(self.task.await.unwrap().unwrap(), TrackerEnd::Stopped);
    }
}

/// A live peer without a store.
pub(crate) struct Peer {
    pub(crate) addr: SocketAddr,
    peer: PeerHandle,
    stop: CancellationToken,
    task: JoinHandle<PeerEnd>,
}

impl Peer {
    pub(crate) fn start(tracker: Option<SocketAddr>, config: PeerConfig, server: ServerConfig) -> Self {
        let listener = Network::default().listen(any_port()).unwrap();
        let addr = listener.local_addr().unwrap();
        let me = Contact::new(PeerId::new(1).unwrap(), addr);
        let config = PeerConfig { has_tracker: tracker.is_some(), ..config };
        let options = PeerOptions { tracker, server, keep_connections: 4, ..PeerOptions::default() };
        let node = PeerNode::live(listener, me, config, options).unwrap();
        let (peer, orders) = PeerHandle::new();
        let stop = CancellationToken::new();
        let run = node.run(stop.clone(), orders, |_| {});
        Self { addr, peer, stop, task: tokio::spawn(async move { run.await.unwrap() }) }
    }

    pub(crate) async fn command(&self, action: Action) -> Outcome {
        self.peer.command(action, true).await.unwrap()
    }

    /// A good client is served, and the peer ends as it should.
    pub(crate) async fn assert_well(self) {
        assert_eq!(ask(self.addr, "Q {\"key\":\"a\"}\n").await, "A {\"have\":false}\n");
        self.stop.cancel();
        assert!(matches!(self.task.await.unwrap(), PeerEnd::Stopped));
    }
}

/// Either kind of node, for what both must bear.
pub(crate) enum Node {
    Tracker(Tracker),
    Peer(Peer),
}

impl Node {
    pub(crate) fn both(server: &ServerConfig) -> [Self; 2] {
        let peer = Peer::start(None, PeerConfig::default(), server.clone());
        [Self::Tracker(Tracker::start(server.clone())), Self::Peer(peer)]
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        match self {
            Self::Tracker(tracker) => tracker.addr,
            Self::Peer(peer) => peer.addr,
        }
    }

    /// A request that this node answers, and how the answer begins.
    pub(crate) fn request(&self) -> (&'static str, &'static str) {
        match self {
            Self::Tracker(_) => ("L {}\n", "A {\"peers\":["),
            Self::Peer(_) => ("M {}\n", "A {\"keys\":["),
        }
    }

    pub(crate) async fn assert_well(self) {
        match self {
            Self::Tracker(tracker) => tracker.assert_well().await,
            Self::Peer(peer) => peer.assert_well().await,
        }
    }
}

/// One request on a connection of its own.
pub(crate) async fn ask(addr: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(format!("{HELLO}{request}").as_bytes()).await.unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await.unwrap();
    line
}

/// Sends bytes and reads until the other end closes.
pub(crate) async fn send_and_read_all(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    // The other end may close before everything is sent.
    let _ = stream.write_all(bytes).await;
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard).await;
    String::from_utf8(heard).unwrap()
}

/// Listens, and answers the `n`th line of each connection with what `answer` makes of both.
pub(crate) async fn stranger(answer: impl Fn(u64, &str) -> String + Send + Clone + 'static) -> SocketAddr {
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
                        Ok(Some(line)) => {
                            if writer.write_all(answer(n, &line).as_bytes()).await.is_err() {
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
