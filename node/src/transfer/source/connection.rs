//! The loop of a connection to a source.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use askaround_core::Key;
use askaround_core::message::{ByteRange, Description};
use askaround_core::peer::AskError;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::super::pool::{Borrower, Buffer};
use super::asking::Asked;
use super::checks::{Checked, Checks};
use super::inbox::{Destination, Inbox};
use super::patience::Patience;
use super::wake::WakeAt;
use super::{Has, Rejected, Sink, SourceCommand, SourceEvent, SourceId, SourceOptions};
use crate::network::watch;
use crate::sleep_until;

/// With so many events untold, nothing is read: the driver is behind.
const MAX_UNTOLD: usize = 16;
/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// What is taken of the limit at once.
const ALLOWANCE: u64 = 1 << 20;

pub(super) struct Connection {
    id: SourceId,
    pub(super) options: SourceOptions,
    pub(super) sink: Arc<dyn Sink>,
    stream: TcpStream,
    commands: mpsc::Receiver<SourceCommand>,
    events: mpsc::Sender<(SourceId, SourceEvent)>,
    pub(super) inbox: Inbox,
    pub(super) patience: Patience,
    /// What was asked and not answered, oldest first.
    pub(super) asked: VecDeque<Asked>,
    /// The answer whose raw bytes are on their way, or wait for memory.
    pub(super) reading: Option<Reading>,
    pub(super) borrower: Borrower,
    /// Memory for a piece that has been announced.
    memory: Option<Pin<Box<dyn Future<Output = Buffer> + Send>>>,
    /// More of the limit.
    allowance: Option<Pin<Box<dyn Future<Output = u64> + Send>>>,
    allowed: u64,
    pub(super) checks: Checks,
    pub(super) opening: Opening,
    /// How many pieces the content has, once it was described.
    pub(super) count: u32,
    pub(super) unsent: Vec<u8>,
    wake_at: WakeAt,
    unsent_since: Option<Instant>,
    pub(super) untold: VecDeque<SourceEvent>,
    progress: u64,
    progress_at: Instant,
    pub(super) told: u64,
}

/// What the raw bytes are that come now.
#[derive(Debug)]
pub(super) enum Reading {
    Bitmap { files: bool },
    Hashes { key: Key, first: u32 },
    Piece { piece: u32, range: ByteRange },
}

/// The first answers, as they come.
#[derive(Debug, Default)]
pub(super) struct Opening {
    pub(super) done: bool,
    /// Whether hashes were asked for.
    pub(super) hashes: bool,
    pub(super) description: Option<Description>,
    pub(super) has: Option<Has>,
}

impl Connection {
    pub(super) fn new(
        id: SourceId,
        options: SourceOptions,
        sink: Arc<dyn Sink>,
        stream: TcpStream,
        commands: mpsc::Receiver<SourceCommand>,
        events: mpsc::Sender<(SourceId, SourceEvent)>,
    ) -> io::Result<Self> {
        watch(&stream)?;
        let patience = Patience::new(options.limits.answer_timeout, options.limits.least_bytes);
        // So that a source that is just fast enough is not taken for a slow one.
        let wake_after = usize::try_from(options.limits.least_bytes / 2).unwrap_or(usize::MAX);
        let mut connection = Self {
            id,
            borrower: options.pool.borrower(),
            options,
            stream,
            commands,
            events,
            inbox: Inbox::new(),
            patience,
            asked: VecDeque::new(),
            reading: None,
            memory: None,
            allowance: None,
            allowed: 0,
            checks: Checks::new(sink.clone()),
            sink,
            opening: Opening::default(),
            count: 0,
            unsent: Vec::new(),
            wake_at: WakeAt::new(wake_after),
            unsent_since: None,
            untold: VecDeque::new(),
            progress: 0,
            progress_at: Instant::now(),
            told: 0,
        };
        connection.open();
        Ok(connection)
    }

    /// Runs until it is to stop or the commands end (`None`), or the source is gone. What came whole by then is
    /// checked and told.
    pub(super) async fn run(mut self) -> Option<AskError> {
        let mut why = self.carry().await.err();
        // Whoever waits to say something here takes events only afterwards.
        self.commands.close();
        self.options.down.give_back(self.allowed);
        // Others may wait for the memory of what did not come whole, and for a turn of the limit, which
        // may be ours.
        (self.memory, self.allowance, self.inbox) = (None, None, Inbox::new());
        while let Some(checked) = self.checks.next().await {
            // Worse than a connection that breaks is what came over it.
            if let Err(worse) = self.checked(checked) {
                why = Some(worse);
            }
        }
        self.tell_progress();
        for event in std::mem::take(&mut self.untold) {
            // Without a driver nobody needs to know.
            let _ = self.events.send((self.id, event)).await;
        }
        why
    }

    async fn carry(&mut self) -> Result<(), AskError> {
        let (events, stop) = (self.events.clone(), self.options.stop.clone());
        let mut stopped = std::pin::pin!(stop.cancelled());
        loop {
            self.write()?;
            self.take_in()?;
            let reads = self.reads();
            self.wake_at.set(&self.stream, self.inbox.piece_left());
            self.watch_over(reads);
            let unsent_until = self.unsent_since.map(|since| since + self.options.limits.answer_timeout);
            let deadline = [self.patience.deadline(), unsent_until].into_iter().flatten().min();
            let room = self.has_room();
            tokio::select! {
                command = self.commands.recv(), if room => {
                    let Some(command) = command else { return Ok(()) };
                    self.command(command);
                    // Requests that are there together go in one packet.
                    while self.has_room() && let Ok(command) = self.commands.try_recv() {
                        self.command(command);
                    }
                }
                Some(checked) = self.checks.next() => self.checked(checked)?,
                permit = events.reserve(), if !self.untold.is_empty() => {
                    match (permit, self.untold.pop_front()) {
                        (Ok(permit), Some(event)) => permit.send((self.id, event)),
                        _ => return Ok(()),
                    }
                }
                buffer = done(&mut self.memory) => {
                    self.memory = None;
                    self.inbox.expect(Destination::Piece(buffer));
                }
                () = self.borrower.recalled(), if self.inbox.is_piece() => {
                    tracing::debug!(source = %self.options.addr, "too slow to hold memory that others wait for");
                    return Err(AskError::TimedOut);
                }
                allowed = done(&mut self.allowance) => {
                    self.allowance = None;
                    self.allowed += allowed;
                }
                ready = self.stream.readable(), if reads => {
                    ready.map_err(unreachable)?;
                    self.read()?;
                }
                ready = self.stream.writable(), if !self.unsent.is_empty() => ready.map_err(unreachable)?,
                () = sleep_until(deadline) => self.too_slow()?,
                () = &mut stopped => return Ok(()),
            }
        }
    }

    /// Sends what there is to send and the socket takes.
    fn write(&mut self) -> Result<(), AskError> {
        while !self.unsent.is_empty() {
            match self.stream.try_write(&self.unsent) {
                Ok(count) => {
                    self.unsent.drain(..count);
                    self.unsent_since = None;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.unsent_since.get_or_insert_with(Instant::now);
                    break;
                }
                Err(error) => return Err(unreachable(error)),
            }
        }
        Ok(())
    }

    /// Whether to read now. Not while somebody of ours is behind: memory, checks, the limit, or
    /// the driver.
    fn reads(&mut self) -> bool {
        if self.untold.len() >= MAX_UNTOLD || (self.reading.is_some() && !self.inbox.is_raw()) {
            return false;
        }
        if self.inbox.is_piece() && self.allowed == 0 && self.options.down.limit().is_some() {
            if self.allowance.is_none() {
                let down = self.options.down.clone();
                self.allowance = Some(Box::pin(async move { down.take(ALLOWANCE).await }));
            }
            return false;
        }
        true
    }

    fn watch_over(&mut self, reads: bool) {
        if let Some(filled) = self.inbox.piece_filled() {
            self.borrower.filling(filled, reads);
        }
        if reads && (self.inbox.is_partial() || self.is_due_at_once()) {
            self.patience.begin();
        } else {
            self.patience.rest();
        }
    }

    /// Whether what comes next is something that a source has to hand. Pieces come when it is our
    /// turn.
    fn is_due_at_once(&self) -> bool {
        !self.opening.done || self.asked.front().is_some_and(|asked| !matches!(asked, Asked::Get { .. }))
    }

    fn too_slow(&mut self) -> Result<(), AskError> {
        let window = self.options.limits.answer_timeout;
        if self.unsent_since.is_some_and(|since| since.elapsed() >= window)
            || self.patience.is_over(self.inbox.is_raw())
        {
            return Err(AskError::TimedOut);
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), AskError> {
        let is_piece = self.inbox.is_piece();
        let limited = is_piece && self.options.down.limit().is_some();
        if limited && self.allowed == 0 {
            // There was no limit when it was seen to that something may come.
            return Ok(());
        }
        let most = if limited { usize::try_from(self.allowed).unwrap_or(usize::MAX) } else { usize::MAX };
        match self.inbox.read(&self.stream, most) {
            Ok(0) => Err(self.closed()),
            Ok(count) => {
                let count = count as u64;
                self.patience.came(count);
                if limited {
                    self.allowed -= count;
                }
                if is_piece {
                    self.progress += count;
                    if self.progress_at.elapsed() >= PROGRESS_EVERY {
                        self.tell_progress();
                    }
                }
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(unreachable(error)),
        }
    }

    fn closed(&self) -> AskError {
        let when = match &self.reading {
            Some(Reading::Piece { piece, .. }) => &format!("in the middle of piece {piece}"),
            _ if self.inbox.is_partial() => "in the middle of an answer",
            _ if !self.asked.is_empty() => "before it answered",
            _ => "",
        };
        AskError::Unreachable(format!("it closed the connection {when}").trim_end().into())
    }

    fn tell_progress(&mut self) {
        self.progress_at = Instant::now();
        if self.progress > 0 {
            self.untold.push_back(SourceEvent::Progress(std::mem::take(&mut self.progress)));
        }
    }

    /// Takes what has come, as far as there is room for it.
    fn take_in(&mut self) -> Result<(), AskError> {
        loop {
            if self.untold.len() >= MAX_UNTOLD {
                return Ok(());
            }
            if self.inbox.is_raw() {
                let came = self.inbox.raw();
                self.progress += self.inbox.came_along();
                let Some(came) = came else { return Ok(()) };
                self.came(came)?;
                continue;
            }
            if let Some(Reading::Piece { range, .. }) = &self.reading {
                // It fits: it is at most a piece's.
                let length = range.length as usize;
                if self.memory.is_none() && self.checks.has_room() {
                    self.memory = Some(Box::pin(self.borrower.take(length)));
                }
                return Ok(());
            }
            match self.inbox.line() {
                Ok(Some(message)) => {
                    if !self.is_due_at_once() {
                        // The next line has its own time.
                        self.patience.rest();
                    }
                    self.heard(message)?;
                }
                Ok(None) => return Ok(()),
                Err(error) => return Err(misbehaved(&error.to_string())),
            }
        }
    }

    /// Pieces were checked and, if they are right, written.
    fn checked(&mut self, checked: Result<Vec<Checked>, tokio::task::JoinError>) -> Result<(), AskError> {
        let checked = checked.map_err(|error| AskError::Unreachable(format!("a bug of ours: {error}")))?;
        self.tell_progress();
        let mut bad = None;
        for Checked { piece, result } in checked {
            bad = bad.or(matches!(result, Err(Rejected::Bad)).then_some(piece));
            self.untold.push_back(SourceEvent::Piece { piece, result });
        }
        match bad {
            Some(piece) => Err(misbehaved(&format!("piece {piece} is not what the key says"))),
            None => Ok(()),
        }
    }
}

/// What a future gives that may be there.
async fn done<T>(future: &mut Option<Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

pub(super) fn misbehaved(what: &str) -> AskError {
    AskError::Misbehaved(what.into())
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unreachable(error: io::Error) -> AskError {
    AskError::Unreachable(error.to_string())
}
