//! Whoever floods does not keep others waiting, and whoever does not read makes room.

use std::io::Write as _;
use std::sync::atomic::AtomicUsize;

use tokio::sync::oneshot;

use super::connection::READ_IN_TURN;
use super::*;

/// Counts what the first connection says until another says something.
struct Counting {
    first: AtomicU64,
    other: Mutex<Option<oneshot::Sender<u64>>>,
}

impl Service for Counting {
    fn message(&self, connection: ConnectionId, _: IpAddr, _: Message, _: &mut Vec<u8>) -> Flow {
        if connection == 1 {
            self.first.fetch_add(1, Ordering::Relaxed);
        } else if let Some(other) = lock(&self.other).take() {
            other.send(self.first.load(Ordering::Relaxed)).unwrap();
        }
        Flow::Continue
    }

    fn connected(&self, _: ConnectionId, _: SocketAddr) {}

    fn disconnected(&self, _: ConnectionId) {}
}

#[tokio::test]
async fn whoever_floods_is_read_in_turn_with_others() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (hello, line) = (b"V {\"version\":1}\n", b"Q {\"key\":\"a\"}\n");
    // As much as the system takes before anybody reads.
    let mut flood = std::net::TcpStream::connect(addr).unwrap();
    flood.write_all(hello).unwrap();
    flood.set_nonblocking(true).unwrap();
    let (lines, mut sent) = (line.repeat(1000), 0);
    while let Ok(count) = flood.write(&lines) {
        sent += count;
    }
    assert!(sent > 8 * READ_IN_TURN, "{sent} bytes are no flood");
    let mut other = std::net::TcpStream::connect(addr).unwrap();
    other.write_all(hello).unwrap();
    other.write_all(line).unwrap();

    let (sender, receiver) = oneshot::channel();
    let service = Arc::new(Counting { first: AtomicU64::new(0), other: Mutex::new(Some(sender)) });
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, service, ServerConfig::default(), stop.clone()));
    let read = tokio::time::timeout(Duration::from_secs(30), receiver).await;
    let read = read.expect("its turn within half a minute").unwrap() * line.len() as u64;
    assert!(read <= 4 * READ_IN_TURN as u64, "{read} of {sent} bytes of the flood came first");
    stop.cancel();
    serving.await.unwrap();
}

/// Answers with more than a socket takes, and knows how many connections there are.
struct Huge {
    asked: mpsc::UnboundedSender<()>,
    open: AtomicUsize,
    most: AtomicUsize,
}

impl Service for Huge {
    fn message(&self, _: ConnectionId, _: IpAddr, _: Message, out: &mut Vec<u8>) -> Flow {
        out.resize(16 << 20, b' ');
        self.asked.send(()).unwrap();
        Flow::Continue
    }

    fn connected(&self, _: ConnectionId, _: SocketAddr) {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(open, Ordering::Relaxed);
    }

    fn disconnected(&self, _: ConnectionId) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn whoever_does_not_read_makes_room_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (asked, mut was_asked) = mpsc::unbounded_channel();
    let service = Arc::new(Huge { asked, open: AtomicUsize::new(0), most: AtomicUsize::new(0) });
    let hour = Duration::from_secs(3600);
    let config = ServerConfig { max_connections: 3, message_timeout: hour, idle_timeout: hour };
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, service.clone(), config, stop.clone()));
    let mut clients = Vec::new();
    for _ in 0..12 {
        let mut client = std::net::TcpStream::connect(addr).unwrap();
        client.write_all(b"V {\"version\":1}\nQ {\"key\":\"a\"}\n").unwrap();
        clients.push(client);
        let asked = tokio::time::timeout(Duration::from_secs(30), was_asked.recv()).await;
        asked.expect("its turn within half a minute").unwrap();
    }
    assert!(service.most.load(Ordering::Relaxed) <= 3, "{:?} at once", service.most);
    stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(30), serving).await;
    ended.expect("nobody who does not read keeps it from ending").unwrap();
}
