//! What is here already: adding it (module `add`), listing it, purging it. Each is done by the
//! catalogue on a thread that may block, and told to the peer's machine, which answers others.

mod add;
mod held;
mod types;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use askaround_core::key::Key;
use askaround_core::pieces::Root;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use self::types::{AddRequest, Added, KeepError, KeepEvent, Listed, Purged, UnknownCopy};
use super::Delivery;
use super::active::Destination;
use super::pace::Pace;
use crate::content::{
    Catalogue, CatalogueError, Collection, Condition, DiskError, Entry, Fault, Kept, Part, PartError, Place,
    Removed, UnknownCopies,
};
use crate::lock;

impl Delivery {
    /// Sees to the copies in the peer's folder of which its catalogue knows nothing. Those of which the
    /// file with its state was lost are added again. `tell` is told of each what was done. For when the
    /// peer begins: no copy may be under way.
    ///
    /// # Errors
    /// If the catalogue or the folder cannot be read or written, or it is to stop.
    pub async fn find_copies_again(
        &self,
        tell: impl Fn(&Path, UnknownCopy),
        stop: CancellationToken,
    ) -> Result<(), KeepError> {
        let catalogue = self.catalogue().clone();
        let look = move || {
            catalogue.follow_copies()?;
            catalogue.remove_half_made_copies()?;
            catalogue.unknown_copies()
        };
        let all_lost = match tokio::task::spawn_blocking(look).await?? {
            UnknownCopies::Lost(copies) => copies,
            UnknownCopies::Left(copies) => {
                copies.iter().for_each(|copy| tell(copy, UnknownCopy::Left));
                return Ok(());
            }
        };
        let mut all_found = true;
        for lost in all_lost {
            let (catalogue, copy) = (self.catalogue().clone(), lost.clone());
            let work = move |cancel: &AtomicBool| {
                let (entry, collection) = catalogue.find_again(&copy, cancel)?;
                all_keys_of(&catalogue, &entry, collection.as_ref())
            };
            match blocking(&stop, work).await? {
                Ok(keys) => {
                    self.hold(keys).await?;
                    tell(&lost, UnknownCopy::Found);
                }
                Err(KeepError::Stopped) => return Err(KeepError::Stopped),
                Err(error) => {
                    all_found = false;
                    tell(&lost, UnknownCopy::Failed(error));
                }
            }
        }
        if all_found {
            let catalogue = self.catalogue().clone();
            tokio::task::spawn_blocking(move || catalogue.note_copies_found()).await??;
        }
        Ok(())
    }

    /// All that is here, each content once, by path.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub async fn list(&self) -> Result<Vec<Listed>, KeepError> {
        let catalogue = self.catalogue().clone();
        let list = move || {
            let contents = catalogue.contents().map(|places| listed(&catalogue, places?));
            let mut contents = contents.collect::<Result<Vec<_>, _>>()?;
            contents.sort_unstable_by(|a, b| (&a.path, &a.blake3).cmp(&(&b.path, &b.blake3)));
            Ok::<_, KeepError>(contents)
        };
        let contents = tokio::task::spawn_blocking(list).await??;
        // What was away, as on a disk that was not mounted, may have come back.
        let good = contents.iter().filter(|content| content.condition == Condition::Good);
        let keys = good.flat_map(|content| [&content.blake3].into_iter().chain(&content.md5));
        self.hold_what_it_lacks(keys.cloned().collect()).await?;
        Ok(contents)
    }

    /// Holds a key no longer, and forgets the content that it names. Files of the user's stay
    /// where they are; copies in the peer's folder go, and what stopped fetches of it have left that
    /// are remembered. A fetch that is under way goes on.
    ///
    /// # Errors
    /// If the catalogue cannot be written, or a copy not removed.
    pub async fn purge(&self, key: &Key) -> Result<Purged, KeepError> {
        let _keeping = self.0.keeping.lock().await;
        let (catalogue, named) = (self.catalogue().clone(), key.clone());
        let fetches = lock(&self.0.active).destinations(key);
        let work = move || -> Result<_, CatalogueError> {
            let entry = catalogue.get(&named)?;
            let removed = catalogue.remove(&named)?;
            let is_its = |place: &Entry| entry.as_ref().is_some_and(|entry| entry.root == place.root);
            let places = removed.places.iter();
            // What cannot be seen is not known to be gone.
            let is_there = |place: &Entry| place.path.try_exists().unwrap_or(true);
            let is_users = |place: &Entry| !catalogue.is_copy(place) || removed.edited.contains(&place.path);
            let mut stay = places.filter(|place| is_its(place) && is_users(place) && is_there(place));
            let mut purged = Purged {
                key: Some(named.clone()),
                stays: stay.next().map(|place| text_of(&place.path)),
                also_stay: stay.count() as u64,
                ..Purged::default()
            };
            for fetch in fetches {
                if !fetch.ended {
                    purged.fetching = Some(text_of(&fetch.to));
                } else {
                    match give_up(&fetch, &named) {
                        Ok(true) => purged.given_up = Some(text_of(&fetch.to)),
                        Ok(false) => {}
                        Err(error) => tracing::warn!(%error, "what a stopped fetch has left stays"),
                    }
                }
            }
            Ok((entry, removed, purged))
        };
        let (entry, removed, purged) = tokio::task::spawn_blocking(work).await??;
        let Some(entry) = entry else {
            let held = self.purge_held([key.clone()]).await? > 0;
            return Ok(Purged { held, ..purged });
        };
        self.purge_keys(removed.keys().into_iter().collect()).await?;
        let Removed { gone, failed, .. } = removed;
        if let Some(error) = failed {
            return Err(error.into());
        }
        Ok(Purged {
            held: true,
            contents: gone.len() as u64,
            in_folder: !gone.contains(&entry.root),
            ..purged
        })
    }
}

/// Removes what a stopped fetch has left where it was to go, if nobody goes on with it. Whether there
/// was something.
fn give_up(fetch: &Destination, key: &Key) -> Result<bool, PartError> {
    let place = Place::new(&fetch.to).map_err(PartError::from);
    match place.and_then(|place| Part::give_up(&place, key, fetch.in_place)) {
        // Of a folder, which of its files have come is known to who fetches it again. Where the folder
        // above is gone, all is.
        Err(PartError::Disk(DiskError {
            fault: Fault::IsFolder | Fault::Slash | Fault::Missing | Fault::NotFolder,
            ..
        })) => Ok(false),
        other => other,
    }
}

/// Runs `work` on a thread that may block. When it is time to stop, or nobody waits any more, its
/// flag is raised.
pub(super) async fn blocking<T: Send + 'static>(
    stop: &CancellationToken,
    work: impl FnOnce(&AtomicBool) -> T + Send + 'static,
) -> Result<T, KeepError> {
    struct RaiseOnDrop(Arc<AtomicBool>);
    impl Drop for RaiseOnDrop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let flag = RaiseOnDrop(Arc::default());
    let cancel = Arc::clone(&flag.0);
    let mut task = tokio::task::spawn_blocking(move || work(&cancel));
    tokio::select! {
        done = &mut task => return Ok(done?),
        () = stop.cancelled() => drop(flag),
    }
    Ok(task.await?)
}

/// Tells how much of a file is read, now and then. What finds no room is passed over.
pub(super) fn reading(events: &mpsc::Sender<KeepEvent>, path: String) -> Pace<impl Fn(u64, u64)> {
    Pace::new(move |done, size| {
        let _ = events.try_send(KeepEvent::Reading { path: path.clone(), done, size });
    })
}

/// The names of a content and, if it is a folder, of its files, each once.
fn all_keys_of(
    catalogue: &Catalogue,
    entry: &Entry,
    folder: Option<&Collection>,
) -> Result<Vec<Key>, KeepError> {
    let mut keys: BTreeSet<Key> = entry.keys().collect();
    let files = folder.into_iter().flat_map(Collection::files);
    for root in files.map(|file| file.root).collect::<BTreeSet<Root>>() {
        match catalogue.get(&root.key())? {
            Some(entry) => keys.extend(entry.keys()),
            None => return Err(CatalogueError::BadRecord(root).into()),
        }
    }
    Ok(keys.into_iter().collect())
}

/// A content, of which these are the places.
fn listed(catalogue: &Catalogue, places: Vec<Entry>) -> Result<Listed, KeepError> {
    let own = places.iter().any(|place| place.own);
    let mut places: Vec<_> = places.into_iter().map(|place| (catalogue.condition(&place), place)).collect();
    // By path, but copies of ours before others, as they are served.
    places.sort_by(|(a, at), (b, other)| {
        (a, at.kept != Kept::Copy, &at.path).cmp(&(b, other.kept != Kept::Copy, &other.path))
    });
    let mut places = places.into_iter();
    let Some((mut condition, entry)) = places.next() else { unreachable!("it has a place") };
    let mut size = entry.size;
    let mut files = None;
    if entry.kept == Kept::List {
        let collection = catalogue.collection(&entry.root)?;
        size = collection.files().iter().map(|file| file.size).sum();
        files = Some(collection.files().len() as u64);
        for file in collection.files() {
            let known = catalogue.get(&file.root.key())?;
            let known = known.map_or(Condition::Missing, |known| catalogue.condition(&known));
            condition = condition.max(known);
        }
    }
    Ok(Listed {
        blake3: entry.root.key(),
        md5: entry.md5_key(),
        size,
        files,
        kept: entry.kept,
        condition,
        own,
        path: text_of(&entry.path),
        also: places.map(|(_, place)| text_of(&place.path)).collect(),
    })
}

/// A path for people. One that is not UTF-8 is shown as nearly as can be.
pub(super) fn text_of(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_folder_is_gone_nothing_is_left_of_a_fetch() {
        let (user, key) = (tempfile::tempdir().unwrap(), Key::new(&"0a".repeat(32)).unwrap());
        std::fs::write(user.path().join("file"), "f").unwrap();
        for to in ["gone/out", "file/out", "gone/", "nothing"].map(|to| user.path().join(to)) {
            for in_place in [false, true] {
                let fetch = Destination { to: to.clone(), in_place, ended: true };
                assert!(!give_up(&fetch, &key).unwrap(), "{to:?}");
            }
        }
    }
}
