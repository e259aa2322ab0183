//! What others are served: the content of the catalogue, and what is being fetched.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use askaround_core::key::Key;
use askaround_core::message::{Description, Interest};
use askaround_core::pieces::{Geometry, Manifest, Root};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::watch;

use super::Delivery;
use super::active::{Opens, Subscribe};
use crate::content::{CatalogueError, Condition, ContentFile, Entry, Kept, Layout};
use crate::lock;
use crate::transfer::shelf::{Demand, Holding, Pieces, Shelf};

impl Shelf for Delivery {
    fn open(&self, key: &Key) -> io::Result<Option<Arc<ContentFile>>> {
        match self.of_fetches(key, |files| files.open(key))? {
            None => self.kept(key),
            fetched => Ok(fetched),
        }
    }

    fn manifest(&self, key: &Key) -> io::Result<Option<Arc<Manifest>>> {
        match self.of_fetches(key, |files| files.manifest(key))? {
            None => Ok(self.kept(key)?.map(|file| file.manifest().clone())),
            fetched => Ok(fetched),
        }
    }

    fn describe(&self, key: &Key) -> io::Result<Option<Description>> {
        let active = lock(&self.0.active);
        // Whoever fetches the files of a collection has its list.
        if let Some(fetch) = active.served(key, false).or_else(|| active.served(key, true)) {
            return Ok(Some(fetch.description.clone()));
        }
        drop(active);
        let Some(entry) = self.entry(key)? else { return Ok(None) };
        Ok(Some(Description {
            root: entry.root,
            size: entry.size,
            md5: entry.md5,
            collection: entry.kept == Kept::List,
            sparse: entry.sparse,
        }))
    }

    fn interest(&self, from: IpAddr, interest: &Interest) -> io::Result<Option<Holding>> {
        // Of itself, so that it is not locked any more when the fetch's own lock is taken.
        let served = |files| lock(&self.0.active).served(&interest.key, files);
        if let Some(fetch) = served(interest.files) {
            let (told, live) = watch::channel(lock(&fetch.download).have().clone());
            let addr = interest.port.map(|port| SocketAddr::new(from, port));
            let subscribe = Subscribe { told, addr, id: interest.id };
            match fetch.subscribe.try_send(subscribe) {
                // Of one that is over, and about to be in the catalogue, there is nothing more to tell.
                Ok(()) | Err(TrySendError::Closed(_)) => {}
                // One that is so busy tells nobody; they ask again.
                Err(full @ TrySendError::Full(_)) => return Err(io::Error::other(full)),
            }
            let layout = fetch.files.layout().filter(|_| interest.files);
            return Ok(Some(Holding { root: fetch.description.root, pieces: Pieces::Live(live), layout }));
        }
        if !interest.files
            && let Some(fetch) = served(true)
        {
            let Description { root, size, .. } = fetch.description;
            let count = Geometry::new(size).map_err(io::Error::other)?.count();
            return Ok(Some(Holding { root, pieces: Pieces::All(count), layout: None }));
        }
        let is_meant = |entry: &Entry| !interest.files || entry.kept == Kept::List;
        let Some(entry) = self.entry(&interest.key)?.filter(is_meant) else { return Ok(None) };
        let (count, layout) = if interest.files {
            let layout = self.layout(&entry.root)?;
            (layout.count(), Some(layout))
        } else {
            (Geometry::new(entry.size).map_err(io::Error::other)?.count(), None)
        };
        Ok(Some(Holding { root: entry.root, pieces: Pieces::All(count), layout }))
    }

    fn demand(&self, key: &Key, files: bool, piece: u32, by: Option<SocketAddr>) -> Demand {
        let Some(fetch) = lock(&self.0.active).served(key, files) else { return Demand::default() };
        let download = lock(&fetch.download);
        Demand {
            copies: download.copies(piece),
            has: by.and_then(|addr| download.progress_of(addr)).unwrap_or(0),
        }
    }

    fn changed(&self, root: Root) {
        self.hold_only_if_good(&root.key());
    }
}

impl Delivery {
    /// What the first fetch gives that has something of a key.
    fn of_fetches<T>(
        &self,
        key: &Key,
        find: impl Fn(&dyn Opens) -> io::Result<Option<T>>,
    ) -> io::Result<Option<T>> {
        let fetches = lock(&self.0.active).may_open(key);
        fetches.iter().find_map(|fetch| find(&*fetch.files).transpose()).transpose()
    }

    /// Opens what the catalogue has of a key.
    fn kept(&self, key: &Key) -> io::Result<Option<Arc<ContentFile>>> {
        match self.0.catalogue.open(key) {
            Ok(file) => {
                if self.0.conditions.are_some_bad() {
                    // It may be one of them.
                    self.entry(key)?;
                }
                Ok(Some(file))
            }
            Err(CatalogueError::Unknown(_)) => Ok(None),
            Err(error) if error.is_not_as_it_was() => self.entry(key).map(|_| None),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Of what is good at no place the peer says no longer that it holds it. Blocks.
    pub(super) fn hold_only_if_good(&self, key: &Key) {
        if let Err(error) = self.entry(key) {
            tracing::debug!(%error, "what has changed cannot be looked up");
        }
    }

    /// What is here of a key, if it is good.
    fn entry(&self, key: &Key) -> io::Result<Option<Entry>> {
        let entry = self.0.catalogue.get(key).map_err(io::Error::other)?;
        let Some(entry) = entry else { return Ok(None) };
        let condition = self.0.catalogue.condition(&entry);
        self.looked_at(&entry, condition);
        Ok(Some(entry).filter(|_| condition == Condition::Good))
    }

    /// How the pieces of a collection's files are numbered.
    fn layout(&self, root: &Root) -> io::Result<Arc<Layout>> {
        self.0.layouts.get_or_make(root, || {
            let collection = self.0.catalogue.collection(root).map_err(io::Error::other)?;
            Layout::new(&collection).map_err(io::Error::other)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicBool;

    use askaround_core::download::{Download, DownloadConfig};
    use askaround_core::id::{Contact, PeerId};
    use askaround_core::pieces::PieceSet;
    use tokio::sync::mpsc;

    use super::*;
    use crate::content::{Catalogue, How};
    use crate::delivery::DeliveryOptions;
    use crate::delivery::active::Served;
    use crate::peer::PeerHandle;

    /// Of a fetch nothing can be opened.
    struct Nothing;

    impl Opens for Nothing {
        fn open(&self, _: &Key) -> io::Result<Option<Arc<ContentFile>>> {
            Ok(None)
        }
    }

    #[test]
    fn what_is_no_folder_has_no_files() {
        let me = Contact::new(PeerId::new(1).unwrap(), "127.0.0.1:7".parse().unwrap());
        let (peer, catalogue) = (PeerHandle::new().0, Catalogue::temporary().unwrap());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "it").unwrap();
        let entry = catalogue.add(file.path(), How::Reference, &|_| (), &AtomicBool::new(false)).unwrap();
        let (delivery, _) = Delivery::new(me, catalogue, peer, DeliveryOptions::default());
        let ask = |files| {
            let interest = Interest { key: entry.root.key(), files, id: None, port: None };
            delivery.interest([127, 0, 0, 1].into(), &interest).unwrap().is_some()
        };
        assert_eq!((ask(false), ask(true)), (true, false));
    }

    #[test]
    fn what_is_here_of_a_fetch_that_is_just_over_is_told() {
        let me = Contact::new(PeerId::new(1).unwrap(), "127.0.0.1:7".parse().unwrap());
        let (peer, catalogue) = (PeerHandle::new().0, Catalogue::temporary().unwrap());
        let (delivery, _) = Delivery::new(me, catalogue, peer, DeliveryOptions::default());
        let root = Root::new([1; 32]);
        let download = Download::new(DownloadConfig::default(), vec![9], PieceSet::full(1));
        let (subscribe, subscriptions) = mpsc::channel(1);
        let served = Arc::new(Served {
            description: Description { root, size: 9, md5: None, collection: false, sparse: false },
            download: Arc::new(Mutex::new(download)),
            subscribe,
            files: Arc::new(Nothing),
        });
        lock(&delivery.0.active).serve(&[root.key()], false, &served);
        let interest = Interest { key: root.key(), files: false, id: None, port: None };
        let ask = || delivery.interest([127, 0, 0, 1].into(), &interest);
        ask().unwrap().unwrap();
        assert!(ask().is_err(), "it is too busy");
        drop(subscriptions);
        let Some(Holding { pieces: Pieces::Live(live), .. }) = ask().unwrap() else {
            panic!("it is fetched")
        };
        assert!(live.borrow().is_full());
        assert!(live.has_changed().is_err(), "nothing more is to come");
    }
}
