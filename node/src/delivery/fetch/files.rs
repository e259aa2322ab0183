//! Collections: first the list; then what is there already of its files; then the others.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use askaround_core::pieces::Root;

use super::super::error::GetError;
use super::super::folder::{FolderTarget, List};
use super::super::target::MemoryTarget;
use super::super::types::{GetRequest, Got};
use super::run::{FileHashes, Order, Serving};
use super::{Fetch, Identity};
use crate::content::collection::MAX_LIST;
use crate::content::{Collection, Md5, md5_of};
use crate::lock;

impl Fetch {
    /// First the list, then its files.
    pub(super) async fn get_collection(
        &mut self,
        request: &GetRequest,
        identity: &Identity,
    ) -> Result<Got, GetError> {
        let root = identity.description.root;
        if identity.description.size > MAX_LIST as u64 {
            return Err(crate::content::CollectionError::ListTooLong.into());
        }
        let target = Arc::new(MemoryTarget::new(self.key.clone(), identity.manifest.clone()));
        let served = Serving { keys: Vec::new(), files: false, opens: target.clone() };
        self.get_pieces(Order { target: target.clone(), serving: served, md5: None, hashes: None }).await?;
        let md5 = Md5::from_key(&self.key);
        // It is megabytes.
        let parse = move |_: &AtomicBool| {
            let list = target.take_bytes();
            match md5.filter(|md5| *md5 != md5_of(&list)) {
                Some(wrong) => Err(GetError::WrongMd5(wrong.key())),
                None => Ok(Collection::parse(&list)?),
            }
        };
        let parsed = self.work.run(parse).await?;
        if let Err(GetError::WrongMd5(_)) = parsed {
            self.wrong.insert(root);
        }
        self.get_files(request, root, parsed?).await
    }

    pub(super) async fn get_files(
        &mut self,
        request: &GetRequest,
        root: Root,
        files: Collection,
    ) -> Result<Got, GetError> {
        let (size, count) = (files.size(), files.files().len() as u64);
        let manifest = match &self.identity {
            Some(identity) => identity.manifest.clone(),
            None => unreachable!("what is fetched is known"),
        };
        if request.in_place {
            self.note("this is a folder: its files are not written in place".into());
        }
        let list = List::new(self.names(root), manifest);
        let (to, delivery, cancel) = (request.to.clone(), self.delivery.0.clone(), self.work.cancel());
        let begin = move |_: &AtomicBool| {
            let open = delivery.open_files.clone();
            FolderTarget::new(&to, list, files, &delivery.catalogue, open, cancel).map(Arc::new)
        };
        let target = self.work.run(begin).await??;
        lock(&self.job.report).copied_from = target.copied_from();
        self.here_before = self.found(&*target, size, Some(count));
        let served = Serving { keys: self.names(root), files: true, opens: target.clone() };
        let hashes = FileHashes::of(&target);
        let order = Order { target: target.clone(), serving: served, md5: None, hashes };
        let (_, serving) = self.get_pieces(order).await?;
        let catalogue = self.delivery.0.catalogue.clone();
        let keys = self.work.run(move |_| target.finish(&catalogue)).await??;
        self.deliver(keys).await;
        drop(serving);
        Ok(self.got(request, root, size, Some(count)))
    }
}
