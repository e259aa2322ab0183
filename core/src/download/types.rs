//! What goes into a [`Download`](super::Download) and what comes out of it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::pieces::PieceSet;

/// How a download goes about it.
#[derive(Debug, Clone)]
pub struct DownloadConfig {
    /// What the random choices come from.
    pub seed: u64,
    /// The fewest pieces that are asked of a source at once, so that it always has the next to
    /// send.
    pub min_pipeline: usize,
    /// The most pieces that are asked of a source at once.
    pub max_pipeline: usize,
    /// Between the two, so much of what the source delivers: a path needs its round trip, and a
    /// source that serves others needs its turn.
    pub pipeline_time: Duration,
    /// Before a source has shown how fast it is, so many bytes are asked of it, and as many more
    /// as have come from it, within the same bounds.
    pub first_pipeline: u64,
    /// A source that owes pieces and sends nothing for so long loses them to others.
    pub slow_after: Duration,
    /// A source that owes pieces and sends nothing for so long is dropped.
    pub drop_after: Duration,
    /// Pieces that many have are told of after this delay, several at once.
    pub news_delay: Duration,
    /// The most sources at once.
    pub max_sources: usize,
    /// The longest that it stays when it is complete, for those who need what no holder has; it may
    /// be less. None if the content stays here anyway, in a peer that goes on.
    pub longest_stay: Option<Duration>,
}

impl Default for DownloadConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            min_pipeline: 2,
            max_pipeline: 64,
            pipeline_time: Duration::from_millis(100),
            first_pipeline: 128 << 10,
            slow_after: Duration::from_secs(5),
            drop_after: Duration::from_secs(30),
            news_delay: Duration::from_millis(100),
            max_sources: 64,
            longest_stay: None,
        }
    }
}

/// A source, numbered by the driver. A number is never used again.
pub type SourceId = u64;
/// Somebody who asked to be told of pieces, numbered by the driver. A number is never used again.
pub type SubscriberId = u64;

/// What happens to a download.
#[derive(Debug, Clone)]
pub enum DownloadInput {
    /// A source can be asked.
    Opened {
        /// Its number.
        source: SourceId,
        /// Where it listens.
        addr: SocketAddr,
        /// What it has.
        pieces: PieceSet,
        /// Whether it holds the content for good, and does not fetch it.
        holds: bool,
    },
    /// A source has these pieces now. Numbers that are no pieces are passed over.
    News(SourceId, Vec<u32>),
    /// So many bytes of pieces have come from a source.
    Progress(SourceId, u64),
    /// A source begins to send a piece.
    Begun {
        /// Which source.
        source: SourceId,
        /// Which piece.
        piece: u32,
        /// The piece that it was asked for. It may be another, and may have been cancelled since.
        asked: u32,
    },
    /// A piece came, was verified, and is kept.
    Got(SourceId, u32),
    /// A piece came and is not what it should be.
    Bad(SourceId, u32),
    /// A source does not send this piece after all.
    Refused(SourceId, u32),
    /// A source can be asked no longer.
    Closed(SourceId),
    /// Somebody wants to be told of pieces from now on.
    Subscribed {
        /// Its number.
        subscriber: SubscriberId,
        /// Where it listens, if it is fetching too.
        addr: Option<SocketAddr>,
    },
    /// It does no longer.
    Unsubscribed(SubscriberId),
    /// Whether the uplink has nothing to send from now on: then whatever can be told of is worth
    /// more than what it costs.
    UplinkIdle(bool),
    /// The time of [`Download::poll_timeout`](super::Download::poll_timeout) has come.
    Timeout,
}

/// Who is told of pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Listener {
    /// Who subscribed.
    Subscriber(SubscriberId),
    /// A source that holds everything, so that it does not send what came from elsewhere.
    Source(SourceId),
}

/// What a download wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DownloadOutput {
    /// Ask a source for a piece.
    Ask {
        /// Which source.
        source: SourceId,
        /// Which piece.
        piece: u32,
        /// Whether another is as welcome (PROTOCOL.md §7.5).
        any: bool,
    },
    /// Tell a source that this piece is not wanted any more.
    Cancel(SourceId, u32),
    /// Tell somebody of pieces that are here now; at most
    /// [`MAX_NEWS`](crate::message::MAX_NEWS) of them.
    Tell(Listener, Vec<u32>),
    /// Have no more to do with a source.
    Drop(SourceId, DropReason),
    /// Every piece is here.
    Done,
    /// Every piece is here, and nobody has to be waited for any more: the peer may end.
    Unneeded,
}

/// Why a source is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DropReason {
    /// It sent something else than the piece.
    #[error("it sent wrong bytes for piece {0}")]
    BadPiece(u32),
    /// It chose to send a piece that it has sent before.
    #[error("it sent piece {0} again, which it was not asked for")]
    Repeats(u32),
    /// It owes pieces and sends nothing.
    #[error("it sent nothing for {} s", .0.as_secs())]
    Stalled(Duration),
}

impl DropReason {
    /// Whether it did what nobody does who keeps to the protocol. Others may be asked again later.
    pub fn is_its_fault(&self) -> bool {
        !matches!(self, Self::Stalled(_))
    }
}

/// How a source is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceState {
    /// Its number.
    pub source: SourceId,
    /// Where it listens.
    pub addr: SocketAddr,
    /// Whether it has everything.
    pub complete: bool,
    /// How many pieces came from it.
    pub pieces: u32,
    /// How many bytes came from it, unfinished pieces included.
    pub bytes: u64,
    /// Bytes a second, lately.
    pub rate: u64,
    /// How many pieces it is being asked for.
    pub asked: usize,
}
