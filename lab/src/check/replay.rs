//! One order of a scenario in the world of virtual time, with scripts, clock and all.
//!
//! Turns within a timestep go by id there. So each timestep is spread over several, in each of
//! which turns by id are what is wanted, and the logs are put together again.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use askaround_core::id::PeerId;
use askaround_core::log::LogEntry;
use askaround_core::message::Timestep;
use askaround_core::script::Script;

use super::schedule::{Schedule, steps};
use super::{TurnOrder, TurnOrderError};
use crate::world::{WorldConfig, run};

/// The logs of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logs {
    /// Each peer's.
    pub peers: BTreeMap<PeerId, Vec<LogEntry>>,
    /// The tracker's.
    pub tracker: Vec<LogEntry>,
}

/// The logs when turns go by id.
pub fn logs_by_id(scripts: &[Script], addresses: &[SocketAddr]) -> Logs {
    logs(scripts, addresses, &Schedule::by_id(&steps(scripts)))
}

/// The logs when turns go by id except for `told`. The scripts stand by increasing id.
///
/// # Errors
/// If an order does not fit the scenario.
pub fn logs_in_order(
    scripts: &[Script],
    addresses: &[SocketAddr],
    told: &[TurnOrder],
) -> Result<Logs, TurnOrderError> {
    let schedule = Schedule::from_told(told, &steps(scripts), scripts)?;
    Ok(logs(scripts, addresses, &schedule))
}

pub(super) fn logs(scripts: &[Script], addresses: &[SocketAddr], schedule: &Schedule) -> Logs {
    let (spread, times) = spread(scripts, schedule);
    let run = run(&spread, addresses, &WorldConfig::default());
    assert!(run.finished && run.troubles.is_empty(), "nothing can go wrong: {:?}", run.troubles);
    let meant = |time: Timestep| times[time as usize];
    let entry = |entry: LogEntry| LogEntry { time: meant(entry.time), ..entry };
    let peers = run.logs.into_iter().map(|(id, log)| (id, log.into_iter().map(entry).collect()));
    // The last of those that stand for one timestep counts; where nobody acts, nothing changes.
    let by_time: BTreeMap<Timestep, String> =
        run.tracker_log.into_iter().map(|entry| (meant(entry.time), entry.text)).collect();
    let end = scripts.iter().map(Script::end).max().unwrap_or(0);
    let tracker = (0..=end).filter_map(|time| {
        let (_, text) = by_time.range(..=time).next_back()?;
        Some(LogEntry { time, text: text.clone() })
    });
    Logs { peers: peers.collect(), tracker: tracker.collect() }
}

/// The scripts with other times, and which timestep each of those stands for.
fn spread(scripts: &[Script], schedule: &Schedule) -> (Vec<Script>, Vec<Timestep>) {
    let mut spread = scripts.to_vec();
    let mut next = vec![0; scripts.len()];
    let mut times = vec![0];
    for order in &schedule.0 {
        let mut last = None;
        for &peer in order {
            let action = &mut spread[peer].actions[next[peer]];
            if last.is_none_or(|last| peer < last) {
                times.push(action.0);
            }
            action.0 =
                Timestep::try_from(times.len() - 1).expect("fewer actions than timesteps can be numbered");
            next[peer] += 1;
            last = Some(peer);
        }
    }
    (spread, times)
}
