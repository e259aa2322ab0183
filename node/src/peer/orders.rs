//! What the rest of the program has a running peer do, from other tasks: commands, and what its
//! fetches have come to.

use std::sync::Arc;

use askaround_core::id::Contact;
use askaround_core::key::Key;
use askaround_core::peer::{Outcome, PeerInput};
use askaround_core::script::Action;
use askaround_core::search::Holder;
use tokio::sync::{mpsc, oneshot};

use crate::delivery::types::TrackerStatus;
use crate::store::StoreError;

/// The most commands that wait for a peer.
pub(super) const COMMANDS: usize = 64;

/// Why a running peer has not done what it was to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommandError {
    /// It has ended.
    #[error("the peer is ending")]
    Ended,
    /// It has, and the disk does not take it; it goes on trying.
    #[error("{0}; the peer stores it as soon as it can")]
    NotStored(Arc<StoreError>),
}

/// Something that a running peer is to do.
#[derive(Debug)]
pub(super) enum Command {
    Do {
        action: Action,
        trace: bool,
        /// Who is told of holders.
        holders: Option<mpsc::Sender<Holder>>,
        done: oneshot::Sender<Result<Outcome, CommandError>>,
    },
    /// Something that came of a fetch; `done` is told when it is stored.
    Note { input: PeerInput, done: oneshot::Sender<()> },
    /// Which of these keys it does not hold is to be told.
    Lacks { keys: Vec<Key>, done: oneshot::Sender<Vec<Key>> },
    /// How it stands with its tracker, if it has one, is to be told.
    Registration { done: oneshot::Sender<Option<TrackerStatus>> },
}

/// Something on its way to a peer. If it is dropped, whoever waits for it is told that the peer has
/// ended.
#[derive(Debug)]
pub struct Order(pub(super) Command);

/// The way to a running peer.
#[derive(Debug, Clone)]
pub struct PeerHandle {
    commands: mpsc::Sender<Order>,
    /// Without a bound, since the end of a fetch is told of where nothing can wait. A fetch waits
    /// until all that it told before is noted, so that there are no more than fetches.
    notes: mpsc::UnboundedSender<Order>,
}

/// What waits for a peer; [`PeerNode::run`](super::PeerNode::run) takes it.
#[derive(Debug)]
pub struct Orders {
    commands: mpsc::Receiver<Order>,
    notes: mpsc::UnboundedReceiver<Order>,
}

impl Orders {
    /// For a peer that nobody has do anything, as one with a script.
    pub fn none() -> Self {
        PeerHandle::new().1
    }

    /// What waits, what came of fetches first; `None` when there is nobody left who could want
    /// anything. Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<Order> {
        tokio::select! {
            biased;
            Some(note) = self.notes.recv() => Some(note),
            Some(command) = self.commands.recv() => Some(command),
            else => None,
        }
    }

    /// All that came of fetches and waits: whoever told it may have been told that it is here. No more
    /// is taken from then on.
    pub(super) fn last_notes(&mut self) -> impl Iterator<Item = Order> {
        self.notes.close();
        std::iter::from_fn(|| self.notes.try_recv().ok())
    }

    /// As much of what waits as is handled in one go, after `first`.
    pub(super) fn and_those_behind(&mut self, first: Order) -> impl Iterator<Item = Order> {
        let next = || self.notes.try_recv().or_else(|_| self.commands.try_recv()).ok();
        std::iter::once(first).chain(std::iter::from_fn(next)).take(COMMANDS)
    }
}

impl PeerHandle {
    /// The way to a peer, and its other end.
    pub fn new() -> (Self, Orders) {
        let (commands, of_commands) = mpsc::channel(COMMANDS);
        let (notes, of_notes) = mpsc::unbounded_channel();
        (Self { commands, notes }, Orders { commands: of_commands, notes: of_notes })
    }

    /// Has the peer do something and waits for the outcome. Dropping the future gives the command
    /// up.
    ///
    /// # Errors
    /// If the peer has ended, or the disk does not take what changed.
    pub async fn command(&self, action: Action, trace: bool) -> Result<Outcome, CommandError> {
        self.ask(action, trace, None).await
    }

    async fn ask(
        &self,
        action: Action,
        trace: bool,
        holders: Option<mpsc::Sender<Holder>>,
    ) -> Result<Outcome, CommandError> {
        let (done, outcome) = oneshot::channel();
        let command = Command::Do { action, trace, holders, done };
        self.commands.send(Order(command)).await.map_err(|_| CommandError::Ended)?;
        outcome.await.unwrap_or(Err(CommandError::Ended))
    }

    /// How the peer stands with its tracker; `None` if it has none, or has ended.
    pub(crate) async fn registration(&self) -> Option<TrackerStatus> {
        let (done, told) = oneshot::channel();
        self.commands.send(Order(Command::Registration { done })).await.ok()?;
        told.await.ok()?
    }

    /// Those of these keys that the peer does not hold; none, if it has ended.
    pub(crate) async fn lacks(&self, keys: Vec<Key>) -> Vec<Key> {
        let (done, lacks) = oneshot::channel();
        match self.commands.send(Order(Command::Lacks { keys, done })).await {
            Ok(()) => lacks.await.unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }

    /// Has the peer do something that nobody waits for. One that is too busy to take it is told the
    /// next time.
    pub(crate) fn command_soon(&self, action: Action) {
        let command = Command::Do { action, trace: false, holders: None, done: oneshot::channel().0 };
        let _ = self.commands.try_send(Order(command));
    }

    /// Has the peer look for everybody who holds a content or is fetching it. Each comes through
    /// `holders`; one that finds no room there is passed over. The outcome tells how the search
    /// went; `None` if the peer has ended.
    pub async fn gather(&self, key: Key, holders: mpsc::Sender<Holder>) -> Option<Outcome> {
        self.ask(Action::Gather(key), true, Some(holders)).await.ok()
    }

    /// Tells the peer that a content is being fetched, or no longer.
    pub async fn fetching(&self, key: Key, fetching: bool) {
        // A peer that has ended needs to know nothing.
        let _ = self.note(PeerInput::Fetching(key, fetching)).await;
    }

    /// The same for what a fetch has to say that is dropped before its end: nobody waits for it.
    pub(crate) fn fetching_no_longer(&self, key: Key) {
        let input = PeerInput::Fetching(key, false);
        // The same as above.
        let _ = self.notes.send(Order(Command::Note { input, done: oneshot::channel().0 }));
    }

    /// Tells the peer that a content was fetched and verified, and by whom it was sent. It is
    /// stored when this returns, or the disk does not take it and the peer has said so.
    ///
    /// # Errors
    /// If the peer has ended.
    pub async fn delivered(&self, keys: Vec<Key>, from: Option<Contact>) -> Result<(), CommandError> {
        self.note(PeerInput::Delivered { keys, from }).await
    }

    async fn note(&self, input: PeerInput) -> Result<(), CommandError> {
        let (done, noted) = oneshot::channel();
        self.notes.send(Order(Command::Note { input, done })).map_err(|_| CommandError::Ended)?;
        noted.await.map_err(|_| CommandError::Ended)
    }
}

#[cfg(test)]
impl Orders {
    /// A machine that holds keys and purges them, as it is told, and does nothing else: what it holds.
    pub(crate) fn only_hold(mut self) -> Arc<std::sync::Mutex<std::collections::BTreeSet<Key>>> {
        let held = Arc::<std::sync::Mutex<std::collections::BTreeSet<Key>>>::default();
        let told = Arc::clone(&held);
        tokio::spawn(async move {
            while let Some(Order(order)) = self.recv().await {
                match order {
                    Command::Note { input, done } => {
                        if let PeerInput::Delivered { keys, .. } = input {
                            crate::lock(&told).extend(keys);
                        }
                        let _ = done.send(());
                    }
                    Command::Do { action: Action::Purge(key), done, .. } => {
                        let was_held = crate::lock(&told).remove(&key);
                        let outcome = if was_held { Outcome::Purged(key) } else { Outcome::NotHeld(key) };
                        let _ = done.send(Ok(outcome));
                    }
                    Command::Do { action: Action::Hold(key), done, .. } => {
                        let new = crate::lock(&told).insert(key.clone());
                        let _ = done.send(Ok(Outcome::Held { key, new }));
                    }
                    Command::Lacks { mut keys, done } => {
                        keys.retain(|key| !crate::lock(&told).contains(key));
                        let _ = done.send(keys);
                    }
                    Command::Do { .. } | Command::Registration { .. } => {}
                }
            }
        });
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_here_is_noted_by_a_peer_that_ends_or_whoever_says_so_learns_that_it_is_not() {
        let (peer, mut orders) = PeerHandle::new();
        let mut here = std::pin::pin!(peer.delivered(Vec::new(), None));
        tokio::select! {
            biased;
            noted = &mut here => panic!("{noted:?}"),
            () = async {} => {}
        }
        let last: Vec<_> = orders.last_notes().collect();
        assert_eq!(last.len(), 1);
        assert!(matches!(peer.delivered(Vec::new(), None).await, Err(CommandError::Ended)));
        for Order(order) in last {
            let Command::Note { done, .. } = order else { panic!("{order:?}") };
            done.send(()).unwrap();
        }
        here.await.unwrap();
    }

    #[tokio::test]
    async fn the_end_of_a_fetch_reaches_a_peer_that_takes_no_more_commands() {
        let (peer, mut orders) = PeerHandle::new();
        let key = |n: usize| Key::new(&n.to_string()).unwrap();
        for n in 0..2 * COMMANDS {
            peer.command_soon(Action::Hold(key(n)));
        }
        for n in 0..2 * COMMANDS {
            peer.fetching_no_longer(key(n));
        }
        drop(peer);
        let (mut ended, mut held) = (Vec::new(), 0);
        while let Some(first) = orders.recv().await {
            for Order(order) in orders.and_those_behind(first) {
                match order {
                    Command::Note { input: PeerInput::Fetching(key, false), .. } => ended.push(key),
                    Command::Do { action: Action::Hold(_), .. } => held += 1,
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(ended, (0..2 * COMMANDS).map(key).collect::<Vec<_>>());
        assert_eq!(held, COMMANDS);
    }
}
