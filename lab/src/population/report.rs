//! [`Report`]: what the lookups of a population cost.

use std::time::Duration;

use serde::Serialize;

use super::drive::since;
use super::meter::Meter;
use super::{Plan, id_of};

/// What the lookups of a population cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// How many peers there were.
    pub peers: u32,
    /// How many lookups there were.
    pub lookups: u32,
    /// How many found what they looked for.
    pub found: usize,
    /// How many looked for something that a peer who was there held when they began.
    pub findable: usize,
    /// How many ended without an answer at a bound: out of time, or no step left.
    pub cut_short: usize,
    /// How many ended because whoever looked was gone.
    pub interrupted: u32,
    /// Questions and answers a lookup, whether or not it found something.
    pub messages: Summary,
    /// Over how many peers the way to the key led; of the lookups that found it.
    pub hops: Summary,
    /// How long a lookup took in virtual time, in milliseconds.
    pub latency_ms: Summary,
    /// How many questions of lookups the tracker got.
    pub tracker: Load,
    /// How many questions of lookups the peer got that got most.
    pub busiest: Busiest,
    /// How many registrations and renewals the tracker got.
    pub upkeep: u64,
    /// How long the lookups took together, in virtual time, in seconds.
    pub simulated_s: f64,
    /// How many events the simulator handled to make the population.
    pub events_before: u64,
    /// How many events the simulator handled for the lookups.
    pub events: u64,
}

/// Some values in four.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Their mean.
    pub mean: f64,
    /// Half of them are at most this.
    pub median: f64,
    /// 99 of 100 of them are at most this.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Summary {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        // The nearest rank: the smallest value that enough of them do not exceed.
        let rank = |hundredths: usize| {
            let rank = (values.len() * hundredths).div_ceil(100).max(1);
            values.get(rank - 1).copied().unwrap_or(0.0)
        };
        let mean = values.iter().fold(0.0, |sum, value| sum + value) / values.len().max(1) as f64;
        Self { mean, median: rank(50), p99: rank(99), max: rank(100) }
    }
}

/// How much somebody had to do.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Load {
    /// Questions altogether.
    pub questions: u64,
    /// Questions a lookup.
    pub a_lookup: f64,
}

impl Load {
    fn new(questions: u64, lookups: u32) -> Self {
        Self { questions, a_lookup: questions as f64 / f64::from(lookups.max(1)) }
    }
}

/// The peer that got the most questions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Busiest {
    /// Who.
    pub id: u64,
    /// How much.
    #[serde(flatten)]
    pub load: Load,
}

/// What is counted outside the lookups.
pub(super) struct Totals {
    pub(super) findable: usize,
    pub(super) interrupted: u32,
    pub(super) simulated: Duration,
    pub(super) events_before: u64,
    pub(super) events: u64,
}

impl Report {
    pub(super) fn new(plan: &Plan, meter: &Meter, totals: &Totals) -> Self {
        let ended = || meter.lookups.iter().filter_map(|l| l.ended.as_ref().map(|ended| (l, ended)));
        let found = || ended().filter_map(|(_, ended)| ended.found);
        let busiest = meter.asked.iter().enumerate().max_by_key(|(i, asked)| (**asked, usize::MAX - i));
        let (busiest, asked) = busiest.map_or((0, 0), |(i, asked)| (i, *asked));
        let load = |questions| Load::new(questions, plan.lookups);
        Self {
            peers: plan.peers,
            lookups: plan.lookups,
            found: found().count(),
            findable: totals.findable,
            cut_short: ended().filter(|(_, ended)| ended.truncated).count(),
            interrupted: totals.interrupted,
            messages: Summary::of(ended().map(|(lookup, _)| lookup.messages as f64).collect()),
            hops: Summary::of(found().map(|(_, hops)| f64::from(hops)).collect()),
            latency_ms: Summary::of(
                ended().map(|(lookup, ended)| since(lookup.began, ended).as_secs_f64() * 1e3).collect(),
            ),
            tracker: load(meter.tracker_asked),
            busiest: Busiest {
                id: id_of(u32::try_from(busiest).unwrap_or(0)).as_u64(),
                load: load(asked.into()),
            },
            upkeep: meter.upkeep,
            simulated_s: totals.simulated.as_secs_f64(),
            events_before: totals.events_before,
            events: totals.events,
        }
    }

    /// The share of the lookups that found something, of those that could.
    pub fn success(&self) -> Option<f64> {
        (self.findable > 0).then(|| self.found as f64 / self.findable as f64)
    }
}
