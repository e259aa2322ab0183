//! [`Lists`]: the lists of folders, as files for those who fetch them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use askaround_core::pieces::Root;

use super::CatalogueError;
use crate::content::file::ContentFile;
use crate::lock;

/// The lists that somebody has open.
#[derive(Debug, Default)]
pub(super) struct Lists(Mutex<BTreeMap<Root, Weak<ContentFile>>>);

impl Lists {
    /// The list of this root. It is made once for all who have it open: a list may be long, and
    /// strangers may open it on as many connections as there can be. Blocks.
    pub(super) fn open(
        &self,
        root: &Root,
        make: impl FnOnce() -> Result<ContentFile, CatalogueError>,
    ) -> Result<Arc<ContentFile>, CatalogueError> {
        // Held while one is made: otherwise all who come meanwhile would make one too.
        let mut lists = lock(&self.0);
        if let Some(list) = lists.get(root).and_then(Weak::upgrade) {
            return Ok(list);
        }
        let list = Arc::new(make()?);
        lists.retain(|_, list| list.strong_count() > 0);
        lists.insert(*root, Arc::downgrade(&list));
        Ok(list)
    }
}
