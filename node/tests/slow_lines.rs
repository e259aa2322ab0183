//! Lines that come in two parts: each has its own time, however many come and whichever way.

mod content;

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use askaround_node::server::ServerConfig;
use askaround_node::transfer::source::{SourceEvent, SourceLimits};
use content::scripted::good;
use content::{Client, OneContent, Server, content};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// So many lines come after the first half of one.
const LINES: usize = 6;

/// As long as this is there, time goes on only when a test says so: it is paused, and does not jump to
/// the next deadline while a thread is at work.
struct TimeStands(#[allow(dead_code, reason = "the thread waits for its end")] mpsc::Sender<()>);

fn time_stands() -> TimeStands {
    let (end, ended) = mpsc::channel();
    tokio::task::spawn_blocking(move || ended.recv());
    TimeStands(end)
}

/// Most of the time that a line has.
async fn nearly(whole: Duration) {
    tokio::time::advance(whole * 9 / 10).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_gives_each_line_its_own_time() {
    let _stands = time_stands();
    let (bytes, manifest) = content(1000);
    let config = ServerConfig::default();
    let (timeout, shelf) = (config.message_timeout, OneContent::new(&bytes, &manifest));
    let server = Server::start(Arc::new(shelf), config, 1);
    let mut client = BufReader::new(TcpStream::connect(server.addr).await.unwrap());
    let asks = format!("D {{\"key\":\"{}\"}}\n", manifest.root());
    let (half, rest) = asks.split_at(20);
    let (mut answer, lines) = (String::new(), [rest, half].concat());
    client.get_mut().write_all(format!("V {{\"version\":1}}\n{asks}{half}").as_bytes()).await.unwrap();
    for _ in 0..LINES {
        answer.clear();
        client.read_line(&mut answer).await.unwrap();
        assert!(answer.starts_with("A {\"content\""), "{answer}");
        nearly(timeout).await;
        client.get_mut().write_all(lines.as_bytes()).await.unwrap();
    }
    drop(client);
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_gives_each_line_its_own_time() {
    let _stands = time_stands();
    let (bytes, manifest) = content(200_000);
    let (first, _) = good(&bytes, &manifest);
    let news = format!("N {{\"key\":\"{}\",\"pieces\":[1]}}\n", manifest.root());
    let (half, rest) = news.split_at(20);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = Client::connect(listener.local_addr().unwrap(), manifest.root().key());
    let (mut source, _) = listener.accept().await.unwrap();
    source.write_all(&[&first, news.as_bytes(), half.as_bytes()].concat()).await.unwrap();
    client.opened().await.unwrap();
    for _ in 0..LINES {
        let event = client.event().await;
        assert!(matches!(event, SourceEvent::News { .. }), "{event:?}");
        nearly(SourceLimits::default().answer_timeout).await;
        source.write_all([rest, half].concat().as_bytes()).await.unwrap();
    }
    client.end().await;
}
