//! A population: live peers by the thousand or million in virtual time, and what lookups cost.
//!
//! | module | what lives there |
//! | --- | --- |
//! | this one | [`Plan`], what a population is and does; [`run`] |
//! | `place` | who holds and knows what at the start |
//! | `meter` | what is counted of the lookups and the load |
//! | `drive` | the lookups, one after the other or every so often |
//! | `overlay` | flooding and random walks, to compare with |
//! | [`report`] | the figures, and how they grow |
//!
//! The peers and the tracker are the machines that ship; the lists at the start are handed to them
//! as a peer's store hands them back after a restart.

mod drive;
mod meter;
mod overlay;
mod place;
pub mod report;

#[cfg(test)]
mod tests;

use std::time::Duration;

use askaround_core::PeerId;
use askaround_core::peer::PeerConfig;

use crate::world::faults::{Fault, FaultError};
use crate::world::links::Links;
use report::Report;

/// What a population is and does.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// How many peers there are.
    pub peers: u32,
    /// How many keys there are.
    pub keys: u32,
    /// How many peers hold a key at the start; with [`Plan::zipf`], on average.
    pub copies: u32,
    /// Popularity: the key of rank r is held and looked for in proportion to 1/r to this power.
    pub zipf: Option<f64>,
    /// How many lookups there are.
    pub lookups: u32,
    /// So many of them are for keys that nobody has, from 0 to 1.
    pub missing: f64,
    /// From how many others, chosen by chance, everybody has once obtained something.
    pub known: u32,
    /// How a key is looked for.
    pub search: Search,
    /// How many questions a search has open at most.
    pub width: usize,
    /// What connects the nodes.
    pub links: Links,
    /// What goes wrong. Times count from the first lookup.
    pub faults: Vec<Fault>,
    /// How peers come and go, if they do.
    pub churn: Option<Churn>,
    /// A lookup begins every so often; if `None`, when the one before is over.
    pub every: Option<Duration>,
    /// How long a registration lasts unless renewed; for ever, if `None`.
    pub lease: Option<Duration>,
    /// How long a lookup may take before it is given up; for ever, if `None`.
    pub give_up: Option<Duration>,
    /// Where all chance comes from.
    pub seed: u64,
}

/// How a key is looked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Search {
    /// By the machine that ships: tracker's list, hints, longer list.
    Ask,
    /// Everybody passes the question on to everybody it knows, so many times (Lv et al., "Search
    /// and Replication in Unstructured Peer-to-Peer Networks", 2002).
    Flood {
        /// How often at most a question is passed on.
        ttl: u32,
    },
    /// So many walkers go from peer to peer by chance (the same paper).
    Walk {
        /// How many.
        walkers: u32,
        /// How many steps at most each takes.
        ttl: u32,
    },
}

/// Peers crash and start again at any moment as likely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Churn {
    /// For how long a peer is there, on average.
    pub up: Duration,
    /// For how long it is gone then, on average.
    pub down: Duration,
}

/// The most peers of a population: they have the addresses from 10.0.0.1 on.
pub const MAX_PEERS: u32 = 10_000_000;

/// The most keys of a population.
pub const MAX_KEYS: u32 = 10_000_000;

/// The most entries that all peers' lists have together at the start, of keys that are held and of
/// others that are known: each takes about a hundred bytes.
pub const MAX_ENTRIES: u64 = 100_000_000;

/// So long in virtual time everybody may take to register, before any lookup.
const SETTLES: Duration = Duration::from_secs(3600);

/// Every so many events, or steps of the making, it is asked whether to stop.
const LOOK_UP_EVERY: u64 = 4096;

/// A plan that cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No peers, or too many.
    #[error("a population has 1 to {MAX_PEERS} peers, not {0}")]
    Peers(u32),
    /// A key cannot be held more than once by a peer.
    #[error("{copies} copies of a key need as many peers, and there are only {peers}")]
    Copies {
        /// How many copies.
        copies: u32,
        /// How many peers.
        peers: u32,
    },
    /// Somebody would have to know itself.
    #[error("with {peers} peers nobody can know {known} others")]
    Known {
        /// How many others.
        known: u32,
        /// How many peers.
        peers: u32,
    },
    /// There is nothing to look for.
    #[error("there is no key to look for: --keys is 0, or 100% of the lookups have to be --missing")]
    NoKeys,
    /// Too many keys.
    #[error("a population has at most {MAX_KEYS} keys, not {0}")]
    Keys(u32),
    /// Too much is held or known.
    #[error("{what} are {entries} entries in the lists of all peers, and there is room for {MAX_ENTRIES}")]
    Entries {
        /// The numbers that are multiplied.
        what: String,
        /// How many entries.
        entries: u64,
    },
    /// Nobody can reach anybody.
    #[error("over such links nobody gets an answer: {0}")]
    Links(String),
    /// A fault that cannot be.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// Without set times nobody knows how long the run lasts.
    #[error("faults and churn need lookups at set times: say how often one begins (every)")]
    NoTimes,
}

impl Plan {
    /// How long lookups are begun for, if that is set.
    pub fn lasts(&self) -> Option<Duration> {
        self.every.map(|every| every.saturating_mul(self.lookups))
    }

    /// Checks everything that can be known before the run.
    ///
    /// # Errors
    /// If it cannot be carried out.
    pub fn check(&self) -> Result<(), PlanError> {
        if !(1..=MAX_PEERS).contains(&self.peers) {
            return Err(PlanError::Peers(self.peers));
        }
        if self.copies > self.peers {
            return Err(PlanError::Copies { copies: self.copies, peers: self.peers });
        }
        if self.known >= self.peers {
            return Err(PlanError::Known { known: self.known, peers: self.peers });
        }
        if self.keys == 0 && self.missing < 1.0 {
            return Err(PlanError::NoKeys);
        }
        if self.keys > MAX_KEYS {
            return Err(PlanError::Keys(self.keys));
        }
        for (what, many, each) in [
            (format!("{} copies of {} keys", self.copies, self.keys), self.keys, self.copies),
            (format!("{} others known to {} peers", self.known, self.peers), self.peers, self.known),
        ] {
            let entries = u64::from(many) * u64::from(each);
            if entries > MAX_ENTRIES {
                return Err(PlanError::Entries { what, entries });
            }
        }
        self.check_links()?;
        if self.every.is_none() && (!self.faults.is_empty() || self.churn.is_some()) {
            return Err(PlanError::NoTimes);
        }
        for fault in &self.faults {
            if let Some(lasts) = self.lasts() {
                fault.within(lasts)?;
            }
            if let Some(id) = fault.stranger(self.peers) {
                return Err(FaultError::NoSuchPeer { fault: fault.to_string(), id }.into());
            }
        }
        Ok(())
    }

    /// What can be known of the links before the run; what cannot shows when everybody registers.
    fn check_links(&self) -> Result<(), PlanError> {
        let patience = PeerConfig::default().ask_timeout;
        if self.links.loss >= 1.0 {
            return Err(PlanError::Links("100% of the questions are lost".into()));
        }
        if self.links.latency.saturating_mul(2) >= patience {
            return Err(PlanError::Links(format!(
                "a question waits {patience:?} for its answer, and a message alone takes {:?} (a bare number is seconds: 20ms is usual)",
                self.links.latency
            )));
        }
        Ok(())
    }

    /// Whether nothing can go wrong but an answer that comes too late, so that whatever somebody holds is found.
    fn is_calm(&self) -> bool {
        self.faults.is_empty()
            && self.churn.is_none()
            && self.links.loss == 0.0
            && self.give_up.is_none()
            && self.search == Search::Ask
    }
}

/// Why a run came to no end.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RunError {
    /// The plan cannot be carried out.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The links are so slow or bad that not everybody could register.
    #[error(
        "over these links only {registered} of {peers} peers could register within {SETTLES:?} of virtual time: a question waits {:?} for its answer; see --latency, --jitter, --bandwidth and --loss (a bare number is seconds, or bits a second)",
        PeerConfig::default().ask_timeout
    )]
    Unsettled {
        /// How many could.
        registered: u32,
        /// How many there are.
        peers: u32,
    },
    /// It was told to stop.
    #[error("stopped")]
    Stopped,
    /// Something that always has to be so was not: a bug.
    #[error("not so, and it always has to be: {0}")]
    Property(String),
}

/// Carries out `plan`. `stop` is asked now and then whether to end at once.
///
/// # Errors
/// As [`RunError`] says.
pub fn run(plan: &Plan, stop: &dyn Fn() -> bool) -> Result<Report, RunError> {
    plan.check()?;
    let (mut world, catalog) = place::settle(plan, stop)?;
    drive::Drive::new(plan, &mut world, catalog).run(stop)
}

/// The id of the peer in this place: they are numbered from 1.
pub(crate) fn id_of(peer: u32) -> PeerId {
    PeerId::new(u64::from(peer) + 1).unwrap_or(PeerId::MAX)
}
