//! Whoever floods does not keep others waiting.

use std::io::Write as _;

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
