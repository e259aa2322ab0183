//! How messages get from machine to machine: what arrives is handed in, what comes out is sent.

use std::net::SocketAddr;

use askaround_core::Instant;
use askaround_core::message::{Message, Request};
use askaround_core::peer::{AskError, AskId, PeerInput, PeerOutput, Target};
use askaround_core::tracker::{ConnectionId, Tracker, TrackerInput, TrackerOutput};

use super::{Asker, Event, Observer, Step, World, client_of, connection_of};
use crate::world::rule::{Fate, Place, Way};

impl World {
    pub(super) fn deliver(&mut self, event: Event, watch: &mut dyn Observer) -> Step {
        match event {
            Event::ToTracker { peer, life, ask, message } => self.at_tracker(peer, life, ask, message, watch),
            Event::FromTracker { peer, life, ask, message } => {
                if self.lives(peer, life) {
                    watch.arrives(self.now, Place::Tracker, Place::Peer(peer), &message);
                    match ask {
                        Some(ask) => self.answered(peer, ask, message, watch),
                        None => self.peer_input(peer, PeerInput::Tracker(message), watch),
                    }
                }
            }
            Event::Closed { peer, life } => {
                if self.lives(peer, life) {
                    let why = "the tracker closed the connection".into();
                    self.peer_input(peer, PeerInput::TrackerLost(why), watch);
                }
            }
            Event::Left { peer, life } => {
                self.tracker_input(TrackerInput::Disconnected(connection_of(peer, life)), None, watch);
            }
            Event::Question { from, to, message } => self.at_peer(from, to, message, watch),
            Event::Answer { from, to: Asker { peer, life, ask }, message } => {
                if self.lives(peer, life) {
                    watch.arrives(self.now, Place::Peer(from), Place::Peer(peer), &message);
                    self.answered(peer, ask, message, watch);
                }
            }
            Event::Unreachable(Asker { peer, life, ask }) => {
                if self.lives(peer, life) {
                    let result = Err(AskError::Unreachable("no connection".into()));
                    self.peer_input(peer, PeerInput::Answered { ask, result }, watch);
                }
            }
            Event::Parcel { to, parcel, lost } => {
                return if lost || !self.is_up(to) { Step::Lost(parcel) } else { Step::Arrived(to, parcel) };
            }
            Event::Wake(number) => return Step::Woke(number),
            Event::Blow(blow) => {
                self.strike(blow);
                return Step::Struck(blow);
            }
        }
        Step::Happened
    }

    /// Whether the peer is there and has not crashed since.
    fn lives(&self, peer: u32, life: u32) -> bool {
        let node = &self.peers[peer as usize];
        node.up && node.life == life
    }

    fn at_tracker(
        &mut self,
        peer: u32,
        life: u32,
        ask: Option<AskId>,
        message: Message,
        watch: &mut dyn Observer,
    ) {
        if self.tracker.is_none() {
            match ask {
                Some(ask) => self.refuse(Place::Tracker, Asker { peer, life, ask }),
                None => self.queue.push(self.now, Event::Closed { peer, life }),
            }
            return;
        }
        watch.arrives(self.now, Place::Peer(peer), Place::Tracker, &message);
        let connection = connection_of(peer, life);
        let from = self.peers[peer as usize].machine.me().ip;
        let asked = ask.map(|ask| (connection, ask));
        self.tracker_input(TrackerInput::Message { connection, from, message }, asked, watch);
    }

    fn at_peer(&mut self, from: Asker, to: u32, message: Message, watch: &mut dyn Observer) {
        if !self.is_up(to) {
            self.refuse(Place::Peer(to), from);
            return;
        }
        watch.arrives(self.now, Place::Peer(from.peer), Place::Peer(to), &message);
        // A connection a peer is enough: an answer comes out at once.
        let connection = connection_of(from.peer, from.life);
        let input = PeerInput::Request { connection, message };
        for message in self.peer_replies(to, input, watch) {
            #[cfg(test)]
            let message = self.mistaken(message);
            match self.fate(Place::Peer(to), Place::Peer(from.peer), Way::Answer, Some(&message)) {
                Fate::Arrives(at) => self.queue.push(at, Event::Answer { from: to, to: from, message }),
                Fate::Breaks(at) => self.queue.push(at, Event::Unreachable(from)),
                Fate::Vanishes => {}
            }
        }
    }

    /// Nobody listens there: that travels back as an answer does.
    fn refuse(&mut self, from: Place, asker: Asker) {
        match self.fate(from, Place::Peer(asker.peer), Way::Answer, None) {
            Fate::Arrives(at) | Fate::Breaks(at) => self.queue.push(at, Event::Unreachable(asker)),
            Fate::Vanishes => {}
        }
    }

    fn answered(&mut self, peer: u32, ask: AskId, message: Message, watch: &mut dyn Observer) {
        let result = match message {
            Message::Answer(answer) => Ok(answer),
            Message::Error(error) => Err(AskError::Refused(error)),
            other => Err(AskError::Misbehaved(format!("answered {other:?}"))),
        };
        self.peer_input(peer, PeerInput::Answered { ask, result }, watch);
    }

    /// `asked` is the ask that this input is, if it is one: its answer is among the outputs.
    pub(super) fn tracker_input(
        &mut self,
        input: TrackerInput,
        mut asked: Option<(ConnectionId, AskId)>,
        watch: &mut dyn Observer,
    ) {
        let Some(tracker) = &mut self.tracker else { return };
        watch.tracker_input(self.now, &input);
        tracker.handle(self.now, input);
        while let Some(output) = self.tracker.as_mut().and_then(Tracker::poll_output) {
            watch.tracker_output(self.now, &output);
            match output {
                TrackerOutput::Send(connection, message) => {
                    let answers = matches!(message, Message::Answer(_) | Message::Error(_));
                    let ask = asked.take_if(|(asker, _)| answers && *asker == connection).map(|(_, ask)| ask);
                    self.tracker_sends(connection, ask, message);
                }
                TrackerOutput::Close(connection) => {
                    let (peer, life) = (client_of(connection), (connection >> 32) as u32);
                    let at = self.peers[peer as usize].from_tracker.max(self.now);
                    self.queue.push(at, Event::Closed { peer, life });
                }
                TrackerOutput::Log(_)
                | TrackerOutput::LeftOut { .. }
                | TrackerOutput::Finished
                | TrackerOutput::Clocked(_) => {}
            }
        }
        self.rearm_tracker();
    }

    fn tracker_sends(&mut self, connection: ConnectionId, ask: Option<AskId>, message: Message) {
        let (peer, life) = (client_of(connection), (connection >> 32) as u32);
        #[cfg(test)]
        let message = self.mistaken(message);
        let way = if ask.is_some() { Way::Answer } else { Way::Kept };
        let fate = self.fate(Place::Tracker, Place::Peer(peer), way, Some(&message));
        let node = &mut self.peers[peer as usize];
        match (fate, ask) {
            (Fate::Arrives(at), _) => {
                node.from_tracker = node.from_tracker.max(at);
                self.queue.push(node.from_tracker, Event::FromTracker { peer, life, ask, message });
            }
            (Fate::Breaks(at), Some(ask)) => {
                self.queue.push(at, Event::Unreachable(Asker { peer, life, ask }));
            }
            (Fate::Breaks(at), None) => self.break_kept(at, peer, life),
            (Fate::Vanishes, _) => {}
        }
    }

    /// The connection that a scripted peer keeps with its tracker breaks, at both ends.
    fn break_kept(&mut self, at: Instant, peer: u32, life: u32) {
        self.queue.push(at, Event::Closed { peer, life });
        self.queue.push(at, Event::Left { peer, life });
    }

    fn tell_tracker(&mut self, peer: u32, ask: Option<AskId>, message: Message) {
        let way = if ask.is_some() { Way::Ask } else { Way::Kept };
        let fate = self.fate(Place::Peer(peer), Place::Tracker, way, Some(&message));
        let node = &mut self.peers[peer as usize];
        let life = node.life;
        match (fate, ask) {
            (Fate::Arrives(at), _) => {
                node.to_tracker = node.to_tracker.max(at);
                self.queue.push(node.to_tracker, Event::ToTracker { peer, life, ask, message });
            }
            (Fate::Breaks(at), Some(ask)) => {
                self.queue.push(at, Event::Unreachable(Asker { peer, life, ask }));
            }
            (Fate::Breaks(at), None) => self.break_kept(at, peer, life),
            (Fate::Vanishes, _) => {}
        }
    }

    fn ask_peer(&mut self, peer: u32, ask: AskId, addr: SocketAddr, request: Request) {
        let from = Asker { peer, life: self.peers[peer as usize].life, ask };
        let message = Message::Request(request);
        let Some(to) = self.at(addr) else {
            // As far as an address of this world, and back.
            return self.refuse(Place::Peer(peer), from);
        };
        match self.fate(Place::Peer(peer), Place::Peer(to), Way::Ask, Some(&message)) {
            Fate::Arrives(at) => self.queue.push(at, Event::Question { from, to, message }),
            Fate::Breaks(at) => self.queue.push(at, Event::Unreachable(from)),
            Fate::Vanishes => {}
        }
    }

    pub(super) fn peer_input(&mut self, peer: u32, input: PeerInput, watch: &mut dyn Observer) {
        let replies = self.peer_replies(peer, input, watch);
        debug_assert!(replies.is_empty(), "only requests are replied to");
    }

    /// Hands a peer an input and does what it wants done, except for the replies.
    fn peer_replies(&mut self, peer: u32, input: PeerInput, watch: &mut dyn Observer) -> Vec<Message> {
        let mut replies = Vec::new();
        watch.peer_input(self.now, peer, &input);
        self.peers[peer as usize].machine.handle(self.now, input);
        while let Some(output) = self.peers[peer as usize].machine.poll_output() {
            watch.peer_output(self.now, peer, &output);
            match output {
                PeerOutput::Reply { message, .. } => replies.push(message),
                PeerOutput::Ask { ask, to: Target::Tracker, request, .. } => {
                    self.tell_tracker(peer, Some(ask), Message::Request(request));
                }
                PeerOutput::Ask { ask, to: Target::Peer(addr), request, .. } => {
                    self.ask_peer(peer, ask, addr, request);
                }
                PeerOutput::TellTracker(message) => self.tell_tracker(peer, None, message),
                PeerOutput::Failed(_) => {
                    let life = self.peers[peer as usize].life;
                    self.leave(peer, life);
                }
                // An answer that still comes after a cancel is too late, and the machine ignores it.
                // Nothing is fetched in virtual time. The rest is for those who watch.
                PeerOutput::Cancel(_)
                | PeerOutput::Fetch { .. }
                | PeerOutput::Changed(_)
                | PeerOutput::Log(_)
                | PeerOutput::Finished
                | PeerOutput::Done { .. }
                | PeerOutput::Holder { .. }
                | PeerOutput::Membership(_) => {}
            }
        }
        self.rearm_peer(peer);
        self.peers[peer as usize].machine.give_back_room();
        replies
    }

    /// The tracker learns that this connection is gone.
    pub(super) fn leave(&mut self, peer: u32, life: u32) {
        match self.fate(Place::Peer(peer), Place::Tracker, Way::Kept, None) {
            Fate::Arrives(at) | Fate::Breaks(at) => {
                let node = &mut self.peers[peer as usize];
                node.to_tracker = node.to_tracker.max(at);
                self.queue.push(node.to_tracker, Event::Left { peer, life });
            }
            Fate::Vanishes => {}
        }
    }

    /// What a deliberate mistake makes of an answer.
    #[cfg(test)]
    fn mistaken(&self, message: Message) -> Message {
        use super::Mistake;
        use askaround_core::message::{Answer, HaveAnswer};
        match (self.mistake, message) {
            (Some(Mistake::SaysYes), Message::Answer(Answer::Have(HaveAnswer::No))) => {
                Message::Answer(Answer::Have(HaveAnswer::Have))
            }
            (Some(Mistake::ListsNobody), Message::Answer(Answer::Peers { .. })) => {
                Message::Answer(Answer::Peers { peers: Vec::new(), next: None })
            }
            (_, message) => message,
        }
    }
}
