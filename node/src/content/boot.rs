//! [`BootId`]: tells whether the machine has been restarted since something was written, or the
//! disk that it is on mounted anew.

use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::path::Path;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// Which run of the machine this is, and which mount of a disk in it. What one process wrote,
/// another process of the same run reads back, synced or not. A disk that was pulled may have lost it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootId([u8; 16]);

impl BootId {
    /// Of an open file.
    pub fn of(file: &File) -> Self {
        Self::machine().with(mount_of(file))
    }

    /// The same, of what is at a path.
    pub fn at(path: &Path) -> Self {
        Self::machine().with(mount_at(path))
    }

    fn machine() -> Self {
        // No process outlives its run, and it is asked for with every file.
        static CURRENT: OnceLock<BootId> = OnceLock::new();
        *CURRENT.get_or_init(|| {
            let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
            text.ok().and_then(|text| Self::parse(text.trim())).unwrap_or_else(Self::of_this_process)
        })
    }

    /// Where the system does not tell, as in some containers and where there is no Linux, each process
    /// counts as a run: more than is needed is not known to be on the disk.
    fn of_this_process() -> Self {
        // Each has random keys of its own.
        let random = || u128::from(RandomState::new().build_hasher().finish());
        Self((random() << 64 | random() | 1).to_be_bytes())
    }

    /// An id is random, and a number of a mount short.
    fn with(self, mount: Option<u64>) -> Self {
        Self((u128::from_be_bytes(self.0) ^ u128::from(mount.unwrap_or(0))).to_be_bytes())
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = text.replace('-', "");
        let value = u128::from_str_radix(&digits, 16).ok()?;
        (digits.len() == 32 && value != 0).then(|| Self(value.to_be_bytes()))
    }

    #[cfg(test)]
    pub(super) const fn from_number(number: u128) -> Self {
        Self(number.to_be_bytes())
    }

    /// As 16 bytes.
    pub(super) fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// From 16 bytes; `None` for zeros, which stand for a run that was not known.
    pub(super) fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }
}

/// The number of the mount that a file is on: Linux 6.8 and later give none twice in one run. `None`
/// where the system does not tell.
#[cfg(target_os = "linux")]
fn mount_of(file: &File) -> Option<u64> {
    mount(file, Path::new(""), rustix::fs::AtFlags::EMPTY_PATH)
}

#[cfg(target_os = "linux")]
fn mount_at(path: &Path) -> Option<u64> {
    mount(rustix::fs::CWD, path, rustix::fs::AtFlags::empty())
}

#[cfg(target_os = "linux")]
fn mount(folder: impl std::os::fd::AsFd, path: &Path, how: rustix::fs::AtFlags) -> Option<u64> {
    use rustix::fs::StatxFlags;
    /// `STATX_MNT_ID_UNIQUE`. Kernels that do not know it give the other number.
    const UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);
    // A server elsewhere knows nothing of it.
    let how = how | rustix::fs::AtFlags::STATX_DONT_SYNC;
    let stat = rustix::fs::statx(folder, path, how, StatxFlags::MNT_ID | UNIQUE).ok()?;
    let given = StatxFlags::from_bits_retain(stat.stx_mask);
    given.intersects(StatxFlags::MNT_ID | UNIQUE).then_some(stat.stx_mnt_id)
}

#[cfg(not(target_os = "linux"))]
fn mount_of(_: &File) -> Option<u64> {
    None
}

#[cfg(not(target_os = "linux"))]
fn mount_at(_: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join("a")).unwrap();
        assert_eq!(BootId::of(&file), BootId::at(dir.path()));
        let text = "0c8b8a9e-62c0-4b8a-9d3c-0123456789ab";
        let id = BootId::parse(text).unwrap();
        assert_eq!(BootId::from_bytes(id.to_bytes()), Some(id));
        assert_eq!(BootId::parse("0c8b8a9e"), None);
        assert_eq!(BootId::from_bytes([0; 16]), None);
    }

    #[test]
    fn where_the_kernel_does_not_tell_no_process_is_in_the_run_of_another() {
        assert_ne!(BootId::of_this_process(), BootId::of_this_process());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn another_mount_is_as_another_run() {
        assert_ne!(BootId::at(Path::new("/")), BootId::at(Path::new("/proc")));
        assert_eq!(BootId::at(Path::new("/proc/self/stat")), BootId::at(Path::new("/proc")));
    }
}
