//! Serving content: in order, whole, and never what it is not.

mod content;

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use askaround_core::key::Key;
use askaround_core::message::{Description, Interest};
use askaround_core::pieces::{PieceSet, Root};
use askaround_node::content::ContentFile;
use askaround_node::server::ServerConfig;
use askaround_node::transfer::shelf::{Holding, Pieces, Shelf};
use askaround_node::transfer::source::{Has, SourceCommand, SourceEvent};
use content::{Client, OneContent, Server, content};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::watch;

const PIECE: usize = 65_536;

/// A client by hand, which has said hello.
async fn connect(server: &Server) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    stream.write_all(b"V {\"version\":1}\n").await.unwrap();
    BufReader::new(stream)
}

async fn send(stream: &mut BufReader<TcpStream>, text: &str) {
    stream.get_mut().write_all(text.as_bytes()).await.unwrap();
}

async fn line(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    line
}

async fn raw(stream: &mut BufReader<TcpStream>, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test]
async fn a_source_gives_everything_to_a_client() {
    let (bytes, manifest) = content(20 * PIECE + 1000);
    let server = Server::start(Arc::new(OneContent::new(&bytes, &manifest)), ServerConfig::default(), 4);
    let mut client = Client::connect(server.addr, manifest.root().key());
    let opened = client.opened().await.unwrap();
    assert_eq!((opened.description.size, opened.has), (bytes.len() as u64, Has::All));
    let count = manifest.geometry().count();
    for piece in 0..count {
        client.get(piece, piece % 2 == 0).await;
        if piece < 3 {
            continue;
        }
        assert!(matches!(client.event().await, SourceEvent::Piece { result: Ok(()), .. }));
    }
    for _ in 0..3 {
        assert!(matches!(client.event().await, SourceEvent::Piece { result: Ok(()), .. }));
    }
    assert!(client.sink.bytes() == bytes);
    client.end().await;
    server.stop().await;
}

#[tokio::test]
async fn answers_come_in_order_whatever_was_asked() {
    let (bytes, manifest) = content(2 * PIECE + 10);
    let server = Server::start(Arc::new(OneContent::new(&bytes, &manifest)), ServerConfig::default(), 1);
    let (mut client, key) = (connect(&server).await, manifest.root());
    let size = bytes.len();
    send(
        &mut client,
        &format!(
            "D {{\"key\":\"{key}\"}}\nH {{\"key\":\"{key}\",\"first\":1}}\nI {{\"key\":\"{key}\"}}\nO {{}}\n\
             G {{\"key\":\"{key}\",\"from\":65530,\"length\":20}}\nQ {{\"key\":\"{key}\"}}\nNEW {{}}\n\
             G {{\"key\":\"{key}\",\"from\":{size},\"length\":1}}\nG {{\"key\":\"a\",\"from\":0,\"length\":1}}\n\
             H {{\"key\":\"{key}\",\"first\":3}}\nM {{}}\n"
        ),
    )
    .await;
    let described = format!("A {{\"content\":{{\"blake3\":\"{key}\",\"size\":{size}}}}}\n");
    assert_eq!(line(&mut client).await, described);
    assert_eq!(line(&mut client).await, "A {\"hashes\":2}\n");
    assert_eq!(raw(&mut client, 64).await, manifest.as_bytes()[32..]);
    assert_eq!(line(&mut client).await, "A {\"pieces\":\"all\"}\n");
    assert_eq!(line(&mut client).await, "A {\"peers\":[]}\n");
    assert_eq!(line(&mut client).await, format!("A {{\"key\":\"{key}\",\"from\":65530,\"length\":20}}\n"));
    assert_eq!(raw(&mut client, 20).await, bytes[65_530..65_550]);
    for start in [
        "A {\"have\":false}",
        "E {\"code\":\"unknown-verb\"",
        "E {\"code\":\"not-here\"",
        "E {\"code\":\"unknown-key\"",
        "A {\"hashes\":0}",
        "A {\"keys\":[]}",
    ] {
        let line = line(&mut client).await;
        assert!(line.starts_with(start), "{line} is not {start}");
    }
    server.stop().await;
}

#[tokio::test]
async fn many_small_requests_are_answered_in_order_each_with_its_own_bytes() {
    let (bytes, manifest) = content(3 * PIECE);
    let server = Server::start(Arc::new(OneContent::new(&bytes, &manifest)), ServerConfig::default(), 1);
    let key = manifest.root();
    let lengths = [1, 500, 20_000, 16_384, 40_000];
    // Without a limit, and with one that lets through a part of what is sent together.
    for limit in [None, Some(2_000_000)] {
        server.up.set(limit);
        let mut client = connect(&server).await;
        let mut asked = String::new();
        for (i, length) in lengths.into_iter().cycle().take(60).enumerate() {
            let from = i * 1000;
            asked += &format!("G {{\"key\":\"{key}\",\"from\":{from},\"length\":{length}}}\n");
            if i % 7 == 0 {
                asked += &format!("G {{\"key\":\"{}\",\"from\":0,\"length\":1}}\n", "00".repeat(32));
            }
            if i % 7 == 1 {
                asked += &format!("G {{\"key\":\"{key}\",\"from\":{},\"length\":1}}\n", 3 * PIECE);
            }
        }
        send(&mut client, &asked).await;
        for (i, length) in lengths.into_iter().cycle().take(60).enumerate() {
            let from = i * 1000;
            let answer = format!("A {{\"key\":\"{key}\",\"from\":{from},\"length\":{length}}}\n");
            assert_eq!(line(&mut client).await, answer);
            assert!(raw(&mut client, length).await == bytes[from..from + length], "request {i}");
            if i % 7 == 0 {
                assert!(line(&mut client).await.starts_with("E {\"code\":\"unknown-key\""));
            }
            if i % 7 == 1 {
                assert!(line(&mut client).await.starts_with("E {\"code\":\"not-here\""));
            }
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_cancelled_is_not_sent() {
    let (bytes, manifest) = content(4 * PIECE);
    let server = Server::start(Arc::new(OneContent::new(&bytes, &manifest)), ServerConfig::default(), 1);
    let (mut client, key) = (connect(&server).await, manifest.root());
    let range = |piece: usize| format!("{{\"key\":\"{key}\",\"from\":{},\"length\":{PIECE}}}", piece * PIECE);
    send(&mut client, &format!("G {}\nG {}\nG {}\nX {}\n", range(0), range(1), range(2), range(1))).await;
    assert_eq!(line(&mut client).await, format!("A {}\n", range(0)));
    assert_eq!(raw(&mut client, PIECE).await, bytes[..PIECE]);
    assert!(line(&mut client).await.starts_with("E {\"code\":\"cancelled\""));
    assert_eq!(line(&mut client).await, format!("A {}\n", range(2)));
    raw(&mut client, PIECE).await;
    server.stop().await;
}

#[tokio::test]
async fn a_file_that_changed_is_not_served_as_what_it_was() {
    let (bytes, manifest) = content(2 * PIECE);
    let shelf = Arc::new(OneContent::new(&bytes, &manifest));
    let server = Server::start(shelf.clone(), ServerConfig::default(), 1);
    let mut client = Client::connect(server.addr, manifest.root().key());
    client.opened().await.unwrap();
    client.get(0, false).await;
    assert!(matches!(client.event().await, SourceEvent::Piece { piece: 0, result: Ok(()), .. }));
    // One byte more: its time might not tell within a clock's tick, its length does.
    shelf.on_disk.as_file().write_all(b"x").unwrap();
    client.get(1, false).await;
    let SourceEvent::Refused { piece: 1, error } = client.event().await else { panic!() };
    assert_eq!(error.code.as_str(), "unknown-key");
    assert_eq!(*shelf.changed.lock().unwrap(), [manifest.root()], "its owner is told");
    client.end().await;
    server.stop().await;
}

#[tokio::test]
async fn a_file_that_becomes_shorter_in_the_middle_ends_the_connection() {
    let (bytes, manifest) = content(16 * PIECE);
    let shelf = Arc::new(OneContent::new(&bytes, &manifest));
    let server = Server::start(shelf.clone(), ServerConfig::default(), 1);
    let (mut client, key) = (connect(&server).await, manifest.root());
    server.up.set(Some(10));
    send(&mut client, &format!("G {{\"key\":\"{key}\",\"from\":0,\"length\":{}}}\n", bytes.len())).await;
    line(&mut client).await;
    let first = raw(&mut client, 1000).await;
    shelf.on_disk.as_file().set_len(PIECE as u64).unwrap();
    server.up.set(None);
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    let came = [first, rest].concat();
    assert!(came.len() <= PIECE && bytes.starts_with(&came), "{} bytes", came.len());
    server.stop().await;
}

#[tokio::test]
async fn news_are_pushed_between_answers_and_gathered() {
    let (bytes, manifest) = content(40 * PIECE);
    let mut shelf = OneContent::new(&bytes, &manifest);
    let mut first = PieceSet::empty(40);
    first.insert(3);
    let live = watch::Sender::new(first.clone());
    shelf.live = Some(live.clone());
    let server = Server::start(Arc::new(shelf), ServerConfig::default(), 1);
    let mut client = Client::connect(server.addr, manifest.root().key());
    assert_eq!(client.opened().await.unwrap().has, Has::Bitmap(first.to_bytes()));
    let mut heard = Vec::new();
    for piece in 4..40 {
        live.send_modify(|pieces| assert!(pieces.insert(piece)));
        client.get(piece, false).await;
        while heard.len() as u32 + 4 <= piece {
            match client.event().await {
                SourceEvent::News { files: false, pieces } => heard.extend(pieces),
                SourceEvent::Piece { result: Ok(()), .. } => {}
                event => panic!("{event:?}"),
            }
        }
    }
    assert_eq!(heard, (4..40).collect::<Vec<_>>());
    client.end().await;
    server.stop().await;
}

/// A content that is fetched, until that ends.
#[derive(Debug)]
struct Fetched(OneContent, Mutex<Option<watch::Sender<PieceSet>>>);

impl Shelf for Fetched {
    fn open(&self, key: &Key) -> io::Result<Option<Arc<ContentFile>>> {
        self.0.open(key)
    }

    fn describe(&self, key: &Key) -> io::Result<Option<Description>> {
        self.0.describe(key)
    }

    fn interest(&self, from: IpAddr, interest: &Interest) -> io::Result<Option<Holding>> {
        let holding = self.0.interest(from, interest)?;
        let live = self.1.lock().unwrap().as_ref().unwrap().subscribe();
        Ok(holding.map(|holding| Holding { pieces: Pieces::Live(live), ..holding }))
    }

    fn changed(&self, root: Root) {
        self.0.changed(root);
    }
}

/// Otherwise it would wait for news of a fetch that is begun again, and told of to new connections only.
#[tokio::test]
async fn who_listens_to_a_fetch_that_ends_early_has_to_ask_anew() {
    let (bytes, manifest) = content(4 * PIECE);
    let live = watch::Sender::new(PieceSet::full(4));
    live.send_modify(|pieces| _ = pieces.remove(2));
    let shelf = Arc::new(Fetched(OneContent::new(&bytes, &manifest), Mutex::new(Some(live))));
    let server = Server::start(shelf.clone(), ServerConfig::default(), 1);
    let mut client = Client::connect(server.addr, manifest.root().key());
    client.opened().await.unwrap();
    client.get(0, false).await;
    assert!(matches!(client.event().await, SourceEvent::Piece { piece: 0, result: Ok(()) }));
    shelf.1.lock().unwrap().take();
    let (before, why) = client.gone().await;
    assert!(before.is_empty() && why.to_string().contains("closed"), "{before:?} {why}");
    client.end().await;
    server.stop().await;
}

#[tokio::test]
async fn who_asks_for_everything_and_reads_nothing_is_closed_and_costs_others_nothing() {
    let (bytes, manifest) = content(64 * PIECE);
    let config = ServerConfig { message_timeout: Duration::from_millis(200), ..ServerConfig::default() };
    let server = Server::start(Arc::new(OneContent::new(&bytes, &manifest)), config, 1);
    let key = manifest.root();
    let request = format!("G {{\"key\":\"{key}\",\"from\":0,\"length\":{}}}\n", 16 * PIECE);
    let many = request.repeat(10_000);
    let mut greedy = Vec::new();
    for _ in 0..3 {
        let mut stream = connect(&server).await.into_inner();
        let many = many.clone();
        greedy.push(tokio::spawn(async move {
            let mut written = 0;
            while written < 200 && stream.write_all(many.as_bytes()).await.is_ok() {
                written += 1;
            }
            written
        }));
    }
    // There is one slot, and it is lent on when its owner takes nothing.
    let mut client = Client::connect(server.addr, key.key());
    client.opened().await.unwrap();
    for piece in 0..20 {
        client.get(piece, false).await;
        assert!(matches!(client.event().await, SourceEvent::Piece { result: Ok(()), .. }));
    }
    for greedy in greedy {
        assert!(greedy.await.unwrap() < 200, "the server stops reading, and closes");
    }
    client.end().await;
    server.stop().await;
}

#[tokio::test]
async fn who_takes_a_little_now_and_then_holds_no_turn_back() {
    let (bytes, manifest) = content(64 * PIECE);
    let server = Server::start(Arc::new(OneContent::new(&bytes, &manifest)), ServerConfig::default(), 1);
    let key = manifest.root();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    let mut stream = socket.connect(server.addr).await.unwrap();
    let request = format!("G {{\"key\":\"{key}\",\"from\":0,\"length\":{}}}\n", 64 * PIECE);
    stream.write_all(format!("V {{\"version\":1}}\n{request}").as_bytes()).await.unwrap();
    let mut some = [0; 1024];
    stream.read_exact(&mut some).await.unwrap();
    let sipping = tokio::spawn(async move {
        while stream.read_exact(&mut some).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(9)).await;
        }
    });
    // It would have the one slot for over a minute.
    let mut client = Client::connect(server.addr, key.key());
    client.opened().await.unwrap();
    client.get(0, false).await;
    let came = tokio::time::timeout(Duration::from_secs(30), client.event()).await;
    assert!(matches!(came.expect("a turn"), SourceEvent::Piece { result: Ok(()), .. }));
    client.end().await;
    sipping.abort();
    server.stop().await;
}

#[tokio::test]
async fn who_does_not_even_take_news_holds_no_turn_back() {
    const MANY: u32 = 1 << 21;
    let (bytes, manifest) = content(4 * PIECE);
    let mut shelf = OneContent::new(&bytes, &manifest);
    let live = watch::Sender::new(PieceSet::empty(MANY));
    shelf.live = Some(live.clone());
    let patient = ServerConfig { message_timeout: Duration::from_secs(600), ..ServerConfig::default() };
    let server = Server::start(Arc::new(shelf), patient, 1);
    let key = manifest.root();
    let request = format!("G {{\"key\":\"{key}\",\"from\":0,\"length\":{PIECE}}}\n");
    let answer = format!("A {}", &request[2..]);
    // The first has the one slot for as long as the limit lasts.
    server.up.set(Some(10));
    let mut first = connect(&server).await;
    send(&mut first, &request).await;
    assert_eq!(line(&mut first).await, answer);
    // The second waits for its turn, and is told more than its socket holds.
    let mut second = connect(&server).await;
    send(&mut second, &format!("I {{\"key\":\"{key}\"}}\n{request}")).await;
    assert_eq!(line(&mut second).await, format!("A {{\"bitmap\":{}}}\n", MANY / 8));
    raw(&mut second, MANY as usize / 8).await;
    server.content.uploads.watch_idle().wait_for(|idle| !idle).await.unwrap();
    live.send_modify(|pieces| *pieces = PieceSet::full(MANY));
    assert_eq!(raw(&mut second, 1).await, b"N");
    server.up.set(None);
    assert_eq!(raw(&mut first, PIECE).await, bytes[..PIECE]);
    // It was the second's turn.
    let mut third = connect(&server).await;
    send(&mut third, &request).await;
    let came = tokio::time::timeout(Duration::from_secs(30), line(&mut third)).await;
    assert_eq!(came.expect("a turn within half a minute"), answer);
    server.stop().await;
}

#[tokio::test]
async fn a_cancel_of_what_waits_for_its_turn_is_answered_at_once() {
    let (bytes, manifest) = content(2 * PIECE);
    let server = Server::start(Arc::new(OneContent::new(&bytes, &manifest)), ServerConfig::default(), 1);
    let mut client = Client::connect(server.addr, manifest.root().key());
    client.opened().await.unwrap();
    client.get(0, false).await;
    client.commands.send(SourceCommand::Cancel { piece: 0 }).await.unwrap();
    // Either is right: it was in time, or it was not.
    assert!(matches!(
        client.event().await,
        SourceEvent::Refused { piece: 0, .. } | SourceEvent::Piece { piece: 0, result: Ok(()), .. }
    ));
    client.get(1, false).await;
    assert!(matches!(client.event().await, SourceEvent::Piece { piece: 1, result: Ok(()), .. }));
    client.end().await;
    server.stop().await;
}
