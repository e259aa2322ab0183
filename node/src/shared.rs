//! [`Shared`]: what is made of a content once for all who have it open.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use askaround_core::pieces::Root;

use crate::lock;

/// What somebody has open, by the root of its content. It may be long, and strangers may ask for it on
/// as many connections as there can be.
#[derive(Debug)]
pub(crate) struct Shared<T>(Mutex<BTreeMap<Root, Weak<T>>>);

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Shared<T> {
    /// What there is of this root, or what is made now. Blocks.
    pub(crate) fn get_or_make<E>(
        &self,
        root: &Root,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        // Held while one is made: otherwise all who come meanwhile would make one too.
        let mut all = lock(&self.0);
        if let Some(one) = all.get(root).and_then(Weak::upgrade) {
            return Ok(one);
        }
        let one = Arc::new(make()?);
        all.retain(|_, one| one.strong_count() > 0);
        all.insert(*root, Arc::downgrade(&one));
        Ok(one)
    }
}
