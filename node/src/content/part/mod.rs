//! [`Part`]: a file while it is fetched.
//!
//! The bytes go into `.NAME.askaround-part` beside the destination `NAME`, which gets its name only
//! when all pieces are there, or with [`PartOptions::in_place`] as soon as its journal says what it is.
//! Which pieces are there stands in `.NAME.askaround-journal`; content of one piece that is not written
//! in place needs none.
//!
//! The data file is locked while a part is open: two fetches of one destination never mix.

mod journal;
mod local;
mod noted;
mod prepare;
mod types;
mod zeros;

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockWriteGuard};

use askaround_core::Key;
use askaround_core::pieces::{PieceIndex, PieceSet};
use tokio::sync::oneshot;

use self::journal::{Journal, Replay, Setting};
pub(crate) use self::prepare::remove_old_journal;
use self::prepare::{
    JOURNAL, begin_journal, claim, data_place, is_half_written, is_hole, lock, name_what_is_begun,
    set_room_aside, unlock,
};
pub(super) use self::prepare::{is_of_a_fetch, is_unfinished};
pub use self::types::{Found, PartError, PartOptions, ToRepair, Wanted};
pub use self::zeros::is_mostly_zeros;
use super::boot::BootId;
use super::disk::{DiskError, set_if_there_are_any};
use super::file::{ContentFile, LiveSet, NamedAs, Stamp};
use super::place::{Place, There};

/// What one call writes. For a call of 1 MiB the kernel looks for that much memory in one piece,
/// and where the machine has to get that from its host first, a file takes up to ten times as long.
const WRITE: usize = 256 << 10;

/// A file while it is fetched. Pieces may be written from several threads at once.
#[derive(Debug)]
pub struct Part {
    place: Place,
    wanted: Wanted,
    options: PartOptions,
    /// Zeros need not be written, because there is nothing but zeros where nothing was written.
    holes: bool,
    file: Arc<File>,
    have: LiveSet,
    doubtful: Mutex<PieceSet>,
    journal: Option<Mutex<Journal>>,
    /// Whether the disk has failed to take what was written: what is read of it may be in memory only.
    failed: AtomicBool,
    /// Once it is finished.
    named: NamedAs,
    /// Held by whoever writes or finishes it. A file system lets one write to a file at a time
    /// anyway, and those who wait for it there take a processor each (ext4).
    writes: Mutex<()>,
    /// Who is told how the file of a repair looks when it is let go of before it is whole.
    left: Option<oneshot::Sender<Stamp>>,
}

impl Part {
    /// Begins a fetch to `place`, with no piece. What an earlier fetch has left there is given up.
    /// Room on the disk is set aside.
    ///
    /// # Errors
    /// If something is at `place` already, another fetch writes there, or the disk says no; with a
    /// full disk nothing is left behind.
    pub fn create(place: Place, wanted: Wanted, options: PartOptions) -> Result<Self, PartError> {
        let (data, file) = claim(&place, options)?;
        let none = PieceSet::empty(wanted.manifest.geometry().count());
        let made = (|| {
            // What it says must not outlive the bytes that it says it of, here or on the disk.
            let noted = place.beside(JOURNAL);
            if noted.there()? != There::Nothing {
                noted.remove()?;
                place.folder().sync()?;
            }
            // Only where there is something: ext4 writes a file that was truncated to the disk as
            // soon as it is closed.
            if Stamp::of(&file).map_err(|e| data.error(e))?.length > 0 {
                file.set_len(0).map_err(|e| data.error(e))?;
            }
            // Content of one piece is written at once: then it shows whether there is room.
            let geometry = wanted.manifest.geometry();
            let has_room = options.in_place || geometry.count() > 1;
            if has_room {
                set_room_aside(&data, &file, geometry.size(), options)?;
            }
            let journal = begin_journal(&place, &file, &wanted, options)?;
            if options.in_place {
                data.rename(&place)?;
            }
            // What is not written is a hole only where the file has its length.
            let holes = options.sparse && has_room;
            Ok(Self::assemble(place.clone(), wanted, options, holes, file, (none.clone(), none), journal))
        })();
        if made.is_err() {
            // A second failure on the same disk tells nothing new.
            let _ = data.remove();
            let _ = place.beside(JOURNAL).remove();
        }
        made
    }

    /// Goes on with an earlier fetch of `key` to `place`. Pieces of which the journal is not sure
    /// are not there until [`Part::check_doubtful`] has looked at them.
    ///
    /// # Errors
    /// If another fetch writes there, or the disk says no. A journal that is damaged, or of another
    /// content, is no error.
    pub fn resume(place: Place, key: &Key, options: PartOptions) -> Result<Found, PartError> {
        Self::resume_in(place, key, options, |file| Some(BootId::of(file)))
    }

    fn resume_in(
        place: Place,
        key: &Key,
        options: PartOptions,
        boot: impl FnOnce(&File) -> Option<BootId>,
    ) -> Result<Found, PartError> {
        if options.in_place {
            name_what_is_begun(&place)?;
        }
        let (data, noted) = (data_place(&place, options), place.beside(JOURNAL));
        let has_journal = !matches!(noted.there()?, There::Nothing);
        if matches!(data.there()?, There::Nothing) {
            return Ok(if has_journal { Found::Useless("its data is gone") } else { Found::Nothing });
        }
        if options.in_place && !is_half_written(&place)? {
            // This is a file like any other.
            return Ok(Found::Nothing);
        }
        if !has_journal {
            // It is content of one piece.
            return Ok(Found::Useless("it had no piece yet"));
        }
        let file = lock(&place, &data)?;
        let stamp = Stamp::of(&file).map_err(|e| data.error(e))?;
        let setting = Setting { boot: boot(&file), inode: stamp.inode };
        let journal_file = noted.open_to_write()?;
        let Some(mut replay) = Replay::read(&journal_file, setting).map_err(|e| noted.error(e))? else {
            return Ok(Found::Useless("its journal is damaged"));
        };
        if options.in_place && !replay.is_about(stamp.inode) {
            return Ok(Found::Nothing);
        }
        let header = &replay.header;
        if !header.is_of(key) {
            return Ok(Found::Useless("it was of other content"));
        }
        if header.in_place != options.in_place {
            return Ok(Found::Useless("it was written in place, or was not"));
        }
        if stamp.length != header.manifest.geometry().size() {
            return Ok(Found::Useless("its data has another length"));
        }
        let wanted = Wanted { manifest: Arc::new(header.manifest.clone()), md5: header.md5 };
        let noted_at = Stamp::of(&journal_file).map_err(|e| noted.error(e))?;
        if options.in_place && stamp.mtime_ns > noted_at.mtime_ns {
            // Written to after the last record, perhaps by another program: the file has a name
            // that everybody sees.
            replay.doubt_all();
        }
        let journal = Journal::go_on(journal_file, &replay, setting).map_err(|e| noted.error(e))?;
        // Another program may have been here meanwhile: each hole is looked at.
        // Nothing of a failure matters but what is in doubt.
        let failed = replay.failed && !replay.doubtful.is_empty();
        let sets = (replay.sure, replay.doubtful);
        let part = Self::assemble(place, wanted, options, false, file, sets, Some(journal));
        part.failed.store(failed, Ordering::Release);
        Ok(Found::Part(Box::new(part)))
    }

    fn assemble(
        place: Place,
        wanted: Wanted,
        options: PartOptions,
        holes: bool,
        file: File,
        (have, doubtful): (PieceSet, PieceSet),
        journal: Option<Journal>,
    ) -> Self {
        Self {
            place,
            wanted,
            options,
            holes,
            file: Arc::new(file),
            have: Arc::new(RwLock::new(have)),
            doubtful: Mutex::new(doubtful),
            journal: journal.map(Mutex::new),
            failed: AtomicBool::new(false),
            named: Arc::new(OnceLock::new()),
            writes: Mutex::new(()),
            left: None,
        }
    }

    /// How many pieces the journal is not sure of.
    pub fn doubtful(&self) -> u32 {
        crate::lock(&self.doubtful).len()
    }

    /// What is fetched.
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// Where it will be.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Its file, which has its name once it is finished.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// How it is fetched.
    pub fn options(&self) -> PartOptions {
        self.options
    }

    /// The pieces that are there.
    pub fn pieces(&self) -> PieceSet {
        self.have.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a piece is there.
    pub fn has(&self, piece: u32) -> bool {
        self.have.read().unwrap_or_else(PoisonError::into_inner).contains(piece)
    }

    /// Checks a piece and writes it. From then on it is there, and can be served; it is found again
    /// after a crash once it is recorded ([`Part::record`]).
    ///
    /// # Errors
    /// If the bytes are not that piece (then nothing is written), or the disk says no.
    pub fn write_piece(&self, piece: PieceIndex, bytes: &[u8]) -> Result<(), PartError> {
        let manifest = &self.wanted.manifest;
        if !manifest.verify(piece, bytes) {
            return Err(PartError::BadPiece(piece));
        }
        let is_zero = is_zero(bytes);
        let _writes = crate::lock(&self.writes);
        if self.has(piece.get()) {
            // It came from two, and the file may have its name.
            return Ok(());
        }
        let range = manifest.geometry().range(piece);
        let is_there = is_zero && (self.holes || is_hole(&self.file, &range));
        if !is_there {
            for (at, bytes) in (range.start..).step_by(WRITE).zip(bytes.chunks(WRITE)) {
                self.file.write_all_at(bytes, at).map_err(|e| self.data_place().error(e))?;
            }
        }
        self.have_mut().insert(piece.get());
        Ok(())
    }

    /// Reads bytes that are there.
    ///
    /// # Errors
    /// If the disk says no.
    pub fn read_at(&self, from: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, from)
    }

    /// What a server needs to send the pieces that are there, and those that will be. A change to the
    /// file is noticed once it is finished.
    pub fn content(&self) -> Arc<ContentFile> {
        let manifest = Arc::clone(&self.wanted.manifest);
        let (have, named) = (Arc::clone(&self.have), Arc::clone(&self.named));
        let file = ContentFile::live(Arc::clone(&self.file), manifest, have, named);
        Arc::new(file.at(self.place.path()))
    }

    /// How the file looked when it was finished, if it is.
    pub(super) fn named_as(&self) -> Option<Stamp> {
        self.named.get().copied()
    }

    /// Gives the whole file its name. It is not synced: what is on disk after a power loss has to
    /// be verified again.
    ///
    /// # Errors
    /// If pieces are missing, something has taken the name meanwhile, another program has cut the
    /// file, or the disk says no. The part stays as it is.
    pub fn finish(&self) -> Result<(), PartError> {
        let missing = {
            let have = self.have.read().unwrap_or_else(PoisonError::into_inner);
            have.count() - have.len()
        };
        if missing > 0 {
            return Err(PartError::Incomplete { missing });
        }
        if self.failed.load(Ordering::Acquire) {
            return Err(PartError::NotOnDisk(self.place.path()));
        }
        // From then on nobody writes: every piece is there.
        let _none_writes = crate::lock(&self.writes);
        let data = self.data_place();
        let stamp = Stamp::of(&self.file).map_err(|e| data.error(e))?;
        if stamp.length != self.wanted.manifest.geometry().size() {
            return Err(data
                .error(io::Error::other("another program has changed what had come of it"))
                .into());
        }
        if self.options.executable {
            make_executable(&self.file).map_err(|e| data.error(e))?;
        }
        if !self.options.in_place {
            data.rename(&self.place)?;
        }
        if self.journal.is_some() {
            self.place.beside(JOURNAL).remove()?;
        }
        // As it looked before anybody could find it: its user may have written to it since.
        self.named.get_or_init(|| stamp);
        // The lock would last as long as the file is served.
        unlock(&self.file).map_err(|e| self.place.error(e))?;
        Ok(())
    }

    /// Gives the fetch up: removes what came so far. Whoever still writes a piece, or is served one, has
    /// to do with a file without a name: there may be another part at once.
    ///
    /// # Errors
    /// If the disk says no.
    pub fn discard(&self) -> Result<(), DiskError> {
        self.data_place().remove()?;
        self.place.beside(JOURNAL).remove()
    }

    fn data_place(&self) -> Place {
        data_place(&self.place, self.options)
    }

    fn have_mut(&self) -> RwLockWriteGuard<'_, PieceSet> {
        self.have.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Part {
    /// A fetch that is given up, or goes on later: from now on another may write the file, so
    /// nobody is served from it any more, and it is not locked any more.
    fn drop(&mut self) {
        if self.named.get().is_none() {
            let left = self.left.take();
            let mut have = self.have_mut();
            *have = PieceSet::empty(have.count());
            if let (Some(left), Ok(stamp)) = (left, Stamp::of(&self.file)) {
                // Whoever asked may be gone.
                let _ = left.send(stamp);
            }
            if self.journal.is_none() && !self.options.in_place {
                // Without a journal nobody goes on with it. Another may be there by now.
                let data = self.data_place();
                if data.leads_to(&self.file).unwrap_or(false) {
                    let _ = data.remove();
                }
            }
            // It is unlocked at the latest when it is closed.
            let _ = self.file.unlock();
        }
    }
}

/// Where its file system has executable bits.
pub(super) fn make_executable(file: &File) -> io::Result<()> {
    let mut mode = file.metadata()?.permissions();
    mode.set_mode(mode.mode() | (mode.mode() & 0o444) >> 2);
    set_if_there_are_any(file.set_permissions(mode))
}

/// Looks at a block at a time, so that a piece that is not zero is found out soon.
fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(4096).all(|block| block.iter().fold(0, |all, byte| all | byte) == 0)
}

#[cfg(test)]
mod tests;
