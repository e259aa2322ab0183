//! Content that was served, none of whose files is what it was. Each is told once,
//! until it is good again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use askaround_core::key::Key;
use askaround_core::pieces::Root;
use askaround_core::script::Action;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::Delivery;
use super::keep::{KeepError, text_of};
use crate::content::{Condition, Entry, Kept};
use crate::lock;
use crate::peer::{command, command_soon};

/// A file is not served any more, because it is not what it was; or it is good, and served again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConditionChange {
    /// The BLAKE3 hash of what it was.
    pub blake3: Key,
    /// Where it is, or was; of several places, the best.
    pub path: String,
    /// How it is.
    pub condition: Condition,
}

/// What was told, and what is to be told. Neither can be more than has been in the catalogue.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    bad: BTreeSet<Root>,
    to_tell: BTreeMap<Root, ConditionChange>,
}

impl Conditions {
    /// Notes how a file is. Whether that changes what is served.
    fn note(&self, entry: &Entry, condition: Condition) -> bool {
        let mut state = lock(&self.state);
        let changed = match condition {
            Condition::Good => state.bad.remove(&entry.root),
            // It is verified by the peer itself, and then one of the others.
            Condition::Unchecked => false,
            Condition::Damaged | Condition::Changed | Condition::Missing => state.bad.insert(entry.root),
        };
        if changed {
            let (blake3, path) = (entry.root.key(), text_of(&entry.path));
            state.to_tell.insert(entry.root, ConditionChange { blake3, path, condition });
            self.changed.notify_one();
        }
        changed
    }

    /// Whether anything was told of and is not good again.
    pub(super) fn are_some_bad(&self) -> bool {
        !lock(&self.state).bad.is_empty()
    }

    async fn next(&self) -> ConditionChange {
        loop {
            // Whoever notes something meanwhile leaves a permit behind.
            if let Some((_, change)) = lock(&self.state).to_tell.pop_first() {
                return change;
            }
            self.changed.notified().await;
        }
    }
}

impl Delivery {
    /// The next file that turns out not to be what it was, when it is asked for or looked at; or to
    /// be good again. For one that waits, at a time.
    pub async fn condition_changed(&self) -> ConditionChange {
        self.0.conditions.next().await
    }

    /// Looks at every file that is here, for [`Delivery::condition_changed`].
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub async fn look_at_files(&self) -> Result<(), KeepError> {
        let delivery = self.clone();
        let look = move || {
            let mut best: BTreeMap<Root, (Condition, Entry)> = BTreeMap::new();
            for entry in delivery.catalogue().list()?.into_iter().filter(|entry| entry.kept != Kept::List) {
                let condition = delivery.catalogue().condition(&entry);
                if best.get(&entry.root).is_none_or(|(best, _)| condition < *best) {
                    best.insert(entry.root, (condition, entry));
                }
            }
            let changed = |(condition, entry): &(_, Entry)| delivery.0.conditions.note(entry, *condition);
            Ok::<_, KeepError>(best.into_values().filter(changed).collect::<Vec<_>>())
        };
        for (condition, entry) in tokio::task::spawn_blocking(look).await?? {
            for action in actions(&entry, condition) {
                command(self.commands(), action, false).await.ok_or(KeepError::Ended)?;
            }
        }
        Ok(())
    }

    /// A file that others asked for was looked at. One that is not what it was the peer holds no
    /// longer; the catalogue keeps the entry, so that its user learns of it.
    pub(super) fn looked_at(&self, entry: &Entry, condition: Condition) {
        if self.0.conditions.note(entry, condition) || condition != Condition::Good {
            for action in actions(entry, condition) {
                command_soon(self.commands(), action);
            }
        }
    }
}

/// What the peer's machine is to do about a file.
fn actions(entry: &Entry, condition: Condition) -> impl Iterator<Item = Action> + use<> {
    let keys = [Some(entry.root.key()), entry.md5.map(|md5| md5.key())].into_iter().flatten();
    keys.map(move |key| if condition == Condition::Good { Action::Hold(key) } else { Action::Purge(key) })
}
