//! [`Recorder`]: makes a trace of what goes into and comes out of the machines of a run.
//!
//! The machines know connections and asks by numbers of their own. Here the two ends of each
//! message are put together: a receiver finds its message among those that its sender sent.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use askaround_core::Key;
use askaround_core::id::PeerId;
use askaround_core::message::{Message, Timestep};
use askaround_core::peer::{AskId, PeerInput, PeerOutput};
use askaround_core::search::Reason;
use askaround_core::tracker::{ConnectionId, TrackerInput, TrackerOutput};

use super::note::Note;
use super::{Event, Header, Host, MessageId, Trace, What};

/// A trace has at most so many events: about a gigabyte. What comes after is left out.
pub const MAX_EVENTS: usize = 4_000_000;

/// Records a run. Tell it everything in the order in which it happens; that a message is sent
/// comes before that it is received.
#[derive(Debug)]
pub struct Recorder {
    header: Header,
    by_address: BTreeMap<SocketAddr, Host>,
    events: Vec<Event>,
    max_events: usize,
    cut_off: bool,
    last_message: MessageId,
    /// The timestep that the tracker has begun last.
    time: Timestep,
    /// Who is at the other end of a connection that a host accepted.
    clients: BTreeMap<(Host, ConnectionId), PeerId>,
    /// What was sent and has not arrived, except for answers.
    under_way: BTreeMap<(Host, Host), VecDeque<(MessageId, Message)>>,
    /// What was asked and has not been answered.
    asks: BTreeMap<(Host, AskId), Asked>,
    /// The same by the request's number.
    askers: BTreeMap<MessageId, (Host, AskId)>,
    /// What is being fetched.
    fetches: BTreeMap<(Host, AskId), (Key, Host)>,
    /// Requests that arrived on a connection and are not answered yet.
    serving: BTreeMap<(Host, ConnectionId), VecDeque<MessageId>>,
}

#[derive(Debug)]
struct Asked {
    request: MessageId,
    to: Host,
    answer: Option<MessageId>,
}

impl Recorder {
    /// Begins.
    pub fn new(header: Header) -> Self {
        Self::with_room(header, MAX_EVENTS)
    }

    /// Begins, and keeps at most `max_events`.
    pub(super) fn with_room(header: Header, max_events: usize) -> Self {
        Self {
            by_address: by_address(&header),
            header,
            events: Vec::new(),
            max_events,
            cut_off: false,
            last_message: 0,
            time: 0,
            clients: BTreeMap::new(),
            under_way: BTreeMap::new(),
            asks: BTreeMap::new(),
            askers: BTreeMap::new(),
            fetches: BTreeMap::new(),
            serving: BTreeMap::new(),
        }
    }

    /// The trace so far; what is recorded after that is lost.
    pub fn finish(&mut self) -> Trace {
        let events = std::mem::take(&mut self.events);
        Trace { header: self.header.clone(), events, cut_off: self.cut_off }
    }

    /// This peer of the header listens there.
    pub fn listens(&mut self, id: PeerId, addr: SocketAddr) {
        if let Some(member) = self.header.peers.iter_mut().find(|member| member.script.id == id) {
            member.addr = addr;
            self.by_address = by_address(&self.header);
        }
    }

    /// This connection, as `server` numbers it, was opened by `client`.
    pub fn connected(&mut self, server: Host, connection: ConnectionId, client: PeerId) {
        self.clients.insert((server, connection), client);
    }

    /// Something is handed to a peer's machine.
    pub fn peer_input(&mut self, at_ns: u64, id: PeerId, input: &PeerInput) {
        if let Some(note) = Note::of_peer_input(input) {
            self.note(at_ns, Host::Peer(id), note);
        }
    }

    /// Something is taken from a peer's machine.
    pub fn peer_output(&mut self, at_ns: u64, id: PeerId, output: &PeerOutput) {
        if let Some(note) = Note::of_peer_output(output) {
            self.note(at_ns, Host::Peer(id), note);
        }
    }

    /// Something is handed to the tracker's machine.
    pub fn tracker_input(&mut self, at_ns: u64, input: &TrackerInput) {
        if let Some(note) = Note::of_tracker_input(input) {
            self.note(at_ns, Host::Tracker, note);
        }
    }

    /// Something is taken from the tracker's machine.
    pub fn tracker_output(&mut self, at_ns: u64, output: &TrackerOutput) {
        if let Some(note) = Note::of_tracker_output(output) {
            self.note(at_ns, Host::Tracker, note);
        }
    }

    /// Something happened at `me`.
    pub fn note(&mut self, at_ns: u64, me: Host, note: Note) {
        match note {
            Note::Arrived(connection, message) => self.arrived(at_ns, me, connection, &message),
            Note::Replied(connection, message) => self.replies(at_ns, me, connection, message),
            Note::Asked { ask, to, request, why } => {
                let to = to.map_or(Host::Tracker, |addr| {
                    self.by_address.get(&addr).copied().unwrap_or(Host::Elsewhere(addr))
                });
                let request = self.send(at_ns, me, to, request, None, why);
                self.asks.insert((me, ask), Asked { request, to, answer: None });
                self.askers.insert(request, (me, ask));
            }
            Note::Answered { ask, answered, why } => self.answered(at_ns, me, ask, answered, why),
            Note::Fetches { ask, key, from } => {
                let from = Host::Peer(from);
                self.fetches.insert((me, ask), (key.clone(), from));
                self.push(at_ns, me, What::Fetch { key, from });
            }
            Note::Fetched { ask, failed } => self.fetched(at_ns, me, ask, failed),
            Note::GivenUp(ask) => {
                self.fetched(at_ns, me, ask, Some("given up".to_owned()));
                if let Some(asked) = self.forget(me, ask) {
                    let why = "given up".to_owned();
                    self.push(at_ns, me, What::Unanswered { message: asked.request, to: asked.to, why });
                }
            }
            Note::Told(message) => self.received(at_ns, Host::Tracker, me, &message),
            Note::Tells(message) => _ = self.send(at_ns, me, Host::Tracker, message, None, None),
            Note::Log(entry) => self.push(at_ns, me, What::Log(entry)),
            Note::Changed(change) => self.push(at_ns, me, What::Change(change)),
            Note::LeftOut(id) => self.push(at_ns, me, What::LeftOut(id)),
            Note::Finished => self.push(at_ns, me, What::Finished),
            Note::Failed(why) => self.push(at_ns, me, What::Failed(why)),
            // Who is at the other end of a connection is told by whoever watches all of them.
            Note::Opened { .. } | Note::Accepted { .. } => {}
        }
    }

    /// A message came on a connection that `server` accepted. A stranger's is not of this run.
    fn arrived(&mut self, at_ns: u64, server: Host, connection: ConnectionId, message: &Message) {
        let Some(client) = self.clients.get(&(server, connection)).copied() else { return };
        let Some(number) = self.take(Host::Peer(client), server, message) else { return };
        if matches!(message, Message::Request(_)) {
            self.serving.entry((server, connection)).or_default().push_back(number);
        }
        self.push(at_ns, server, What::Receive { message: number, from: Host::Peer(client) });
    }

    /// A message goes out on a connection that `server` accepted.
    fn replies(&mut self, at_ns: u64, server: Host, connection: ConnectionId, message: Message) {
        if let Message::Go(time) = message {
            self.time = time;
        }
        let Some(client) = self.clients.get(&(server, connection)).copied() else { return };
        let is_answer = matches!(message, Message::Answer(_) | Message::Error(_));
        let serving = self.serving.get_mut(&(server, connection)).filter(|_| is_answer);
        let request = serving.and_then(VecDeque::pop_front);
        let number = self.send(at_ns, server, Host::Peer(client), message, request, None);
        let asker = request.and_then(|request| self.askers.get(&request));
        if let Some(asked) = asker.and_then(|asker| self.asks.get_mut(asker)) {
            asked.answer = Some(number);
        }
    }

    /// A message that is not an answer came from `from`.
    fn received(&mut self, at_ns: u64, from: Host, to: Host, message: &Message) {
        if let Some(message) = self.take(from, to, message) {
            self.push(at_ns, to, What::Receive { message, from });
        }
    }

    fn answered(&mut self, at_ns: u64, me: Host, ask: AskId, answered: bool, why: Option<String>) {
        let Some(asked) = self.forget(me, ask) else { return };
        let what = match asked.answer {
            Some(message) if answered => What::Receive { message, from: asked.to },
            _ => {
                let why = why.unwrap_or_else(|| "no answer".to_owned());
                What::Unanswered { message: asked.request, to: asked.to, why }
            }
        };
        self.push(at_ns, me, what);
    }

    fn fetched(&mut self, at_ns: u64, me: Host, ask: AskId, failed: Option<String>) {
        if let Some((key, from)) = self.fetches.remove(&(me, ask)) {
            self.push(at_ns, me, What::Fetched { key, from, failed });
        }
    }

    fn forget(&mut self, me: Host, ask: AskId) -> Option<Asked> {
        let asked = self.asks.remove(&(me, ask))?;
        self.askers.remove(&asked.request);
        Some(asked)
    }

    fn send(
        &mut self,
        at_ns: u64,
        from: Host,
        to: Host,
        body: Message,
        answers: Option<MessageId>,
        why: Option<Reason>,
    ) -> MessageId {
        self.last_message += 1;
        let message = self.last_message;
        // An answer is found by what it answers, and what leads nowhere never arrives.
        if answers.is_none() && !matches!(to, Host::Elsewhere(_)) {
            self.under_way.entry((from, to)).or_default().push_back((message, body.clone()));
        }
        self.push(at_ns, from, What::Send { message, to, body, answers, why });
        message
    }

    /// The last of the messages under way from one to the other that says this: those before it
    /// were lost.
    fn take(&mut self, from: Host, to: Host, message: &Message) -> Option<MessageId> {
        let queue = self.under_way.get_mut(&(from, to))?;
        let at = queue.iter().rposition(|(_, sent)| sent == message)?;
        queue.remove(at).map(|(number, _)| number)
    }

    fn push(&mut self, at_ns: u64, host: Host, what: What) {
        if self.events.len() >= self.max_events {
            self.cut_off = true;
            return;
        }
        self.events.push(Event { at_ns, time: self.time, host, what });
    }
}

fn by_address(header: &Header) -> BTreeMap<SocketAddr, Host> {
    header.peers.iter().map(|member| (member.addr, Host::Peer(member.script.id))).collect()
}
