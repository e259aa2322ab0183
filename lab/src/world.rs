//! A scenario in virtual time: the tracker and the peers that ship, driven without sockets by a
//! queue of events. The same scripts give the same logs as a run over TCP, and every message can
//! be looked at.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use askaround_core::Instant;
use askaround_core::clock::Turns;
use askaround_core::id::{Contact, PeerId};
use askaround_core::log::LogEntry;
use askaround_core::message::{Message, Request};
use askaround_core::peer::{AskError, AskId, Peer, PeerConfig, PeerInput, PeerOutput, Target};
use askaround_core::script::Script;
use askaround_core::tracker::{LabConfig, Tracker, TrackerConfig, TrackerInput, TrackerOutput};

/// How the world is.
#[derive(Debug, Clone)]
pub struct WorldConfig {
    /// Who may act when within a timestep.
    pub turns: Turns,
    /// How long a message is under way.
    pub latency: Duration,
    /// How many questions a search has open at most.
    pub width: usize,
}

impl Default for WorldConfig {
    fn default() -> Self {
        Self { turns: Turns::ById, latency: Duration::from_micros(100), width: 1 }
    }
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorldRun {
    /// Each peer's log.
    pub logs: BTreeMap<PeerId, Vec<LogEntry>>,
    /// The tracker's log.
    pub tracker_log: Vec<LogEntry>,
    /// Every message, in the order of arrival.
    pub transcript: Vec<Delivery>,
    /// Whether the tracker came to the end of the run and every peer was told.
    pub finished: bool,
}

/// A message that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// When.
    pub at: Instant,
    /// From whom; the tracker, if `None`.
    pub from: Option<PeerId>,
    /// To whom; the tracker, if `None`.
    pub to: Option<PeerId>,
    /// What.
    pub message: Message,
}

/// Runs `scripts`, in increasing id, each at its address, to the end.
pub fn run(scripts: &[Script], addresses: &[SocketAddr], config: &WorldConfig) -> WorldRun {
    let mut world = World::new(scripts, addresses, config);
    for peer in 0..world.peers.len() {
        world.peer_input(peer, PeerInput::Begin);
    }
    while world.step() {}
    WorldRun {
        finished: world.finished == scripts.len() + 1,
        logs: world.logs,
        tracker_log: world.tracker_log,
        transcript: world.transcript,
    }
}

struct World {
    now: Instant,
    latency: Duration,
    /// By time, then in the order in which they were sent.
    queue: BTreeMap<(Instant, u64), Event>,
    sent: u64,
    tracker: Tracker,
    peers: Vec<Node>,
    by_address: BTreeMap<SocketAddr, usize>,
    logs: BTreeMap<PeerId, Vec<LogEntry>>,
    tracker_log: Vec<LogEntry>,
    transcript: Vec<Delivery>,
    /// How many nodes have come to their end.
    finished: usize,
}

struct Node {
    id: PeerId,
    addr: SocketAddr,
    machine: Peer,
    /// What it asked the tracker, in order.
    asked_tracker: VecDeque<AskId>,
}

/// Something under way.
enum Event {
    ToTracker {
        peer: usize,
        message: Message,
    },
    FromTracker {
        peer: usize,
        message: Message,
    },
    ToPeer {
        from: usize,
        ask: AskId,
        to: usize,
        request: Request,
    },
    Answer {
        from: usize,
        ask: AskId,
        to: usize,
        message: Message,
    },
    /// Nobody listens there.
    Unreachable {
        peer: usize,
        ask: AskId,
    },
}

impl World {
    fn new(scripts: &[Script], addresses: &[SocketAddr], config: &WorldConfig) -> Self {
        let lab = LabConfig { turns: config.turns, expect: Some(scripts.len()), ..LabConfig::default() };
        let tracker = TrackerConfig { lab: Some(lab), ..TrackerConfig::default() };
        let node = |(script, addr): (&Script, &SocketAddr)| {
            let mut peer = PeerConfig { advertised_ip: Some(addr.ip()), ..PeerConfig::default() };
            peer.search.width = config.width;
            let machine = Peer::scripted(peer, Contact::new(script.id, *addr), script.clone());
            Node { id: script.id, addr: *addr, machine, asked_tracker: VecDeque::new() }
        };
        Self {
            now: Instant::ZERO,
            latency: config.latency,
            queue: BTreeMap::new(),
            sent: 0,
            tracker: Tracker::new(tracker, Instant::ZERO),
            peers: scripts.iter().zip(addresses).map(node).collect(),
            by_address: addresses.iter().enumerate().map(|(i, addr)| (*addr, i)).collect(),
            logs: scripts.iter().map(|script| (script.id, Vec::new())).collect(),
            tracker_log: Vec::new(),
            transcript: Vec::new(),
            finished: 0,
        }
    }

    /// The next event, or the next timer if nothing is under way. False when nothing is left.
    fn step(&mut self) -> bool {
        if let Some(((at, _), event)) = self.queue.pop_first() {
            self.now = at;
            self.deliver(event);
            return true;
        }
        let peers = self.peers.iter().filter_map(|node| node.machine.poll_timeout());
        let Some(at) = peers.chain(self.tracker.poll_timeout()).min() else { return false };
        self.now = self.now.max(at);
        if self.tracker.poll_timeout().is_some_and(|deadline| deadline <= self.now) {
            self.tracker_input(TrackerInput::Timeout);
        }
        for peer in 0..self.peers.len() {
            if self.peers[peer].machine.poll_timeout().is_some_and(|deadline| deadline <= self.now) {
                self.peer_input(peer, PeerInput::Timeout);
            }
        }
        true
    }

    fn send(&mut self, event: Event) {
        self.sent += 1;
        self.queue.insert((self.now + self.latency, self.sent), event);
    }

    fn deliver(&mut self, event: Event) {
        match event {
            Event::ToTracker { peer, message } => {
                self.record(Some(peer), None, &message);
                let from = self.peers[peer].addr.ip();
                let connection = peer as u64;
                self.tracker_input(TrackerInput::Message { connection, from, message });
            }
            Event::FromTracker { peer, message } => {
                self.record(None, Some(peer), &message);
                let answers = matches!(message, Message::Answer(_) | Message::Error(_));
                let ask = if answers { self.peers[peer].asked_tracker.pop_front() } else { None };
                let input = match (ask, message) {
                    (Some(ask), message) => answered(ask, message),
                    (None, message) => PeerInput::Tracker(message),
                };
                self.peer_input(peer, input);
            }
            Event::ToPeer { from, ask, to, request } => {
                let message = Message::Request(request);
                self.record(Some(from), Some(to), &message);
                let node = &mut self.peers[to];
                node.machine.handle(self.now, PeerInput::Request { connection: 0, message });
                if let Some(PeerOutput::Reply { message, .. }) = node.machine.poll_output() {
                    self.send(Event::Answer { from: to, ask, to: from, message });
                }
            }
            Event::Answer { from, ask, to, message } => {
                self.record(Some(from), Some(to), &message);
                self.peer_input(to, answered(ask, message));
            }
            Event::Unreachable { peer, ask } => {
                let result = Err(AskError::Unreachable("nobody listens there".into()));
                self.peer_input(peer, PeerInput::Answered { ask, result });
            }
        }
    }

    fn record(&mut self, from: Option<usize>, to: Option<usize>, message: &Message) {
        let id = |peer: Option<usize>| peer.map(|peer| self.peers[peer].id);
        let delivery = Delivery { at: self.now, from: id(from), to: id(to), message: message.clone() };
        self.transcript.push(delivery);
    }

    fn tracker_input(&mut self, input: TrackerInput) {
        self.tracker.handle(self.now, input);
        while let Some(output) = self.tracker.poll_output() {
            match output {
                TrackerOutput::Send(connection, message) => {
                    if let Ok(peer) = usize::try_from(connection) {
                        self.send(Event::FromTracker { peer, message });
                    }
                }
                TrackerOutput::Log(entry) => self.tracker_log.push(entry),
                TrackerOutput::Finished => self.finished += 1,
                TrackerOutput::Close(_) | TrackerOutput::Clocked(_) | TrackerOutput::LeftOut { .. } => {}
            }
        }
    }

    fn peer_input(&mut self, peer: usize, input: PeerInput) {
        self.peers[peer].machine.handle(self.now, input);
        while let Some(output) = self.peers[peer].machine.poll_output() {
            match output {
                PeerOutput::Ask { ask, to: Target::Tracker, request } => {
                    self.peers[peer].asked_tracker.push_back(ask);
                    self.send(Event::ToTracker { peer, message: Message::Request(request) });
                }
                PeerOutput::Ask { ask, to: Target::Peer(addr), request } => {
                    let event = match self.by_address.get(&addr) {
                        Some(to) => Event::ToPeer { from: peer, ask, to: *to, request },
                        None => Event::Unreachable { peer, ask },
                    };
                    self.send(event);
                }
                PeerOutput::TellTracker(message) => self.send(Event::ToTracker { peer, message }),
                PeerOutput::Log(entry) => {
                    self.logs.entry(self.peers[peer].id).or_default().push(entry);
                }
                PeerOutput::Finished => self.finished += 1,
                // An answer to what was cancelled comes too late, and the machine ignores it. A
                // scripted peer has no commands, no store and no lease.
                PeerOutput::Cancel(_)
                | PeerOutput::Done { .. }
                | PeerOutput::Changed(_)
                | PeerOutput::Membership(_)
                | PeerOutput::Failed(_)
                | PeerOutput::Reply { .. } => {}
            }
        }
    }
}

fn answered(ask: AskId, message: Message) -> PeerInput {
    let result = match message {
        Message::Answer(answer) => Ok(answer),
        Message::Error(error) => Err(AskError::Refused(error)),
        other => Err(AskError::Misbehaved(format!("answered {other:?}"))),
    };
    PeerInput::Answered { ask, result }
}
