//! Telling the peer's machine what is here, and what no longer.

use std::sync::atomic::{AtomicBool, Ordering};

use askaround_core::id::Contact;
use askaround_core::key::Key;
use askaround_core::peer::Outcome;
use askaround_core::script::Action;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{KeepError, blocking};
use crate::content::Condition;
use crate::delivery::Delivery;
use crate::peer::CommandError;

/// How many keys the machine is told of at once.
const TELLING: usize = 64;
/// So many places are looked at in one go.
const AT_ONCE: usize = 1024;

impl Delivery {
    /// Has the machine hold keys, as far as their content is still here. That is stored when this
    /// returns.
    ///
    /// # Errors
    /// If the catalogue cannot be read, or the peer has ended.
    pub(in super::super) async fn hold(&self, keys: Vec<Key>) -> Result<(), KeepError> {
        self.hold_from(keys, None).await
    }

    /// The same of what was fetched, most of it from `from`.
    ///
    /// # Errors
    /// As [`Delivery::hold`].
    pub(in super::super) async fn hold_from(
        &self,
        keys: Vec<Key>,
        from: Option<Contact>,
    ) -> Result<(), KeepError> {
        let _keeping = self.0.keeping.lock().await;
        let catalogue = self.catalogue().clone();
        let here = tokio::task::spawn_blocking(move || catalogue.of_what_is_here(keys)).await??;
        Ok(self.peer().delivered(here, from).await?)
    }

    /// The same of many keys, most of which it holds.
    ///
    /// # Errors
    /// As [`Delivery::hold`].
    pub(super) async fn hold_what_it_lacks(&self, keys: Vec<Key>) -> Result<(), KeepError> {
        let lacks = self.peer().lacks(keys).await;
        if lacks.is_empty() { Ok(()) } else { self.hold(lacks).await }
    }

    /// Has the machine hold what is good here and purge what was forgotten: the peer may have ended
    /// before it could. For when it begins.
    ///
    /// # Errors
    /// If the catalogue cannot be read or written, it is to stop, or the peer has ended.
    pub(in super::super) async fn hold_what_is_here(
        &self,
        stop: &CancellationToken,
    ) -> Result<(), KeepError> {
        let mut entries = Some(self.catalogue().entries());
        while let Some(mut left) = entries {
            let catalogue = self.catalogue().clone();
            let look = move |cancel: &AtomicBool| {
                let (mut keys, mut count) = (Vec::new(), 0);
                for entry in left.by_ref().take(AT_ONCE) {
                    let entry = entry?;
                    if cancel.load(Ordering::Relaxed) {
                        return Err(KeepError::Stopped);
                    }
                    count += 1;
                    if catalogue.condition(&entry) == Condition::Good {
                        keys.extend(entry.keys());
                    }
                }
                Ok((keys, (count == AT_ONCE).then_some(left)))
            };
            let good;
            (good, entries) = blocking(stop, look).await??;
            self.hold_what_it_lacks(good).await?;
        }
        let _keeping = self.0.keeping.lock().await;
        let catalogue = self.catalogue().clone();
        let forgotten = tokio::task::spawn_blocking(move || catalogue.forgotten()).await??;
        self.purge_keys(forgotten).await
    }

    /// Has the machine purge the keys of what was forgotten, some at a time. Whoever calls keeps others
    /// from holding them meanwhile.
    pub(super) async fn purge_keys(&self, keys: Vec<Key>) -> Result<(), KeepError> {
        if keys.is_empty() {
            return Ok(());
        }
        self.purge_held(keys.iter().cloned()).await?;
        let catalogue = self.catalogue().clone();
        Ok(tokio::task::spawn_blocking(move || catalogue.note_not_held(&keys)).await??)
    }

    /// Has the machine purge keys, some at a time. How many of them it held.
    pub(super) async fn purge_held(&self, keys: impl IntoIterator<Item = Key>) -> Result<usize, KeepError> {
        let mut asked = JoinSet::new();
        let mut changed = 0;
        let mut count = |outcome: Result<Outcome, CommandError>| {
            changed += usize::from(outcome?.has_changed());
            Ok::<_, KeepError>(())
        };
        for key in keys {
            if asked.len() == TELLING
                && let Some(outcome) = asked.join_next().await
            {
                count(outcome?)?;
            }
            let peer = self.peer().clone();
            asked.spawn(async move { peer.command(Action::Purge(key), false).await });
        }
        while let Some(outcome) = asked.join_next().await {
            count(outcome?)?;
        }
        Ok(changed)
    }
}
