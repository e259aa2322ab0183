//! Sources that say what a test has written down.

use std::time::Duration;

use askaround_core::pieces::Manifest;
use askaround_node::transfer::source::SourceLimits;

/// What a good source says first, and then of piece 0.
pub(crate) fn good(bytes: &[u8], manifest: &Manifest) -> (Vec<u8>, Vec<u8>) {
    let (key, size, count) = (manifest.root(), bytes.len(), manifest.geometry().count());
    let mut first = format!("A {{\"content\":{{\"blake3\":\"{key}\",\"size\":{size}}}}}\n").into_bytes();
    first.extend(format!("A {{\"bitmap\":{}}}\n", count.div_ceil(8)).bytes());
    first.extend([1, 0, 0, 0].iter().take(count.div_ceil(8) as usize));
    first.extend(format!("A {{\"hashes\":{count}}}\n").bytes());
    first.extend(manifest.as_bytes());
    let length = size.min(65_536);
    let mut then = format!("N {{\"key\":\"{key}\",\"pieces\":[1]}}\n").into_bytes();
    then.extend(format!("A {{\"key\":\"{key}\",\"from\":0,\"length\":{length}}}\n").bytes());
    then.extend(&bytes[..length]);
    (first, then)
}

/// For sources that do not answer.
pub(crate) fn hasty() -> SourceLimits {
    SourceLimits { answer_timeout: Duration::from_millis(300), ..SourceLimits::default() }
}
