//! Content that was served, none of whose files is what it was. Each is told once,
//! until it is good again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use askaround_core::key::Key;
use askaround_core::pieces::Root;
use askaround_core::script::Action;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::Delivery;
use super::keep::{KeepError, text_of};
use crate::content::{Condition, Entry, Kept};
use crate::lock;

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
    /// Whether what is unchecked is verified by the peer itself ([`Delivery::settle`]).
    settles: AtomicBool,
    /// Whether something was since that began the last time.
    unchecked: AtomicBool,
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
            // Then it is one of the others.
            Condition::Unchecked if self.settles.load(Ordering::Relaxed) => {
                self.unchecked.store(true, Ordering::Relaxed);
                false
            }
            Condition::Unchecked
            | Condition::Damaged
            | Condition::Changed
            | Condition::Unreadable
            | Condition::Missing => state.bad.insert(entry.root),
        };
        // What has changed back before it was told need not be told.
        if changed && state.to_tell.remove(&entry.root).is_none() {
            let (blake3, path) = (entry.root.key(), text_of(&entry.path));
            state.to_tell.insert(entry.root, ConditionChange { blake3, path, condition });
            self.changed.notify_one();
        }
        changed
    }

    /// From now on what is unchecked is verified by the peer itself.
    pub(super) fn begin_to_settle(&self) {
        self.settles.store(true, Ordering::Relaxed);
    }

    /// Whether something was unchecked since this was asked last.
    pub(super) fn take_unchecked(&self) -> bool {
        self.unchecked.swap(false, Ordering::Relaxed)
    }

    /// Whether anything was told of and is not good again.
    pub(super) fn are_some_bad(&self) -> bool {
        !lock(&self.state).bad.is_empty()
    }

    fn take(&self) -> Vec<ConditionChange> {
        std::mem::take(&mut lock(&self.state).to_tell).into_values().collect()
    }

    async fn some(&self) {
        // Whoever notes something meanwhile leaves a permit behind.
        while lock(&self.state).to_tell.is_empty() {
            self.changed.notified().await;
        }
    }
}

impl Delivery {
    /// Waits for [`Delivery::take_condition_changes`] to give some. For one that waits, at a time.
    pub async fn condition_changed(&self) {
        self.0.conditions.some().await;
    }

    /// The files that turned out not to be what they were, when they were asked for or looked at, or
    /// to be good again, since this was asked last.
    pub fn take_condition_changes(&self) -> Vec<ConditionChange> {
        self.0.conditions.take()
    }

    /// Looks at every file that is here, for [`Delivery::take_condition_changes`].
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub async fn look_at_files(&self) -> Result<(), KeepError> {
        let delivery = self.clone();
        let look = move || {
            let (mut changed, conditions) = (Vec::new(), &delivery.0.conditions);
            for places in delivery.catalogue().contents() {
                let files = places?.into_iter().filter(|place| place.kept != Kept::List);
                let files = files.map(|file| (delivery.catalogue().condition(&file), file));
                let best = files.min_by_key(|(condition, _)| *condition);
                changed.extend(best.filter(|(condition, entry)| conditions.note(entry, *condition)));
            }
            Ok::<_, KeepError>(changed)
        };
        for (condition, entry) in tokio::task::spawn_blocking(look).await?? {
            for action in actions(&entry, condition) {
                self.peer().command(action, false).await?;
            }
        }
        Ok(())
    }

    /// A file that others asked for was looked at. One that is not what it was the peer holds no
    /// longer; the catalogue keeps the entry, so that its user learns of it.
    pub(super) fn looked_at(&self, entry: &Entry, condition: Condition) {
        if self.0.conditions.note(entry, condition) || condition != Condition::Good {
            for action in actions(entry, condition) {
                self.peer().command_soon(action);
            }
        }
    }
}

/// What the peer's machine is to do about a file.
fn actions(entry: &Entry, condition: Condition) -> impl Iterator<Item = Action> + use<> {
    let keys = [Some(entry.root.key()), entry.md5.map(|md5| md5.key())].into_iter().flatten();
    keys.map(move |key| if condition == Condition::Good { Action::Hold(key) } else { Action::Purge(key) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::file::Stamp;

    #[test]
    fn what_has_changed_back_before_it_is_told_is_not_told() {
        let entry = Entry {
            root: Root::new([1; 32]),
            size: 1,
            md5: None,
            path: "x".into(),
            kept: Kept::Reference,
            own: true,
            sparse: false,
            executable: false,
            stamp: Stamp::of(&tempfile::tempfile().unwrap()).unwrap(),
            boot: None,
            synced: true,
            damaged: false,
        };
        let conditions = Conditions::default();
        let told = || conditions.take().into_iter().map(|change| change.condition).collect::<Vec<_>>();
        let note = |condition| conditions.note(&entry, condition);
        assert!(note(Condition::Missing) && !note(Condition::Changed) && note(Condition::Good));
        assert_eq!(told(), [], "it is as it was");
        assert!(note(Condition::Missing));
        assert_eq!(told(), [Condition::Missing]);
        assert!(note(Condition::Good) && note(Condition::Missing));
        assert_eq!(told(), [], "that is known");
        assert!(note(Condition::Good));
        assert_eq!(told(), [Condition::Good]);
    }
}
