//! Sources that trickle, stop, or are limited: they keep nothing that others need.

mod content;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use askaround_core::peer::AskError;
use askaround_core::pieces::Manifest;
use askaround_node::server::ServerConfig;
use askaround_node::transfer::pool::{Pool, Terms};
use askaround_node::transfer::source::{SourceEvent, SourceLimits};
use content::scripted::{good, hasty};
use content::{Client, MemorySink, OneContent, Server, content};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A server that sends `bytes` at once, and then one byte of `then` again and again, as long as
/// somebody listens.
async fn trickle(bytes: Vec<u8>, then: u8) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut sent = stream.write_all(&bytes).await;
        while sent.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
            sent = stream.write_all(&[then]).await;
        }
    });
    (addr, task)
}

#[tokio::test]
async fn who_trickles_or_says_nothing_is_too_slow() {
    let (bytes, manifest) = content(200_000);
    let (first, then) = good(&bytes, &manifest);
    let begun = first.len() + 200;
    let all = [first.clone(), then].concat();
    for (sent, byte) in [(vec![], b'A'), (first[..first.len() / 2].to_vec(), 0), (all[..begun].to_vec(), 0)] {
        let asks = sent.len() >= first.len();
        // What is sent of a piece before it is asked for would be a lie.
        let (now, later) = sent.split_at(sent.len().min(first.len()));
        let (addr, server) = if asks {
            script_then_trickle(now.to_vec(), later.to_vec()).await
        } else {
            trickle(sent, byte).await
        };
        let mut client = Client::with_limits(addr, manifest.root().key(), hasty());
        let error = match client.opened().await {
            Ok(_) => {
                client.get(0, false).await;
                client.gone().await.1
            }
            Err(error) => error,
        };
        assert_eq!(error, AskError::TimedOut);
        client.end().await;
        server.await.unwrap();
    }
}

#[tokio::test]
async fn sources_that_trickle_do_not_keep_a_fast_one_from_memory() {
    const PIECE: usize = 65_536;
    let (bytes, manifest) = content(20 * PIECE);
    let key = manifest.root().key();
    let (first, then) = good(&bytes, &manifest);
    // Three pieces at a time, and one more for those who are quick.
    let terms = Terms {
        quick: Duration::from_secs(20),
        grace: Duration::from_millis(100),
        most: Duration::from_secs(1),
    };
    let pool = Pool::with_terms(4 * PIECE, PIECE, terms);
    let patient = SourceLimits { answer_timeout: Duration::from_secs(60), least_bytes: 0 };
    let mut slow = Vec::new();
    for _ in 0..6 {
        let (addr, server) =
            script_then_trickle(first.clone(), then[..then.len() - PIECE + 1].to_vec()).await;
        let mut client = Client::with_pool(addr, key.clone(), patient.clone(), pool.clone());
        client.opened().await.unwrap();
        client.get(0, false).await;
        while !matches!(client.events.recv().await.unwrap().1, SourceEvent::Begun { .. }) {}
        slow.push((client, server));
    }
    let shelf = Arc::new(OneContent::new(&bytes, &manifest));
    let server = Server::start(shelf, ServerConfig::default(), 1);
    let mut fast = Client::with_pool(server.addr, key, patient, pool);
    fast.opened().await.unwrap();
    for piece in 0..20 {
        fast.get(piece, false).await;
        assert!(matches!(fast.event().await, SourceEvent::Piece { result: Ok(()), .. }), "piece {piece}");
    }
    fast.end().await;
    server.stop().await;
    let mut ended = 0;
    for (mut client, server) in slow {
        if client.task.is_finished() {
            assert_eq!(client.gone().await.1, AskError::TimedOut);
            ended += 1;
        }
        client.end().await;
        server.await.unwrap();
    }
    assert!(ended > 0, "somebody gave its memory back");
}

/// A server of one connection that sends piece 0 and the line of piece 1 when it is asked for that, and
/// some of its bytes when it is told to.
async fn stops_in_a_piece(
    bytes: Vec<u8>,
    manifest: &Manifest,
    go_on: oneshot::Receiver<()>,
) -> (SocketAddr, JoinHandle<()>) {
    let (first, mut then) = good(&bytes, manifest);
    then.extend(format!("A {{\"key\":\"{}\",\"from\":65536,\"length\":65536}}\n", manifest.root()).bytes());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut stream = BufReader::new(listener.accept().await.unwrap().0);
        stream.write_all(&first).await.unwrap();
        let mut line = String::new();
        while !line.contains("\"from\":65536") {
            line.clear();
            assert_ne!(stream.read_line(&mut line).await.unwrap(), 0);
        }
        stream.write_all(&then).await.unwrap();
        go_on.await.unwrap();
        stream.write_all(&bytes[65_536..65_536 + 50_000]).await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    (addr, task)
}

#[tokio::test]
async fn who_ends_while_a_disk_is_slow_leaves_the_limit_to_others() {
    let (bytes, manifest) = content(200_000);
    let (go_on, may_go_on) = oneshot::channel();
    let (addr, server) = stops_in_a_piece(bytes, &manifest, may_go_on).await;
    let limits = SourceLimits::default();
    let options = Client::options(addr, manifest.root().key(), limits, Pool::new(1 << 20, 65_536));
    let (down, stop) = (options.down.clone(), options.stop.clone());
    let mut client = Client::start(options, MemorySink::default());
    client.opened().await.unwrap();
    let (sink, (held, is_held)) = (client.sink.clone(), oneshot::channel());
    let (release, released) = std::sync::mpsc::channel::<()>();
    let disk = tokio::task::spawn_blocking(move || {
        let _pieces = sink.pieces.lock().unwrap();
        held.send(()).unwrap();
        let _ = released.recv();
    });
    is_held.await.unwrap();
    client.get(0, false).await;
    client.get(1, false).await;
    while !matches!(client.events.recv().await.unwrap().1, SourceEvent::Begun { piece: 1, .. }) {}
    // It reads, and from now on there is a limit, which has nothing to give for hours.
    down.set(Some(1));
    down.take(1 << 20).await;
    go_on.send(()).unwrap();
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    client.commands.closed().await;
    down.set(Some(1 << 20));
    let others = tokio::time::timeout(Duration::from_secs(30), down.take(10)).await;
    assert_eq!(others.expect("the turn of another"), 10);
    drop(release);
    disk.await.unwrap();
    while let Some((_, event)) = client.events.recv().await {
        assert!(!matches!(event, SourceEvent::Gone(_)), "a new limit is not the source's fault: {event:?}");
    }
    client.end().await;
    server.await.unwrap();
}

/// Sends `first`, then `then` once it is asked for a piece, and then a byte at a time.
async fn script_then_trickle(first: Vec<u8>, then: Vec<u8>) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        stream.get_mut().write_all(&first).await.unwrap();
        let mut line = String::new();
        while !line.starts_with('G') {
            line.clear();
            assert_ne!(stream.read_line(&mut line).await.unwrap(), 0);
        }
        let mut sent = stream.get_mut().write_all(&then).await;
        while sent.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
            sent = stream.get_mut().write_all(&[0]).await;
        }
    });
    (addr, task)
}
