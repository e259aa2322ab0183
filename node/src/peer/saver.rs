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
    /// What the disk did not take, and when that is tried again.
    unsaved: Option<(Vec<Change>, Instant)>,
}

impl Saver {
    /// Stores what changes there.
    pub(super) fn new(store: Store) -> Self {
        Self { store, unsaved: None }
    }

    /// When to call [`Saver::save`], if only with nothing new.
    pub(super) fn try_again(&self) -> Option<Instant> {
        self.unsaved.as_ref().map(|(_, at)| *at)
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
        let mut changes: Vec<Change> = outputs.iter().filter_map(changed).collect();
        let failed_before = self.unsaved.is_some();
        if let Some((unsaved, at)) = &mut self.unsaved
            && (!changes.is_empty() || *at <= Instant::now())
        {
            unsaved.append(&mut changes);
            changes = std::mem::take(unsaved);
        }
        if changes.is_empty() {
            return Ok(());
        }
        let changes = Arc::new(changes);
        match self.store.save(Arc::clone(&changes)).await {
            Ok(()) => {
                self.unsaved = None;
                if failed_before {
                    news(PeerNews::Stored);
                }
                Ok(())
            }
            Err(error) => {
                if !failed_before {
                    news(PeerNews::NotStored(error.to_string()));
                }
                self.unsaved = Some((Arc::unwrap_or_clone(changes), Instant::now() + TRY_AGAIN));
                Err(CommandError::NotStored(Arc::new(error)))
            }
        }
    }

    /// Tries a last time to store what the disk did not take.
    ///
    /// # Errors
    /// If it does not take it now either: then it is lost.
    pub(super) async fn end(self) -> Result<(), StoreError> {
        match self.unsaved {
            Some((unsaved, _)) => self.store.save(Arc::new(unsaved)).await,
            None => Ok(()),
        }
    }
}
