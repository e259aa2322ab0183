//! [`Uploads`]: the machine that decides who is sent to next, and the connections that wait for it.

use std::collections::BTreeMap;
use std::sync::Mutex;

use askaround_core::tracker::ConnectionId;
use askaround_core::upload::{Served, Upload, UploadConfig, UploadInput, Want};
use tokio::sync::{oneshot, watch};

use crate::{Epoch, lock};

/// The upload machine of a node, and the connections that it has not answered yet.
#[derive(Debug, Default)]
pub struct Uploads {
    state: Mutex<State>,
    idle: watch::Sender<bool>,
    epoch: Epoch,
}

#[derive(Debug, Default)]
struct State {
    machine: Upload,
    waiting: BTreeMap<ConnectionId, oneshot::Sender<Vec<Option<u32>>>>,
}

impl Uploads {
    /// Nobody is served yet.
    pub fn new(config: UploadConfig) -> Self {
        let state = State { machine: Upload::new(config), waiting: BTreeMap::new() };
        Self { state: Mutex::new(state), idle: watch::Sender::new(true), epoch: Epoch::default() }
    }

    /// Whether somebody waits for a turn, now and whenever that changes.
    pub fn watch_idle(&self) -> watch::Receiver<bool> {
        self.idle.subscribe()
    }

    /// Asks for a connection's turn. When it comes, so does for each wish the piece to send, unless
    /// what is wished for is not a whole one. A connection asks for one turn at a time.
    pub(super) fn want(&self, connection: ConnectionId, want: Want) -> oneshot::Receiver<Vec<Option<u32>>> {
        let (sender, receiver) = oneshot::channel();
        let mut state = lock(&self.state);
        state.waiting.insert(connection, sender);
        state.handle(UploadInput::Wants(connection, want));
        self.tell_idle(&state);
        receiver
    }

    /// A turn is not wanted any more, also if it has come meanwhile.
    pub(super) fn withdraw(&self, connection: ConnectionId) {
        let mut state = lock(&self.state);
        let waits = state.waiting.remove(&connection).is_some();
        state.handle(match waits {
            true => UploadInput::Unwanted(connection),
            false => self.sent_input(connection, 0),
        });
        self.tell_idle(&state);
    }

    /// How much who has a turn must take, in bytes a second, to keep it.
    pub(super) fn least_pace(&self) -> u64 {
        lock(&self.state).machine.least_pace()
    }

    /// What a connection was granted has been sent: so many bytes.
    pub(super) fn sent(&self, connection: ConnectionId, bytes: u64) {
        self.handle(self.sent_input(connection, bytes));
    }

    fn sent_input(&self, connection: ConnectionId, bytes: u64) -> UploadInput {
        UploadInput::Sent { connection, bytes, at: self.epoch.now() }
    }

    /// What happened on a connection.
    pub(super) fn handle(&self, input: UploadInput) {
        let mut state = lock(&self.state);
        state.handle(input);
        self.tell_idle(&state);
    }

    fn tell_idle(&self, state: &State) {
        let idle = state.machine.is_idle();
        self.idle.send_if_modified(|was| std::mem::replace(was, idle) != idle);
    }

    /// The connection has these pieces from elsewhere.
    pub(super) fn knows(&self, connection: ConnectionId, served: Served, count: u32, pieces: Vec<u32>) {
        self.handle(UploadInput::Knows { connection, served, count, pieces });
    }

    /// The connection has ended.
    pub(super) fn gone(&self, connection: ConnectionId) {
        let mut state = lock(&self.state);
        state.waiting.remove(&connection);
        state.handle(UploadInput::Gone(connection));
        self.tell_idle(&state);
    }
}

impl State {
    fn handle(&mut self, input: UploadInput) {
        self.machine.handle(input);
        while let Some(grant) = self.machine.poll_output() {
            if let Some(waiting) = self.waiting.remove(&grant.connection) {
                // If nobody waits any more, the connection is about to say that it is gone.
                let _ = waiting.send(grant.pieces);
            }
        }
    }
}
