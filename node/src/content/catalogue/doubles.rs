//! [`Double`]: files of folders that have the same content. The catalogue knows one of them; the
//! others are verified and repaired too, and it is repaired from them.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use askaround_core::pieces::PieceSet;

use super::verify::check;
use super::{Catalogue, CatalogueError, Entry, Verified, tables};
use crate::content::collection::ListedFile;
use crate::content::disk::DiskError;
use crate::content::file::{ContentFile, Stamp};
use crate::content::part::{Part, Wanted};
use crate::content::place::{Folder, Place};

/// A file of a collection whose content the catalogue knows to be in another file.
#[derive(Debug, Clone)]
pub struct Double {
    /// The content, and where it is known to be.
    pub entry: Entry,
    folder: PathBuf,
    listed: ListedFile,
}

impl Double {
    /// A file of a list whose content is this; none if the content is known to be just there.
    fn of(list: &Entry, listed: &ListedFile, entry: &Entry) -> Option<Self> {
        let double = Self { entry: entry.clone(), folder: list.path.clone(), listed: listed.clone() };
        (double.path() != entry.path).then_some(double)
    }

    /// Where it is, or should be.
    pub fn path(&self) -> PathBuf {
        self.folder.join(self.listed.path.as_str())
    }

    fn place(&self, make: bool) -> Result<Place, DiskError> {
        let folder = if make { Folder::make(&self.folder)? } else { Folder::open(&self.folder)? };
        folder.below(&self.listed.path, make)
    }
}

impl Catalogue {
    /// The files of a collection that are not where the catalogue knows their content to be: several
    /// files may have the same content, and one of them is known.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn doubles(&self, list: &Entry) -> Result<Vec<Double>, CatalogueError> {
        let mut doubles = Vec::new();
        for listed in self.collection(&list.root)?.files() {
            if let Some(entry) = self.get(&listed.root.key())? {
                doubles.extend(Double::of(list, listed, &entry));
            }
        }
        Ok(doubles)
    }

    /// Copies what is missing of a content from its doubles, as far as it is right there.
    ///
    /// # Errors
    /// If the catalogue cannot be read, a disk says no, or `cancel` becomes true. Doubles that are
    /// gone are left out.
    pub fn fill_from_doubles(
        &self,
        part: &Part,
        entry: &Entry,
        cancel: &AtomicBool,
    ) -> Result<(), CatalogueError> {
        let manifest = &part.wanted().manifest;
        for list in self.read(|read| tables::collections(read, &entry.root))? {
            let Some(list) = self.get(&list.key())? else { continue };
            let collection = self.collection(&list.root)?;
            let same = collection.files().iter().filter(|listed| listed.root == entry.root);
            for double in same.filter_map(|listed| Double::of(&list, listed, entry)) {
                if part.pieces().is_full() {
                    return Ok(());
                }
                let file = double.place(false).and_then(|place| place.open_to_read());
                if let Ok(file) = file
                    && let Ok(stamp) = Stamp::of(&file)
                    && stamp.length == entry.size
                {
                    part.fill_from(&ContentFile::whole(file, manifest.clone(), stamp), cancel)?;
                }
            }
        }
        Ok(())
    }

    /// Reads a double of a content and looks at every piece. What the catalogue says of the content
    /// stays as it is.
    ///
    /// # Errors
    /// If it is gone or cannot be read, or `cancel` becomes true.
    pub fn verify_double(
        &self,
        double: &Double,
        progress: &dyn Fn(u64),
        cancel: &AtomicBool,
    ) -> Result<Verified, CatalogueError> {
        let manifest = self.manifest(&double.entry)?;
        let place = double.place(false)?;
        let file = place.open_to_read()?;
        let (stamp, bad) = check(&file, &place.path(), &manifest, progress, cancel)?;
        let too_long = stamp.length > double.entry.size;
        Ok(Verified { entry: Entry { path: place.path(), ..double.entry.clone() }, bad, too_long })
    }

    /// Copies into a double what is not in `good`, from where the catalogue knows the content to be.
    ///
    /// # Errors
    /// If that is not what it should be either, the disk says no, or `cancel` becomes true.
    pub fn repair_double(
        &self,
        double: &Double,
        good: PieceSet,
        cancel: &AtomicBool,
    ) -> Result<(), CatalogueError> {
        // It may have been repaired since the double was looked up.
        let whole = self.open(&double.entry.root)?;
        let wanted = Wanted { manifest: whole.manifest().clone(), md5: None };
        let part = Part::repair(double.place(true)?, wanted, good, double.listed.executable)?;
        part.fill_from(&whole, cancel)?;
        Ok(part.finish()?)
    }
}
