//! [`Folder`]: a folder among the system's temporary ones that goes with its run; with a run that
//! was killed, when the next one begins.
//!
//! A run holds a lock on its folder, which the system takes back however the run ends. So a folder
//! of ours that can be locked belongs to nobody.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tempfile::TempDir;

const PREFIX: &str = "askaround-deliver-";

#[derive(Debug)]
pub(super) struct Folder {
    folder: TempDir,
    _lock: File,
}

impl Folder {
    /// A new one in `parent`, once those that killed runs have left there are removed. Blocks.
    ///
    /// # Errors
    /// If it cannot be made or locked. What cannot be removed stays.
    pub(super) fn make(parent: &Path) -> io::Result<Self> {
        sweep(parent)?;
        loop {
            let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
            let lock = File::open(folder.path())?;
            match lock.try_lock() {
                // Whoever swept just now may have had the lock before, and be done with it.
                Ok(()) if folder.path().exists() => return Ok(Self { folder, _lock: lock }),
                Ok(()) | Err(fs::TryLockError::WouldBlock) => {}
                Err(fs::TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Removes it. Blocks.
    pub(super) fn close(self) -> io::Result<()> {
        self.folder.close()
    }
}

/// Removes the folders of runs that are gone.
fn sweep(parent: &Path) -> io::Result<()> {
    let me = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(parent)? {
        // Others add and remove folders here at the same time: whatever fails is not ours to remove.
        let Ok(entry) = entry else { continue };
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            // Not of what a link leads to.
            && entry.metadata().is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == me);
        if is_ours
            && let Ok(folder) = File::open(entry.path())
            && folder.try_lock().is_ok()
        {
            // The next run tries again.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_run_left_goes_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let running = Folder::make(parent.path()).unwrap();
        let Folder { folder, _lock } = Folder::make(parent.path()).unwrap();
        // As the system does with a process that is killed.
        drop(_lock);
        let killed = folder.keep();
        fs::create_dir(killed.join("3")).unwrap();
        fs::write(killed.join("3/content"), "left").unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("kept"), "").unwrap();
        let link = parent.path().join(format!("{PREFIX}link"));
        std::os::unix::fs::symlink(elsewhere.path(), &link).unwrap();
        fs::create_dir(parent.path().join("foreign")).unwrap();

        let next = Folder::make(parent.path()).unwrap();
        assert!(!killed.exists());
        assert!(running.path().exists() && next.path().exists() && link.exists());
        assert!(elsewhere.path().join("kept").exists() && parent.path().join("foreign").exists());

        let (running_path, next_path) = (running.path().to_owned(), next.path().to_owned());
        running.close().unwrap();
        next.close().unwrap();
        assert!(!running_path.exists() && !next_path.exists());
    }
}
