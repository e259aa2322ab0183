//! The release programs that `bench` and `soak` run.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds them.
///
/// # Errors
/// If they could not be built.
pub(crate) fn build() -> Result<(), String> {
    eprintln!("xtask: building the release programs");
    let status = Command::new("cargo").args(["build", "--release", "--locked", "--bins"]).status();
    if status.is_ok_and(|status| status.success()) {
        Ok(())
    } else {
        Err("cannot build the release programs".into())
    }
}

/// `askaround`, beside the folder that this program was built into.
pub(crate) fn askaround() -> PathBuf {
    let me = std::env::current_exe().unwrap_or_default();
    me.ancestors().nth(2).unwrap_or(Path::new("target")).join("release/askaround")
}
