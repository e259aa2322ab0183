//! Work on what is here that nobody asked for: seeing to it that it is on the disk, reading what may
//! not have been when the machine went down, and the md5 of what was fetched under another key.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Delivery;
use super::keep::{KeepError, blocking};
use crate::content::{Condition, Entries, Entry, Kept};

/// How often. By then the system has written most of what is new by itself.
const EVERY: Duration = Duration::from_secs(30);

impl Delivery {
    /// Sees to it, until `stop` is cancelled, that a power loss costs nothing of what is here. What
    /// was not surely on the disk when the machine went down is verified, and served again if it is
    /// good. What was fetched by its BLAKE3 hash is held under its md5 too. For a peer whose
    /// catalogue is on a disk.
    pub async fn settle(&self, stop: CancellationToken) {
        let mut known = None;
        self.0.conditions.begin_to_settle();
        match self.hold_what_is_here(&stop).await {
            Ok(()) => {}
            Err(KeepError::Stopped) => return,
            Err(error) => tracing::warn!(%error, "not all that is here is known to be held"),
        }
        loop {
            let now = self.catalogue().changes();
            if self.0.conditions.take_unchecked() || known != Some(now) {
                match self.settle_once(&stop).await {
                    Ok(()) => known = Some(now),
                    Err(KeepError::Stopped) => return,
                    Err(error) => tracing::warn!(%error, "what is here is not known to be on the disk"),
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// The same, once.
    ///
    /// # Errors
    /// If it is to stop, or the catalogue cannot be read or written.
    pub async fn settle_once(&self, stop: &CancellationToken) -> Result<(), KeepError> {
        let mut entries = self.catalogue().entries();
        loop {
            let (catalogue, delivery) = (self.catalogue().clone(), self.clone());
            let is_unchecked = {
                let catalogue = catalogue.clone();
                move |entry: &Entry| catalogue.condition(entry) == Condition::Unchecked
            };
            let verify = move |entry: &Entry, cancel: &AtomicBool| {
                let verified = catalogue.verify(entry, &|_| (), cancel);
                delivery.hold_only_if_good(&entry.root.key());
                verified.map(|verified| catalogue.condition(&verified.entry))
            };
            let Some((entry, verified, rest)) = with_next(entries, is_unchecked, verify, stop).await? else {
                break;
            };
            entries = rest;
            match verified {
                Ok(Condition::Good) => self.hold(entry.keys().collect()).await?,
                Ok(Condition::Damaged) => {
                    let path = entry.path.display();
                    tracing::warn!(%path, "was damaged when the machine went down: verify and repair it");
                }
                // That its user has changed it is told.
                Ok(_) => {}
                Err(error) if error.is_cancelled() => return Err(KeepError::Stopped),
                Err(error) => tracing::warn!(%error, "cannot be verified"),
            }
        }
        let catalogue = self.catalogue().clone();
        // Also what was verified just now.
        blocking(stop, move |cancel: &AtomicBool| catalogue.sync(cancel)).await??;
        self.learn_md5s(stop).await
    }

    async fn learn_md5s(&self, stop: &CancellationToken) -> Result<(), KeepError> {
        let mut entries = self.catalogue().entries();
        loop {
            let catalogue = self.catalogue().clone();
            let lacks = |entry: &Entry| entry.md5.is_none() && entry.kept != Kept::List;
            let learn = move |entry: &Entry, cancel: &AtomicBool| catalogue.learn_md5(entry, cancel);
            let Some((_, learnt, rest)) = with_next(entries, lacks, learn, stop).await? else {
                return Ok(());
            };
            entries = rest;
            match learnt {
                Ok(Some(md5)) => self.hold(vec![md5.key()]).await?,
                Ok(None) => {}
                Err(error) if error.is_cancelled() => return Err(KeepError::Stopped),
                Err(error) => tracing::debug!(%error, "its md5 is not known yet"),
            }
        }
    }
}

/// Does `work` with the next place of which `is_meant` is true. That place, what came of it, and those
/// behind it; none if there is none.
async fn with_next<T: Send + 'static>(
    mut entries: Entries,
    is_meant: impl Fn(&Entry) -> bool + Send + 'static,
    work: impl FnOnce(&Entry, &AtomicBool) -> T + Send + 'static,
    stop: &CancellationToken,
) -> Result<Option<(Entry, T, Entries)>, KeepError> {
    let find = move |cancel: &AtomicBool| {
        let next = entries.find(|entry| entry.as_ref().map_or(true, &is_meant)).transpose()?;
        Ok::<_, KeepError>(next.map(|entry| {
            let done = work(&entry, cancel);
            (entry, done, entries)
        }))
    };
    blocking(stop, find).await?
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;
    use std::sync::{Arc, Mutex};

    use askaround_core::id::{Contact, PeerId};
    use askaround_core::key::Key;
    use askaround_core::script::Action;
    use tokio::sync::mpsc;

    use super::super::DeliveryOptions;
    use super::super::keep::AddRequest;
    use super::*;
    use crate::content::file::Stamp;
    use crate::content::{Addition, Catalogue, hash_file};
    use crate::lock;
    use crate::peer::PeerHandle;

    /// What a machine holds.
    type Held = Arc<Mutex<BTreeSet<Key>>>;

    /// A peer's content, and what its machine holds.
    fn delivery() -> (Delivery, Held) {
        begun_again(Catalogue::temporary().unwrap())
    }

    /// A peer with this content whose machine holds nothing.
    fn begun_again(catalogue: Catalogue) -> (Delivery, Held) {
        let (peer, orders) = PeerHandle::new();
        let me = Contact::new(PeerId::new(1).unwrap(), "127.0.0.1:7".parse().unwrap());
        let delivery = Delivery::new(me, catalogue, peer, DeliveryOptions::default()).0;
        (delivery, orders.only_hold())
    }

    async fn add(delivery: &Delivery, path: &Path, byte: u8) {
        std::fs::write(path, vec![byte; 300_000]).unwrap();
        let request = AddRequest { paths: vec![path.to_owned()], copy: false };
        delivery.add(request, mpsc::channel(64).0, CancellationToken::new()).await.unwrap();
    }

    fn conditions(delivery: &Delivery) -> Vec<Condition> {
        delivery
            .catalogue()
            .list()
            .unwrap()
            .iter()
            .map(|entry| delivery.catalogue().condition(entry))
            .collect()
    }

    #[tokio::test]
    async fn what_is_here_is_served_after_a_restart_of_the_machine() {
        let ((delivery, _held), user) = (delivery(), tempfile::tempdir().unwrap());
        let stop = CancellationToken::new();
        add(&delivery, &user.path().join("a"), 1).await;
        delivery.settle_once(&stop).await.unwrap();
        let [b, c] = ["b", "c"].map(|name| user.path().join(name));
        add(&delivery, &b, 2).await;
        add(&delivery, &c, 3).await;
        let was = std::fs::metadata(&c).unwrap().modified().unwrap();
        delivery.catalogue().reboot();
        use Condition::{Damaged, Good, Unchecked};
        assert_eq!(conditions(&delivery), [Good, Unchecked, Unchecked]);
        // What had not reached the disk is zeros now.
        std::fs::write(&c, vec![0; 300_000]).unwrap();
        std::fs::File::open(&c).unwrap().set_modified(was).unwrap();
        delivery.settle_once(&stop).await.unwrap();
        assert_eq!(conditions(&delivery), [Good, Good, Damaged]);
        delivery.catalogue().reboot();
        assert_eq!(conditions(&delivery), [Good, Good, Damaged]);
    }

    /// Puts another file of the same length and time in its place, as far as its number tells.
    fn renumber(path: &Path, bytes: &[u8]) {
        let (was, new) = (std::fs::metadata(path).unwrap().modified().unwrap(), path.with_extension("new"));
        std::fs::write(&new, bytes).unwrap();
        std::fs::File::open(&new).unwrap().set_modified(was).unwrap();
        std::fs::rename(&new, path).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_another_number_is_verified_when_somebody_asks_for_it() {
        let ((delivery, _held), user) = (delivery(), tempfile::tempdir().unwrap());
        let [a, b] = ["a", "b"].map(|name| user.path().join(name));
        add(&delivery, &a, 1).await;
        add(&delivery, &b, 2).await;
        let told = || delivery.take_condition_changes().into_iter().map(|change| change.condition);
        let stop = CancellationToken::new();
        let settling = tokio::spawn({
            let (delivery, stop) = (delivery.clone(), stop.clone());
            async move { delivery.settle(stop).await }
        });
        // Time stands still while a thread is at work. Then there is nothing to do any more.
        tokio::time::sleep(EVERY * 5 / 2).await;
        renumber(&a, &[1; 300_000]);
        renumber(&b, &[3; 300_000]);
        use Condition::{Changed, Good, Unchecked};
        assert_eq!(conditions(&delivery), [Unchecked, Unchecked]);
        delivery.look_at_files().await.unwrap();
        assert_eq!(told().count(), 0);
        tokio::time::sleep(EVERY).await;
        assert_eq!(conditions(&delivery), [Good, Changed]);
        assert_eq!(told().collect::<Vec<_>>(), [Changed]);
        stop.cancel();
        settling.await.unwrap();
    }

    #[tokio::test]
    async fn what_has_another_number_is_told_where_nobody_verifies_it() {
        let ((delivery, _held), user) = (delivery(), tempfile::tempdir().unwrap());
        let path = user.path().join("a");
        add(&delivery, &path, 1).await;
        renumber(&path, &[1; 300_000]);
        let key = delivery.catalogue().list().unwrap()[0].root.key();
        delivery.hold_only_if_good(&key);
        assert_eq!(delivery.take_condition_changes().len(), 1);
    }

    #[tokio::test]
    async fn what_is_good_at_one_of_its_places_is_not_told_when_files_are_looked_at() {
        let ((delivery, _held), user) = (delivery(), tempfile::tempdir().unwrap());
        let paths: Vec<_> = (0..6).map(|number: u8| user.path().join(number.to_string())).collect();
        // Three contents, each at two places.
        for (byte, path) in (0..).zip(&paths) {
            add(&delivery, path, byte % 3).await;
        }
        let told = async || {
            delivery.look_at_files().await.unwrap();
            delivery.take_condition_changes().into_iter().map(|change| change.condition).collect::<Vec<_>>()
        };
        paths[..3].iter().for_each(|path| std::fs::remove_file(path).unwrap());
        assert_eq!(told().await, []);
        paths[3..5].iter().for_each(|path| std::fs::remove_file(path).unwrap());
        assert_eq!(told().await, [Condition::Missing; 2]);
        assert_eq!(told().await, [], "that is known");
        std::fs::remove_file(&paths[5]).unwrap();
        assert_eq!(told().await, [Condition::Missing]);
        let listed = delivery.list().await.unwrap();
        assert_eq!(listed.iter().map(|one| 1 + one.also.len()).collect::<Vec<_>>(), [2; 3]);
        assert_eq!(delivery.status().unwrap().contents, 3);
    }

    #[tokio::test]
    async fn what_came_by_one_key_is_held_under_the_other() {
        let ((delivery, held), user) = (delivery(), tempfile::tempdir().unwrap());
        let path = user.path().join("a");
        std::fs::write(&path, b"abc").unwrap();
        let file = std::fs::File::open(&path).unwrap();
        let hashed = hash_file(&file, &|_| (), &AtomicBool::new(false)).unwrap();
        let stamp = Stamp::of(&file).unwrap();
        let (manifest, kept) = (Arc::new(hashed.manifest), Kept::Fetched);
        let fetched = Addition { manifest, md5: None, path, kept, stamp, sparse: false, executable: false };
        delivery.catalogue().add_all(&[fetched]).unwrap();
        let by_md5 = || delivery.catalogue().get(&hashed.md5.key()).unwrap();
        assert_eq!(by_md5(), None);
        delivery.settle_once(&CancellationToken::new()).await.unwrap();
        assert_eq!(by_md5().unwrap().root, hashed.root);
        assert_eq!(*lock(&held), [hashed.md5.key()].into());
    }

    #[tokio::test]
    async fn a_peer_that_ended_before_it_held_what_was_added_holds_it_when_it_begins_again() {
        let ((delivery, held), user) = (delivery(), tempfile::tempdir().unwrap());
        let stop = CancellationToken::new();
        for (byte, name) in (0..).zip(["a", "b", "c"]) {
            add(&delivery, &user.path().join(name), byte).await;
        }
        let all = lock(&held).clone();
        assert_eq!(all.len(), 6, "by both hashes");
        std::fs::remove_file(user.path().join("c")).unwrap();
        let c = delivery.catalogue().list().unwrap().into_iter().find(|entry| entry.path.ends_with("c"));
        let of_c: Vec<_> = c.unwrap().keys().collect();
        let (again, held) = begun_again(delivery.catalogue().clone());
        again.hold_what_is_here(&stop).await.unwrap();
        assert_eq!(*lock(&held), all.iter().filter(|key| !of_c.contains(key)).cloned().collect());

        // It is back, and was looked at.
        add(&again, &user.path().join("c"), 2).await;
        lock(&held).clear();
        again.list().await.unwrap();
        assert_eq!(*lock(&held), all);
    }

    #[tokio::test]
    async fn a_peer_that_ended_before_it_purged_what_was_forgotten_purges_it_when_it_begins_again() {
        let ((delivery, held), user) = (delivery(), tempfile::tempdir().unwrap());
        let stop = CancellationToken::new();
        for (byte, name) in (0..).zip(["a", "b"]) {
            add(&delivery, &user.path().join(name), byte).await;
        }
        let before = lock(&held).clone();
        let entries = delivery.catalogue().list().unwrap();
        for entry in &entries {
            delivery.catalogue().remove(&entry.root.key()).unwrap();
        }
        // One was added again meanwhile.
        add(&delivery, &user.path().join("a"), 0).await;
        let (again, held) = begun_again(delivery.catalogue().clone());
        lock(&held).extend(before);
        again.hold_what_is_here(&stop).await.unwrap();
        assert_eq!(*lock(&held), entries[0].keys().collect());
        // What somebody has it hold by hand from then on stays.
        let other = entries[1].root.key();
        again.peer().command(Action::Hold(other.clone()), false).await.unwrap();
        again.hold_what_is_here(&stop).await.unwrap();
        assert!(lock(&held).contains(&other));
    }

    #[tokio::test]
    async fn what_is_gone_by_the_time_that_it_is_to_be_held_is_not() {
        let ((delivery, held), user) = (delivery(), tempfile::tempdir().unwrap());
        add(&delivery, &user.path().join("a"), 0).await;
        let keys: Vec<_> = lock(&held).iter().cloned().collect();
        assert!(delivery.purge(&keys[0]).await.unwrap().held);
        assert_eq!(*lock(&held), [].into());
        delivery.hold(keys).await.unwrap();
        assert_eq!(*lock(&held), [].into());
    }
}
