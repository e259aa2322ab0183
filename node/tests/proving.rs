//! Content of more piece hashes than fit one answer: the rest of them is asked of one source at a time.

mod nodes;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use askaround_core::Key;
use askaround_core::message::MAX_HASHES;
use askaround_core::pieces::{MAX_PIECE, Manifest};
use askaround_node::delivery::{GetEvent, GetRequest};
use nodes::Network;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

const KEY: &str = "0123456789abcdef0123456789abcdef";
/// So many hashes come in a second answer.
const MORE: u32 = 100;

/// What a source says that the key is: one piece more or less makes it another content.
fn manifest(pieces: u32) -> Manifest {
    let hash = |piece: u32| blake3::hash(&piece.to_le_bytes());
    let hashes = (0..pieces).map(|piece| *hash(piece).as_bytes()).collect();
    Manifest::of(u64::from(pieces) * MAX_PIECE, hashes).unwrap()
}

/// How a source sends what comes after its first answer.
enum Second {
    /// Hardly anything, for ever; it says so when it begins.
    Trickles(Arc<Notify>),
    /// As soon as the other allows it. It tells the first when it is asked.
    Waits(Arc<Notify>, Arc<Notify>),
    /// At once. It says nothing at all before it may.
    When(Arc<Notify>),
    /// The same, and it is wrong.
    Wrong(Arc<Notify>),
}

async fn source(at: IpAddr, pieces: u32, second: Second) -> SocketAddr {
    let listener = TcpListener::bind((at, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let manifest = manifest(pieces);
        while let Ok((stream, _)) = listener.accept().await {
            if let Second::When(may) | Second::Wrong(may) = &second {
                may.notified().await;
            }
            let _ = serve(stream, &manifest, &second).await;
        }
    });
    addr
}

async fn serve(stream: TcpStream, manifest: &Manifest, second: &Second) -> std::io::Result<()> {
    let (asks, mut answers) = stream.into_split();
    let mut lines = BufReader::new(asks).lines();
    let (count, size) = (manifest.geometry().count(), manifest.geometry().size());
    while let Some(line) = lines.next_line().await? {
        let hashes = |first: u32, end: u32| &manifest.as_bytes()[first as usize * 32..end as usize * 32];
        match &line[..1] {
            "D" => {
                let described =
                    format!("{{\"blake3\":\"{}\",\"size\":{size},\"sparse\":true}}", manifest.root());
                answers.write_all(format!("A {{\"content\":{described}}}\n").as_bytes()).await?;
            }
            "I" => answers.write_all(b"A {\"pieces\":\"all\"}\n").await?,
            "H" if !line.contains("first") => {
                answers.write_all(format!("A {{\"hashes\":{MAX_HASHES}}}\n").as_bytes()).await?;
                answers.write_all(hashes(0, MAX_HASHES)).await?;
            }
            "H" => {
                let first = line.rsplit([':', '}']).nth(1).unwrap().parse().unwrap();
                let end = count.min(first + MAX_HASHES);
                if let Second::Waits(begun, may) = second {
                    begun.notify_one();
                    may.notified().await;
                    // From now on nothing is waited for.
                    may.notify_one();
                }
                answers.write_all(format!("A {{\"hashes\":{}}}\n", end - first).as_bytes()).await?;
                match second {
                    Second::Trickles(begun) => trickle(&mut answers, begun).await?,
                    Second::Wrong(_) => answers.write_all(&vec![0; (end - first) as usize * 32]).await?,
                    _ => answers.write_all(hashes(first, end)).await?,
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// As little as a source may send.
async fn trickle(answers: &mut OwnedWriteHalf, begun: &Notify) -> std::io::Result<()> {
    loop {
        answers.write_all(&[0; 20 << 10]).await?;
        begun.notify_one();
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

/// Fetches until it is known how many pieces there are.
async fn pieces_of(network: &Network, from: Vec<SocketAddr>, lost: impl Fn(SocketAddr)) -> Option<u32> {
    let node = network.peer(1).await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("x");
    let request = GetRequest { key: Key::new(KEY).unwrap(), to, from, in_place: false };
    let (events, mut told) = mpsc::channel(64);
    let stop = CancellationToken::new();
    let listening = async {
        while let Some(event) = told.recv().await {
            match event {
                GetEvent::Found { pieces, .. } => {
                    stop.cancel();
                    return Some(pieces);
                }
                GetEvent::Lost { addr, .. } => lost(addr),
                _ => {}
            }
        }
        None
    };
    tokio::join!(node.delivery.get(request, events, stop.clone()), listening).1
}

#[tokio::test]
async fn one_that_trickles_its_piece_hashes_keeps_no_other_from_proving_its_own() {
    let network = Network::start().await;
    let begun = Arc::new(Notify::new());
    // Of so many, that all of them would take an hour.
    let slow = source(network.ip(), 20 * MAX_HASHES, Second::Trickles(begun.clone())).await;
    let good = source(network.ip(), MAX_HASHES + MORE, Second::When(begun)).await;
    let nobody = |addr| panic!("{addr} was lost");
    assert_eq!(pieces_of(&network, vec![slow, good], nobody).await, Some(MAX_HASHES + MORE));
    network.stop().await;
}

/// It is asked again for what it was sending when its turn ended.
#[tokio::test]
async fn a_slow_one_proves_what_it_said_when_the_other_was_wrong() {
    let network = Network::start().await;
    let (begun, may) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let pieces = 2 * MAX_HASHES + MORE;
    let slow = source(network.ip(), pieces, Second::Waits(begun.clone(), may.clone())).await;
    let wrong = source(network.ip(), MAX_HASHES + MORE, Second::Wrong(begun)).await;
    let lost = |addr| {
        assert_eq!(addr, wrong);
        may.notify_one();
    };
    assert_eq!(pieces_of(&network, vec![slow, wrong], lost).await, Some(pieces));
    network.stop().await;
}
