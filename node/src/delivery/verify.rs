//! Verifying what is here: reading it again, and fetching what is wrong or missing.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use askaround_core::key::Key;
use askaround_core::pieces::{Geometry, PieceSet};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::keep::{KeepError, KeepEvent, blocking, reading, text_of};
use super::types::GetEvent;
use super::{Delivery, GetError, fetch};
use crate::content::{
    Catalogue, CatalogueError, Collection, Condition, Entry, Fault, HashError, Kept, Stamp, ToRepair,
};

/// Events of a repair that wait to be told.
const EVENTS: usize = 64;

/// A content that was verified at one of its places.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    /// Its BLAKE3 hash.
    pub blake3: Key,
    /// Where it is.
    pub path: String,
    /// Its bytes.
    pub size: u64,
    /// How it is.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// How a content is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Some of it is not.
    Bad {
        /// Pieces that are not as they should be.
        pieces: u32,
        /// Of so many.
        of: u32,
        /// Whether there is something behind its end.
        too_long: bool,
    },
    /// It cannot be read.
    Unreadable {
        /// Why, in words.
        why: String,
    },
    /// Its file is gone, and was forgotten: it is good in another.
    Forgotten {
        /// Which.
        also: String,
    },
    /// Some of it was not as it should be, and was fetched.
    Repaired,
    /// Some of it is not, and could not be fetched.
    NotRepaired {
        /// Why, in words.
        why: String,
    },
}

/// What came of verifying.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifySummary {
    /// Files that are as they should be; the list of a folder is none.
    pub good: u64,
    /// How many of them were not, and were repaired.
    pub repaired: u64,
    /// Files that are not, or cannot be read.
    pub bad: u64,
    /// Files that are gone and were forgotten, because their content is good in another.
    pub forgotten: u64,
    /// Bytes of the good ones.
    pub bytes: u64,
}

impl Delivery {
    /// Reads contents again, all if `keys` is empty, and says which are not as they should be: each at
    /// all its places, and of a folder the files in it. A place whose file is gone is forgotten where the
    /// content has a good one. With `repair`, what is wrong or missing is
    /// copied from other places or fetched; but what its user has changed since only if it was named.
    ///
    /// # Errors
    /// If a key names nothing that is here, or the catalogue cannot be read. A file that cannot
    /// be read is told as such.
    pub async fn verify(
        &self,
        keys: Vec<Key>,
        repair: bool,
        events: mpsc::Sender<KeepEvent>,
        stop: CancellationToken,
    ) -> Result<VerifySummary, KeepError> {
        let (catalogue, named) = (self.catalogue().clone(), !keys.is_empty());
        let places = tokio::task::spawn_blocking(move || to_verify(&catalogue, &keys)).await??;
        let size = places.iter().map(|entry| entry.size).sum();
        let mut summary = VerifySummary::default();
        let mut before = 0;
        for entry in places {
            let (catalogue, tell, one) = (self.catalogue().clone(), events.clone(), entry.clone());
            let delivery = self.clone();
            let work = move |cancel: &AtomicBool| {
                let pace = reading(&tell, text_of(&one.path));
                let progress = |done| pace.tell(before + done, size);
                let (mut verdict, mut found) = verify_one(&catalogue, &one, &progress, cancel)?;
                if verdict != Verdict::Good
                    && let Some(other) = catalogue.forget_if_gone(&one)?
                {
                    (verdict, found) = (Verdict::Forgotten { also: text_of(&other.path) }, None);
                }
                if verdict != Verdict::Good {
                    delivery.hold_only_if_good(&one.root.key());
                }
                let hindered = match repair && found.is_some() {
                    true => led_elsewhere(&one)
                        .map_or_else(|| edited(&catalogue, &one, named), |why| Ok(Some(why)))?,
                    false => None,
                };
                Ok::<_, KeepError>((verdict, found, hindered))
            };
            let (mut verdict, found, hindered) = blocking(&stop, work).await??;
            if let Some(why) = hindered {
                verdict = Verdict::NotRepaired { why };
            } else if let (Some(found), true) = (found, repair) {
                verdict = self.repair(&entry, found, &events, &stop).await?;
            }
            before += entry.size;
            if matches!(verdict, Verdict::Forgotten { .. }) {
                summary.forgotten += 1;
            } else if matches!(verdict, Verdict::Good | Verdict::Repaired) {
                summary.good += u64::from(entry.kept != Kept::List);
                summary.repaired += u64::from(verdict == Verdict::Repaired);
                summary.bytes += if entry.kept == Kept::List { 0 } else { entry.size };
                // While it was changed it was not held.
                self.hold(entry.keys().collect()).await?;
            } else {
                summary.bad += 1;
            }
            let (blake3, path) = (entry.root.key(), text_of(&entry.path));
            let checked = Checked { blake3, path, size: entry.size, verdict };
            // Whoever asked may have gone.
            let _ = events.send(KeepEvent::Checked(checked)).await;
        }
        Ok(summary)
    }

    /// Has the pieces that are not right copied from other places, or fetched, into theirs.
    async fn repair(
        &self,
        entry: &Entry,
        (good, stamp): Readable,
        events: &mpsc::Sender<KeepEvent>,
        stop: &CancellationToken,
    ) -> Result<Verdict, KeepError> {
        let (sender, mut receiver) = mpsc::channel(EVENTS);
        let pass_on = async {
            while let Some(event) = receiver.recv().await {
                if let GetEvent::Progress { here, size, rate, sources, .. } = event {
                    let path = text_of(&entry.path);
                    // What finds no room is passed over.
                    let _ = events.try_send(KeepEvent::Repairing { path, done: here, size, rate, sources });
                }
            }
        };
        let _repairing = self.catalogue().repairing(entry);
        let (left, was_left) = oneshot::channel();
        let found = ToRepair { good, stamp, left };
        let repaired = fetch::repair(self.clone(), entry.clone(), found, sender, stop.clone());
        let error = match tokio::join!(repaired, pass_on).0 {
            Ok(_) => return Ok(Verdict::Repaired),
            Err(error) => error,
        };
        // Whoever still writes a piece of it lets go of it first.
        let changed = stamp.zip(was_left.await.ok());
        let (catalogue, one) = (self.catalogue().clone(), entry.clone());
        let look = move || {
            if let Some((began, left)) = changed {
                catalogue.note_unrepaired(&one, began, left)?;
            }
            let now = catalogue.at(&one.root, &one.path)?;
            Ok::<_, KeepError>(now.is_some_and(|now| catalogue.condition(&now) == Condition::Good))
        };
        let is_good = tokio::task::spawn_blocking(look).await??;
        match error {
            GetError::Stopped => Err(KeepError::Stopped),
            // Another has repaired it while this one waited for that.
            _ if is_good => Ok(Verdict::Good),
            error => Ok(Verdict::NotRepaired { why: error.to_string() }),
        }
    }
}

/// The pieces of a file that are right, and how it looked when they were read, if it was there.
type Readable = (PieceSet, Option<Stamp>);

/// The places that are meant, each once; of a folder also its files.
fn to_verify(catalogue: &Catalogue, keys: &[Key]) -> Result<Vec<Entry>, KeepError> {
    if keys.is_empty() {
        return Ok(catalogue.list()?);
    }
    let mut entries = Vec::new();
    for key in keys {
        let places = catalogue.places(key)?;
        let list = places.iter().find(|place| place.kept == Kept::List);
        let collection = list.map(|list| catalogue.collection(&list.root)).transpose()?;
        if places.is_empty() {
            return Err(CatalogueError::Unknown(key.clone()).into());
        }
        for place in places {
            let files = collection.iter().filter(|_| place.kept == Kept::List).flat_map(Collection::files);
            let files = files.map(|file| catalogue.at(&file.root, &place.path.join(file.path.as_str())));
            let files = files.collect::<Result<Vec<_>, _>>()?;
            entries.push(place);
            entries.extend(files.into_iter().flatten());
        }
    }
    let mut seen = BTreeSet::new();
    entries.retain(|entry| seen.insert((entry.root, entry.path.clone())));
    Ok(entries)
}

/// Why a file is not to be written: its path leads through a symbolic link, which may have been made
/// since, to anywhere.
fn led_elsewhere(entry: &Entry) -> Option<String> {
    // Folders that are not there are made.
    let above = entry.path.ancestors().skip(1).find(|above| above.symlink_metadata().is_ok())?;
    let is_itself = std::fs::canonicalize(above).is_ok_and(|real| real == above);
    let why =
        || format!("{} is a symbolic link or below one: nothing is written through it", above.display());
    (!is_itself).then(why)
}

/// Why a file is not to be written over: its user seems to have changed it.
fn edited(catalogue: &Catalogue, entry: &Entry, named: bool) -> Result<Option<String>, KeepError> {
    if entry.kept == Kept::Copy || catalogue.condition(entry) != Condition::Changed {
        return Ok(None);
    }
    let is_other = |other: &Entry| {
        other.path == entry.path && other.root != entry.root && catalogue.condition(other) == Condition::Good
    };
    if let Some(other) = catalogue.entries().find(|other| other.as_ref().map_or(true, is_other)) {
        let root = other?.root;
        return Ok(Some(format!("its file is other content now, {root}: get it to another place")));
    }
    let why = "its file was changed since: to have it written over, verify and repair it by its key";
    Ok((!named).then(|| why.to_owned()))
}

/// How a content is; and if fetching some of it would help, what of it is good.
fn verify_one(
    catalogue: &Catalogue,
    entry: &Entry,
    progress: &dyn Fn(u64),
    cancel: &AtomicBool,
) -> Result<(Verdict, Option<Readable>), KeepError> {
    let unreadable = |why: String| Verdict::Unreadable { why };
    match catalogue.verify(entry, progress, cancel) {
        Ok(verified) if verified.is_good() => Ok((Verdict::Good, None)),
        Ok(verified) => {
            let (pieces, of) = (verified.bad.len(), verified.bad.count());
            let verdict = Verdict::Bad { pieces, of, too_long: verified.too_long };
            let found = (verified.good_pieces(), Some(verified.stamp));
            Ok((verdict, Some(found).filter(|_| entry.kept != Kept::List)))
        }
        Err(error) if error.is_cancelled() => Err(KeepError::Stopped),
        Err(CatalogueError::State(error)) => Err(error.into()),
        Err(CatalogueError::Disk(error)) => {
            let none = Geometry::new(entry.size).map(|geometry| PieceSet::empty(geometry.count())).ok();
            let missing = matches!(error.fault, Fault::Missing);
            Ok((unreadable(error.fault.to_string()), none.filter(|_| missing).map(|none| (none, None))))
        }
        // It is said already that it cannot be read.
        Err(CatalogueError::Hash { error: HashError::Disk(error), .. }) => {
            Ok((unreadable(error.to_string()), None))
        }
        Err(CatalogueError::Hash { error, .. }) => Ok((unreadable(error.to_string()), None)),
        Err(error) => Ok((unreadable(error.to_string()), None)),
    }
}
