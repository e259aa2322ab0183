//! The files below a folder, as a collection lists them. Links are not followed: they could lead
//! anywhere, and in circles.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::catalogue::CatalogueError;
use super::collection::{CollectionError, MAX_DEPTH, MAX_FILES};
use super::disk::DiskError;
use super::hash::HashError;
use super::part::{is_of_a_fetch, is_unfinished};
use super::path::RelativePath;

/// A file below a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundFile {
    pub(super) relative: RelativePath,
    pub(super) path: PathBuf,
    pub(super) size: u64,
    pub(super) executable: bool,
}

/// Something that is not in a collection although it lies in the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// What.
    pub path: PathBuf,
    /// Why.
    pub why: WhySkipped,
}

/// Why something is not in a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhySkipped {
    /// A symbolic link.
    Link,
    /// A device, a socket, a pipe.
    Special,
    /// A name that is no text, or too long a path: it would not be the same on every machine.
    Name,
    /// A folder so deep that what is in it has a path of more than [`MAX_DEPTH`] components.
    TooDeep,
    /// A folder with a name that is kept for what fetches write.
    Reserved,
    /// A fetch under way, or its journal.
    Unfinished,
    /// A folder with nothing in it.
    EmptyFolder,
    /// The state of the peer that is to add it.
    OwnState,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.why {
            WhySkipped::Link => "a symbolic link",
            WhySkipped::Special => "neither a file nor a folder",
            WhySkipped::Name => "its path is not UTF-8, or too long",
            WhySkipped::TooDeep => "too many folders deep",
            WhySkipped::Reserved => "a name that files have only while they are fetched",
            WhySkipped::Unfinished => "a fetch under way",
            WhySkipped::EmptyFolder => "an empty folder",
            WhySkipped::OwnState => "the state of this peer",
        };
        write!(f, "{}: left out: {why}", self.path.display())
    }
}

/// All files below `folder`, by path, and what is left out.
pub(super) fn walk(
    folder: &Path,
    cancel: &AtomicBool,
) -> Result<(Vec<FoundFile>, Vec<Skipped>), CatalogueError> {
    let (mut found, mut skipped) = (Vec::new(), Vec::new());
    let mut ahead = vec![folder.to_owned()];
    while let Some(next) = ahead.pop() {
        if cancel.load(Ordering::Relaxed) {
            return Err(CatalogueError::Hash { path: next, error: HashError::Cancelled });
        }
        let mut items = std::fs::read_dir(&next).map_err(DiskError::at(&next))?.peekable();
        if items.peek().is_none() && next != folder {
            skipped.push(Skipped { path: next, why: WhySkipped::EmptyFolder });
            continue;
        }
        let (first, mut has_journals) = (found.len(), false);
        for item in items {
            let path = item.map_err(DiskError::at(&next))?.path();
            let data = std::fs::symlink_metadata(&path).map_err(DiskError::at(&path))?;
            let below = path.strip_prefix(folder).ok().and_then(Path::to_str);
            let relative = below.and_then(|below| RelativePath::new(below).ok());
            let why = match relative {
                _ if data.is_symlink() => WhySkipped::Link,
                None => WhySkipped::Name,
                Some(relative) if data.is_dir() => {
                    if is_unfinished(relative.split().1) {
                        WhySkipped::Reserved
                    } else if relative.as_str().split('/').count() >= MAX_DEPTH {
                        WhySkipped::TooDeep
                    } else {
                        ahead.push(path);
                        continue;
                    }
                }
                Some(_) if !data.is_file() => WhySkipped::Special,
                Some(relative) if is_unfinished(relative.split().1) => {
                    has_journals = true;
                    WhySkipped::Unfinished
                }
                Some(relative) => {
                    let executable = data.mode() & 0o111 != 0;
                    found.push(FoundFile { relative, path, size: data.len(), executable });
                    if found.len() > MAX_FILES {
                        return Err(CollectionError::TooManyFiles.into());
                    }
                    continue;
                }
            };
            skipped.push(Skipped { path, why });
        }
        if has_journals {
            // Some may be of files that are fetched in place. What cannot be told is not known to be whole.
            let is_fetched = |file: &mut FoundFile| is_of_a_fetch(&file.path).unwrap_or(true);
            let unfinished = found.extract_if(first.., is_fetched);
            skipped.extend(unfinished.map(|file| Skipped { path: file.path, why: WhySkipped::Unfinished }));
        }
    }
    found.sort_by(|a, b| a.relative.cmp(&b.relative));
    skipped.sort_by(|a, b| a.path.cmp(&b.path));
    Ok((found, skipped))
}
