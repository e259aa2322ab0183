//! Puts the faults of a run into its world.

use askaround_core::{Instant, PeerId};

use super::engine::{Blow, World};
use super::faults::{Fault, FaultError, Kind, Partition, Span, Stall};

/// Lays `faults` from now on. `ids` are the peers' by place.
pub(crate) fn lay(world: &mut World, faults: &[Fault], ids: &[PeerId]) -> Result<(), FaultError> {
    for fault in faults {
        let befallen = fault.befalls(ids, world.random())?;
        let from = world.now() + fault.at;
        let to = fault.lasts.map_or(Instant::from_nanos(u64::MAX), |lasts| from + lasts);
        let span = Span { from, to };
        let set = || {
            let mut set = vec![false; ids.len()];
            befallen.iter().for_each(|peer| set[*peer as usize] = true);
            set
        };
        match fault.kind {
            Kind::Crash => {
                for peer in befallen {
                    world.blow(fault.at, Blow::Crash(peer));
                    if let Some(lasts) = fault.lasts {
                        world.blow(fault.at + lasts, Blow::Restart(peer));
                    }
                }
            }
            Kind::Stall => world.rule(Box::new(Stall { span, peers: set() })),
            Kind::Partition => world.rule(Box::new(Partition { span, inside: set() })),
            Kind::Outage => {
                world.blow(fault.at, Blow::TrackerDown);
                if let Some(lasts) = fault.lasts {
                    world.blow(fault.at + lasts, Blow::TrackerUp);
                }
            }
        }
    }
    Ok(())
}
