//! The lookups of a population, one after the other or every so often.

use std::time::Duration;

use askaround_core::Key;
use askaround_core::id::Contact;
use askaround_core::peer::FindReport;
use askaround_core::script::Action;
use askaround_core::{Instant, PeerId};

use super::meter::{Ended, Lookup, Meter, hops};
use super::overlay::Overlay;
use super::place::Catalog;
use super::report::Report;
use super::{LOOK_UP_EVERY, Plan, RunError, Search, id_of};
use crate::world::engine::{Blow, Step, World};
use crate::world::lay::lay;

/// How often a peer that may look something up is drawn before any is taken.
const DRAWS: usize = 64;

pub(super) struct Drive<'a> {
    plan: &'a Plan,
    world: &'a mut World,
    catalog: Catalog,
    meter: Meter,
    overlay: Overlay,
    ended: u32,
    /// Lookups of keys that somebody who was there held.
    findable: Vec<bool>,
    /// Lookups whose searcher crashed.
    interrupted: u32,
}

impl<'a> Drive<'a> {
    pub(super) fn new(plan: &'a Plan, world: &'a mut World, catalog: Catalog) -> Self {
        let (meter, overlay) = (Meter::new(plan.peers), Overlay::default());
        Self { plan, world, catalog, meter, overlay, ended: 0, findable: Vec::new(), interrupted: 0 }
    }

    pub(super) fn run(mut self, stop: &dyn Fn() -> bool) -> Result<Report, RunError> {
        let started = self.world.now();
        let events_before = self.world.events();
        let ids: Vec<PeerId> = (0..self.plan.peers).map(id_of).collect();
        lay(self.world, &self.plan.faults, &ids).map_err(super::PlanError::from)?;
        self.churn();
        self.world.wake(Duration::ZERO, 0);
        let mut steps: u64 = 0;
        while self.ended < self.plan.lookups {
            match self.world.step(&mut self.meter) {
                Step::Idle => return Err(RunError::Property(self.unfinished())),
                Step::Woke(number) => self.begin_lookup(number)?,
                Step::Arrived(at, parcel) => {
                    self.overlay.arrived(self.world, &mut self.meter, self.plan.search, at, parcel);
                }
                Step::Lost(parcel) => self.overlay.lost(self.world, parcel),
                Step::Struck(Blow::Crash(peer)) => self.interrupt(peer),
                Step::Struck(_) | Step::Happened => {}
            }
            self.end_lookups()?;
            steps += 1;
            if steps.is_multiple_of(LOOK_UP_EVERY) && stop() {
                return Err(RunError::Stopped);
            }
        }
        let totals = super::report::Totals {
            findable: self.findable.iter().filter(|findable| **findable).count(),
            interrupted: self.interrupted,
            simulated: self.world.now().since(started),
            events: self.world.events() - events_before,
            events_before,
        };
        Ok(Report::new(self.plan, &self.meter, &totals))
    }

    /// When each peer crashes and starts again, until the last lookup has begun.
    fn churn(&mut self) {
        let (Some(churn), Some(lasts)) = (self.plan.churn, self.plan.lasts()) else { return };
        for peer in 0..self.plan.peers {
            let mut at = self.world.random().waiting(churn.up);
            while at < lasts {
                self.world.blow(at, Blow::Crash(peer));
                at = at.saturating_add(self.world.random().waiting(churn.down));
                self.world.blow(at, Blow::Restart(peer));
                at = at.saturating_add(self.world.random().waiting(churn.up));
            }
        }
    }

    fn begin_lookup(&mut self, number: u64) -> Result<(), RunError> {
        if let Some(every) = self.plan.every
            && number + 1 < u64::from(self.plan.lookups)
        {
            self.world.wake(every, number + 1);
        }
        let missing = self.catalog.keys.is_empty() || self.world.random().chance(self.plan.missing);
        let key = if missing { None } else { Some(self.catalog.draw(self.world.random())) };
        let findable =
            key.is_some_and(|k| self.catalog.holders[k].iter().any(|peer| self.world.is_up(*peer)));
        self.findable.push(findable);
        let searcher = self.searcher(key);
        let lookup = Lookup {
            searcher: searcher.unwrap_or(0),
            key,
            began: self.world.now(),
            messages: 0,
            ended: None,
        };
        self.meter.lookups.push(lookup);
        let lookup = self.meter.lookups.len() - 1;
        let Some(searcher) = searcher else {
            // Everybody is gone or busy.
            self.interrupted += 1;
            self.end(lookup, Ended { at: self.world.now(), found: None, truncated: false });
            return Ok(());
        };
        self.meter.under_way.insert(searcher, lookup);
        let text = match key {
            Some(key) => self.catalog.keys[key].clone(),
            None => Key::new(&format!("nobody-has-{lookup}")).expect("a key"),
        };
        match self.plan.search {
            Search::Ask => {
                self.world.command(searcher, lookup as u64, Action::Obtain(text), &mut self.meter);
            }
            search => self.overlay.begin(self.world, &mut self.meter, search, lookup, text),
        }
        Ok(())
    }

    /// Somebody who is there, looks for nothing else, and does not hold the key.
    fn searcher(&mut self, key: Option<usize>) -> Option<u32> {
        let mut may_do = None;
        for _ in 0..DRAWS {
            let peer = u32::try_from(self.world.random().below(u64::from(self.plan.peers))).unwrap_or(0);
            if !self.world.is_up(peer) || self.meter.under_way.contains_key(&peer) {
                continue;
            }
            may_do = Some(peer);
            let holds =
                key.is_some_and(|key| self.world.peer(peer).contents().contains(&self.catalog.keys[key]));
            if !holds {
                return may_do;
            }
        }
        may_do
    }

    /// The lookup of a peer that crashed is over.
    fn interrupt(&mut self, peer: u32) {
        if self.plan.search == Search::Ask
            && let Some(lookup) = self.meter.under_way.get(&peer).copied()
        {
            self.interrupted += 1;
            self.end(lookup, Ended { at: self.world.now(), found: None, truncated: false });
        }
    }

    /// Lookups that came to their end in this step.
    fn end_lookups(&mut self) -> Result<(), RunError> {
        for (lookup, report) in std::mem::take(&mut self.meter.over) {
            if self.meter.lookups[lookup].ended.is_some() {
                continue;
            }
            let at = self.world.now();
            let holder = report.found.and_then(|holder| self.world.at(holder.addr()));
            self.check(lookup, &report, holder)?;
            let found = holder.map(|holder| (holder, hops(&report)));
            self.end(lookup, Ended { at, found, truncated: report.truncated });
        }
        for (lookup, ended) in self.overlay.take_ended() {
            self.end(lookup, ended);
        }
        Ok(())
    }

    fn end(&mut self, lookup: usize, ended: Ended) {
        let entry = &mut self.meter.lookups[lookup];
        if ended.found.is_some_and(|(holder, _)| holder != entry.searcher)
            && let Some(key) = entry.key
        {
            self.catalog.holders[key].push(entry.searcher);
        }
        self.meter.under_way.remove(&entry.searcher);
        entry.ended = Some(ended);
        self.ended += 1;
        if self.plan.every.is_none() && self.ended < self.plan.lookups {
            self.world.wake(Duration::ZERO, u64::from(self.ended));
        }
    }

    /// What always has to be so: whatever is found is held by whoever had it and by the searcher
    /// then. Where nothing goes wrong and everybody answers in time, whatever somebody holds is
    /// found.
    fn check(&self, lookup: usize, report: &FindReport, holder: Option<u32>) -> Result<(), RunError> {
        let Lookup { searcher, key, .. } = self.meter.lookups[lookup];
        let who = id_of(searcher);
        let holds = |peer: u32| self.world.peer(peer).contents().contains(&report.key);
        let unanswered = report.silent > 0 || report.tracker_failed.is_some();
        let problem = match (report.found, holder, key) {
            (None, ..) if !self.plan.is_calm() || unanswered => None,
            (None, _, Some(key)) => self.catalog.holders[key].first().map(|peer| {
                format!("client {who} does not find {}, which client {} holds", report.key, id_of(*peer))
            }),
            (None, _, None) => None,
            (Some(found), None, _) => {
                Some(format!("client {who} finds {} at {found}, who is nobody", report.key))
            }
            (Some(found), Some(holder), _) if !holds(holder) || !holds(searcher) => Some(format!(
                "client {who} obtains {} from client {}, and one of them does not hold it",
                report.key, found.id
            )),
            (Some(_), Some(_), _) => None,
        };
        problem.map_or(Ok(()), |problem| Err(RunError::Property(format!("lookup {lookup}: {problem}"))))
    }

    fn unfinished(&self) -> String {
        let under_way = self.meter.lookups.iter().position(|lookup| lookup.ended.is_none());
        match under_way {
            Some(lookup) => {
                let searcher = id_of(self.meter.lookups[lookup].searcher);
                format!(
                    "lookup {lookup} by client {searcher} has come to no end, and nothing happens any more"
                )
            }
            None => format!("only {} of {} lookups took place", self.ended, self.plan.lookups),
        }
    }
}

/// Where a peer of the population is.
pub(super) fn contact_of(world: &World, peer: u32) -> Contact {
    world.peer(peer).me()
}

/// How long ago.
pub(super) fn since(began: Instant, ended: &Ended) -> Duration {
    ended.at.since(began)
}
