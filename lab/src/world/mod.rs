//! Machines that ship in virtual time: a tracker and peers, driven without sockets by a queue of
//! events. The same inputs and the same seed give the same outputs, and every message can be
//! looked at.
//!
//! | module | what lives there |
//! | --- | --- |
//! | this one | [`run`], a scenario in virtual time |
//! | [`engine`] | [`engine::World`], which drives the machines; [`engine::Observer`], which watches |
//! | [`rule`] | [`rule::Rule`], what becomes of a message |
//! | [`links`], [`faults`] | the rules there are: latency, jitter, loss, bandwidth; crash, stall, partition, outage |
//! | [`random`] | [`random::Random`], the one source of chance |
//!
//! Events go by time, and those of one time in the order in which they were sent; a timer comes
//! after the messages of its time.

pub mod engine;
pub mod faults;
mod finds;
pub(crate) mod lay;
pub mod links;
mod queue;
pub mod random;
pub mod rule;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use askaround_core::Instant;
use askaround_core::clock::Turns;
use askaround_core::id::{Contact, PeerId};
use askaround_core::log::LogEntry;
use askaround_core::message::Message;
use askaround_core::peer::{Change, PeerConfig, PeerInput, PeerOutput};
use askaround_core::script::Script;
use askaround_core::tracker::{LabConfig, TrackerConfig, TrackerInput, TrackerOutput};

use engine::{Observer, Step, World};
use faults::{Fault, FaultError};
use finds::Recorder;
pub use finds::{Exchange, Find};
use links::Links;
use random::Random;
use rule::Place;

/// How the world is.
#[derive(Debug, Clone)]
pub struct WorldConfig {
    /// Who may act when within a timestep.
    pub turns: Turns,
    /// How many questions a search has open at most.
    pub width: usize,
    /// What connects the nodes.
    pub links: Links,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// Where all chance comes from.
    pub seed: u64,
}

impl Default for WorldConfig {
    fn default() -> Self {
        let links = Links::new(Duration::from_micros(1));
        Self { turns: Turns::ById, width: 1, links, faults: Vec::new(), seed: 1 }
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

/// Runs `scripts`, each at its address, to the end, and keeps every message. They register in the
/// order given, which is by increasing id in a run over TCP.
///
/// # Panics
/// If a fault of the configuration cannot be; [`run_with`] tells that as an error.
pub fn run(scripts: &[Script], addresses: &[SocketAddr], config: &WorldConfig) -> WorldRun {
    let mut transcript =
        Transcript { ids: scripts.iter().map(|script| script.id).collect(), kept: Vec::new() };
    let run = run_with(scripts, addresses, config, &mut transcript);
    let run = run.unwrap_or_else(|error| panic!("faults are checked before: {error}"));
    WorldRun { transcript: transcript.kept, ..run }
}

/// The same, watched by whoever wants to: the transcript stays empty.
///
/// # Errors
/// If a fault names a peer that there is not, or begins after the end of the run.
pub fn run_with(
    scripts: &[Script],
    addresses: &[SocketAddr],
    config: &WorldConfig,
    watch: &mut dyn Observer,
) -> Result<WorldRun, FaultError> {
    assert_eq!(scripts.len(), addresses.len(), "an address a script");
    let lab = LabConfig { turns: config.turns, expect: Some(scripts.len()), ..LabConfig::default() };
    let tracker = TrackerConfig { lab: Some(lab), ..TrackerConfig::default() };
    let links = Box::new(links::LinkRule::new(config.links.clone()));
    let mut world = World::new(tracker, vec![links], Random::new(config.seed));
    let ids: Vec<PeerId> = scripts.iter().map(|script| script.id).collect();
    lay::lay(&mut world, &config.faults, &ids)?;
    let mut nodes = Vec::new();
    for (script, addr) in scripts.iter().zip(addresses) {
        let mut peer = PeerConfig { advertised_ip: Some(addr.ip()), ..PeerConfig::default() };
        peer.search.width = config.width;
        let me = Contact::new(script.id, *addr);
        let recorder = Recorder::new(me, script, peer.search.clone());
        nodes.push(Noted { id: script.id, log: Vec::new(), recorder });
        world.add_scripted(me, script.clone(), peer);
    }
    let mut notes = Notes { nodes, ..Notes::new(watch) };
    for peer in 0..u32::try_from(scripts.len()).unwrap_or(u32::MAX) {
        world.begin(peer, &mut notes);
    }
    while world.step(&mut notes) != Step::Idle {}
    for fault in &config.faults {
        fault.within(notes.end.since(Instant::ZERO))?;
    }
    let (mut logs, mut finds) = (BTreeMap::new(), BTreeMap::new());
    for node in notes.nodes {
        logs.insert(node.id, node.log);
        finds.insert(node.id, node.recorder.into_finds());
    }
    Ok(WorldRun {
        logs,
        tracker_log: notes.tracker_log,
        finds,
        transcript: Vec::new(),
        troubles: notes.troubles,
        finished: notes.finished == scripts.len() + 1,
    })
}

/// Keeps every message that arrives.
struct Transcript {
    ids: Vec<PeerId>,
    kept: Vec<Delivery>,
}

impl Observer for Transcript {
    fn arrives(&mut self, at: Instant, from: Place, to: Place, message: &Message) {
        let id = |place| match place {
            Place::Tracker => None,
            Place::Peer(peer) => Some(self.ids[peer as usize]),
        };
        self.kept.push(Delivery { at, from: id(from), to: id(to), message: message.clone() });
    }
}

/// Notes what a run comes to, and passes everything on.
struct Notes<'a> {
    watch: &'a mut dyn Observer,
    nodes: Vec<Noted>,
    tracker_log: Vec<LogEntry>,
    troubles: Vec<String>,
    /// How many nodes have come to their end.
    finished: usize,
    /// When the last of them did.
    end: Instant,
}

struct Noted {
    id: PeerId,
    log: Vec<LogEntry>,
    recorder: Recorder,
}

impl<'a> Notes<'a> {
    fn new(watch: &'a mut dyn Observer) -> Self {
        let (tracker_log, troubles) = (Vec::new(), Vec::new());
        Self { watch, nodes: Vec::new(), tracker_log, troubles, finished: 0, end: Instant::ZERO }
    }
}

impl Observer for Notes<'_> {
    fn peer_input(&mut self, at: Instant, peer: u32, input: &PeerInput) {
        self.watch.peer_input(at, peer, input);
        if let PeerInput::Answered { ask, result } = input {
            self.nodes[peer as usize].recorder.answered(at, *ask, result.as_ref().ok());
        }
    }

    fn peer_output(&mut self, at: Instant, peer: u32, output: &PeerOutput) {
        self.watch.peer_output(at, peer, output);
        let node = &mut self.nodes[peer as usize];
        match output {
            PeerOutput::Ask { ask, to, request, .. } => node.recorder.asks(at, *ask, *to, request),
            PeerOutput::Cancel(ask) => node.recorder.answered(at, *ask, None),
            PeerOutput::Changed(Change::Obtained(key, from)) => node.recorder.obtains(key.clone(), *from),
            PeerOutput::Log(entry) => {
                node.recorder.logs(entry);
                node.log.push(entry.clone());
            }
            PeerOutput::Finished => {
                self.finished += 1;
                self.end = at;
            }
            PeerOutput::Failed(reason) => {
                self.troubles.push(format!("client {}: {reason}", node.id));
                self.end = at;
            }
            // A scripted peer has no commands, no store and no lease, and fetches nothing here.
            PeerOutput::Reply { .. }
            | PeerOutput::Fetch { .. }
            | PeerOutput::TellTracker(_)
            | PeerOutput::Done { .. }
            | PeerOutput::Holder { .. }
            | PeerOutput::Changed(_)
            | PeerOutput::Membership(_) => {}
        }
    }

    fn tracker_input(&mut self, at: Instant, input: &TrackerInput) {
        self.watch.tracker_input(at, input);
    }

    fn tracker_output(&mut self, at: Instant, output: &TrackerOutput) {
        self.watch.tracker_output(at, output);
        match output {
            TrackerOutput::Log(entry) => self.tracker_log.push(entry.clone()),
            TrackerOutput::LeftOut { id, time, .. } => {
                self.troubles.push(format!("client {id} was left out in timestep {time}"));
            }
            TrackerOutput::Finished => self.finished += 1,
            TrackerOutput::Send(..) | TrackerOutput::Close(_) | TrackerOutput::Clocked(_) => {}
        }
    }

    fn arrives(&mut self, at: Instant, from: Place, to: Place, message: &Message) {
        self.watch.arrives(at, from, to, message);
    }
}
