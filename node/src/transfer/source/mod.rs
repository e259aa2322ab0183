//! A connection to a source of content: asks for pieces, has them checked and written, and tells
//! whoever drives a fetch what came of it.

mod asking;
mod checks;
mod connection;
mod heard;
mod inbox;
mod patience;
mod wake;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use askaround_core::Key;
use askaround_core::message::{ByteRange, Description, ErrorAnswer, Interest};
use askaround_core::peer::AskError;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::pool::Pool;
use super::rate::Rate;
use crate::network::Network;

/// The number that a driver gives a source, and that comes back with its events.
pub type SourceId = u64;

/// Where the pieces of a fetch belong. It may be many files; piece numbers run over all of them.
pub trait Sink: Send + Sync + 'static {
    /// The bytes that a piece is asked for by. `None` if there is no such piece.
    fn range(&self, piece: u32) -> Option<ByteRange>;

    /// The piece that these bytes are, if they are a whole one.
    fn find(&self, key: &Key, from: u64, length: u64) -> Option<u32>;

    /// Checks a piece that was asked for by `range` and writes it. Blocks; may be called by several
    /// threads at once, also for a piece that is there already.
    ///
    /// # Errors
    /// If it is not the piece, or cannot be written; [`Rejected::Late`] if what is being fetched now has
    /// other bytes there, or none.
    fn accept(&self, piece: u32, range: &ByteRange, bytes: &[u8]) -> Result<(), Rejected>;
}

/// Why a piece was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Rejected {
    /// Its source sent something else.
    #[error("the bytes are not those of the piece")]
    Bad,
    /// It was asked for when something else was being fetched.
    #[error("nobody needs it any more")]
    Late,
    /// Our own disk.
    #[error("cannot write it: {0}")]
    Disk(#[source] io::Error),
}

/// What a source is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceCommand {
    /// Ask for a piece. It is answered by one [`SourceEvent::Piece`] or [`SourceEvent::Refused`]
    /// unless the source is gone before.
    Get {
        /// Which.
        piece: u32,
        /// Whether another is as welcome.
        any: bool,
    },
    /// A piece asked for is not wanted any more. It may come nevertheless.
    Cancel {
        /// Which.
        piece: u32,
    },
    /// Tell the source what is here now.
    News {
        /// Whether it is pieces of the files of a collection.
        files: bool,
        /// Which pieces.
        pieces: Vec<u32>,
    },
    /// Ask for piece hashes of a content.
    Hashes {
        /// Of which.
        key: Key,
        /// From this piece on.
        first: u32,
    },
    /// Ask what it has of the files of the collection, and to be told what it gets.
    Files,
}

/// What a source did.
#[derive(Debug)]
pub enum SourceEvent {
    /// The connection stands, and the source has said what it has.
    Opened(Opened),
    /// What the source has of the files of a collection.
    Files(Has),
    /// The source has these pieces now.
    News {
        /// Whether they are of the files of a collection.
        files: bool,
        /// Which.
        pieces: Vec<u32>,
    },
    /// Piece hashes, 32 bytes each; none if the source has none from there on.
    Hashes {
        /// Of which content.
        key: Key,
        /// From this piece on.
        first: u32,
        /// The hashes, one after the other.
        hashes: Vec<u8>,
    },
    /// So many bytes of pieces came since this was said last.
    Progress(u64),
    /// A piece begins to come.
    Begun {
        /// The piece that was asked for.
        asked: u32,
        /// The piece that comes.
        piece: u32,
        /// Its bytes: what is fetched may have become something else since.
        range: ByteRange,
    },
    /// A piece came whole.
    Piece {
        /// Which, of what was fetched when it came.
        piece: u32,
        /// Whether it was right, and is written. After [`Rejected::Bad`] the source is gone.
        result: Result<(), Rejected>,
    },
    /// The source will not send a piece.
    Refused {
        /// Which.
        piece: u32,
        /// What it says.
        error: ErrorAnswer,
    },
    /// The connection is over, and nothing more comes.
    Gone(AskError),
}

/// What a source said first. That it fits together is checked; whether it is true is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// What the content is.
    pub description: Description,
    /// The first piece hashes, 32 bytes each: all of them, unless they are more than
    /// [`MAX_HASHES`](askaround_core::message::MAX_HASHES). None if they were known.
    pub hashes: Vec<u8>,
    /// Which pieces it has.
    pub has: Has,
}

/// Which pieces a source has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Has {
    /// All.
    All,
    /// Those of this bitmap (PROTOCOL.md §7.4). It has the right length, unless it is about the
    /// files of a collection.
    Bitmap(Vec<u8>),
}

impl Has {
    /// It has these too, of `count` pieces. Numbers that are no pieces are passed over.
    pub fn add(&mut self, count: u32, pieces: &[u32]) {
        let Self::Bitmap(bytes) = self else { return };
        for piece in pieces.iter().filter(|piece| **piece < count) {
            if let Some(byte) = bytes.get_mut(*piece as usize / 8) {
                *byte |= 1 << (piece % 8);
            }
        }
    }
}

/// How a source is reached, and what its connection shares with others.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    /// How addresses become sockets.
    pub network: Network,
    /// Where it listens.
    pub addr: SocketAddr,
    /// The content, and what we say of ourselves.
    pub interest: Interest,
    /// Whether the piece hashes are known by the time that the connection stands, so that they are
    /// not asked for.
    pub hashes_known: Arc<AtomicBool>,
    /// The memory for pieces on their way.
    pub pool: Arc<Pool>,
    /// How much is taken a second.
    pub down: Arc<Rate>,
    /// How long it may take.
    pub limits: SourceLimits,
    /// Ends it.
    pub stop: CancellationToken,
}

/// How slow a source may be. Waiting for its turn is not slow: a source has many to serve, and
/// whether it is worth waiting for is for the driver to say.
#[derive(Debug, Clone)]
pub struct SourceLimits {
    /// For the connection; for each answer but pieces; for the rest of what has begun to come.
    pub answer_timeout: Duration,
    /// The least that may come of a piece within `answer_timeout`, in bytes.
    pub least_bytes: u64,
}

impl Default for SourceLimits {
    fn default() -> Self {
        Self { answer_timeout: Duration::from_secs(10), least_bytes: 16 << 10 }
    }
}

/// Connects to a source and does what the commands say until it is to stop, they end, or the source is
/// gone; in the last case the last event is [`SourceEvent::Gone`]. Pieces that have come whole by then
/// are still checked, and told: the driver takes events until there are no more, or drops their
/// channel. Commands are taken also while events wait, and refused once the source is gone, so that
/// a driver may wait for room in either channel.
pub async fn run(
    id: SourceId,
    options: SourceOptions,
    sink: Arc<dyn Sink>,
    commands: mpsc::Receiver<SourceCommand>,
    events: mpsc::Sender<(SourceId, SourceEvent)>,
) {
    let connecting = options.network.connect(options.addr);
    let connected = tokio::select! {
        () = options.stop.cancelled() => return,
        connected = tokio::time::timeout(options.limits.answer_timeout, connecting) => match connected {
            Ok(connected) => connected.map_err(|error| AskError::Unreachable(error.to_string())),
            Err(_) => Err(AskError::TimedOut),
        },
    };
    let why = match connected {
        Ok(stream) => {
            match connection::Connection::new(id, options, sink, stream, commands, events.clone()) {
                Ok(connection) => connection.run().await,
                Err(error) => Some(AskError::Unreachable(error.to_string())),
            }
        }
        Err(error) => Some(error),
    };
    if let Some(why) = why {
        // Without a driver nobody needs to know.
        let _ = events.send((id, SourceEvent::Gone(why))).await;
    }
}
