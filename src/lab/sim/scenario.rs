//! `askaround lab sim DIR`: a scenario in virtual time.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use askaround_core::PeerId;
use askaround_core::script::Action;
use askaround_lab::run::RunError;
use askaround_lab::scenario::Scenario;
use askaround_lab::shell::quote;
use askaround_lab::trace::simulated::VirtualWatcher;
use askaround_lab::trace::{Header, How};
use askaround_lab::world::WorldConfig;
use askaround_lab::world::engine::Observer;
use askaround_lab::world::faults::Kind;

use super::SimArgs;
use crate::exit::Failure;
use crate::lab::logs::{self, Shown};

/// Where nothing is said about the links, a message takes so long: some time, so that one comes
/// after the other.
const LATENCY: Duration = Duration::from_micros(1);

/// Plays the scenario in `dir`.
pub(super) fn run(args: &SimArgs, dir: &Path) -> Result<(), Failure> {
    let scenario = Scenario::read(dir).map_err(Failure::usage)?;
    for warning in scenario.warnings.iter().chain(&strangers(&scenario)) {
        crate::plain::say!("askaround: {warning}");
    }
    for fault in &args.faults {
        if fault.lasts.is_some() && matches!(fault.kind, Kind::Crash | Kind::Outage) {
            let problem = "nobody comes back into a run in lock-step: leave the duration away";
            return Err(Failure::usage(format!("{fault}: {problem}")));
        }
    }
    let expected = scenario.expected.as_deref().map(logs::read_expected).transpose()?;
    let out = args.out.clone().unwrap_or_else(|| Path::new("logs").join(&scenario.name));
    let config = WorldConfig {
        turns: args.turns.into(),
        width: args.width,
        links: args.links(LATENCY),
        faults: args.faults.clone(),
        seed: args.seed,
    };
    let pictures = args.pictures.begin(&scenario, &out)?;
    let simulate = |watch: &mut dyn Observer| {
        askaround_lab::run::simulate(&scenario, &out, &config, watch).map_err(|e| match e {
            RunError::OutIsScenario(_) | RunError::Fault(_) => Failure::usage(e),
            e => Failure::run(e),
        })
    };
    let mut drawn = Ok(());
    let run = if args.pictures.any() {
        let header = Header::of(&scenario, How::Simulated).map_err(Failure::usage)?;
        let mut watcher = VirtualWatcher::new(header);
        let run = simulate(&mut watcher)?;
        drawn = pictures.draw(&watcher.finish());
        run
    } else {
        simulate(&mut ())?
    };
    let again = |problem: String| {
        let command = args.command(&quote(&dir.to_string_lossy()));
        Failure::Run(format!("{problem}\nthe same again: {command}"))
    };
    if !run.troubles.is_empty() {
        let troubles = run.troubles.join("\n");
        let verdict =
            again(format!("the run did not go well; its logs are in {}\n{troubles}", out.display()));
        return logs::verdict_and_pictures(Err(verdict), drawn);
    }
    let logs = logs::read_logs(&scenario, &out)?;
    let compared =
        logs::finish(Shown::new(args.json, args.quiet), &scenario, &out, &logs, expected.as_ref(), None);
    let verdict = compared.map_err(|failure| match failure {
        Failure::Run(problem) => again(problem),
        other => other,
    });
    logs::verdict_and_pictures(verdict, drawn)
}

/// Peers that a script names and that have none. That may be meant: they cannot be reached.
fn strangers(scenario: &Scenario) -> Vec<String> {
    let ids: BTreeSet<PeerId> = scenario.scripts.iter().map(|(_, script)| script.id).collect();
    let mut strangers = BTreeSet::new();
    for (_, script) in &scenario.scripts {
        for (_, action) in &script.actions {
            if let Action::Known(id) | Action::Contents(id) = action
                && !ids.contains(id)
            {
                strangers.insert((script.id, *id));
            }
        }
    }
    let warn = |(by, id)| format!("client {by} asks about client {id}, which has no script here");
    strangers.into_iter().map(warn).collect()
}
