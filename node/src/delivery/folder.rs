//! [`FolderTarget`]: the files of a collection, fetched as one: their pieces are numbered one
//! after the other (PROTOCOL.md §7.6). A file is made when its first piece comes and gets its name
//! when its last one does.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use askaround_core::key::Key;
use askaround_core::pieces::{Geometry, Manifest, PieceIndex, PieceSet, Root};

use super::active::Opens;
use super::error::GetError;
use super::target::{Target, place, write};
use crate::content::file::Stamp;
use crate::content::{
    Addition, Catalogue, Collection, Condition, ContentFile, Folder, HashError, Kept, ListedFile, Part,
    PartError, PartOptions, Place, There, Wanted, hash_file,
};
use crate::lock;
use crate::transfer::source::{self, Rejected, Sink};

/// The files of a collection.
pub(super) struct FolderTarget {
    folder: Folder,
    collection: Collection,
    geometries: Vec<Geometry>,
    /// The number of the first piece of each file.
    starts: Vec<u32>,
    count: u32,
    by_root: BTreeMap<Root, usize>,
    files: Vec<Mutex<State>>,
}

/// How far a file is.
enum State {
    /// Its pieces' hashes are not known yet.
    Unknown,
    /// Nothing of it has come.
    Missing(Arc<Manifest>),
    /// Some of it has.
    Begun(Arc<Part>),
    /// It is there.
    Done(Box<Addition>),
}

impl FolderTarget {
    /// Looks what is there already. Files that are here elsewhere are copied, empty ones are made.
    /// Blocks.
    pub(super) fn new(
        to: &Path,
        collection: Collection,
        catalogue: &Catalogue,
        cancel: &AtomicBool,
    ) -> Result<Self, GetError> {
        let folder = Folder::make(to)?;
        let (mut geometries, mut starts, mut files, mut by_root) = (vec![], vec![], vec![], BTreeMap::new());
        let mut count = 0;
        for (index, file) in collection.files().iter().enumerate() {
            // A collection has no file that is too large.
            let geometry = Geometry::new(file.size).map_err(crate::content::CollectionError::from)?;
            starts.push(count);
            count += geometry.count();
            geometries.push(geometry);
            by_root.entry(file.root).or_insert(index);
            files.push(Mutex::new(look(&folder, file, geometry, catalogue, cancel)?));
        }
        Ok(Self { folder, collection, geometries, starts, count, by_root, files })
    }

    /// The files whose piece hashes have to be asked for.
    pub(super) fn unknown(&self) -> Vec<Root> {
        let unknown = |(file, state): (&ListedFile, &Mutex<State>)| {
            matches!(*lock(state), State::Unknown).then_some(file.root)
        };
        let mut roots: Vec<_> = self.collection.files().iter().zip(&self.files).filter_map(unknown).collect();
        roots.sort_unstable();
        roots.dedup();
        roots
    }

    /// The size of a file.
    pub(super) fn size_of(&self, root: &Root) -> Option<u64> {
        self.by_root.get(root).map(|index| self.geometries[*index].size())
    }

    /// The piece hashes of a file are known now. What an earlier try has left of it is gone on
    /// with. Blocks.
    pub(super) fn learn(&self, manifest: &Arc<Manifest>) -> Result<(), GetError> {
        for (file, state) in self.collection.files().iter().zip(&self.files) {
            let mut state = lock(state);
            if file.root == manifest.root() && matches!(*state, State::Unknown) {
                *state = resume(&self.folder, file, manifest)?;
            }
        }
        Ok(())
    }

    /// Notes everything in the catalogue; the keys that are held now. Blocks.
    pub(super) fn finish(&self, catalogue: &Catalogue) -> Result<Vec<Key>, GetError> {
        let mut additions = Vec::new();
        for state in &self.files {
            match &*lock(state) {
                State::Done(addition) => additions.push((**addition).clone()),
                _ => return Err(PartError::Incomplete { missing: 1 }.into()),
            }
        }
        let entry = catalogue.add_collection(&self.collection, self.folder.path(), &additions)?;
        let mut keys = vec![entry.root.key()];
        keys.extend(self.by_root.keys().map(Root::key));
        Ok(keys)
    }

    /// The file that a piece belongs to, and which piece of it that is.
    fn locate(&self, piece: u32) -> Option<(usize, PieceIndex)> {
        if piece >= self.count {
            return None;
        }
        // Empty files have no pieces: of those that begin there the last one counts.
        let index = self.starts.partition_point(|start| *start <= piece) - 1;
        Some((index, self.geometries[index].piece(piece - self.starts[index])?))
    }

    fn part(&self, index: usize) -> Result<Option<Arc<Part>>, PartError> {
        let mut state = lock(&self.files[index]);
        match &*state {
            State::Begun(part) => Ok(Some(part.clone())),
            State::Missing(manifest) => {
                let part = Arc::new(begin(&self.folder, &self.collection.files()[index], manifest)?);
                *state = State::Begun(part.clone());
                Ok(Some(part))
            }
            State::Unknown | State::Done(_) => Ok(None),
        }
    }

    fn finish_file(&self, index: usize, part: &Part) -> Result<(), PartError> {
        let mut state = lock(&self.files[index]);
        if matches!(*state, State::Begun(_)) {
            part.finish()?;
            *state = State::Done(Box::new(Addition::fetched(part, None)?));
        }
        Ok(())
    }
}

impl Target for FolderTarget {
    fn lengths(&self) -> Vec<u32> {
        self.geometries.iter().flat_map(|geometry| super::target::lengths(*geometry)).collect()
    }

    fn have(&self) -> PieceSet {
        let mut have = PieceSet::empty(self.count);
        for (index, state) in self.files.iter().enumerate() {
            let pieces = match &*lock(state) {
                State::Done(_) => PieceSet::full(self.geometries[index].count()),
                State::Begun(part) => part.pieces(),
                State::Missing(_) | State::Unknown => continue,
            };
            for piece in pieces.iter() {
                have.insert(self.starts[index] + piece);
            }
        }
        have
    }

    fn sync(&self) -> Result<(), crate::content::DiskError> {
        for state in &self.files {
            let part = match &*lock(state) {
                State::Begun(part) => part.clone(),
                _ => continue,
            };
            part.sync()?;
        }
        Ok(())
    }
}

impl Sink for FolderTarget {
    fn place(&self, piece: u32) -> Option<source::Place> {
        let (index, piece) = self.locate(piece)?;
        place(&self.collection.files()[index].root.key(), self.geometries[index], piece.get())
    }

    fn find(&self, key: &Key, from: u64, length: u64) -> Option<u32> {
        let index = *self.by_root.get(&Root::from_key(key)?)?;
        Some(self.starts[index] + self.geometries[index].exactly(from, length)?.get())
    }

    fn accept(&self, piece: u32, bytes: &[u8]) -> Result<(), Rejected> {
        let disk = |error: PartError| Rejected::Disk(io::Error::other(error));
        let Some((index, piece)) = self.locate(piece) else { return Err(Rejected::Bad) };
        let Some(part) = self.part(index).map_err(disk)? else { return Ok(()) };
        write(&part, piece, bytes)?;
        if part.pieces().is_full() {
            self.finish_file(index, &part).map_err(disk)?;
        }
        Ok(())
    }
}

impl Opens for FolderTarget {
    fn open(&self, key: &Key) -> io::Result<Option<Arc<ContentFile>>> {
        let Some(index) = Root::from_key(key).and_then(|root| self.by_root.get(&root)) else {
            return Ok(None);
        };
        match &*lock(&self.files[*index]) {
            State::Begun(part) => Ok(Some(part.content())),
            State::Done(addition) => {
                let file = File::open(&addition.path)?;
                let file = ContentFile::whole(file, addition.manifest.clone(), addition.stamp);
                Ok(file.unchanged().then(|| Arc::new(file)))
            }
            State::Unknown | State::Missing(_) => Ok(None),
        }
    }
}

/// How far a file is before anything is fetched.
fn look(
    folder: &Folder,
    file: &ListedFile,
    geometry: Geometry,
    catalogue: &Catalogue,
    cancel: &AtomicBool,
) -> Result<State, GetError> {
    let place = folder.below(&file.path, true)?;
    match place.there()? {
        There::Nothing => {}
        There::File { length, .. } if length == file.size => {
            let there = place.open_to_read()?;
            let read = |error: HashError| GetError::Read { path: place.path(), error };
            let hashed = hash_file(&there, &|_| (), cancel).map_err(read)?;
            if hashed.root == file.root {
                let stamp = Stamp::of(&there).map_err(|error| read(HashError::Disk(error)))?;
                return Ok(State::Done(Box::new(Addition {
                    manifest: Arc::new(hashed.manifest),
                    md5: Some(hashed.md5),
                    path: place.path(),
                    kept: Kept::Fetched,
                    stamp,
                    sparse: false,
                    executable: file.executable,
                })));
            }
            return Err(GetError::Exists { path: place.path(), key: file.root.key() });
        }
        _ => return Err(GetError::Exists { path: place.path(), key: file.root.key() }),
    }
    let options = options(file);
    let known = catalogue.get(&file.root.key())?;
    if let Some(entry) = known.filter(|entry| catalogue.condition(entry) == Condition::Good)
        && let Ok(content) = catalogue.open_entry(&entry)
    {
        return Ok(State::Done(Box::new(copy(&content, place, options)?)));
    }
    // Of at most one piece: the key says it all.
    let hashes = match geometry.count() {
        0 => vec![],
        1 => vec![*file.root.as_bytes()],
        _ => return Ok(State::Unknown),
    };
    let manifest = Manifest::new(file.root, file.size, hashes).map_err(|_| not_it(file))?;
    let manifest = Arc::new(manifest);
    if geometry.count() > 0 {
        return Ok(State::Missing(manifest));
    }
    let part = Part::create(place, Wanted { manifest, md5: None }, options)?;
    part.finish()?;
    Ok(State::Done(Box::new(Addition::fetched(&part, None)?)))
}

/// A list that gives a file a hash that it cannot have.
fn not_it(file: &ListedFile) -> GetError {
    GetError::NoSource { key: file.root.key(), why: vec!["no content of that size has that hash".into()] }
}

fn options(file: &ListedFile) -> PartOptions {
    PartOptions { executable: file.executable, ..PartOptions::default() }
}

fn resume(folder: &Folder, file: &ListedFile, manifest: &Arc<Manifest>) -> Result<State, GetError> {
    let place = folder.below(&file.path, true)?;
    let found = Part::resume(place.clone(), &file.root.key(), options(file))?;
    let crate::content::Found::Part(part) = found else { return Ok(State::Missing(manifest.clone())) };
    if part.doubtful() > 0 {
        let checked = part.check_doubtful(&AtomicBool::new(false));
        checked.map_err(|error| GetError::Read { path: place.path(), error })?;
    }
    if part.pieces().is_full() {
        part.finish()?;
        return Ok(State::Done(Box::new(Addition::fetched(&part, None)?)));
    }
    Ok(State::Begun(Arc::from(part)))
}

fn begin(folder: &Folder, file: &ListedFile, manifest: &Arc<Manifest>) -> Result<Part, PartError> {
    let place = folder.below(&file.path, true)?;
    Part::create(place, Wanted { manifest: manifest.clone(), md5: None }, options(file))
}

/// Copies content that is here to another place, verifying each piece on the way. Blocks.
pub(super) fn copy(content: &ContentFile, to: Place, options: PartOptions) -> Result<Addition, GetError> {
    let manifest = content.manifest().clone();
    let geometry = manifest.geometry();
    let path = to.path();
    if let There::Folder = to.there()? {
        return Err(GetError::IsFolder(path));
    }
    let part = Part::create(to, Wanted { manifest, md5: None }, options)?;
    let mut bytes = Vec::new();
    for piece in geometry.pieces() {
        bytes.resize(geometry.length(piece), 0);
        let read = content.read_at(geometry.range(piece).start, &mut bytes);
        read.map_err(|error| GetError::Read { path: path.clone(), error: HashError::Disk(error) })?;
        part.write_piece(piece, &bytes)?;
    }
    part.finish()?;
    Ok(Addition::fetched(&part, None)?)
}
