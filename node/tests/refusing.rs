//! A holder whose disk fails for a while: it says of pieces that they cannot be read now.

mod nodes;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use nodes::Network;
use nodes::source::Said;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// So often it refuses each piece.
const REFUSES: u32 = 3;

async fn refuses_at_first(said: Said) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        stream.write_all(&said.first(b"A {\"pieces\":\"all\"}\n")).await.unwrap();
        let (mut line, mut asked) = (String::new(), BTreeMap::<usize, u32>::new());
        while stream.read_line(&mut line).await.unwrap() > 0 {
            if line.starts_with("G ") {
                let range = said.asked(&line);
                let times = asked.entry(range.start).or_default();
                *times += 1;
                let answer = match *times <= REFUSES {
                    true => b"E {\"code\":\"not-here\",\"text\":\"the disk failed\"}\n".to_vec(),
                    false => said.piece(range),
                };
                stream.write_all(&answer).await.unwrap();
            }
            line.clear();
        }
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    (addr, task)
}

#[tokio::test]
async fn is_asked_again_where_nobody_else_has_what_is_missing() {
    let (elsewhere, network) = (Network::start().await, Network::start().await);
    let (knows, node) = (elsewhere.peer(1).await, network.peer(2).await);
    let said = Said::of(&knows, 400_000).await;
    let (root, content) = (said.root, said.bytes.clone());
    let (holder, over) = refuses_at_first(said).await;
    let to = tempfile::tempdir().unwrap();
    let x = to.path().join("x");
    node.get_from(root.key(), &x, vec![holder]).await.unwrap();
    assert!(std::fs::read(&x).unwrap() == content);
    network.stop().await;
    over.await.unwrap();
    elsewhere.stop().await;
}
