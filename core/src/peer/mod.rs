//! [`Peer`]: the machine that holds a content list and an originator list, answers other peers,
//! and carries out actions, alone or from a script in lock-step.
//!
//! | module | what lives there |
//! | --- | --- |
//! | this one | [`Peer`]: its inputs, timers, script, registration and lists |
//! | `types` | what goes in and what comes out |
//! | `report` | how a search went, for people |
//! | `serve` | what it answers others |
//! | `operation` | one action under way, and what an answer makes of it |
//! | `membership` | a live peer's registration with its tracker |
//! | `perform` | how operations begin, ask, fetch and end |
//! | `asks` | what was asked and is awaited, and until when |

mod asks;
mod membership;
mod operation;
mod perform;
mod report;
mod serve;
mod types;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use crate::content::ContentList;
use crate::id::Contact;
use crate::key::Key;
use crate::message::{ErrorAnswer, ErrorCode, Message, Timestep};
use crate::originators::OriginatorList;
use crate::script::{Action, Script};
use crate::time::Instant;
use asks::{Asks, Awaited};
use membership::Membership;
use operation::{Operation, Owner};
pub use report::{FindReport, Said, TraceStep};
pub use types::{
    AskError, AskId, Asked, Change, CommandId, FailReason, Outcome, PeerConfig, PeerInput, PeerOutput,
    Registration, Standing, Target,
};

/// A peer (PROTOCOL.md §3, §4, §5).
#[derive(Debug, Clone)]
pub struct Peer {
    config: PeerConfig,
    me: Contact,
    contents: ContentList,
    originators: OriginatorList,
    /// Boxed, since a map makes room for eleven when it holds one, which is what most peers of a
    /// population do.
    operations: BTreeMap<u64, Box<Operation>>,
    next_operation: u64,
    asks: Asks,
    script: Option<ScriptRun>,
    fetching: BTreeSet<Key>,
    membership: Membership,
    outputs: VecDeque<PeerOutput>,
}

/// The script of a lab run and where it has got to.
#[derive(Debug, Clone)]
struct ScriptRun {
    end: Timestep,
    actions: VecDeque<(Timestep, Action)>,
    /// The timestep that is being acted, if one is.
    acting: Option<Timestep>,
    /// Who did not answer in time in the timestep that was acted last: it counts as not to be reached
    /// until the next. Somebody who hangs would otherwise cost this peer its own turn, question by
    /// question.
    silent: BTreeSet<SocketAddr>,
}

/// What a peer waits for. Each deadline is in [`Peer::poll_timeout`].
#[derive(Debug, Clone, Copy)]
enum Timer {
    /// Somebody does not answer.
    Ask,
    /// An operation takes too long altogether.
    Operation,
    /// A live peer's registration is to be renewed, or tried again.
    Renew,
}

impl Peer {
    /// A live peer. It registers by itself if it has a tracker.
    pub fn live(config: PeerConfig, me: Contact) -> Self {
        let mut peer = Self::new(config, me);
        peer.membership = Membership::new(peer.config.has_tracker);
        peer
    }

    /// A peer of a lab run. It registers when told [`PeerInput::Begin`].
    pub fn scripted(config: PeerConfig, me: Contact, script: Script) -> Self {
        let mut peer = Self::new(config, me);
        peer.script = Some(ScriptRun {
            end: script.end(),
            actions: script.actions.into(),
            acting: None,
            silent: BTreeSet::new(),
        });
        peer.contents = script.content.into_iter().collect();
        peer
    }

    fn new(config: PeerConfig, me: Contact) -> Self {
        Self {
            config,
            me,
            contents: ContentList::default(),
            originators: OriginatorList::default(),
            operations: BTreeMap::new(),
            next_operation: 0,
            asks: Asks::default(),
            script: None,
            fetching: BTreeSet::new(),
            membership: Membership::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Who this is and where it listens, as far as it knows.
    pub fn me(&self) -> Contact {
        self.me
    }

    /// What it holds.
    pub fn contents(&self) -> &ContentList {
        &self.contents
    }

    /// Whom it got what from.
    pub fn originators(&self) -> &OriginatorList {
        &self.originators
    }

    /// Puts back a change that was stored before, without putting it out again.
    pub fn restore(&mut self, change: Change) {
        self.apply(change);
    }

    /// Takes one input. Poll the outputs afterwards.
    pub fn handle(&mut self, now: Instant, input: PeerInput) {
        match input {
            PeerInput::Begin => {
                if self.script.is_some() {
                    self.begin_operation(now, Owner::Joining, &Action::Register, false);
                }
            }
            PeerInput::Request { connection, message } => {
                let answer = match message {
                    Message::Request(request) => self.serve(&request),
                    _ => Err(ErrorAnswer::new(ErrorCode::NotServed, "a peer is sent requests")),
                };
                let message = answer.map_or_else(Message::Error, Message::Answer);
                self.outputs.push_back(PeerOutput::Reply { connection, message });
            }
            PeerInput::Command { command, action, trace } => {
                self.begin_operation(now, Owner::Command(command), &action, trace);
            }
            PeerInput::Abandon(command) => self.abandon(command),
            PeerInput::Fetching(key, true) => _ = self.fetching.insert(key),
            PeerInput::Fetching(key, false) => _ = self.fetching.remove(&key),
            PeerInput::Delivered { keys, from } => {
                for key in keys {
                    let change = match (from, self.contents.contains(&key)) {
                        (Some(from), false) => Change::Obtained(key, from),
                        (Some(from), true) => Change::Originator(key, from),
                        (None, false) => Change::Held(key),
                        (None, true) => continue,
                    };
                    self.change(change);
                }
            }
            PeerInput::Answered { ask, result } => self.answered(now, ask, result),
            PeerInput::Fetched { ask, result } => self.fetched(now, ask, result.is_ok()),
            PeerInput::Tracker(message) => self.tracker_says(now, &message),
            PeerInput::TrackerLost(why) => {
                if self.script.take().is_some() {
                    self.outputs.push_back(PeerOutput::Failed(FailReason::TrackerLost(why)));
                }
            }
            PeerInput::Timeout => {
                for timer in [Timer::Ask, Timer::Operation, Timer::Renew] {
                    self.fire(now, timer);
                }
            }
        }
    }

    /// The next thing to do, in order.
    pub fn poll_output(&mut self) -> Option<PeerOutput> {
        self.outputs.pop_front()
    }

    /// Gives back the room that outputs took. For whoever drives a million peers, most of which have
    /// nothing to say at any moment; a peer that answers one request after the other uses it again.
    pub fn give_back_room(&mut self) {
        if self.outputs.is_empty() {
            self.outputs = VecDeque::new();
        }
    }

    /// When to call with [`PeerInput::Timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let timers = [Timer::Ask, Timer::Operation, Timer::Renew];
        timers.into_iter().filter_map(|timer| self.deadline(timer)).min()
    }

    fn deadline(&self, timer: Timer) -> Option<Instant> {
        match timer {
            Timer::Ask => self.asks.next_deadline(),
            Timer::Operation => self.operations.values().map(|o| o.deadline).min(),
            Timer::Renew => self.membership.renew_at,
        }
    }

    fn fire(&mut self, now: Instant, timer: Timer) {
        match timer {
            Timer::Ask => {
                while let Some((operation, question)) = self.asks.next_slow(now) {
                    self.is_slow(now, operation, question);
                }
                while let Some((ask, what)) = self.asks.late(now) {
                    self.outputs.push_back(PeerOutput::Cancel(ask));
                    match what {
                        Awaited::Fetch => self.fetched(now, ask, false),
                        Awaited::Answer { .. } => self.answered(now, ask, Err(AskError::TimedOut)),
                    }
                }
            }
            Timer::Operation => {
                let late = self.operations.iter().filter(|(_, o)| o.deadline <= now);
                let late: Vec<u64> = late.map(|(number, _)| *number).collect();
                for number in late {
                    self.end_operation(now, number, |operation| operation.timed_out());
                }
            }
            Timer::Renew => {
                if self.membership.renew_at.is_some_and(|at| at <= now) {
                    self.membership.renew_at = None;
                    self.begin_operation(now, Owner::Membership, &Action::Register, false);
                }
            }
        }
    }

    fn tracker_says(&mut self, now: Instant, message: &Message) {
        let Some(script) = &mut self.script else { return };
        match message {
            Message::Go(time) if script.acting.is_none() => {
                script.acting = Some(*time);
                script.silent.clear();
                self.run_script(now);
            }
            Message::Finish => {
                self.script = None;
                self.outputs.push_back(PeerOutput::Finished);
            }
            Message::Error(error) => {
                self.script = None;
                self.outputs.push_back(PeerOutput::Failed(FailReason::Refused(error.clone())));
            }
            _ => {}
        }
    }

    /// Begins the next action of the timestep, or completes it.
    fn run_script(&mut self, now: Instant) {
        while let Some(script) = &mut self.script
            && let Some(time) = script.acting
        {
            if script.actions.front().is_some_and(|(at, _)| *at <= time)
                && let Some((_, action)) = script.actions.pop_front()
            {
                if !self.begin_operation(now, Owner::Script(time), &action, false) {
                    return;
                }
            } else {
                script.acting = None;
                self.outputs.push_back(PeerOutput::TellTracker(Message::Complete(time)));
            }
        }
    }

    fn change(&mut self, change: Change) {
        self.apply(change.clone());
        self.outputs.push_back(PeerOutput::Changed(change));
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Held(key) => {
                self.contents.add(key);
            }
            Change::Purged(key) => {
                self.contents.purge(&key);
            }
            Change::Obtained(key, from) => {
                self.contents.add(key.clone());
                self.originators.record(key, from);
            }
            Change::Originator(key, from) => self.originators.record(key, from),
        }
    }
}
