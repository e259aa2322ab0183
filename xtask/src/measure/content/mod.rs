//! Content: hashed and delivered by whole commands over loopback, each against what others take
//! for the same bytes on the same disk, crowds against the lower bound, and the parts of a fetch
//! in this process.

mod crowd;
mod fetch;
mod inside;
pub(super) mod plain;

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Row;
use super::program::Running;
use crate::release::askaround;

const LARGE: usize = 1 << 30;
const SMALL: usize = 64 << 10;
const FILES: usize = 1000;
const CROWD: usize = 64 << 20;

/// Where it is measured, and with which tracker.
struct Place {
    folder: tempfile::TempDir,
    tracker: String,
}

impl Place {
    /// A path in the folder.
    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Serves what has this name. The key is given too.
    fn seed(&self, name: &str, more: &[&str]) -> Result<(Running, String), String> {
        let mut command = Command::new(askaround());
        command.current_dir(self.folder.path());
        command.args(["add", "--serve", name, "--tracker", &self.tracker]).args(more);
        Running::server(&mut command, "askaround get ")
    }

    /// The words of a command that fetches this key to this name.
    fn get(&self, key: &str, name: &str) -> Vec<String> {
        let (program, to) = (askaround(), self.at(name));
        let words: [&str; 8] = [
            &program.to_string_lossy(),
            "get",
            key,
            "-o",
            &to.to_string_lossy(),
            "--tracker",
            &self.tracker,
            "--quiet",
        ];
        words.map(str::to_owned).into()
    }

    /// Removes a file or a folder that has been made.
    fn remove(&self, name: &str) -> Result<(), String> {
        let path = self.at(name);
        let removed =
            if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        removed.map_err(|e| format!("{}: {e}", path.display()))
    }
}

pub(super) fn content(rows: &mut Vec<Row>) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let mut command = Command::new(askaround());
    let (tracker, addr) =
        Running::server(command.args(["tracker", "--listen", "127.0.0.1:0"]), "listens on ")?;
    let place = Place { folder, tracker: addr };
    inside::deciding(rows)?;
    write(&place.at("large"), LARGE, 1)?;
    inside::hashing(rows, &place.at("large"))?;
    fetch::added(rows, &place)?;
    fetch::large(rows, &place)?;
    place.remove("large")?;
    write(&place.at("one"), SMALL, 2)?;
    fetch::at_once(rows, &place)?;
    std::fs::create_dir(place.at("small")).map_err(|e| e.to_string())?;
    for i in 0..FILES {
        write(&place.at(&format!("small/{i}")), SMALL, i as u64 + 4)?;
    }
    fetch::folder(rows, &place)?;
    write(&place.at("crowd"), CROWD, 3)?;
    crowd::crowd(rows, &place, 8)?;
    crowd::crowd(rows, &place, 32)?;
    drop(tracker);
    Ok(())
}

/// Bytes that cannot be compressed and are the same every time.
fn write(path: &Path, bytes: usize, seed: u64) -> Result<(), String> {
    let mut state = seed;
    let mut content = Vec::with_capacity(bytes);
    while content.len() < bytes {
        // SplitMix64 (Steele, Lea and Flood 2014).
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        content.extend_from_slice(&(z ^ z >> 31).to_le_bytes());
    }
    content.truncate(bytes);
    std::fs::write(path, content).map_err(|e| format!("{}: {e}", path.display()))
}
