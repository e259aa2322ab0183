//! A scenario in virtual time: the tracker and the peers that ship, driven without sockets by a
//! queue of events. The same scripts give the same logs as a run over TCP, and every message can
//! be looked at.
//!
//! Events go by time, and those of one time in the order in which they were sent; a timer comes
//! after the messages of its time. Nothing else decides, so a run can be repeated exactly. How
//! long a message takes is asked in one place, [`WorldConfig::latency`].

mod finds;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use askaround_core::Instant;
use askaround_core::clock::Turns;
use askaround_core::id::{Contact, PeerId};
use askaround_core::log::LogEntry;
use askaround_core::message::{Message, Request};
use askaround_core::peer::{AskError, AskId, Change, Peer, PeerConfig, PeerInput, PeerOutput, Target};
use askaround_core::script::Script;
use askaround_core::tracker::{LabConfig, Tracker, TrackerConfig, TrackerInput, TrackerOutput};

use finds::Recorder;
pub use finds::{Exchange, Find};

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
        Self { turns: Turns::ById, latency: Duration::from_micros(1), width: 1 }
    }
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct WorldRun {
    /// Each peer's log.
    pub logs: BTreeMap<PeerId, Vec<LogEntry>>,
    /// The tracker's log.
    pub tracker_log: Vec<LogEntry>,
    /// What each peer found with `Q`, one entry an action, in order.
    pub finds: BTreeMap<PeerId, Vec<Find>>,
    /// Every message, in the order of arrival.
    pub transcript: Vec<Delivery>,
    /// What went wrong, in words; empty if nothing did.
    pub troubles: Vec<String>,
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

/// Runs `scripts`, each at its address, to the end. They register in the order given, which is
/// by increasing id in a run over TCP.
pub fn run(scripts: &[Script], addresses: &[SocketAddr], config: &WorldConfig) -> WorldRun {
    let mut world = World::new(scripts, addresses, config);
    world.rearm(None);
    for peer in 0..world.peers.len() {
        world.peer_input(peer, PeerInput::Begin);
    }
    while world.step() {}
    let (mut logs, mut finds) = (BTreeMap::new(), BTreeMap::new());
    for node in world.peers {
        logs.insert(node.id, node.log);
        finds.insert(node.id, node.recorder.into_finds());
    }
    WorldRun {
        logs,
        tracker_log: world.tracker_log,
        finds,
        transcript: world.transcript,
        troubles: world.troubles,
        finished: world.finished == scripts.len() + 1,
    }
}

struct World {
    now: Instant,
    latency: Duration,
    /// By time, then in the order in which they were sent.
    queue: BTreeMap<(Instant, u64), Event>,
    sent: u64,
    /// When each machine wants to be called; `None` is the tracker.
    timers: BTreeSet<(Instant, Option<usize>)>,
    tracker: Tracker,
    tracker_timer: Option<Instant>,
    peers: Vec<Node>,
    by_address: BTreeMap<SocketAddr, usize>,
    tracker_log: Vec<LogEntry>,
    transcript: Vec<Delivery>,
    troubles: Vec<String>,
    /// How many nodes have come to their end.
    finished: usize,
}

struct Node {
    id: PeerId,
    addr: SocketAddr,
    machine: Peer,
    timer: Option<Instant>,
    /// What it asked the tracker, in order.
    asked_tracker: VecDeque<AskId>,
    log: Vec<LogEntry>,
    recorder: Recorder,
}

/// Something under way. Peers are numbered by their place in [`World::peers`].
enum Event {
    ToTracker {
        peer: usize,
        message: Message,
    },
    FromTracker {
        peer: usize,
        message: Message,
    },
    /// The tracker closed the connection of this peer.
    Closed {
        peer: usize,
    },
    /// This peer has failed and so closed its connection with the tracker.
    Left {
        peer: usize,
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
        assert_eq!(scripts.len(), addresses.len(), "an address a script");
        let lab = LabConfig { turns: config.turns, expect: Some(scripts.len()), ..LabConfig::default() };
        let tracker = TrackerConfig { lab: Some(lab), ..TrackerConfig::default() };
        let node = |(script, addr): (&Script, &SocketAddr)| {
            let mut peer = PeerConfig { advertised_ip: Some(addr.ip()), ..PeerConfig::default() };
            peer.search.width = config.width;
            let me = Contact::new(script.id, *addr);
            Node {
                id: script.id,
                addr: *addr,
                recorder: Recorder::new(me, script, peer.search.clone()),
                machine: Peer::scripted(peer, me, script.clone()),
                timer: None,
                asked_tracker: VecDeque::new(),
                log: Vec::new(),
            }
        };
        Self {
            now: Instant::ZERO,
            latency: config.latency,
            queue: BTreeMap::new(),
            sent: 0,
            timers: BTreeSet::new(),
            tracker: Tracker::new(tracker, Instant::ZERO),
            tracker_timer: None,
            peers: scripts.iter().zip(addresses).map(node).collect(),
            by_address: addresses.iter().enumerate().map(|(i, addr)| (*addr, i)).collect(),
            tracker_log: Vec::new(),
            transcript: Vec::new(),
            troubles: Vec::new(),
            finished: 0,
        }
    }

    /// The next event or timer, whichever comes first. False when nothing is left.
    fn step(&mut self) -> bool {
        let message = self.queue.first_key_value().map(|((at, _), _)| *at);
        let timer = self.timers.first().copied();
        match (message, timer) {
            // An answer that comes just in time counts.
            (Some(at), timer) if timer.is_none_or(|(deadline, _)| at <= deadline) => {
                if let Some((_, event)) = self.queue.pop_first() {
                    self.now = at;
                    self.deliver(event);
                }
            }
            (_, Some((at, node))) => {
                self.now = self.now.max(at);
                match node {
                    Some(peer) => self.peer_input(peer, PeerInput::Timeout),
                    None => self.tracker_input(TrackerInput::Timeout),
                }
            }
            _ => return false,
        }
        true
    }

    /// Notes when a machine wants to be called, after each of its inputs.
    fn rearm(&mut self, node: Option<usize>) {
        let (before, wanted) = match node {
            Some(peer) => {
                let node = &mut self.peers[peer];
                (&mut node.timer, node.machine.poll_timeout())
            }
            None => (&mut self.tracker_timer, self.tracker.poll_timeout()),
        };
        if *before != wanted {
            if let Some(at) = std::mem::replace(before, wanted) {
                self.timers.remove(&(at, node));
            }
            self.timers.extend(wanted.map(|at| (at, node)));
        }
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
                match ask {
                    Some(ask) => self.answered(peer, ask, message),
                    None => self.peer_input(peer, PeerInput::Tracker(message)),
                }
            }
            Event::Closed { peer } => {
                self.peer_input(peer, PeerInput::TrackerLost("the tracker closed the connection".into()));
            }
            Event::Left { peer } => self.tracker_input(TrackerInput::Disconnected(peer as u64)),
            Event::ToPeer { from, ask, to, request } => {
                let message = Message::Request(request);
                self.record(Some(from), Some(to), &message);
                // A connection a peer is enough: an answer comes out at once.
                let connection = from as u64;
                for message in self.peer_replies(to, PeerInput::Request { connection, message }) {
                    self.send(Event::Answer { from: to, ask, to: from, message });
                }
            }
            Event::Answer { from, ask, to, message } => {
                self.record(Some(from), Some(to), &message);
                self.answered(to, ask, message);
            }
            Event::Unreachable { peer, ask } => {
                let result = Err(AskError::Unreachable("nobody listens there".into()));
                self.peers[peer].recorder.answered(self.now, ask, None);
                self.peer_input(peer, PeerInput::Answered { ask, result });
            }
        }
    }

    fn answered(&mut self, peer: usize, ask: AskId, message: Message) {
        let result = match message {
            Message::Answer(answer) => Ok(answer),
            Message::Error(error) => Err(AskError::Refused(error)),
            other => Err(AskError::Misbehaved(format!("answered {other:?}"))),
        };
        self.peers[peer].recorder.answered(self.now, ask, result.as_ref().ok());
        self.peer_input(peer, PeerInput::Answered { ask, result });
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
                TrackerOutput::Close(connection) => {
                    if let Ok(peer) = usize::try_from(connection) {
                        self.send(Event::Closed { peer });
                    }
                }
                TrackerOutput::Log(entry) => self.tracker_log.push(entry),
                TrackerOutput::LeftOut { id, time, .. } => {
                    self.troubles.push(format!("client {id} was left out in timestep {time}"));
                }
                TrackerOutput::Finished => self.finished += 1,
                TrackerOutput::Clocked(_) => {}
            }
        }
        self.rearm(None);
    }

    fn peer_input(&mut self, peer: usize, input: PeerInput) {
        let replies = self.peer_replies(peer, input);
        debug_assert!(replies.is_empty(), "only requests are replied to");
    }

    /// Hands a peer an input and does what it wants done, except for the replies.
    fn peer_replies(&mut self, peer: usize, input: PeerInput) -> Vec<Message> {
        let mut replies = Vec::new();
        self.peers[peer].machine.handle(self.now, input);
        while let Some(output) = self.peers[peer].machine.poll_output() {
            let node = &mut self.peers[peer];
            match output {
                PeerOutput::Reply { message, .. } => replies.push(message),
                PeerOutput::Ask { ask, to, request, .. } => {
                    node.recorder.asks(self.now, ask, to, &request);
                    let event = match to {
                        Target::Tracker => {
                            node.asked_tracker.push_back(ask);
                            Event::ToTracker { peer, message: Message::Request(request) }
                        }
                        Target::Peer(addr) => match self.by_address.get(&addr) {
                            Some(to) => Event::ToPeer { from: peer, ask, to: *to, request },
                            None => Event::Unreachable { peer, ask },
                        },
                    };
                    self.send(event);
                }
                // The answer still comes, too late, and the machine ignores it.
                PeerOutput::Cancel(ask) => node.recorder.answered(self.now, ask, None),
                PeerOutput::TellTracker(message) => self.send(Event::ToTracker { peer, message }),
                PeerOutput::Changed(Change::Obtained(key, from)) => node.recorder.obtains(key, from),
                PeerOutput::Log(entry) => {
                    node.recorder.logs(&entry);
                    node.log.push(entry);
                }
                PeerOutput::Finished => self.finished += 1,
                PeerOutput::Failed(reason) => {
                    self.troubles.push(format!("client {}: {reason}", node.id));
                    self.send(Event::Left { peer });
                }
                // A scripted peer has no commands, no store and no lease.
                PeerOutput::Done { .. }
                | PeerOutput::Holder { .. }
                | PeerOutput::Changed(_)
                | PeerOutput::Membership(_) => {}
            }
        }
        self.rearm(Some(peer));
        replies
    }
}
