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
    /// Something that came of a delivery; `done` is told when it is stored.
    Note { input: PeerInput, done: oneshot::Sender<()> },
    /// How it stands with its tracker, if it has one, is to be told.
    Registration { done: oneshot::Sender<Option<TrackerStatus>> },
}

/// A command on its way to a peer; made by [`command`].
#[derive(Debug)]
pub struct PeerCommand(pub(super) Command);

/// The way to a peer, and its other end, which [`PeerNode::run`](super::PeerNode::run) takes.
pub fn command_channel() -> (mpsc::Sender<PeerCommand>, mpsc::Receiver<PeerCommand>) {
    mpsc::channel(COMMANDS)
}

/// Has a running peer do something and waits for the outcome. Dropping the future gives the command
/// up.
///
/// # Errors
/// If the peer has ended, or the disk does not take what changed.
pub async fn command(
    peer: &mpsc::Sender<PeerCommand>,
    action: Action,
    trace: bool,
) -> Result<Outcome, CommandError> {
    ask(peer, action, trace, None).await
}

async fn ask(
    peer: &mpsc::Sender<PeerCommand>,
    action: Action,
    trace: bool,
    holders: Option<mpsc::Sender<Holder>>,
) -> Result<Outcome, CommandError> {
    let (done, outcome) = oneshot::channel();
    let command = PeerCommand(Command::Do { action, trace, holders, done });
    peer.send(command).await.map_err(|_| CommandError::Ended)?;
    outcome.await.unwrap_or(Err(CommandError::Ended))
}

/// How a running peer stands with its tracker; `None` if it has none, or has ended.
pub(crate) async fn registration(peer: &mpsc::Sender<PeerCommand>) -> Option<TrackerStatus> {
    let (done, told) = oneshot::channel();
    peer.send(PeerCommand(Command::Registration { done })).await.ok()?;
    told.await.ok()?
}

/// Has a running peer do something that nobody waits for. A peer that is too busy to take it is
/// told the next time.
pub(crate) fn command_soon(peer: &mpsc::Sender<PeerCommand>, action: Action) {
    let command = Command::Do { action, trace: false, holders: None, done: oneshot::channel().0 };
    let _ = peer.try_send(PeerCommand(command));
}

/// The same for what a fetch has to say that is dropped before its end.
pub(crate) fn fetching_no_longer(peer: &mpsc::Sender<PeerCommand>, key: Key) {
    let input = PeerInput::Fetching(key, false);
    let _ = peer.try_send(PeerCommand(Command::Note { input, done: oneshot::channel().0 }));
}

/// Has a running peer look for everybody who holds a content or is fetching it. Each comes through
/// `holders`; one that finds no room there is passed over. The outcome tells how the search went;
/// `None` if the peer has ended.
pub async fn gather(
    peer: &mpsc::Sender<PeerCommand>,
    key: Key,
    holders: mpsc::Sender<Holder>,
) -> Option<Outcome> {
    ask(peer, Action::Gather(key), true, Some(holders)).await.ok()
}

/// Tells a running peer that a content is being fetched, or no longer.
pub async fn fetching(peer: &mpsc::Sender<PeerCommand>, key: Key, fetching: bool) {
    note(peer, PeerInput::Fetching(key, fetching)).await;
}

/// Tells a running peer that a content was fetched and verified, and by whom it was sent. It is
/// stored when this returns, or the disk does not take it and the peer has said so.
pub async fn delivered(peer: &mpsc::Sender<PeerCommand>, keys: Vec<Key>, from: Option<Contact>) {
    note(peer, PeerInput::Delivered { keys, from }).await;
}

/// A peer that has ended needs to know nothing.
async fn note(peer: &mpsc::Sender<PeerCommand>, input: PeerInput) {
    let (done, noted) = oneshot::channel();
    if peer.send(PeerCommand(Command::Note { input, done })).await.is_ok() {
        let _ = noted.await;
    }
}
