//! Where the catalogue of a peer is that lasts as long as a command: in memory while it is short, else in
//! a file without a name.

use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::Mutex;

use redb::StorageBackend;
use tempfile::SpooledTempFile;

use crate::lock;

/// A longer one is in a file: that of a folder of 50,000 files has 60 MB.
const MOST_IN_MEMORY: usize = 4 << 20;

/// The bytes of a database that ends with its peer.
#[derive(Debug)]
pub(super) struct Temporary(Mutex<SpooledTempFile>);

impl Temporary {
    pub(super) fn new() -> Self {
        Self(Mutex::new(tempfile::spooled_tempfile(MOST_IN_MEMORY)))
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
        lock(&self.0).set_len(len)
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
        let length = MOST_IN_MEMORY as u64;
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
}
