//! Serving others what has come while the rest is fetched.

use std::sync::{Arc, Mutex};

use askaround_core::download::Download;
use askaround_core::key::Key;
use tokio::sync::mpsc;

use super::super::super::active::{Opens, Served, Subscribe};
use super::super::{Fetch, Identity};
use crate::delivery::Delivery;
use crate::lock;

/// How others are served meanwhile.
pub(in super::super) struct Serving {
    pub(in super::super) keys: Vec<Key>,
    pub(in super::super) files: bool,
    pub(in super::super) opens: Arc<dyn Opens>,
}

/// Ends the serving when it is dropped, however the fetch ends.
pub(in super::super) struct ServingGuard {
    delivery: Delivery,
    keys: Vec<Key>,
    files: bool,
    fetch: Arc<Served>,
}

impl Drop for ServingGuard {
    fn drop(&mut self) {
        let mut active = lock(&self.delivery.0.active);
        active.serve_no_longer(&self.keys, self.files, &self.fetch);
        for key in self.keys.iter().filter(|key| active.served(key, self.files).is_none()) {
            self.delivery.0.peer.fetching_no_longer(key.clone());
        }
    }
}

impl Fetch {
    /// Has others served from now on.
    pub(super) async fn serve(
        &self,
        serving: Serving,
        download: &Arc<Mutex<Download>>,
        subscribe: mpsc::Sender<Subscribe>,
    ) -> ServingGuard {
        let Serving { keys, files, opens } = serving;
        let description = match &self.identity {
            Some(Identity { description, .. }) => description.clone(),
            None => unreachable!("what is fetched is known"),
        };
        let fetch = Served { description, download: download.clone(), subscribe, files: opens };
        let fetch = Arc::new(fetch);
        lock(&self.delivery.0.active).serve(&keys, files, &fetch);
        // Before anything is waited for: a fetch may be stopped meanwhile.
        let guard = ServingGuard { delivery: self.delivery.clone(), keys, files, fetch };
        for key in &guard.keys {
            self.delivery.0.peer.fetching(key.clone(), true).await;
        }
        guard
    }
}
