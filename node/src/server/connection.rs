//! A connection that has not asked about content: reads messages, has them answered, writes the
//! answers.

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use askaround_core::message::{ErrorAnswer, ErrorCode, Message};
use askaround_core::tracker::ConnectionId;
use askaround_core::wire::{Decoder, encode};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::{Flow, Meta, Push, Server, Service};
use crate::network::watch;
use crate::transfer::serve::ContentServer;

/// Answers larger than this are written before the next message is read: a stranger cannot make
/// us keep more.
const FLUSH_AT: usize = 64 * 1024;
const READ_AT_ONCE: usize = 64 * 1024;
/// Who has sent so much lets others go on before more of it is read. The runtime by itself would
/// let a connection go on for 128 reads, and those who flood keep everybody waiting.
pub(super) const READ_IN_TURN: usize = 64 * 1024;

/// A connection that has not asked about content.
pub(super) struct Connection<'a, S> {
    server: &'a Server<S>,
    id: ConnectionId,
    from: IpAddr,
    meta: &'a Meta,
    pub(super) stream: TcpStream,
    pub(super) decoder: Decoder,
    out: Vec<u8>,
    /// What a clocked connection sends of itself.
    pushes: Option<mpsc::Receiver<Push>>,
    greeted: bool,
    /// When what is waited for began: the line of which a part has come, or the silence.
    since: Instant,
    /// Where it goes on, once it has asked about content.
    pub(super) content: Option<(Arc<ContentServer>, Message)>,
}

impl<'a, S: Service> Connection<'a, S> {
    pub(super) fn new(
        server: &'a Server<S>,
        id: ConnectionId,
        from: IpAddr,
        meta: &'a Meta,
        stream: TcpStream,
    ) -> Self {
        Self {
            server,
            id,
            from,
            meta,
            stream,
            decoder: Decoder::server(),
            out: Vec::new(),
            pushes: None,
            greeted: false,
            since: Instant::now(),
            content: None,
        }
    }
}

impl<S: Service> Connection<'_, S> {
    /// Until it ends, or goes on elsewhere.
    pub(super) async fn run(&mut self) -> io::Result<()> {
        let mut alarm = pin!(sleep_until(self.since + self.server.config.message_timeout));
        let mut turn = Turn::default();
        loop {
            match self.wait(alarm.as_mut()).await? {
                Event::Readable => {
                    // More of a line does not give that line more time.
                    let line_goes_on = !self.greeted || self.decoder.has_partial_line();
                    match read_into(&self.stream, &mut self.decoder) {
                        Ok(0) => return Ok(()),
                        Ok(count) => {
                            match self.answer_all().await? {
                                Answered::Closing => return self.stream.shutdown().await,
                                Answered::HandedOver => return Ok(()),
                                Answered::Nothing if line_goes_on => {}
                                Answered::Nothing | Answered::Some => self.since = Instant::now(),
                            }
                            turn.took(count).await;
                        }
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

    /// Writes what is to be written, as slowly as it is read, unless another is to have its room.
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
            let written = tokio::select! {
                // Those who are clocked make no room, and are sent the last that there is.
                () = self.meta.end.cancelled(), if self.pushes.is_none() => {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                written = timeout(self.server.config.message_timeout, rest) => written,
            };
            let Ok(written) = written else {
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

/// How much of a connection was read since others had their turn.
#[derive(Debug, Default)]
pub(crate) struct Turn(usize);

impl Turn {
    /// So much was read.
    pub(crate) async fn took(&mut self, bytes: usize) {
        self.0 += bytes;
        if self.0 >= READ_IN_TURN {
            self.0 = 0;
            tokio::task::yield_now().await;
        }
    }
}
