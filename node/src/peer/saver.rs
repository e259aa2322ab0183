//! [`Saver`]: stores what changes in a live peer, now or as soon as the disk takes it.

use std::sync::Arc;
use std::time::Duration;

use askaround_core::peer::{Change, PeerOutput};
use tokio::time::Instant;

use super::PeerNews;
use super::orders::CommandError;
use crate::store::{Store, StoreError};

/// How long until what the disk did not take is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// Stores what changes in a live peer, in the order in which it changes.
pub(super) struct Saver {
    store: Store,
    /// What the disk did not take.
    unsaved: Vec<Change>,
    /// When that is tried again, if there is any.
    try_again: Option<Instant>,
}

impl Saver {
    /// Stores what changes there.
    pub(super) fn new(store: Store) -> Self {
        Self { store, unsaved: Vec::new(), try_again: None }
    }

    /// When to call [`Saver::save`], if only with nothing new.
    pub(super) fn try_again(&self) -> Option<Instant> {
        self.try_again
    }

    /// Stores what changed, all in one go: what a folder changes are thousands. What the disk does not
    /// take is kept for the next time.
    ///
    /// # Errors
    /// If the disk does not take it.
    pub(super) async fn save(
        &mut self,
        outputs: &[PeerOutput],
        news: &mut impl FnMut(PeerNews),
    ) -> Result<(), CommandError> {
        let changed = |output: &PeerOutput| match output {
            PeerOutput::Changed(change) => Some(change.clone()),
            _ => None,
        };
        let before = self.unsaved.len();
        self.unsaved.extend(outputs.iter().filter_map(changed));
        if self.unsaved.len() == before && self.try_again.is_none_or(|at| at > Instant::now()) {
            return Ok(());
        }
        let changes = Arc::new(std::mem::take(&mut self.unsaved));
        match self.store.save(Arc::clone(&changes)).await {
            Ok(()) => {
                if self.try_again.take().is_some() {
                    news(PeerNews::Stored);
                }
                Ok(())
            }
            Err(error) => {
                self.unsaved = Arc::unwrap_or_clone(changes);
                if self.try_again.replace(Instant::now() + TRY_AGAIN).is_none() {
                    news(PeerNews::NotStored(error.to_string()));
                }
                Err(CommandError::NotStored(Arc::new(error)))
            }
        }
    }

    /// Tries a last time to store what the disk did not take.
    ///
    /// # Errors
    /// If it does not take it now either: then it is lost.
    pub(super) async fn end(self) -> Result<(), StoreError> {
        match self.unsaved.is_empty() {
            true => Ok(()),
            false => self.store.save(Arc::new(self.unsaved)).await,
        }
    }
}
