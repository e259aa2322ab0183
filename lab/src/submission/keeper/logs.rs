//! Waits for logs: there, whole JSON, long enough, and no longer changing.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::de::IgnoredAny;

use crate::submission::plan::Plan;

/// Larger ones are not looked into.
const MAX_LOG: u64 = 64 << 20;

/// The logs that a run should write.
#[derive(Debug)]
pub(super) struct Logs(Vec<Log>);

#[derive(Debug)]
struct Log {
    path: PathBuf,
    wanted: usize,
    /// Size and time of change when it was last looked into.
    seen: Option<(u64, SystemTime)>,
    complete: bool,
}

impl Logs {
    pub(super) fn new(plan: &Plan) -> Self {
        let nodes = std::iter::once(&plan.tracker).chain(&plan.clients);
        let log = |node: &crate::submission::plan::Node| Log {
            path: plan.folder.join(&node.log),
            wanted: node.entries,
            seen: None,
            complete: false,
        };
        Self(nodes.map(log).collect())
    }

    /// Looks again. Whether anything has changed.
    pub(super) fn look(&mut self) -> bool {
        let mut changed = false;
        for log in &mut self.0 {
            changed |= log.look();
        }
        changed
    }

    /// How many are complete.
    pub(super) fn complete(&self) -> usize {
        self.0.iter().filter(|log| log.complete).count()
    }

    pub(super) fn all_complete(&self) -> bool {
        self.complete() == self.0.len()
    }

    /// Whether the log of this name is complete.
    pub(super) fn is_complete(&self, name: &str) -> bool {
        self.0.iter().any(|log| log.complete && log.path.file_name().is_some_and(|n| n == name))
    }
}

impl Log {
    fn look(&mut self) -> bool {
        let now = fs::symlink_metadata(&self.path).ok().filter(fs::Metadata::is_file);
        let now = now.and_then(|meta| Some((meta.len(), meta.modified().ok()?)));
        if now == self.seen {
            return false;
        }
        self.seen = now;
        let small = now.is_some_and(|(size, _)| size <= MAX_LOG);
        self.complete = small && entries(&self.path).is_some_and(|count| count >= self.wanted);
        true
    }
}

/// How many entries there are, if it is whole.
fn entries(path: &Path) -> Option<usize> {
    let bytes = fs::read(path).ok()?;
    crate::json::read::<Vec<IgnoredAny>>(&bytes).ok().map(|list| list.len())
}
