//! A database on a disk that is full for a while.

use std::sync::atomic::{AtomicBool, Ordering};

use redb::{ReadableTable as _, StorageBackend, TableDefinition};

use super::*;

const TABLE: TableDefinition<'_, u64, u64> = TableDefinition::new("table");

/// A disk in memory that can be full.
#[derive(Debug, Clone, Default)]
struct Disk {
    bytes: Arc<Mutex<Vec<u8>>>,
    full: Arc<AtomicBool>,
}

impl Disk {
    fn if_room(&self) -> io::Result<()> {
        match self.full.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }

    fn open(&self) -> Opened {
        builder().create_with_backend(self.clone())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.bytes).len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let from = offset as usize;
        out.copy_from_slice(&lock(&self.bytes)[from..from + out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.if_room()?;
        lock(&self.bytes).resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.if_room()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.if_room()?;
        let from = offset as usize;
        lock(&self.bytes)[from..from + data.len()].copy_from_slice(data);
        Ok(())
    }
}

/// A disk with room, and a database on it.
fn on_a_disk() -> (Disk, Database) {
    let disk = Disk::default();
    let again = disk.clone();
    let database = Database::new("state".into(), disk.open(), move || again.open()).unwrap();
    database.make_tables(|write| write.open_table(TABLE).map(drop).map_err(Into::into)).unwrap();
    (disk, database)
}

#[test]
fn what_a_full_disk_did_not_take_it_takes_once_there_is_room() {
    let (disk, database) = on_a_disk();
    let insert = |number| {
        database.write(Durability::Immediate, |write| {
            write.open_table(TABLE)?.insert(number, number)?;
            Ok(())
        })
    };
    let all = || {
        database.read(|read| {
            let rows = read.open_table(TABLE)?;
            let rows = rows.iter()?.map(|row| Ok(row?.0.value()));
            rows.collect::<Result<Vec<_>, redb::Error>>()
        })
    };
    // Before there is anything on the disk, and after.
    for number in [1, 2] {
        disk.full.store(true, Ordering::Relaxed);
        for _ in 0..2 {
            let error = insert(number).unwrap_err().to_string();
            assert!(error.contains("make room and try again"), "{error}");
        }
        disk.full.store(false, Ordering::Relaxed);
        insert(number).unwrap();
    }
    assert_eq!(all().unwrap(), [1, 2]);
}

#[test]
fn whoever_still_uses_it_is_not_left_without_it() {
    let (disk, database) = on_a_disk();
    let fails = |number| {
        let change = |write: &WriteTransaction| {
            write.open_table(TABLE)?.insert(number, number)?;
            Ok(())
        };
        database.write(Durability::Immediate, change).unwrap_err();
    };
    database
        .read(|read| {
            disk.full.store(true, Ordering::Relaxed);
            fails(1);
            disk.full.store(false, Ordering::Relaxed);
            // The file is locked by the one that is being read.
            fails(2);
            assert_eq!(read.open_table(TABLE)?.iter()?.count(), 0);
            Ok(())
        })
        .unwrap();
    let count = database.read(|read| Ok(read.open_table(TABLE)?.iter()?.count()));
    assert_eq!(count.unwrap(), 0);
}
