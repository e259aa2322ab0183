//! A scenario in virtual time, with the same logs on disk as a run over sockets.

use std::path::Path;

use askaround_core::log::LogEntry;
use askaround_node::log_file;

use super::{RunError, TRACKER_LOG, log_name, prepare};
use crate::ports;
use crate::scenario::Scenario;
use crate::world::engine::Observer;
use crate::world::{self, WorldConfig, WorldRun};

/// Runs `scenario` in virtual time, watched by `watch`, and writes its logs into the folder `out`.
///
/// # Errors
/// If the folder or a log cannot be written, or a fault cannot be. What goes wrong in the run is in the result.
pub fn simulate(
    scenario: &Scenario,
    out: &Path,
    config: &WorldConfig,
    watch: &mut dyn Observer,
) -> Result<WorldRun, RunError> {
    prepare(scenario, out)?;
    let scripts: Vec<_> = scenario.scripts.iter().map(|(_, script)| script.clone()).collect();
    let addresses = ports::assign(scripts.iter().map(|script| script.id));
    let run = world::run_with(&scripts, &addresses, config, watch).map_err(RunError::Fault)?;
    for (id, log) in &run.logs {
        write(&out.join(log_name(*id)), log)?;
    }
    write(&out.join(TRACKER_LOG), &run.tracker_log)?;
    Ok(run)
}

fn write(path: &Path, log: &[LogEntry]) -> Result<(), RunError> {
    log_file::write(path, log).map_err(RunError::system(format!("write {}", path.display())))
}
