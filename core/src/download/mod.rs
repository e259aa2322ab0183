//! [`Download`]: which piece is asked of whom, who is told of it, and who is to blame.

mod news;
mod owed;
mod pick;
mod source;
mod stay;
#[cfg(test)]
mod tests;
mod timers;
mod types;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::pieces::PieceSet;
use crate::time::Instant;
use source::{Owing, Source};
use stay::Stay;
pub use types::{
    DownloadConfig, DownloadInput, DownloadOutput, DropReason, Listener, SourceId, SourceState, SubscriberId,
};

/// One content, or the files of one collection, on its way here from many sources at once.
///
/// It is driven as all machines are (see the crate's root). The driver opens sources, carries
/// requests and news, verifies and keeps pieces; every choice is made here.
///
/// - A lone source is asked for pieces in order. Otherwise the rarest piece comes first, ties by
///   chance.
/// - A piece is asked of one source at a time. Where a source has nothing else to give, it is
///   asked for a piece that waits at another, which is told so; and in the end game, when every
///   missing piece is on its way, also for one that comes too slowly.
/// - A source that sends a bad piece is dropped. One that sends nothing loses what it owes to
///   others, and is dropped in the end.
/// - Pieces that few have are told of at once: who has them is needed now. Pieces that many have
///   are told of later, several at a time.
#[derive(Debug)]
pub struct Download {
    config: DownloadConfig,
    random: fastrand::Rng,
    lengths: Vec<u32>,
    have: PieceSet,
    /// Pieces that a source owes and is not slow with.
    asked: PieceSet,
    /// Which sources owe a piece.
    owed_by: BTreeMap<u32, Vec<SourceId>>,
    /// How many of the sources that have a part have a piece.
    copies: Vec<u32>,
    sources: BTreeMap<SourceId, Source>,
    by_addr: BTreeMap<SocketAddr, SourceId>,
    subscribers: BTreeMap<SubscriberId, Option<SocketAddr>>,
    /// What is still to be told.
    news: BTreeMap<Listener, Vec<u32>>,
    news_at: Option<Instant>,
    uplink_idle: bool,
    /// How long it takes lately until a piece that was asked for begins to come.
    usual_wait: Option<Duration>,
    /// When it was last looked who could be of more use in the end game.
    looked_at: Instant,
    done: bool,
    stay: Stay,
    outputs: VecDeque<DownloadOutput>,
}

impl Download {
    /// A download of pieces of these lengths, of which `have` are here already.
    ///
    /// # Panics
    /// If `have` is a set of another number of pieces.
    pub fn new(config: DownloadConfig, lengths: Vec<u32>, have: PieceSet) -> Self {
        let count = have.count();
        assert_eq!(lengths.len(), count as usize, "a length a piece");
        let mut download = Self {
            random: fastrand::Rng::with_seed(config.seed),
            config,
            asked: PieceSet::empty(count),
            owed_by: BTreeMap::new(),
            copies: vec![0; lengths.len()],
            lengths,
            sources: BTreeMap::new(),
            by_addr: BTreeMap::new(),
            subscribers: BTreeMap::new(),
            news: BTreeMap::new(),
            news_at: None,
            uplink_idle: false,
            usual_wait: None,
            looked_at: Instant::ZERO,
            done: false,
            stay: Stay::default(),
            have,
            outputs: VecDeque::new(),
        };
        download.finish_if_complete();
        if download.done {
            // Nobody can have listened yet.
            download.end_stay(Instant::ZERO);
        }
        download
    }

    /// Which pieces are here.
    pub fn have(&self) -> &PieceSet {
        &self.have
    }

    /// Whether this is one of its sources.
    pub fn knows(&self, source: SourceId) -> bool {
        self.sources.contains_key(&source)
    }

    /// Whether every piece is here.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Whether another source is welcome.
    pub fn wants_sources(&self) -> bool {
        !self.done && self.sources.len() < self.config.max_sources
    }

    /// The pieces that are missing and that no source has, in order.
    pub fn missing_everywhere(&self) -> impl Iterator<Item = u32> {
        let nobody_has_all = self.sources.values().all(|source| !source.pieces.is_full());
        let missing = self.have.missing().take_while(move |_| nobody_has_all);
        missing.filter(|piece| self.copies[*piece as usize] == 0)
    }

    /// Whether some piece is missing that no source has.
    pub fn lacks_a_holder(&self) -> bool {
        self.missing_everywhere().next().is_some()
    }

    /// Whether there are sources, and none of them has any of what is missing.
    pub fn gets_nothing(&self) -> bool {
        !self.done
            && !self.sources.is_empty()
            && self.sources.values().all(|source| !source.pieces.is_full())
            && self.have.missing().all(|piece| self.copies[piece as usize] == 0)
    }

    /// Whether nothing more is to come: no source has any of what is missing, nor is going to have it,
    /// since none of them fetches it.
    pub fn is_stuck(&self) -> bool {
        self.gets_nothing() && self.sources.values().all(|source| source.holds)
    }

    /// Whether a source has no piece.
    pub fn has_none(&self, source: SourceId) -> bool {
        self.sources.get(&source).is_some_and(|source| source.pieces.is_empty())
    }

    /// Whether a piece comes from this source now.
    pub fn comes_from(&self, source: SourceId) -> bool {
        self.sources.get(&source).is_some_and(Source::is_sending)
    }

    /// Whether a piece comes from any source now.
    pub fn comes_from_any(&self) -> bool {
        self.sources.values().any(Source::is_sending)
    }

    /// How many of the sources that have a part have this piece.
    pub fn copies(&self, piece: u32) -> u32 {
        self.copies.get(piece as usize).copied().unwrap_or(0)
    }

    /// How many pieces whoever listens there is known to have.
    pub fn progress_of(&self, addr: SocketAddr) -> Option<u32> {
        let source = self.by_addr.get(&addr).and_then(|id| self.sources.get(id));
        source.map(|source| source.pieces.len())
    }

    /// How each source is doing.
    pub fn sources(&self) -> impl Iterator<Item = SourceState> {
        self.sources.iter().map(|(id, source)| SourceState {
            source: *id,
            addr: source.addr,
            complete: source.pieces.is_full(),
            pieces: source.got,
            bytes: source.bytes,
            rate: source.rate().unwrap_or(0.0) as u64,
            asked: source.owes.len(),
        })
    }

    /// Takes one input. Poll the outputs afterwards.
    pub fn handle(&mut self, now: Instant, input: DownloadInput) {
        self.begins(now);
        self.take(now, input);
        self.end_stay(now);
    }

    fn take(&mut self, now: Instant, input: DownloadInput) {
        match input {
            DownloadInput::Opened { source, addr, pieces, holds } => {
                self.opened(now, source, Source::new(now, addr, pieces, holds));
            }
            DownloadInput::News(source, pieces) => self.heard(now, source, &pieces),
            DownloadInput::Progress(source, bytes) => {
                if let Some(state) = self.sources.get_mut(&source) {
                    let was_slow = state.slow;
                    state.progress(now, bytes);
                    if was_slow {
                        self.asked_again(source);
                    }
                    self.fill(now, source);
                }
            }
            DownloadInput::Begun { source, piece, asked } => self.begun(now, source, piece, asked),
            DownloadInput::Got(source, piece) => self.got(now, source, piece),
            DownloadInput::Bad(source, piece) => {
                self.outputs.push_back(DownloadOutput::Drop(source, DropReason::BadPiece(piece)));
                self.closed(now, source);
            }
            DownloadInput::Refused(source, piece) => self.refused(now, source, piece),
            DownloadInput::Closed(source) => self.closed(now, source),
            DownloadInput::Subscribed { subscriber, addr } => {
                self.subscribers.insert(subscriber, addr);
            }
            DownloadInput::Unsubscribed(subscriber) => {
                self.subscribers.remove(&subscriber);
                self.news.remove(&Listener::Subscriber(subscriber));
            }
            DownloadInput::UplinkIdle(idle) => {
                self.uplink_idle = idle;
                if idle {
                    self.tell_all();
                }
            }
            DownloadInput::Timeout => self.fire_all(now),
        }
    }

    /// The next thing to do, in order.
    pub fn poll_output(&mut self) -> Option<DownloadOutput> {
        self.outputs.pop_front()
    }

    fn opened(&mut self, now: Instant, id: SourceId, source: Source) {
        let pieces = &source.pieces;
        assert_eq!(pieces.count(), self.have.count(), "the driver checks what sources send");
        if !pieces.is_full() {
            for piece in pieces.iter() {
                self.copies[piece as usize] += 1;
            }
        }
        if source.holds_all() && !self.have.is_empty() {
            // It should not send what is here already.
            self.news.insert(Listener::Source(id), self.have.iter().collect());
            self.tell(Listener::Source(id));
        }
        self.by_addr.insert(source.addr, id);
        self.sources.insert(id, source);
        self.fill_with(now, id, &|_| true);
    }

    fn heard(&mut self, now: Instant, id: SourceId, pieces: &[u32]) {
        let Some(source) = self.sources.get_mut(&id) else { return };
        let was_complete = source.pieces.is_full();
        let new: Vec<u32> = pieces.iter().copied().filter(|piece| source.gets(*piece)).collect();
        for piece in &new {
            self.copies[*piece as usize] += 1;
        }
        if source.pieces.is_full() && !was_complete {
            // Now it counts among those who have everything.
            for copies in &mut self.copies {
                *copies -= 1;
            }
        }
        self.fill_with(now, id, &|piece| new.contains(&piece));
    }

    fn begun(&mut self, now: Instant, id: SourceId, piece: u32, asked: u32) {
        let Some(source) = self.sources.get_mut(&id) else { return };
        if let Some(waited) = source.has_waited(now, asked) {
            self.usual_wait = Some(self.usual_wait.map_or(waited, |usual| (usual * 7 + waited) / 8));
        }
        let taken_back = source.answers_taken_back(asked);
        if piece != asked && source.sent.contains(piece) {
            // Who may choose knows what it has sent.
            self.outputs.push_back(DownloadOutput::Drop(id, DropReason::Repeats(piece)));
            return self.closed(now, id);
        }
        let mut settled = None;
        if piece != asked && !taken_back {
            settled = source.settled(asked);
            if settled.is_some() {
                self.not_owed(id, asked);
            }
        }
        let length = self.length(piece);
        let Some(source) = self.sources.get_mut(&id) else { return };
        if let Some(owed) = source.begins(now, piece) {
            settled = Some(owed);
        } else {
            // It chose another piece, or the word that this one is not wanted came too late.
            source.chose(now, piece, length);
            self.owed_by.entry(piece).or_default().push(id);
            self.update_asked(piece);
            self.cancel_elsewhere(now, id, piece);
        }
        if let Some(Owing::TakenBack { by, .. }) = settled {
            self.fill(now, by);
        }
    }

    fn got(&mut self, now: Instant, id: SourceId, piece: u32) {
        if let Some(source) = self.sources.get_mut(&id) {
            source.settled(piece);
            source.got += 1;
            source.sent.insert(piece);
        }
        self.not_owed(id, piece);
        if self.have.insert(piece) {
            self.cancel_elsewhere(now, id, piece);
            self.asked.remove(piece);
            self.spread(now, piece);
            self.finish_if_complete();
        }
        if self.is_end_game() && self.has_few_sources() {
            // Whoever is idle may be of use. In a crowd that is looked at now and then.
            self.looked_at = now;
            self.fill_all(now);
        } else {
            self.fill_with(now, id, &|_| true);
            if self.sources.get(&id).is_some_and(|source| source.owes.is_empty()) {
                // It may be that nobody but those who were slow has any more.
                self.fill_slow(now);
            }
        }
    }

    fn refused(&mut self, now: Instant, id: SourceId, piece: u32) {
        let Some(source) = self.sources.get_mut(&id) else { return };
        if source.answers_taken_back(piece) {
            // It may have nothing else to do.
            return self.fill(now, id);
        }
        let Some(state) = source.settled(piece) else { return };
        if let Owing::TakenBack { by, .. } = state {
            self.not_owed(id, piece);
            self.fill(now, by);
        } else {
            // It is not asked for it again, unless it says, once, that it has it after all.
            let was_complete = source.pieces.is_full();
            if source.refuses(piece) {
                match was_complete {
                    // Now it counts among those who have a part.
                    true => source.pieces.iter().for_each(|piece| self.copies[piece as usize] += 1),
                    false => self.copies[piece as usize] -= 1,
                }
            }
            self.not_owed(id, piece);
        }
        self.fill_all(now);
    }

    fn closed(&mut self, now: Instant, id: SourceId) {
        let Some(source) = self.sources.remove(&id) else { return };
        if self.by_addr.get(&source.addr) == Some(&id) {
            self.by_addr.remove(&source.addr);
        }
        self.news.remove(&Listener::Source(id));
        if !source.pieces.is_full() {
            for piece in source.pieces.iter() {
                self.copies[piece as usize] -= 1;
            }
        }
        for owed in source.owes {
            self.not_owed(id, owed.piece);
        }
        self.fill_all(now);
    }

    fn finish_if_complete(&mut self) {
        if self.have.is_full() && !self.done {
            self.done = true;
            self.tell_all();
            self.outputs.push_back(DownloadOutput::Done);
        }
    }

    /// Whether every missing piece is on its way.
    fn is_end_game(&self) -> bool {
        !self.done && self.have.len() + self.asked.len() == self.have.count()
    }

    fn length(&self, piece: u32) -> u64 {
        self.lengths.get(piece as usize).copied().unwrap_or(0).into()
    }
}
