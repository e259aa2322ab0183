//! [`FolderFile`]: one file of a folder while the folder is fetched. It is made when its first piece
//! comes and gets its name when its last one does; between two pieces it may be closed.

mod done;

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, Weak};

use askaround_core::pieces::{Geometry, Manifest, PieceIndex, PieceSet};

use self::done::{Done, Hashes, hashes};
use super::error::GetError;
use super::open_files::{Closes, Leave, OpenFiles};
use super::target::write;
use crate::content::{
    Addition, Catalogue, Collection, ContentFile, DiskError, Fault, Folder, Found, Kept, ListedFile, Part,
    PartError, PartOptions, Place, Step, Wanted, is_mostly_zeros,
};
use crate::lock;
use crate::transfer::source::Rejected;

/// What the files of a folder have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) folder: Folder,
    /// The absolute path of that.
    at: PathBuf,
    pub(super) collection: Collection,
    pub(super) open: Arc<OpenFiles>,
}

impl Shared {
    pub(super) fn new(
        folder: Folder,
        collection: Collection,
        open: Arc<OpenFiles>,
    ) -> Result<Self, DiskError> {
        let at = std::path::absolute(folder.path()).map_err(DiskError::at(folder.path()))?;
        Ok(Self { folder, at, collection, open })
    }
}

/// A file of a folder that is fetched.
#[derive(Debug)]
pub(super) struct FolderFile {
    shared: Arc<Shared>,
    /// Which of the collection.
    index: usize,
    /// Its pieces that are here; `None` if there are none. Apart from its state, since the thread that
    /// runs the node asks for it, and must not wait for a disk.
    here: Mutex<Option<PieceSet>>,
    /// Locked while its file is opened, named or copied, and while it waits for that. Whoever has it
    /// locked may lock that of the file that it becomes a copy of.
    state: Mutex<State>,
}

/// How far it is.
#[derive(Debug)]
enum State {
    /// Its pieces' hashes are not known yet.
    Unknown,
    /// Nothing of it has come.
    Missing(Hashes),
    /// It becomes a copy of another file of the folder, as soon as that is there.
    Same,
    /// Some of it has, and it is closed.
    Closed { unsynced: bool },
    /// Some of it has, or is about to, and it is open.
    Open { part: Arc<Part>, leave: Leave, unsynced: bool },
    /// It is there.
    Done(Done),
}

impl FolderFile {
    /// Takes the step that needs nobody else: a file that is here elsewhere is copied, an empty one
    /// is made. Blocks.
    pub(super) fn begin(
        shared: &Arc<Shared>,
        index: usize,
        step: Step,
        catalogue: &Catalogue,
        cancel: &AtomicBool,
    ) -> Result<Arc<Self>, GetError> {
        let (here, state) = (Mutex::default(), Mutex::new(State::Unknown));
        let new = Self { shared: shared.clone(), index, here, state };
        let state = match step {
            Step::There(addition) => new.done(&addition),
            Step::Same(_) => State::Same,
            Step::Fetch => new.to_fetch(cancel)?,
            Step::Copy(entry) => match catalogue.open_entry(&entry) {
                Ok(content) => new.copy(&content, cancel)?,
                // What cannot be opened after all is fetched.
                Err(_) => new.to_fetch(cancel)?,
            },
        };
        *lock(&new.state) = state;
        Ok(Arc::new(new))
    }

    /// It is there.
    fn done(&self, addition: &Addition) -> State {
        *lock(&self.here) = Some(PieceSet::full(addition.manifest.geometry().count()));
        State::Done(Done::of(addition))
    }

    fn listed(&self) -> &ListedFile {
        &self.shared.collection.files()[self.index]
    }

    fn options(&self) -> PartOptions {
        PartOptions { executable: self.listed().executable, ..PartOptions::default() }
    }

    fn place(&self) -> Result<Place, DiskError> {
        self.shared.folder.below(&self.listed().path, true)
    }

    /// Makes it, with nothing in it.
    fn create(&self, manifest: &Arc<Manifest>) -> Result<Part, PartError> {
        let wanted = Wanted { manifest: manifest.clone(), md5: None };
        // A list does not tell.
        let options = PartOptions { sparse: is_mostly_zeros(manifest), ..self.options() };
        self.shared.open.open(|| Part::create(self.place()?, wanted.clone(), options))
    }

    /// Goes on with what there is of it.
    fn resume(&self) -> Result<Found, PartError> {
        let key = self.listed().root.key();
        self.shared.open.open(|| Part::resume(self.place()?, &key, self.options()))
    }

    /// Copies the file that it is to be the same as, which is there now. Blocks.
    pub(super) fn become_same(self: &Arc<Self>, other: &Self, cancel: &AtomicBool) -> Result<(), PartError> {
        let mut state = lock(&self.state);
        if matches!(*state, State::Same) {
            let _leave = self.leave();
            let whole = other.whole()?.ok_or_else(|| other.changed())?;
            let copied = self.copy(&whole, cancel)?;
            if !matches!(copied, State::Done(_)) {
                return Err(other.changed().into());
            }
            *state = copied;
        }
        Ok(())
    }

    /// A copy of what is here elsewhere, as far as that is still right.
    fn copy(&self, content: &ContentFile, cancel: &AtomicBool) -> Result<State, PartError> {
        let part = self.create(content.manifest())?;
        part.fill_from(content, &|_| (), cancel)?;
        self.after(&part)
    }

    /// What it is after what came without asking anybody.
    fn after(&self, part: &Part) -> Result<State, PartError> {
        let pieces = part.pieces();
        if !pieces.is_full() {
            *lock(&self.here) = Some(pieces).filter(|pieces| !pieces.is_empty());
            return Ok(self.closed(part, true));
        }
        part.finish()?;
        Ok(self.done(&Addition::fetched(part, None)?))
    }

    /// What it is once nobody has it open.
    fn closed(&self, part: &Part, unsynced: bool) -> State {
        match &*lock(&self.here) {
            Some(_) => State::Closed { unsynced },
            // There may be no journal to go on with.
            None => State::Missing(hashes(&part.wanted().manifest)),
        }
    }

    /// What there is before anything was fetched.
    fn to_fetch(&self, cancel: &AtomicBool) -> Result<State, GetError> {
        let file = self.listed();
        // A list that gives a file a hash that it cannot have.
        let not_it = || {
            let why = vec!["no content of that size has that hash".into()];
            GetError::NoSource { key: file.root.key(), why }
        };
        let count = Geometry::new(file.size).map_err(|_| not_it())?.count();
        if count > 1 {
            return self.left_over(cancel);
        }
        let manifest = self.small().ok_or_else(not_it)?;
        match count {
            0 => Ok(self.after(&self.create(&Arc::new(manifest))?)?),
            _ => Ok(State::Missing(None)),
        }
    }

    /// The hashes of a file of at most one piece: its key says it all. None if no file of its size has
    /// that key.
    fn small(&self) -> Option<Manifest> {
        let file = self.listed();
        let hashes = if file.size == 0 { vec![] } else { vec![*file.root.as_bytes()] };
        Manifest::new(file.root, file.size, hashes).ok()
    }

    fn with_hashes(&self, hashes: &Hashes) -> Arc<Manifest> {
        let small = || Arc::new(self.small().expect("it was made before"));
        hashes.clone().unwrap_or_else(small)
    }

    /// What an earlier try has left of it; its piece hashes are there too.
    fn left_over(&self, cancel: &AtomicBool) -> Result<State, GetError> {
        let Found::Part(part) = self.resume()? else { return Ok(State::Unknown) };
        part.check_doubtful(cancel).map_err(|error| GetError::Read { path: part.place().path(), error })?;
        Ok(self.after(&part)?)
    }

    /// Whether its piece hashes have to be asked for.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(*lock(&self.state), State::Unknown)
    }

    /// Its piece hashes are known.
    pub(super) fn learn(&self, manifest: &Arc<Manifest>) {
        let mut state = lock(&self.state);
        if matches!(*state, State::Unknown) {
            *state = State::Missing(hashes(manifest));
        }
    }

    /// The pieces that are here; `None` if none are.
    pub(super) fn pieces(&self) -> Option<PieceSet> {
        lock(&self.here).clone()
    }

    /// Whether a piece of it is there.
    pub(super) fn has(&self, piece: PieceIndex) -> bool {
        lock(&self.here).as_ref().is_some_and(|here| here.contains(piece.get()))
    }

    /// Whether it is there.
    pub(super) fn is_done(&self) -> bool {
        matches!(*lock(&self.state), State::Done(_))
    }

    /// Its piece hashes, where they are at hand.
    pub(super) fn manifest(&self) -> Option<Arc<Manifest>> {
        match &*lock(&self.state) {
            State::Missing(hashes) | State::Done(Done { hashes, .. }) => Some(self.with_hashes(hashes)),
            State::Open { part, .. } => Some(part.wanted().manifest.clone()),
            // Those of a file that is closed are on the disk.
            State::Closed { .. } | State::Unknown | State::Same => None,
        }
    }

    /// What is to be noted of it, once it is there.
    pub(super) fn addition(&self) -> Option<Addition> {
        match &*lock(&self.state) {
            State::Done(done) => Some(Addition {
                manifest: self.with_hashes(&done.hashes),
                md5: done.md5,
                path: self.shared.at.join(self.listed().path.as_str()),
                kept: Kept::Fetched,
                stamp: done.stamp,
                sparse: done.sparse,
                executable: done.executable,
            }),
            _ => None,
        }
    }

    /// Opens what is here of it, to be served.
    pub(super) fn content(self: &Arc<Self>) -> io::Result<Option<Arc<ContentFile>>> {
        match self.part(false).map_err(io::Error::other)? {
            Some(part) => Ok(Some(part.content())),
            None => self.whole().map_err(io::Error::other),
        }
    }

    /// The whole file, if it is there.
    fn whole(&self) -> Result<Option<Arc<ContentFile>>, PartError> {
        let Some(addition) = self.addition() else { return Ok(None) };
        let file = || Ok(File::open(&addition.path).map_err(DiskError::at(&addition.path))?);
        let file = self.shared.open.open(file)?;
        let file = ContentFile::whole(file, addition.manifest, addition.stamp).at(addition.path);
        Ok(file.unchanged().then(|| Arc::new(file)))
    }

    /// Checks a piece and writes it; after the last one the file gets its name. Blocks.
    pub(super) fn accept(self: &Arc<Self>, piece: PieceIndex, bytes: &[u8]) -> Result<(), Rejected> {
        let disk = |error: PartError| Rejected::Disk(io::Error::other(error));
        let Some(part) = self.part(true).map_err(disk)? else {
            return if self.is_done() { Ok(()) } else { Err(Rejected::Late) };
        };
        write(&part, piece, bytes)?;
        let count = part.wanted().manifest.geometry().count();
        lock(&self.here).get_or_insert_with(|| PieceSet::empty(count)).insert(piece.get());
        if part.pieces().is_full() {
            self.finish(&part).map_err(disk)?;
        }
        Ok(())
    }

    fn finish(&self, part: &Part) -> Result<(), PartError> {
        let mut state = lock(&self.state);
        if matches!(*state, State::Open { .. }) {
            part.finish()?;
            *state = self.done(&Addition::fetched(part, None)?);
        }
        Ok(())
    }

    /// Sees to it that what is here survives the machine. Blocks for as long as the disk does.
    pub(super) fn sync(self: &Arc<Self>) -> Result<(), DiskError> {
        let needed = match &mut *lock(&self.state) {
            State::Open { unsynced, .. } | State::Closed { unsynced } => std::mem::take(unsynced),
            _ => false,
        };
        if !needed {
            return Ok(());
        }
        let part = self.part(false).map_err(|error| match error {
            PartError::Disk(error) => error,
            error => self.fault(io::Error::other(error)),
        })?;
        part.map_or(Ok(()), |part| part.sync())
    }

    /// It, opened, if some of it is here or, when it is to be written, may come. It stays open as long
    /// as somebody has it. Blocks while too many are open.
    fn part(self: &Arc<Self>, writes: bool) -> Result<Option<Arc<Part>>, PartError> {
        let mut state = lock(&self.state);
        let (part, leave) = match &mut *state {
            State::Open { part, leave, unsynced } => {
                leave.used();
                *unsynced |= writes;
                return Ok(Some(part.clone()));
            }
            State::Missing(hashes) if writes => {
                let leave = self.leave();
                (self.create(&self.with_hashes(hashes))?, leave)
            }
            State::Closed { .. } => {
                let leave = self.leave();
                (self.reopen()?, leave)
            }
            State::Missing(_) | State::Unknown | State::Same | State::Done(_) => return Ok(None),
        };
        let part = Arc::new(part);
        let unsynced = writes || matches!(*state, State::Closed { unsynced: true });
        *state = State::Open { part: part.clone(), leave, unsynced };
        Ok(Some(part))
    }

    fn leave(self: &Arc<Self>) -> Leave {
        let this: Weak<Self> = Arc::downgrade(self);
        self.shared.open.leave(this)
    }

    /// Opens what was closed. The pieces that were there have to be.
    fn reopen(&self) -> Result<Part, PartError> {
        let Found::Part(part) = self.resume()? else { return Err(self.changed().into()) };
        let checked = part.check_doubtful(&AtomicBool::new(false));
        checked.map_err(|error| self.fault(io::Error::other(error)))?;
        let (had, here) = (self.pieces(), part.pieces());
        if had.iter().flat_map(PieceSet::iter).any(|piece| !here.contains(piece)) {
            return Err(self.changed().into());
        }
        Ok(*part)
    }

    fn changed(&self) -> DiskError {
        self.fault(io::Error::other("another program has changed what had come of it"))
    }

    fn fault(&self, error: io::Error) -> DiskError {
        let path = self.shared.folder.path().join(self.listed().path.as_str());
        DiskError::new(&path, Fault::Other(error))
    }
}

impl Closes for FolderFile {
    fn close(&self) -> bool {
        let Ok(mut state) = self.state.try_lock() else { return false };
        let State::Open { part, unsynced, .. } = &*state else { return false };
        if Arc::strong_count(part) > 1 {
            return false;
        }
        *state = self.closed(part, *unsynced);
        true
    }
}

#[cfg(test)]
mod tests;
