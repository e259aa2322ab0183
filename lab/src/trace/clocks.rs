//! Vector clocks (Mattern 1989, Fidge 1988), worked out from who received what from whom.

use std::collections::BTreeMap;

use super::{Event, Host, MessageId, What};

/// Gives each event its vector clock. Hand it the events of a trace, in order.
#[derive(Debug, Default)]
pub struct Clocks {
    places: BTreeMap<Host, usize>,
    hosts: Vec<Host>,
    /// By host, by host. A host's clock is as long as the last host that it knows of.
    clocks: Vec<Vec<u32>>,
    /// What [`Clocks::changes`] has told of each host's clock.
    told: Vec<Vec<u32>>,
    /// The clock that a message carries, until it is received.
    carried: BTreeMap<MessageId, Vec<u32>>,
}

impl Clocks {
    /// Counts the event. The clock of its host is then the event's.
    pub fn count(&mut self, event: &Event) {
        let me = self.place(event.host);
        if let What::Receive { message, .. } = &event.what
            && let Some(carried) = self.carried.remove(message)
        {
            let clock = &mut self.clocks[me];
            if clock.len() < carried.len() {
                clock.resize(carried.len(), 0);
            }
            for (mine, theirs) in clock.iter_mut().zip(&carried) {
                *mine = (*mine).max(*theirs);
            }
        }
        let clock = &mut self.clocks[me];
        if clock.len() <= me {
            clock.resize(me + 1, 0);
        }
        clock[me] += 1;
        if let What::Send { message, to, .. } = &event.what
            && !matches!(to, Host::Elsewhere(_))
        {
            self.carried.insert(*message, clock.clone());
        }
    }

    /// The clock of `host`: what it knows of, and how many events of it.
    pub fn of(&self, host: Host) -> impl Iterator<Item = (Host, u32)> {
        let clock = self.places.get(&host).map(|place| &self.clocks[*place]);
        let entries = clock.into_iter().flatten().zip(&self.hosts);
        entries.filter(|(count, _)| **count > 0).map(|(count, host)| (*host, *count))
    }

    /// What changed in the clock of `host` since this was asked last.
    pub fn changes(&mut self, host: Host) -> Vec<(Host, u32)> {
        let Some(place) = self.places.get(&host).copied() else { return Vec::new() };
        let (clock, told) = (&self.clocks[place], &mut self.told[place]);
        told.resize(clock.len(), 0);
        let mut changes = Vec::new();
        for (i, count) in clock.iter().enumerate() {
            if told[i] != *count {
                told[i] = *count;
                changes.push((self.hosts[i], *count));
            }
        }
        changes
    }

    fn place(&mut self, host: Host) -> usize {
        *self.places.entry(host).or_insert_with(|| {
            self.hosts.push(host);
            self.clocks.push(Vec::new());
            self.told.push(Vec::new());
            self.hosts.len() - 1
        })
    }
}
