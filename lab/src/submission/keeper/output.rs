//! What processes say, kept within bounds: the beginning and the end.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::submission::plan::Said;

/// So many bytes of the beginning and of the end are kept.
const HEAD: usize = 8 << 10;
const TAIL: usize = 8 << 10;

/// One stream of a process, read as it comes.
#[derive(Debug, Clone, Default)]
pub(super) struct Output(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    bytes: u64,
}

impl Kept {
    fn add(&mut self, mut piece: &[u8]) {
        self.bytes += piece.len() as u64;
        let room = HEAD.saturating_sub(self.head.len()).min(piece.len());
        self.head.extend(&piece[..room]);
        piece = &piece[room..];
        self.tail.extend(&piece[piece.len().saturating_sub(TAIL)..]);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL));
    }

    fn said(&self) -> Said {
        let (first, second) = self.tail.as_slices();
        let left_out = self.bytes - (self.head.len() + self.tail.len()) as u64;
        let mut bytes = self.head.clone();
        if left_out > 0 {
            bytes.extend(format!("\n… {left_out} bytes left out …\n").into_bytes());
        }
        bytes.extend(first);
        bytes.extend(second);
        Said { text: String::from_utf8_lossy(&bytes).into_owned(), bytes: self.bytes }
    }
}

impl Output {
    /// Reads to the end. All bytes are read, so that nobody waits for us, and counted in `total`.
    pub(super) async fn read(self, mut from: impl AsyncRead + Unpin, total: Arc<AtomicU64>) {
        let mut piece = vec![0; 16 << 10];
        while let Ok(length) = from.read(&mut piece).await {
            if length == 0 {
                break;
            }
            total.fetch_add(length as u64, Ordering::Relaxed);
            self.0.lock().unwrap_or_else(PoisonError::into_inner).add(&piece[..length]);
        }
    }

    /// Adds words of our own.
    pub(super) fn add(&self, words: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add(words);
    }

    /// What was said so far.
    pub(super) fn said(&self) -> Said {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).said()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn beginning_and_end_are_kept_and_the_middle_is_counted() {
        let text = format!("first{}last", "x".repeat(100_000));
        let (output, total) = (Output::default(), Arc::default());
        output.clone().read(text.as_bytes(), Arc::clone(&total)).await;
        let said = output.said();
        assert_eq!((said.bytes, total.load(Ordering::Relaxed)), (100_009, 100_009));
        assert!(said.text.starts_with("firstx") && said.text.ends_with("xlast"));
        assert!(said.text.contains("… 83625 bytes left out …") && said.text.len() < HEAD + TAIL + 100);
    }
}
