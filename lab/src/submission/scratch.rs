//! A copy of a submission for each run, so that no run sees what another has written.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use askaround_core::id::PeerId;
use tempfile::TempDir;

use super::SubmissionError;
use crate::run::{TRACKER_LOG, log_name};
use crate::scenario::Scenario;

/// The most that is copied of a submission.
const MAX_BYTES: u64 = 256 << 20;
const MAX_FILES: usize = 20_000;
/// Folders that no program needs to run.
const SKIPPED: [&str; 3] = [".git", "__pycache__", ".mypy_cache"];

/// Copies `submission` and puts the scripts of `scenario` beside it. The folder is removed with
/// the value.
///
/// # Errors
/// If it is too large, or something cannot be read or written.
pub(super) fn copy(submission: &Path, scenario: &Scenario) -> Result<TempDir, SubmissionError> {
    let scratch = tempfile::Builder::new()
        .prefix("askaround-")
        .tempdir()
        .map_err(SubmissionError::system("make a scratch folder"))?;
    let mut copy = Copy { bytes: 0, files: 0, from: submission.to_owned() };
    copy.folder(submission, scratch.path())?;
    let ids = scenario.scripts.iter().map(|(_, script)| script.id);
    for name in ids.map(log_name).chain([TRACKER_LOG.to_owned()]) {
        // A log that was handed in is not one that was written in this run.
        let _ = fs::remove_file(scratch.path().join(name));
    }
    for (file, script) in &scenario.scripts {
        let to = scratch.path().join(script_name(script.id));
        let _ = fs::remove_file(&to);
        let what = format!("copy {}", file.display());
        fs::copy(file, to).map_err(SubmissionError::system(what))?;
    }
    Ok(scratch)
}

/// The name of a script in the working directory, as the document has it.
pub(super) fn script_name(id: PeerId) -> String {
    format!("{id}.json")
}

struct Copy {
    from: PathBuf,
    bytes: u64,
    files: usize,
}

impl Copy {
    fn folder(&mut self, from: &Path, to: &Path) -> Result<(), SubmissionError> {
        let wrong = |what: &Path| SubmissionError::system(format!("copy {}", what.display()));
        for entry in fs::read_dir(from).map_err(wrong(from))? {
            let entry = entry.map_err(wrong(from))?;
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| SKIPPED.contains(&name)) {
                continue;
            }
            let (path, target) = (entry.path(), to.join(&name));
            let meta = fs::symlink_metadata(&path).map_err(wrong(&path))?;
            self.files += 1;
            if meta.is_dir() {
                fs::create_dir(&target).map_err(wrong(&path))?;
                self.folder(&path, &target)?;
            } else if meta.is_symlink() {
                link(&path, &target).map_err(wrong(&path))?;
            } else if meta.is_file() {
                self.bytes += meta.len();
                self.check()?;
                fs::copy(&path, &target).map_err(wrong(&path))?;
            }
            self.check()?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), SubmissionError> {
        if self.bytes > MAX_BYTES || self.files > MAX_FILES {
            return Err(SubmissionError::TooLarge {
                folder: self.from.clone(),
                mebibytes: MAX_BYTES >> 20,
                files: MAX_FILES,
            });
        }
        Ok(())
    }
}

/// The same link; a relative one that led out of the submission leads nowhere.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(fs::read_link(from)?, to)
}
