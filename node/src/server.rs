//! Accepts connections and serves them: reads messages, has them answered, writes the answers.
//! Everything a stranger can grow is bounded here: connections, time, buffers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::io::ErrorKind::{ConnectionAborted, ConnectionReset};
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use askaround_core::message::{ErrorAnswer, ErrorCode, Message};
use askaround_core::tracker::ConnectionId;
use askaround_core::wire::{Decoder, encode};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::complaints::Complaints;
use crate::network::watch;
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

/// Answers larger than this are written before the next message is read: a stranger cannot make
/// us keep more.
const FLUSH_AT: usize = 64 * 1024;
const READ_AT_ONCE: usize = 64 * 1024;
/// The process, or the system, can open no more files: EMFILE and ENFILE of every Unix.
const OUT_OF_FILES: [i32; 2] = [24, 23];
/// How long to wait when a connection cannot be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(1);

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
        complaints: Complaints::default(),
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
                server.make_room(server.config.max_connections);
                server.service.connected(last, peer);
                let meta = Arc::new(Meta::new(&stop));
                meta.active(server.epoch);
                lock(&server.connections).insert(last, meta.clone());
                let task = server.clone().connection(last, stream, peer.ip().to_canonical(), meta);
                tasks.spawn(task);
            }
            Err(error) if OUT_OF_FILES.iter().any(|code| error.raw_os_error() == Some(*code)) => {
                server.complaints.about("cannot accept a connection", &error);
                server.make_room(0);
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
    connections: Mutex<BTreeMap<ConnectionId, Arc<Meta>>>,
    complaints: Complaints,
}

/// What the server knows of a connection from outside its task.
struct Meta {
    last_active_ns: AtomicU64,
    clocked: AtomicBool,
    /// Cancelled when the connection makes room for another, or the server ends.
    end: CancellationToken,
}

impl Meta {
    fn new(stop: &CancellationToken) -> Self {
        Self { last_active_ns: AtomicU64::new(0), clocked: AtomicBool::new(false), end: stop.child_token() }
    }

    fn active(&self, epoch: Epoch) {
        self.last_active_ns.store(epoch.now().as_nanos(), Ordering::Relaxed);
    }
}

impl<S: Service> Server<S> {
    /// If there are `limit` connections or more, ends the one that has been idle longest.
    fn make_room(&self, limit: usize) {
        let mut connections = lock(&self.connections);
        if connections.len() < limit {
            return;
        }
        let idle = connections.iter().filter(|(_, m)| !m.clocked.load(Ordering::Relaxed));
        let longest = idle.min_by_key(|(_, m)| m.last_active_ns.load(Ordering::Relaxed)).map(|(id, _)| *id);
        if let Some(meta) = longest.and_then(|id| connections.remove(&id)) {
            meta.end.cancel();
        }
    }

    async fn connection(self: Arc<Self>, id: ConnectionId, stream: TcpStream, from: IpAddr, meta: Arc<Meta>) {
        let mut connection = Connection {
            server: &self,
            id,
            from,
            meta: &meta,
            stream,
            decoder: Decoder::server(),
            out: Vec::new(),
            pushes: None,
            greeted: false,
            since: Instant::now(),
            content: None,
        };
        let mut ended = connection.run().await;
        if let (Some((content, first)), true) = (connection.content, ended.is_ok()) {
            let handed = Handed {
                id,
                from,
                stream: connection.stream,
                decoder: connection.decoder,
                first,
                config: &self.config,
                complaints: &self.complaints,
                end: &meta.end,
                active: &|| meta.active(self.epoch),
                service: &|message, out| self.service.message(id, from, message, out),
            };
            // In a box, so that connections that never ask for content have no room for it.
            ended = Box::pin(content.serve(handed)).await;
        }
        if let Err(error) = ended {
            tracing::debug!(%from, connection = id, %error, "a connection broke");
        }
        lock(&self.connections).remove(&id);
        self.service.disconnected(id);
    }
}

struct Connection<'a, S> {
    server: &'a Server<S>,
    id: ConnectionId,
    from: IpAddr,
    meta: &'a Meta,
    stream: TcpStream,
    decoder: Decoder,
    out: Vec<u8>,
    /// What a clocked connection sends of itself.
    pushes: Option<mpsc::Receiver<Push>>,
    greeted: bool,
    /// When what is waited for began: the line of which a part has come, or the silence.
    since: Instant,
    /// Where it goes on, once it has asked about content.
    content: Option<(Arc<ContentServer>, Message)>,
}

impl<S: Service> Connection<'_, S> {
    async fn run(&mut self) -> io::Result<()> {
        let mut alarm = pin!(sleep_until(self.since + self.server.config.message_timeout));
        loop {
            match self.wait(alarm.as_mut()).await? {
                Event::Readable => {
                    // More of a line does not give that line more time.
                    let line_goes_on = !self.greeted || self.decoder.has_partial_line();
                    match read_into(&self.stream, &mut self.decoder) {
                        Ok(0) => return Ok(()),
                        Ok(_) => match self.answer_all().await? {
                            Answered::Closing => return self.stream.shutdown().await,
                            Answered::HandedOver => return Ok(()),
                            Answered::Nothing if line_goes_on => {}
                            Answered::Nothing | Answered::Some => self.since = Instant::now(),
                        },
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(error) => return Err(error),
                    }
                }
                Event::Push(Push::Message(message)) => {
                    encode(&message, &mut self.out);
                    self.flush().await?;
                }
                Event::Push(Push::Close) => return self.stream.shutdown().await,
                Event::Slow => {
                    self.server.complaints.about(self.from, "no whole message came in time");
                    let error = ErrorAnswer::new(ErrorCode::Busy, "no whole message came in time");
                    encode(&Message::Error(error), &mut self.out);
                    self.flush().await?;
                    return self.stream.shutdown().await;
                }
                Event::Stop => {
                    self.send_last_pushes().await?;
                    return self.stream.shutdown().await;
                }
            }
        }
    }

    /// The alarm is moved only when it would ring too late. That it may ring too early costs
    /// less than to set it anew for each message.
    async fn wait(&mut self, mut alarm: Pin<&mut Sleep>) -> io::Result<Event> {
        let config = &self.server.config;
        let unfinished = !self.greeted || self.decoder.has_partial_line();
        let limit = if unfinished { config.message_timeout } else { config.idle_timeout };
        let deadline = (unfinished || self.pushes.is_none()).then(|| self.since + limit);
        if deadline.is_some_and(|deadline| deadline < alarm.deadline()) {
            alarm.as_mut().reset(self.since + limit);
        }
        loop {
            tokio::select! {
                biased;
                () = self.meta.end.cancelled() => return Ok(Event::Stop),
                push = next_push(&mut self.pushes) => return Ok(Event::Push(push)),
                ready = self.stream.readable() => return ready.map(|()| Event::Readable),
                () = alarm.as_mut(), if deadline.is_some() => {}
            }
            match deadline {
                Some(deadline) if Instant::now() < deadline => alarm.as_mut().reset(deadline),
                _ if unfinished => return Ok(Event::Slow),
                _ => return Ok(Event::Stop),
            }
        }
    }

    /// Answers every whole message.
    async fn answer_all(&mut self) -> io::Result<Answered> {
        self.meta.active(self.server.epoch);
        let mut answered = Answered::Nothing;
        loop {
            let flow = match self.decoder.next() {
                Ok(None) => break,
                Ok(Some(message)) => {
                    self.greeted = true;
                    self.server.service.message(self.id, self.from, message, &mut self.out)
                }
                Err(error) => {
                    let answer = error.to_answer();
                    let closes = answer.code.closes();
                    self.server.complaints.about(self.from, &answer);
                    encode(&Message::Error(answer), &mut self.out);
                    if closes { Flow::Close } else { Flow::Continue }
                }
            };
            answered = Answered::Some;
            match flow {
                Flow::Continue => {}
                Flow::Clocked(pushes) => {
                    watch(&self.stream)?;
                    self.pushes = Some(pushes);
                    self.meta.clocked.store(true, Ordering::Relaxed);
                }
                Flow::Content(server, message) => {
                    self.content = Some((server, message));
                    self.flush().await?;
                    return Ok(Answered::HandedOver);
                }
                Flow::Close => {
                    self.flush().await?;
                    return Ok(Answered::Closing);
                }
            }
            if self.out.len() > FLUSH_AT {
                self.flush().await?;
            }
        }
        self.flush().await?;
        Ok(answered)
    }

    async fn send_last_pushes(&mut self) -> io::Result<()> {
        while let Some(Push::Message(message)) = self.pushes.as_mut().and_then(|p| p.try_recv().ok()) {
            encode(&message, &mut self.out);
        }
        self.flush().await
    }

    async fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let written = match self.stream.try_write(&self.out) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        if written < self.out.len() {
            let rest = self.stream.write_all(&self.out[written..]);
            let Ok(written) = timeout(self.server.config.message_timeout, rest).await else {
                self.server.complaints.about(self.from, "does not read its answers");
                return Err(io::ErrorKind::TimedOut.into());
            };
            written?;
        }
        self.out.clear();
        if self.out.capacity() > FLUSH_AT {
            self.out = Vec::new();
        }
        Ok(())
    }
}

/// What came of what was read.
enum Answered {
    /// No line is whole yet.
    Nothing,
    Some,
    /// The connection is to be closed.
    Closing,
    /// The connection goes on elsewhere.
    HandedOver,
}

enum Event {
    Readable,
    Push(Push),
    /// A message takes too long.
    Slow,
    /// The connection was idle too long, or the server ends.
    Stop,
}

async fn next_push(pushes: &mut Option<mpsc::Receiver<Push>>) -> Push {
    match pushes {
        Some(receiver) => receiver.recv().await.unwrap_or(Push::Close),
        None => std::future::pending().await,
    }
}

/// Reads what is there without a buffer of its own for each connection: ten thousand idle ones
/// should cost little.
pub(crate) fn read_into(stream: &TcpStream, decoder: &mut Decoder) -> io::Result<usize> {
    thread_local! {
        static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_AT_ONCE]);
    }
    SCRATCH.with_borrow_mut(|scratch| {
        let count = stream.try_read(scratch)?;
        decoder.feed(&scratch[..count]);
        Ok(count)
    })
}
