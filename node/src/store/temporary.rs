//! [`Temporary`]: where the catalogue of a peer is that lasts as long as a command: in memory while it is
//! short, else in a file without a name, if there can be one.

use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::Mutex;

use redb::StorageBackend;
use tempfile::SpooledTempFile;

use crate::lock;

/// A longer one is in a file: that of a folder of 50,000 files has 60 MB.
const MOST_IN_MEMORY: u64 = 4 << 20;

/// The bytes of a database that ends with its peer.
#[derive(Debug)]
pub(super) struct Temporary(Mutex<SpooledTempFile>);

impl Temporary {
    /// Empty.
    pub(super) fn new() -> Self {
        // When it becomes a file is said here.
        Self(Mutex::new(tempfile::spooled_tempfile(usize::MAX)))
    }
}

impl StorageBackend for Temporary {
    fn len(&self) -> io::Result<u64> {
        lock(&self.0).seek(SeekFrom::End(0))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut bytes = lock(&self.0);
        bytes.seek(SeekFrom::Start(offset))?;
        bytes.read_exact(out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut bytes = lock(&self.0);
        if len > MOST_IN_MEMORY {
            // Without a folder for such files it stays where it is.
            let _ = bytes.roll();
        }
        bytes.set_len(len)
    }

    /// Nothing of it is to survive anything.
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut bytes = lock(&self.0);
        bytes.seek(SeekFrom::Start(offset))?;
        bytes.write_all(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_long_is_in_a_file_and_is_the_same_there() {
        let temporary = Temporary::new();
        let is_in_file = || lock(&temporary.0).is_rolled();
        let length = MOST_IN_MEMORY;
        temporary.set_len(length).unwrap();
        temporary.write(1, b"first").unwrap();
        assert!(!is_in_file());
        temporary.set_len(length + 5).unwrap();
        temporary.write(length, b"last!").unwrap();
        assert!(is_in_file());
        let read = |from, mut bytes: [u8; 6]| {
            temporary.read(from, &mut bytes).unwrap();
            bytes
        };
        assert_eq!(read(0, [9; 6]), *b"\0first");
        assert_eq!(read(length - 1, [9; 6]), *b"\0last!");
        assert_eq!(temporary.len().unwrap(), length + 5);
        assert!(temporary.read(length, &mut [0; 6]).is_err(), "that is behind its end");
    }

    #[test]
    fn without_a_folder_for_files_it_stays_in_memory() {
        let nowhere = tempfile::spooled_tempfile_in(usize::MAX, "/proc/self/no");
        let temporary = Temporary(Mutex::new(nowhere));
        temporary.set_len(MOST_IN_MEMORY + 5).unwrap();
        temporary.write(MOST_IN_MEMORY, b"last!").unwrap();
        let mut bytes = [9; 5];
        temporary.read(MOST_IN_MEMORY, &mut bytes).unwrap();
        assert_eq!(bytes, *b"last!");
    }
}
