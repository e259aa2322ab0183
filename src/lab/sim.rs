//! `askaround lab sim`.

#![allow(rustdoc::invalid_html_tags, reason = "help texts, where <name> is a placeholder")]

use std::path::{Path, PathBuf};

use askaround_lab::run::RunError;
use askaround_lab::scenario::Scenario;
use askaround_lab::world::WorldConfig;
use clap::Args;

use super::logs::{self, Shown};
use crate::args::TurnsArg;
use crate::exit::Failure;

/// `askaround lab sim`.
#[derive(Debug, Args)]
pub struct SimArgs {
    /// The scenario's folder
    pub dir: PathBuf,
    /// The folder for the logs [default: logs/<name of the scenario>]
    #[arg(long, env = "ASKAROUND_OUT")]
    pub out: Option<PathBuf>,
    /// Who may act when within a timestep
    #[arg(long, value_enum, default_value_t, env = "ASKAROUND_TURNS")]
    pub turns: TurnsArg,
    /// Print the logs and the comparison as JSON
    #[arg(long)]
    pub json: bool,
    /// Print no table
    #[arg(short, long, conflicts_with = "json")]
    pub quiet: bool,
}

/// Plays a scenario in virtual time.
pub(super) fn run(args: &SimArgs) -> Result<(), Failure> {
    let scenario = Scenario::read(&args.dir).map_err(Failure::usage)?;
    for warning in &scenario.warnings {
        eprintln!("askaround: {warning}");
    }
    let expected = scenario.expected.as_deref().map(logs::read_expected).transpose()?;
    let out = args.out.clone().unwrap_or_else(|| Path::new("logs").join(&scenario.name));
    let config = WorldConfig { turns: args.turns.into(), ..WorldConfig::default() };
    let run = askaround_lab::run::simulate(&scenario, &out, &config, &mut ()).map_err(|e| match e {
        RunError::OutIsScenario(_) | RunError::Fault(_) => Failure::usage(e),
        e => Failure::run(e),
    })?;
    if !run.troubles.is_empty() {
        let troubles = run.troubles.join("\n");
        return Err(Failure::run(format!("{troubles}\nthe logs so far are in {}", out.display())));
    }
    let logs = logs::read_logs(&scenario, &out)?;
    logs::finish(Shown::new(args.json, args.quiet), &scenario, &out, &logs, expected.as_ref())
}
