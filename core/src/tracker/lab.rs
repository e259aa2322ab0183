//! [`Lab`]: the clock of a lab run and the connections that take part in it (PROTOCOL.md §4).

use std::collections::{BTreeMap, VecDeque};

use super::{ConnectionId, LabConfig, TrackerOutput, refused};
use crate::clock::{Clock, ClockEvent};
use crate::id::{Contact, PeerId};
use crate::log::{LogEntry, registered_text};
use crate::message::{ErrorAnswer, ErrorCode, Message, Timestep};
use crate::registry::{Refusal, Registry};
use crate::time::Instant;

#[derive(Debug, Clone)]
pub(super) struct Lab {
    clock: Clock,
    expect: Option<usize>,
    gather_until: Instant,
    connections: BTreeMap<ConnectionId, PeerId>,
    by_peer: BTreeMap<PeerId, ConnectionId>,
}

impl Lab {
    pub(super) fn new(config: &LabConfig, now: Instant) -> Self {
        Self {
            clock: Clock::new(config.turns, config.step_timeout),
            expect: config.expect,
            gather_until: now + config.gather,
            connections: BTreeMap::new(),
            by_peer: BTreeMap::new(),
        }
    }

    /// How many peers take part.
    pub(super) fn members(&self) -> usize {
        self.clock.members()
    }

    /// When the gathering ends, unless it has.
    pub(super) fn gather_until(&self) -> Option<Instant> {
        (!self.clock.has_started()).then_some(self.gather_until)
    }

    /// When the turn that is running runs out.
    pub(super) fn turn_until(&self) -> Option<Instant> {
        self.clock.poll_timeout()
    }

    /// The gathering is over.
    pub(super) fn start(&mut self, now: Instant) {
        self.clock.start(now);
    }

    pub(super) fn start_if_complete(&mut self, now: Instant) {
        if self.expect.is_some_and(|expected| self.clock.members() >= expected) {
            self.clock.start(now);
        }
    }

    pub(super) fn turn_ran_out(&mut self, now: Instant) {
        self.clock.handle_timeout(now);
    }

    /// Whether a clocked registration may come now and on this connection.
    pub(super) fn may_join(&self, connection: ConnectionId, id: PeerId) -> Result<(), ErrorAnswer> {
        if self.connections.get(&connection) == Some(&id) {
            return Ok(());
        }
        if self.clock.has_started() {
            let text = format!("the run has started without client {id}");
            return Err(ErrorAnswer::new(ErrorCode::Started, text));
        }
        if self.connections.contains_key(&connection) {
            let text = "one clocked registration a connection";
            return Err(ErrorAnswer::new(ErrorCode::IdTaken, text));
        }
        if self.by_peer.contains_key(&id) {
            return Err(refused(Refusal::IdTaken, id));
        }
        Ok(())
    }

    /// Whether the peer takes part now: not if it registers again in the middle of the run.
    pub(super) fn join(&mut self, connection: ConnectionId, id: PeerId, script_end: Timestep) -> bool {
        if self.clock.has_started() {
            return false;
        }
        self.connections.insert(connection, id);
        self.by_peer.insert(id, connection);
        self.clock.join(id, script_end);
        true
    }

    pub(super) fn complete(&mut self, now: Instant, connection: ConnectionId, time: Timestep) {
        if let Some(id) = self.connections.get(&connection) {
            self.clock.complete(now, *id, time);
        }
    }

    pub(super) fn disconnected(&mut self, now: Instant, connection: ConnectionId, registry: &mut Registry) {
        let Some(id) = self.connections.remove(&connection) else { return };
        self.by_peer.remove(&id);
        if !self.clock.has_started() {
            // It never took part, so it was never here.
            registry.remove(id);
        }
        self.clock.connection_broke(now, id);
    }

    /// Puts out what the clock has come to.
    pub(super) fn drain(&mut self, now: Instant, registry: &Registry, outputs: &mut VecDeque<TrackerOutput>) {
        while let Some(event) = self.clock.poll_event() {
            let connection = |id: &PeerId| self.by_peer.get(id).copied();
            match event {
                ClockEvent::Start(id) => send(outputs, connection(&id), Message::Start),
                ClockEvent::Go(id, time) => send(outputs, connection(&id), Message::Go(time)),
                ClockEvent::Finish(id) => send(outputs, connection(&id), Message::Finish),
                ClockEvent::TimestepOver(time) => {
                    let text = registered_text(&all_registered(registry, now));
                    outputs.push_back(TrackerOutput::Log(LogEntry { time, text }));
                }
                ClockEvent::LeftOut { id, time, why } => {
                    if let Some(connection) = connection(&id) {
                        let text = format!("client {id} overran timestep {time}");
                        let error = ErrorAnswer::new(ErrorCode::LeftOut, text);
                        send(outputs, Some(connection), Message::Error(error));
                        outputs.push_back(TrackerOutput::Close(connection));
                    }
                    outputs.push_back(TrackerOutput::LeftOut { id, time, why });
                }
                ClockEvent::Over => outputs.push_back(TrackerOutput::Finished),
            }
        }
    }
}

fn all_registered(registry: &Registry, now: Instant) -> Vec<Contact> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = registry.list(now, after, usize::MAX);
        all.extend(page);
        match next {
            Some(_) => after = next,
            None => return all,
        }
    }
}

fn send(outputs: &mut VecDeque<TrackerOutput>, connection: Option<ConnectionId>, message: Message) {
    if let Some(connection) = connection {
        outputs.push_back(TrackerOutput::Send(connection, message));
    }
}
