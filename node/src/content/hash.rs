//! [`hash_file`]: one pass over a file that gives both its names and the hashes of its pieces, and
//! [`InOrderHash`], the md5 of a file whose pieces come in any order.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, mpsc};

use askaround_core::pieces::{
    Geometry, HASH_LEN, Manifest, PieceIndex, PieceSet, Root, TooLarge, piece_hash,
};

use super::file::{ContentFile, Stamp};
use super::md5::{self, Md5};

/// The bytes of a file that are in memory at once while it is hashed.
const READ_AHEAD: u64 = 24 << 20;
/// More buffers than this do not keep the threads any busier.
const MAX_BUFFERS: u64 = 32;
/// Content of at most so many bytes is hashed on one thread: others would cost more than they
/// bring.
const SMALL: u64 = 512 << 10;

/// What one pass over a file gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashed {
    /// Its BLAKE3 hash.
    pub root: Root,
    /// Its md5.
    pub md5: Md5,
    /// The hashes of its pieces.
    pub manifest: Manifest,
    /// Its bytes.
    pub size: u64,
}

/// Why a file has no hash.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// Whoever asked for it does not want it any more.
    #[error("stopped")]
    Cancelled,
    /// Somebody wrote to it meanwhile.
    #[error("the file was changed while it was read")]
    Changed,
    /// It is too large for this program.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The disk says no.
    #[error("cannot be read: {0}")]
    Disk(#[from] io::Error),
}

/// Hashes a whole file: md5 in order on the calling thread, BLAKE3 piece by piece on the other
/// cores, which also read. `progress` is told how many bytes are done.
///
/// # Errors
/// If the file cannot be read, is changed meanwhile, or `cancel` becomes true.
pub fn hash_file(file: &File, progress: &dyn Fn(u64), cancel: &AtomicBool) -> Result<Hashed, HashError> {
    hash_on(cores(), file, progress, cancel)
}

/// The same on the calling thread alone, for whoever hashes many files at once.
pub(super) fn hash_file_alone(
    file: &File,
    progress: &dyn Fn(u64),
    cancel: &AtomicBool,
) -> Result<Hashed, HashError> {
    hash_on(0, file, progress, cancel)
}

fn hash_on(
    threads: usize,
    file: &File,
    progress: &dyn Fn(u64),
    cancel: &AtomicBool,
) -> Result<Hashed, HashError> {
    let before = Stamp::of(file)?;
    let geometry = Geometry::new(before.length)?;
    let mut hasher = md5::Hasher::new();
    let mut done = 0;
    let pieces: Vec<_> = geometry.pieces().collect();
    let hashes = hash_pieces(threads, file, &geometry, &pieces, cancel, &mut |_, bytes| {
        hasher.update(bytes);
        done += bytes.len() as u64;
        progress(done);
    })?;
    if Stamp::of(file)? != before {
        return Err(HashError::Changed);
    }
    let manifest = Manifest::of(before.length, hashes).expect("one hash a piece");
    Ok(Hashed { root: manifest.root(), md5: hasher.finish(), manifest, size: before.length })
}

/// The piece hashes of a file, without its md5: several times as fast.
pub(super) fn hash_root(
    file: &File,
    progress: &dyn Fn(u64),
    cancel: &AtomicBool,
) -> Result<Manifest, HashError> {
    let before = Stamp::of(file)?;
    let geometry = Geometry::new(before.length)?;
    let pieces: Vec<_> = geometry.pieces().collect();
    let mut done = 0;
    let hashes = hash_pieces(cores(), file, &geometry, &pieces, cancel, &mut |_, bytes| {
        done += bytes.len() as u64;
        progress(done);
    })?;
    if Stamp::of(file)? != before {
        return Err(HashError::Changed);
    }
    Ok(Manifest::of(before.length, hashes).expect("one hash a piece"))
}

/// Which of `pieces` are not as the manifest says, or are not there at all. `progress` is told
/// how many bytes are done.
pub(super) fn check_pieces(
    file: &File,
    manifest: &Manifest,
    pieces: &[PieceIndex],
    progress: &dyn Fn(u64),
    cancel: &AtomicBool,
) -> Result<PieceSet, HashError> {
    let geometry = manifest.geometry();
    let length = Stamp::of(file)?.length;
    let mut bad = PieceSet::empty(geometry.count());
    let mut whole = Vec::with_capacity(pieces.len());
    for &piece in pieces {
        if geometry.range(piece).end <= length {
            whole.push(piece);
        } else {
            bad.insert(piece.get());
        }
    }
    let mut done = 0;
    let hashes = hash_pieces(cores(), file, &geometry, &whole, cancel, &mut |_, bytes| {
        done += bytes.len() as u64;
        progress(done);
    })?;
    for (piece, hash) in whole.into_iter().zip(hashes) {
        if hash != *manifest.hash(piece) {
            bad.insert(piece.get());
        }
    }
    Ok(bad)
}

type Chaining = [u8; HASH_LEN];
/// A piece that was read and hashed: its place in the list of pieces, its hash, its bytes.
type Done = (u32, io::Result<Chaining>, Vec<u8>);

pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Reads and hashes `pieces` on so many threads, or on none but this, and hands each, in their
/// order, to `each` on the calling thread.
fn hash_pieces(
    threads: usize,
    file: &File,
    geometry: &Geometry,
    pieces: &[PieceIndex],
    cancel: &AtomicBool,
    each: &mut dyn FnMut(PieceIndex, &[u8]),
) -> Result<Vec<Chaining>, HashError> {
    let read = |piece: PieceIndex, buffer: &mut Vec<u8>| -> io::Result<Chaining> {
        buffer.resize(geometry.length(piece), 0);
        file.read_exact_at(buffer, geometry.range(piece).start)?;
        Ok(piece_hash(geometry, piece, buffer))
    };
    if threads == 0 || pieces.len() as u64 * geometry.piece_size() <= SMALL {
        return hash_alone(pieces, cancel, read, each);
    }
    let buffers = (READ_AHEAD / geometry.piece_size()).clamp(2, MAX_BUFFERS) as usize;
    let (give_back, free) = mpsc::sync_channel::<Vec<u8>>(buffers);
    for _ in 0..buffers {
        give_back.send(Vec::new()).expect("the channel holds all buffers");
    }
    let free = Mutex::new(free);
    let (give, done) = mpsc::sync_channel::<Done>(buffers);
    let next = AtomicU32::new(0);
    let stop = AtomicBool::new(false);
    let work = |give: mpsc::SyncSender<Done>| {
        while !stop.load(Ordering::Relaxed) {
            // A buffer comes first and the number second, so that whoever has the lowest number
            // also has a buffer, and all go on.
            let Ok(mut buffer) = crate::lock(&free).recv() else { return };
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(&piece) = pieces.get(at as usize) else { return };
            let hash = read(piece, &mut buffer);
            if give.send((at, hash, buffer)).is_err() {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        // The calling thread has work of its own, but not enough to fill a core when only BLAKE3
        // is wanted: the system's scheduler shares the cores out.
        let started = start_threads(scope, threads.min(buffers), || {
            let (give, work) = (give.clone(), &work);
            move || work(give)
        });
        if started == 0 {
            return hash_alone(pieces, cancel, read, each);
        }
        drop(give);
        let result = collect(pieces, cancel, &done, &give_back, each);
        // Wakes whoever waits for a buffer or for room, so that the scope ends.
        stop.store(true, Ordering::Relaxed);
        drop((done, give_back));
        result
    })
}

/// Starts at most so many threads, as many as the system gives now: how many. Each does one `work`.
pub(super) fn start_threads<'scope, W: FnOnce() + Send + 'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    most: usize,
    work: impl Fn() -> W,
) -> usize {
    let start = |_: &usize| std::thread::Builder::new().spawn_scoped(scope, work()).is_ok();
    (0..most).take_while(start).count()
}

/// Hashes each of `pieces` with `read` on the calling thread, and hands it to `each`.
fn hash_alone(
    pieces: &[PieceIndex],
    cancel: &AtomicBool,
    read: impl Fn(PieceIndex, &mut Vec<u8>) -> io::Result<Chaining>,
    each: &mut dyn FnMut(PieceIndex, &[u8]),
) -> Result<Vec<Chaining>, HashError> {
    let mut buffer = Vec::new();
    let one = |&piece: &PieceIndex| {
        if cancel.load(Ordering::Relaxed) {
            return Err(HashError::Cancelled);
        }
        let hash = read(piece, &mut buffer).map_err(changed)?;
        each(piece, &buffer);
        Ok(hash)
    };
    pieces.iter().map(one).collect()
}

/// Puts what comes from the workers into order.
fn collect(
    pieces: &[PieceIndex],
    cancel: &AtomicBool,
    done: &mpsc::Receiver<Done>,
    give_back: &mpsc::SyncSender<Vec<u8>>,
    each: &mut dyn FnMut(PieceIndex, &[u8]),
) -> Result<Vec<Chaining>, HashError> {
    let mut hashes = Vec::with_capacity(pieces.len());
    // At most as many as there are buffers.
    let mut early = std::collections::BTreeMap::new();
    for (at, &piece) in pieces.iter().enumerate() {
        let (hash, buffer) = loop {
            if cancel.load(Ordering::Relaxed) {
                return Err(HashError::Cancelled);
            }
            if let Some(next) = early.remove(&at) {
                break next;
            }
            let (number, hash, buffer) =
                done.recv().map_err(|_| io::Error::other("a hashing thread ended early"))?;
            early.insert(number as usize, (hash, buffer));
        };
        hashes.push(hash.map_err(changed)?);
        each(piece, &buffer);
        // Fails only when the workers are through.
        let _ = give_back.send(buffer);
    }
    Ok(hashes)
}

/// A file that ends before its length was cut off after it was looked at.
fn changed(error: io::Error) -> HashError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => HashError::Changed,
        _ => HashError::Disk(error),
    }
}

/// The md5 of a content whose pieces come in any order: it follows the pieces that are there
/// without a gap from the beginning, reading them back from the system's memory of the file.
pub struct InOrderHash {
    hasher: md5::Hasher,
    next: u32,
    buffer: Vec<u8>,
}

impl Default for InOrderHash {
    fn default() -> Self {
        Self { hasher: md5::Hasher::new(), next: 0, buffer: Vec::new() }
    }
}

impl InOrderHash {
    /// Hashes at most `most` further pieces of `content`, always the same one. How many it hashed:
    /// fewer than `most` when the next piece is not there yet, or all is done.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn follow(&mut self, content: &ContentFile, most: u32) -> io::Result<u32> {
        let geometry = content.geometry();
        let mut hashed = 0;
        while hashed < most {
            let Some(piece) = geometry.piece(self.next).filter(|piece| content.has(*piece)) else { break };
            self.buffer.resize(geometry.length(piece), 0);
            content.file().read_exact_at(&mut self.buffer, geometry.range(piece).start)?;
            self.hasher.update(&self.buffer);
            self.next += 1;
            hashed += 1;
        }
        Ok(hashed)
    }

    /// How many pieces are hashed.
    pub fn pieces(&self) -> u32 {
        self.next
    }

    /// The md5, once all pieces are there.
    ///
    /// # Errors
    /// If a piece cannot be read, or is not there (`UnexpectedEof`).
    pub fn finish(mut self, content: &ContentFile) -> io::Result<Md5> {
        self.follow(content, u32::MAX)?;
        if self.next < content.geometry().count() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(self.hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> File {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file
    }

    fn content(size: usize) -> Vec<u8> {
        (0..size).map(|i| (i * 31 % 251) as u8).collect()
    }

    #[test]
    fn both_names_in_one_pass() {
        for size in [0, 1, 65_536, 65_537, 3_000_000, 40_000_001] {
            let bytes = content(size);
            let told = std::cell::Cell::new(0);
            let hashed = hash_file(&file(&bytes), &|done| told.set(done), &AtomicBool::new(false)).unwrap();
            assert_eq!(hashed.root, Root::new(*blake3::hash(&bytes).as_bytes()), "{size}");
            assert_eq!(hashed.md5, md5::md5_of(&bytes), "{size}");
            assert_eq!((hashed.size, told.get()), (size as u64, size as u64));
        }
    }

    #[test]
    fn bad_and_missing_pieces_are_found() {
        let bytes = content(2_000_000);
        let stop = AtomicBool::new(false);
        let manifest = hash_file(&file(&bytes), &|_| (), &stop).unwrap().manifest;
        let mut spoilt = bytes;
        spoilt[70_000] ^= 1;
        spoilt.truncate(1_900_000);
        let pieces: Vec<_> = manifest.geometry().pieces().collect();
        let bad = check_pieces(&file(&spoilt), &manifest, &pieces, &|_| (), &stop).unwrap();
        assert_eq!(bad.iter().collect::<Vec<_>>(), [1, 28, 29, 30]);
    }

    #[test]
    fn stops_when_told_and_notices_changes() {
        let file = file(&content(8_000_000));
        let stop = AtomicBool::new(false);
        let stopped = hash_file(&file, &|done| stop.store(done > 1_000_000, Ordering::Relaxed), &stop);
        assert!(matches!(stopped, Err(HashError::Cancelled)), "{stopped:?}");
        let go = AtomicBool::new(false);
        let longer = hash_file(&file, &|_| file.set_len(9_000_000).unwrap(), &go);
        assert!(matches!(longer, Err(HashError::Changed)), "{longer:?}");
        let shorter = hash_file(&file, &|_| file.set_len(1_000_000).unwrap(), &go);
        assert!(matches!(shorter, Err(HashError::Changed)), "{shorter:?}");
    }
}
