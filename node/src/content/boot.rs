//! [`BootId`]: tells whether the machine has been restarted since something was written.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// Which run of the machine this is. What one process wrote, another process of the same run
/// reads back, synced or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootId([u8; 16]);

impl BootId {
    /// This run; `None` where the system does not tell, so that nothing may be taken for written
    /// in it.
    pub fn current() -> Option<Self> {
        // No process outlives its run, and it is asked for with every file.
        static CURRENT: OnceLock<Option<BootId>> = OnceLock::new();
        *CURRENT.get_or_init(|| {
            let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
            Self::parse(text.trim())
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells() {
        assert_eq!(BootId::current(), BootId::current());
        let text = "0c8b8a9e-62c0-4b8a-9d3c-0123456789ab";
        let id = BootId::parse(text).unwrap();
        assert_eq!(BootId::from_bytes(id.to_bytes()), Some(id));
        assert_eq!(BootId::parse("0c8b8a9e"), None);
        assert_eq!(BootId::from_bytes([0; 16]), None);
    }
}
