//! What a part notes in its journal, and when that survives the machine.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use askaround_core::pieces::PieceIndex;

use super::Part;
use super::prepare::JOURNAL;
use crate::content::disk::{DiskError, sync};

impl Part {
    /// Notes in the journal that these pieces were written; those that were not are left out.
    /// One small write, no sync.
    ///
    /// # Errors
    /// If the disk says no. The pieces can be recorded again later.
    pub fn record(&self, pieces: &[PieceIndex]) -> Result<(), DiskError> {
        let written: Vec<_> = {
            let have = self.have.read().unwrap_or_else(PoisonError::into_inner);
            pieces.iter().map(|piece| piece.get()).filter(|piece| have.contains(*piece)).collect()
        };
        self.note(&written)
    }

    pub(super) fn note(&self, pieces: &[u32]) -> Result<(), DiskError> {
        match &self.journal {
            Some(journal) if !pieces.is_empty() => {
                let noted = crate::lock(journal).pieces(pieces.iter().copied());
                noted.map_err(|e| self.place.beside(JOURNAL).error(e))
            }
            _ => Ok(()),
        }
    }

    /// Sees to it that what is recorded survives the machine. Takes as long as the disk does: for a
    /// background thread, now and then. Pieces can be written and recorded meanwhile.
    ///
    /// # Errors
    /// If the disk says no.
    pub fn sync(&self) -> Result<(), DiskError> {
        let recorded = self.journal.as_ref().map(|journal| crate::lock(journal).end());
        match sync(&self.file, false) {
            Ok(true) => {}
            // Then it does not survive the machine, and is not noted to.
            Ok(false) => return Ok(()),
            Err(error) => {
                self.sync_failed();
                return Err(self.data_place().error(error));
            }
        }
        if let (Some(journal), Some(recorded)) = (&self.journal, recorded) {
            let in_journal = |e| self.place.beside(JOURNAL).error(e);
            let handle = {
                let mut journal = crate::lock(journal);
                journal.on_disk(recorded).map_err(in_journal)?;
                journal.handle().map_err(in_journal)?
            };
            handle.sync_data().map_err(in_journal)?;
        }
        self.place.folder().sync()
    }

    /// The disk has not taken what was written since it was synced last. The system says so once, and
    /// forgets it: so it is noted, and nothing more is noted as written.
    fn sync_failed(&self) {
        self.failed.store(true, Ordering::Release);
        let Some(journal) = &self.journal else { return };
        if crate::lock(journal).failed().is_err() {
            // Then nothing may be said to be there. A second failure on the same disk tells nothing new.
            let _ = self.place.beside(JOURNAL).remove();
        }
    }
}
