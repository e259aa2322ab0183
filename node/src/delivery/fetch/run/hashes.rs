//! [`FileHashes`]: the piece hashes of a folder's files, as far as they have to be asked for. Pieces of
//! a file whose hashes are not known are asked of nobody: they could not be checked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use askaround_core::download::{DownloadInput, SourceId};
use askaround_core::key::Key;
use askaround_core::pieces::{Geometry, HASH_LEN, Manifest, PieceSet, Root};

use super::super::super::error::GetError;
use super::super::super::folder::FolderTarget;
use super::super::super::target::Target as _;
use super::super::Fetch;
use super::Run;
use crate::lock;
use crate::transfer::source::SourceCommand;

/// So many files' hashes are asked for at once.
const AT_ONCE: usize = 64;
/// Of a source that did not have the hashes of so many files no others are asked before the next search.
const MAX_DENIED: usize = 4096;

/// The piece hashes that are still to be asked for.
pub(in super::super) struct FileHashes {
    target: Arc<FolderTarget>,
    /// Files whose hashes are to be asked for.
    wanted: Vec<Root>,
    /// Files whose hashes none of the sources has. Those who fetch the folder too may have them by the
    /// next search.
    nobody: Vec<Root>,
    /// Files whose hashes have been asked for, of whom, and what has come.
    asked: BTreeMap<Root, (SourceId, Vec<u8>)>,
    /// What a source did not have.
    denied: BTreeMap<SourceId, BTreeSet<Root>>,
    /// The pieces of the files whose hashes are not known.
    unknown: PieceSet,
    /// What each source has, also of those files.
    has: BTreeMap<SourceId, PieceSet>,
}

impl FileHashes {
    /// The hashes that a folder lacks, if it lacks any.
    pub(in super::super) fn of(target: &Arc<FolderTarget>) -> Option<Self> {
        let mut wanted = target.unknown();
        // The first file comes first.
        wanted.reverse();
        let mut unknown = PieceSet::empty(target.have().count());
        for piece in wanted.iter().flat_map(|root| target.pieces_of(root)) {
            unknown.insert(piece);
        }
        (!wanted.is_empty()).then(|| Self {
            target: target.clone(),
            wanted,
            nobody: Vec::new(),
            asked: BTreeMap::new(),
            denied: BTreeMap::new(),
            unknown,
            has: BTreeMap::new(),
        })
    }

    /// Whether answers are on their way.
    pub(super) fn is_asking(&self) -> bool {
        !self.asked.is_empty()
    }

    /// A source takes part. What of all that it has may be asked for.
    pub(super) fn opened(&mut self, id: SourceId, pieces: PieceSet) -> PieceSet {
        let mut known = pieces.clone();
        for piece in self.unknown.iter() {
            known.remove(piece);
        }
        self.has.insert(id, pieces);
        self.wanted.append(&mut self.nobody);
        known
    }

    /// A source has more. What of that may be asked for.
    pub(super) fn news(&mut self, id: SourceId, mut pieces: Vec<u32>) -> Vec<u32> {
        if let Some(has) = self.has.get_mut(&id) {
            pieces.retain(|piece| *piece < has.count());
            pieces.iter().for_each(|piece| _ = has.insert(*piece));
        }
        pieces.retain(|piece| !self.unknown.contains(*piece));
        pieces
    }

    /// A search is over: everybody may have more than before.
    pub(super) fn ask_again(&mut self) {
        self.denied.clear();
        self.wanted.append(&mut self.nobody);
    }

    fn forget(&mut self, is_gone: impl Fn(SourceId) -> bool) {
        let gone = self.asked.extract_if(.., |_, (source, _)| is_gone(*source));
        self.wanted.extend(gone.map(|(root, _)| root));
        self.denied.retain(|id, _| !is_gone(*id));
        self.has.retain(|id, _| !is_gone(*id));
    }

    fn denies(&self, id: SourceId, root: &Root) -> bool {
        self.denied.get(&id).is_some_and(|denied| denied.len() >= MAX_DENIED || denied.contains(root))
    }

    fn denied(&mut self, id: SourceId, root: Root) {
        self.denied.entry(id).or_default().insert(root);
        self.wanted.push(root);
    }
}

impl Fetch {
    /// Asks for hashes, as far as somebody may have them.
    pub(super) fn ask_for_hashes(&mut self, run: &mut Run) {
        let Some(hashes) = &mut run.hashes else { return };
        hashes.forget(|id| self.sources.get(id).is_none());
        while hashes.asked.len() < AT_ONCE
            && let Some(root) = hashes.wanted.pop()
        {
            let Some(id) = hashes.has.keys().copied().find(|id| !hashes.denies(*id, &root)) else {
                hashes.nobody.push(root);
                continue;
            };
            hashes.asked.insert(root, (id, Vec::new()));
            let command = SourceCommand::Hashes { key: root.key(), first: 0 };
            if !self.sources.tell(id, command) {
                hashes.denied(id, root);
                hashes.asked.remove(&root);
            }
        }
    }

    /// Hashes of a file came; none, if its source has none.
    pub(super) async fn hashes_came(
        &mut self,
        run: &mut Run,
        id: SourceId,
        key: &Key,
        came: Vec<u8>,
    ) -> Result<(), GetError> {
        let Some(hashes) = &mut run.hashes else { return Ok(()) };
        let Some(root) = Root::from_key(key) else { return Ok(()) };
        let Some((source, so_far)) = hashes.asked.get_mut(&root) else { return Ok(()) };
        if *source != id {
            return Ok(());
        }
        if came.is_empty() {
            hashes.asked.remove(&root);
            hashes.denied(id, root);
            return Ok(());
        }
        so_far.extend(came);
        let size = hashes.target.size_of(&root).unwrap_or(0);
        let count = Geometry::new(size).map_or(0, |geometry| geometry.count());
        let first = (so_far.len() / HASH_LEN) as u32;
        if first < count {
            if !self.sources.tell(id, SourceCommand::Hashes { key: key.clone(), first }) {
                hashes.asked.remove(&root);
                hashes.denied(id, root);
            }
            return Ok(());
        }
        let all = std::mem::take(so_far);
        hashes.asked.remove(&root);
        let proven = self.work.run(move |_| Manifest::from_bytes(root, size, &all)).await?;
        match proven {
            Ok(manifest) => self.learnt(run, &Arc::new(manifest)),
            Err(_) => {
                hashes.wanted.push(root);
                run.handle(DownloadInput::Closed(id));
                self.lost(id, "it sent piece hashes that do not belong to their file", true);
            }
        }
        Ok(())
    }

    /// The pieces of a file can be checked from now on.
    fn learnt(&mut self, run: &mut Run, manifest: &Arc<Manifest>) {
        let Some(mut hashes) = run.hashes.take() else { return };
        hashes.target.learn(manifest);
        let pieces = hashes.target.pieces_of(&manifest.root());
        for piece in pieces.clone() {
            hashes.unknown.remove(piece);
        }
        let all_known = hashes.unknown.is_empty();
        for (id, has) in &hashes.has {
            if !run.knows(*id) {
                continue;
            }
            if all_known && has.is_full() {
                // So that it does not send what is here.
                let pieces = lock(&run.download).have().iter().collect();
                if !self.say(*id, SourceCommand::News { files: true, pieces }) {
                    run.handle(DownloadInput::Closed(*id));
                    continue;
                }
            }
            let news = pieces.clone().filter(|piece| has.contains(*piece)).collect();
            run.handle(DownloadInput::News(*id, news));
        }
        run.hashes = Some(hashes).filter(|_| !all_known);
    }
}
