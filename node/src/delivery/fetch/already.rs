//! A file that is there before it is fetched: one to be repaired, or one that turns out to be what
//! was asked for.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use askaround_core::message::Description;
use askaround_core::pieces::{PieceSet, Root};

use super::super::error::GetError;
use super::files::CancelOnDrop;
use super::{Fetch, Identity, destination};
use crate::content::file::Stamp;
use crate::content::{
    Addition, DiskError, Entry, Folder, Kept, Part, Place, There, Wanted, hash_file, remove_old_journal,
};

impl Fetch {
    /// Reads the file at the destination. If it is what was asked for, it is held from now on, as
    /// if it had been fetched; then its hash and its size.
    pub(super) async fn there_already(&mut self, to: &Path) -> Result<Option<(Root, u64)>, GetError> {
        self.note(format!("{} is there already: reading it, to see whether it is that", to.display()));
        let cancel = Arc::new(AtomicBool::new(false));
        let guard = CancelOnDrop(cancel.clone());
        let (to, key, catalogue) = (to.to_owned(), self.key.clone(), self.delivery.0.catalogue.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let place = destination(&to)?;
            let file = place.open_to_read()?;
            let data = file.metadata().map_err(DiskError::at(&to))?;
            let hashed = hash_file(&file, &|_| (), &cancel);
            let hashed = hashed.map_err(|error| GetError::Read { path: to.clone(), error })?;
            let (root, md5) = (hashed.root, hashed.md5);
            if root.key() != key && md5.key() != key {
                return Ok(None);
            }
            let addition = Addition {
                manifest: Arc::new(hashed.manifest),
                md5: Some(md5),
                path: to,
                kept: Kept::Fetched,
                stamp: Stamp::from(&data),
                sparse: false,
                executable: data.permissions().mode() & 0o111 != 0,
            };
            catalogue.add_all(&[addition], None)?;
            remove_old_journal(&place)?;
            Ok::<_, GetError>(Some((root, md5, data.len())))
        });
        let looked = looked.await??;
        drop(guard);
        let Some((root, md5, size)) = looked else { return Ok(None) };
        self.here_before = size;
        self.deliver(vec![root.key(), md5.key()]).await;
        Ok(Some((root, size)))
    }

    /// The file of a content that is here, to be repaired: what is in `good` stays.
    pub(super) async fn begin_repair(&mut self, entry: Entry, good: PieceSet) -> Result<Part, GetError> {
        let catalogue = self.delivery.0.catalogue.clone();
        let Entry { root, size, md5, sparse, executable, .. } = entry;
        let part = tokio::task::spawn_blocking(move || {
            let wanted = Wanted { manifest: Arc::new(catalogue.manifest(&entry)?), md5 };
            let place = make_ready(&entry.path)?;
            Ok::<_, GetError>(Part::repair(place, wanted, good, executable)?)
        });
        let part = part.await??;
        let manifest = part.wanted().manifest.clone();
        let description = Description { root, size, md5, collection: false, sparse };
        self.identity = Some(Identity { manifest, description });
        Ok(part)
    }
}

/// The place of a file to be repaired, where there is a file then.
fn make_ready(path: &Path) -> Result<Place, GetError> {
    if let Some(folder) = path.parent() {
        Folder::make(folder)?;
    }
    let place = Place::new(path)?;
    if place.there()? == There::Nothing {
        std::fs::File::create_new(path).map_err(DiskError::at(path))?;
    }
    Ok(place)
}
