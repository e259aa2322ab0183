//! [`Run`]: answers with bytes of files into a socket, on a thread that may block on the disk.

use std::collections::VecDeque;
use std::fmt;
use std::io;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use askaround_core::message::{Answer, ByteRange, ErrorAnswer, ErrorCode, Message, RawAnswer};
use askaround_core::wire::encode;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SendFlags, send};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::shelf::Shelf;
use crate::complaints::Complaints;
use crate::content::ContentFile;

/// How long a run waits for a receiver itself. A thread that waits here saves four changes of
/// thread each time the socket is full, which on a fast link is several thousand times a second.
/// Only whoever has a turn is waited for: there are a few turns, and a thread for each of them, but
/// no more than some hundred threads for all connections.
pub(super) const PATIENCE: Duration = Duration::from_millis(50);

/// Whoever takes too little for so long does not keep its turn.
const SLOW_AFTER: Duration = Duration::from_millis(250);

/// Files of at most so many bytes are read and sent along with their line: that is one system
/// call less than `sendfile`, and copying so little costs nothing.
const COPIED: u64 = 16 << 10;
/// What is copied at once of a file that `sendfile` does not take.
const COPIED_INSTEAD: u64 = 64 << 10;

/// An answer to a `G` that is being sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    stage: Stage,
    /// Sent before the bytes of the file.
    head: Vec<u8>,
    /// What of the file is still to be sent.
    range: ByteRange,
}

#[derive(Debug)]
enum Stage {
    /// Its file is not open yet.
    Asked,
    /// Nothing is sent yet: the file must be what it was when the head is begun.
    Open(Arc<ContentFile>),
    Begun(Arc<ContentFile>),
    /// There is nothing to send but the head.
    Refused,
}

impl Outgoing {
    /// Bytes whose file is opened when it is their turn.
    pub(super) fn asked(range: ByteRange) -> Self {
        Self { stage: Stage::Asked, head: Vec::new(), range }
    }

    /// Bytes of this file.
    pub(super) fn of(file: Arc<ContentFile>, range: ByteRange) -> Self {
        let mut head = Vec::with_capacity(160);
        encode(&Message::Answer(Answer::Raw(RawAnswer::Bytes(range.clone()))), &mut head);
        Self { stage: Stage::Open(file), head, range }
    }

    /// An error in their place.
    pub(super) fn refused(mut range: ByteRange, error: ErrorAnswer) -> Self {
        range.length = 0;
        let mut head = Vec::new();
        encode(&Message::Error(error), &mut head);
        Self { stage: Stage::Refused, head, range }
    }

    /// How many bytes of the file are still to be sent.
    pub(super) fn left(&self) -> u64 {
        self.range.length
    }

    fn is_sent(&self) -> bool {
        self.head.is_empty() && self.range.length == 0
    }

    /// Makes the next bytes ready to be sent. How many bytes of the file were put behind the head,
    /// where `most` may be.
    fn make_ready(&mut self, shelf: &dyn Shelf, most: u64) -> u64 {
        if let Stage::Asked = self.stage {
            let range = self.range.clone();
            *self = match found(shelf.open(&range.key)).and_then(|file| check(&file, &range).map(|()| file)) {
                Ok(file) => Self::of(file, range),
                Err(error) => Self::refused(range, error),
            };
        }
        let Stage::Open(file) = &self.stage else { return 0 };
        let file = file.clone();
        if !file.unchanged() {
            let root = file.manifest().root();
            tracing::warn!(content = %root, "a file has changed since it was added: it is not served");
            shelf.changed(root);
            *self = Self::refused(self.range.clone(), unknown());
            return 0;
        }
        let length = self.range.length;
        if length <= COPIED.min(most)
            && let Err(error) = self.copy(&file, length)
        {
            *self = Self::refused(self.range.clone(), unreadable(file.error(error)));
            return 0;
        }
        self.stage = Stage::Begun(file);
        length - self.range.length
    }

    /// Puts the next bytes of its file behind the head.
    fn copy(&mut self, file: &ContentFile, length: u64) -> io::Result<()> {
        let head = self.head.len();
        self.head.resize(head + length as usize, 0);
        file.read_at(self.range.from, &mut self.head[head..])?;
        self.range.from += length;
        self.range.length -= length;
        Ok(())
    }
}

/// Whether all of the range is here.
pub(super) fn check(file: &ContentFile, range: &ByteRange) -> Result<(), ErrorAnswer> {
    let geometry = file.geometry();
    let not_here = |text| Err(ErrorAnswer::new(ErrorCode::NotHere, text));
    let Some(end) = range.from.checked_add(range.length).filter(|end| *end <= geometry.size()) else {
        return not_here("past the end of the content");
    };
    if !geometry.covering(range.from..end).all(|piece| file.has(piece)) {
        return not_here("these bytes are not here yet");
    }
    Ok(())
}

/// Strangers ask for what cannot be read as often as they like.
static UNREADABLE: Complaints = Complaints::new();

/// What a shelf says, as an answer.
pub(super) fn found<T>(found: io::Result<Option<T>>) -> Result<T, ErrorAnswer> {
    match found {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(unknown()),
        Err(error) => Err(unreadable(error)),
    }
}

/// Tells whoever runs this peer, and what to answer.
fn unreadable(error: impl fmt::Display) -> ErrorAnswer {
    UNREADABLE.about("content cannot be read", error);
    ErrorAnswer::new(ErrorCode::NotHere, "the content cannot be read now")
}

fn unknown() -> ErrorAnswer {
    ErrorAnswer::new(ErrorCode::UnknownKey, "no content of this key is here")
}

/// Answers to send, in this order.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) stream: Arc<TcpStream>,
    pub(super) shelf: Arc<dyn Shelf>,
    pub(super) answers: VecDeque<Outgoing>,
    /// The most bytes of files.
    pub(super) most: u64,
    /// How much a receiver must take, in bytes a second, that it is waited for when its socket is
    /// full. `None`: it is not waited for.
    pub(super) least_pace: Option<u64>,
}

/// What came of a run.
#[derive(Debug)]
pub(super) struct Ran {
    /// What is still to be sent.
    pub(super) answers: VecDeque<Outgoing>,
    /// How many bytes of files were sent.
    pub(super) sent: u64,
    pub(super) ended: Ended,
}

#[derive(Debug)]
pub(super) enum Ended {
    /// All is sent, or as much as may be.
    Done,
    /// The receiver takes nothing: for [`PATIENCE`], if the run waits, or for the moment.
    Full,
    /// It has taken less than it should, for [`SLOW_AFTER`].
    Slow,
    Failed(io::Error),
}

/// How fast a receiver takes what it is sent.
struct Taking {
    /// How much it should take, in bytes a second.
    least: u64,
    /// Since when it is waited for, and how much had been sent by then: what the kernel takes at once
    /// does not count.
    since: Option<(Instant, u64)>,
}

impl Taking {
    /// Whether it has taken less than it should for [`SLOW_AFTER`]. To be asked whenever it has to be
    /// waited for.
    fn is_too_slow(&mut self, sent: u64, now: Instant) -> bool {
        let (since, before) = *self.since.get_or_insert((now, sent));
        let took = now.duration_since(since);
        if took < SLOW_AFTER {
            return false;
        }
        self.since = None;
        u128::from(sent - before) * 1000 < u128::from(self.least) * took.as_millis()
    }
}

impl Run {
    /// Sends until all is sent, as much as may be is, or the receiver takes no more, or little.
    /// Blocks.
    pub(super) fn run(mut self) -> Ran {
        let mut sent = 0;
        let ended = self.send_all(&mut sent).unwrap_or_else(Ended::Failed);
        Ran { answers: self.answers, sent, ended }
    }

    fn send_all(&mut self, sent: &mut u64) -> io::Result<Ended> {
        let mut taking = self.least_pace.map(|least| Taking { least, since: None });
        while let Some(answer) = self.answers.front_mut() {
            *sent += answer.make_ready(&*self.shelf, self.most - *sent);
            if answer.is_sent() {
                self.answers.pop_front();
                continue;
            }
            if answer.head.is_empty() && *sent == self.most {
                return Ok(Ended::Done);
            }
            match self.step(sent) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Some(taking) = &mut taking {
                        if taking.is_too_slow(*sent, Instant::now()) {
                            return Ok(Ended::Slow);
                        }
                        if wait_writable(&self.stream)? {
                            continue;
                        }
                    }
                    // Once more by way of the runtime, so that it knows that the socket is full
                    // and wakes us when it is not.
                    let stream = self.stream.clone();
                    match stream.try_io(Interest::WRITABLE, || self.step(sent)) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Ended::Full),
                        result => result?,
                    }
                }
                result => result?,
            }
        }
        Ok(Ended::Done)
    }

    /// Sends some of the first answer, of which something is left.
    fn step(&mut self, sent: &mut u64) -> io::Result<()> {
        let is_last = self.answers.len() == 1;
        let Some(answer) = self.answers.front_mut() else { return Ok(()) };
        let Outgoing { stage, head, range } = answer;
        if !head.is_empty() {
            // The head travels with the first bytes, and small answers travel together.
            let flags = if range.length == 0 && is_last { NO_SIGNAL } else { NO_SIGNAL.union(MORE) };
            let written = send(&*self.stream, head, flags)?;
            head.drain(..written);
            return Ok(());
        }
        let Stage::Begun(file) = stage else { return Ok(()) };
        let most = range.length.min(self.most - *sent);
        let count = usize::try_from(most).unwrap_or(usize::MAX);
        match send_file(&self.stream, file, range.from, count) {
            Ok(written) if written > 0 => {
                range.from += written as u64;
                range.length -= written as u64;
                *sent += written as u64;
                Ok(())
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {
                Err(error)
            }
            // The file's end, or its error, or its file system cannot do that, or it is the socket's
            // error: reading and sending by themselves show which.
            _ => {
                let (file, count) = (file.clone(), most.min(COPIED_INSTEAD));
                answer.copy(&file, count).map_err(|error| {
                    let error = file.error(error);
                    unreadable(&error);
                    io::Error::other(error)
                })?;
                *sent += count;
                Ok(())
            }
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const MORE: SendFlags = SendFlags::MORE;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const MORE: SendFlags = SendFlags::empty();
#[cfg(any(target_os = "linux", target_os = "android"))]
const NO_SIGNAL: SendFlags = SendFlags::NOSIGNAL;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const NO_SIGNAL: SendFlags = SendFlags::empty();

/// Sends bytes of a file without copying them, where the systems of both can do that.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn send_file(stream: &TcpStream, file: &ContentFile, from: u64, count: usize) -> io::Result<usize> {
    #[cfg(test)]
    if tests::NO_SENDFILE.get() {
        return Err(rustix::io::Errno::INVAL.into());
    }
    let mut from = from;
    Ok(rustix::fs::sendfile(stream.as_fd(), file.file(), Some(&mut from), count)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn send_file(_: &TcpStream, _: &ContentFile, _: u64, _: usize) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// False if the socket has taken nothing for [`PATIENCE`].
fn wait_writable(stream: &TcpStream) -> io::Result<bool> {
    let until = Instant::now() + PATIENCE;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(stream, PollFlags::OUT)], Some(&timeout)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests;
