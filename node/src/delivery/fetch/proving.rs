//! [`Proving`]: whose turn it is to prove with more than the first piece hashes what it described.
//! That is megabytes of which nothing has proved right yet, so there is one at a time; but one that
//! sends them slowly must not keep others from it.

use std::collections::BTreeSet;
use std::time::Duration;

use askaround_core::download::SourceId;
use askaround_core::message::MAX_HASHES;
use askaround_core::pieces::{Geometry, HASH_LEN};
use tokio::time::Instant;

use super::super::error::GetError;
use super::Fetch;
use crate::transfer::source::Opened;

/// How long a turn is while others wait; twice as long each time that all have had theirs.
const TURN: Duration = Duration::from_secs(5);

/// Whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Proving {
    turn: Option<(SourceId, Instant)>,
    /// Who had a turn since everybody had.
    had: BTreeSet<SourceId>,
    rounds: u32,
}

impl Proving {
    /// Whether it is the turn of this source.
    pub(super) fn is_of(&self, id: SourceId) -> bool {
        self.turn.is_some_and(|(source, _)| source == id)
    }

    /// Whether this source may be asked for hashes: it is its turn, or nobody's.
    fn takes(&mut self, id: SourceId) -> bool {
        if self.turn.is_none() && !self.had.contains(&id) {
            self.turn = Some((id, Instant::now()));
        }
        self.is_of(id)
    }

    /// It is nobody's turn any more.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }

    /// When the turn is over, if it is somebody's.
    pub(super) fn until(&self) -> Option<Instant> {
        let turn = TURN.saturating_mul(1 << self.rounds.min(16));
        self.turn.map(|(_, since)| since + turn)
    }
}

/// How many hashes have come of a source, if it has more of them to send.
fn lacks(opened: &Opened) -> Option<u32> {
    let count = Geometry::new(opened.description.size).map_or(0, |geometry| geometry.count());
    let come = (opened.hashes.len() / HASH_LEN) as u32;
    (come < count && come.is_multiple_of(MAX_HASHES)).then_some(come)
}

impl Fetch {
    /// The piece from which on this source is to be asked for hashes, if it has more to send and it is
    /// its turn. The error if it has to wait.
    pub(super) fn turn_of(&mut self, id: SourceId) -> Result<Option<u32>, Waits> {
        match self.sources.opened(id).and_then(lacks) {
            Some(_) if !self.proving.takes(id) => Err(Waits),
            first => Ok(first),
        }
    }

    /// Takes more hashes. False if they are of a turn before: they are asked for again, or not needed.
    pub(super) fn more_hashes(&mut self, id: SourceId, first: u32, hashes: Vec<u8>) -> bool {
        let is_turn = self.proving.is_of(id);
        let Some(opened) = self.sources.opened_mut(id).filter(|opened| lacks(opened) == Some(first)) else {
            return false;
        };
        if is_turn {
            opened.hashes.extend(hashes);
        }
        is_turn
    }

    /// Whoever has the turn is gone, if so.
    pub(super) fn has_lost_its_turn(&mut self) -> bool {
        self.proving.turn.take_if(|(id, _)| self.sources.get(*id).is_none()).is_some()
    }

    /// A turn is over: the next is of another who waits for one, if there is any.
    pub(super) async fn pass_on(&mut self) -> Result<(), GetError> {
        let Some((id, since)) = &mut self.proving.turn else { return Ok(()) };
        let doubts = &self.doubts;
        let waits = |other: &SourceId| {
            let opened = self.sources.opened(*other).filter(|opened| lacks(opened).is_some());
            opened.is_some_and(|opened| !doubts.include(&opened.description))
        };
        if !self.sources.ids().iter().any(|other| other != id && waits(other)) {
            *since = Instant::now();
            return Ok(());
        }
        let id = *id;
        if let Some(opened) = self.sources.opened_mut(id) {
            opened.hashes.truncate(MAX_HASHES as usize * HASH_LEN);
        }
        self.proving.turn = None;
        self.proving.had.insert(id);
        self.next_turn().await
    }

    /// It is the turn of somebody who has not had one, or of anybody.
    pub(super) async fn next_turn(&mut self) -> Result<(), GetError> {
        self.ask_all().await?;
        if self.identity.is_none() && self.proving.turn.is_none() && !self.proving.had.is_empty() {
            self.proving.had.clear();
            self.proving.rounds += 1;
            self.ask_all().await?;
        }
        Ok(())
    }
}

/// It is another's turn.
pub(super) struct Waits;
