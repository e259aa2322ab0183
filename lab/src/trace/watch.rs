//! Records a run over TCP: nodes in this process as they go, others from their diaries afterwards.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use askaround_core::id::PeerId;
use askaround_core::tracker::ConnectionId;
use askaround_node::Epoch;
use askaround_node::observe::Observer;

use super::diary::Entry;
use super::note::Note;
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
            let Some(note) = Note::of(seen) else { return };
            let mut state = watcher.lock();
            // Taken while the lock is held, so that the times of the events go with their order.
            state.note(watcher.epoch.now().as_nanos(), host, at, note);
        })
    }

    /// Takes what was written in the diaries of all nodes of a run, each with its host and where
    /// that listens. Times count from the first note.
    pub fn read(&self, diaries: Vec<(Host, SocketAddr, Vec<Entry>)>) {
        let entries = |(host, at, entries): (Host, SocketAddr, Vec<Entry>)| {
            entries.into_iter().map(move |entry| (entry.at_ns, host, at, entry.note))
        };
        let mut all: Vec<_> = diaries.into_iter().flat_map(entries).collect();
        // Stable: a node saw what it saw in the order in which it wrote it down.
        all.sort_by_key(|(at_ns, ..)| *at_ns);
        let began = all.first().map_or(0, |(at_ns, ..)| *at_ns);
        let mut state = self.lock();
        for (at_ns, host, at, note) in all {
            state.note(at_ns - began, host, at, note);
        }
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
    fn note(&mut self, at_ns: u64, host: Host, at: SocketAddr, note: Note) {
        match (&note, host) {
            (Note::Opened { local, to }, Host::Peer(id)) => _ = self.opened.insert((*local, *to), id),
            (Note::Accepted { connection, from }, _) => {
                self.accepted.insert((host, *connection), *from);
            }
            (Note::Arrived(connection, _), _) => self.who_is(host, at, *connection),
            _ => {}
        }
        self.recorder.note(at_ns, host, note);
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
