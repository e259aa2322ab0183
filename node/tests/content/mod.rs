//! What the tests of transfers share: content, a server of it, and a client that fetches it.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod scripted;

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use askaround_core::id::{Contact, PeerId};
use askaround_core::key::Key;
use askaround_core::message::{ByteRange, Description, Interest};
use askaround_core::peer::{AskError, PeerConfig};
use askaround_core::pieces::{Geometry, Manifest, PieceSet, Root, piece_hash};
use askaround_core::upload::UploadConfig;
use askaround_node::content::{ContentFile, file::Stamp};
use askaround_node::network::Network;
use askaround_node::peer::{PeerEnd, PeerHandle, PeerNode, PeerOptions};
use askaround_node::server::ServerConfig;
use askaround_node::transfer::pool::Pool;
use askaround_node::transfer::rate::Rate;
use askaround_node::transfer::serve::ContentServer;
use askaround_node::transfer::shelf::{Holding, Pieces, Shelf};
use askaround_node::transfer::source::{
    self, Opened, Rejected, Sink, SourceCommand, SourceEvent, SourceId, SourceLimits, SourceOptions,
};
use askaround_node::transfer::uploads::Uploads;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Bytes that differ from piece to piece, and what they are checked by.
pub(crate) fn content(size: usize) -> (Vec<u8>, Manifest) {
    let bytes: Vec<u8> = (0..size).map(|i| (i * 31 % 251 + i / 65_536) as u8).collect();
    let geometry = Geometry::new(size as u64).unwrap();
    let hash = |piece| {
        let range = geometry.range(piece);
        piece_hash(&geometry, piece, &bytes[range.start as usize..range.end as usize])
    };
    let hashes = geometry.pieces().map(hash).collect();
    let root = Root::new(*blake3::hash(&bytes).as_bytes());
    let manifest = Manifest::new(root, size as u64, hashes).unwrap();
    (bytes, manifest)
}

/// A shelf with one content.
#[derive(Debug)]
pub(crate) struct OneContent {
    pub(crate) file: Arc<ContentFile>,
    pub(crate) on_disk: tempfile::NamedTempFile,
    /// What it says that it has; all, if there is none.
    pub(crate) live: Option<watch::Sender<PieceSet>>,
    pub(crate) changed: Mutex<Vec<Root>>,
}

impl OneContent {
    pub(crate) fn new(bytes: &[u8], manifest: &Manifest) -> Self {
        let mut on_disk = tempfile::NamedTempFile::new().unwrap();
        on_disk.write_all(bytes).unwrap();
        let file = on_disk.reopen().unwrap();
        let stamp = Stamp::of(&file).unwrap();
        let file = Arc::new(ContentFile::whole(file, Arc::new(manifest.clone()), stamp));
        Self { file, on_disk, live: None, changed: Mutex::default() }
    }

    fn root(&self, key: &Key) -> Option<Root> {
        let root = self.file.manifest().root();
        (root.key() == *key).then_some(root)
    }
}

impl Shelf for OneContent {
    fn open(&self, key: &Key) -> io::Result<Option<Arc<ContentFile>>> {
        Ok(self.root(key).map(|_| self.file.clone()))
    }

    fn describe(&self, key: &Key) -> io::Result<Option<Description>> {
        let size = self.file.geometry().size();
        Ok(self.root(key).map(|root| Description { root, size, md5: None, collection: false, sparse: false }))
    }

    fn interest(&self, _from: IpAddr, interest: &Interest) -> io::Result<Option<Holding>> {
        let pieces = match &self.live {
            Some(live) => Pieces::Live(live.subscribe()),
            None => Pieces::All(self.file.geometry().count()),
        };
        Ok(self.root(&interest.key).map(|root| Holding { root, pieces, layout: None }))
    }

    fn changed(&self, root: Root) {
        self.changed.lock().unwrap().push(root);
    }
}

/// A peer that serves a shelf.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    /// The limit on what it sends.
    pub(crate) up: Arc<Rate>,
    pub(crate) content: Arc<ContentServer>,
    stop: CancellationToken,
    task: JoinHandle<PeerEnd>,
    _peer: PeerHandle,
}

impl Server {
    pub(crate) fn start(shelf: Arc<dyn Shelf>, server: ServerConfig, slots: usize) -> Self {
        let uploads = Uploads::new(UploadConfig { slots: Some(slots), seed: 0 });
        let up = Arc::new(Rate::new(None));
        let content = Arc::new(ContentServer { shelf, uploads, up: up.clone() });
        let listener = Network::default().listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let addr = listener.local_addr().unwrap();
        let me = Contact::new(PeerId::new(1).unwrap(), addr);
        let config = PeerConfig { has_tracker: false, ..PeerConfig::default() };
        let options = PeerOptions { content: Some(content.clone()), server, ..PeerOptions::default() };
        let node = PeerNode::live(listener, me, config, options).unwrap();
        let (peer, orders) = PeerHandle::new();
        let stop = CancellationToken::new();
        let run = node.run(stop.clone(), orders, |_| {});
        let task = tokio::spawn(async move { run.await.unwrap() });
        Self { addr, up, content, stop, task, _peer: peer }
    }

    /// All its connections end with it.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        assert!(matches!(self.task.await.unwrap(), PeerEnd::Stopped));
    }
}

/// Pieces in memory.
#[derive(Debug, Default)]
pub(crate) struct MemorySink {
    pub(crate) manifest: OnceLock<Manifest>,
    /// A piece waits for whoever has them locked.
    pub(crate) pieces: Mutex<BTreeMap<u32, Vec<u8>>>,
}

impl MemorySink {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.pieces.lock().unwrap().values().flatten().copied().collect()
    }
}

impl Sink for MemorySink {
    fn range(&self, piece: u32) -> Option<ByteRange> {
        let manifest = self.manifest.get()?;
        let geometry = manifest.geometry();
        Some(ByteRange::of_piece(manifest.root().key(), geometry, geometry.piece(piece)?))
    }

    fn find(&self, key: &Key, from: u64, length: u64) -> Option<u32> {
        let manifest = self.manifest.get().filter(|manifest| manifest.root().key() == *key)?;
        manifest.geometry().exactly(from, length).map(|piece| piece.get())
    }

    fn accept(&self, piece: u32, _: &ByteRange, bytes: &[u8]) -> Result<(), Rejected> {
        let manifest = self.manifest.get().unwrap();
        if !manifest.verify(manifest.geometry().piece(piece).unwrap(), bytes) {
            return Err(Rejected::Bad);
        }
        self.pieces.lock().unwrap().insert(piece, bytes.to_vec());
        Ok(())
    }
}

/// A connection to a source.
pub(crate) struct Client {
    pub(crate) sink: Arc<MemorySink>,
    pub(crate) commands: mpsc::Sender<SourceCommand>,
    pub(crate) events: mpsc::Receiver<(SourceId, SourceEvent)>,
    pub(crate) task: JoinHandle<()>,
}

impl Client {
    pub(crate) fn connect(addr: SocketAddr, key: Key) -> Self {
        Self::with_limits(addr, key, SourceLimits::default())
    }

    pub(crate) fn with_limits(addr: SocketAddr, key: Key, limits: SourceLimits) -> Self {
        Self::with_pool(addr, key, limits, Pool::new(0, 4 << 20))
    }

    pub(crate) fn with_pool(addr: SocketAddr, key: Key, limits: SourceLimits, pool: Arc<Pool>) -> Self {
        Self::start(Self::options(addr, key, limits, pool), MemorySink::default())
    }

    /// One that knows the hashes.
    pub(crate) fn knowing(addr: SocketAddr, manifest: Manifest) -> Self {
        let (key, pool) = (manifest.root().key(), Pool::new(0, 4 << 20));
        let options = Self::options(addr, key, SourceLimits::default(), pool);
        options.hashes_known.store(true, Ordering::Release);
        Self::start(options, MemorySink { manifest: manifest.into(), ..MemorySink::default() })
    }

    pub(crate) fn options(
        addr: SocketAddr,
        key: Key,
        limits: SourceLimits,
        pool: Arc<Pool>,
    ) -> SourceOptions {
        SourceOptions {
            network: Network::default(),
            addr,
            interest: Interest { key, files: false, id: None, port: None },
            hashes_known: Arc::default(),
            pool,
            down: Arc::new(Rate::new(None)),
            limits,
            stop: CancellationToken::new(),
        }
    }

    pub(crate) fn start(options: SourceOptions, sink: MemorySink) -> Self {
        let sink = Arc::new(sink);
        let (commands, incoming) = mpsc::channel(4);
        let (outgoing, events) = mpsc::channel(4);
        let task = tokio::spawn(source::run(7, options, sink.clone(), incoming, outgoing));
        Self { sink, commands, events, task }
    }

    /// The next event that is not about progress.
    pub(crate) async fn event(&mut self) -> SourceEvent {
        loop {
            let event = tokio::time::timeout(Duration::from_secs(30), self.events.recv()).await;
            match event.expect("an event within half a minute").expect("an event") {
                (7, SourceEvent::Progress(_) | SourceEvent::Begun { .. }) => {}
                (source, event) => {
                    assert_eq!(source, 7);
                    return event;
                }
            }
        }
    }

    /// Waits for what the source says first, and takes its manifest.
    pub(crate) async fn opened(&mut self) -> Result<Opened, AskError> {
        match self.event().await {
            SourceEvent::Opened(opened) => {
                let description = &opened.description;
                let manifest = Manifest::from_bytes(description.root, description.size, &opened.hashes);
                self.sink.manifest.set(manifest.unwrap()).unwrap();
                Ok(opened)
            }
            SourceEvent::Gone(error) => Err(error),
            event => panic!("{event:?}"),
        }
    }

    /// Asks for a piece, unless the source is gone.
    pub(crate) async fn get(&self, piece: u32, any: bool) {
        let _ = self.commands.send(SourceCommand::Get { piece, any }).await;
    }

    /// Waits until the source is gone, and says what came before, and why.
    pub(crate) async fn gone(&mut self) -> (Vec<SourceEvent>, AskError) {
        let mut before = Vec::new();
        loop {
            match self.event().await {
                SourceEvent::Gone(error) => return (before, error),
                event => before.push(event),
            }
        }
    }

    /// Ends the connection as a driver does.
    pub(crate) async fn end(mut self) {
        drop(self.commands);
        while self.events.recv().await.is_some() {}
        self.task.await.unwrap();
    }
}
