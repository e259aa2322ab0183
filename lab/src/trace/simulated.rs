//! Records a run in virtual time.

use askaround_core::peer::{PeerInput, PeerOutput};
use askaround_core::tracker::{ConnectionId, TrackerInput, TrackerOutput};
use askaround_core::{Instant, PeerId};

use super::record::Recorder;
use super::{Header, Host, Trace};
use crate::world::engine::{Observer, client_of};

/// Watches a world whose peers are those of the header, in their order.
#[derive(Debug)]
pub struct VirtualWatcher {
    recorder: Recorder,
    ids: Vec<PeerId>,
}

impl VirtualWatcher {
    /// Begins.
    pub fn new(header: Header) -> Self {
        let ids = header.peers.iter().map(|member| member.script.id).collect();
        Self { recorder: Recorder::new(header), ids }
    }

    /// The trace so far.
    pub fn finish(&mut self) -> Trace {
        self.recorder.finish()
    }

    fn id(&self, peer: u32) -> Option<PeerId> {
        self.ids.get(peer as usize).copied()
    }

    fn connected(&mut self, server: Host, connection: ConnectionId) {
        if let Some(client) = self.id(client_of(connection)) {
            self.recorder.connected(server, connection, client);
        }
    }
}

impl Observer for VirtualWatcher {
    fn peer_input(&mut self, at: Instant, peer: u32, input: &PeerInput) {
        let Some(id) = self.id(peer) else { return };
        if let PeerInput::Request { connection, .. } = input {
            self.connected(Host::Peer(id), *connection);
        }
        self.recorder.peer_input(at.as_nanos(), id, input);
    }

    fn peer_output(&mut self, at: Instant, peer: u32, output: &PeerOutput) {
        if let Some(id) = self.id(peer) {
            self.recorder.peer_output(at.as_nanos(), id, output);
        }
    }

    fn tracker_input(&mut self, at: Instant, input: &TrackerInput) {
        if let TrackerInput::Message { connection, .. } = input {
            self.connected(Host::Tracker, *connection);
        }
        self.recorder.tracker_input(at.as_nanos(), input);
    }

    fn tracker_output(&mut self, at: Instant, output: &TrackerOutput) {
        self.recorder.tracker_output(at.as_nanos(), output);
    }
}
