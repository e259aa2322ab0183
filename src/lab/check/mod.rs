//! `askaround lab check`.

mod report;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use askaround_core::script::Script;
use askaround_lab::check::{CheckOptions, Logs, TurnOrder, logs_by_id, logs_in_order};
use askaround_lab::ports;
use askaround_lab::run::{TRACKER_LOG, log_name};
use askaround_lab::scenario::Scenario;
use clap::Args;
use indicatif::ProgressBar;

use crate::exit::{Failure, Stop};
use crate::live::print;
use report::{Names, Report};

/// `askaround lab check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The scenario's folder
    pub dir: PathBuf,
    /// The most orders of actions of one timestep that touch each other; where there are more, as
    /// many of the whole scenario are tried at random as well
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = orders)]
    pub orders: usize,
    /// What the random orders come from
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Play one order instead, and show what differs from turns by id
    ///
    /// TIME:ID,ID,… names whose turn it is in a timestep; each turn is one action, and whoever is
    /// left follows by id. May be given for several timesteps.
    #[arg(long, value_name = "TIME:ID,…", conflicts_with_all = ["orders", "seed"])]
    pub order: Vec<TurnOrder>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

fn orders(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|n| (1..=10_000_000).contains(n));
    count.ok_or_else(|| "expected a whole number from 1 to 10000000".into())
}

pub(super) async fn check(args: CheckArgs) -> Result<(), Failure> {
    let stop = Stop::on_signals()?;
    let scenario = Scenario::read(&args.dir).map_err(Failure::usage)?;
    for warning in &scenario.warnings {
        crate::plain::say!("askaround: {warning}");
    }
    let scripts: Vec<Script> = scenario.scripts.iter().map(|(_, script)| script.clone()).collect();
    let addresses = ports::assign(scripts.iter().map(|script| script.id));
    if !args.order.is_empty() {
        return replay(&args, &scenario, &scripts, &addresses);
    }
    let options = CheckOptions { orders: args.orders, seed: args.seed };
    let spinner =
        if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    spinner.set_message(format!("trying orders of {}", scenario.name));
    spinner.enable_steady_tick(Duration::from_millis(100));
    let token = stop.token().clone();
    // On a thread of its own, so that signals are heard.
    let checking = tokio::task::spawn_blocking(move || {
        askaround_lab::check::check(&scripts, &addresses, &options, &|| token.is_cancelled())
    });
    let found = checking.await.map_err(Failure::run)?;
    spinner.finish_and_clear();
    let report = Report::new(&Names { scenario: &scenario, dir: &args.dir }, &found, args.seed);
    if args.json {
        let text = serde_json::to_string_pretty(&report).map_err(Failure::run)?;
        print(&format!("{text}\n"))?;
    } else {
        print(&report.render())?;
    }
    if found.stopped {
        crate::plain::say!("askaround: stopped; what is above is what had been found by then");
        return Err(stop.failure());
    }
    if found.varying.is_empty() { Ok(()) } else { Err(Failure::Shown(1)) }
}

/// Plays one order and turns by id, and shows what differs.
fn replay(
    args: &CheckArgs,
    scenario: &Scenario,
    scripts: &[Script],
    addresses: &[SocketAddr],
) -> Result<(), Failure> {
    let by_id = logs_by_id(scripts, addresses);
    let logs = logs_in_order(scripts, addresses, &args.order)
        .map_err(|error| Failure::usage(format!("--order: {error}")))?;
    let names = Names { scenario, dir: &args.dir };
    let differences = names.differences(&by_id, &logs);
    let order: Vec<String> = args.order.iter().map(ToString::to_string).collect();
    if args.json {
        let logs = by_name(&logs);
        let value = serde_json::json!({
            "scenario": scenario.name, "order": order, "differences": differences, "logs": logs,
        });
        print(&format!("{value:#}\n"))?;
    } else {
        print(&report::render_differences(&scenario.name, &order, &differences))?;
    }
    if differences.is_empty() { Ok(()) } else { Err(Failure::Shown(1)) }
}

fn by_name(logs: &Logs) -> BTreeMap<String, &[askaround_core::log::LogEntry]> {
    let peers = logs.peers.iter().map(|(id, log)| (log_name(*id), log.as_slice()));
    peers.chain([(TRACKER_LOG.to_owned(), logs.tracker.as_slice())]).collect()
}
