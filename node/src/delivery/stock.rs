//! [`Stock`]: content that goes by names which are no hashes of it: that of a peer of a lab run,
//! where the keys are a scenario's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use askaround_core::id::Contact;
use askaround_core::key::Key;
use askaround_core::pieces::Root;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{Delivery, DeliveryOptions, GetError};
use crate::content::{Catalogue, CatalogueError, DiskError, How};
use crate::lock;
use crate::network::Network;
use crate::peer::PeerHandle;
use crate::store::StoreError;
use crate::transfer::serve::ContentServer;

/// Which content each name stands for. No two names stand for the same.
pub type Names = BTreeMap<Key, Root>;

/// The content behind the names that one peer holds, in a folder of its own. Its catalogue is in
/// memory: it lasts as long as the run.
#[derive(Debug)]
pub struct Stock {
    delivery: Delivery,
    folder: PathBuf,
    names: Arc<Names>,
    deliveries: Mutex<Vec<Delivered>>,
}

/// A delivery, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// What was wanted, by its name.
    pub key: Key,
    /// From whom.
    pub from: Contact,
    /// Bytes of content that came over the connection.
    pub bytes: u64,
    /// Why it is not here, in words; `None` if it came whole and was verified.
    pub failed: Option<String>,
}

/// Why a name has no content here.
#[derive(Debug, thiserror::Error)]
pub enum StockError {
    /// Nobody said what it stands for.
    #[error("no content stands behind the key {0}")]
    Unnamed(Key),
    /// Two names stand for the same content.
    #[error("two keys stand for the same content, {0}")]
    Shared(Root),
    /// A file is not the content that it should be.
    #[error("{}: is not the content of the key {key}", .path.display())]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// Whose content it should be.
        key: Key,
    },
    /// It was not got.
    #[error(transparent)]
    Get(#[from] GetError),
    /// It cannot be added or removed.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// It cannot be removed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// There is no memory for the catalogue.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A task of ours panicked.
    #[error("a bug of ours: {0}")]
    Bug(#[from] tokio::task::JoinError),
}

impl Stock {
    /// The stock of the peer `me`, which holds `held` at the start: files in `folder`, each with the
    /// hash of its content as its name. What it serves is the second part: hand both to the peer's
    /// node. Blocks; call before the node runs.
    ///
    /// # Errors
    /// If a file is not what its key stands for, or cannot be read.
    pub fn open(
        me: Contact,
        folder: &Path,
        names: Arc<Names>,
        held: &[Key],
        network: Network,
    ) -> Result<(Self, Arc<ContentServer>), StockError> {
        let mut roots = BTreeSet::new();
        if let Some(shared) = names.values().find(|root| !roots.insert(**root)) {
            return Err(StockError::Shared(*shared));
        }
        let catalogue = Catalogue::temporary()?;
        for key in held {
            let root = names.get(key).ok_or_else(|| StockError::Unnamed(key.clone()))?;
            let path = folder.join(root.to_string());
            let entry = catalogue.add(&path, How::Reference, &|_| (), &AtomicBool::new(false))?;
            if entry.root != *root {
                return Err(StockError::Wrong { path, key: key.clone() });
            }
        }
        // The peer's lists are of names, and are kept by its machine: nobody takes what a delivery
        // has to say about hashes.
        let (nobody, _) = PeerHandle::new();
        let options = DeliveryOptions { network, seed: me.id.as_u64(), ..DeliveryOptions::default() };
        let (delivery, server) = Delivery::new(me, catalogue, nobody, options);
        let stock = Self { delivery, folder: folder.to_owned(), names, deliveries: Mutex::default() };
        Ok((stock, server))
    }

    /// Fetches what `key` stands for from `from` and nobody else. It is here and verified when this
    /// returns.
    ///
    /// # Errors
    /// If that peer does not send it, or the disk says no.
    pub async fn fetch(&self, key: &Key, from: Contact) -> Result<(), StockError> {
        let number = {
            let mut deliveries = lock(&self.deliveries);
            // Whoever drops this future has waited too long.
            let failed = Some("it took too long".into());
            deliveries.push(Delivered { key: key.clone(), from, bytes: 0, failed });
            deliveries.len()
        };
        let got = self.fetch_to(key, from, number).await;
        if let Some(delivery) = lock(&self.deliveries).get_mut(number - 1) {
            delivery.bytes = *got.as_ref().unwrap_or(&0);
            delivery.failed = got.as_ref().err().map(ToString::to_string);
        }
        got.map(drop)
    }

    /// How many bytes came. Each time to a new file: what came of an earlier try came from somebody
    /// else.
    async fn fetch_to(&self, key: &Key, from: Contact, number: usize) -> Result<u64, StockError> {
        let root = self.names.get(key).ok_or_else(|| StockError::Unnamed(key.clone()))?;
        let to = self.folder.join(format!("{root}-{number}"));
        let got = self.delivery.get_from(root.key(), to, from, CancellationToken::new()).await?;
        Ok(got.sources.iter().map(|source| source.bytes).sum())
    }

    /// Forgets what `key` stands for and removes its file.
    ///
    /// # Errors
    /// If the disk says no.
    pub async fn purge(&self, key: &Key) -> Result<(), StockError> {
        let Some(root) = self.names.get(key).copied() else { return Ok(()) };
        let catalogue = self.delivery.catalogue().clone();
        let purge = move || -> Result<(), StockError> {
            for entry in catalogue.remove(&root.key())?.places {
                std::fs::remove_file(&entry.path).map_err(DiskError::at(&entry.path))?;
            }
            Ok(())
        };
        tokio::task::spawn_blocking(purge).await?
    }

    /// Every delivery so far, in order.
    pub fn deliveries(&self) -> Vec<Delivered> {
        lock(&self.deliveries).clone()
    }
}
