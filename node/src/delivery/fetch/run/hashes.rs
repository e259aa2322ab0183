//! [`FileHashes`]: the piece hashes of a folder's files, as far as they have to be asked for. Pieces of
//! a file whose hashes are not known are asked of nobody: they could not be checked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use askaround_core::download::{DownloadInput, SourceId};
use askaround_core::key::Key;
use askaround_core::message::MAX_HASHES;
use askaround_core::pieces::{Geometry, HASH_LEN, Manifest, PieceSet, Root};
use tokio::time::Instant;

use super::super::super::error::GetError;
use super::super::super::folder::FolderTarget;
use super::super::super::target::Target as _;
use super::super::Fetch;
use super::Run;
use crate::lock;
use crate::transfer::source::SourceCommand;

/// So many files' hashes are asked for at once, and so many of one source.
const AT_ONCE: usize = 64;
const OF_ONE: usize = 32;
/// What a source has not answered by then is asked of another. A source answers in order: what was
/// asked waits behind its pieces.
const WAITS: Duration = Duration::from_secs(2);
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
    /// Files whose hashes have been asked for.
    asked: BTreeMap<Root, Asked>,
    /// What a source did not have.
    denied: BTreeMap<SourceId, BTreeSet<Root>>,
    /// The pieces of the files whose hashes are not known.
    unknown: PieceSet,
    /// What each source has, also of those files.
    has: BTreeMap<SourceId, PieceSet>,
}

/// A file whose hashes were asked for.
struct Asked {
    source: SourceId,
    /// When something came last.
    since: Instant,
    came: Vec<u8>,
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
        let gone = self.asked.extract_if(.., |_, asked| is_gone(asked.source));
        self.wanted.extend(gone.map(|(root, _)| root));
        self.denied.retain(|id, _| !is_gone(*id));
        self.has.retain(|id, _| !is_gone(*id));
    }

    /// What waits too long is asked of another, if there is one.
    fn ask_elsewhere(&mut self) {
        let late = |(root, asked): (&Root, &Asked)| {
            let other = |id: &SourceId| *id != asked.source && !self.denies(*id, root);
            (asked.since.elapsed() > WAITS && self.has.keys().any(other)).then_some((*root, asked.source))
        };
        for (root, source) in self.asked.iter().filter_map(late).collect::<Vec<_>>() {
            self.asked.remove(&root);
            self.denied(source, root);
        }
    }

    /// Of whom the hashes of a file are asked: who is asked for the fewest. `None` if nobody may have
    /// them.
    fn whom(&self, root: &Root) -> Option<SourceId> {
        let may = self.has.keys().filter(|id| !self.denies(**id, root));
        may.min_by_key(|id| self.count(**id)).copied()
    }

    fn count(&self, id: SourceId) -> usize {
        self.asked.values().filter(|asked| asked.source == id).count()
    }

    fn is_known(&self, root: &Root) -> bool {
        self.target.pieces_of(root).next().is_none_or(|first| !self.unknown.contains(first))
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
        hashes.ask_elsewhere();
        while hashes.asked.len() < AT_ONCE
            && let Some(root) = hashes.wanted.pop()
        {
            if hashes.is_known(&root) || hashes.asked.contains_key(&root) {
                continue;
            }
            let Some(source) = hashes.whom(&root) else {
                hashes.nobody.push(root);
                continue;
            };
            let command = SourceCommand::Hashes { key: root.key(), first: 0 };
            if hashes.count(source) >= OF_ONE || !self.sources.tell(source, command) {
                // Everybody has enough to do.
                hashes.wanted.push(root);
                break;
            }
            hashes.asked.insert(root, Asked { source, since: Instant::now(), came: Vec::new() });
        }
    }

    /// Hashes of a file came; none, if its source has none.
    pub(super) async fn hashes_came(
        &mut self,
        run: &mut Run,
        id: SourceId,
        key: &Key,
        first: u32,
        came: Vec<u8>,
    ) -> Result<(), GetError> {
        let Some(hashes) = &mut run.hashes else { return Ok(()) };
        let Some(root) = Root::from_key(key).filter(|root| !hashes.is_known(root)) else { return Ok(()) };
        let size = hashes.target.size_of(&root).unwrap_or(0);
        let count = Geometry::new(size).map_or(0, |geometry| geometry.count());
        let is_late = |asked: &Asked| asked.source == id && first as usize * HASH_LEN != asked.came.len();
        if hashes.asked.get(&root).map_or(first > 0, is_late) {
            // It was asked more than once, and goes on.
            return Ok(());
        }
        let asked = hashes.asked.remove(&root);
        let mut all = match asked {
            Some(Asked { source, came, .. }) if source == id => came,
            // Late, but perhaps all of them.
            asked => {
                hashes.asked.extend(asked.map(|asked| (root, asked)));
                Vec::new()
            }
        };
        let left = count - (all.len() / HASH_LEN) as u32;
        if came.len() != left.min(MAX_HASHES) as usize * HASH_LEN {
            if !hashes.asked.contains_key(&root) {
                hashes.denied(id, root);
            }
            return Ok(());
        }
        all.extend(came);
        let first = (all.len() / HASH_LEN) as u32;
        if first < count {
            if hashes.asked.contains_key(&root) {
                return Ok(());
            }
            if self.sources.tell(id, SourceCommand::Hashes { key: key.clone(), first }) {
                hashes.asked.insert(root, Asked { source: id, since: Instant::now(), came: all });
            } else {
                hashes.denied(id, root);
            }
            return Ok(());
        }
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
        hashes.asked.remove(&manifest.root());
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
