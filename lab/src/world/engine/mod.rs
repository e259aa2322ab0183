//! [`World`]: the machines that ship, driven without sockets by a queue of events.

mod blows;
mod timers;
mod traffic;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use askaround_core::Instant;
use askaround_core::id::Contact;
use askaround_core::message::Message;
use askaround_core::peer::{AskId, Change, CommandId, Peer, PeerConfig, PeerInput, PeerOutput};
use askaround_core::script::{Action, Script};
use askaround_core::tracker::{ConnectionId, Tracker, TrackerConfig, TrackerInput, TrackerOutput};

use super::queue::{Next, Queue};
use super::random::Random;
use super::rule::{Crossing, Fate, Place, Rule, Way, fate};
pub use blows::Blow;

/// Watches a world. Everything is told in the order in which it happens.
pub trait Observer {
    /// Something is handed to a peer's machine.
    fn peer_input(&mut self, at: Instant, peer: u32, input: &PeerInput) {
        let _ = (at, peer, input);
    }
    /// A peer's machine put something out.
    fn peer_output(&mut self, at: Instant, peer: u32, output: &PeerOutput) {
        let _ = (at, peer, output);
    }
    /// Something is handed to the tracker's machine.
    fn tracker_input(&mut self, at: Instant, input: &TrackerInput) {
        let _ = (at, input);
    }
    /// The tracker's machine put something out.
    fn tracker_output(&mut self, at: Instant, output: &TrackerOutput) {
        let _ = (at, output);
    }
    /// A message arrived; it is handed to the machine next.
    fn arrives(&mut self, at: Instant, from: Place, to: Place, message: &Message) {
        let _ = (at, from, to, message);
    }
}

/// Watches nothing.
impl Observer for () {}

/// What a step of the world came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing is left to happen.
    Idle,
    /// Something happened.
    Happened,
    /// This happened to a node.
    Struck(Blow),
    /// The time of [`World::wake`] has come.
    Woke(u64),
    /// A parcel arrived there.
    Arrived(u32, u64),
    /// A parcel did not arrive.
    Lost(u64),
}

/// A tracker and peers in virtual time.
pub struct World {
    now: Instant,
    queue: Queue<Event>,
    tracker_config: TrackerConfig,
    tracker: Option<Tracker>,
    tracker_timer: Option<Instant>,
    peers: Vec<Node>,
    by_address: HashMap<SocketAddr, u32>,
    rules: Vec<Box<dyn Rule>>,
    random: Random,
    events: u64,
    #[cfg(test)]
    pub(crate) mistake: Option<Mistake>,
}

/// A deliberate mistake, which the checks of a run must catch.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// Whoever has not got a key says that it has it.
    SaysYes,
    /// Whoever is asked for a list of peers names nobody.
    ListsNobody,
    /// Nobody is called when it wants to be.
    LosesTimers,
}

struct Node {
    machine: Peer,
    /// How it starts again; a scripted peer does not.
    live: Option<std::sync::Arc<PeerConfig>>,
    up: bool,
    /// Grows with each crash, so that what was meant for an earlier life is known.
    life: u32,
    timer: Option<Instant>,
    /// What is said between a peer and its tracker arrives in the order in which it was sent.
    to_tracker: Instant,
    from_tracker: Instant,
}

/// Who waits for an answer.
#[derive(Debug, Clone, Copy)]
struct Asker {
    peer: u32,
    life: u32,
    ask: AskId,
}

/// Something under way.
#[derive(Debug)]
enum Event {
    ToTracker {
        peer: u32,
        life: u32,
        ask: Option<AskId>,
        message: Message,
    },
    FromTracker {
        peer: u32,
        life: u32,
        ask: Option<AskId>,
        message: Message,
    },
    /// The tracker closed the connection of this peer.
    Closed {
        peer: u32,
        life: u32,
    },
    /// This peer closed its connection with the tracker.
    Left {
        peer: u32,
        life: u32,
    },
    Question {
        from: Asker,
        to: u32,
        message: Message,
    },
    Answer {
        from: u32,
        to: Asker,
        message: Message,
    },
    /// Nobody could be reached.
    Unreachable(Asker),
    Parcel {
        to: u32,
        parcel: u64,
        lost: bool,
    },
    Wake(u64),
    Blow(Blow),
}

/// The number of a peer's connection in one of its lives.
fn connection_of(peer: u32, life: u32) -> ConnectionId {
    u64::from(life) << 32 | u64::from(peer)
}

/// Which peer is at the other end of a connection, as trackers and peers of a world number them.
pub fn client_of(connection: ConnectionId) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    let peer = connection as u32;
    peer
}

impl World {
    /// A world with a tracker and nobody else.
    pub fn new(tracker: TrackerConfig, rules: Vec<Box<dyn Rule>>, random: Random) -> Self {
        let mut world = Self {
            now: Instant::ZERO,
            queue: Queue::new(),
            tracker: Some(Tracker::new(tracker.clone(), Instant::ZERO)),
            tracker_config: tracker,
            tracker_timer: None,
            peers: Vec::new(),
            by_address: HashMap::new(),
            rules,
            random,
            events: 0,
            #[cfg(test)]
            mistake: None,
        };
        world.rearm_tracker();
        world
    }

    /// Adds a peer of a lab run.
    pub fn add_scripted(&mut self, me: Contact, script: Script, config: PeerConfig) {
        self.add(me, Peer::scripted(config, me, script), None);
    }

    /// Adds a live peer. It begins when the world goes on.
    pub fn add_live(&mut self, me: Contact, config: std::sync::Arc<PeerConfig>) {
        self.add(me, Peer::live(PeerConfig::clone(&config), me), Some(config));
    }

    fn add(&mut self, me: Contact, machine: Peer, live: Option<std::sync::Arc<PeerConfig>>) {
        let number = u32::try_from(self.peers.len()).expect("fewer than 2³² peers");
        self.by_address.insert(me.addr(), number);
        let (to_tracker, from_tracker) = (Instant::ZERO, Instant::ZERO);
        self.peers.push(Node { machine, live, up: true, life: 0, timer: None, to_tracker, from_tracker });
        self.rearm_peer(number);
    }

    /// What time it is.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// How many events there were so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// How many peers there are.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether there is no peer.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// The machine of a peer.
    pub fn peer(&self, peer: u32) -> &Peer {
        &self.peers[peer as usize].machine
    }

    /// Which peer listens there.
    pub fn at(&self, addr: SocketAddr) -> Option<u32> {
        self.by_address.get(&addr).copied()
    }

    /// Whether a peer is there.
    pub fn is_up(&self, peer: u32) -> bool {
        self.peers[peer as usize].up
    }

    /// Lets a peer have had a change of its lists before, as if it had been stored.
    pub fn restore(&mut self, peer: u32, change: Change) {
        self.peers[peer as usize].machine.restore(change);
    }

    /// Adds a rule.
    pub fn rule(&mut self, rule: Box<dyn Rule>) {
        self.rules.push(rule);
    }

    /// The generator.
    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// Lets a scripted peer register.
    pub fn begin(&mut self, peer: u32, watch: &mut dyn Observer) {
        self.peer_input(peer, PeerInput::Begin, watch);
    }

    /// Has a live peer do something.
    pub fn command(&mut self, peer: u32, command: CommandId, action: Action, watch: &mut dyn Observer) {
        self.peer_input(peer, PeerInput::Command { command, action, trace: false }, watch);
    }

    /// Has [`World::step`] say [`Step::Woke`] after this long.
    pub fn wake(&mut self, after: Duration, number: u64) {
        self.queue.push(self.now + after, Event::Wake(number));
    }

    /// Has something happen to a node after this long.
    pub fn blow(&mut self, after: Duration, blow: Blow) {
        self.queue.push(self.now + after, Event::Blow(blow));
    }

    /// Sends something of the driver's own from peer to peer, over the links and through the
    /// faults of the world. `message` is what it says.
    pub fn carry(&mut self, from: u32, to: u32, parcel: u64, message: &Message) {
        let fate = self.fate(Place::Peer(from), Place::Peer(to), Way::Parcel, Some(message));
        let (at, lost) = match fate {
            Fate::Arrives(at) => (at, false),
            Fate::Breaks(at) => (at, true),
            Fate::Vanishes => (self.now, true),
        };
        self.queue.push(at, Event::Parcel { to, parcel, lost });
    }

    fn fate(&mut self, from: Place, to: Place, way: Way, message: Option<&Message>) -> Fate {
        fate(&mut self.rules, &Crossing { at: self.now, from, to, way, message }, &mut self.random)
    }

    /// The next event or timer, whichever comes first.
    pub fn step(&mut self, watch: &mut dyn Observer) -> Step {
        loop {
            match self.queue.pop() {
                None => return Step::Idle,
                Some((at, Next::Event(event))) => {
                    self.now = self.now.max(at);
                    self.events += 1;
                    return self.deliver(event, watch);
                }
                Some((at, Next::Timer(place))) => {
                    if self.timer(at, place, watch) {
                        self.events += 1;
                        return Step::Happened;
                    }
                }
            }
        }
    }
}
