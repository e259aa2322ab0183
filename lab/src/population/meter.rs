//! [`Meter`]: what is counted of the lookups and the load.

use std::collections::HashMap;

use askaround_core::Instant;
use askaround_core::message::{Answer, Message, Request};
use askaround_core::peer::{FindReport, Outcome, PeerInput, PeerOutput};
use askaround_core::search::Reason;
use askaround_core::tracker::TrackerInput;

use crate::world::engine::Observer;

/// One lookup.
#[derive(Debug, Clone)]
pub(super) struct Lookup {
    pub(super) searcher: u32,
    /// Which key of the catalog; `None` if nobody has it.
    pub(super) key: Option<usize>,
    pub(super) began: Instant,
    /// Questions and answers.
    pub(super) messages: u64,
    pub(super) ended: Option<Ended>,
}

/// How a lookup ended.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    /// When it was known.
    pub(super) at: Instant,
    /// Who has the key, and over how many peers the way to it led.
    pub(super) found: Option<(u32, u32)>,
    /// Whether a bound of the search ended it, not the network.
    pub(super) truncated: bool,
}

#[derive(Debug)]
pub(super) struct Meter {
    pub(super) lookups: Vec<Lookup>,
    /// Which lookup each peer has under way.
    pub(super) under_way: HashMap<u32, usize>,
    /// Lookups by the machines that are over and not looked at yet, with their reports.
    pub(super) over: Vec<(usize, FindReport)>,
    /// How many messages each peer was sent by lookups of others.
    pub(super) asked: Vec<u32>,
    /// How many questions the tracker was asked by lookups.
    pub(super) tracker_asked: u64,
    /// Registrations and renewals, by the peers.
    pub(super) upkeep: u64,
}

impl Meter {
    pub(super) fn new(peers: u32) -> Self {
        Self {
            lookups: Vec::new(),
            under_way: HashMap::new(),
            over: Vec::new(),
            asked: vec![0; peers as usize],
            tracker_asked: 0,
            upkeep: 0,
        }
    }

    fn count(&mut self, peer: u32) {
        if let Some(lookup) = self.under_way.get(&peer) {
            self.lookups[*lookup].messages += 1;
        }
    }
}

impl Observer for Meter {
    fn peer_input(&mut self, _: Instant, peer: u32, input: &PeerInput) {
        match input {
            PeerInput::Request { .. } => self.asked[peer as usize] += 1,
            PeerInput::Answered { result: Ok(Answer::Have(_) | Answer::Peers { .. }), .. } => {
                self.count(peer);
            }
            _ => {}
        }
    }

    fn peer_output(&mut self, _: Instant, peer: u32, output: &PeerOutput) {
        match output {
            PeerOutput::Ask { request: Request::Have(_) | Request::Known(_) | Request::List(_), .. } => {
                self.count(peer);
            }
            PeerOutput::Done { command, outcome: Outcome::Found { report, .. } } => {
                let number = usize::try_from(*command).expect("a place in a list");
                self.over.push((number, FindReport::clone(report)));
            }
            _ => {}
        }
    }

    fn tracker_input(&mut self, _: Instant, input: &TrackerInput) {
        match input {
            TrackerInput::Message { message: Message::Request(Request::List(_)), .. } => {
                self.tracker_asked += 1;
            }
            TrackerInput::Message { message: Message::Request(Request::Register(_)), .. } => self.upkeep += 1,
            _ => {}
        }
    }
}

/// Over how many peers the way to a key led: the holder counts, and everybody whose hint or list
/// led to it; the tracker and the searcher do not.
pub(super) fn hops(report: &FindReport) -> u32 {
    match report.route {
        // It held the key itself.
        None => 0,
        Some(Reason::Hint { further, .. }) => report.level + u32::from(further) + 2,
        Some(Reason::OwnOriginator | Reason::Listed | Reason::LongerList(_)) => report.level + 1,
    }
}
