//! [`Inbox`]: what has come from a source: lines, and the raw bytes behind some of them.

use std::io;

use askaround_core::message::Message;
use askaround_core::wire::{Decoder, WireError};
use tokio::net::TcpStream;

use super::super::pool::Buffer;

/// What is read at once where a line is due. Little, since what follows the line is best read to
/// where it belongs.
const LINE_AT_ONCE: usize = 4 << 10;

/// Reads lines and raw bytes.
#[derive(Debug)]
pub(super) struct Inbox {
    decoder: Decoder,
    raw: Option<Raw>,
    /// Bytes of pieces that came together with the line before them.
    came_along: u64,
}

/// Raw bytes that are on their way.
#[derive(Debug)]
struct Raw {
    into: Destination,
    filled: usize,
}

/// Where raw bytes go.
#[derive(Debug)]
pub(super) enum Destination {
    /// A piece, into a buffer of its length.
    Piece(Buffer),
    /// Hashes or a bitmap of so many bytes. Memory is taken as they come.
    Bytes(Vec<u8>, usize),
}

impl Destination {
    fn length(&self) -> usize {
        match self {
            Self::Piece(buffer) => buffer.len(),
            Self::Bytes(_, length) => *length,
        }
    }
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self { decoder: Decoder::client(), raw: None, came_along: 0 }
    }

    /// The next line, unless raw bytes are due.
    pub(super) fn line(&mut self) -> Result<Option<Message>, WireError> {
        if self.raw.is_some() {
            return Ok(None);
        }
        self.decoder.next()
    }

    /// From now on raw bytes are due.
    pub(super) fn expect(&mut self, into: Destination) {
        self.raw = Some(Raw { into, filled: 0 });
    }

    /// The raw bytes that were due, once they have all come.
    pub(super) fn raw(&mut self) -> Option<Destination> {
        let raw = self.raw.as_mut()?;
        let length = raw.into.length();
        let came = self.decoder.take_raw(length - raw.filled);
        match &mut raw.into {
            Destination::Piece(buffer) => {
                buffer[raw.filled..raw.filled + came.len()].copy_from_slice(came);
                self.came_along += came.len() as u64;
            }
            Destination::Bytes(bytes, _) => bytes.extend_from_slice(came),
        }
        raw.filled += came.len();
        if raw.filled < length {
            return None;
        }
        self.raw.take().map(|raw| raw.into)
    }

    /// How many bytes of pieces came together with the line before them, since this was asked last.
    pub(super) fn came_along(&mut self) -> u64 {
        std::mem::take(&mut self.came_along)
    }

    /// Whether raw bytes are due.
    pub(super) fn is_raw(&self) -> bool {
        self.raw.is_some()
    }

    /// Whether a piece is due.
    pub(super) fn is_piece(&self) -> bool {
        matches!(self.raw, Some(Raw { into: Destination::Piece(_), .. }))
    }

    /// How many bytes of a piece are still to come.
    pub(super) fn piece_left(&self) -> Option<usize> {
        match &self.raw {
            Some(Raw { into: Destination::Piece(buffer), filled }) => Some(buffer.len() - filled),
            _ => None,
        }
    }

    /// How many bytes of a piece have come.
    pub(super) fn piece_filled(&self) -> Option<usize> {
        match &self.raw {
            Some(Raw { into: Destination::Piece(_), filled }) => Some(*filled),
            _ => None,
        }
    }

    /// Whether something has begun and is not whole.
    pub(super) fn is_partial(&self) -> bool {
        self.raw.is_some() || self.decoder.has_partial_line()
    }

    /// Reads what is there, at most `most` bytes, raw bytes of a piece straight to their place.
    pub(super) fn read(&mut self, stream: &TcpStream, most: usize) -> io::Result<usize> {
        if let Some(Raw { into: Destination::Piece(buffer), filled }) = &mut self.raw {
            let end = buffer.len().min(filled.saturating_add(most));
            let count = stream.try_read(&mut buffer[*filled..end])?;
            *filled += count;
            return Ok(count);
        }
        if self.raw.is_some() {
            return crate::server::read_into(stream, &mut self.decoder);
        }
        let mut scratch = [0; LINE_AT_ONCE];
        let count = stream.try_read(&mut scratch[..most.min(LINE_AT_ONCE)])?;
        self.decoder.feed(&scratch[..count]);
        Ok(count)
    }
}
