//! What sources owe: of whom a piece is asked, and who need not send it after all.

use std::time::Duration;

use super::Download;
use super::source::Owing;
use super::types::{DownloadOutput, SourceId};
use crate::time::Instant;

/// What a source may begin to send within this time may have begun by the time that it hears that
/// it need not. So long it has to answer.
pub(super) const SOON: Duration = Duration::from_millis(250);

impl Download {
    /// What this source owes may be asked of others.
    pub(super) fn is_slow(&mut self, now: Instant, id: SourceId) {
        let slow_after = self.slow_after();
        let Some(source) = self.sources.get_mut(&id) else { return };
        source.slow = true;
        // Also where nobody looked for long, it may be us who were away: what it sent waits to be read.
        source.kept_until = now + slow_after;
        let owed: Vec<u32> = source.owes.iter().map(|owed| owed.piece).collect();
        for piece in owed {
            self.update_asked(piece);
        }
        self.fill_all(now);
    }

    /// This source is not slow any more.
    pub(super) fn asked_again(&mut self, id: SourceId) {
        let owed = self.sources.get(&id).into_iter().flat_map(|source| &source.owes);
        for piece in owed.map(|owed| owed.piece).collect::<Vec<_>>() {
            self.update_asked(piece);
        }
    }

    pub(super) fn not_owed(&mut self, id: SourceId, piece: u32) {
        if let Some(owners) = self.owed_by.get_mut(&piece) {
            owners.retain(|owner| *owner != id);
            if owners.is_empty() {
                self.owed_by.remove(&piece);
            }
        }
        self.update_asked(piece);
    }

    pub(super) fn update_asked(&mut self, piece: u32) {
        let owners = self.owed_by.get(&piece).into_iter().flatten();
        let asked = owners.filter_map(|id| self.sources.get(id)).any(|source| !source.slow);
        if asked && !self.have.contains(piece) {
            self.asked.insert(piece);
        } else {
            self.asked.remove(piece);
        }
    }

    /// Nobody but `id` needs to send this piece.
    pub(super) fn cancel_elsewhere(&mut self, now: Instant, id: SourceId, piece: u32) {
        let owners = self.owed_by.get(&piece).cloned().unwrap_or_default();
        for other in owners.into_iter().filter(|other| *other != id) {
            self.cancel(now, other, piece);
        }
    }

    /// A source need not send a piece any more, unless it is being sent already.
    pub(super) fn cancel(&mut self, now: Instant, id: SourceId, piece: u32) {
        let Some(source) = self.sources.get_mut(&id) else { return };
        let Some(owed) = source.owes.iter().find(|owed| owed.piece == piece) else { return };
        let awaited_by = match owed.state {
            Owing::Begun => return,
            Owing::Asked => {
                self.outputs.push_back(DownloadOutput::Cancel(id, piece));
                None
            }
            // It has been told.
            Owing::TakenBack { by, .. } => Some(by),
        };
        source.settled(piece);
        source.taken_back.push(piece);
        self.not_owed(id, piece);
        if let Some(by) = awaited_by {
            self.fill(now, by);
        }
    }

    /// Takes a piece back from a source for another. True if that one may be asked for it now;
    /// otherwise the answer decides. Without it a source that was just beginning would send what
    /// the other sends too.
    pub(super) fn take_back(&mut self, now: Instant, id: SourceId, piece: u32, by: SourceId) -> bool {
        let Some(source) = self.sources.get_mut(&id) else { return true };
        let before = source.bytes_before(piece);
        let far = before > 0 && source.time_for(before).is_none_or(|time| time > SOON);
        if far {
            self.cancel(now, id, piece);
            return true;
        }
        if let Some(owed) = source.owes.iter_mut().find(|owed| owed.piece == piece) {
            owed.state = Owing::TakenBack { by, since: now };
            self.outputs.push_back(DownloadOutput::Cancel(id, piece));
        }
        false
    }
}
