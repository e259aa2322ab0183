//! Pieces that need not be fetched: those that are there although the journal is not sure, those
//! of a file that is repaired, those of another file.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use askaround_core::Key;
use askaround_core::pieces::{PieceIndex, PieceSet};

use super::prepare::{
    JOURNAL, PART, begin_journal, data_place, is_half_written_by, lock, name_what_is_begun, noted,
    remove_old_journal,
};
use super::{Found, Part, PartError, PartOptions, ToRepair, Wanted};
use crate::content::disk::DiskError;
use crate::content::file::{ContentFile, Stamp};
use crate::content::hash::{HashError, check_pieces};
use crate::content::place::{Place, There};

/// So many bytes are read before it is looked whether to go on.
const READ: usize = 1 << 20;

impl Part {
    /// Begins to repair a file: its pieces that are right stay, the others are fetched into their
    /// places. One that is gone has its name again once it is whole. An `executable` file is one
    /// again when it is finished.
    ///
    /// # Errors
    /// If it is not the file that was verified, another fetch writes it, or the disk says no.
    pub fn repair(
        place: Place,
        wanted: Wanted,
        found: ToRepair,
        executable: bool,
    ) -> Result<Self, PartError> {
        if place.there()? == There::Nothing {
            if found.stamp.is_some() {
                return Err(PartError::Changed(place.path()));
            }
            let options = PartOptions { executable, ..PartOptions::default() };
            return Self::resume_or_create(place, wanted, options);
        }
        let ToRepair { good, stamp, left } = found;
        let options = PartOptions { in_place: true, executable, ..PartOptions::default() };
        let file = lock(&place, &place)?;
        if stamp != Some(Stamp::of(&file).map_err(|e| place.error(e))?) {
            return Err(PartError::Changed(place.path()));
        }
        // The next repair reads the file again: a journal would only tell others that the file is
        // what a stopped fetch has left.
        remove_old_journal(&place)?;
        let none = PieceSet::empty(good.count());
        let mut part = Self::assemble(place, wanted, options, false, file, (good, none), None);
        part.left = Some(left);
        part.set_length()?;
        Ok(part)
    }

    /// Goes on with what an earlier fetch has left, or begins anew.
    ///
    /// # Errors
    /// As [`Part::resume`] and [`Part::create`].
    pub fn resume_or_create(place: Place, wanted: Wanted, options: PartOptions) -> Result<Self, PartError> {
        match Self::resume(place.clone(), &wanted.manifest.root().key(), options)? {
            Found::Part(part) => Ok(*part),
            Found::Nothing | Found::Useless(_) => Self::create(place, wanted, options),
        }
    }

    /// Takes its name from a file that was fetched and is damaged, and looked so when it was verified:
    /// what there is then is what a stopped fetch leaves that has the pieces of `good`, and is gone on
    /// with as such. Whether nothing is in the way there any more: another file stays.
    ///
    /// # Errors
    /// If another fetch writes there, or the disk says no; then the file stays as it was.
    pub fn take_back(place: Place, wanted: Wanted, good: PieceSet, stamp: Stamp) -> Result<bool, PartError> {
        let data = place.beside(PART);
        if place.there()? == There::Nothing {
            return Ok(true);
        }
        if data.there()? != There::Nothing {
            return Err(PartError::Busy(place.path()));
        }
        let options = PartOptions::default();
        let file = lock(&place, &place)?;
        if stamp != Stamp::of(&file).map_err(|e| place.error(e))? {
            return Ok(false);
        }
        let journal = begin_journal(&place, &file, &wanted, options)?;
        if journal.is_none() {
            // Of its only piece nothing can be kept.
            place.remove()?;
            return Ok(true);
        }
        let none = PieceSet::empty(good.count());
        let part = Self::assemble(place, wanted, options, false, file, (good.clone(), none), journal);
        let taken = part.note(&good.iter().collect::<Vec<_>>()).and_then(|()| {
            part.place.rename(&data)?;
            part.set_length().inspect_err(|_| {
                // A second failure on the same disk tells nothing new.
                let _ = data.rename(&part.place);
            })
        });
        if taken.is_err() {
            let _ = part.place.beside(JOURNAL).remove();
        }
        Ok(taken.map(|()| true)?)
    }

    /// Makes the file as long as it is to be. Where it is that already nothing is done: it would
    /// look as if it had been written to.
    fn set_length(&self) -> Result<(), DiskError> {
        let (size, data) = (self.wanted.manifest.geometry().size(), self.data_place());
        if Stamp::of(&self.file).map_err(|e| data.error(e))?.length == size {
            return Ok(());
        }
        self.file.set_len(size).map_err(|e| data.error(e))
    }

    /// Removes what a stopped fetch of `key` to `place` has left: beside it, or, of one that wrote
    /// `in_place`, under its name. Another file of that name stays. Whether there was something.
    ///
    /// # Errors
    /// If a fetch is writing it, or the disk says no.
    pub fn give_up(place: &Place, key: &Key, in_place: bool) -> Result<bool, PartError> {
        if in_place {
            name_what_is_begun(place)?;
        }
        let data = data_place(place, PartOptions { in_place, ..PartOptions::default() });
        let is_there = data.there()? != There::Nothing;
        let locked = if is_there { Some(lock(place, &data)?) } else { None };
        let replay = noted(place)?;
        let is_its = match &replay {
            Some(replay) => replay.header.in_place == in_place && replay.header.is_of(key),
            // Content of one piece has no journal.
            None => !in_place,
        };
        if !is_its || !in_place && !is_there {
            return Ok(false);
        }
        let is_left = match &replay {
            Some(replay) if in_place => is_half_written_by(replay, place.there()?),
            _ => is_there,
        };
        if is_left {
            data.remove()?;
        }
        place.beside(JOURNAL).remove()?;
        drop(locked);
        Ok(is_left)
    }

    /// Looks at the pieces of which the journal is not sure, and counts those that are right.
    /// How many there were to look at, and how many are right.
    ///
    /// # Errors
    /// If they cannot be read, or `cancel` becomes true.
    pub fn check_doubtful(&self, cancel: &AtomicBool) -> Result<(u32, u32), HashError> {
        let manifest = &self.wanted.manifest;
        let doubtful: Vec<_> = {
            let doubtful = crate::lock(&self.doubtful);
            doubtful.iter().filter_map(|piece| manifest.geometry().piece(piece)).collect()
        };
        let bad = check_pieces(&self.file, manifest, &doubtful, &|_| (), cancel)?;
        let good: Vec<_> = doubtful.iter().copied().filter(|piece| !bad.contains(piece.get())).collect();
        // What is in memory only goes to the disk again.
        if self.failed.load(Ordering::Acquire) {
            self.write_again(&good)?;
            self.failed.store(false, Ordering::Release);
        }
        {
            let mut have = self.have_mut();
            good.iter().for_each(|piece| _ = have.insert(piece.get()));
        }
        self.record(&good).map_err(|error| HashError::Disk(io::Error::other(error)))?;
        *crate::lock(&self.doubtful) = PieceSet::empty(bad.count());
        Ok((doubtful.len() as u32, good.len() as u32))
    }

    fn write_again(&self, pieces: &[PieceIndex]) -> io::Result<()> {
        let geometry = self.wanted.manifest.geometry();
        let mut buffer = Vec::new();
        for &piece in pieces {
            buffer.resize(geometry.length(piece), 0);
            let from = geometry.range(piece).start;
            self.file.read_exact_at(&mut buffer, from)?;
            self.file.write_all_at(&buffer, from)?;
        }
        Ok(())
    }

    /// Copies the pieces that are missing here from a file that has them, checking each. How many
    /// came; those that are not what they should be are left out. `progress` is told how many bytes of
    /// the file are done.
    ///
    /// # Errors
    /// If a disk says no, or `cancel` becomes true.
    pub fn fill_from(
        &self,
        other: &ContentFile,
        progress: &dyn Fn(u64),
        cancel: &AtomicBool,
    ) -> Result<u32, PartError> {
        let geometry = self.wanted.manifest.geometry();
        let missing: Vec<_> = self.pieces().missing().filter_map(|piece| geometry.piece(piece)).collect();
        let (mut buffer, mut came) = (Vec::new(), 0);
        for piece in missing.into_iter().filter(|piece| other.geometry() == geometry && other.has(*piece)) {
            buffer.resize(geometry.length(piece), 0);
            if !read(other, geometry.range(piece).start, &mut buffer, cancel)? {
                continue;
            }
            match self.write_piece(piece, &buffer) {
                Ok(()) => came += 1,
                Err(PartError::BadPiece(_)) => continue,
                Err(error) => return Err(error),
            }
            self.record(&[piece])?;
            progress(geometry.range(piece).end);
        }
        Ok(came)
    }
}

/// Reads a piece, so that it can be stopped within a large one. False if it cannot be read.
fn read(from: &ContentFile, at: u64, into: &mut [u8], cancel: &AtomicBool) -> Result<bool, PartError> {
    for (at, some) in (at..).step_by(READ).zip(into.chunks_mut(READ)) {
        if cancel.load(Ordering::Relaxed) {
            return Err(PartError::Cancelled);
        }
        if from.read_at(at, some).is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}
