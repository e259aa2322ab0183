//! A tracker and peers with content, in one process, on a loopback address of their own.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod source;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;

use askaround_core::id::{Contact, PeerId};
use askaround_core::key::Key;
use askaround_core::peer::{Outcome, PeerConfig};
use askaround_core::pieces::{Md5, Root};
use askaround_core::script::Action;
use askaround_core::search::SearchConfig;
use askaround_core::tracker::TrackerConfig;
use askaround_node::content::file::Stamp;
use askaround_node::content::{Addition, Catalogue, Entry, How, Kept, hash_file};
use askaround_node::delivery::verify::VerifySummary;
use askaround_node::delivery::{Delivery, DeliveryOptions, GetError, GetRequest, Got};
use askaround_node::network;
use askaround_node::peer::{PeerHandle, PeerNews, PeerNode, PeerOptions};
use askaround_node::tracker::TrackerNode;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Bytes that differ from piece to piece.
pub(crate) fn bytes(size: usize) -> Vec<u8> {
    let mut state = size as u64 + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..size).map(|_| next()).collect()
}

/// The names beside a file, hidden ones too.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Turns over a byte so that nobody who looks at the file sees it.
pub(crate) fn spoil(path: &Path, at: u64) {
    use std::os::unix::fs::FileExt as _;
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[!byte[0]], at).unwrap();
    file.set_modified(modified).unwrap();
}

pub(crate) async fn join_all<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    let mut results: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        let mut pending = false;
        for (future, result) in futures.iter_mut().zip(&mut results) {
            if result.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *result = Some(value),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    results.into_iter().flatten().collect()
}

/// A tracker, and where its peers find it.
pub(crate) struct Network {
    addr: SocketAddr,
    stop: CancellationToken,
    tracker: JoinHandle<()>,
}

impl Network {
    pub(crate) async fn start() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(1);
        let [_, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let [a, b] = (std::process::id() as u16).to_be_bytes();
        let ip = Ipv4Addr::new(127, a.max(1), b, low);
        let stop = CancellationToken::new();
        let node = TrackerNode::bind(
            network::Network::default(),
            SocketAddr::from((ip, 0)),
            TrackerConfig::default(),
            Default::default(),
            None,
        )
        .unwrap();
        let addr = node.addr().unwrap();
        let stopping = stop.clone();
        let tracker = tokio::spawn(async move {
            node.run(stopping, |_| {}).await.unwrap();
        });
        Self { addr, stop, tracker }
    }

    /// The address that its nodes have.
    pub(crate) fn ip(&self) -> IpAddr {
        self.addr.ip()
    }

    /// A peer with this id, once it is registered. It does not wait for holders.
    pub(crate) async fn peer(&self, id: u64) -> Node {
        let options = DeliveryOptions { holder_timeout: Duration::ZERO, ..Default::default() };
        self.peer_with(id, options).await
    }

    pub(crate) async fn peer_with(&self, id: u64, options: DeliveryOptions) -> Node {
        let addr = SocketAddr::new(self.addr.ip(), 0);
        let network = network::Network::default().of_listener(addr);
        let listener = network.listen(addr).unwrap();
        let me = Contact::new(PeerId::new(id).unwrap(), listener.local_addr().unwrap());
        let (peer, orders) = PeerHandle::new();
        let home = tempfile::tempdir().unwrap();
        let options = DeliveryOptions { network, seed: id, ..options };
        let catalogue = Catalogue::temporary().unwrap();
        let (delivery, content) = Delivery::new(me, catalogue, peer, options);
        let config = PeerConfig {
            advertised_ip: Some(self.addr.ip()),
            search: SearchConfig { width: 16, ..SearchConfig::default() },
            // Nobody here is given up because of the time.
            ask_timeout: Duration::from_secs(3600),
            operation_timeout: Duration::from_secs(3600),
            ..PeerConfig::default()
        };
        let options = PeerOptions {
            network,
            tracker: Some(self.addr),
            keep_connections: 16,
            content: Some(content),
            ..PeerOptions::default()
        };
        let node = PeerNode::live(listener, me, config, options).unwrap();
        let stop = CancellationToken::new();
        let (registered, is_registered) = tokio::sync::oneshot::channel();
        let mut registered = Some(registered);
        let stopping = stop.clone();
        let task = tokio::spawn(async move {
            let news = |news| {
                if matches!(news, PeerNews::Membership(Outcome::Registered { .. }))
                    && let Some(registered) = registered.take()
                {
                    let _ = registered.send(());
                }
            };
            node.run(stopping, orders, news).await.unwrap();
        });
        is_registered.await.unwrap();
        Node { delivery, home, stop, task }
    }

    /// Registers somebody who listens at 127.0.0.1.
    pub(crate) async fn register(&self, id: u64, port: u16) {
        let mut stream = BufReader::new(TcpStream::connect(self.addr).await.unwrap());
        let request = format!("V {{\"version\":1}}\nR {{\"id\":{id},\"port\":{port}}}\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_line(&mut answer).await.unwrap();
        assert!(answer.starts_with("A "), "{answer}");
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.tracker.await.unwrap();
    }
}

/// A peer with content.
pub(crate) struct Node {
    pub(crate) delivery: Delivery,
    home: tempfile::TempDir,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Node {
    /// Makes a file and adds it.
    pub(crate) async fn add_file(&self, name: &str, bytes: &[u8]) -> Entry {
        let path = self.home.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let catalogue = self.delivery.catalogue().clone();
        let add = move || catalogue.add(&path, How::Reference, &|_| (), &AtomicBool::new(false)).unwrap();
        let entry = tokio::task::spawn_blocking(add).await.unwrap();
        self.hold(entry.root.key()).await;
        if let Some(md5) = entry.md5 {
            self.hold(md5.key()).await;
        }
        entry
    }

    /// Makes a file and claims that it has this md5.
    pub(crate) async fn add_as(&self, name: &str, bytes: &[u8], md5: Md5) {
        let path = self.home.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let catalogue = self.delivery.catalogue().clone();
        let add = move || {
            let file = std::fs::File::open(&path).unwrap();
            let hashed = hash_file(&file, &|_| (), &AtomicBool::new(false)).unwrap();
            let addition = Addition {
                manifest: Arc::new(hashed.manifest),
                md5: Some(md5),
                stamp: Stamp::of(&file).unwrap(),
                path,
                kept: Kept::Reference,
                sparse: false,
                executable: false,
            };
            catalogue.add_all(&[addition]).unwrap();
        };
        tokio::task::spawn_blocking(add).await.unwrap();
        self.hold(md5.key()).await;
    }

    /// Adds a folder as a collection.
    pub(crate) async fn add_folder(&self, path: &Path) -> Root {
        let (catalogue, path) = (self.delivery.catalogue().clone(), path.to_owned());
        let add =
            move || catalogue.add_folder(&path, How::Reference, &|_, _| (), &AtomicBool::new(false)).unwrap();
        let added = tokio::task::spawn_blocking(add).await.unwrap();
        self.hold(added.entry.root.key()).await;
        for file in added.collection.files() {
            self.hold(file.root.key()).await;
        }
        added.entry.root
    }

    /// Fetches, from whomever is found.
    pub(crate) async fn get(&self, key: &str, to: &Path) -> Result<Got, GetError> {
        self.get_from(Key::new(key).unwrap(), to, vec![]).await
    }

    /// Fetches from these, or from whomever is found if there are none.
    pub(crate) async fn get_from(&self, key: Key, to: &Path, from: Vec<SocketAddr>) -> Result<Got, GetError> {
        let request = GetRequest { key, to: to.into(), from, in_place: false };
        // Nobody looks at what is told.
        let (events, _told) = mpsc::channel(1);
        self.delivery.get(request, events, CancellationToken::new()).await
    }

    /// Verifies what a key names.
    pub(crate) async fn verify(&self, key: &str, repair: bool) -> VerifySummary {
        // Nobody takes what is told.
        let (events, _) = mpsc::channel(1);
        let keys = vec![Key::new(key).unwrap()];
        self.delivery.verify(keys, repair, events, CancellationToken::new()).await.unwrap()
    }

    async fn hold(&self, key: Key) {
        self.delivery.peer().command(Action::Hold(key), false).await.unwrap();
    }

    /// Whether its machine holds a key.
    pub(crate) async fn holds(&self, key: &str) -> bool {
        let key = Key::new(key).unwrap();
        let found = self.delivery.peer().command(Action::Find(key), false).await.unwrap();
        matches!(found, Outcome::Found { report, .. } if report.found.is_some() && report.route.is_none())
    }

    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        (&mut self.task).await.unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
