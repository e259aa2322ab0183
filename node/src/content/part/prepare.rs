//! Making a part's files ready: what may be in the way, the lock, the room, the journal.

use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::io;
use std::ops::Range;
use std::path::Path;

use super::journal::{Header, Journal, NOWHERE, Replay, Setting};
use super::{PartError, PartOptions, Wanted};
use crate::content::boot::BootId;
use crate::content::disk::{DiskError, Fault};
use crate::content::file::Stamp;
use crate::content::place::{Place, There};

pub(super) const PART: &str = ".askaround-part";
pub(super) const JOURNAL: &str = ".askaround-journal";

/// Whether a file name is one that a fetch under way uses.
pub(in crate::content) fn is_unfinished(name: &str) -> bool {
    name.starts_with('.') && (name.ends_with(PART) || name.ends_with(JOURNAL))
}

/// Whether a file is what a fetch writes to, or has left: a part, a journal, or one in place that is
/// not whole yet. What is named so, or noted in a journal, may be anything.
pub(in crate::content) fn is_of_a_fetch(path: &Path) -> Result<bool, DiskError> {
    let is_named_so = path.file_name().and_then(OsStr::to_str).is_some_and(is_unfinished);
    Ok(is_named_so || is_half_written(&Place::new(path)?)?)
}

/// Of a file that is whole: removes the journal of a fetch that was killed after it gave the file
/// its name. Beside a part it is another fetch's, and stays.
pub(crate) fn remove_old_journal(place: &Place) -> Result<(), DiskError> {
    match place.beside(PART).there()? {
        There::Nothing => place.beside(JOURNAL).remove(),
        _ => Ok(()),
    }
}

/// The file that the bytes go into.
pub(super) fn data_place(place: &Place, options: PartOptions) -> Place {
    if options.in_place { place.clone() } else { place.beside(PART) }
}

/// A destination that is taken is told before anybody is asked for a byte. Whether there is what an
/// earlier fetch in place has left.
fn refuse_if_taken(place: &Place, options: PartOptions) -> Result<bool, DiskError> {
    let fault = match place.there()? {
        There::Nothing => return Ok(false),
        There::File { .. } if options.in_place && is_half_written(place)? => return Ok(true),
        There::Folder => Fault::IsFolder,
        There::Link if options.in_place => Fault::Link,
        _ => Fault::Exists,
    };
    Err(DiskError::new(&place.path(), fault))
}

/// Whether the file is what an earlier fetch in place has left, and not another that has its name.
pub(super) fn is_half_written(place: &Place) -> Result<bool, DiskError> {
    let there = place.there()?;
    if !matches!(there, There::File { .. }) {
        return Ok(false);
    }
    Ok(noted(place)?.is_some_and(|replay| is_half_written_by(&replay, there)))
}

/// The same, where the journal is at hand.
pub(super) fn is_half_written_by(replay: &Replay, there: There) -> bool {
    let There::File { length, inode } = there else { return false };
    // It got its length before its journal; after a power loss it may be empty.
    let has_length = [0, replay.header.manifest.geometry().size()].contains(&length);
    replay.header.in_place && replay.is_about(inode) && has_length
}

/// What the journal of a fetch to `place` says, if there is one that can be read.
pub(super) fn noted(place: &Place) -> Result<Option<Replay>, DiskError> {
    let noted = place.beside(JOURNAL);
    if noted.there()? == There::Nothing {
        return Ok(None);
    }
    Replay::read(&noted.open_to_read()?, NOWHERE).map_err(|e| noted.error(e))
}

/// Opens the data file and locks it.
pub(super) fn lock(place: &Place, data: &Place) -> Result<File, PartError> {
    loop {
        let file = data.open_to_write()?;
        if lock_open(place, data, &file)? {
            return Ok(file);
        }
    }
}

/// The file that a new fetch writes to, locked, under the name of a part also if it is in place: it
/// gets its own name once the journal says what it is.
pub(super) fn claim(place: &Place, options: PartOptions) -> Result<(Place, File), PartError> {
    if refuse_if_taken(place, options)? {
        let _left = lock(place, place)?;
        // Another may have got the name meanwhile.
        if refuse_if_taken(place, options)? {
            // Before its journal, without which it would be a file like any other.
            place.remove()?;
        }
    }
    let data = place.beside(PART);
    loop {
        let (file, is_new) = data.open_or_make()?;
        let locked = lock_open(place, &data, &file);
        if locked.is_err() && is_new {
            // A second failure on the same disk tells nothing new.
            let _ = data.remove();
        }
        if !locked? {
            continue;
        }
        // Another may have given the name to its own before this was locked.
        let refused = match refuse_if_taken(place, options) {
            Ok(false) => return Ok((data, file)),
            Ok(true) => PartError::Busy(place.path()),
            Err(error) => error.into(),
        };
        let _ = data.remove();
        return Err(refused);
    }
}

/// Locks an open file. False if it is not the part any more: whoever had the lock may have renamed it
/// between our opening and locking it.
fn lock_open(place: &Place, data: &Place, file: &File) -> Result<bool, PartError> {
    if !is_locked(file.try_lock()).map_err(|e| data.error(e))? {
        return Err(PartError::Busy(place.path()));
    }
    Ok(data.leads_to(file)?)
}

/// Whether nobody else has the lock. Where files cannot be locked, as on Lustre by default, it is taken
/// for granted: two fetches of one destination at the same time are not kept apart there. What they
/// spoil of each other is what `verify` finds.
fn is_locked(tried: Result<(), TryLockError>) -> io::Result<bool> {
    match tried {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Gives up the lock, if files can be locked.
pub(super) fn unlock(file: &File) -> io::Result<()> {
    match file.unlock() {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        unlocked => unlocked,
    }
}

/// Gives its name to what a fetch in place has begun that was killed just before it did that, or whose
/// machine was.
pub(super) fn name_what_is_begun(place: &Place) -> Result<(), PartError> {
    let data = place.beside(PART);
    let is_begun = || -> Result<bool, DiskError> {
        let (named, there) = (place.there()?, data.there()?);
        if named != There::Nothing || !matches!(there, There::File { .. }) {
            return Ok(false);
        }
        Ok(noted(place)?.is_some_and(|replay| is_half_written_by(&replay, there)))
    };
    if is_begun()? {
        let _locked = lock(place, &data)?;
        if is_begun()? {
            data.rename(place)?;
        }
    }
    Ok(())
}

/// Makes the file as long as it will be, and has the file system set the room aside.
pub(super) fn set_room_aside(
    data: &Place,
    file: &File,
    size: u64,
    options: PartOptions,
) -> Result<(), DiskError> {
    use rustix::fs::FallocateFlags;
    use rustix::io::Errno;
    if size == 0 {
        return Ok(());
    }
    if !options.sparse {
        // Asked first: a file system may fill itself up before it says that there is no room.
        if free(file).is_some_and(|free| free < size) {
            return Err(full(data, file, size));
        }
        let reserve = || rustix::fs::fallocate(file, FallocateFlags::empty(), 0, size);
        match rustix::io::retry_on_intr(reserve) {
            Ok(()) => return Ok(()),
            Err(Errno::NOSPC) => return Err(full(data, file, size)),
            // This file system cannot.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
            Err(error) => return Err(data.error(error)),
        }
    }
    file.set_len(size).map_err(|e| data.error(e))
}

/// Whether there is nothing here, in memory and on the disk, so that zeros are read. False where the
/// file system does not tell.
#[cfg(target_os = "linux")]
pub(super) fn is_hole(file: &File, range: &Range<u64>) -> bool {
    let has_end = file.metadata().is_ok_and(|data| data.len() >= range.end);
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(range.start)) {
        Ok(data) => has_end && data >= range.end,
        Err(error) => has_end && error == rustix::io::Errno::NXIO,
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_hole(_: &File, _: &Range<u64>) -> bool {
    false
}

fn full(data: &Place, file: &File, size: u64) -> DiskError {
    DiskError::new(&data.path(), Fault::Full { needed: Some(size), free: free(file) })
}

/// The bytes that the user may still write to the file system that `file` is on.
fn free(file: &File) -> Option<u64> {
    let stat = rustix::fs::fstatvfs(file).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Begins the journal, if there is something to go on with: more than one piece, or a file that is
/// seen under its name before it is whole.
pub(super) fn begin_journal(
    place: &Place,
    file: &File,
    wanted: &Wanted,
    options: PartOptions,
) -> Result<Option<Journal>, DiskError> {
    #[cfg(test)]
    super::tests::may_be_killed();
    let noted = place.beside(JOURNAL);
    let count = wanted.manifest.geometry().count();
    if count == 0 || count == 1 && !options.in_place {
        noted.remove()?;
        return Ok(None);
    }
    let (journal, _) = noted.open_or_make()?;
    journal.set_len(0).map_err(|e| noted.error(e))?;
    let header = Header {
        manifest: (*wanted.manifest).clone(),
        md5: wanted.md5,
        in_place: options.in_place,
        setting: setting(place, file)?,
    };
    Ok(Some(Journal::begin(journal, &header).map_err(|e| noted.error(e))?))
}

pub(super) fn setting(place: &Place, file: &File) -> Result<Setting, DiskError> {
    let inode = Stamp::of(file).map_err(|e| place.error(e))?.inode;
    Ok(Setting { boot: Some(BootId::of(file)), inode })
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn where_no_file_can_be_locked_none_need_be() {
        let failed = |error: Errno| is_locked(Err(TryLockError::Error(error.into())));
        assert!(failed(Errno::NOSYS).unwrap() && failed(Errno::OPNOTSUPP).unwrap());
        assert_eq!(failed(Errno::NOLCK).unwrap_err().raw_os_error(), Some(Errno::NOLCK.raw_os_error()));
        assert!(!is_locked(Err(TryLockError::WouldBlock)).unwrap() && is_locked(Ok(())).unwrap());
    }
}
