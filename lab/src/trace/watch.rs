//! Records a run over TCP, whose nodes all live in this process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use askaround_core::id::PeerId;
use askaround_core::peer::PeerInput;
use askaround_core::tracker::{ConnectionId, TrackerInput};
use askaround_node::Epoch;
use askaround_node::observe::{Observer, Seen};

use super::record::Recorder;
use super::{Header, Host, Trace};

/// Watches the nodes of a run. Clones watch together.
#[derive(Debug, Clone)]
pub struct Watcher {
    state: Arc<Mutex<State>>,
    epoch: Epoch,
}

#[derive(Debug)]
struct State {
    recorder: Recorder,
    /// Who opened the connection between these two addresses.
    opened: BTreeMap<(SocketAddr, SocketAddr), PeerId>,
    /// Connections that nothing has come on yet, with the address at their other end.
    accepted: BTreeMap<(Host, ConnectionId), SocketAddr>,
}

impl Watcher {
    /// Begins.
    pub fn new(header: Header) -> Self {
        let state =
            State { recorder: Recorder::new(header), opened: BTreeMap::new(), accepted: BTreeMap::new() };
        Self { state: Arc::new(Mutex::new(state)), epoch: Epoch::default() }
    }

    /// What watches `host`, which listens at `at`.
    pub fn observer(&self, host: Host, at: SocketAddr) -> Observer {
        if let Host::Peer(id) = host {
            self.lock().recorder.listens(id, at);
        }
        let watcher = self.clone();
        Observer::new(move |seen| {
            let mut state = watcher.lock();
            // Taken while the lock is held, so that the times of the events go with their order.
            state.saw(watcher.epoch.now().as_nanos(), host, at, seen);
        })
    }

    /// The trace so far.
    pub fn finish(&self) -> Trace {
        self.lock().recorder.finish()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn saw(&mut self, at_ns: u64, host: Host, at: SocketAddr, seen: Seen<'_>) {
        match (seen, host) {
            (Seen::Opened { local, to }, Host::Peer(id)) => {
                self.opened.insert((local, to), id);
            }
            (Seen::Accepted { connection, from }, _) => {
                self.accepted.insert((host, connection), from);
            }
            (Seen::PeerInput(input), Host::Peer(id)) => {
                if let PeerInput::Request { connection, .. } = input {
                    self.who_is(host, at, *connection);
                }
                self.recorder.peer_input(at_ns, id, input);
            }
            (Seen::PeerOutput(output), Host::Peer(id)) => self.recorder.peer_output(at_ns, id, output),
            (Seen::TrackerInput(input), _) => {
                if let TrackerInput::Message { connection, .. } = input {
                    self.who_is(host, at, *connection);
                }
                self.recorder.tracker_input(at_ns, input);
            }
            (Seen::TrackerOutput(output), _) => self.recorder.tracker_output(at_ns, output),
            _ => {}
        }
    }

    /// Tells the recorder who opened this connection, once something comes on it: by then
    /// whoever opened it has said so, which it need not have when it was accepted.
    fn who_is(&mut self, host: Host, at: SocketAddr, connection: ConnectionId) {
        if let Some(from) = self.accepted.remove(&(host, connection))
            && let Some(client) = self.opened.get(&(from, at))
        {
            self.recorder.connected(host, connection, *client);
        }
    }
}
