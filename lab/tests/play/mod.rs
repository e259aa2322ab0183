//! Plays a shipped scenario over sockets, watched.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use askaround_core::clock::Turns;
use askaround_lab::run::{RunOptions, run};
use askaround_lab::scenario::Scenario;
use askaround_lab::trace::watch::Watcher;
use askaround_lab::trace::{Header, How, Trace};
use tokio_util::sync::CancellationToken;

pub(crate) fn scenario(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios").join(name)
}

/// Its trace and the folder of its logs.
pub(crate) fn play(folder: &Path, turns: Turns) -> (Trace, tempfile::TempDir) {
    let scenario = Scenario::read(folder).unwrap();
    let watcher = Watcher::new(Header::of(&scenario, How::Sockets).unwrap());
    let out = tempfile::tempdir().unwrap();
    let options = RunOptions {
        out: out.path().to_owned(),
        turns,
        step_timeout: Duration::from_secs(60),
        gather: Duration::from_secs(60),
        processes: None,
        deliver: false,
        watcher: Some(watcher.clone()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let report = runtime.block_on(run(&scenario, &options, &CancellationToken::new(), &mut |_| {})).unwrap();
    assert_eq!(report.troubles, [] as [String; 0]);
    (watcher.finish(), out)
}
