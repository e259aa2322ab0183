//! [`Interests`]: what a connection was told of the pieces that are here, and what has come since.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use askaround_core::key::Key;
use askaround_core::message::{Interest, MAX_NEWS, Message, News};
use askaround_core::pieces::{PieceSet, Root};
use askaround_core::upload::Served;
use askaround_core::wire::encode;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::shelf::{Holding, Pieces};
use crate::content::Layout;
use crate::lock;

/// The most contents that a connection may be interested in at once.
const MAX_INTERESTS: usize = 4;
/// News are gathered for so long, so that a fast fetch does not send a line a piece.
const GATHER: Duration = Duration::from_millis(10);

/// The interests of a connection. What is told is worked out from what is there and what was told
/// before, so that however much comes, nothing piles up.
#[derive(Debug)]
pub(super) struct Interests {
    told: Mutex<Vec<Told>>,
    next_at: Mutex<Instant>,
}

#[derive(Debug)]
struct Told {
    about: Interest,
    root: Root,
    /// What the other end knows to be here.
    pieces: PieceSet,
    /// What is here; none if that changes no more.
    live: Option<watch::Receiver<PieceSet>>,
    layout: Option<Arc<Layout>>,
}

/// A folder that the other end is interested in.
#[derive(Debug, Clone)]
pub(super) struct OfFolder {
    /// What it asked about.
    pub(super) key: Key,
    /// Its files.
    pub(super) served: Served,
    /// Whether all of them are here.
    pub(super) complete: bool,
    pub(super) layout: Arc<Layout>,
}

impl Told {
    fn served(&self) -> Served {
        Served { root: self.root, files: self.about.files }
    }
}

impl Default for Interests {
    fn default() -> Self {
        Self { told: Mutex::default(), next_at: Mutex::new(Instant::now()) }
    }
}

impl Interests {
    /// Somebody is interested, and is told what is here now: all, or these pieces. `None` if it
    /// has too many interests already.
    pub(super) fn add(&self, about: Interest, holding: Holding) -> Option<PieceSet> {
        let (pieces, live) = match holding.pieces {
            Pieces::All(count) => (PieceSet::full(count), None),
            Pieces::Live(mut live) => {
                let pieces = live.borrow_and_update().clone();
                (pieces, Some(live))
            }
        };
        let mut all = lock(&self.told);
        all.retain(|told| !(told.about.key == about.key && told.about.files == about.files));
        if all.len() == MAX_INTERESTS {
            return None;
        }
        let Holding { root, layout, .. } = holding;
        all.push(Told { about, root, pieces: pieces.clone(), live, layout });
        Some(pieces)
    }

    /// Whether the other end is interested in this content.
    pub(super) fn includes(&self, root: Root) -> bool {
        lock(&self.told).iter().any(|told| told.root == root && !told.about.files)
    }

    /// The folder that the other end is interested in and that has a file of this hash.
    pub(super) fn folder_with(&self, root: &Root) -> Option<OfFolder> {
        lock(&self.told).iter().find_map(|told| {
            let layout = told.layout.clone().filter(|layout| layout.geometry(root).is_some())?;
            let (key, served, complete) = (told.about.key.clone(), told.served(), told.live.is_none());
            Some(OfFolder { key, served, complete, layout })
        })
    }

    /// The port that the other end says it listens on.
    pub(super) fn port(&self) -> Option<u16> {
        lock(&self.told).iter().find_map(|told| told.about.port)
    }

    /// The other end says what it has. `None` if that is about nothing that it is interested in.
    pub(super) fn heard(&self, news: News) -> Option<(Served, u32, Vec<u32>)> {
        let told = lock(&self.told);
        let told = told.iter().find(|t| t.about.key == news.key && t.about.files == news.files)?;
        Some((told.served(), told.pieces.count(), news.pieces))
    }

    /// Appends what is new.
    pub(super) fn tell(&self, out: &mut Vec<u8>) {
        let mut next_at = lock(&self.next_at);
        if *next_at > Instant::now() {
            return;
        }
        for told in lock(&self.told).iter_mut() {
            let Some(live) = &mut told.live else { continue };
            let ended = live.has_changed().is_err();
            let new: Vec<u32> = {
                let now = live.borrow_and_update();
                now.without(&told.pieces, &told.pieces).collect()
            };
            for pieces in new.chunks(MAX_NEWS) {
                let key = told.about.key.clone();
                let news = News { key, files: told.about.files, pieces: pieces.to_vec() };
                encode(&Message::News(news), out);
                *next_at = Instant::now() + GATHER;
            }
            for piece in new {
                told.pieces.insert(piece);
            }
            if ended {
                told.live = None;
            }
        }
    }

    /// Waits until there is something to tell.
    pub(super) async fn wait(&self) {
        let next_at = *lock(&self.next_at);
        sleep_until(next_at).await;
        let live: Vec<_> = lock(&self.told).iter().filter_map(|told| told.live.clone()).collect();
        let changes = live.into_iter().map(|mut live| async move {
            // Its end is something new too: the last that comes.
            let _ = live.changed().await;
        });
        let mut changes: Vec<_> = changes.map(Box::pin).collect();
        let any = std::future::poll_fn(|context| {
            if changes.iter_mut().any(|change| pin!(change).poll(context).is_ready()) {
                return Poll::Ready(());
            }
            Poll::Pending
        });
        any.await;
    }
}
