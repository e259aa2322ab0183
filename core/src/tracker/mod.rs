//! [`Tracker`]: the machine that answers a tracker's requests; in a lab run, `lab` runs the clock for it.

mod lab;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use crate::clock::{LeftOutReason, Turns};
use crate::id::{Contact, PeerId};
use crate::log::LogEntry;
use crate::message::{Answer, ErrorAnswer, ErrorCode, Message, Page, Register, Request, Timestep};
use crate::registry::{Refusal, Registry, RegistryConfig};
use crate::time::Instant;
use lab::Lab;

/// A connection, numbered by the driver. A number is never used again.
pub type ConnectionId = u64;

/// How a tracker behaves. `Default` is a live one.
#[derive(Debug, Clone, Default)]
pub struct TrackerConfig {
    /// Limits of the registry.
    pub registry: RegistryConfig,
    /// Whether a peer may claim an address that its request does not come from.
    pub trust_addresses: bool,
    /// Run a lab's clock.
    pub lab: Option<LabConfig>,
}

/// How a lab run is clocked.
#[derive(Debug, Clone)]
pub struct LabConfig {
    /// How long to wait for registrations.
    pub gather: Duration,
    /// Start as soon as so many have registered.
    pub expect: Option<usize>,
    /// Who may act when.
    pub turns: Turns,
    /// How long a peer may take for its turn.
    pub step_timeout: Duration,
}

impl Default for LabConfig {
    /// Ten seconds to register, as the assignment says, and a minute a turn.
    fn default() -> Self {
        Self {
            gather: Duration::from_secs(10),
            expect: None,
            turns: Turns::ById,
            step_timeout: Duration::from_secs(60),
        }
    }
}

/// What happens to a tracker.
#[derive(Debug, Clone)]
pub enum TrackerInput {
    /// A message came on a connection.
    Message {
        /// Which.
        connection: ConnectionId,
        /// The address at its other end.
        from: IpAddr,
        /// What came.
        message: Message,
    },
    /// A connection is gone.
    Disconnected(ConnectionId),
    /// The time of [`Tracker::poll_timeout`] has come.
    Timeout,
}

/// What a tracker wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrackerOutput {
    /// Send this.
    Send(ConnectionId, Message),
    /// Close this, once everything sent before has gone out.
    Close(ConnectionId),
    /// This connection takes part in the clock now: it may be idle for ever.
    Clocked(ConnectionId),
    /// Append this to the log.
    Log(LogEntry),
    /// A peer no longer counts in this run.
    LeftOut {
        /// Who.
        id: PeerId,
        /// In which timestep.
        time: Timestep,
        /// Why.
        why: LeftOutReason,
    },
    /// The lab run is over.
    Finished,
}

/// A tracker (PROTOCOL.md §2, §4).
#[derive(Debug, Clone)]
pub struct Tracker {
    registry: Registry,
    trust_addresses: bool,
    lab: Option<Lab>,
    next_sweep: Instant,
    outputs: VecDeque<TrackerOutput>,
}

/// What a tracker waits for. Each deadline is in [`Tracker::poll_timeout`].
#[derive(Debug, Clone, Copy)]
enum Timer {
    /// The gathering of a lab run ends.
    Gather,
    /// A turn in the lab runs out.
    Turn,
    /// The next part of the registry is looked through for leases that ran out.
    Sweep,
}

/// The registry is looked through in parts, one a second, so that no request waits long.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
const SWEEP_PART: usize = 20_000;

impl Tracker {
    /// A tracker that begins at `now`.
    pub fn new(config: TrackerConfig, now: Instant) -> Self {
        let lab = config.lab.map(|lab| Lab::new(&lab, now));
        let mut registry = config.registry;
        if lab.is_some() {
            // A lab run is as long as its scripts, and forgets nobody.
            registry.lease = None;
            registry.forget_after = Duration::MAX;
        }
        Self {
            registry: Registry::new(registry),
            trust_addresses: config.trust_addresses,
            lab,
            next_sweep: now + SWEEP_EVERY,
            outputs: VecDeque::new(),
        }
    }

    /// Who is registered.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// How many peers take part in the clock.
    pub fn clocked(&self) -> usize {
        self.lab.as_ref().map_or(0, Lab::members)
    }

    /// Takes one input. Poll the outputs afterwards.
    pub fn handle(&mut self, now: Instant, input: TrackerInput) {
        match input {
            TrackerInput::Message { connection, from, message } => match message {
                Message::Request(request) => {
                    let answer = self.answer(now, connection, from, request);
                    let message = answer.map_or_else(Message::Error, Message::Answer);
                    self.outputs.push_back(TrackerOutput::Send(connection, message));
                    if let Some(lab) = &mut self.lab {
                        lab.start_if_complete(now);
                    }
                }
                Message::Complete(time) => {
                    if let Some(lab) = &mut self.lab {
                        lab.complete(now, connection, time);
                    }
                }
                _ => {
                    let text = "a tracker is sent requests and C";
                    let error = ErrorAnswer::new(ErrorCode::NotServed, text);
                    self.outputs.push_back(TrackerOutput::Send(connection, Message::Error(error)));
                }
            },
            TrackerInput::Disconnected(connection) => {
                if let Some(lab) = &mut self.lab {
                    lab.disconnected(now, connection, &mut self.registry);
                }
            }
            TrackerInput::Timeout => {
                for timer in [Timer::Gather, Timer::Turn, Timer::Sweep] {
                    if self.deadline(timer).is_some_and(|deadline| deadline <= now) {
                        self.fire(now, timer);
                    }
                }
            }
        }
        if let Some(lab) = &mut self.lab {
            lab.drain(now, &self.registry, &mut self.outputs);
        }
    }

    /// The next thing to do, in order.
    pub fn poll_output(&mut self) -> Option<TrackerOutput> {
        self.outputs.pop_front()
    }

    /// When to call with [`TrackerInput::Timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let timers = [Timer::Gather, Timer::Turn, Timer::Sweep];
        timers.into_iter().filter_map(|timer| self.deadline(timer)).min()
    }

    fn deadline(&self, timer: Timer) -> Option<Instant> {
        match timer {
            Timer::Gather => self.lab.as_ref().and_then(Lab::gather_until),
            Timer::Turn => self.lab.as_ref().and_then(Lab::turn_until),
            Timer::Sweep => self.registry.lease().map(|_| self.next_sweep),
        }
    }

    fn fire(&mut self, now: Instant, timer: Timer) {
        match (timer, &mut self.lab) {
            (Timer::Gather, Some(lab)) => lab.start(now),
            (Timer::Turn, Some(lab)) => lab.turn_ran_out(now),
            (Timer::Sweep, _) => {
                self.registry.sweep(now, SWEEP_PART);
                self.next_sweep = now + SWEEP_EVERY;
            }
            (_, None) => {}
        }
    }

    fn answer(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        from: IpAddr,
        request: Request,
    ) -> Result<Answer, ErrorAnswer> {
        match request {
            Request::Register(register) => self.register(now, connection, from, &register),
            Request::Unregister { id, token } => self
                .registry
                .unregister(now, id, token.as_deref())
                .map(|()| Answer::Unregistered(id))
                .map_err(|refusal| refused(refusal, id)),
            Request::List(Page { after, limit }) => {
                let (peers, next) = self.registry.list(now, after, limit);
                Ok(Answer::Peers { peers, next })
            }
            Request::WhereIs(id) => match self.registry.lookup(id) {
                Some(contact) => Ok(Answer::Peer(contact)),
                None => Err(refused(Refusal::UnknownPeer, id)),
            },
            Request::Have(_)
            | Request::Known(_)
            | Request::Contents(_)
            | Request::Describe(_)
            | Request::Hashes { .. }
            | Request::Interest(_)
            | Request::Get { .. } => {
                let text = "a tracker has no content and knows of none: ask a peer";
                Err(ErrorAnswer::new(ErrorCode::NotServed, text))
            }
        }
    }

    fn register(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        from: IpAddr,
        register: &Register,
    ) -> Result<Answer, ErrorAnswer> {
        let id = register.id;
        let ip = register.ip.unwrap_or(from).to_canonical();
        if ip != from.to_canonical() && !from.to_canonical().is_loopback() && !self.trust_addresses {
            let text = format!("this request comes from {from}, not from {ip}");
            return Err(ErrorAnswer::new(ErrorCode::WrongAddress, text));
        }
        if register.script_end.is_some() {
            let Some(lab) = &self.lab else {
                let text = "this is a live tracker, it runs no clock";
                return Err(ErrorAnswer::new(ErrorCode::NotServed, text));
            };
            lab.may_join(connection, id)?;
        }
        let contact = Contact { id, ip, port: register.port };
        self.registry
            .register(now, contact, register.token.as_deref())
            .map_err(|refusal| refused(refusal, id))?;
        if let (Some(end), Some(lab)) = (register.script_end, &mut self.lab)
            && lab.join(connection, id, end)
        {
            self.outputs.push_back(TrackerOutput::Clocked(connection));
        }
        Ok(Answer::Registered {
            contact,
            lease_s: self.registry.lease().map(|lease| lease.as_secs().try_into().unwrap_or(u32::MAX)),
            peers: register.list.map(|count| self.registry.followers(now, id, count)),
        })
    }
}

fn refused(refusal: Refusal, id: PeerId) -> ErrorAnswer {
    match refusal {
        Refusal::IdTaken => {
            let text = format!("another peer is registered as client {id}");
            ErrorAnswer::new(ErrorCode::IdTaken, text)
        }
        Refusal::Full => ErrorAnswer::new(ErrorCode::Full, "no room for another peer"),
        Refusal::UnknownPeer => {
            let text = format!("no peer {id} was ever registered here");
            ErrorAnswer::new(ErrorCode::UnknownPeer, text)
        }
    }
}
