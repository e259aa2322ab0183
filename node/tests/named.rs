//! A source that its user has named and nobody else knows.

mod nodes;

use std::net::SocketAddr;

use askaround_core::key::Key;
use nodes::{Network, bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// So much comes over the first connection before it breaks.
const BREAKS_AFTER: usize = 200_000;

/// Passes everything on to a holder and back. The first connection breaks.
async fn breaks_once(holder: SocketAddr) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind((holder.ip(), 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut fetcher, _) = listener.accept().await.unwrap();
        let mut on = TcpStream::connect(holder).await.unwrap();
        let (mut asks, mut answers) = fetcher.split();
        let (mut back, mut forth) = on.split();
        let answering = async {
            let mut buffer = vec![0; 16 << 10];
            let mut came = 0;
            while came < BREAKS_AFTER {
                let count = back.read(&mut buffer).await.unwrap();
                assert_ne!(count, 0);
                answers.write_all(&buffer[..count]).await.unwrap();
                came += count;
            }
        };
        tokio::select! {
            () = answering => {}
            asked = tokio::io::copy(&mut asks, &mut forth) => panic!("{asked:?}"),
        }
        drop((fetcher, on));
        let (mut fetcher, _) = listener.accept().await.unwrap();
        let mut on = TcpStream::connect(holder).await.unwrap();
        // However it ends.
        let _ = tokio::io::copy_bidirectional(&mut fetcher, &mut on).await;
    });
    (addr, task)
}

#[tokio::test]
async fn a_named_source_whose_connection_breaks_is_asked_again_though_no_search_finds_it() {
    let (elsewhere, network) = (Network::start().await, Network::start().await);
    let (holder, node) = (elsewhere.peer(1).await, network.peer(2).await);
    let content = bytes(3_000_000);
    let key = Key::new(&holder.add_file("x", &content).await.root.to_string()).unwrap();
    let (addr, between) = breaks_once(holder.delivery.status().unwrap().me.addr()).await;
    let to = tempfile::tempdir().unwrap();
    let x = to.path().join("x");
    node.get_from(key, &x, vec![addr]).await.unwrap();
    assert!(std::fs::read(&x).unwrap() == content);
    between.await.unwrap();
    network.stop().await;
    elsewhere.stop().await;
}
