//! [`FolderTarget`]: the files of a collection, fetched as one: their pieces are numbered one
//! after the other (PROTOCOL.md §7.6).

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use askaround_core::key::Key;
use askaround_core::message::ByteRange;
use askaround_core::pieces::{Manifest, PieceSet, Root};

use super::active::Opens;
use super::error::GetError;
use super::folder_file::{FolderFile, Shared};
use super::open_files::OpenFiles;
use super::target::Target;
use crate::content::{Catalogue, Collection, ContentFile, DiskError, Folder, Layout, PartError, Step, plan};
use crate::lock;
use crate::transfer::source::Rejected;

/// So many files that nobody has are named.
const NAMED: usize = 3;

/// The files of a collection.
pub(super) struct FolderTarget {
    shared: Arc<Shared>,
    list: List,
    layout: Arc<Layout>,
    /// As they are listed.
    files: Vec<Arc<FolderFile>>,
    /// For those that others are to be the same as: which.
    same: BTreeMap<usize, Vec<usize>>,
    /// For each content, as the layout numbers them, the file that is fetched, or was there.
    had: Vec<u32>,
    cancel: Arc<AtomicBool>,
    /// What the first file that was copied is a copy of.
    copied_from: Option<PathBuf>,
}

/// The list of a collection, which others ask for before they ask for its files.
pub(super) struct List {
    /// What it is known by.
    keys: Vec<Key>,
    manifest: Arc<Manifest>,
    /// Once somebody has asked for it.
    content: Mutex<Option<Arc<ContentFile>>>,
}

impl List {
    pub(super) fn new(keys: Vec<Key>, manifest: Arc<Manifest>) -> Self {
        Self { keys, manifest, content: Mutex::default() }
    }

    /// The list as a file, made once for all who ask. Blocks.
    fn content(&self, collection: &Collection) -> io::Result<Arc<ContentFile>> {
        let mut content = lock(&self.content);
        if let Some(content) = &*content {
            return Ok(content.clone());
        }
        let made = ContentFile::of_bytes(&collection.to_bytes(), self.manifest.clone());
        Ok(content.insert(Arc::new(made.map_err(io::Error::other)?)).clone())
    }
}

impl FolderTarget {
    /// Looks what is there already. Files that are here elsewhere are copied, empty ones are made.
    /// Blocks.
    pub(super) fn new(
        to: &Path,
        list: List,
        collection: Collection,
        catalogue: &Catalogue,
        open: Arc<OpenFiles>,
        cancel: Arc<AtomicBool>,
    ) -> Result<Self, GetError> {
        let folder = Folder::make(to)?;
        // A collection has no file that is too large.
        let layout = Arc::new(Layout::new(&collection).map_err(crate::content::CollectionError::from)?);
        let steps = plan(&collection, &folder, catalogue, &cancel)?;
        let shared = Arc::new(Shared::new(folder, collection, open)?);
        let copied_from = steps.iter().find_map(|step| match step {
            Step::Copy(entry) => Some(entry.path.clone()),
            _ => None,
        });
        let (mut files, mut same) = (Vec::with_capacity(steps.len()), BTreeMap::<_, Vec<_>>::new());
        let mut had = vec![0; layout.files().count()];
        // From the end on: of several with one content that are there the first counts.
        for (number, step) in steps.iter().enumerate().rev() {
            let content = layout.index(&shared.collection.files()[number].root);
            if let (Some(content), false) = (content, matches!(step, Step::Same(_))) {
                had[content] = number as u32;
            }
        }
        for (number, step) in steps.into_iter().enumerate() {
            if let Step::Same(other) = step {
                same.entry(other).or_default().push(number);
            }
            files.push(FolderFile::begin(&shared, number, step, catalogue, &cancel)?);
        }
        let new = Self { shared, list, layout, files, same, had, cancel, copied_from };
        new.make_same()?;
        Ok(new)
    }

    /// What the first file that is a copy of another one here is a copy of.
    pub(super) fn copied_from(&self) -> Option<PathBuf> {
        self.copied_from.clone()
    }

    /// Makes the copies of each file that is there, one at a time: what is copied from is open too.
    /// Blocks, for as long as that takes.
    fn make_same(&self) -> Result<(), PartError> {
        let of_those_there = self
            .same
            .iter()
            .map(|(number, same)| (&self.files[*number], same))
            .filter(|(file, _)| file.is_done());
        for (file, same) in of_those_there {
            same.iter().try_for_each(|same| self.files[*same].become_same(file, &self.cancel))?;
        }
        Ok(())
    }

    fn number(&self, root: &Root) -> Option<usize> {
        self.layout.index(root).map(|content| self.had[content] as usize)
    }

    /// The file with this content that is fetched, or was there.
    fn file(&self, root: &Root) -> Option<&Arc<FolderFile>> {
        self.number(root).map(|number| &self.files[number])
    }

    /// The files whose piece hashes have to be asked for.
    pub(super) fn unknown(&self) -> Vec<Root> {
        let contents = self.layout.files().zip(&self.had);
        let unknown = contents.filter(|(_, number)| self.files[**number as usize].is_unknown());
        unknown.map(|((root, _), _)| *root).collect()
    }

    fn names(&self, files: &[usize]) -> String {
        let path = |number: &usize| self.shared.collection.files()[*number].path.as_str();
        files.iter().map(path).collect::<Vec<_>>().join(", ")
    }

    /// The size of a file.
    pub(super) fn size_of(&self, root: &Root) -> Option<u64> {
        self.layout.geometry(root).map(|geometry| geometry.size())
    }

    /// The numbers of a file's pieces.
    pub(super) fn pieces_of(&self, root: &Root) -> Range<u32> {
        self.layout.pieces_of(root)
    }

    /// The piece hashes of a file are known now.
    pub(super) fn learn(&self, manifest: &Arc<Manifest>) {
        if let Some(file) = self.file(&manifest.root()) {
            file.learn(manifest);
        }
    }

    /// Notes everything in the catalogue; the keys that are held now. Blocks.
    pub(super) fn finish(&self, catalogue: &Catalogue) -> Result<Vec<Key>, GetError> {
        if let missing @ 1.. = self.files.iter().filter(|file| !file.is_done()).count() {
            return Err(PartError::Incomplete { missing: missing as u32 }.into());
        }
        let Shared { folder, collection, .. } = &*self.shared;
        if !folder.is_there()? {
            return Err(GetError::Moved(folder.path().to_owned()));
        }
        let additions = self.files.iter().filter_map(|file| file.addition());
        let entry = catalogue.add_collection(collection, folder.path(), additions)?;
        let mut keys = vec![entry.root.key()];
        keys.extend(self.layout.files().map(|(root, _)| root.key()));
        Ok(keys)
    }
}

impl Target for FolderTarget {
    fn range(&self, piece: u32) -> Option<ByteRange> {
        self.layout.range(piece)
    }

    fn find(&self, key: &Key, from: u64, length: u64) -> Option<u32> {
        self.layout.find(key, from, length)
    }

    fn accept(&self, piece: u32, bytes: &[u8]) -> Result<(), Rejected> {
        let Some((root, piece)) = self.layout.locate(piece) else { return Err(Rejected::Bad) };
        let number = self.number(root).ok_or(Rejected::Bad)?;
        self.files[number].accept(piece, bytes)
    }

    fn lengths(&self) -> Vec<u32> {
        self.layout.lengths()
    }

    fn have(&self) -> PieceSet {
        let mut have = PieceSet::empty(self.layout.count());
        for (root, start) in self.layout.files() {
            let pieces = self.file(root).and_then(|file| file.pieces());
            for piece in pieces.iter().flat_map(PieceSet::iter) {
                have.insert(start + piece);
            }
        }
        have
    }

    fn has(&self, piece: u32) -> bool {
        let at = self.layout.locate(piece);
        at.and_then(|(root, piece)| Some(self.file(root)?.has(piece))).unwrap_or(false)
    }

    fn worth(&self) -> Vec<u64> {
        let mut files: BTreeMap<&Root, u64> = BTreeMap::new();
        for file in self.shared.collection.files() {
            *files.entry(&file.root).or_default() += 1;
        }
        let files_with = |piece| self.layout.locate(piece).and_then(|(root, _)| files.get(root)).copied();
        let worth = |(piece, length)| u64::from(length) * files_with(piece).unwrap_or(1);
        (0..).zip(self.layout.lengths()).map(worth).collect()
    }

    fn files_of(&self, pieces: &mut dyn Iterator<Item = u32>) -> Option<String> {
        let mut numbers = Vec::new();
        for piece in pieces {
            let Some(number) = self.layout.locate(piece).and_then(|(root, _)| self.number(root)) else {
                continue;
            };
            if numbers.last() == Some(&number) {
                continue;
            }
            if numbers.len() == NAMED {
                // There may be very many.
                return Some(format!("{} and others", self.names(&numbers)));
            }
            numbers.push(number);
        }
        Some(self.names(&numbers))
    }

    /// Nothing waits for the copies before: a piece is here when it is, not when its copies are.
    fn complete(&self) -> Result<(), PartError> {
        self.make_same()
    }

    fn sync(&self) -> Result<(), DiskError> {
        // Whoever has the fetch stopped does not wait for thousands of files.
        let goes_on = |_: &&Arc<FolderFile>| !self.cancel.load(Ordering::Relaxed);
        self.files.iter().take_while(goes_on).try_for_each(FolderFile::sync)
    }
}

impl Opens for FolderTarget {
    fn open(&self, key: &Key) -> io::Result<Option<Arc<ContentFile>>> {
        if self.list.keys.contains(key) {
            return self.list.content(&self.shared.collection).map(Some);
        }
        let file = Root::from_key(key).and_then(|root| self.file(&root));
        file.map_or(Ok(None), |file| file.content())
    }

    fn manifest(&self, key: &Key) -> io::Result<Option<Arc<Manifest>>> {
        let file = Root::from_key(key).and_then(|root| self.file(&root));
        match file.and_then(|file| file.manifest()) {
            Some(manifest) => Ok(Some(manifest)),
            None => Ok(self.open(key)?.map(|file| file.manifest().clone())),
        }
    }

    fn layout(&self) -> Option<Arc<Layout>> {
        Some(self.layout.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::How;

    /// A folder with these files of 70,000 bytes each, two pieces, of which nothing is there yet.
    fn target(files: &[(&str, u8)], mine: &Path, cancel: &Arc<AtomicBool>) -> FolderTarget {
        let theirs = tempfile::tempdir().unwrap();
        for (name, byte) in files {
            std::fs::write(theirs.path().join(name), [*byte; 70_000]).unwrap();
        }
        let seed = Catalogue::temporary().unwrap();
        let added = seed.add_folder(theirs.path(), How::Reference, &|_, _| (), cancel).unwrap();
        let list = List::new(Vec::new(), Arc::new(seed.manifest(&added.entry).unwrap()));
        let (catalogue, open) = (Catalogue::temporary().unwrap(), OpenFiles::new(9));
        let target =
            FolderTarget::new(mine, list, added.collection, &catalogue, open, cancel.clone()).unwrap();
        for root in target.unknown() {
            let entry = seed.get(&root.key()).unwrap().unwrap();
            target.learn(&Arc::new(seed.manifest(&entry).unwrap()));
        }
        target
    }

    /// A slow disk would keep the last piece from being told of for as long as it takes.
    #[test]
    fn a_piece_does_not_wait_for_the_copies_of_its_file() {
        let (mine, cancel) = (tempfile::tempdir().unwrap(), Arc::new(AtomicBool::new(false)));
        let target = target(&[("a", 1), ("b", 1), ("c", 1)], mine.path(), &cancel);
        for (piece, length) in [65_536, 70_000 - 65_536].into_iter().enumerate() {
            target.accept(piece as u32, &vec![1; length]).unwrap();
        }
        assert!(target.have().is_full());
        let there = || ["a", "b", "c"].map(|name| mine.path().join(name).exists());
        assert_eq!(there(), [true, false, false]);
        target.complete().unwrap();
        assert_eq!(there(), [true; 3]);
        assert_eq!(std::fs::read(mine.path().join("c")).unwrap(), [1; 70_000]);
        target.complete().unwrap();
    }

    #[test]
    fn a_fetch_that_is_stopped_waits_for_no_further_file() {
        let (mine, cancel) = (tempfile::tempdir().unwrap(), Arc::new(AtomicBool::new(false)));
        let bytes = [[1; 70_000], [2; 70_000]];
        let target = target(&[("a", 1), ("b", 2)], mine.path(), &cancel);
        for (piece, bytes) in [0, 2].into_iter().zip(&bytes) {
            target.accept(piece, &bytes[..65_536]).unwrap();
        }
        // What is noted as on the disk makes a journal longer.
        let noted = || {
            ["a", "b"].map(|name| {
                let journal = mine.path().join(format!(".{name}.askaround-journal"));
                std::fs::metadata(journal).unwrap().len()
            })
        };
        let before = noted();
        cancel.store(true, Ordering::Relaxed);
        target.sync().unwrap();
        assert_eq!(noted(), before);
        cancel.store(false, Ordering::Relaxed);
        target.sync().unwrap();
        assert!(noted().iter().zip(before).all(|(now, before)| *now > before), "both are still to be synced");
    }
}
