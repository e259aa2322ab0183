//! What a [`Search`](super::Search) asks and why, what comes back, and how it ends.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::id::{Contact, PeerId};
use crate::message::{HaveAnswer, Page};

/// How a search goes about it. `Default` is the document's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SearchConfig {
    /// How many questions may be open at once; 1 is the document's serial order.
    pub width: usize,
    /// The most peers that are ever put on the lists of one search.
    pub max_peers: usize,
    /// The most pages that one peer is asked for.
    pub max_pages: usize,
    /// Whether to go on when a holder is found, until everybody has been asked: each holder comes
    /// out of [`Search::next_holder`](super::Search::next_holder) then, and the result is never
    /// [`SearchResult::Found`].
    pub collect: bool,
    /// Whether whoever did not say in time whether it has the key is still asked whom it knows. The
    /// document asks; a peer that is gone without a word is waited for twice then.
    pub ask_silent: bool,
}

impl Default for SearchConfig {
    fn default() -> Self {
        Self { width: 1, max_peers: 1_000_000, max_pages: 4096, collect: false, ask_silent: true }
    }
}

/// A question of a search, numbered to match its answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    /// Its number.
    pub number: u64,
    /// Who is asked what.
    pub ask: Ask,
    /// Why.
    pub reason: Reason,
}

/// Who is asked what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Ask {
    /// The tracker, for a page of the registered peers.
    Tracker(Page),
    /// A peer, whether it has the key.
    Have(Contact),
    /// A peer, for a page of the peers that it knows.
    Known(Contact, Page),
    /// The searcher's own originator list, for the peers in it.
    OwnKnown,
}

impl Ask {
    /// Which peer is asked, if one is.
    pub fn peer(&self) -> Option<(PeerId, SocketAddr)> {
        match self {
            Self::Have(peer) | Self::Known(peer, _) => Some((peer.id, peer.addr())),
            Self::Tracker(_) | Self::OwnKnown => None,
        }
    }
}

/// Why a question has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// None came in time.
    TimedOut,
    /// It could not be asked, or answered something that is no answer.
    Other,
}

/// What a question without an answer was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unanswered {
    /// Which peers are registered.
    Listing,
    /// Whether somebody has the key.
    Have,
    /// Whom somebody knows.
    Known,
}

/// Why somebody is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// The searcher once got the key from there.
    OwnOriginator,
    /// It stands on the tracker's list, or the list itself is asked for.
    Listed,
    /// Level so many of the longer list, from 1 on.
    LongerList(u32),
    /// That peer gave a hint; `further` is 0 for the hint of a listed peer, then 1 and 2.
    Hint {
        /// Who gave the hint.
        by: Contact,
        /// How many hints came before it in this chain.
        further: u8,
    },
}

/// In words, for people.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnOriginator => f.write_str("this peer got it from there before"),
            Self::Listed => f.write_str("on the tracker's list"),
            Self::LongerList(level) => write!(f, "on the longer list, level {level}"),
            Self::Hint { by, further: 0 } => write!(f, "hint of client {}", by.id),
            Self::Hint { by, further } => write!(f, "further hint {further}, of client {}", by.id),
        }
    }
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reply {
    /// To [`Ask::Have`].
    Have(HaveAnswer),
    /// To the others: a page of peers.
    Peers {
        /// The page.
        peers: Vec<Contact>,
        /// Where the next begins.
        next: Option<u64>,
    },
}

/// Somebody that a collecting search found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Holder {
    /// Who.
    pub peer: Contact,
    /// Why it was asked.
    pub reason: Reason,
    /// Whether it holds the content; otherwise it is fetching it.
    pub complete: bool,
}

/// How a search ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SearchResult {
    /// This peer has the key, and was asked for this reason.
    Found(Contact, Reason),
    /// Nobody has it. `truncated` says that a bound ended the search, not the network.
    NotFound {
        /// Whether [`SearchConfig::max_peers`] or `max_pages` was reached.
        truncated: bool,
    },
}
