//! [`Active`]: what is being fetched, for those who serve it meanwhile, and for those who ask
//! about it now or afterwards.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use askaround_core::download::Download;
use askaround_core::id::PeerId;
use askaround_core::key::Key;
use askaround_core::message::Description;
use askaround_core::pieces::{Manifest, PieceSet};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::types::{FetchReport, FetchState};
use crate::content::{ContentFile, Layout};
use crate::lock;

/// So many fetches that are over are remembered.
const REMEMBERED: usize = 32;

/// What is being fetched.
#[derive(Debug, Default)]
pub(super) struct Active {
    running: BTreeMap<Key, Arc<Job>>,
    /// More than one where the same is fetched to several places.
    served: BTreeMap<(Key, bool), Vec<Arc<Served>>>,
    ended: VecDeque<Ended>,
}

/// A fetch, as others see it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) began: Instant,
    in_place: bool,
    /// Whoever has it locked locks nothing else.
    pub(super) report: Mutex<FetchReport>,
    /// Cancelled when it is over.
    pub(super) over: CancellationToken,
}

/// A fetch that is over.
#[derive(Debug)]
struct Ended {
    report: FetchReport,
    in_place: bool,
}

/// Where a fetch goes, or went.
pub(super) struct Destination {
    pub(super) to: PathBuf,
    /// Whether it makes a file that has its name from the beginning; not so of one that repairs a file.
    pub(super) in_place: bool,
    /// Whether it is over.
    pub(super) ended: bool,
}

/// What is here of a fetch, for others.
pub(super) struct Served {
    pub(super) description: Description,
    pub(super) download: Arc<Mutex<Download>>,
    /// The way to the fetch, for those who want to be told of pieces.
    pub(super) subscribe: mpsc::Sender<Subscribe>,
    pub(super) files: Arc<dyn Opens>,
}

/// Opens what came so far of the content of a key, if it is part of this fetch.
pub(super) trait Opens: Send + Sync {
    fn open(&self, key: &Key) -> io::Result<Option<Arc<ContentFile>>>;

    /// The piece hashes of the content of a key, if it is part of this fetch.
    fn manifest(&self, key: &Key) -> io::Result<Option<Arc<Manifest>>> {
        Ok(self.open(key)?.map(|file| file.manifest().clone()))
    }

    /// How the pieces are numbered, of a collection.
    fn layout(&self) -> Option<Arc<Layout>> {
        None
    }
}

/// Somebody wants to be told of pieces.
#[derive(Debug)]
pub(super) struct Subscribe {
    /// What it has been told; whatever is added here it is told next.
    pub(super) told: watch::Sender<PieceSet>,
    /// Where it listens, if it is fetching too.
    pub(super) addr: Option<SocketAddr>,
    /// Who it says it is.
    pub(super) id: Option<PeerId>,
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served").field("description", &self.description).finish_non_exhaustive()
    }
}

impl Active {
    /// A fetch begins, unless there is one of that key: then that one.
    /// `in_place` as in [`Destination`].
    pub(super) fn begin(&mut self, key: &Key, to: &Path, in_place: bool) -> Result<Arc<Job>, Arc<Job>> {
        if let Some(job) = self.running.get(key) {
            return Err(job.clone());
        }
        let report = FetchReport {
            key: key.clone(),
            to: to.to_owned(),
            here: 0,
            size: None,
            seconds: 0.0,
            rate: 0,
            ended: false,
            state: FetchState::Searching,
            copied_from: None,
            sources: Vec::new(),
            asked: Vec::new(),
            because: Vec::new(),
        };
        let over = CancellationToken::new();
        let job = Arc::new(Job { began: Instant::now(), in_place, report: Mutex::new(report), over });
        self.running.insert(key.clone(), job.clone());
        Ok(job)
    }

    /// A fetch is over.
    pub(super) fn end(&mut self, key: &Key) {
        if let Some(job) = self.running.remove(key) {
            job.over.cancel();
            let mut report = lock(&job.report).clone();
            report.seconds = job.began.elapsed().as_secs_f64();
            report.ended = true;
            self.ended.push_back(Ended { report, in_place: job.in_place });
            if self.ended.len() > REMEMBERED {
                self.ended.pop_front();
            }
        }
    }

    pub(super) fn serve(&mut self, keys: &[Key], files: bool, served: &Arc<Served>) {
        for key in keys {
            self.served.entry((key.clone(), files)).or_default().push(served.clone());
        }
    }

    pub(super) fn serve_no_longer(&mut self, keys: &[Key], files: bool, served: &Arc<Served>) {
        for key in keys {
            if let Entry::Occupied(mut all) = self.served.entry((key.clone(), files)) {
                all.get_mut().retain(|one| !Arc::ptr_eq(one, served));
                if all.get().is_empty() {
                    all.remove();
                }
            }
        }
    }

    pub(super) fn served(&self, key: &Key, files: bool) -> Option<Arc<Served>> {
        self.served.get(&(key.clone(), files))?.first().cloned()
    }

    /// Whether a fetch has something of this key, itself or its files.
    pub(super) fn serves(&self, key: &Key) -> bool {
        self.served(key, false).is_some() || self.served(key, true).is_some()
    }

    /// Fetches that may have the content of this key, or it as one of their files.
    pub(super) fn may_open(&self, key: &Key) -> Vec<Arc<Served>> {
        let itself = self.served.get(&(key.clone(), false)).into_iter();
        let folders = self.served.iter().filter(|((_, files), _)| *files).map(|(_, served)| served);
        itself.chain(folders).flatten().cloned().collect()
    }

    pub(super) fn reports(&self, key: Option<&Key>) -> Vec<FetchReport> {
        let running = self.running.values().map(|job| {
            let mut report = lock(&job.report).clone();
            report.seconds = job.began.elapsed().as_secs_f64();
            report
        });
        let all = self.ended.iter().map(|ended| ended.report.clone()).chain(running);
        all.filter(|report| key.is_none_or(|key| report.key == *key)).collect()
    }

    /// Where the fetches of a key go that are under way, and went that are remembered.
    pub(super) fn destinations(&self, key: &Key) -> Vec<Destination> {
        let ended = self.ended.iter().filter(|ended| ended.report.key == *key);
        let ended = ended.map(|Ended { report, in_place }| Destination {
            to: report.to.clone(),
            in_place: *in_place,
            ended: true,
        });
        let running = self.running.get(key).map(|job| Destination {
            to: lock(&job.report).to.clone(),
            in_place: job.in_place,
            ended: false,
        });
        ended.chain(running).collect()
    }
}
