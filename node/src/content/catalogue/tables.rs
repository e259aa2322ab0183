//! The catalogue's tables, and how an entry stands in them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use askaround_core::pieces::{Manifest, Root};
use redb::{MultimapTableDefinition, ReadableMultimapTable as _, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use super::{Entry, Kept};
use crate::content::boot::BootId;
use crate::content::file::Stamp;
use crate::content::md5::Md5;

type Hash = [u8; 32];

/// Root to path and [`Record`].
pub(super) const FILES: TableDefinition<'_, Hash, (&[u8], &str)> = TableDefinition::new("files");
/// Md5 to root.
pub(super) const MD5S: TableDefinition<'_, [u8; 16], Hash> = TableDefinition::new("md5s");
/// Root to the piece hashes, for content of more than one piece.
pub(super) const MANIFESTS: TableDefinition<'_, Hash, &[u8]> = TableDefinition::new("manifests");
/// Root of a collection to its list.
pub(super) const LISTS: TableDefinition<'_, Hash, &[u8]> = TableDefinition::new("lists");
/// Root of a file to the roots of the collections that it is here for.
pub(super) const MEMBERS: MultimapTableDefinition<'_, Hash, Hash> = MultimapTableDefinition::new("members");

/// What the table of files says beside the path.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    size: u64,
    md5: Option<String>,
    kept: Kept,
    own: bool,
    sparse: bool,
    executable: bool,
    stamp: Stamp,
    boot: Option<BootId>,
    synced: bool,
}

/// Makes the tables that are not there.
pub(super) fn make(write: &redb::WriteTransaction) -> Result<(), redb::Error> {
    write.open_table(FILES)?;
    write.open_table(MD5S)?;
    write.open_table(MANIFESTS)?;
    write.open_table(LISTS)?;
    write.open_multimap_table(MEMBERS)?;
    Ok(())
}

/// The entry of a root. A record that cannot be read is none.
pub(super) fn entry(
    files: &impl ReadableTable<Hash, (&'static [u8], &'static str)>,
    root: &Root,
) -> Result<Option<Entry>, redb::Error> {
    let row = files.get(*root.as_bytes())?;
    Ok(row.and_then(|row| {
        let (path, record) = row.value();
        decode(*root, path, record)
    }))
}

pub(super) fn decode(root: Root, path: &[u8], record: &str) -> Option<Entry> {
    let record: Record = serde_json::from_str(record).ok()?;
    Some(Entry {
        root,
        size: record.size,
        md5: record.md5.and_then(|md5| md5.parse().ok()),
        path: PathBuf::from(OsStr::from_bytes(path)),
        kept: record.kept,
        own: record.own,
        sparse: record.sparse,
        executable: record.executable,
        stamp: record.stamp,
        boot: record.boot,
        synced: record.synced,
    })
}

/// Writes an entry over the one of its root.
pub(super) fn put(write: &redb::WriteTransaction, entry: &Entry) -> Result<(), redb::Error> {
    let record = Record {
        size: entry.size,
        md5: entry.md5.map(|md5| md5.to_string()),
        kept: entry.kept,
        own: entry.own,
        sparse: entry.sparse,
        executable: entry.executable,
        stamp: entry.stamp,
        boot: entry.boot,
        synced: entry.synced,
    };
    let record = serde_json::to_string(&record).expect("a record is plain data");
    let root = *entry.root.as_bytes();
    write.open_table(FILES)?.insert(root, (entry.path.as_os_str().as_bytes(), record.as_str()))?;
    if let Some(md5) = entry.md5 {
        write.open_table(MD5S)?.insert(*md5.as_bytes(), root)?;
    }
    Ok(())
}

/// Keeps the piece hashes of content that has more than one.
pub(super) fn put_manifest(write: &redb::WriteTransaction, manifest: &Manifest) -> Result<(), redb::Error> {
    if manifest.geometry().count() > 1 {
        let root = *manifest.root().as_bytes();
        write.open_table(MANIFESTS)?.insert(root, manifest.as_bytes())?;
    }
    Ok(())
}

/// Forgets an entry and what belongs to it. What it was.
pub(super) fn take(write: &redb::WriteTransaction, root: &Root) -> Result<Option<Entry>, redb::Error> {
    let mut files = write.open_table(FILES)?;
    let Some(entry) = entry(&files, root)? else { return Ok(None) };
    files.remove(*root.as_bytes())?;
    write.open_table(MANIFESTS)?.remove(*root.as_bytes())?;
    write.open_table(LISTS)?.remove(*root.as_bytes())?;
    if let Some(md5) = entry.md5 {
        let mut md5s = write.open_table(MD5S)?;
        if md5s.get(*md5.as_bytes())?.is_some_and(|row| row.value() == *root.as_bytes()) {
            md5s.remove(*md5.as_bytes())?;
        }
    }
    Ok(Some(entry))
}

/// Notes that a file is here for a collection.
pub(super) fn join(
    write: &redb::WriteTransaction,
    file: &Root,
    collection: &Root,
) -> Result<(), redb::Error> {
    write.open_multimap_table(MEMBERS)?.insert(*file.as_bytes(), *collection.as_bytes())?;
    Ok(())
}

/// Notes that a file is not here for a collection any more. Whether it is for another.
pub(super) fn leave(
    write: &redb::WriteTransaction,
    file: &Root,
    collection: &Root,
) -> Result<bool, redb::Error> {
    let mut members = write.open_multimap_table(MEMBERS)?;
    members.remove(*file.as_bytes(), *collection.as_bytes())?;
    let more = members.get(*file.as_bytes())?.next().is_some();
    Ok(more)
}

/// Whether a file is here for a collection.
pub(super) fn is_member(write: &redb::WriteTransaction, file: &Root) -> Result<bool, redb::Error> {
    let members = write.open_multimap_table(MEMBERS)?;
    let any = members.get(*file.as_bytes())?.next().is_some();
    Ok(any)
}

/// Changes what is known of a content, unless it is of another file by now, or gone. Whether it did.
pub(super) fn update(
    write: &redb::WriteTransaction,
    known: &Entry,
    change: impl FnOnce(Entry) -> Entry,
) -> Result<bool, redb::Error> {
    let now = entry(&write.open_table(FILES)?, &known.root)?;
    match now.filter(|now| (&now.path, now.stamp) == (&known.path, known.stamp)) {
        Some(now) => put(write, &change(now)).map(|()| true),
        None => Ok(false),
    }
}

/// The collections that a file is here for.
pub(super) fn collections(read: &redb::ReadTransaction, file: &Root) -> Result<Vec<Root>, redb::Error> {
    let members = read.open_multimap_table(MEMBERS)?;
    members.get(*file.as_bytes())?.map(|row| Ok(Root::new(row?.value()))).collect()
}

/// The root that a md5 stands for.
pub(super) fn root_of(
    md5s: &impl ReadableTable<[u8; 16], Hash>,
    md5: &Md5,
) -> Result<Option<Root>, redb::Error> {
    Ok(md5s.get(*md5.as_bytes())?.map(|row| Root::new(row.value())))
}
