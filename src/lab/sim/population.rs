//! `askaround lab sim --peers N`: what lookups cost in a population.

use std::io::IsTerminal;
use std::time::Duration;

use askaround_lab::population::report::Report;
use askaround_lab::population::{self, Plan, RunError, Search};
use askaround_lab::report::growth::{self, Costs};

use super::SimArgs;
use super::figures;
use super::options::SearchArg;
use crate::exit::{Failure, Stop};
use crate::lab::pictures::Begun;
use crate::live::print;

/// How long a message takes between two machines that are some countries apart.
const LATENCY: Duration = Duration::from_millis(20);
/// With faults, lookups come at set times, so that a fault's time means something.
const EVERY: Duration = Duration::from_secs(1);
/// The lease of a live tracker.
const LEASE: Duration = Duration::from_secs(120);
/// What Lv et al. (2002) use for walks, and Gnutella for floods.
const WALKERS: u32 = 32;
const WALK_TTL: u32 = 1024;
const FLOOD_TTL: u32 = 7;

/// Runs a population for each number of peers.
pub(super) async fn run(args: SimArgs) -> Result<(), Failure> {
    let stop = Stop::on_signals()?;
    let plans = args.peers.iter().map(|peers| plan(&args, *peers)).collect::<Result<Vec<_>, _>>()?;
    for plan in &plans {
        plan.check().map_err(Failure::usage)?;
    }
    let csv = args.csv.as_deref().map(Begun::new).transpose()?;
    let chart = args.pictures.begin_chart()?;
    let mut reports: Vec<Report> = Vec::new();
    for plan in plans {
        let peers = plan.peers;
        if std::io::stderr().is_terminal() {
            crate::plain::say!("askaround: {peers} peers …");
        }
        let token = stop.token().clone();
        // Hashing numbers for minutes would keep the signals from being heard.
        let running = tokio::task::spawn_blocking(move || population::run(&plan, &|| token.is_cancelled()));
        let result = running.await.map_err(|bug| Failure::run(format!("a bug of ours: {bug}")))?;
        reports.push(result.map_err(|error| failure(&args, &stop, peers, &error))?);
    }
    if let Some(file) = csv {
        let text = figures::csv(&reports);
        file.finish("table", |out| out.write_all(text.as_bytes()))?;
    }
    if let Some(file) = chart {
        let costs = Costs::of(&reports);
        file.finish("picture", |out| growth::write(&[costs], out))?;
    }
    if args.json {
        print(&figures::json(&reports, args.seed, &command(&args)))
    } else {
        print(&figures::table(&reports, &about(&args), &command(&args)))
    }
}

fn failure(args: &SimArgs, stop: &Stop, peers: u32, error: &RunError) -> Failure {
    match error {
        RunError::Plan(error) => Failure::usage(error),
        RunError::Unsettled { .. } => Failure::usage(error),
        RunError::Stopped => stop.failure(),
        RunError::Property(_) => {
            let replay = args.command(&format!("--peers {peers}"));
            Failure::run(format!(
                "with {peers} peers and seed {}: {error}\nthe same again: {replay}",
                args.seed
            ))
        }
    }
}

/// The command that repeats all of it.
fn command(args: &SimArgs) -> String {
    let peers: Vec<_> = args.peers.iter().map(u32::to_string).collect();
    args.command(&format!("--peers {}", peers.join(",")))
}

fn plan(args: &SimArgs, peers: u32) -> Result<Plan, Failure> {
    let search = match (args.search, args.ttl, args.walkers) {
        (SearchArg::Ask, None, None) => Search::Ask,
        (SearchArg::Ask, Some(_), _) => {
            return Err(Failure::usage("--ttl is for --search flood and --search walk"));
        }
        (SearchArg::Ask | SearchArg::Flood, _, Some(_)) => {
            return Err(Failure::usage("--walkers is for --search walk"));
        }
        (SearchArg::Flood, ttl, None) => Search::Flood { ttl: ttl.unwrap_or(FLOOD_TTL) },
        (SearchArg::Walk, ttl, walkers) => {
            Search::Walk { walkers: walkers.unwrap_or(WALKERS), ttl: ttl.unwrap_or(WALK_TTL) }
        }
    };
    if args.lookups == 0 {
        return Err(Failure::usage("--lookups is 0: there is nothing to measure"));
    }
    if search != Search::Ask && args.width != 1 {
        return Err(Failure::usage("--width is for --search ask: floods and walks have no questions open"));
    }
    if search != Search::Ask && args.give_up.is_some() {
        return Err(Failure::usage("--give-up is for --search ask: floods and walks end by --ttl"));
    }
    if args.zipf.is_some() && args.copies == 0 {
        return Err(Failure::usage("--zipf needs some --copies to share out"));
    }
    let troubled = !args.faults.is_empty() || args.churn.is_some();
    Ok(Plan {
        peers,
        keys: args.keys,
        copies: args.copies,
        zipf: args.zipf,
        lookups: args.lookups,
        missing: args.missing,
        known: args.known,
        search,
        width: args.width,
        links: args.links(LATENCY),
        faults: args.faults.clone(),
        churn: args.churn,
        every: args.every.or(troubled.then_some(EVERY)),
        lease: args.lease.or(troubled.then_some(LEASE)),
        give_up: args.give_up,
        seed: args.seed,
    })
}

/// What the population is, in a line.
fn about(args: &SimArgs) -> String {
    let search = match args.search {
        SearchArg::Ask if args.width == 1 => "asking around, a question at a time".to_owned(),
        SearchArg::Ask => format!("asking around, {} questions at a time", args.width),
        SearchArg::Flood => format!("flooding, passed on up to {} times", args.ttl.unwrap_or(FLOOD_TTL)),
        SearchArg::Walk => format!(
            "{} walkers, up to {} steps each",
            args.walkers.unwrap_or(WALKERS),
            args.ttl.unwrap_or(WALK_TTL)
        ),
    };
    let copies = match args.zipf {
        None => format!("{} copies each", args.copies),
        Some(exponent) => format!("{} copies on average, popularity 1/r^{exponent}", args.copies),
    };
    let latency = args.latency.unwrap_or(LATENCY);
    format!("{} keys, {copies}; {} lookups; {search}; {latency:?} a message", args.keys, args.lookups)
}
