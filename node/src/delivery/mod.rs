//! Content delivered: a peer's content, what it is fetching, and what it serves of both.
//!
//! | module | what lives there |
//! | --- | --- |
//! | here | [`Delivery`], the handle that commands use |
//! | [`types`] | what is asked of it and what it says |
//! | [`keep`] | what is here: adding, listing, purging |
//! | [`verify`] | what is here: reading it again, and repairing it |
//! | [`prefix`] | keys by their first digits |
//! | [`stock`] | content that goes by names which are no hashes of it, in a lab run |
//! | [`error`] | why content was not got |
//! | `fetch` | one fetch: its sources, the machine that chooses, the end |
//! | `sources` | the connections of a fetch |
//! | `target` | where pieces go: a file, or memory |
//! | `folder`, `folder_file` | where pieces go: the files of a collection |
//! | `open_files` | how many of those are open at once |
//! | `settle` | work on what is here that nobody asked for: synced, verified, known by its md5 |
//! | `shelf` | what others are served: the catalogue, and what is being fetched |
//! | [`conditions`] | files that were served and are not what they were |
//! | `active` | what is being fetched, for those who serve it and those who ask about it |
//! | `pace` | how often progress is told |
//! | [`throughput`] | how fast bytes go, as people are told |
//!
//! A fetch is one loop that owns a [`Download`](askaround_core::download::Download). It ends with
//! the future that runs it: dropping that ends every connection, and what came is kept.

mod active;
pub mod conditions;
pub mod error;
mod fetch;
mod folder;
mod folder_file;
pub mod keep;
mod open_files;
mod pace;
pub mod prefix;
mod settle;
mod shelf;
mod sources;
pub mod stock;
mod target;
pub mod throughput;
pub mod types;
pub mod verify;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use askaround_core::id::Contact;
use askaround_core::key::Key;
use askaround_core::pieces::MAX_PIECE;
use askaround_core::upload::UploadConfig;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::content::{Catalogue, Layout};
use crate::lock;
use crate::network::Network;
use crate::peer::PeerHandle;
use crate::shared::Shared;
use crate::transfer::pool::Pool;
use crate::transfer::rate::Rate;
use crate::transfer::serve::ContentServer;
use crate::transfer::source::SourceLimits;
use crate::transfer::uploads::Uploads;
use active::Active;
use conditions::Conditions;
pub use error::GetError;
use open_files::OpenFiles;
pub use types::{FetchReport, FetchState, GetEvent, GetRequest, Got, SourceReport, Status, TrackerStatus};

/// How a peer delivers content. Every bound has a default.
#[derive(Debug, Clone)]
pub struct DeliveryOptions {
    /// How addresses become sockets.
    pub network: Network,
    /// Bytes of pieces on their way that are held in memory.
    pub memory: usize,
    /// How many connections are sent something at the same time; `None`: as many as the link is
    /// fast enough for ([`UploadConfig::slots`]).
    pub upload_slots: Option<usize>,
    /// How many sources a fetch has at most.
    pub max_sources: usize,
    /// How many pieces may be asked of one source that have not come.
    pub max_in_flight: usize,
    /// How many files may be open for the fetches of folders, all together.
    pub max_open_files: usize,
    /// The longest that a fetch that is complete stays for those who fetch from here what no
    /// holder has. None for a peer that goes on.
    pub longest_stay: Option<Duration>,
    /// How long a fetch that has begun waits for somebody who has what is missing, when none of its
    /// sources has it.
    pub holder_timeout: Duration,
    /// How slow a source may be.
    pub source_limits: SourceLimits,
    /// The most bytes sent a second.
    pub up: Option<u64>,
    /// The most bytes received a second.
    pub down: Option<u64>,
    /// What random choices come from.
    pub seed: u64,
}

impl Default for DeliveryOptions {
    fn default() -> Self {
        Self {
            network: Network::default(),
            memory: 32 << 20,
            upload_slots: None,
            max_sources: 64,
            max_in_flight: 64,
            max_open_files: 512,
            longest_stay: None,
            holder_timeout: Duration::from_secs(30),
            source_limits: SourceLimits::default(),
            up: None,
            down: None,
            seed: 0,
        }
    }
}

/// A peer's content. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Delivery(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    me: Contact,
    options: DeliveryOptions,
    catalogue: Catalogue,
    peer: PeerHandle,
    pool: Arc<Pool>,
    up: Arc<Rate>,
    down: Arc<Rate>,
    /// Whoever has it locked locks at most the report of a fetch besides.
    active: Mutex<Active>,
    conditions: Conditions,
    /// Held by whoever changes what is here and has the machine hold or purge the keys of that.
    keeping: tokio::sync::Mutex<()>,
    open_files: Arc<OpenFiles>,
    /// Of the collections that somebody is interested in.
    layouts: Shared<Layout>,
    /// Whether there is nothing to send.
    uplink_idle: watch::Receiver<bool>,
}

impl Delivery {
    /// The content of the peer `me`, which listens and is reached through `peer`. What it serves is the
    /// second part: hand it to the peer's node.
    pub fn new(
        me: Contact,
        catalogue: Catalogue,
        peer: PeerHandle,
        options: DeliveryOptions,
    ) -> (Self, Arc<ContentServer>) {
        let up = Arc::new(Rate::new(options.up));
        let uploads = Uploads::new(UploadConfig { slots: options.upload_slots, seed: options.seed });
        let delivery = Self(Arc::new(Inner {
            me,
            catalogue,
            peer,
            pool: Pool::new(options.memory.max(MAX_PIECE as usize), MAX_PIECE as usize),
            up: up.clone(),
            down: Arc::new(Rate::new(options.down)),
            active: Mutex::default(),
            conditions: Conditions::default(),
            keeping: tokio::sync::Mutex::default(),
            open_files: OpenFiles::new(options.max_open_files),
            layouts: Shared::default(),
            uplink_idle: uploads.watch_idle(),
            options,
        }));
        let server = Arc::new(ContentServer { shelf: Arc::new(delivery.clone()), uploads, up });
        (delivery, server)
    }

    /// What is here.
    pub fn catalogue(&self) -> &Catalogue {
        &self.0.catalogue
    }

    /// The way to the peer's machine.
    pub fn peer(&self) -> &PeerHandle {
        &self.0.peer
    }

    /// Fetches content. Dropping the future stops the fetch; what came is kept.
    ///
    /// # Errors
    /// If nobody has it, the disk says no, or `stop` is cancelled.
    pub async fn get(
        &self,
        request: GetRequest,
        events: mpsc::Sender<GetEvent>,
        stop: CancellationToken,
    ) -> Result<Got, GetError> {
        fetch::get(self.clone(), request, events, stop).await
    }

    /// Fetches content from one peer and nobody else, without a search. The rest is as with
    /// [`Delivery::get`].
    ///
    /// # Errors
    /// If that peer does not send it, the disk says no, or `stop` is cancelled.
    pub async fn get_from(
        &self,
        key: Key,
        to: PathBuf,
        from: Contact,
        stop: CancellationToken,
    ) -> Result<Got, GetError> {
        fetch::get_from(self.clone(), key, to, from, stop).await
    }

    /// What is being fetched and what was lately; only that of `key`, if one is given.
    pub fn why(&self, key: Option<&Key>) -> Vec<FetchReport> {
        lock(&self.0.active).reports(key)
    }

    /// What this peer is doing about content; how it stands with its tracker its machine knows.
    /// Blocks: it reads the catalogue.
    ///
    /// # Errors
    /// If the catalogue cannot be read.
    pub fn status(&self) -> Result<Status, crate::store::StoreError> {
        let (mut contents, mut bytes, mut last) = (0, 0, None);
        for entry in self.0.catalogue.entries() {
            let entry = entry?;
            // Those of one content come behind each other.
            if last.replace(entry.root) != Some(entry.root) {
                contents += 1;
                bytes += entry.size;
            }
        }
        let mut fetches = lock(&self.0.active).reports(None);
        fetches.retain(|fetch| !fetch.ended);
        Ok(Status {
            me: self.0.me,
            tracker: None,
            contents,
            bytes,
            fetches,
            sent: self.sent(),
            received: self.0.down.passed(),
            up_limit: self.0.up.limit(),
            down_limit: self.0.down.limit(),
        })
    }

    /// How many bytes of content were sent since it began.
    pub fn sent(&self) -> u64 {
        self.0.up.passed()
    }

    /// Changes the limits in bytes a second: `Some(None)` takes one away, `None` leaves it.
    pub fn set_limits(&self, up: Option<Option<u64>>, down: Option<Option<u64>>) {
        if let Some(up) = up {
            self.0.up.set(up);
        }
        if let Some(down) = down {
            self.0.down.set(down);
        }
    }

    /// Whether this address is our own.
    fn is_me(&self, addr: SocketAddr, contact: Option<Contact>) -> bool {
        addr == self.0.me.addr() || contact.is_some_and(|contact| contact.id == self.0.me.id)
    }
}

/// Where something goes, as an absolute path.
fn absolute(path: &std::path::Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
