//! What sources owe: of whom a piece is asked, and who need not send it after all.

use super::Download;
use super::types::{DownloadOutput, SourceId};
use crate::time::Instant;

impl Download {
    /// What this source owes may be asked of others.
    pub(super) fn is_slow(&mut self, now: Instant, id: SourceId) {
        let Some(source) = self.sources.get_mut(&id) else { return };
        source.slow = true;
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
    pub(super) fn cancel_elsewhere(&mut self, id: SourceId, piece: u32) {
        let owners = self.owed_by.get(&piece).cloned().unwrap_or_default();
        for other in owners.into_iter().filter(|other| *other != id) {
            self.cancel(other, piece);
        }
    }

    /// Takes a piece back from a source, unless it is being sent already.
    pub(super) fn cancel(&mut self, id: SourceId, piece: u32) -> bool {
        let Some(source) = self.sources.get_mut(&id) else { return false };
        if !source.owes.iter().any(|owed| owed.piece == piece && !owed.begun) {
            return false;
        }
        source.settled(piece);
        source.taken_back.push(piece);
        self.not_owed(id, piece);
        self.outputs.push_back(DownloadOutput::Cancel(id, piece));
        true
    }
}
