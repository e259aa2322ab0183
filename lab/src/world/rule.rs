//! [`Rule`]: what becomes of a message. Links and faults are rules; the world asks each of them
//! about every message.

use std::time::Duration;

use askaround_core::Instant;
use askaround_core::message::Message;

use super::random::Random;

/// A node of the world. Peers are numbered from 0, in the order in which they were added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The tracker.
    Tracker,
    /// A peer.
    Peer(u32),
}

/// How a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// As a question.
    Ask,
    /// As the answer to a question.
    Answer,
    /// On the connection that a scripted peer keeps with its tracker, of itself.
    Kept,
    /// As a parcel of whoever drives the world.
    Parcel,
}

/// A message that is about to travel.
#[derive(Debug, Clone, Copy)]
pub struct Crossing<'a> {
    /// When.
    pub at: Instant,
    /// From where.
    pub from: Place,
    /// To where.
    pub to: Place,
    /// How.
    pub way: Way,
    /// What it says; `None` if a connection is refused.
    pub message: Option<&'a Message>,
}

/// What a rule says of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: as far as this rule is concerned it arrives at once.
    Pass,
    /// It arrives, so much later.
    Late(Duration),
    /// It does not arrive: the connection fails, and who waits for it learns so after this long.
    Break(Duration),
    /// It does not arrive, and nobody is told: who waits runs into its own timeout.
    Vanish,
}

/// Decides what becomes of messages. What several rules say adds up; the first that lets a
/// message not arrive counts.
pub trait Rule {
    /// What becomes of this one. All chance comes from `random`.
    fn verdict(&mut self, crossing: &Crossing<'_>, random: &mut Random) -> Verdict;
}

/// What all rules together say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Arrives(Instant),
    Breaks(Instant),
    Vanishes,
}

pub(super) fn fate(rules: &mut [Box<dyn Rule>], crossing: &Crossing<'_>, random: &mut Random) -> Fate {
    let mut arrives = crossing.at;
    for rule in rules {
        match rule.verdict(crossing, random) {
            Verdict::Pass => {}
            Verdict::Late(by) => arrives = arrives + by,
            Verdict::Break(after) => return Fate::Breaks(arrives + after),
            Verdict::Vanish => return Fate::Vanishes,
        }
    }
    Fate::Arrives(arrives)
}
