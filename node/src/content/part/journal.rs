//! The journal of a part: which pieces are in its file, so that a fetch can go on after a crash.
//!
//! ```text
//!   0    8  "askpart", 1: magic and version
//!   8    8  flags: 1 an md5 is named, 2 in place
//!  16   32  root
//!  48    8  size
//!  56   16  md5, or zeros
//!  72   16  boot id, or zeros
//!  88    8  inode of the data file
//!  96   32·n  the hashes of the n pieces
//!   …    8  check
//! ```
//!
//! Then records, only ever appended: a word of kind, a word of length, so many words, and a check
//! of 8 bytes. A word has 4 bytes; all numbers are little-endian.
//!
//! | kind | words | says |
//! | --- | --- | --- |
//! | 1 | piece numbers | these pieces were verified and written |
//! | 2 | an offset (2 words) | what the records before this offset say is on disk |
//! | 3 | boot id (4), inode (2) | another run of the machine goes on from here, or with a copied file |
//! | 4 | none | the disk failed to take what the records say that are not said to be on it |
//!
//! A check is the beginning of BLAKE3 over the whole check before it (32 bytes; none before the
//! first) and the bytes since. So a record counts only behind exactly those that it was written
//! behind; reading ends at the first that does not fit, and what follows is overwritten.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use askaround_core::Key;
use askaround_core::pieces::{Geometry, HASH_LEN, Manifest, PieceSet, Root};

use crate::content::boot::BootId;
use crate::content::md5::Md5;

const MAGIC: [u8; 8] = *b"askpart\x01";
const FIXED: usize = 96;
const CHECK: usize = 8;
/// Room for records; each piece is recorded once for each time it was fetched.
const MAX_RECORDS: u64 = 64 << 20;

const HAS_MD5: u64 = 1;
const IN_PLACE: u64 = 2;

const PIECES: u32 = 1;
const ON_DISK: u32 = 2;
const GOES_ON: u32 = 3;
const FAILED: u32 = 4;

/// The file and the run of the machine that records are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) boot: Option<BootId>,
    pub(super) inode: u64,
}

/// For whoever wants to know only what a journal is of.
pub(super) const NOWHERE: Setting = Setting { boot: None, inode: 0 };

/// What a journal begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) manifest: Manifest,
    pub(super) md5: Option<Md5>,
    pub(super) in_place: bool,
    pub(super) setting: Setting,
}

/// A journal that is written to.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    end: u64,
    chain: [u8; 32],
    /// Whether nothing more is to be noted.
    ended: bool,
}

/// What a journal says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Replay {
    pub(super) header: Header,
    /// The pieces that are in the file.
    pub(super) sure: PieceSet,
    /// Those that were, but may not have reached the disk before the machine went down, or before
    /// the disk failed.
    pub(super) doubtful: PieceSet,
    /// Whether the disk has failed: what is read may be in memory only.
    pub(super) failed: bool,
    end: u64,
    chain: [u8; 32],
    setting: Setting,
}

impl Journal {
    /// Begins a journal, in an empty file.
    pub(super) fn begin(file: File, header: &Header) -> io::Result<Self> {
        let mut bytes = header.to_bytes();
        let chain = link(&[], &bytes);
        bytes.extend_from_slice(&chain[..CHECK]);
        file.write_all_at(&bytes, 0)?;
        Ok(Self { file, end: bytes.len() as u64, chain, ended: false })
    }

    /// Goes on with a journal that was read.
    pub(super) fn go_on(file: File, replay: &Replay, now: Setting) -> io::Result<Self> {
        file.set_len(replay.end)?;
        let mut journal = Self { file, end: replay.end, chain: replay.chain, ended: false };
        // An unknown run is never the same as another.
        if replay.setting != now || now.boot.is_none() {
            let mut words = words(&boot_bytes(now.boot));
            words.extend(self::words(&now.inode.to_le_bytes()));
            journal.append(GOES_ON, words.into_iter())?;
        }
        Ok(journal)
    }

    /// Notes pieces that are in the file.
    pub(super) fn pieces(&mut self, pieces: impl ExactSizeIterator<Item = u32>) -> io::Result<()> {
        self.append(PIECES, pieces)
    }

    /// Notes that the data of all records before `offset` are on disk.
    pub(super) fn on_disk(&mut self, offset: u64) -> io::Result<()> {
        self.append(ON_DISK, words(&offset.to_le_bytes()).into_iter())
    }

    /// Notes that the disk failed to take what it was not said to have. It is the last that this
    /// notes: what was written before and would be noted after it would be taken for written since.
    pub(super) fn failed(&mut self) -> io::Result<()> {
        let noted = self.append(FAILED, [].into_iter());
        self.ended = true;
        noted
    }

    /// Where the next record will begin.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// A second handle of the file, to sync it while others append.
    pub(super) fn handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// One write. When it fails, half a record may be there; the next goes over it.
    fn append(&mut self, kind: u32, body: impl ExactSizeIterator<Item = u32>) -> io::Result<()> {
        if self.ended {
            return Err(io::Error::other("the disk could not take what was written"));
        }
        let length = body.len() as u32;
        let mut bytes = Vec::with_capacity(8 + body.len() * 4 + CHECK);
        bytes.extend_from_slice(&kind.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        body.for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
        let chain = link(&self.chain, &bytes);
        bytes.extend_from_slice(&chain[..CHECK]);
        self.file.write_all_at(&bytes, self.end)?;
        self.end += bytes.len() as u64;
        self.chain = chain;
        Ok(())
    }
}

impl Header {
    /// Whether a key names this content.
    pub(super) fn is_of(&self, key: &Key) -> bool {
        self.manifest.root().key() == *key || self.md5.is_some_and(|md5| md5.key() == *key)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let hashes = self.manifest.as_bytes();
        let flags = if self.md5.is_some() { HAS_MD5 } else { 0 } | if self.in_place { IN_PLACE } else { 0 };
        let mut bytes = Vec::with_capacity(FIXED + hashes.len() + CHECK);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&flags.to_le_bytes());
        bytes.extend_from_slice(self.manifest.root().as_bytes());
        bytes.extend_from_slice(&self.manifest.geometry().size().to_le_bytes());
        bytes.extend_from_slice(&self.md5.map_or([0; 16], |md5| *md5.as_bytes()));
        bytes.extend_from_slice(&boot_bytes(self.setting.boot));
        bytes.extend_from_slice(&self.setting.inode.to_le_bytes());
        bytes.extend_from_slice(hashes);
        bytes
    }

    /// The header at the beginning of `bytes`, its check, and what follows.
    fn read(bytes: &[u8]) -> Option<(Self, [u8; 32], &[u8])> {
        let mut rest = bytes;
        if take::<8>(&mut rest)? != MAGIC {
            return None;
        }
        let flags = u64::from_le_bytes(take(&mut rest)?);
        let root = Root::new(take(&mut rest)?);
        let size = u64::from_le_bytes(take(&mut rest)?);
        let md5 = Md5::new(take(&mut rest)?);
        let boot = BootId::from_bytes(take(&mut rest)?);
        let inode = u64::from_le_bytes(take(&mut rest)?);
        let count = Geometry::new(size).ok()?.count() as usize;
        let (hashes, after) = rest.split_at_checked(count * HASH_LEN)?;
        rest = after;
        let chain = link(&[], &bytes[..FIXED + count * HASH_LEN]);
        if take::<CHECK>(&mut rest)? != chain[..CHECK] {
            return None;
        }
        let manifest = Manifest::from_bytes(root, size, hashes).ok()?;
        let md5 = (flags & HAS_MD5 != 0).then_some(md5);
        let setting = Setting { boot, inode };
        Some((Self { manifest, md5, in_place: flags & IN_PLACE != 0, setting }, chain, rest))
    }
}

impl Replay {
    /// Reads a journal; `None` if it is none, or its beginning is damaged.
    pub(super) fn read(file: &File, now: Setting) -> io::Result<Option<Self>> {
        let mut fixed = [0; FIXED];
        let known = file.read_at(&mut fixed, 0)?;
        if known < FIXED || fixed[..8] != MAGIC {
            return Ok(None);
        }
        let size = u64::from_le_bytes(fixed[48..56].try_into().expect("8 bytes"));
        let Ok(geometry) = Geometry::new(size) else { return Ok(None) };
        let most = (FIXED + CHECK) as u64 + u64::from(geometry.count()) * HASH_LEN as u64 + MAX_RECORDS;
        let mut bytes = vec![0; file.metadata()?.len().min(most) as usize];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(Self::parse(&bytes, now))
    }

    /// Whether it is about the file with this number.
    pub(super) fn is_about(&self, inode: u64) -> bool {
        self.setting.inode == inode
    }

    /// Is sure of nothing any more.
    pub(super) fn doubt_all(&mut self) {
        self.doubtful.union(&self.sure);
        self.sure = PieceSet::empty(self.sure.count());
    }

    fn parse(bytes: &[u8], now: Setting) -> Option<Self> {
        let (header, mut chain, mut rest) = Header::read(bytes)?;
        let count = header.manifest.geometry().count();
        let mut state = State {
            setting: header.setting,
            on_disk: PieceSet::empty(count),
            since: Vec::new(),
            doubtful: PieceSet::empty(count),
            failed: false,
        };
        let mut end = bytes.len() - rest.len();
        while let Some((kind, body, next)) = record(&mut rest, &chain) {
            if state.apply(kind, body, end as u64).is_none() {
                break;
            }
            chain = next;
            end = bytes.len() - rest.len();
        }
        let setting = state.setting;
        // The end of the journal is like one more record: now. Within one run of the machine it
        // changes nothing.
        state.turn(now);
        let failed = state.failed;
        let mut sure = state.on_disk;
        state.since.iter().for_each(|(_, piece)| _ = sure.insert(*piece));
        let mut doubtful = state.doubtful;
        sure.iter().for_each(|piece| _ = doubtful.remove(piece));
        Some(Self { header, sure, doubtful, failed, end: end as u64, chain, setting })
    }
}

/// What the records read so far say.
struct State {
    setting: Setting,
    on_disk: PieceSet,
    /// Offset of the record, and a piece that it names.
    since: Vec<(u64, u32)>,
    doubtful: PieceSet,
    failed: bool,
}

impl State {
    fn apply(&mut self, kind: u32, body: &[u8], offset: u64) -> Option<()> {
        match kind {
            PIECES => {
                let pieces = body.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
                for piece in pieces {
                    if piece >= self.on_disk.count() {
                        return None;
                    }
                    self.since.push((offset, piece));
                }
            }
            ON_DISK => {
                let until = u64::from_le_bytes(body.try_into().ok()?);
                let on_disk = &mut self.on_disk;
                self.since.retain(|(offset, piece)| {
                    let done = *offset < until;
                    if done {
                        on_disk.insert(*piece);
                    }
                    !done
                });
            }
            GOES_ON => {
                let mut body = body;
                let boot = BootId::from_bytes(take(&mut body)?);
                let inode = u64::from_le_bytes(take(&mut body)?);
                self.turn(Setting { boot, inode });
            }
            FAILED => {
                self.doubt();
                self.failed = true;
            }
            _ => return None,
        }
        Some(())
    }

    /// What is not known to be on disk is doubtful.
    fn doubt(&mut self) {
        let since = self.since.drain(..);
        since.for_each(|(_, piece)| _ = self.doubtful.insert(piece));
    }

    /// Another run of the machine: what was not on disk is doubtful. Another file: everything is.
    fn turn(&mut self, now: Setting) {
        if now.boot != self.setting.boot || now.boot.is_none() || now.inode != self.setting.inode {
            self.doubt();
        }
        if now.inode != self.setting.inode {
            self.doubtful.union(&self.on_disk);
            self.on_disk = PieceSet::empty(self.on_disk.count());
        }
        self.setting = now;
    }
}

/// The next record, if it is whole and fits: its kind, its body, and its check.
fn record<'a>(rest: &mut &'a [u8], chain: &[u8; 32]) -> Option<(u32, &'a [u8], [u8; 32])> {
    let mut after = *rest;
    let kind = u32::from_le_bytes(take(&mut after)?);
    let length = u32::from_le_bytes(take(&mut after)?) as usize;
    let (body, mut after) = after.split_at_checked(length.checked_mul(4)?)?;
    let next = link(chain, &rest[..8 + body.len()]);
    if take::<CHECK>(&mut after)? != next[..CHECK] {
        return None;
    }
    *rest = after;
    Some((kind, body, next))
}

fn link(chain: &[u8], bytes: &[u8]) -> [u8; 32] {
    *blake3::Hasher::new().update(chain).update(bytes).finalize().as_bytes()
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect()
}

fn boot_bytes(boot: Option<BootId>) -> [u8; 16] {
    boot.map_or([0; 16], BootId::to_bytes)
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
