//! Crowds over loopback, in one process: those who fetch give to each other what a holder sends once.

mod nodes;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use askaround_node::delivery::DeliveryOptions;
use nodes::{Network, Node, bytes};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Of a folder too, as far as those who ask leave it the choice.
#[tokio::test]
async fn a_holder_sends_no_piece_of_a_folder_twice_before_it_has_sent_all() {
    let network = Network::start().await;
    let seed = network.peer(1).await;
    let source = tempfile::tempdir().unwrap();
    let sizes = [("a", 70_000), ("b", 10), ("c", 0), ("d", 70_000), ("e", 65_536)];
    for (name, size) in sizes {
        fs::write(source.path().join(name), bytes(size)).unwrap();
    }
    let key = seed.add_folder(source.path()).await;
    let addr = seed.delivery.status().unwrap().me.addr();
    let same = blake3::hash(&bytes(70_000));
    let mut sent = Vec::new();
    let mut open = Vec::new();
    for _ in 0..5 {
        let mut client = BufReader::new(TcpStream::connect(addr).await.unwrap());
        let range = format!("\"key\":\"{same}\",\"from\":0,\"length\":65536,\"any\":true");
        let asks = format!("V {{\"version\":1}}\nI {{\"key\":\"{key}\",\"files\":true}}\nG {{{range}}}\n");
        client.write_all(asks.as_bytes()).await.unwrap();
        let mut lines = (String::new(), String::new());
        client.read_line(&mut lines.0).await.unwrap();
        client.read_line(&mut lines.1).await.unwrap();
        assert_eq!(lines.0, "A {\"pieces\":\"all\"}\n");
        sent.push(lines.1);
        // What may not have arrived would count as unsent.
        open.push(client);
    }
    let first = format!("A {{\"key\":\"{same}\",\"from\":0,\"length\":65536}}\n");
    assert_eq!((&sent[0], &sent[4]), (&first, &first), "{sent:?}");
    sent.truncate(4);
    sent.sort_unstable();
    sent.dedup();
    assert_eq!(sent.len(), 4, "{sent:?}");
    network.stop().await;
}

/// Four fetch what a peer of a network holds, whose uplink takes a second for all of it. Where it
/// went, and how much of it came from the holder.
async fn crowd(network: &Network, seed: &Node, key: &str, folder: &Path) -> (Vec<PathBuf>, u64) {
    seed.delivery.set_limits(Some(Some(4_000_000)), None);
    let mut fetchers = Vec::new();
    for id in 2..6 {
        fetchers.push(network.peer(id).await);
    }
    let gets = fetchers.iter().enumerate().map(|(i, node)| async move {
        let to = folder.join(i.to_string());
        let got = node.get(key, &to).await.unwrap();
        let seeds = got.sources.iter().filter(|s| s.peer.is_some_and(|p| p.id.as_u64() == 1));
        (to, seeds.map(|s| s.bytes).sum::<u64>())
    });
    let (to, from_seed): (_, Vec<u64>) = nodes::join_all(gets).await.into_iter().unzip();
    (to, from_seed.into_iter().sum())
}

#[tokio::test]
async fn a_crowd_fetches_from_each_other() {
    let network = Network::start().await;
    let seed = network.peer(1).await;
    let content = bytes(4_000_000);
    let key = seed.add_file("x", &content).await.root.to_string();
    let folder = tempfile::tempdir().unwrap();
    let (to, from_seed) = crowd(&network, &seed, &key, folder.path()).await;
    for to in to {
        assert!(fs::read(to).unwrap() == content);
    }
    assert!(from_seed < 2 * 4_000_000, "the holder has sent {from_seed} bytes to four");
    network.stop().await;
}

#[tokio::test]
async fn a_crowd_fetches_a_folder_from_each_other() {
    let network = Network::start().await;
    let seed = network.peer(1).await;
    let source = tempfile::tempdir().unwrap();
    let sizes = (1..=40).map(|i| (format!("{i}"), 98_000 + i * 100)).collect::<Vec<_>>();
    for (name, size) in &sizes {
        fs::write(source.path().join(name), bytes(*size)).unwrap();
    }
    let key = seed.add_folder(source.path()).await.to_string();
    let folder = tempfile::tempdir().unwrap();
    let (to, from_seed) = crowd(&network, &seed, &key, folder.path()).await;
    for to in to {
        for (name, size) in &sizes {
            assert!(fs::read(to.join(name)).unwrap() == bytes(*size), "{name}");
        }
    }
    assert!(from_seed < 2 * 4_000_000, "the holder has sent {from_seed} bytes to four");
    network.stop().await;
}

/// A connection to a peer that fetches this, once it has answered this `I`.
async fn interested(peer: SocketAddr, interest: &str) -> BufReader<TcpStream> {
    let mut stream = BufReader::new(TcpStream::connect(peer).await.unwrap());
    let asks = format!("I {interest}\n");
    stream.write_all(b"V {\"version\":1}\n").await.unwrap();
    let mut answer = String::new();
    // It does not know the content before it has found somebody.
    while !answer.starts_with("A ") {
        stream.write_all(asks.as_bytes()).await.unwrap();
        answer.clear();
        stream.read_line(&mut answer).await.unwrap();
    }
    stream
}

#[tokio::test]
async fn who_fetches_too_and_has_found_nobody_yet_is_no_source_that_was_lost() {
    let network = Network::start().await;
    let seed = network.peer_with(1, DeliveryOptions { up: Some(1), ..Default::default() }).await;
    let fetcher = network.peer(2).await;
    let key = seed.add_file("x", &bytes(300_000)).await.root.to_string();
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("x");
    let addr = fetcher.delivery.status().unwrap().me.addr();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = async {
        let port = listener.local_addr().unwrap().port();
        let asked = interested(addr, &format!("{{\"key\":\"{key}\",\"id\":9,\"port\":{port}}}")).await;
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        while !line.starts_with("D ") {
            line.clear();
            assert!(stream.read_line(&mut line).await.unwrap() > 0);
        }
        stream.write_all(b"E {\"code\":\"unknown-key\",\"text\":\"\",\"definite\":true}\n").await.unwrap();
        let mut rest = Vec::new();
        // Until it is given up; how the connection ends is the same to us.
        let _ = stream.read_to_end(&mut rest).await;
        seed.delivery.set_limits(Some(None), None);
        asked
    };
    let (got, _) = tokio::join!(fetcher.get(&key, &to), refused);
    let sources = got.unwrap().sources;
    assert_eq!(sources.len(), 1, "{sources:?}");
    network.stop().await;
}

/// Who has just begun, and those who begin with it, need not ask the holder for everything.
#[tokio::test]
async fn who_fetches_a_folder_gives_piece_hashes_of_files_of_which_nothing_has_come() {
    let network = Network::start().await;
    // The list comes at once, and then hardly anything.
    let seed = network.peer_with(1, DeliveryOptions { up: Some(1), ..Default::default() }).await;
    let fetcher = network.peer(2).await;
    let source = tempfile::tempdir().unwrap();
    for (name, size) in [("a", 200_000), ("b", 200_001)] {
        fs::write(source.path().join(name), bytes(size)).unwrap();
    }
    let key = seed.add_folder(source.path()).await.to_string();
    let addr = fetcher.delivery.status().unwrap().me.addr();
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("x");
    let hashes = async {
        let mut stream = interested(addr, &format!("{{\"key\":\"{key}\",\"files\":true}}")).await;
        // Of no piece of two files of four.
        let mut bitmap = [1; 1];
        stream.read_exact(&mut bitmap).await.unwrap();
        for size in [200_000, 200_001] {
            let asks = format!("H {{\"key\":\"{}\"}}\n", blake3::hash(&bytes(size)));
            let mut answer = String::new();
            // It may not have learnt them yet.
            while answer.is_empty() || answer.contains("unknown-key") {
                answer.clear();
                stream.write_all(asks.as_bytes()).await.unwrap();
                stream.read_line(&mut answer).await.unwrap();
            }
            assert_eq!((bitmap, &*answer), ([0], "A {\"hashes\":4}\n"));
            stream.read_exact(&mut [0; 4 * 32]).await.unwrap();
        }
        seed.delivery.set_limits(Some(None), None);
    };
    let (got, ()) = tokio::join!(fetcher.get(&key, &to), hashes);
    assert_eq!(got.unwrap().files, Some(2));
    network.stop().await;
}
