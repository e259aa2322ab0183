//! Collections: first the list; then what is there already of its files, and the piece hashes of
//! those that are cut; then the files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use askaround_core::download::SourceId;
use askaround_core::key::Key;
use askaround_core::pieces::{Manifest, Root};

use super::super::error::GetError;
use super::super::folder::{FolderTarget, List};
use super::super::target::MemoryTarget;
use super::super::types::{GetRequest, Got};
use super::run::Serving;
use super::{Fetch, Identity};
use crate::content::collection::MAX_LIST;
use crate::content::{Collection, Md5, md5_of};
use crate::transfer::source::{SourceCommand, SourceEvent};

/// So many files' hashes are asked for at once.
const AT_ONCE: usize = 64;

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
        self.run(target.clone(), served, None).await?;
        let list = target.bytes();
        if let Some(md5) = Md5::from_key(&self.key).filter(|md5| *md5 != md5_of(&list)) {
            self.wrong.insert(root);
            return Err(GetError::WrongMd5(md5.key()));
        }
        let collection = tokio::task::spawn_blocking(move || Collection::parse(&list)).await??;
        self.get_files(request, root, collection).await
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
        let list = List::new(self.names(root), manifest);
        let (target, _cancels) = self.begin_folder(&request.to, list, files).await?;
        self.here_before = self.found(&*target, size, Some(count));
        let served = Serving { keys: self.names(root), files: true, opens: target.clone() };
        let (_, serving) = self.run(target.clone(), served, None).await?;
        let (catalogue, done) = (self.delivery.0.catalogue.clone(), target.clone());
        let keys = tokio::task::spawn_blocking(move || done.finish(&catalogue)).await??;
        self.deliver(keys).await;
        drop(serving);
        Ok(self.got(request, root, size, Some(count)))
    }

    /// Looks what is there, and finds out the piece hashes of the other files. What comes with the
    /// files has to be kept as long as they are fetched.
    async fn begin_folder(
        &mut self,
        to: &Path,
        list: List,
        collection: Collection,
    ) -> Result<(Arc<FolderTarget>, CancelOnDrop), GetError> {
        let (to, delivery) = (to.to_owned(), self.delivery.0.clone());
        let cancel = Arc::new(AtomicBool::new(false));
        let cancels = CancelOnDrop(cancel.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let open = delivery.open_files.clone();
            FolderTarget::new(&to, list, collection, &delivery.catalogue, open, cancel).map(Arc::new)
        });
        let target = looked.await??;
        self.learn_hashes(&target).await?;
        Ok((target, cancels))
    }

    async fn learn_hashes(&mut self, target: &Arc<FolderTarget>) -> Result<(), GetError> {
        let mut wanted = target.unknown();
        wanted.reverse();
        let mut open: BTreeMap<Root, (SourceId, Vec<u8>)> = BTreeMap::new();
        // Those who fetch the folder too, and do not know all hashes yet. They are asked again after
        // the next search.
        let mut without = BTreeSet::new();
        loop {
            // What was asked of a source that is one no longer is asked of another.
            let gone = open.extract_if(.., |_, (source, _)| self.sources.get(*source).is_none());
            wanted.extend(gone.map(|(root, _)| root));
            while open.len() < AT_ONCE
                && let Some(source) = self.ready_source(&without)
                && let Some(root) = wanted.pop()
            {
                open.insert(root, (source, Vec::new()));
                self.say(source, SourceCommand::Hashes { key: root.key(), first: 0 });
            }
            if open.is_empty() && wanted.is_empty() {
                return Ok(());
            }
            self.search_if_due();
            if self.has_nobody() && self.searched.is_some() {
                return Err(GetError::NoSource { key: self.key.clone(), why: self.sources.complaints() });
            }
            tokio::select! {
                Some((id, event)) = self.incoming.recv() => match event {
                    SourceEvent::Hashes { key, hashes, .. } if key != self.key => {
                        if let Some(root) = self.hashes(target, id, &key, hashes, &mut open).await? {
                            wanted.push(root);
                            without.insert(id);
                        }
                    }
                    SourceEvent::Gone(error) => {
                        self.gone(id, &error);
                        without.remove(&id);
                    }
                    event => self.heard_first(id, event).await?,
                },
                Some(holder) = self.holders.recv() => {
                    self.add_holder(holder);
                }
                Some(over) = self.search.join_next() => {
                    without.clear();
                    self.search_over(over?)?;
                }
                () = tokio::time::sleep_until(self.next_search), if self.may_search() => {}
            }
        }
    }

    /// Takes the hashes of a file. The file, if somebody else has to be asked for them.
    async fn hashes(
        &mut self,
        target: &Arc<FolderTarget>,
        id: SourceId,
        key: &Key,
        hashes: Vec<u8>,
        open: &mut BTreeMap<Root, (SourceId, Vec<u8>)>,
    ) -> Result<Option<Root>, GetError> {
        let Some(root) = Root::from_key(key) else { return Ok(None) };
        let (Some((source, come)), Some(size)) = (open.get_mut(&root), target.size_of(&root)) else {
            return Ok(None);
        };
        if *source != id {
            return Ok(None);
        }
        if hashes.is_empty() {
            open.remove(&root);
            return Ok(Some(root));
        }
        come.extend(hashes);
        let count = askaround_core::pieces::Geometry::new(size).map_or(0, |geometry| geometry.count());
        let first = (come.len() / askaround_core::pieces::HASH_LEN) as u32;
        if first < count {
            self.say(id, SourceCommand::Hashes { key: key.clone(), first });
            return Ok(None);
        }
        let Some((_, come)) = open.remove(&root) else { return Ok(None) };
        let target = target.clone();
        let learnt = tokio::task::spawn_blocking(move || {
            let manifest = Manifest::from_bytes(root, size, &come).ok();
            manifest.map(|manifest| target.learn(&Arc::new(manifest)))
        });
        match learnt.await? {
            Some(learnt) => learnt.map(|()| None),
            None => {
                self.lost(id, "it sent piece hashes that do not belong to their file", true);
                Ok(Some(root))
            }
        }
    }

    /// A source that has said what it has.
    fn ready_source(&self, without: &BTreeSet<SourceId>) -> Option<SourceId> {
        let is_open = |id: &SourceId| self.sources.get(*id).is_some_and(|source| source.opened.is_some());
        let ready = |id: &SourceId| is_open(id) && !without.contains(id);
        self.sources.ids().into_iter().find(ready)
    }
}

/// Ends work on another thread when nobody waits for it any more.
pub(super) struct CancelOnDrop(pub(super) Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}
