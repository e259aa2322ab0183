//! [`ContentServer`]: serves content on connections that ask for it. A connection has a half that
//! reads requests into a short queue, here, and one that answers them in order, in `answer.rs`.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use askaround_core::message::{ByteRange, ErrorAnswer, ErrorCode, Interest, Message, News, Request};
use askaround_core::tracker::ConnectionId;
use askaround_core::wire::Decoder;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::answer::Answering;
use super::news::Interests;
use super::rate::Rate;
use super::shelf::Shelf;
use super::uploads::Uploads;
use crate::complaints::Complaints;
use crate::lock;
use crate::network::watch;
use crate::server::{Flow, ServerConfig, Turn, read_into};

/// The most requests of a connection that wait for their answers; then no more are read.
const MAX_WAITING: usize = 256;
/// The most requests that are answered together.
const MAX_TOGETHER: usize = 64;

/// Everything that serving content needs, for all connections of a node.
#[derive(Debug)]
pub struct ContentServer {
    /// What is here.
    pub shelf: Arc<dyn Shelf>,
    /// Who is sent to next.
    pub uploads: Uploads,
    /// How much is sent a second.
    pub up: Arc<Rate>,
}

/// A connection that the server hands over, and what it stays bound to.
pub(crate) struct Handed<'a> {
    pub(crate) id: ConnectionId,
    pub(crate) from: IpAddr,
    pub(crate) stream: TcpStream,
    pub(crate) decoder: Decoder,
    /// The message that was the first about content.
    pub(crate) first: Message,
    pub(crate) config: &'a ServerConfig,
    pub(crate) complaints: &'a Complaints,
    /// Cancelled when the connection makes room for another, or the server ends.
    pub(crate) end: &'a CancellationToken,
    /// To be called whenever something moves.
    pub(crate) active: &'a (dyn Fn() + Sync),
    /// Answers messages that are not about content.
    pub(crate) service: &'a (dyn Fn(Message, &mut Vec<u8>) -> Flow + Sync),
}

/// Whether a message is about content, and no node without content serves it.
pub(crate) fn is_about_content(message: &Message) -> bool {
    match message {
        Message::News(_) | Message::Cancel(_) => true,
        Message::Request(request) => matches!(
            request,
            Request::Describe(_) | Request::Hashes { .. } | Request::Interest(_) | Request::Get { .. }
        ),
        _ => false,
    }
}

impl ContentServer {
    /// Serves a connection until it ends.
    pub(crate) async fn serve(&self, handed: Handed<'_>) -> io::Result<()> {
        watch(&handed.stream)?;
        let _leaves = LeavesOnDrop { uploads: &self.uploads, id: handed.id };
        let connection = Connection {
            server: self,
            id: handed.id,
            from: handed.from,
            stream: Arc::new(handed.stream),
            config: handed.config,
            complaints: handed.complaints,
            active: handed.active,
            service: handed.service,
            queue: Mutex::new(Queue {
                waiting: VecDeque::new(),
                taken: Vec::new(),
                busy: false,
                moved: Instant::now(),
                over: false,
            }),
            work: Notify::new(),
            room: Notify::new(),
            interests: Interests::default(),
        };
        connection.take(handed.first);
        let mut answering = Answering::new(&connection);
        let ended = tokio::select! {
            biased;
            () = handed.end.cancelled() => Ok(()),
            ended = connection.run(handed.decoder, &mut answering) => ended,
        };
        answering.join().await;
        ended
    }
}

/// Nobody waits for a connection's turn to end when that has gone, by a bug of ours too.
struct LeavesOnDrop<'a> {
    uploads: &'a Uploads,
    id: ConnectionId,
}

impl Drop for LeavesOnDrop<'_> {
    fn drop(&mut self) {
        self.uploads.gone(self.id);
    }
}

/// What the two halves of a connection share.
pub(super) struct Connection<'a> {
    pub(super) server: &'a ContentServer,
    pub(super) id: ConnectionId,
    pub(super) from: IpAddr,
    pub(super) stream: Arc<TcpStream>,
    pub(super) config: &'a ServerConfig,
    pub(super) complaints: &'a Complaints,
    active: &'a (dyn Fn() + Sync),
    pub(super) service: &'a (dyn Fn(Message, &mut Vec<u8>) -> Flow + Sync),
    queue: Mutex<Queue>,
    /// There is something for the answering half.
    pub(super) work: Notify,
    /// There is room in the queue again.
    room: Notify,
    pub(super) interests: Interests,
}

struct Queue {
    waiting: VecDeque<Waiting>,
    /// The `G` that are being answered, and can still be cancelled.
    taken: Vec<Get>,
    /// Whether a request is being answered.
    busy: bool,
    /// When something last went in either direction.
    moved: Instant,
    /// Whether nothing more will come.
    over: bool,
}

/// Something that is answered in its turn.
#[derive(Debug)]
pub(super) enum Waiting {
    Describe(askaround_core::Key),
    Hashes(askaround_core::Key, u32),
    Interest(Interest),
    Get(Get),
    /// Anything else that was asked.
    Other(Message),
    /// What came is not a message.
    Bad(ErrorAnswer),
}

/// A `G` that waits.
#[derive(Debug, Clone)]
pub(super) struct Get {
    pub(super) range: ByteRange,
    pub(super) any: bool,
    pub(super) cancelled: bool,
}

/// What there is to do for the answering half.
pub(super) enum Next {
    Answer(Waiting),
    /// Nothing now.
    Wait,
    /// Nothing any more.
    End,
}

impl Connection<'_> {
    /// Reads and answers. What was asked before the other end stopped sending is answered.
    async fn run(&self, decoder: Decoder, answering: &mut Answering<'_>) -> io::Result<()> {
        let mut reading = std::pin::pin!(self.read(decoder));
        let mut answering = std::pin::pin!(answering.run());
        tokio::select! {
            ended = &mut answering => return ended,
            read = &mut reading => read?,
        }
        lock(&self.queue).over = true;
        self.work.notify_one();
        answering.await
    }

    /// Takes requests until there will be no more.
    async fn read(&self, mut decoder: Decoder) -> io::Result<()> {
        // When the line began of which a part has come.
        let mut line_since = None;
        let mut turn = Turn::default();
        loop {
            while self.has_room() {
                let next = decoder.next();
                if !matches!(next, Ok(None)) {
                    // The next line has its own time.
                    line_since = None;
                }
                match next {
                    Ok(None) => break,
                    Ok(Some(message)) => self.take(message),
                    Err(error) => {
                        let answer = error.to_answer();
                        self.complaints.about(self.from, &answer);
                        let closes = answer.code.closes();
                        self.queue(Waiting::Bad(answer));
                        if closes {
                            return Ok(());
                        }
                    }
                }
            }
            if !self.has_room() {
                self.room.notified().await;
                continue;
            }
            line_since = line_since.filter(|_| decoder.has_partial_line());
            if decoder.has_partial_line() {
                line_since.get_or_insert_with(Instant::now);
            }
            let until = match line_since {
                Some(since) => since + self.config.message_timeout,
                None => self.idle_until(),
            };
            match timeout_at(until, self.stream.readable()).await {
                Ok(ready) => ready?,
                Err(_) if line_since.is_some() => {
                    self.complaints.about(self.from, "no whole message came in time");
                    let error = ErrorAnswer::new(ErrorCode::Busy, "no whole message came in time");
                    self.queue(Waiting::Bad(error));
                    return Ok(());
                }
                Err(_) if self.idle_until() <= Instant::now() => return Ok(()),
                Err(_) => continue,
            }
            match read_into(&self.stream, &mut decoder) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    self.moved();
                    turn.took(count).await;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// How long nothing may come, unless something moves before. As long as an answer is due, the
    /// silence is not the other end's.
    fn idle_until(&self) -> Instant {
        let queue = lock(&self.queue);
        let since = if queue.is_idle() { queue.moved } else { Instant::now() };
        since + self.config.idle_timeout
    }

    fn has_room(&self) -> bool {
        lock(&self.queue).waiting.len() < MAX_WAITING
    }

    /// Something went in one of the directions.
    pub(super) fn moved(&self) {
        lock(&self.queue).moved = Instant::now();
        (self.active)();
    }

    fn take(&self, message: Message) {
        let waiting = match message {
            Message::News(news) => return self.heard(news),
            Message::Cancel(range) => return self.cancel(&range),
            Message::Request(Request::Describe(key)) => Waiting::Describe(key),
            Message::Request(Request::Hashes { key, first }) => Waiting::Hashes(key, first),
            Message::Request(Request::Interest(interest)) => Waiting::Interest(interest),
            Message::Request(Request::Get { range, any }) => {
                Waiting::Get(Get { range, any, cancelled: false })
            }
            other => Waiting::Other(other),
        };
        self.queue(waiting);
    }

    fn queue(&self, waiting: Waiting) {
        lock(&self.queue).waiting.push_back(waiting);
        self.work.notify_one();
    }

    /// The requester has pieces from elsewhere. It has said before what it is interested in;
    /// anything else is nothing to us.
    fn heard(&self, news: News) {
        if let Some((served, count, pieces)) = self.interests.heard(news) {
            self.server.uploads.knows(self.id, served, count, pieces);
        }
    }

    /// The oldest `G` of these bytes is not wanted any more.
    fn cancel(&self, range: &ByteRange) {
        let mut queue = lock(&self.queue);
        let Queue { taken, waiting, .. } = &mut *queue;
        let waiting = waiting.iter_mut().filter_map(|waiting| match waiting {
            Waiting::Get(get) => Some(get),
            _ => None,
        });
        let mut waiting = taken.iter_mut().chain(waiting);
        if let Some(get) = waiting.find(|get| !get.cancelled && get.range == *range) {
            get.cancelled = true;
            self.work.notify_one();
        }
    }

    /// Whether nothing of what is being answered is wanted any more.
    pub(super) fn is_cancelled(&self) -> bool {
        lock(&self.queue).taken.iter().all(|get| get.cancelled)
    }

    /// What is being answered, which can no longer be cancelled.
    pub(super) fn begin(&self) -> Vec<Get> {
        std::mem::take(&mut lock(&self.queue).taken)
    }

    /// A `G` that is being answered, and those that follow it at once and can be answered with it: at
    /// most [`MAX_TOGETHER`], and no more than `most` bytes unless it is one.
    pub(super) fn following(&self, first: Get, most: u64, fits: impl Fn(&Get) -> bool) -> Vec<Get> {
        let mut bytes = first.range.length;
        let mut gets = vec![first];
        let mut queue = lock(&self.queue);
        let Queue { taken, waiting, .. } = &mut *queue;
        while let Some(Waiting::Get(get)) = waiting.front()
            && gets.len() < MAX_TOGETHER
            && bytes.saturating_add(get.range.length) <= most
            && fits(get)
        {
            bytes += get.range.length;
            gets.push(get.clone());
            taken.push(get.clone());
            waiting.pop_front();
        }
        self.room.notify_one();
        gets
    }

    /// What to answer next.
    pub(super) fn next(&self) -> Next {
        let mut queue = lock(&self.queue);
        match queue.waiting.pop_front() {
            Some(waiting) => {
                queue.busy = true;
                // A cancel may come before it is its turn.
                if let Waiting::Get(get) = &waiting {
                    queue.taken = vec![get.clone()];
                }
                self.room.notify_one();
                Next::Answer(waiting)
            }
            None => {
                queue.busy = false;
                if queue.over { Next::End } else { Next::Wait }
            }
        }
    }
}

impl Queue {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && !self.busy
    }
}
