//! What a source says of a content, byte by byte (PROTOCOL.md §7).

use std::ops::Range;

use askaround_core::pieces::{Manifest, Root};

use super::{Node, bytes};

/// A content, and what a source of it says.
pub(crate) struct Said {
    pub(crate) bytes: Vec<u8>,
    pub(crate) root: Root,
    pub(crate) manifest: Manifest,
}

impl Said {
    /// A content of this size, whose manifest this node works out.
    pub(crate) async fn of(node: &Node, size: usize) -> Self {
        let bytes = bytes(size);
        let entry = node.add_file("x", &bytes).await;
        let manifest = node.delivery.catalogue().manifest(&entry).unwrap();
        Self { bytes, root: entry.root, manifest }
    }

    /// The description, this answer to what is here, all hashes.
    pub(crate) fn first(&self, here: &[u8]) -> Vec<u8> {
        let size = self.bytes.len();
        let described = format!("A {{\"content\":{{\"blake3\":\"{}\",\"size\":{size}}}}}\n", self.root);
        let hashes = format!("A {{\"hashes\":{}}}\n", self.manifest.geometry().count());
        [described.as_bytes(), here, hashes.as_bytes(), self.manifest.as_bytes()].concat()
    }

    /// The same, and that it is the list of a folder.
    pub(crate) fn first_as_list(&self, here: &[u8]) -> Vec<u8> {
        let first = self.first(here);
        let end = first.windows(2).position(|end| end == b"}}").unwrap();
        [&first[..end], b",\"collection\":true", &first[end..]].concat()
    }

    /// The bytes that `G {"key":…,"from":…,"length":…}` asks for.
    pub(crate) fn asked(&self, request: &str) -> Range<usize> {
        let request: serde_json::Value = serde_json::from_str(&request[2..]).unwrap();
        let [from, length] = ["from", "length"].map(|name| request[name].as_u64().unwrap() as usize);
        from..from + length
    }

    /// The answer with these bytes.
    pub(crate) fn piece(&self, range: Range<usize>) -> Vec<u8> {
        let (from, length) = (range.start, range.len());
        let words = format!("A {{\"key\":\"{}\",\"from\":{from},\"length\":{length}}}\n", self.root);
        [words.as_bytes(), &self.bytes[range]].concat()
    }
}
