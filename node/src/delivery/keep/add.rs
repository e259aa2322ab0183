//! Adding files and folders of the user's.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use askaround_core::key::Key;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{AddRequest, Added, KeepError, KeepEvent, all_keys_of, blocking, reading, text_of};
use crate::content::{AddedAt, Catalogue, Entry, How, ListedFile};
use crate::delivery::Delivery;

impl Delivery {
    /// Adds files and folders, one after the other, and holds them from now on.
    ///
    /// # Errors
    /// At the first that cannot be added; those before it stay added, and were told.
    pub async fn add(
        &self,
        request: AddRequest,
        events: mpsc::Sender<KeepEvent>,
        stop: CancellationToken,
    ) -> Result<Vec<Added>, KeepError> {
        let mut at = AddedAt::new();
        let added = self.add_each(request, &events, stop, &mut at).await;
        let forgotten = self.forget_replaced(at, &events).await;
        let added = added?;
        forgotten.map(|()| added)
    }

    /// Notes in `at` where a content is now.
    async fn add_each(
        &self,
        request: AddRequest,
        events: &mpsc::Sender<KeepEvent>,
        stop: CancellationToken,
        at: &mut AddedAt,
    ) -> Result<Vec<Added>, KeepError> {
        let how = if request.copy { How::Copy } else { How::Reference };
        let mut all = Vec::new();
        for path in request.paths {
            let (catalogue, tell) = (self.catalogue().clone(), events.clone());
            let work = move |cancel: &AtomicBool| add_one(&catalogue, &path, how, &tell, cancel);
            let one = blocking(&stop, work).await??;
            self.hold(one.keys).await?;
            at.extend(one.at);
            // Whoever asked may have gone.
            let _ = events.send(KeepEvent::Added(one.added.clone())).await;
            all.push(one.added);
        }
        Ok(all)
    }

    /// Forgets what was there before, and tells of what was added or fetched by itself.
    async fn forget_replaced(&self, at: AddedAt, events: &mpsc::Sender<KeepEvent>) -> Result<(), KeepError> {
        let catalogue = self.catalogue().clone();
        let work = move || catalogue.forget_replaced(&at);
        let keeping = self.0.keeping.lock().await;
        let removed = tokio::task::spawn_blocking(work).await??;
        self.purge_keys(removed.keys().into_iter().collect()).await?;
        // Whoever is told may be slow to read.
        drop(keeping);
        for place in removed.places.iter().filter(|place| place.own && removed.gone.contains(&place.root)) {
            let (blake3, path) = (place.root.key(), text_of(&place.path));
            let _ = events.send(KeepEvent::Replaced { blake3, path }).await;
        }
        Ok(())
    }
}

/// A file or folder that was added.
struct AddedOne {
    added: Added,
    keys: Vec<Key>,
    /// Where it is; of a folder also where each of its files is.
    at: AddedAt,
}

/// Adds a file or folder.
fn add_one(
    catalogue: &Catalogue,
    path: &Path,
    how: How,
    events: &mpsc::Sender<KeepEvent>,
    cancel: &AtomicBool,
) -> Result<AddedOne, KeepError> {
    let pace = reading(events, text_of(path));
    if !path.is_dir() {
        let size = path.metadata().map_or(0, |data| data.len());
        let entry = catalogue.add(path, how, &|done| pace.tell(done, size), cancel)?;
        return Ok(AddedOne {
            added: added(&entry, entry.size, None),
            keys: entry.keys().collect(),
            at: [(entry.path, entry.root)].into(),
        });
    }
    let folder = catalogue.add_folder(path, how, &|done, size| pace.tell(done, size), cancel)?;
    for skipped in &folder.skipped {
        let _ = events.blocking_send(KeepEvent::LeftOut { text: skipped.to_string() });
    }
    let files = folder.collection.files();
    let size = files.iter().map(|file| file.size).sum();
    let keys = all_keys_of(catalogue, &folder.entry, Some(&folder.collection))?;
    let added = added(&folder.entry, size, Some(files.len() as u64));
    let place = |file: &ListedFile| (folder.entry.path.join(file.path.as_str()), file.root);
    let mut at: AddedAt = files.iter().map(place).collect();
    at.insert(folder.entry.path, folder.entry.root);
    Ok(AddedOne { added, keys, at })
}

fn added(entry: &Entry, size: u64, files: Option<u64>) -> Added {
    Added { blake3: entry.root.key(), md5: entry.md5_key(), size, files, path: text_of(&entry.path) }
}
