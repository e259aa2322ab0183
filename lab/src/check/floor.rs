//! [`Floor`]: the machines of a scenario between two actions. An action is carried out as a whole,
//! by the same `Tracker` and `Peer` that ship, each question answered before the next; and what it
//! read and changed of others is noted.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use askaround_core::id::Contact;
use askaround_core::message::{Answer, Message, Request};
use askaround_core::peer::{AskError, Change, Peer, PeerConfig, PeerInput, PeerOutput, Target};
use askaround_core::script::{Action, Script};
use askaround_core::tracker::{LabConfig, Tracker, TrackerConfig, TrackerInput, TrackerOutput};
use askaround_core::{Instant, Key};

use super::schedule::Step;

/// Nothing waits on a floor, so no time passes.
const NOW: Instant = Instant::ZERO;

/// Something that one action can change and another can read. Each is changed by the actions of
/// one peer only, or, for the register, in a way in which the order does not count (a peer changes
/// nothing but its own entry): so two changes never race, only a change and a read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Touch {
    /// Who is registered.
    Register,
    /// What this peer answers about this key.
    Have(usize, Key),
    /// The keys that this peer holds, and their order.
    Contents(usize),
    /// The peers that this peer knows.
    Known(usize),
}

/// What an action came to.
#[derive(Debug, Clone)]
pub(super) struct Done {
    /// The entry in the log.
    pub(super) text: String,
    pub(super) footprint: Footprint,
}

/// What an action read of others, and what it changed that others can read. Both sorted.
#[derive(Debug, Clone, Default)]
pub(super) struct Footprint {
    pub(super) reads: Vec<Touch>,
    pub(super) changes: Vec<Touch>,
}

impl Footprint {
    /// Whether it makes a difference which of the two comes first. An action does the same
    /// whenever it reads the same, so if neither changes what the other reads it makes none.
    pub(super) fn conflicts(&self, other: &Self) -> bool {
        let reads_of = |changes: &[Touch], reads: &[Touch]| {
            changes.iter().any(|change| reads.binary_search(change).is_ok())
        };
        reads_of(&self.changes, &other.reads) || reads_of(&other.changes, &self.reads)
    }
}

/// All that later actions can see of the past.
pub(super) type Fingerprint = (Vec<Contact>, Vec<(Vec<Key>, Vec<(Key, Contact)>)>);

/// A tracker and peers that have registered. Clones share the machines that do not act.
#[derive(Clone)]
pub(super) struct Floor {
    tracker: Arc<Tracker>,
    peers: Vec<Arc<Peer>>,
    by_address: Arc<BTreeMap<SocketAddr, usize>>,
}

impl Floor {
    /// Everybody has registered and nobody has acted.
    pub(super) fn new(scripts: &[Script], addresses: &[SocketAddr]) -> Self {
        let config = TrackerConfig { lab: Some(LabConfig::default()), ..TrackerConfig::default() };
        let peer = |(script, addr): (&Script, &SocketAddr)| {
            let config = PeerConfig { advertised_ip: Some(addr.ip()), ..PeerConfig::default() };
            let script = Script { actions: Vec::new(), ..script.clone() };
            Arc::new(Peer::scripted(config, Contact::new(script.id, *addr), script))
        };
        let mut floor = Self {
            tracker: Arc::new(Tracker::new(config, NOW)),
            peers: scripts.iter().zip(addresses).map(peer).collect(),
            by_address: Arc::new(addresses.iter().enumerate().map(|(i, addr)| (*addr, i)).collect()),
        };
        for peer in 0..floor.peers.len() {
            floor.work(peer, PeerInput::Begin, &mut Footprint::default());
        }
        floor
    }

    /// Lets `peer` carry out an action to its end.
    pub(super) fn act(&mut self, peer: usize, action: &Action) -> Done {
        let registered = self.is_registered(peer);
        let known = self.known(peer);
        let mut footprint = Footprint::default();
        let input = PeerInput::Command { command: 0, action: action.clone(), trace: false };
        let text = self.work(peer, input, &mut footprint);
        let text = text.expect("an action ends when all its questions are answered");
        if self.is_registered(peer) != registered {
            footprint.changes.push(Touch::Register);
        }
        if self.known(peer) != known {
            footprint.changes.push(Touch::Known(peer));
        }
        footprint.changes.sort_unstable();
        footprint.reads.sort_unstable();
        footprint.reads.dedup();
        Done { text, footprint }
    }

    /// The floor after everybody's turns of a step in this order.
    pub(super) fn after(&self, scripts: &[Script], step: &Step, order: &[usize]) -> Self {
        let mut floor = self.clone();
        let mut next: BTreeMap<usize, usize> = step.acting.iter().map(|a| (a.peer, a.first)).collect();
        for peer in order {
            if let Some(index) = next.get_mut(peer) {
                floor.act(*peer, &scripts[*peer].actions[*index].1);
                *index += 1;
            }
        }
        floor
    }

    /// What tells this floor from others in which only `peers` have acted otherwise, as far as any
    /// action can.
    pub(super) fn fingerprint(&self, peers: impl Iterator<Item = usize>) -> Fingerprint {
        let lists = |peer: &Arc<Peer>| {
            let originators = peer.originators().iter().map(|(key, from)| (key.clone(), from));
            (peer.contents().iter().cloned().collect(), originators.collect())
        };
        (self.registered(), peers.map(|peer| lists(&self.peers[peer])).collect())
    }

    /// Who is registered.
    pub(super) fn registered(&self) -> Vec<Contact> {
        self.tracker.registry().list(NOW, None, self.peers.len()).0
    }

    fn is_registered(&self, peer: usize) -> bool {
        let me = self.peers[peer].me();
        let (next, _) = self.tracker.registry().list(NOW, Some(me.id.as_u64() - 1), 1);
        next.first() == Some(&me)
    }

    fn known(&self, peer: usize) -> Vec<Contact> {
        self.peers[peer].originators().peers(None).collect()
    }

    /// Hands a peer an input and gets every question that comes of it answered. What the log says
    /// of the action that ended, if one did.
    fn work(&mut self, peer: usize, input: PeerInput, footprint: &mut Footprint) -> Option<String> {
        let mut inputs = VecDeque::from([input]);
        let mut text = None;
        while let Some(input) = inputs.pop_front() {
            let mut asked = Vec::new();
            let machine = Arc::make_mut(&mut self.peers[peer]);
            machine.handle(NOW, input);
            while let Some(output) = machine.poll_output() {
                match output {
                    PeerOutput::Ask { ask, to, request, .. } => asked.push((ask, to, request)),
                    PeerOutput::Done { outcome, .. } => text = Some(outcome.log_text()),
                    PeerOutput::Log(entry) => text = Some(entry.text),
                    PeerOutput::Changed(Change::Obtained(key, _) | Change::Purged(key)) => {
                        footprint.changes.extend([Touch::Have(peer, key), Touch::Contents(peer)]);
                    }
                    // The rest is for worlds in which time passes or a script is played.
                    _ => {}
                }
            }
            for (ask, to, request) in asked {
                let result = self.answer(peer, to, request, footprint);
                inputs.push_back(PeerInput::Answered { ask, result });
            }
        }
        text
    }

    /// What whoever is asked answers.
    fn answer(
        &mut self,
        asker: usize,
        to: Target,
        request: Request,
        footprint: &mut Footprint,
    ) -> Result<Answer, AskError> {
        let connection = asker as u64;
        let message = Message::Request(request.clone());
        let answer = match to {
            Target::Tracker => {
                if matches!(request, Request::List(_)) {
                    footprint.reads.push(Touch::Register);
                }
                let from = self.peers[asker].me().ip;
                let tracker = Arc::make_mut(&mut self.tracker);
                tracker.handle(NOW, TrackerInput::Message { connection, from, message });
                let outputs =
                    std::iter::from_fn(|| tracker.poll_output()).filter_map(|output| match output {
                        TrackerOutput::Send(_, answer) => Some(answer),
                        _ => None,
                    });
                outputs.last()
            }
            Target::Peer(addr) => {
                let Some(&to) = self.by_address.get(&addr) else {
                    return Err(AskError::Unreachable("nobody listens there".into()));
                };
                footprint.reads.extend(match request {
                    Request::Have(key) => Some(Touch::Have(to, key)),
                    Request::Known(_) => Some(Touch::Known(to)),
                    Request::Contents(_) => Some(Touch::Contents(to)),
                    // A peer serves nothing else.
                    _ => None,
                });
                let machine = Arc::make_mut(&mut self.peers[to]);
                machine.handle(NOW, PeerInput::Request { connection, message });
                let outputs =
                    std::iter::from_fn(|| machine.poll_output()).filter_map(|output| match output {
                        PeerOutput::Reply { message, .. } => Some(message),
                        _ => None,
                    });
                outputs.last()
            }
        };
        match answer {
            Some(Message::Answer(answer)) => Ok(answer),
            Some(Message::Error(error)) => Err(AskError::Refused(error)),
            other => Err(AskError::Misbehaved(format!("answered {other:?}"))),
        }
    }
}
