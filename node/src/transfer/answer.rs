//! [`Answering`]: the half of a connection that answers, in the order of the requests, and tells
//! news between the answers.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use askaround_core::Key;
use askaround_core::message::{
    Answer, Availability, ByteRange, ErrorAnswer, ErrorCode, Interest, MAX_HASHES, Message, RawAnswer,
};
use askaround_core::pieces::{HASH_LEN, Root};
use askaround_core::upload::{Served, UploadInput, Want, Wish};
use askaround_core::wire::encode;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::news::OfFolder;
use super::send::{Ended, Outgoing, Ran, Run, Unsent, check, found};
use super::serve::{Connection, Get, Next, Waiting};
use super::shelf::{Demand, Shelf};
use crate::content::ContentFile;
use crate::server::Flow;

/// Answers larger than this are written before the next is made.
const FLUSH_AT: usize = 64 << 10;
/// The most bytes that are sent by one call to another thread: what can no longer be stopped.
const RUN: u64 = 1 << 20;
/// For so long a whole file is not looked up again for its next piece.
const REMEMBER: Duration = Duration::from_secs(1);

/// For each request the piece to send.
type Granted = Vec<Option<u32>>;

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
    sending: Option<JoinHandle<Ran>>,
}

impl<'a> Answering<'a> {
    pub(super) fn new(connection: &'a Connection<'a>) -> Self {
        let unsent = Unsent::new(&connection.stream);
        Self { connection, out: Vec::new(), written: 0, unsent, opened: None, allowed: 0, sending: None }
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
            Waiting::Get(get) => self.get(get).await?,
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
        let found = self.ask(move |shelf| shelf.open(&key)).await?;
        let file = match found {
            Ok(file) => file,
            Err(error) => return Ok(Err(error)),
        };
        let hashes = file.manifest().as_bytes();
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
        let (from, about) = (self.connection.from, interest.clone());
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

    async fn get(&mut self, get: Get) -> io::Result<Result<(), ErrorAnswer>> {
        if let Some(root) = self.is_of_folder(&get.range.key) {
            return Ok(Ok(self.get_files(root, get).await?));
        }
        if get.cancelled {
            return Ok(Err(cancelled()));
        }
        let file = match self.open(&get.range.key).await? {
            Ok(file) => file,
            Err(error) => return Ok(Err(error)),
        };
        if let Err(error) = check(&file, &get.range) {
            return Ok(Err(error));
        }
        let geometry = file.geometry();
        let piece = geometry.exactly(get.range.from, get.range.length);
        let root = file.manifest().root();
        let connection = self.connection;
        let demand = match piece.filter(|_| !file.is_whole()) {
            Some(piece) => self.demand(&get.range.key, false, piece.get()),
            None => Demand::default(),
        };
        let any = get.any && piece.is_some() && connection.interests.includes(root);
        let want = Want {
            served: Served { root, files: false },
            count: geometry.count(),
            distinct: None,
            complete: file.is_whole(),
            wishes: vec![Wish { piece: piece.map(|piece| piece.get()), any }],
            copies: demand.copies,
            has: demand.has,
        };
        let mut range = get.range.clone();
        let (_, granted) = self.granted(vec![get], want).await?;
        let Some(pieces) = granted else { return Ok(Err(cancelled())) };
        if let Some(piece) = pieces.first().copied().flatten().and_then(|piece| geometry.piece(piece)) {
            range.from = geometry.range(piece).start;
            range.length = geometry.length(piece) as u64;
        }
        self.send([Outgoing::of(file, range)].into()).await?;
        connection.server.uploads.handle(UploadInput::Sent(connection.id));
        Ok(Ok(()))
    }

    /// The root of a file, if it is asked for as one of a folder: not as the content that the other
    /// end has said it is interested in.
    fn is_of_folder(&self, key: &Key) -> Option<Root> {
        Root::from_key(key).filter(|root| !self.connection.interests.includes(*root))
    }

    /// Answers requests for files of a folder that follow each other in one turn, and on one call
    /// to another thread: as many as the link sends in a moment.
    async fn get_files(&mut self, root: Root, first: Get) -> io::Result<()> {
        let connection = self.connection;
        let most = self.unsent.moment().min(connection.server.up.in_a_moment());
        let folder = connection.interests.folder_with(&root);
        let fits = |get: &Get| {
            let root = self.is_of_folder(&get.range.key);
            root.is_some_and(|root| folder.as_ref().is_none_or(|folder| folder.layout.file(&root).is_some()))
        };
        let gets = connection.following(first, most, fits);
        let want = self.want_of_files(root, folder.as_ref(), &gets);
        let (gets, granted) = self.granted(gets, want).await?;
        let pieces = granted.iter().flatten().copied().chain(std::iter::repeat(None));
        let answer = |(get, piece): (Get, Option<u32>)| {
            if get.cancelled {
                if let Some(piece) = piece {
                    connection.server.uploads.handle(UploadInput::NotSent(connection.id, piece));
                }
                return Outgoing::refused(get.range, cancelled());
            }
            let chosen = piece.zip(folder.as_ref()).and_then(|(piece, folder)| folder.layout.range(piece));
            Outgoing::asked(chosen.unwrap_or(get.range))
        };
        self.send(gets.into_iter().zip(pieces).map(answer).collect()).await?;
        if granted.is_some() {
            connection.server.uploads.handle(UploadInput::Sent(connection.id));
        }
        Ok(())
    }

    /// What these requests for files want. Of files of which it is not known which folder they
    /// belong to, the machine has no choice to make: it says when it is their turn.
    fn want_of_files(&self, root: Root, folder: Option<&OfFolder>, gets: &[Get]) -> Want {
        let wish = |get: &Get| {
            let ByteRange { key, from, length } = &get.range;
            let piece = folder.and_then(|folder| folder.layout.find(key, *from, *length));
            Wish { piece, any: get.any && piece.is_some() }
        };
        let wishes: Vec<Wish> = gets.iter().map(wish).collect();
        let Some(OfFolder { key, served, complete, layout }) = folder.cloned() else {
            let served = Served { root, files: false };
            return Want { served, count: 1, distinct: None, complete: true, wishes, copies: 0, has: 0 };
        };
        let demand = match wishes.first().and_then(|wish| wish.piece).filter(|_| !complete) {
            Some(piece) => self.demand(&key, true, piece),
            None => Demand::default(),
        };
        let (count, distinct) = (layout.count(), layout.distinct().cloned());
        let Demand { copies, has } = demand;
        Want { served, count, distinct, complete, wishes, copies, has }
    }

    /// How much a piece is needed by the other end.
    fn demand(&self, key: &Key, files: bool, piece: u32) -> Demand {
        let connection = self.connection;
        let by = connection.interests.port().map(|port| SocketAddr::new(connection.from, port));
        connection.server.shelf.demand(key, files, piece, by)
    }

    /// Waits until it is this connection's turn, and says for each request which piece to send, if
    /// it is to be a whole one; `None` if nothing is wanted any more. From then on nothing can be
    /// cancelled: gives back what was asked, as it is then.
    async fn granted(&mut self, gets: Vec<Get>, want: Want) -> io::Result<(Vec<Get>, Option<Granted>)> {
        let connection = self.connection;
        // Answers that wait must not hold up whoever is granted something.
        self.flush().await?;
        connection.offer(gets);
        let mut grant = connection.server.uploads.want(connection.id, want);
        loop {
            tokio::select! {
                biased;
                grant = &mut grant => {
                    return Ok((connection.begin(), Some(grant.map_err(io::Error::other)?)));
                }
                () = connection.work.notified() => {}
                () = connection.interests.wait() => {}
            }
            if connection.is_cancelled() {
                connection.server.uploads.withdraw(connection.id);
                return Ok((connection.begin(), None));
            }
            connection.interests.tell(&mut self.out);
            let granted = tokio::select! {
                biased;
                flushed = self.flush() => flushed.map(|()| None)?,
                grant = &mut grant => Some(grant.map_err(io::Error::other)?),
            };
            if granted.is_some() {
                // It is its turn, and it does not even take the news.
                connection.server.uploads.handle(UploadInput::Stalled(connection.id));
                self.flush().await?;
                return Ok((connection.begin(), granted));
            }
        }
    }

    /// Sends answers; what cannot be sent whole ends the connection.
    async fn send(&mut self, mut answers: VecDeque<Outgoing>) -> io::Result<()> {
        let connection = self.connection;
        let mut give_up = None;
        while !answers.is_empty() {
            let left: u64 = answers.iter().map(Outgoing::left).sum();
            if self.allowed == 0 {
                self.allowed = connection.server.up.take(left.min(RUN)).await;
            }
            let (stream, shelf) = (connection.stream.clone(), connection.server.shelf.clone());
            let most = left.min(RUN).min(self.allowed);
            let begun = Instant::now();
            let ran = self.on_thread(Run { stream, shelf, answers, most }).await?;
            self.allowed -= ran.sent;
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
                Ended::Stalled => {
                    connection.server.uploads.handle(UploadInput::Stalled(connection.id));
                    let at = *give_up.get_or_insert_with(|| begun + connection.config.message_timeout);
                    self.taken_by(at).await?;
                }
            }
        }
        Ok(())
    }

    async fn on_thread(&mut self, run: Run) -> io::Result<Ran> {
        let sending = self.sending.insert(tokio::task::spawn_blocking(move || run.run()));
        let ran = sending.await;
        self.sending = None;
        ran.map_err(io::Error::other)
    }

    /// The file of a key. A whole file may be remembered: it is looked at again before each piece.
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
        if let Ok(file) = &found
            && file.is_whole()
        {
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

fn cancelled() -> ErrorAnswer {
    ErrorAnswer::new(ErrorCode::Cancelled, "cancelled by its sender")
}
