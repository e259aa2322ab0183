//! A fetch that is complete stays for others: what its user makes of the file meanwhile is neither
//! served nor noted as what it was.

mod nodes;

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use askaround_node::content::Condition;
use askaround_node::delivery::{DeliveryOptions, GetEvent, GetRequest};
use nodes::Network;
use nodes::source::Said;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const PIECES: usize = 3;

/// Says that it has this, and sends what it is asked for until it has sent everything.
async fn source(said: &Arc<Said>, here: &'static [u8]) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (addr, said) = (listener.local_addr().unwrap(), said.clone());
    let task = tokio::spawn(async move {
        let mut stream = BufReader::new(listener.accept().await.unwrap().0);
        stream.write_all(&said.first(here)).await.unwrap();
        let (mut line, mut sent) = (String::new(), 0);
        while sent < PIECES && stream.read_line(&mut line).await.unwrap_or(0) > 0 {
            if line.starts_with("G ") {
                sent += 1;
                stream.write_all(&said.piece(said.asked(&line))).await.unwrap();
            }
            line.clear();
        }
        stream.shutdown().await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    (addr, task)
}

#[tokio::test]
async fn what_its_user_changes_meanwhile_is_not_served() {
    let (far, network) = (Network::start().await, Network::start().await);
    let longest_stay = Some(Duration::from_secs(60));
    let node = network.peer_with(1, DeliveryOptions { longest_stay, ..Default::default() }).await;
    let said = Arc::new(Said::of(&far.peer(1).await, PIECES * 65_536).await);
    let holder = source(&said, b"A {\"pieces\":\"all\"}\n").await;
    let fetcher = source(&said, b"A {\"bitmap\":1}\n\0").await;
    let folder = tempfile::tempdir().unwrap();
    let (to, key) = (folder.path().join("x"), said.root.key());
    let from = vec![holder.0, fetcher.0];
    let request = GetRequest { key: key.clone(), to: to.clone(), from, in_place: false };
    let (events, mut told) = mpsc::channel(64);
    let (delivery, stop) = (node.delivery.clone(), CancellationToken::new());
    let stopping = stop.clone();
    let fetch = tokio::spawn(async move { delivery.get(request, events, stopping).await });
    let stays = |event: &GetEvent| matches!(event, GetEvent::Note { text } if text.starts_with("complete"));
    while !stays(&told.recv().await.expect("it stays for the other")) {}

    let mut asks =
        BufReader::new(TcpStream::connect(node.delivery.status().unwrap().me.addr()).await.unwrap());
    let request = format!("G {{\"key\":\"{key}\",\"from\":0,\"length\":10}}\n");
    asks.write_all(format!("V {{\"version\":1}}\n{request}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    asks.read_line(&mut answer).await.unwrap();
    assert!(answer.starts_with("A "), "{answer}");
    asks.read_exact(&mut [0; 10]).await.unwrap();

    let mut changed = said.bytes.clone();
    changed[0] ^= 1;
    fs::write(&to, &changed).unwrap();
    asks.write_all(request.as_bytes()).await.unwrap();
    answer.clear();
    asks.read_line(&mut answer).await.unwrap();
    assert!(answer.starts_with("E {\"code\":\"unknown-key\""), "{answer}");

    stop.cancel();
    fetch.await.unwrap().unwrap();
    let catalogue = node.delivery.catalogue();
    let entry = catalogue.get(&key).unwrap().unwrap();
    assert_eq!(catalogue.condition(&entry), Condition::Changed);
    for (_, source) in [holder, fetcher] {
        source.await.unwrap();
    }
    network.stop().await;
    far.stop().await;
}
