//! Puts the faults of a run into its world.

use std::collections::BTreeMap;
use std::time::Duration;

use askaround_core::{Instant, PeerId};

use super::engine::{Blow, World};
use super::faults::{Fault, FaultError, Kind, Partition, Span, Stall};

/// From when to when, after now.
type Gone = (Duration, Duration);
/// The end of what has none.
const NEVER: Duration = Duration::MAX;

/// Lays `faults` from now on. `ids` are the peers' by place. Faults that befall somebody at the
/// same time add up: who is gone comes back when the last of them is over.
pub(crate) fn lay(world: &mut World, faults: &[Fault], ids: &[PeerId]) -> Result<(), FaultError> {
    let mut crashes: BTreeMap<u32, Vec<Gone>> = BTreeMap::new();
    let mut outages = Vec::new();
    for fault in faults {
        let befallen = fault.befalls(ids, world.random())?;
        let from = world.now() + fault.at;
        let to = fault.lasts.map_or(Instant::from_nanos(u64::MAX), |lasts| from + lasts);
        let span = Span { from, to };
        let gone = (fault.at, fault.lasts.map_or(NEVER, |lasts| fault.at.saturating_add(lasts)));
        let set = || {
            let mut set = vec![false; ids.len()];
            befallen.iter().for_each(|peer| set[*peer as usize] = true);
            set
        };
        match fault.kind {
            Kind::Crash => befallen.iter().for_each(|peer| crashes.entry(*peer).or_default().push(gone)),
            Kind::Stall => world.rule(Box::new(Stall { span, peers: set() })),
            Kind::Partition => world.rule(Box::new(Partition { span, inside: set() })),
            Kind::Outage => outages.push(gone),
        }
    }
    for (peer, spans) in crashes {
        strike(world, spans, Blow::Crash(peer), Blow::Restart(peer));
    }
    strike(world, outages, Blow::TrackerDown, Blow::TrackerUp);
    Ok(())
}

fn strike(world: &mut World, spans: Vec<Gone>, down: Blow, up: Blow) {
    for (from, to) in union(spans) {
        world.blow(from, down);
        if to < NEVER {
            world.blow(to, up);
        }
    }
}

/// The same times, those that meet or overlap as one.
fn union(mut spans: Vec<Gone>) -> Vec<Gone> {
    spans.sort_unstable();
    let mut all: Vec<Gone> = Vec::new();
    for (from, to) in spans {
        match all.last_mut() {
            Some((_, end)) if from <= *end => *end = to.max(*end),
            _ => all.push((from, to)),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_overlap_are_one() {
        let spans = |spans: &[(u64, u64)]| -> Vec<Gone> {
            spans.iter().map(|(a, b)| (Duration::from_secs(*a), Duration::from_secs(*b))).collect()
        };
        assert_eq!(union(spans(&[(2, 3), (1, 6), (8, 9)])), spans(&[(1, 6), (8, 9)]));
        assert_eq!(union(spans(&[(4, 7), (1, 5), (7, 8)])), spans(&[(1, 8)]));
        let for_ever = [vec![(Duration::from_secs(2), NEVER)], spans(&[(1, 3), (5, 6)])].concat();
        assert_eq!(union(for_ever), [(Duration::from_secs(1), NEVER)]);
        assert_eq!(union(Vec::new()), []);
    }
}
