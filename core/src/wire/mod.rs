//! Messages as bytes (PROTOCOL.md §1): [`encode()`] writes one, [`Decoder`] reads them from
//! whatever pieces the network delivers.

mod content;
mod decode;
mod encode;

pub use decode::{Decoder, WireError};
pub use encode::encode;

/// The longest line, in bytes, line feed included (PROTOCOL.md §1.1).
pub const MAX_LINE: usize = 65_536;

#[cfg(test)]
mod tests;
