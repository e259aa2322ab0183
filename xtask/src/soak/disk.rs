//! Where a run lies: a folder of its own, and with `--full-disk` a small file system in it.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{StatVfs, statvfs};

/// Small enough that a run fills it again and again.
const SMALL: &str = "128m";
/// What a run leaves free for everything else on the machine, in bytes.
const LEAVE: u64 = 2_000_000_000;

/// The folder, which is removed with everything in it unless it is kept.
pub(super) struct Place {
    small: Option<Mount>,
    root: tempfile::TempDir,
}

/// A file system that is unmounted with this value.
struct Mount(PathBuf);

impl Place {
    /// Makes it.
    ///
    /// # Errors
    /// If it could not be made, or the small file system is wanted and cannot be had.
    pub(super) fn new(full_disk: bool) -> Result<Self, String> {
        let root = tempfile::Builder::new().prefix("askaround-soak-").tempdir().map_err(|e| e.to_string())?;
        let small = full_disk.then(|| mount(root.path().join("small"))).transpose()?;
        Ok(Self { small, root })
    }

    /// Where sources lie, and what the run itself writes.
    pub(super) fn root(&self) -> &Path {
        self.root.path()
    }

    /// Where peers' folders lie, and what is fetched.
    pub(super) fn of_peers(&self) -> &Path {
        self.small.as_ref().map_or(self.root.path(), |mount| &mount.0)
    }

    /// Is the peers' disk one that fills up?
    pub(super) fn is_small(&self) -> bool {
        self.small.is_some()
    }

    /// Is there hardly room left for others?
    pub(super) fn is_nearly_full(&self) -> bool {
        let free = |disk: StatVfs| disk.f_bavail * disk.f_frsize;
        statvfs(self.root.path()).is_ok_and(|disk| free(disk) < LEAVE)
    }

    /// Keeps it, and says where it is.
    pub(super) fn keep(self) -> String {
        let root = self.root.keep();
        let Some(mount) = self.small else { return root.display().to_string() };
        let kept = format!("{} (before it is removed: umount {})", root.display(), mount.0.display());
        std::mem::forget(mount);
        kept
    }
}

fn mount(at: PathBuf) -> Result<Mount, String> {
    std::fs::create_dir(&at).map_err(|e| format!("{}: {e}", at.display()))?;
    let options = format!("size={SMALL}");
    let mut command = Command::new("mount");
    command.args(["-t", "tmpfs", "-o", &options, "askaround-soak"]).arg(&at);
    let output = command.output().map_err(|e| format!("cannot start mount: {e}"))?;
    if output.status.success() {
        return Ok(Mount(at));
    }
    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(format!("--full-disk needs a tmpfs, which root may mount: {why}"))
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Where it fails, the folder cannot be removed either, and is there to be seen.
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
