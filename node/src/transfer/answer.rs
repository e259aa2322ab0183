//! [`Answering`]: the half of a connection that answers, in the order of the requests, and tells
//! news between the answers.

mod pieces;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use askaround_core::Key;
use askaround_core::message::{
    Answer, Availability, ErrorAnswer, ErrorCode, Interest, MAX_HASHES, Message, RawAnswer,
};
use askaround_core::pieces::HASH_LEN;
use askaround_core::upload::UploadInput;
use askaround_core::wire::encode;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::send::{Ended, Outgoing, Ran, Run, found};
use super::serve::{Connection, Next, Waiting};
use super::shelf::Shelf;
use super::unsent::Unsent;
use crate::content::ContentFile;
use crate::server::Flow;

/// Answers larger than this are written before the next is made.
const FLUSH_AT: usize = 64 << 10;
/// The most bytes that are sent by one call to another thread: what can no longer be stopped.
const RUN: u64 = 1 << 20;
/// For so long a file is not looked up again for its next piece: a whole one, or one that is coming.
const REMEMBER: Duration = Duration::from_secs(1);

pub(super) struct Answering<'a> {
    connection: &'a Connection<'a>,
    out: Vec<u8>,
    /// How much of that is written.
    written: usize,
    unsent: Unsent,
    /// The file that was sent from last.
    opened: Option<(Key, Arc<ContentFile>, Instant)>,
    /// What may be sent of what the limit has let through.
    allowed: u64,
    /// Whether it is this connection's turn, and nobody else has been given it meanwhile.
    has_turn: bool,
    sending: Option<JoinHandle<Ran>>,
}

impl<'a> Answering<'a> {
    pub(super) fn new(connection: &'a Connection<'a>) -> Self {
        let unsent = Unsent::new(&connection.stream);
        Self {
            connection,
            out: Vec::new(),
            written: 0,
            unsent,
            opened: None,
            allowed: 0,
            has_turn: false,
            sending: None,
        }
    }

    /// Answers until the other end has asked everything, or the connection is to be closed.
    pub(super) async fn run(&mut self) -> io::Result<()> {
        loop {
            self.connection.interests.tell(&mut self.out);
            if self.out.len() > FLUSH_AT {
                self.flush().await?;
            }
            match self.connection.next() {
                Next::Answer(waiting) => {
                    if !self.answer(waiting).await? {
                        return self.flush().await;
                    }
                }
                Next::Wait => {
                    self.flush().await?;
                    if self.connection.interests.have_ended() {
                        return Ok(());
                    }
                    tokio::select! {
                        () = self.connection.work.notified() => {}
                        () = self.connection.interests.wait() => {}
                    }
                }
                Next::End => return self.flush().await,
            }
        }
    }

    /// Waits for what a thread may still be sending.
    pub(super) async fn join(&mut self) {
        if let Some(sending) = self.sending.take()
            && let Err(error) = sending.await
        {
            tracing::error!(%error, "sending failed by a bug of ours");
        }
        self.connection.server.up.give_back(self.allowed);
    }

    /// False if the connection is to be closed.
    async fn answer(&mut self, waiting: Waiting) -> io::Result<bool> {
        let answered = match waiting {
            Waiting::Describe(key) => self.describe(key).await?,
            Waiting::Hashes(key, first) => self.hashes(key, first).await?,
            Waiting::Interest(interest) => self.interest(interest).await?,
            Waiting::Get(get) => {
                let answered = self.get(get).await?;
                // What was refused was not begun.
                self.connection.begin();
                answered
            }
            Waiting::Other(message) => {
                let flow = (self.connection.service)(message, &mut self.out);
                return Ok(matches!(flow, Flow::Continue));
            }
            Waiting::Bad(error) => Err(error),
        };
        let Err(error) = answered else { return Ok(true) };
        let closes = error.code.closes();
        encode(&Message::Error(error), &mut self.out);
        Ok(!closes)
    }

    async fn describe(&mut self, key: Key) -> io::Result<Result<(), ErrorAnswer>> {
        let found = self.ask(move |shelf| shelf.describe(&key)).await?;
        Ok(found.map(|content| encode(&Message::Answer(Answer::Content(content)), &mut self.out)))
    }

    async fn hashes(&mut self, key: Key, first: u32) -> io::Result<Result<(), ErrorAnswer>> {
        let found = self.ask(move |shelf| shelf.manifest(&key)).await?;
        let manifest = match found {
            Ok(manifest) => manifest,
            Err(error) => return Ok(Err(error)),
        };
        let hashes = manifest.as_bytes();
        let from = (first as usize).saturating_mul(HASH_LEN).min(hashes.len());
        let to = hashes.len().min(from + MAX_HASHES as usize * HASH_LEN);
        let count = u32::try_from((to - from) / HASH_LEN).unwrap_or(MAX_HASHES);
        if to - from <= FLUSH_AT {
            self.raw(RawAnswer::Hashes(count), &hashes[from..to]);
            return Ok(Ok(()));
        }
        // Not copied: many may ask for a megabyte, and not read it.
        self.raw(RawAnswer::Hashes(count), &[]);
        self.flush().await?;
        let mut rest = &hashes[from..to];
        while !rest.is_empty() {
            rest = &rest[self.write(rest).await?..];
            self.connection.moved();
        }
        Ok(Ok(()))
    }

    async fn interest(&mut self, interest: Interest) -> io::Result<Result<(), ErrorAnswer>> {
        let port = self.connection.interests.port_to_ask(&interest);
        let (from, about) = (self.connection.from, Interest { port, ..interest.clone() });
        let holding = match self.ask(move |shelf| shelf.interest(from, &about)).await? {
            Ok(holding) => holding,
            Err(error) => return Ok(Err(error)),
        };
        let Some(pieces) = self.connection.interests.add(interest, holding) else {
            let text = "too many interests on one connection";
            return Ok(Err(ErrorAnswer::new(ErrorCode::Full, text)));
        };
        if pieces.is_full() {
            self.raw(RawAnswer::Pieces(Availability::All), &[]);
        } else {
            let bitmap = pieces.to_bytes();
            let length = u32::try_from(bitmap.len()).map_err(io::Error::other)?;
            self.raw(RawAnswer::Pieces(Availability::Bitmap(length)), &bitmap);
        }
        Ok(Ok(()))
    }

    fn raw(&mut self, answer: RawAnswer, bytes: &[u8]) {
        encode(&Message::Answer(Answer::Raw(answer)), &mut self.out);
        self.out.extend_from_slice(bytes);
    }

    /// Sends answers, and says how many bytes of files were sent; what cannot be sent whole ends the
    /// connection.
    async fn send(&mut self, mut answers: VecDeque<Outgoing>) -> io::Result<u64> {
        let connection = self.connection;
        let mut sent = 0;
        let mut give_up = None;
        while !answers.is_empty() {
            let left: u64 = answers.iter().map(Outgoing::left).sum();
            if self.allowed == 0 {
                self.allowed = connection.server.up.take(left.min(RUN)).await;
            }
            let (stream, shelf) = (connection.stream.clone(), connection.server.shelf.clone());
            let most = left.min(RUN).min(self.allowed);
            let begun = Instant::now();
            let least_pace = self.has_turn.then(|| connection.server.uploads.least_pace());
            let ran = self.on_thread(Run { stream, shelf, answers, most, least_pace }).await?;
            self.allowed -= ran.sent;
            sent += ran.sent;
            if ran.sent > 0 {
                connection.server.up.count(ran.sent);
                self.unsent.sent(&connection.stream, ran.sent, begun.elapsed());
                connection.moved();
                give_up = None;
            }
            answers = ran.answers;
            match ran.ended {
                Ended::Done => {}
                Ended::Failed(error) => return Err(error),
                Ended::Slow => self.lend_turn(),
                Ended::Full => {
                    self.lend_turn();
                    let at = *give_up.get_or_insert_with(|| begun + connection.config.message_timeout);
                    self.taken_by(at).await?;
                }
            }
        }
        Ok(sent)
    }

    /// The other end takes too little for a turn that others could use.
    fn lend_turn(&mut self) {
        if std::mem::take(&mut self.has_turn) {
            self.connection.server.uploads.handle(UploadInput::Stalled(self.connection.id));
        }
        // Nor for what the limit has let through.
        self.connection.server.up.give_back(std::mem::take(&mut self.allowed));
    }

    async fn on_thread(&mut self, run: Run) -> io::Result<Ran> {
        let sending = self.sending.insert(tokio::task::spawn_blocking(move || run.run()));
        let ran = sending.await;
        self.sending = None;
        ran.map_err(io::Error::other)
    }

    /// The file of a key. It may be remembered: whether it has changed is looked at before each piece.
    async fn open(&mut self, key: &Key) -> io::Result<Result<Arc<ContentFile>, ErrorAnswer>> {
        if let Some((opened, file, at)) = &self.opened
            && opened == key
            && at.elapsed() < REMEMBER
        {
            return Ok(Ok(file.clone()));
        }
        self.opened = None;
        let wanted = key.clone();
        let found = self.ask(move |shelf| shelf.open(&wanted)).await?;
        if let Ok(file) = &found {
            self.opened = Some((key.clone(), file.clone(), Instant::now()));
        }
        Ok(found)
    }

    /// Asks the shelf, on a thread that may block.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Shelf) -> io::Result<Option<T>> + Send + 'static,
    ) -> io::Result<Result<T, ErrorAnswer>> {
        let shelf = self.connection.server.shelf.clone();
        let answer = tokio::task::spawn_blocking(move || question(&*shelf)).await;
        Ok(found(answer.map_err(io::Error::other)?))
    }

    /// Waits until the other end has taken something.
    async fn taken_by(&self, at: Instant) -> io::Result<()> {
        match timeout_at(at, self.connection.stream.writable()).await {
            Ok(writable) => writable,
            Err(_) => {
                self.connection.complaints.about(self.connection.from, "does not read its answers");
                Err(io::ErrorKind::TimedOut.into())
            }
        }
    }

    /// Writes the answers that are ready. May be dropped at any time, and begun again.
    async fn flush(&mut self) -> io::Result<()> {
        while self.written < self.out.len() {
            self.written += self.write(&self.out[self.written..]).await?;
        }
        if self.written > 0 {
            self.connection.moved();
        }
        self.written = 0;
        self.out.clear();
        if self.out.capacity() > FLUSH_AT {
            self.out = Vec::new();
        }
        Ok(())
    }

    /// Writes some of this, as soon as the other end takes it.
    async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.connection.stream.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.taken_by(Instant::now() + self.connection.config.message_timeout).await?;
                }
                result => return result,
            }
        }
    }
}
