//! One fetch: its sources, the machine that chooses what is asked of whom, and the end.
//!
//! | module | what lives there |
//! | --- | --- |
//! | here | [`Fetch`], from the request to what was got |
//! | `in_turn` | one fetch of a key at a time |
//! | `already` | what is here before anything is fetched |
//! | `searches` | looking for holders |
//! | `identify` | what the key names, by what sources say |
//! | `proving` | whose turn it is to prove that with piece hashes |
//! | `rivals` | sources that say different things |
//! | `run` | the loop that fetches the pieces of a target |
//! | `one_file`, `files` | what becomes of a file, and of a folder |
//! | `progress` | what is told meanwhile |
//! | `work` | what is done on threads that may block |

mod already;
mod files;
mod identify;
mod in_turn;
mod one_file;
mod progress;
mod proving;
mod rivals;
mod run;
mod searches;
#[cfg(test)]
mod testing;
mod work;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use askaround_core::id::Contact;
use askaround_core::key::Key;
use askaround_core::message::Description;
use askaround_core::pieces::{Manifest, Root};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::in_turn::{Running, begin_in_turn};
use self::proving::Proving;
use self::rivals::Doubts;
use self::searches::Searches;
use self::work::Work;
use super::active::Job;
use super::error::GetError;
use super::sources::{Event, Sources};
use super::target::Slot;
use super::types::{FetchState, GetEvent, GetRequest, Got};
use super::{Delivery, absolute};
use crate::content::{
    CollectionError, DiskError, Entry, Md5, Part, PartOptions, Place, ToRepair, ends_in_slash, real_path,
};
use crate::lock;

/// How often is told how far it is.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// Fetches content.
pub(super) async fn get(
    delivery: Delivery,
    request: GetRequest,
    events: mpsc::Sender<GetEvent>,
    stop: CancellationToken,
) -> Result<Got, GetError> {
    let request = GetRequest { to: absolute(&request.to), ..request };
    run(delivery, request, What::Wanted, events, stop).await
}

/// Fetches content from one peer and nobody else.
pub(super) async fn get_from(
    delivery: Delivery,
    key: Key,
    to: PathBuf,
    from: Contact,
    stop: CancellationToken,
) -> Result<Got, GetError> {
    let request = GetRequest { key, to: absolute(&to), from: Vec::new(), in_place: false };
    // Nobody watches.
    let events = mpsc::channel(1).0;
    run(delivery, request, What::From(from), events, stop).await
}

/// Fetches the pieces of a content that were not found right into their places.
pub(super) async fn repair(
    delivery: Delivery,
    entry: Entry,
    found: ToRepair,
    events: mpsc::Sender<GetEvent>,
    stop: CancellationToken,
) -> Result<Got, GetError> {
    let (key, to) = (entry.root.key(), entry.path.clone());
    let request = GetRequest { key, to, from: Vec::new(), in_place: true };
    run(delivery, request, What::Missing(Box::new(entry), found), events, stop).await
}

/// What is fetched, and from whom.
enum What {
    /// All of it, from everybody who has it.
    Wanted,
    /// All of it, from this peer alone.
    From(Contact),
    /// The pieces of what is here that were not found right.
    Missing(Box<Entry>, ToRepair),
}

/// The same in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Wanted,
    /// Nobody is searched for, and nobody else becomes a source.
    FromOne,
    /// What it is, is known, and most of it is here.
    Repair,
}

impl What {
    fn kind(&self) -> Kind {
        match self {
            Self::Wanted => Kind::Wanted,
            Self::From(_) => Kind::FromOne,
            Self::Missing(..) => Kind::Repair,
        }
    }
}

async fn run(
    delivery: Delivery,
    request: GetRequest,
    what: What,
    events: mpsc::Sender<GetEvent>,
    stop: CancellationToken,
) -> Result<Got, GetError> {
    let makes = request.in_place && !matches!(what, What::Missing(..));
    let job = begin_in_turn(&delivery, &request, makes, &events, &stop).await?;
    let _running = Running::new(&delivery, &request.key);
    let mut fetch = Fetch::new(delivery, &request, what.kind(), job.clone(), events, stop.clone());
    let complete = fetch.complete.clone();
    let stopped = async {
        stop.cancelled().await;
        if complete.load(Ordering::Acquire) {
            // What is left to do is short, and sees the token itself.
            std::future::pending::<()>().await;
        }
    };
    let result = tokio::select! {
        biased;
        () = stopped => Err(GetError::Stopped),
        result = fetch.get(&request, what) => result,
    };
    fetch.end().await;
    lock(&job.report).state = match &result {
        Ok(_) => FetchState::Done,
        Err(error) => FetchState::Failed(error.to_string()),
    };
    result
}

/// What is being fetched, once it is known.
#[derive(Clone)]
struct Identity {
    manifest: Arc<Manifest>,
    description: Description,
}

struct Fetch {
    kind: Kind,
    stop: CancellationToken,
    /// Whether every piece is here: then it is not stopped any more, but ends.
    complete: Arc<AtomicBool>,
    delivery: Delivery,
    key: Key,
    /// Whom its user named as sources.
    named: Vec<SocketAddr>,
    job: Arc<Job>,
    events: mpsc::Sender<GetEvent>,
    slot: Arc<Slot>,
    sources: Sources,
    incoming: mpsc::Receiver<Event>,
    searches: Searches,
    /// What is done on threads that may block.
    work: Work,
    /// What came is being made to survive the machine.
    syncing: JoinSet<Result<(), DiskError>>,
    identity: Option<Identity>,
    /// Roots that turned out not to have the md5.
    wrong: BTreeSet<Root>,
    doubts: Doubts,
    proving: Proving,
    /// Why there is no room for what was described.
    no_room: Option<GetError>,
    began: Instant,
    /// How long of that it stayed, complete, for others.
    stayed: Duration,
    here_before: u64,
}

impl Fetch {
    fn new(
        delivery: Delivery,
        request: &GetRequest,
        kind: Kind,
        job: Arc<Job>,
        events: mpsc::Sender<GetEvent>,
        stop: CancellationToken,
    ) -> Self {
        let slot = Arc::new(Slot::default());
        let (sources, incoming) = Sources::new(delivery.clone(), request.key.clone(), slot.clone());
        let searches = Searches::new(request.key.clone(), delivery.0.peer.clone());
        Self {
            kind,
            stop,
            complete: Arc::default(),
            delivery,
            key: request.key.clone(),
            named: request.from.clone(),
            job,
            events,
            slot,
            sources,
            incoming,
            searches,
            work: Work::default(),
            syncing: JoinSet::new(),
            identity: None,
            wrong: BTreeSet::new(),
            doubts: Doubts::default(),
            proving: Proving::default(),
            no_room: None,
            began: Instant::now(),
            stayed: Duration::ZERO,
            here_before: 0,
        }
    }

    async fn get(&mut self, request: &GetRequest, what: What) -> Result<Got, GetError> {
        match what {
            What::Wanted => {}
            What::From(peer) => self.only_from(peer),
            What::Missing(entry, found) => {
                let part = self.begin_repair(*entry, found).await?;
                return self.get_file(request, part).await;
            }
        }
        let request = &self.with_real_path(request).await?;
        self.open_named();
        if !request.in_place {
            self.take_back(&request.to).await?;
        }
        if let Some(entry) = self.here_already().await? {
            return self.copy_from_here(request, entry).await;
        }
        let options = PartOptions { in_place: request.in_place, ..PartOptions::default() };
        let mut part = match self.left_over(&request.to, options).await {
            Err(GetError::Exists { .. }) => return self.check_there(request).await,
            found => found?,
        };
        loop {
            if self.stop.is_cancelled() {
                return Err(GetError::Stopped);
            }
            match self.try_to_get(request, options, part.take()).await {
                Err(GetError::WrongMd5(key)) => {
                    self.note(format!("what came under {key} has another md5: looking for others"));
                    self.disown().await?;
                }
                Err(GetError::Doubted(key)) => {
                    self.note(format!("nobody gives what was described under {key}: trying what others say"));
                    self.doubt().await?;
                }
                Err(error) if self.may_be_smaller(&error) => {
                    self.note(format!("{error}; looking for others who describe it"));
                    self.has_no_room(error).await?;
                }
                Err(GetError::Collection(
                    error @ (CollectionError::NotAList | CollectionError::ListTooLong),
                )) => {
                    let Some(identity) = &mut self.identity else { return Err(error.into()) };
                    // Whoever said so was wrong: it is a file like others.
                    identity.description.collection = false;
                }
                other => return other,
            }
        }
    }

    /// The request, with the path by which what comes will be known; and with the slash at its end that
    /// only a folder may have.
    async fn with_real_path(&mut self, request: &GetRequest) -> Result<GetRequest, GetError> {
        let given = request.to.clone();
        let find = move |_: &AtomicBool| {
            let mut real = real_path(&given)?;
            if ends_in_slash(&given) {
                real.push("");
            }
            Ok::<_, DiskError>(real)
        };
        let to = self.work.run(find).await??;
        lock(&self.job.report).to = to.clone();
        Ok(GetRequest { to, ..request.clone() })
    }

    /// Fetches what is believed to be it.
    async fn try_to_get(
        &mut self,
        request: &GetRequest,
        options: PartOptions,
        part: Option<Part>,
    ) -> Result<Got, GetError> {
        let part = match part {
            Some(part) => part,
            None => {
                let identity = self.identify().await?;
                if identity.description.collection {
                    return self.get_collection(request, &identity).await;
                }
                self.begin_part(&request.to, options, &identity).await?
            }
        };
        self.get_file(request, part).await
    }

    /// The keys that what is being fetched is known by.
    fn names(&self, root: Root) -> Vec<Key> {
        let mut names = vec![root.key()];
        if self.key != names[0] {
            names.push(self.key.clone());
        }
        names
    }

    /// Notes in the peer's lists what was obtained, and from whom most of it came.
    async fn deliver(&self, keys: Vec<Key>) {
        if let Err(error) = self.delivery.hold_from(keys, self.sources.main()).await {
            // The peer holds what is here when it begins again.
            tracing::debug!(%error, "what was fetched is not held yet");
        }
    }

    /// How long it took until everything was here and checked.
    fn took(&self) -> Duration {
        self.began.elapsed().saturating_sub(self.stayed)
    }

    fn got(&self, request: &GetRequest, root: Root, size: u64, files: Option<u64>) -> Got {
        self.report();
        let report = lock(&self.job.report);
        Got {
            key: self.key.clone(),
            blake3: root.to_string(),
            size,
            path: request.to.clone(),
            files,
            here_before: self.here_before,
            seconds: self.took().as_secs_f64(),
            copied_from: report.copied_from.clone(),
            sources: report.sources.clone(),
        }
    }

    /// Ends every connection, and all that is still at work.
    async fn end(&mut self) {
        self.report();
        self.work.end().await;
        self.searches.running.shutdown().await;
        self.incoming.close();
        self.sources.shutdown().await;
        // It cannot be cut short, and has the file locked.
        while self.syncing.join_next().await.is_some() {}
        self.fetches_no_longer().await;
    }

    /// Others who ask are told so, unless it is still fetched to another place.
    async fn fetches_no_longer(&self) {
        let root = self.identity.as_ref().map(|identity| identity.description.root.key());
        for key in [Some(self.key.clone()), root].into_iter().flatten() {
            let is_served = lock(&self.delivery.0.active).serves(&key);
            if !is_served {
                self.delivery.0.peer.fetching(key, false).await;
            }
        }
    }
}

/// The place that the user's path names.
fn destination(to: &Path) -> Result<Place, GetError> {
    Ok(Place::new(to)?)
}
