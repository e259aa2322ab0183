//! The catalogue's tables, and how what it knows stands in them.

use std::ffi::OsStr;
use std::ops::{Bound, ControlFlow};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use askaround_core::Key;
use askaround_core::pieces::{Manifest, Root};
use redb::{
    MultimapTable, MultimapTableDefinition, ReadTransaction, ReadableMultimapTable as _, ReadableTable,
    Table, TableDefinition, WriteTransaction,
};
use serde::{Deserialize, Serialize};

use super::{Entry, Kept};
use crate::content::boot::BootId;
use crate::content::file::Stamp;
use crate::content::md5::Md5;

pub(super) type Hash = [u8; 32];
/// A root, whether the place is outside the peer's folder, and its path: so copies come first.
type At = (Hash, bool, &'static [u8]);
/// Bytes, and the md5 if it is known.
type Facts = (u64, Option<[u8; 16]>);

/// Each place of each content to its [`Record`].
const PLACES: TableDefinition<'_, At, &str> = TableDefinition::new("places");
/// Root to what is known of the content wherever it is.
const ROOTS: TableDefinition<'_, Hash, Facts> = TableDefinition::new("roots");
/// Md5 to root.
const MD5S: TableDefinition<'_, [u8; 16], Hash> = TableDefinition::new("md5s");
/// Root to the piece hashes, for content of more than one piece.
const MANIFESTS: TableDefinition<'_, Hash, &[u8]> = TableDefinition::new("manifests");
/// Root of a collection to its list.
const LISTS: TableDefinition<'_, Hash, &[u8]> = TableDefinition::new("lists");
/// Root and path of a file to the roots of the collections that it is here for.
const NEEDED: MultimapTableDefinition<'_, (Hash, &[u8]), Hash> = MultimapTableDefinition::new("needed");

/// Keys of what was forgotten, until the peer's machine does not hold them any more.
const FORGOTTEN: TableDefinition<'_, &str, ()> = TableDefinition::new("forgotten");

/// What else is noted of the catalogue.
const NOTES: TableDefinition<'_, &str, ()> = TableDefinition::new("notes");
/// The note that copies of which nothing was known were looked for.
pub(super) const COPIES_FOUND: &str = "copies found";

/// What the table of places says of one.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    kept: Kept,
    own: bool,
    sparse: bool,
    executable: bool,
    stamp: Stamp,
    boot: Option<BootId>,
    synced: bool,
    damaged: bool,
}

/// All tables, to be changed.
pub(super) struct Tables<'t> {
    places: Table<'t, At, &'static str>,
    roots: Table<'t, Hash, Facts>,
    md5s: Table<'t, [u8; 16], Hash>,
    pub(super) manifests: Table<'t, Hash, &'static [u8]>,
    pub(super) lists: Table<'t, Hash, &'static [u8]>,
    needed: MultimapTable<'t, (Hash, &'static [u8]), Hash>,
    pub(super) forgotten: Table<'t, &'static str, ()>,
    pub(super) notes: Table<'t, &'static str, ()>,
}

impl<'t> Tables<'t> {
    /// Opens them, and makes those that are not there.
    pub(super) fn open(write: &'t WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            places: write.open_table(PLACES)?,
            roots: write.open_table(ROOTS)?,
            md5s: write.open_table(MD5S)?,
            manifests: write.open_table(MANIFESTS)?,
            lists: write.open_table(LISTS)?,
            needed: write.open_multimap_table(NEEDED)?,
            forgotten: write.open_table(FORGOTTEN)?,
            notes: write.open_table(NOTES)?,
        })
    }

    /// A content at a path.
    pub(super) fn at(&self, root: &Root, path: &Path) -> Result<Option<Entry>, redb::Error> {
        one(&self.places, &self.roots, root, path)
    }

    /// The md5 of a content, if that is known.
    pub(super) fn md5(&self, root: &Root) -> Result<Option<Md5>, redb::Error> {
        Ok(facts(&self.roots, root)?.and_then(|(_, md5)| md5.map(Md5::new)))
    }

    /// Writes an entry over the one of its content at its path.
    pub(super) fn put(&mut self, entry: &Entry) -> Result<(), redb::Error> {
        let record = Record {
            kept: entry.kept,
            own: entry.own,
            sparse: entry.sparse,
            executable: entry.executable,
            stamp: entry.stamp,
            boot: entry.boot,
            synced: entry.synced,
            damaged: entry.damaged,
        };
        let record = serde_json::to_string(&record).expect("a record is plain data");
        let root = *entry.root.as_bytes();
        self.places.insert(key(&entry.root, entry.kept != Kept::Copy, &entry.path), record.as_str())?;
        self.roots.insert(root, (entry.size, entry.md5.map(|md5| *md5.as_bytes())))?;
        if let Some(md5) = entry.md5 {
            self.md5s.insert(*md5.as_bytes(), root)?;
        }
        for key in entry.keys() {
            self.forgotten.remove(key.as_str())?;
        }
        Ok(())
    }

    /// Notes the md5 of a content that is here. Whether it is.
    pub(super) fn put_md5(&mut self, root: &Root, md5: Md5) -> Result<bool, redb::Error> {
        let Some((size, _)) = facts(&self.roots, root)? else { return Ok(false) };
        self.roots.insert(*root.as_bytes(), (size, Some(*md5.as_bytes())))?;
        self.md5s.insert(*md5.as_bytes(), *root.as_bytes())?;
        Ok(true)
    }

    /// Keeps the piece hashes of content that has more than one.
    pub(super) fn put_manifest(&mut self, manifest: &Manifest) -> Result<(), redb::Error> {
        if manifest.geometry().count() > 1 {
            self.manifests.insert(*manifest.root().as_bytes(), manifest.as_bytes())?;
        }
        Ok(())
    }

    /// Changes what is known of a place, unless its file is another by now, or it is gone. Whether
    /// it did.
    pub(super) fn update(
        &mut self,
        known: &Entry,
        change: impl FnOnce(Entry) -> Entry,
    ) -> Result<bool, redb::Error> {
        match self.at(&known.root, &known.path)?.filter(|now| now.stamp == known.stamp) {
            Some(now) => self.put(&change(now)).map(|()| true),
            None => Ok(false),
        }
    }

    /// Forgets a place; with the last one the content, and what belongs to it.
    pub(super) fn take(&mut self, entry: &Entry) -> Result<(), redb::Error> {
        self.places.remove(key(&entry.root, entry.kept != Kept::Copy, &entry.path))?;
        if self.is_here(&entry.root)? {
            return Ok(());
        }
        let root = *entry.root.as_bytes();
        let md5 = self.md5(&entry.root)?;
        self.roots.remove(root)?;
        self.manifests.remove(root)?;
        self.lists.remove(root)?;
        if let Some(md5) = md5
            && self.md5s.get(*md5.as_bytes())?.is_some_and(|row| row.value() == root)
        {
            self.md5s.remove(*md5.as_bytes())?;
        }
        Ok(())
    }

    /// Notes that what is known of a place is so of another: what it is needed for, too.
    pub(super) fn replace(&mut self, was: &Entry, is: &Entry) -> Result<(), redb::Error> {
        let lists = self.needed.remove_all((*was.root.as_bytes(), bytes(&was.path)))?;
        let lists = lists.map(|list| Ok::<_, redb::Error>(list?.value()));
        for list in lists.collect::<Result<Vec<_>, _>>()? {
            self.needed.insert((*is.root.as_bytes(), bytes(&is.path)), list)?;
        }
        // In this order: with its last place all that is known of a content goes.
        self.put(is)?;
        self.take(was)
    }

    /// Whether a content has a place.
    pub(super) fn is_here(&self, root: &Root) -> Result<bool, redb::Error> {
        let first = self.places.range(key(root, false, Path::new(""))..)?.next().transpose()?;
        Ok(first.is_some_and(|(at, _)| at.value().0 == *root.as_bytes()))
    }

    /// Notes that a file is here for a collection.
    pub(super) fn join(&mut self, file: &Root, path: &Path, list: &Root) -> Result<(), redb::Error> {
        self.needed.insert((*file.as_bytes(), bytes(path)), *list.as_bytes())?;
        Ok(())
    }

    /// Notes that a file is not here for a collection any more.
    pub(super) fn leave(&mut self, file: &Root, path: &Path, list: &Root) -> Result<(), redb::Error> {
        self.needed.remove((*file.as_bytes(), bytes(path)), *list.as_bytes())?;
        Ok(())
    }

    /// Whether a file is here for a collection.
    pub(super) fn is_needed(&self, file: &Root, path: &Path) -> Result<bool, redb::Error> {
        Ok(self.needed.get((*file.as_bytes(), bytes(path)))?.next().is_some())
    }
}

/// The root that a key stands for: its own, or what `of_md5` says.
fn root_of(
    key: &Key,
    of_md5: impl FnOnce(&Md5) -> Result<Option<Root>, redb::Error>,
) -> Result<Option<Root>, redb::Error> {
    match (Root::from_key(key), Md5::from_key(key)) {
        (Some(root), _) => Ok(Some(root)),
        (None, Some(md5)) => of_md5(&md5),
        (None, None) => Ok(None),
    }
}

fn root_of_md5(md5s: &impl ReadableTable<[u8; 16], Hash>, md5: &Md5) -> Result<Option<Root>, redb::Error> {
    Ok(md5s.get(*md5.as_bytes())?.map(|row| Root::new(row.value())))
}

/// The root that a key stands for; by its md5 only that of content here.
pub(super) fn root(read: &ReadTransaction, key: &Key) -> Result<Option<Root>, redb::Error> {
    root_of(key, |md5| root_of_md5(&read.open_table(MD5S)?, md5))
}

/// Shows `look` the places of a content, copies of ours first, until it breaks off.
pub(super) fn look_at<T>(
    read: &ReadTransaction,
    root: &Root,
    look: impl FnMut(Entry) -> ControlFlow<T>,
) -> Result<Option<T>, redb::Error> {
    walk(&read.open_table(PLACES)?, &read.open_table(ROOTS)?, root, look)
}

/// A content at a path.
pub(super) fn at(read: &ReadTransaction, root: &Root, path: &Path) -> Result<Option<Entry>, redb::Error> {
    one(&read.open_table(PLACES)?, &read.open_table(ROOTS)?, root, path)
}

/// Where a place stands in the table of places.
pub(super) type Position = (Hash, bool, Vec<u8>);

/// The places behind `last`, all if it is none, of which at most `most` are looked at; and the last one
/// of those, if there may be more. A record that cannot be read is none.
pub(super) fn some_behind(
    read: &ReadTransaction,
    last: Option<&Position>,
    most: usize,
) -> Result<(Vec<Entry>, Option<Position>), redb::Error> {
    let (places, roots) = (read.open_table(PLACES)?, read.open_table(ROOTS)?);
    let behind = match last {
        Some((root, outside, path)) => Bound::Excluded((*root, *outside, path.as_slice())),
        None => Bound::Unbounded,
    };
    let (mut entries, mut last) = (Vec::new(), None);
    for (number, row) in places.range((behind, Bound::Unbounded))?.take(most).enumerate() {
        let (at, record) = row?;
        let (root, outside, path) = at.value();
        if number + 1 == most {
            last = Some((root, outside, path.to_vec()));
        }
        let root = Root::new(root);
        if let Some(facts) = facts(&roots, &root)? {
            entries.extend(decode(root, facts, path, record.value()));
        }
    }
    Ok((entries, last))
}

/// The places of which `is_wanted` says so. The others are not decoded.
pub(super) fn some_at(
    read: &ReadTransaction,
    is_wanted: impl Fn(&Root, &Path) -> bool,
) -> Result<Vec<Entry>, redb::Error> {
    let (places, roots) = (read.open_table(PLACES)?, read.open_table(ROOTS)?);
    let mut wanted = Vec::new();
    for row in places.iter()? {
        let (at, record) = row?;
        let (root, _, path) = at.value();
        let root = Root::new(root);
        if is_wanted(&root, Path::new(OsStr::from_bytes(path)))
            && let Some(facts) = facts(&roots, &root)?
        {
            wanted.extend(decode(root, facts, path, record.value()));
        }
    }
    Ok(wanted)
}

/// Those of these keys whose content is here.
pub(super) fn keys_here(read: &ReadTransaction, mut keys: Vec<Key>) -> Result<Vec<Key>, redb::Error> {
    let (md5s, roots) = (read.open_table(MD5S)?, read.open_table(ROOTS)?);
    let mut failed = Ok(());
    keys.retain(|key| {
        let is_here = || match root_of(key, |md5| root_of_md5(&md5s, md5))? {
            Some(root) => Ok(facts(&roots, &root)?.is_some()),
            None => Ok(false),
        };
        is_here().unwrap_or_else(|error| {
            failed = Err(error);
            false
        })
    });
    failed.map(|()| keys)
}

/// Keys of what was forgotten that the machine may still hold.
pub(super) fn forgotten(read: &ReadTransaction) -> Result<Vec<Key>, redb::Error> {
    let mut keys = Vec::new();
    for row in read.open_table(FORGOTTEN)?.iter()? {
        keys.extend(Key::new(row?.0.value()));
    }
    Ok(keys)
}

/// Whether the copies of which nothing was known were looked for.
pub(super) fn copies_are_found(read: &ReadTransaction) -> Result<bool, redb::Error> {
    Ok(read.open_table(NOTES)?.get(COPIES_FOUND)?.is_some())
}

/// The piece hashes of a content, as they are kept.
pub(super) fn manifest(read: &ReadTransaction, root: &Root) -> Result<Option<Vec<u8>>, redb::Error> {
    Ok(read.open_table(MANIFESTS)?.get(*root.as_bytes())?.map(|row| row.value().to_vec()))
}

/// The list of a collection.
pub(super) fn collection(read: &ReadTransaction, root: &Root) -> Result<Option<Vec<u8>>, redb::Error> {
    Ok(read.open_table(LISTS)?.get(*root.as_bytes())?.map(|row| row.value().to_vec()))
}

fn key<'a>(root: &Root, outside: bool, path: &'a Path) -> (Hash, bool, &'a [u8]) {
    (*root.as_bytes(), outside, bytes(path))
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

fn facts(roots: &impl ReadableTable<Hash, Facts>, root: &Root) -> Result<Option<Facts>, redb::Error> {
    Ok(roots.get(*root.as_bytes())?.map(|row| row.value()))
}

fn walk<T>(
    places: &impl ReadableTable<At, &'static str>,
    roots: &impl ReadableTable<Hash, Facts>,
    root: &Root,
    mut look: impl FnMut(Entry) -> ControlFlow<T>,
) -> Result<Option<T>, redb::Error> {
    let Some(facts) = facts(roots, root)? else { return Ok(None) };
    for row in places.range(key(root, false, Path::new(""))..)? {
        let (at, record) = row?;
        let (of, _, path) = at.value();
        if of != *root.as_bytes() {
            break;
        }
        if let Some(entry) = decode(*root, facts, path, record.value())
            && let ControlFlow::Break(found) = look(entry)
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn one(
    places: &impl ReadableTable<At, &'static str>,
    roots: &impl ReadableTable<Hash, Facts>,
    root: &Root,
    path: &Path,
) -> Result<Option<Entry>, redb::Error> {
    let Some(facts) = facts(roots, root)? else { return Ok(None) };
    for outside in [true, false] {
        if let Some(record) = places.get(key(root, outside, path))? {
            return Ok(decode(*root, facts, bytes(path), record.value()));
        }
    }
    Ok(None)
}

fn decode(root: Root, (size, md5): Facts, path: &[u8], record: &str) -> Option<Entry> {
    let record: Record = serde_json::from_str(record).ok()?;
    Some(Entry {
        root,
        size,
        md5: md5.map(Md5::new),
        path: PathBuf::from(OsStr::from_bytes(path)),
        kept: record.kept,
        own: record.own,
        sparse: record.sparse,
        executable: record.executable,
        stamp: record.stamp,
        boot: record.boot,
        synced: record.synced,
        damaged: record.damaged,
    })
}
