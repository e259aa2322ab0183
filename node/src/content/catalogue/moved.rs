//! A peer's folder that was moved, or copied with all that is in it: its copies are noted where they
//! were, and lie where it is now.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::copy::FILES;
use super::{Catalogue, CatalogueError, Entry, Kept};
use crate::content::file::Stamp;

/// So many places are changed in one go.
const AT_ONCE: usize = 1000;

impl Catalogue {
    /// Notes of copies that are noted elsewhere than in the folder for copies that they are there, if
    /// they are. A file that does not look as it did is to be verified. For when the peer begins.
    ///
    /// # Errors
    /// If the catalogue or the folder cannot be read or written.
    pub fn follow_copies(&self) -> Result<(), CatalogueError> {
        let Some(copies) = self.copies_there()? else { return Ok(()) };
        let mut were = None;
        for entry in self.entries() {
            let entry = entry?;
            if entry.kept == Kept::Copy && !entry.path.starts_with(&copies) {
                were = folder_before(&entry, &copies);
                if were.is_some() {
                    break;
                }
            }
        }
        let Some(were) = were else { return Ok(()) };
        let mut moved = Vec::new();
        for entry in self.entries() {
            let entry = entry?;
            if matches!(entry.kept, Kept::Copy | Kept::List)
                && let Ok(below) = entry.path.strip_prefix(&were)
                && let Some(there) = at(&copies.join(below), &entry)
            {
                moved.push((entry, there));
            }
            if moved.len() == AT_ONCE {
                self.note_moved(&mut moved)?;
            }
        }
        self.note_moved(&mut moved)
    }

    fn note_moved(&self, moved: &mut Vec<(Entry, Entry)>) -> Result<(), CatalogueError> {
        if !moved.is_empty() {
            self.change(|tables| moved.iter().try_for_each(|(was, is)| tables.replace(was, is)))?;
            moved.clear();
        }
        Ok(())
    }
}

/// The folder for copies in which this one was, if it is in `copies` now.
fn folder_before(copy: &Entry, copies: &Path) -> Option<PathBuf> {
    let named = copy.path.ancestors().skip(1).filter(|above| above.file_name() == Some(OsStr::new(FILES)));
    let mut before = named.filter(|above| {
        let below = copy.path.strip_prefix(above);
        below.is_ok_and(|below| at(&copies.join(below), copy).is_some())
    });
    before.next().map(Path::to_owned)
}

/// What is known of a copy, if it is at this path.
fn at(path: &Path, copy: &Entry) -> Option<Entry> {
    let data = std::fs::symlink_metadata(path).ok()?;
    let there = Entry { path: path.to_owned(), ..copy.clone() };
    if copy.kept == Kept::List {
        return data.is_dir().then_some(there);
    }
    if !data.is_file() || data.len() != copy.stamp.length {
        return None;
    }
    let stamp = Stamp::from(&data);
    Some(match stamp == copy.stamp {
        true => there,
        false => Entry { stamp, boot: None, synced: false, ..there },
    })
}
