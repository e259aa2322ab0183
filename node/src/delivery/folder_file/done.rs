//! What is kept of each file of a folder once it is there. A folder has up to hundreds of thousands.

use std::sync::Arc;

use askaround_core::pieces::Manifest;

use crate::content::{Addition, Md5, Stamp};

/// The piece hashes of a file. One of a single piece has none but its own: a folder may have very many
/// of those, and they are made when they are needed.
pub(super) type Hashes = Option<Arc<Manifest>>;

pub(super) fn hashes(manifest: &Arc<Manifest>) -> Hashes {
    (manifest.geometry().count() > 1).then(|| manifest.clone())
}

/// What an [`Addition`] says that the list does not.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) hashes: Hashes,
    pub(super) md5: Option<Md5>,
    pub(super) stamp: Stamp,
    pub(super) sparse: bool,
    pub(super) executable: bool,
}

impl Done {
    pub(super) fn of(addition: &Addition) -> Self {
        let Addition { manifest, md5, stamp, sparse, executable, .. } = addition;
        let hashes = hashes(manifest);
        Self { hashes, md5: *md5, stamp: *stamp, sparse: *sparse, executable: *executable }
    }
}
