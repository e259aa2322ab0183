//! A file: its part is begun, fetched, looked at as a whole, and named.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use askaround_core::pieces::Root;

use super::super::error::GetError;
use super::super::target::FileTarget;
use super::super::types::{GetRequest, Got};
use super::run::{Md5InOrder, Order, Serving};
use super::{Fetch, Identity, Kind, destination};
use crate::content::{Collection, HashError, Md5, Part, PartOptions, There, Wanted};
use crate::lock;

impl Fetch {
    /// Begins the part of a file that is known now.
    pub(super) async fn begin_part(
        &mut self,
        to: &Path,
        options: PartOptions,
        identity: &Identity,
    ) -> Result<Part, GetError> {
        let wanted = Wanted { manifest: identity.manifest.clone(), md5: Md5::from_key(&self.key) };
        let options = PartOptions { sparse: identity.description.sparse, ..options };
        // What an md5 names may be a lie, of any length.
        let (is_certain, reading) = (Root::from_key(&self.key).is_some(), self.reading(to));
        let to = to.to_owned();
        let begin = move |cancel: &AtomicBool| {
            let place = destination(&to)?;
            if let There::Folder = place.there()? {
                return Err(GetError::IsFolder(to));
            }
            let size = wanted.manifest.geometry().size();
            let part = Part::create(place, wanted, options)?;
            let zeros = match is_certain {
                true => part.fill_with_zeros(&|done| reading.tell(done, size), cancel)?,
                false => 0,
            };
            Ok((part, zeros))
        };
        let (part, zeros) = self.work.run(begin).await??;
        if zeros > 0 {
            self.note("pieces of it that are nothing but zeros need not be sent".into());
        }
        Ok(part)
    }

    /// Fetches a file and gives it its name.
    pub(super) async fn get_file(&mut self, request: &GetRequest, part: Part) -> Result<Got, GetError> {
        let manifest = part.wanted().manifest.clone();
        let (root, size) = (manifest.root(), manifest.geometry().size());
        let target = Arc::new(FileTarget::new(self.key.clone(), part));
        self.here_before = self.found(&*target, size, None);
        let path = lock(&self.job.report).to.clone();
        let md5 = Md5::from_key(&self.key).map(|_| Md5InOrder::of(target.part.content(), path));
        let serving = Serving { keys: self.names(root), files: false, opens: target.clone() };
        let ran = self.get_pieces(Order { target: target.clone(), serving, md5, hashes: None }).await;
        if let Err(GetError::Doubted(_)) = ran {
            self.give_up(target).await?;
            return Err(GetError::Doubted(self.key.clone()));
        }
        let (md5, serving) = ran?;
        if let (Some(wanted), Some(got)) = (Md5::from_key(&self.key), md5)
            && wanted != got
        {
            self.wrong.insert(root);
            drop(serving);
            self.give_up(target).await?;
            return Err(GetError::WrongMd5(self.key.clone()));
        }
        if let Some(collection) = self.list_in(&target).await? {
            // Whoever described it as a file was wrong.
            drop(serving);
            self.give_up(target).await?;
            if let Some(identity) = &mut self.identity {
                identity.description.collection = true;
            }
            return Box::pin(self.get_files(request, root, collection)).await;
        }
        let (catalogue, finished) = (self.delivery.0.catalogue.clone(), target);
        let repairs = self.kind == Kind::Repair;
        let enter = move |_: &AtomicBool| {
            finished.name()?;
            let folder = finished.part.place().folder();
            if !folder.is_there()? {
                return Err(GetError::Moved(folder.path().to_owned()));
            }
            if repairs {
                catalogue.add_repaired(&finished.part)?;
            } else {
                catalogue.add_fetched(&finished.part, md5)?;
            }
            Ok::<_, GetError>(())
        };
        self.work.run(enter).await??;
        let mut keys = vec![root.key()];
        keys.extend(md5.map(|md5| md5.key()));
        self.deliver(keys).await;
        drop(serving);
        Ok(self.got(request, root, size, None))
    }

    /// The list of a folder, if that is what has come.
    async fn list_in(&mut self, target: &Arc<FileTarget>) -> Result<Option<Collection>, GetError> {
        if self.kind == Kind::Repair {
            return Ok(None);
        }
        let (target, path) = (target.clone(), lock(&self.job.report).to.clone());
        let list = self.work.run(move |_| target.list()).await?;
        list.map_err(|error| GetError::Read { path, error: HashError::Disk(error) })
    }

    /// Removes what came of a file that is not what was asked for. From then on the fetch can be stopped
    /// again.
    async fn give_up(&mut self, target: Arc<FileTarget>) -> Result<(), GetError> {
        self.slot.clear();
        // What the disk says of it matters no more, and must not be noted where the next file's is.
        while self.syncing.join_next().await.is_some() {}
        self.work.run(move |_| target.part.discard()).await??;
        self.complete.store(false, Ordering::Release);
        Ok(())
    }
}
