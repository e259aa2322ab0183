//! [`Addition`]: a file on its way into the catalogue.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use askaround_core::pieces::{Geometry, Manifest};

use super::tables::Tables;
use super::{Entry, Kept};
use crate::content::boot::BootId;
use crate::content::disk::DiskError;
use crate::content::file::Stamp;
use crate::content::md5::Md5;
use crate::content::part::Part;
use crate::content::place::Place;

/// A file that was hashed or fetched, on its way into the catalogue.
#[derive(Debug, Clone)]
pub struct Addition {
    /// Its pieces.
    pub manifest: Arc<Manifest>,
    /// Its md5, if that is known.
    pub md5: Option<Md5>,
    /// Its file; an absolute path.
    pub path: PathBuf,
    /// How it came here.
    pub kept: Kept,
    /// How its file looked when it was verified.
    pub stamp: Stamp,
    /// Whether at least a piece of it is a hole.
    pub sparse: bool,
    /// Whether its file may be run.
    pub executable: bool,
}

impl Addition {
    /// What a finished fetch has brought.
    ///
    /// # Errors
    /// If the system does not tell how its file looks.
    pub fn fetched(part: &Part, md5: Option<Md5>) -> Result<Self, DiskError> {
        let wanted = part.wanted();
        let new = Self::of(part.place(), part.file(), Arc::clone(&wanted.manifest), md5.or(wanted.md5))?;
        // Its user may have changed it since it got its name.
        Ok(Self { stamp: part.named_as().unwrap_or(new.stamp), ..new })
    }

    /// A file that lies where it was to be fetched to.
    pub(crate) fn of(
        place: &Place,
        file: &File,
        manifest: Arc<Manifest>,
        md5: Option<Md5>,
    ) -> Result<Self, DiskError> {
        let path = place.path();
        let look = Look::at(file).map_err(DiskError::at(&path))?;
        Ok(Self {
            manifest,
            md5,
            path: std::path::absolute(&path).map_err(DiskError::at(&path))?,
            kept: Kept::Fetched,
            stamp: look.stamp,
            sparse: look.sparse,
            executable: look.executable,
        })
    }
}

/// Writes a file down as a place of its content, by itself or not. What is known of the same place
/// stays where it is still true.
pub(super) fn note(tables: &mut Tables<'_>, file: &Addition, own: bool) -> Result<(), redb::Error> {
    let root = file.manifest.root();
    let same = tables.at(&root, &file.path)?;
    let md5 = file.md5.map_or_else(|| tables.md5(&root), |md5| Ok(Some(md5)))?;
    let entry = Entry {
        root,
        size: file.stamp.length,
        md5,
        path: file.path.clone(),
        kept: same.as_ref().map_or(file.kept, |same| same.kept),
        own: own || same.as_ref().is_some_and(|same| same.own),
        sparse: file.sparse,
        executable: file.executable,
        stamp: file.stamp,
        boot: Some(BootId::at(&file.path)),
        synced: same.is_some_and(|same| same.synced && same.stamp == file.stamp && !same.damaged),
        damaged: false,
    };
    tables.put(&entry)?;
    tables.put_manifest(&file.manifest)
}

/// What an open file looks like.
pub(super) struct Look {
    pub(super) stamp: Stamp,
    pub(super) sparse: bool,
    pub(super) executable: bool,
}

impl Look {
    pub(super) fn at(file: &File) -> std::io::Result<Self> {
        let data = file.metadata()?;
        let piece = Geometry::new(data.len()).map_or(u64::MAX, |geometry| geometry.piece_size());
        // Less than a piece may be missing for other reasons: file systems keep small ends elsewhere.
        let sparse = (data.blocks() * 512).saturating_add(piece) <= data.len();
        Ok(Self { stamp: Stamp::from(&data), sparse, executable: data.mode() & 0o111 != 0 })
    }
}
