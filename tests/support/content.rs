//! Files to be added, and what commands print about them.

use std::path::Path;

use serde_json::Value;

use super::json_doc::JsonDoc;

/// Bytes that are no two pieces alike.
pub(crate) fn bytes(size: usize) -> Vec<u8> {
    (0..size as u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).take(size).collect()
}

pub(crate) fn write(folder: &Path, name: &str, bytes: &[u8]) -> String {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The lines of JSON that a command printed, all of which must be as docs/json.md says.
pub(crate) fn json_lines(text: &str) -> Vec<Value> {
    let doc = JsonDoc::read();
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    let lines: Vec<_> = text.lines().map(parse).collect();
    let ended = lines.iter().position(|line| doc.check(line) != "event");
    assert!(ended.is_none_or(|at| at == lines.len() - 1), "a line after the last: {text}");
    lines
}
