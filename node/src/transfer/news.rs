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
    here: Here,
    layout: Option<Arc<Layout>>,
}

/// What is here of a content.
#[derive(Debug)]
enum Here {
    /// All of it.
    Whole,
    /// What has come, while it is fetched.
    Live(watch::Receiver<PieceSet>),
    /// It is fetched no longer, and did not become whole. What else is told of it here would be of
    /// another fetch.
    Ended,
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
    /// Whether an interest takes the place of this.
    fn is_about(&self, about: &Interest) -> bool {
        self.about.key == about.key && self.about.files == about.files
    }

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
        let (pieces, here) = match holding.pieces {
            Pieces::All(count) => (PieceSet::full(count), Here::Whole),
            Pieces::Live(mut live) => {
                let pieces = live.borrow_and_update().clone();
                (pieces, Here::Live(live))
            }
        };
        let mut all = lock(&self.told);
        all.retain(|told| !told.is_about(&about));
        if all.len() == MAX_INTERESTS {
            return None;
        }
        let Holding { root, layout, .. } = holding;
        all.push(Told { about, root, pieces: pieces.clone(), here, layout });
        Some(pieces)
    }

    /// The port on which whoever fetches this content here may ask the other end in turn: the one that it
    /// said first, and that once. However much it says, it is not dialled for each of that.
    pub(super) fn port_to_ask(&self, about: &Interest) -> Option<u16> {
        let told = lock(&self.told);
        let is_new = !told.iter().any(|told| told.is_about(about));
        let first = told.iter().find_map(|told| told.about.port);
        about.port.filter(|port| is_new && first.is_none_or(|first| first == *port))
    }

    /// Whether the other end is interested in this content.
    pub(super) fn includes(&self, root: Root) -> bool {
        lock(&self.told).iter().any(|told| told.root == root && !told.about.files)
    }

    /// The folder that the other end is interested in and that has a file of this hash.
    pub(super) fn folder_with(&self, root: &Root) -> Option<OfFolder> {
        lock(&self.told).iter().find_map(|told| {
            let layout = told.layout.clone().filter(|layout| layout.geometry(root).is_some())?;
            let complete = matches!(told.here, Here::Whole);
            let (key, served) = (told.about.key.clone(), told.served());
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
            let Here::Live(live) = &mut told.here else { continue };
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
                told.here = if told.pieces.is_full() { Here::Whole } else { Here::Ended };
            }
        }
    }

    /// Whether there is something that the other end waits to be told of, and will not be: it is to ask
    /// anew.
    pub(super) fn have_ended(&self) -> bool {
        lock(&self.told).iter().any(|told| matches!(told.here, Here::Ended))
    }

    /// Waits until there is something to tell.
    pub(super) async fn wait(&self) {
        let next_at = *lock(&self.next_at);
        sleep_until(next_at).await;
        let live = |told: &Told| match &told.here {
            Here::Live(live) => Some(live.clone()),
            Here::Whole | Here::Ended => None,
        };
        let live: Vec<_> = lock(&self.told).iter().filter_map(live).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn about(key: &str, port: u16) -> Interest {
        Interest { key: Key::new(key).unwrap(), files: false, id: None, port: Some(port) }
    }

    fn holding(pieces: Pieces) -> Holding {
        Holding { root: Root::new([7; 32]), pieces, layout: None }
    }

    #[tokio::test(start_paused = true)]
    async fn what_ends_before_it_is_whole_is_to_be_asked_about_anew() {
        for whole in [true, false] {
            let (interests, sender) = (Interests::default(), watch::Sender::new(PieceSet::empty(2)));
            interests.add(about("k", 1), holding(Pieces::Live(sender.subscribe()))).unwrap();
            let mut out = Vec::new();
            sender.send_modify(|pieces| _ = pieces.insert(0));
            interests.tell(&mut out);
            assert!(!out.is_empty() && !interests.have_ended());
            if whole {
                sender.send_modify(|pieces| _ = pieces.insert(1));
            }
            drop(sender);
            interests.wait().await;
            interests.tell(&mut out);
            assert_eq!(interests.have_ended(), !whole);
        }
    }

    #[test]
    fn a_connection_has_its_port_asked_once_about_each_content() {
        let interests = Interests::default();
        let asked: Vec<_> = [("k", 1), ("k", 1), ("k", 2), ("l", 3), ("m", 2)]
            .into_iter()
            .map(|(key, port)| {
                let asked = interests.port_to_ask(&about(key, port));
                interests.add(about(key, port), holding(Pieces::All(2))).unwrap();
                asked
            })
            .collect();
        assert_eq!(asked, [Some(1), None, None, None, Some(2)]);
    }
}
