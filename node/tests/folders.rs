//! Folders from sources that keep something to themselves.

mod nodes;

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use askaround_node::delivery::DeliveryOptions;
use askaround_node::transfer::source::SourceLimits;
use nodes::{Network, bytes};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// One that passes everything on to a holder and back, but for requests for the piece hashes of
/// other content than `list`: those it answers with `instead`.
async fn between(holder: SocketAddr, list: String, instead: Vec<u8>) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind((holder.ip(), 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (fetcher, _) = listener.accept().await.unwrap();
        let (asks, mut answers) = fetcher.into_split();
        let (back, mut on) = TcpStream::connect(holder).await.unwrap().into_split();
        let (own, mut answers_of_its_own) = tokio::sync::mpsc::channel::<Vec<u8>>(64);
        let answering = async {
            loop {
                let mut buffer = [0; 4096];
                tokio::select! {
                    biased;
                    Some(own) = answers_of_its_own.recv() => answers.write_all(&own).await.unwrap(),
                    _ = back.readable() => match back.try_read(&mut buffer) {
                        Ok(0) => return,
                        Ok(count) => answers.write_all(&buffer[..count]).await.unwrap(),
                        Err(_) => {}
                    },
                }
            }
        };
        let asking = async {
            let mut asks = BufReader::new(asks);
            let mut line = String::new();
            while asks.read_line(&mut line).await.is_ok_and(|count| count > 0) {
                if line.starts_with("H ") && !line.contains(&list) {
                    own.send(instead.clone()).await.unwrap();
                } else {
                    on.write_all(line.as_bytes()).await.unwrap();
                }
                line.clear();
            }
        };
        tokio::select! {
            () = answering => {}
            () = asking => {}
        }
    });
    (addr, task)
}

/// A folder comes although the first source is such a one.
async fn comes_although(instead: Vec<u8>) {
    let network = Network::start().await;
    let seed = network.peer(1).await;
    let source = tempfile::tempdir().unwrap();
    for (name, size) in [("a", 300_001), ("b", 300_002), ("c", 300_003)] {
        fs::write(source.path().join(name), bytes(size)).unwrap();
    }
    let key = seed.add_folder(source.path()).await;
    let (addr, task) = between(seed.delivery.status().unwrap().me.addr(), key.to_string(), instead).await;
    let source_limits =
        SourceLimits { answer_timeout: Duration::from_millis(500), ..SourceLimits::default() };
    let node = network.peer_with(2, DeliveryOptions { source_limits, ..DeliveryOptions::default() }).await;
    let other = tempfile::tempdir().unwrap();
    let to = other.path().join("copy");
    let got = node.get_from(key.key(), &to, vec![addr]).await.unwrap();
    assert_eq!(got.files, Some(3));
    assert!(got.sources.iter().any(|source| source.addr == addr && source.lost.is_some()), "{got:?}");
    for (name, size) in [("a", 300_001), ("b", 300_002), ("c", 300_003)] {
        assert_eq!(fs::read(to.join(name)).unwrap(), bytes(size));
    }
    task.abort();
    network.stop().await;
}

#[tokio::test]
async fn a_folder_comes_although_a_source_keeps_piece_hashes_to_itself() {
    comes_although(Vec::new()).await;
}

#[tokio::test]
async fn a_folder_comes_although_a_source_sends_wrong_piece_hashes() {
    let mut wrong = b"A {\"hashes\":5}\n".to_vec();
    wrong.extend([7; 5 * 32]);
    comes_although(wrong).await;
}
