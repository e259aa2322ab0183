//! [`Upload`]: whose turn it is to be sent something (`turns.rs`), and which piece.

mod turns;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use self::turns::Pace;
use crate::pieces::{PieceSet, Root};
use crate::time::Instant;
use crate::tracker::ConnectionId;

/// How a peer sends content.
#[derive(Debug, Clone, Default)]
pub struct UploadConfig {
    /// How many connections are sent something at the same time. `None`: from 2 to 4, one for
    /// each 10 Mbit/s that leave. Few, so that pieces are finished, and passed on, one after the
    /// other rather than all at the end, and so that connections do not crowd each other out of
    /// the queue of a narrow link; more where the link is fast enough, so that it does not wait
    /// when one of them has lost a packet.
    pub slots: Option<usize>,
    /// Where the first round through a content begins. Holders that begin at different places do
    /// not all send the same pieces first.
    pub seed: u64,
}

/// What is sent piece by piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Served {
    /// Which content.
    pub root: Root,
    /// Whether it is the files that it lists (PROTOCOL.md §7.6), and not the content itself.
    pub files: bool,
}

/// What a connection asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// Which piece, if it is a whole one.
    pub piece: Option<u32>,
    /// Whether another piece is as welcome (PROTOCOL.md §7.5).
    pub any: bool,
}

/// What a connection wants next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// The host at the other end.
    pub from: IpAddr,
    /// Of what.
    pub served: Served,
    /// How many pieces that has.
    pub count: u32,
    /// Whether all of them are here.
    pub complete: bool,
    /// What is to be sent in one turn; at least one.
    pub wishes: Vec<Wish>,
    /// How many others are known to have the first piece; 0 where that is not known.
    pub copies: u32,
    /// How many pieces whoever wants it is known to have.
    pub has: u32,
}

/// What happens to an [`Upload`].
#[derive(Debug, Clone)]
pub enum UploadInput {
    /// The next request of a connection is due. One at a time: the next comes after
    /// [`UploadInput::Sent`].
    Wants(ConnectionId, Want),
    /// The next request of a connection was cancelled.
    Unwanted(ConnectionId),
    /// Whoever is at the other end has these pieces already.
    Knows {
        /// Which connection.
        connection: ConnectionId,
        /// Of what.
        served: Served,
        /// How many pieces that has.
        count: u32,
        /// Which.
        pieces: Vec<u32>,
    },
    /// Of what was granted, this piece is not sent after all.
    NotSent(ConnectionId, u32),
    /// What was granted has been sent.
    Sent {
        /// To which connection.
        connection: ConnectionId,
        /// How many bytes.
        bytes: u64,
        /// When.
        at: Instant,
    },
    /// The connection takes nothing for the moment, or too little: its slot is lent to another.
    Stalled(ConnectionId),
    /// The connection is gone.
    Gone(ConnectionId),
}

/// It is the turn of this connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Which.
    pub connection: ConnectionId,
    /// For each wish the piece to send: the one that it names, or another.
    pub pieces: Vec<Option<u32>>,
}

/// Decides for all connections of a peer (PROTOCOL.md §7.5). It sets no timers: after each
/// [`Upload::handle`], take the grants from [`Upload::poll_output`].
///
/// Connections take turns, one request each. A holder sends no piece of a content twice while
/// there are pieces that it has not sent once, as far as those who ask leave it the choice: so
/// the uplink of a lone holder is spent on what only it can give.
#[derive(Debug, Default)]
pub struct Upload {
    config: UploadConfig,
    /// Each with how many later ones have been granted before it.
    waiting: VecDeque<(ConnectionId, Want, usize)>,
    sending: BTreeMap<ConnectionId, Sending>,
    /// Those that took what they were sent last as fast as it went.
    proven: BTreeSet<ConnectionId>,
    /// How many connections of a host wait or are being sent to.
    hosts: BTreeMap<IpAddr, usize>,
    rounds: BTreeMap<Served, Round>,
    known: Known,
    pace: Pace,
    outputs: VecDeque<Grant>,
}

#[derive(Debug)]
struct Sending {
    from: IpAddr,
    served: Served,
    pieces: Vec<Option<u32>>,
    stalled: bool,
}

/// The first round through a content: each piece once. Kept while somebody is being served.
#[derive(Debug)]
struct Round {
    unsent: PieceSet,
    served: BTreeSet<ConnectionId>,
}

/// What the other end of a connection has, of what it asked for last.
#[derive(Debug, Default)]
struct Known(BTreeMap<ConnectionId, (Served, PieceSet)>);

impl Known {
    /// How many pieces it has, as far as is known.
    fn count(&self, connection: ConnectionId, served: Served) -> u32 {
        let known = self.0.get(&connection).filter(|(known, _)| *known == served);
        known.map_or(0, |(_, pieces)| pieces.len())
    }

    /// Which of `count` pieces it has. What was known of something else is forgotten.
    fn pieces(&mut self, connection: ConnectionId, served: Served, count: u32) -> &mut PieceSet {
        let fresh = || (served, PieceSet::empty(count));
        let known = self.0.entry(connection).or_insert_with(fresh);
        if known.0 != served || known.1.count() != count {
            *known = fresh();
        }
        &mut known.1
    }
}

impl Upload {
    /// Nobody is served yet.
    pub fn new(config: UploadConfig) -> Self {
        Self { config, ..Self::default() }
    }

    /// Takes one input. Poll the grants afterwards.
    pub fn handle(&mut self, input: UploadInput) {
        match input {
            UploadInput::Wants(connection, want) => {
                debug_assert!(!self.sending.contains_key(&connection), "one request at a time");
                *self.hosts.entry(want.from).or_default() += 1;
                self.waiting.push_back((connection, want, 0));
            }
            UploadInput::Unwanted(connection) => self.waits_no_more(connection),
            UploadInput::Knows { connection, served, count, pieces } => {
                let known = self.known.pieces(connection, served, count);
                for piece in pieces {
                    known.insert(piece);
                }
            }
            UploadInput::NotSent(connection, piece) => {
                if let Some(sending) = self.sending.get_mut(&connection) {
                    sending.pieces.retain(|granted| *granted != Some(piece));
                    let served = sending.served;
                    self.unsent(served, piece);
                }
            }
            UploadInput::Sent { connection, bytes, at } => {
                if let Some(sending) = self.sending.remove(&connection) {
                    self.one_less(sending.from);
                    if sending.stalled {
                        self.proven.remove(&connection);
                    } else if bytes > 0 {
                        self.proven.insert(connection);
                    }
                }
                self.pace.sent(bytes, at);
            }
            UploadInput::Stalled(connection) => {
                if let Some(sending) = self.sending.get_mut(&connection) {
                    sending.stalled = true;
                }
            }
            UploadInput::Gone(connection) => self.gone(connection),
        }
        self.grant();
    }

    /// The next grant.
    pub fn poll_output(&mut self) -> Option<Grant> {
        self.outputs.pop_front()
    }

    /// Whether nobody waits for a turn: the uplink has room for more.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    fn grant(&mut self) {
        while let Some(who) = self.free_turn()
            && let Some((connection, want)) = self.next_waiting(who)
        {
            let pieces = self.choose(connection, &want);
            let sending =
                Sending { from: want.from, served: want.served, pieces: pieces.clone(), stalled: false };
            self.sending.insert(connection, sending);
            self.outputs.push_back(Grant { connection, pieces });
        }
    }

    fn choose(&mut self, connection: ConnectionId, want: &Want) -> Vec<Option<u32>> {
        if !want.complete || want.wishes.iter().all(|wish| wish.piece.is_none()) {
            return want.wishes.iter().map(|wish| wish.piece.filter(|_| want.complete)).collect();
        }
        let fresh = || Round { unsent: PieceSet::full(want.count), served: BTreeSet::new() };
        let round = self.rounds.entry(want.served).or_insert_with(fresh);
        round.served.insert(connection);
        let known = self.known.pieces(connection, want.served, want.count);
        let start = (self.config.seed % u64::from(want.count.max(1))) as u32;
        let nothing = PieceSet::empty(want.count);
        let choose = |wish: &Wish| {
            let wanted = wish.piece?;
            let mut piece = wanted;
            if wish.any && !round.unsent.contains(wanted) && !round.unsent.is_empty() {
                let mut unsent = round.unsent.without(known, &nothing);
                let first = unsent.next();
                piece = first
                    .filter(|p| *p >= start)
                    .or_else(|| unsent.find(|p| *p >= start))
                    .or(first)
                    .unwrap_or(wanted);
            }
            round.unsent.remove(piece);
            known.insert(piece);
            Some(piece)
        };
        want.wishes.iter().map(choose).collect()
    }

    /// A piece may not have arrived.
    fn unsent(&mut self, served: Served, piece: u32) {
        if let Some(round) = self.rounds.get_mut(&served) {
            round.unsent.insert(piece);
        }
    }

    fn gone(&mut self, connection: ConnectionId) {
        self.waits_no_more(connection);
        self.proven.remove(&connection);
        self.known.0.remove(&connection);
        if let Some(Sending { from, served, pieces, .. }) = self.sending.remove(&connection) {
            self.one_less(from);
            for piece in pieces.into_iter().flatten() {
                self.unsent(served, piece);
            }
        }
        self.rounds.retain(|_, round| {
            round.served.remove(&connection);
            !round.served.is_empty()
        });
    }
}

#[cfg(test)]
mod tests;
