//! Programs do not keep one another from what ends soon, and are told what they may not.

use std::collections::HashMap;

use askaround_core::id::{Contact, PeerId};
use askaround_core::key::Key;
use askaround_core::peer::PeerConfig;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::api::{ApiError, ask};
use crate::content::Catalogue;
use crate::delivery::DeliveryOptions;
use crate::delivery::types::GetRequest;
use crate::network::Network;
use crate::peer::{PeerHandle, PeerNode, PeerOptions};
use crate::transfer::source::SourceLimits;

/// So many programs are let in: each takes this process two files.
const MOST: usize = 100;

/// A peer, its socket, and somebody of whom it waits for an answer.
struct Served {
    folder: TempDir,
    silent: TcpListener,
    stop: CancellationToken,
    serving: JoinHandle<()>,
    running: JoinHandle<()>,
}

impl Served {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (any_port, stop) = ("127.0.0.1:0".parse().unwrap(), CancellationToken::new());
        let listener = Network::default().listen(any_port).unwrap();
        let me = Contact::new(PeerId::new(1).unwrap(), listener.local_addr().unwrap());
        let (peer, orders) = PeerHandle::new();
        let limits = SourceLimits { answer_timeout: Duration::from_secs(3600), ..SourceLimits::default() };
        let options = DeliveryOptions { source_limits: limits, ..DeliveryOptions::default() };
        let (delivery, _) = Delivery::new(me, Catalogue::temporary().unwrap(), peer, options);
        let config = PeerConfig { has_tracker: false, ..PeerConfig::default() };
        let node = PeerNode::live(listener, me, config, PeerOptions::default()).unwrap();
        let run = node.run(stop.clone(), orders, |_| {});
        Self {
            serving: tokio::spawn(serve_at_most(
                MOST,
                listen(folder.path()).unwrap(),
                delivery,
                stop.clone(),
            )),
            running: tokio::spawn(async move { drop(run.await.unwrap()) }),
            silent: Network::default().listen(any_port).unwrap(),
            folder,
            stop,
        }
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.folder.path().join(SOCKET)).await.unwrap()
    }

    async fn ask(&self, request: &ApiRequest) -> Result<ApiReply, ApiError> {
        ask(self.folder.path(), request, |_| (), &CancellationToken::new()).await
    }

    /// What is being fetched.
    async fn running(&self) -> Vec<Key> {
        match self.ask(&ApiRequest::Why { key: None }).await.unwrap() {
            ApiReply::Fetches(fetches) => fetches.into_iter().filter(|f| !f.ended).map(|f| f.key).collect(),
            reply => panic!("{reply:?}"),
        }
    }

    async fn end(self) {
        self.stop.cancel();
        self.serving.await.unwrap();
        self.running.await.unwrap();
    }
}

/// What comes until the other end has gone, also if it has not read everything.
async fn read_all(stream: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes).await {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("{error}"),
        _ => String::from_utf8(bytes).unwrap(),
    }
}

async fn patiently<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it does not take a minute")
}

#[tokio::test]
async fn long_work_waits_for_its_turn_and_keeps_nobody_from_what_ends_soon() {
    let served = Served::start();
    let mut gets = HashMap::new();
    for n in 0..MAX_AT_WORK + 6 {
        let key: Key = format!("{n:064x}").parse().unwrap();
        let to = served.folder.path().join(key.as_str());
        let from = vec![served.silent.local_addr().unwrap()];
        let get = GetRequest { key: key.clone(), to, from, in_place: false };
        let mut stream = served.connect().await;
        let mut line = serde_json::to_vec(&ApiRequest::Get(get)).unwrap();
        line.push(b'\n');
        stream.write_all(&line).await.unwrap();
        gets.insert(key, stream);
    }
    let begun = async {
        loop {
            let running = served.running().await;
            assert!(running.len() <= MAX_AT_WORK, "{} at once", running.len());
            if running.len() == MAX_AT_WORK {
                break running;
            }
        }
    };
    for key in patiently(begun).await {
        gets.remove(&key).unwrap();
    }
    let rest = async {
        while !gets.is_empty() {
            for key in served.running().await {
                gets.remove(&key);
            }
        }
    };
    patiently(rest).await;
    served.end().await;
}

#[tokio::test]
async fn one_program_too_many_is_told_so_whatever_it_wants() {
    let served = Served::start();
    let mut silent = Vec::new();
    for _ in 0..MOST {
        silent.push(served.connect().await);
    }
    let told = patiently(async { read_all(&mut served.connect().await).await }).await;
    assert!(told.contains("100 programs are at work with this peer"), "{told}");
    // The longer one does not fit into the socket before it is read, which it never is.
    let key: Key = "a".repeat(64).parse().unwrap();
    for keys in [Vec::new(), vec![key; 15_000]] {
        let reply = patiently(served.ask(&ApiRequest::Verify { keys, repair: false })).await;
        let Ok(ApiReply::Error(text)) = &reply else { panic!("{reply:?}") };
        assert!(told.contains(text), "{told}");
    }
    silent.pop();
    let let_in = async {
        while !matches!(served.ask(&ApiRequest::Why { key: None }).await, Ok(ApiReply::Fetches(_))) {}
    };
    patiently(let_in).await;
    served.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_program_that_asks_nothing_is_told_so_and_goes() {
    let served = Served::start();
    let mut silent = served.connect().await;
    silent.write_all(b"{\"verb\":").await.unwrap();
    let told = patiently(read_all(&mut silent)).await;
    assert_eq!(told, "{\"unusable\":\"no request came within 10 s\"}\n");
    served.end().await;
}

#[tokio::test]
async fn a_reply_that_cannot_be_written_is_an_error() {
    let (mut program, mut peer) = UnixStream::pair().unwrap();
    // JSON has no keys that are objects.
    let reply = HashMap::from([(Some((1, 2)), 3)]);
    write_line(&mut peer.split().1, &reply, &CancellationToken::new()).await.unwrap();
    drop(peer);
    let told = read_all(&mut program).await;
    assert!(told.starts_with("{\"error\":\"a bug of ours: "), "{told}");
}

#[tokio::test]
async fn a_request_may_be_as_long_as_is_said_and_no_longer() {
    let served = Served::start();
    let answer = async |length: usize| {
        let mut stream = served.connect().await;
        let mut line = b"{\"verb\":\"why\"}".to_vec();
        line.resize(length - 1, b' ');
        line.push(b'\n');
        // It need not be read to its end to be too long.
        let _ = stream.write_all(&line).await;
        patiently(read_all(&mut stream)).await
    };
    assert_eq!(answer(MAX_REQUEST).await, "{\"fetches\":[]}\n");
    for too_long in [MAX_REQUEST + 1, MAX_REQUEST + 100] {
        let told = answer(too_long).await;
        assert_eq!(told, "{\"unusable\":\"a request has at most 1048576 bytes\"}\n");
    }
    served.end().await;
}

#[tokio::test]
async fn long_work_asked_for_in_as_many_bytes_as_may_be_goes_on_until_it_is_given_up() {
    let served = Served::start();
    let key: Key = "a".repeat(64).parse().unwrap();
    let to = served.folder.path().join("to");
    let get =
        GetRequest { key: key.clone(), to, from: vec![served.silent.local_addr().unwrap()], in_place: false };
    let mut line = serde_json::to_vec(&ApiRequest::Get(get)).unwrap();
    line.resize(MAX_REQUEST - 1, b' ');
    line.push(b'\n');
    let mut stream = served.connect().await;
    stream.write_all(&line).await.unwrap();
    let asked = async { served.silent.accept().await.unwrap() };
    let _asked = patiently(asked).await;
    assert_eq!(served.running().await, [key]);
    stream.shutdown().await.unwrap();
    let told = patiently(read_all(&mut stream)).await;
    assert_eq!(told.lines().last(), Some("\"stopped\""), "{told}");
    served.end().await;
}

#[test]
fn only_the_peers_user_and_root_are_answered() {
    assert!(may_ask(1000, 1000) && may_ask(0, 1000) && may_ask(0, 0));
    assert!(!may_ask(1001, 1000) && !may_ask(65534, 0));
}
