//! Adding files and folders of the user's.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use askaround_core::key::Key;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    AddRequest, Added, KeepError, KeepEvent, all_keys_of, blocking, keys_of, md5_key, reading, text_of,
};
use crate::content::{Catalogue, Entry, How};
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
        let how = if request.copy { How::Copy } else { How::Reference };
        let mut all = Vec::new();
        for path in request.paths {
            let (catalogue, tell) = (self.catalogue().clone(), events.clone());
            let work = move |cancel: &AtomicBool| add_one(&catalogue, &path, how, &tell, cancel);
            let (added, keys) = blocking(&stop, work).await??;
            self.hold(keys).await;
            // Whoever asked may have gone.
            let _ = events.send(KeepEvent::Added(added.clone())).await;
            all.push(added);
        }
        Ok(all)
    }
}

/// Adds a file or folder; what it is now, and its keys.
fn add_one(
    catalogue: &Catalogue,
    path: &Path,
    how: How,
    events: &mpsc::Sender<KeepEvent>,
    cancel: &AtomicBool,
) -> Result<(Added, Vec<Key>), KeepError> {
    let pace = reading(events, text_of(path));
    if !path.is_dir() {
        let size = path.metadata().map_or(0, |data| data.len());
        let entry = catalogue.add(path, how, &|done| pace.tell(done, size), cancel)?;
        return Ok((added(&entry, entry.size, None), keys_of(&entry).collect()));
    }
    let folder = catalogue.add_folder(path, how, &|done, size| pace.tell(done, size), cancel)?;
    for skipped in &folder.skipped {
        let _ = events.blocking_send(KeepEvent::LeftOut { text: skipped.to_string() });
    }
    let files = folder.collection.files();
    let size = files.iter().map(|file| file.size).sum();
    let keys = all_keys_of(catalogue, &folder.entry, Some(&folder.collection))?;
    Ok((added(&folder.entry, size, Some(files.len() as u64)), keys))
}

fn added(entry: &Entry, size: u64, files: Option<u64>) -> Added {
    Added { blake3: entry.root.key(), md5: md5_key(entry), size, files, path: text_of(&entry.path) }
}
