//! What is here before anything is fetched: the content itself, a part of it from an earlier try, a
//! file to be repaired, or one that turns out to be what was asked for.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use askaround_core::message::Description;
use askaround_core::pieces::Root;

use super::super::error::GetError;
use super::super::pace::Pace;
use super::super::types::{GetEvent, GetRequest, Got};
use super::{Fetch, Identity, destination};
use crate::content::file::Stamp;
use crate::content::{
    Addition, CatalogueError, Condition, DiskError, Entry, Fault, Folder, Found, Kept, Part, PartError,
    PartOptions, Place, There, ToRepair, Wanted, ends_in_slash, hash_file, remove_old_journal,
};
use crate::lock;

impl Fetch {
    /// The content, if it is here.
    pub(super) async fn here_already(&mut self) -> Result<Option<Entry>, GetError> {
        let (catalogue, key) = (self.delivery.0.catalogue.clone(), self.key.clone());
        let look = move |_: &AtomicBool| {
            let entry = catalogue.get(&key)?;
            Ok(entry.filter(|entry| catalogue.condition(entry) == Condition::Good))
        };
        self.work.run(look).await?
    }

    /// A file that was fetched there and is damaged, as by a power loss, is not in the way: what of it
    /// is right is gone on with.
    pub(super) async fn take_back(&mut self, to: &Path) -> Result<(), GetError> {
        let (catalogue, key, path) = (self.delivery.0.catalogue.clone(), self.key.clone(), to.to_owned());
        let look = move |cancel: &AtomicBool| match catalogue.damage(&key, &path, cancel)? {
            Some(damaged) => Ok::<_, GetError>(catalogue.take_back(destination(&path)?, &damaged)?),
            None => Ok(false),
        };
        let taken = self.work.run(look).await??;
        if taken {
            self.note(format!("{} is damaged: what is wrong of it is fetched again", to.display()));
        }
        Ok(())
    }

    /// What is here is copied, piece by piece, as if it came from elsewhere.
    pub(super) async fn copy_from_here(
        &mut self,
        request: &GetRequest,
        entry: Entry,
    ) -> Result<Got, GetError> {
        let catalogue = self.delivery.0.catalogue.clone();
        if entry.kept == Kept::List {
            let root = entry.root;
            let read = move |_: &AtomicBool| {
                Ok::<_, GetError>((catalogue.manifest(&entry)?, catalogue.collection(&root)?))
            };
            let (manifest, collection) = self.work.run(read).await??;
            let size = manifest.geometry().size();
            let description = Description { root, size, md5: None, collection: true, sparse: false };
            self.identified(Identity { manifest: Arc::new(manifest), description });
            return self.get_files(request, root, collection).await;
        }
        let (path, to) = (entry.path.clone(), request.to.clone());
        let (is_itself, is_taken) = self.work.run(move |_| is_it_or_taken(&path, &to)).await??;
        if is_itself {
            self.here_before = entry.size;
            return Ok(self.got(request, entry.root, entry.size, None));
        }
        if is_taken && !request.in_place {
            return self.check_there(request).await;
        }
        let copied_from = entry.path.clone();
        let part = match self.fill_from_here(request, entry).await {
            // In place, and no fetch of it has begun that file.
            Err(GetError::Part(PartError::Disk(DiskError { fault: Fault::Exists, .. }))) if is_taken => {
                return self.check_there(request).await;
            }
            filled => filled?,
        };
        lock(&self.job.report).copied_from = Some(copied_from);
        // What is not right here after all is fetched.
        self.get_file(request, part).await
    }

    /// Begins the part of a file with what is right of it in another file here.
    async fn fill_from_here(&mut self, request: &GetRequest, entry: Entry) -> Result<Part, GetError> {
        let catalogue = self.delivery.0.catalogue.clone();
        let Entry { size, md5, sparse, .. } = entry;
        let (to, in_place) = (request.to.clone(), request.in_place);
        let reading = self.reading(&entry.path);
        let fill = move |cancel: &AtomicBool| {
            let place = destination(&to)?;
            if let There::Folder = place.there()? {
                return Err(GetError::IsFolder(to));
            }
            let content = catalogue.open_entry(&entry)?;
            let wanted = Wanted { manifest: content.manifest().clone(), md5 };
            let options = PartOptions { in_place, sparse, ..PartOptions::default() };
            let part = Part::resume_or_create(place, wanted, options)?;
            let read = |error| GetError::Read { path: to.clone(), error };
            part.check_doubtful(cancel).map_err(read)?;
            part.fill_from(&content, &|done| reading.tell(done, size), cancel)?;
            Ok::<_, GetError>(part)
        };
        let part = self.work.run(fill).await??;
        self.identified_by(&part, sparse);
        Ok(part)
    }

    /// What is fetched is known from what is here of it.
    fn identified_by(&mut self, part: &Part, sparse: bool) {
        let Wanted { manifest, md5 } = part.wanted().clone();
        let (root, size) = (manifest.root(), manifest.geometry().size());
        let description = Description { root, size, md5, collection: false, sparse };
        self.identified(Identity { manifest, description });
    }

    /// Tells how much of a file is read, now and then.
    pub(super) fn reading(&self, path: &Path) -> Pace<impl Fn(u64, u64) + use<>> {
        let (events, path) = (self.events.clone(), path.to_string_lossy().into_owned());
        Pace::new(move |done, size| {
            // Whoever asked may be slow or gone.
            let _ = events.try_send(GetEvent::Reading { path: path.clone(), done, size });
        })
    }

    /// There is a file at the destination: it may be what was asked for.
    pub(super) async fn check_there(&mut self, request: &GetRequest) -> Result<Got, GetError> {
        match self.there_already(&request.to).await? {
            Some((root, size)) => Ok(self.got(request, root, size, None)),
            None => Err(GetError::Exists { path: request.to.clone(), key: self.key.clone() }),
        }
    }

    /// What an earlier fetch has left of it.
    pub(super) async fn left_over(
        &mut self,
        to: &Path,
        options: PartOptions,
    ) -> Result<Option<Part>, GetError> {
        let (to, key) = (to.to_owned(), self.key.clone());
        let look = move |cancel: &AtomicBool| {
            // It is not known yet whether it is a file, which has no such destination.
            if ends_in_slash(&to) {
                return Ok(Found::Nothing);
            }
            let place = destination(&to)?;
            // A folder may be the destination of a collection.
            if let There::Folder = place.there()? {
                return Ok(Found::Nothing);
            }
            if let (There::File { .. }, false) = (place.there()?, options.in_place) {
                return Err(GetError::Exists { path: to, key });
            }
            let is_file = matches!(place.there()?, There::File { .. });
            let found = Part::resume(place, &key, options)?;
            if is_file && matches!(found, Found::Nothing) {
                return Err(GetError::Exists { path: to, key });
            }
            if let Found::Part(part) = &found
                && part.doubtful() > 0
            {
                let checked = part.check_doubtful(cancel);
                checked.map_err(|error| GetError::Read { path: to, error })?;
            }
            Ok(found)
        };
        match self.work.run(look).await?? {
            Found::Nothing => Ok(None),
            Found::Useless(why) => {
                self.note(format!("an earlier try is begun anew: {why}"));
                Ok(None)
            }
            Found::Part(part) => {
                self.identified_by(&part, part.options().sparse);
                Ok(Some(*part))
            }
        }
    }

    /// Reads the file at the destination. If it is what was asked for, it is held from now on, as
    /// if it had been fetched; then its hash and its size.
    pub(super) async fn there_already(&mut self, to: &Path) -> Result<Option<(Root, u64)>, GetError> {
        self.note(format!("{} is there already: reading it, to see whether it is that", to.display()));
        let (to, key, catalogue) = (to.to_owned(), self.key.clone(), self.delivery.0.catalogue.clone());
        let reading = self.reading(&to);
        let look = move |cancel: &AtomicBool| {
            let place = destination(&to)?;
            let file = place.open_to_read()?;
            let data = file.metadata().map_err(DiskError::at(&to))?;
            let hashed = hash_file(&file, &|done| reading.tell(done, data.len()), cancel);
            let hashed = hashed.map_err(|error| GetError::Read { path: to.clone(), error })?;
            let (root, md5) = (hashed.root, hashed.md5);
            if root.key() != key && md5.key() != key {
                return Ok(None);
            }
            let there = Addition::of(&place, &file, Arc::new(hashed.manifest), Some(md5))?;
            // As it was before it was read: a later change shows.
            catalogue.add_all(&[Addition { stamp: Stamp::from(&data), ..there }])?;
            remove_old_journal(&place)?;
            Ok::<_, GetError>(Some((root, md5, data.len())))
        };
        let looked = self.work.run(look).await??;
        let Some((root, md5, size)) = looked else { return Ok(None) };
        self.here_before = size;
        self.deliver(vec![root.key(), md5.key()]).await;
        Ok(Some((root, size)))
    }

    /// The file of a content that is here, to be repaired: what is right stays, and what is right of
    /// it at other places is copied.
    pub(super) async fn begin_repair(&mut self, entry: Entry, found: ToRepair) -> Result<Part, GetError> {
        let catalogue = self.delivery.0.catalogue.clone();
        let Entry { root, md5, sparse, executable, .. } = entry;
        let begin = move |cancel: &AtomicBool| {
            // It may have waited long for its turn.
            if catalogue.at(&root, &entry.path)?.is_none() {
                return Err(CatalogueError::Unknown(root.key()).into());
            }
            let wanted = Wanted { manifest: Arc::new(catalogue.manifest(&entry)?), md5 };
            if let Some(folder) = entry.path.parent() {
                Folder::make(folder)?;
            }
            let part = Part::repair(Place::new(&entry.path)?, wanted, found, executable)?;
            catalogue.fill_from_others(&part, &entry, cancel)?;
            Ok::<_, GetError>(part)
        };
        let part = self.work.run(begin).await??;
        self.identified_by(&part, sparse);
        Ok(part)
    }
}

/// Whether a destination is the file at `path` itself, and whether there is any file. Blocks.
fn is_it_or_taken(path: &Path, to: &Path) -> Result<(bool, bool), GetError> {
    let is_taken = matches!(destination(to)?.there()?, There::File { .. });
    // What has no path is gone, and not the same as what is not there yet.
    let is_it = matches!((path.canonicalize(), to.canonicalize()), (Ok(path), Ok(to)) if path == to);
    Ok((is_it, is_taken))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_not_the_same_as_what_is_not_there_yet() {
        let folder = tempfile::tempdir().unwrap();
        let [here, other, gone, new] = ["here", "other", "gone", "new"].map(|name| folder.path().join(name));
        std::fs::write(&here, "a").unwrap();
        std::fs::write(&other, "a").unwrap();
        for (path, to, expected) in [
            (&here, &here, (true, true)),
            (&here, &other, (false, true)),
            (&here, &new, (false, false)),
            (&gone, &new, (false, false)),
        ] {
            assert_eq!(is_it_or_taken(path, to).unwrap(), expected, "{path:?} {to:?}");
        }
    }
}
