//! Accepts connections and serves them: reads messages, has them answered, writes the answers.
//! Everything a stranger can grow is bounded here: connections, time, buffers.

mod connection;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::ErrorKind::{ConnectionAborted, ConnectionReset};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use askaround_core::message::Message;
use askaround_core::tracker::ConnectionId;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::connection::Connection;
pub(crate) use self::connection::{Turn, read_into};
use crate::complaints::Complaints;
use crate::transfer::serve::{ContentServer, Handed};
use crate::{Epoch, lock};

/// Limits of a server (PROTOCOL.md §1.8).
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The most connections at once; at the limit the one that has been idle longest goes.
    pub max_connections: usize,
    /// How long the first message, or the rest of a line, may take.
    pub message_timeout: Duration,
    /// How long a connection may say nothing.
    pub idle_timeout: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            max_connections: 8192,
            message_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(120),
        }
    }
}

/// What answers the messages of connections.
pub(crate) trait Service: Send + Sync + 'static {
    /// Takes a message and appends what goes back at once to `out`.
    fn message(&self, connection: ConnectionId, from: IpAddr, message: Message, out: &mut Vec<u8>) -> Flow;
    /// A connection was accepted.
    fn connected(&self, connection: ConnectionId, from: SocketAddr);
    /// A connection is gone.
    fn disconnected(&self, connection: ConnectionId);
}

/// How a connection goes on.
pub(crate) enum Flow {
    /// As before.
    Continue,
    /// From now on it is clocked, and also sends what comes from here.
    Clocked(mpsc::Receiver<Push>),
    /// From now on it may also move content; this message is the first about it.
    Content(Arc<ContentServer>, Message),
    /// It is closed after what was written.
    Close,
}

/// Something that a connection sends without being asked.
#[derive(Debug)]
pub(crate) enum Push {
    Message(Message),
    Close,
}

/// The process, or the system, can open no more files: EMFILE and ENFILE of every Unix.
const OUT_OF_FILES: [i32; 2] = [24, 23];
/// How long to wait when a connection cannot be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(1);
/// How long one that comes waits for one that makes room to have gone.
const ENDING: Duration = Duration::from_millis(100);

/// Accepts until `stop` is cancelled, then waits for the connections to end.
pub(crate) async fn serve<S: Service>(
    listener: TcpListener,
    service: Arc<S>,
    config: ServerConfig,
    stop: CancellationToken,
) {
    let server = Arc::new(Server {
        service,
        config,
        epoch: Epoch::default(),
        connections: Mutex::new(BTreeMap::new()),
        gone: Notify::new(),
        complaints: Complaints::new(),
    });
    let tasks = TaskTracker::new();
    let mut last = 0;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                last += 1;
                server.make_room(server.config.max_connections).await;
                server.service.connected(last, peer);
                let meta = Arc::new(Meta::new(&stop));
                meta.active(server.epoch);
                lock(&server.connections).insert(last, meta.clone());
                let task = server.clone().connection(last, stream, peer.ip().to_canonical(), meta);
                tasks.spawn(task);
            }
            Err(error) if OUT_OF_FILES.iter().any(|code| error.raw_os_error() == Some(*code)) => {
                server.complaints.about("cannot accept a connection", &error);
                server.make_room(0).await;
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            // It was gone before it was accepted; the next one may be well.
            Err(error) if matches!(error.kind(), ConnectionAborted | ConnectionReset) => {}
            Err(error) => {
                server.complaints.about("cannot accept a connection", error);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

struct Server<S> {
    service: Arc<S>,
    config: ServerConfig,
    epoch: Epoch,
    /// Also those that are to end, until they have.
    connections: Mutex<BTreeMap<ConnectionId, Arc<Meta>>>,
    /// One of them has ended.
    gone: Notify,
    complaints: Complaints,
}

/// What the server knows of a connection from outside its task.
struct Meta {
    last_active_ns: AtomicU64,
    clocked: AtomicBool,
    /// Whether it makes room for another.
    going: AtomicBool,
    /// Cancelled when the connection makes room for another, or the server ends.
    end: CancellationToken,
}

impl Meta {
    fn new(stop: &CancellationToken) -> Self {
        Self {
            last_active_ns: AtomicU64::new(0),
            clocked: AtomicBool::new(false),
            going: AtomicBool::new(false),
            end: stop.child_token(),
        }
    }

    fn active(&self, epoch: Epoch) {
        self.last_active_ns.store(epoch.now().as_nanos(), Ordering::Relaxed);
    }
}

impl<S: Service> Server<S> {
    /// If there are `limit` connections or more, ends the one that has been idle longest, and waits
    /// for a moment until it has gone.
    async fn make_room(&self, limit: usize) {
        self.end_one(limit);
        let gone = async {
            while !self.has_room(limit) {
                self.gone.notified().await;
            }
        };
        // One whose disk is slow is not to keep others out.
        let _ = timeout(ENDING, gone).await;
    }

    fn end_one(&self, limit: usize) {
        let connections = lock(&self.connections);
        if connections.len() < limit {
            return;
        }
        let stay = || connections.values().filter(|m| !m.going.load(Ordering::Relaxed));
        if stay().count() < limit {
            return;
        }
        let idle = stay().filter(|m| !m.clocked.load(Ordering::Relaxed));
        if let Some(longest) = idle.min_by_key(|m| m.last_active_ns.load(Ordering::Relaxed)) {
            longest.going.store(true, Ordering::Relaxed);
            longest.end.cancel();
        }
    }

    /// Whether there are fewer than `limit`, or will not be by waiting.
    fn has_room(&self, limit: usize) -> bool {
        let connections = lock(&self.connections);
        connections.len() < limit || !connections.values().any(|m| m.going.load(Ordering::Relaxed))
    }

    async fn connection(self: Arc<Self>, id: ConnectionId, stream: TcpStream, from: IpAddr, meta: Arc<Meta>) {
        let mut connection = Connection::new(&self, id, from, &meta, stream);
        let mut ended = connection.run().await;
        let Connection { stream, decoder, content, .. } = connection;
        if let (Some((content, first)), true) = (content, ended.is_ok()) {
            let handed = Handed {
                id,
                from,
                stream,
                decoder,
                first,
                config: &self.config,
                complaints: &self.complaints,
                end: &meta.end,
                active: &|| meta.active(self.epoch),
                service: &|message, out| self.service.message(id, from, message, out),
            };
            // In a box, so that connections that never ask for content have no room for it.
            ended = Box::pin(content.serve(handed)).await;
        } else {
            // Before there is said to be room.
            drop(stream);
        }
        if let Err(error) = ended {
            tracing::debug!(%from, connection = id, %error, "a connection broke");
        }
        lock(&self.connections).remove(&id);
        self.service.disconnected(id);
        self.gone.notify_one();
    }
}
