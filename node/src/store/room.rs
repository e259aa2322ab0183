//! [`Room`]: sees to it that a database can be written to on a full disk, within the length that it has.

use std::fs::File;
use std::path::Path;
use std::sync::Mutex;

use crate::lock;

/// The file of a database. Where it is lengthened, the new end is a hole: a change that is written there
/// needs room on the disk, and so what makes room, as a purge, would fail for want of room.
#[derive(Debug)]
pub(super) struct Room {
    file: File,
    /// So much of it is no hole.
    aside: Mutex<u64>,
}

impl Room {
    /// That of the file at `path`, which stays as long as this; `None` if it cannot be seen to.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let file = File::options().write(true).open(path).ok()?;
        let room = Self { file, aside: Mutex::new(0) };
        room.set_aside();
        Some(room)
    }

    /// Has the disk set room aside for all of the file, if that is longer now and there is room.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn set_aside(&self) {
        use rustix::fs::{FallocateFlags, fallocate};
        let Ok(length) = self.file.metadata().map(|data| data.len()) else { return };
        let mut aside = lock(&self.aside);
        // KEEP_SIZE: it may be becoming shorter.
        if length <= *aside || fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, length).is_ok() {
            *aside = length;
        }
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(super) fn set_aside(&self) {
        let _ = (&self.file, lock(&self.aside));
    }
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use redb::{Durability, TableDefinition};

    use crate::store::Database;

    #[test]
    fn what_a_database_may_write_to_next_is_no_hole() {
        const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("table");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.redb");
        let room = || {
            let data = std::fs::metadata(&path).unwrap();
            (data.len(), data.blocks() * 512)
        };
        let database = Database::open(&path).unwrap();
        let (first, _) = room();
        for number in 0..40 {
            let write = |write: &redb::WriteTransaction| {
                write.open_table(TABLE)?.insert(number, [7; 50_000].as_slice())?;
                Ok(())
            };
            database.write(Durability::Immediate, write).unwrap();
            let (length, set_aside) = room();
            assert!(set_aside >= length, "{set_aside} of {length} bytes");
        }
        assert!(room().0 > first, "it has become longer");
    }
}
