//! A holder that sends each piece once and leaves, to peers that leave when they are complete: the
//! last copy of a piece does not leave before everybody has it.

mod nodes;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use askaround_core::pieces::PieceSet;
use askaround_node::delivery::{DeliveryOptions, GetRequest};
use nodes::source::Said;
use nodes::{Network, Node, join_all};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Barrier, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

const FETCHERS: usize = 3;
/// 64 pieces, the last one shorter.
const SIZE: usize = 64 * 65_536 - 1000;

/// A holder.
struct Holder {
    said: Said,
    /// What it has sent.
    sent: Mutex<PieceSet>,
    /// It begins when everybody has asked it for something.
    all_here: Barrier,
    /// It has sent everything.
    leaves: CancellationToken,
}

impl Holder {
    async fn start(said: Said) -> (SocketAddr, JoinHandle<()>) {
        let sent = Mutex::new(PieceSet::empty(said.manifest.geometry().count()));
        let (all_here, leaves) = (Barrier::new(FETCHERS), CancellationToken::new());
        let holder = Arc::new(Self { said, sent, all_here, leaves });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            for _ in 0..FETCHERS {
                let (stream, _) = listener.accept().await.unwrap();
                let holder = holder.clone();
                connections.spawn(async move { holder.serve(stream).await });
            }
            connections.join_all().await;
        });
        (addr, task)
    }

    async fn serve(&self, stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        let mut stream = BufReader::new(stream);
        stream.write_all(&self.said.first(b"A {\"pieces\":\"all\"}\n")).await.unwrap();
        let mut waits = true;
        loop {
            let mut line = String::new();
            tokio::select! {
                () = self.leaves.cancelled() => break,
                read = stream.read_line(&mut line) => if read.unwrap_or(0) == 0 { break },
            }
            if line.starts_with("G ") {
                if std::mem::take(&mut waits) {
                    self.all_here.wait().await;
                }
                stream.write_all(&self.answer(&line)).await.unwrap();
            }
        }
        stream.shutdown().await.unwrap();
        // Whoever closes with requests unread takes back what the other end has not read.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }

    /// A piece that it has not sent, if the request is for that or leaves the choice.
    fn answer(&self, request: &str) -> Vec<u8> {
        let geometry = self.said.manifest.geometry();
        let mut sent = self.sent.lock().unwrap();
        let asked = (self.said.asked(request).start / 65_536) as u32;
        let any = request.contains("\"any\":true");
        let unsent = if sent.contains(asked) { sent.missing().next().filter(|_| any) } else { Some(asked) };
        let Some(piece) = unsent else {
            return b"E {\"code\":\"not-here\",\"text\":\"sent once\"}\n".to_vec();
        };
        sent.insert(piece);
        if sent.is_full() {
            self.leaves.cancel();
        }
        let piece = geometry.piece(piece).unwrap();
        let from = geometry.range(piece).start as usize;
        self.said.piece(from..from + geometry.length(piece))
    }
}

/// Fetches, and ends as soon as that is over.
async fn get_and_leave(node: Node, said: (askaround_core::Key, Vec<u8>), holder: SocketAddr) {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("x");
    let request = GetRequest { key: said.0, to: to.clone(), from: vec![holder], in_place: false };
    // Nobody watches.
    let events = mpsc::channel(1).0;
    let got = node.delivery.get(request, events, CancellationToken::new()).await;
    node.stop().await;
    got.unwrap();
    assert!(std::fs::read(&to).unwrap() == said.1, "it is another content");
}

#[tokio::test]
async fn everybody_gets_everything_although_all_leave_as_soon_as_they_may() {
    let (far, near) = (Network::start().await, Network::start().await);
    // Of another network, so that no search finds it.
    let origin = far.peer(1).await;
    let mut fetchers = Vec::new();
    for id in 1..=FETCHERS {
        // The last is so slow that the others are complete long before it.
        let down = (id == FETCHERS).then_some(2_000_000);
        let longest_stay = Some(Duration::from_secs(60));
        let options = DeliveryOptions { longest_stay, down, ..Default::default() };
        fetchers.push(near.peer_with(id as u64, options).await);
    }
    let said = Said::of(&origin, SIZE).await;
    let expected = (said.root.key(), said.bytes.clone());
    let (holder, gone) = Holder::start(said).await;
    join_all(fetchers.into_iter().map(|node| get_and_leave(node, expected.clone(), holder))).await;
    gone.await.unwrap();
    near.stop().await;
    far.stop().await;
}
