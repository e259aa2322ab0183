//! Sources that describe different things under one key. A key proves neither how long the content
//! is nor, if it is an md5, its BLAKE3 hash: that is known when the last piece has come, or the
//! whole. Until then nobody's word is better than another's.

use std::time::Duration;

use askaround_core::message::Description;
use askaround_core::pieces::{Md5, Root};
use tokio::time::Instant;

use super::super::error::GetError;
use super::run::Run;
use super::{Fetch, Identity, Kind};
use crate::content::{DiskError, Fault, PartError};

/// How long a description is believed of which nothing has proved right yet, while others describe
/// something else; longer each time.
const DOUBT: Duration = Duration::from_secs(5);
/// The longest.
const MOST_DOUBT: Duration = Duration::from_secs(80);
/// What has come is not thrown away because whoever describes it so was gone for a moment.
const DOUBT_OF_PIECES: Duration = Duration::from_secs(20);
/// So often everybody is believed, in at least so many times as long as is waited for a holder.
const MOST_ROUNDS: u32 = 2;
const MOST_WAITS: u32 = 4;

/// What somebody said that a key names. Whether it is the list of a folder is seen when it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Said {
    root: Root,
    size: u64,
}

impl From<&Description> for Said {
    fn from(description: &Description) -> Self {
        let Description { root, size, .. } = *description;
        Self { root, size }
    }
}

/// What was believed, and did not prove right.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    of: Vec<Said>,
    count: u32,
    /// Since when.
    since: Option<Instant>,
    /// How often everybody was.
    rounds: u32,
}

impl Doubts {
    /// Whether somebody else's word is to be believed first.
    pub(super) fn include(&self, description: &Description) -> bool {
        self.of.contains(&Said::from(description))
    }
}

impl Fetch {
    /// Whether a source means the same content.
    pub(super) fn fits(&self, description: &Description) -> bool {
        let known = self.identity.as_ref().map(|identity| Said::from(&identity.description));
        known.is_none_or(|known| known == Said::from(description))
    }

    /// What sources describe that is not known to be wrong.
    fn all_said(&self) -> impl Iterator<Item = Said> {
        let opened = self.sources.ids().into_iter();
        let opened = opened.filter_map(|id| Some(&self.sources.opened(id)?.description));
        opened.filter(|description| !self.wrong.contains(&description.root)).map(Said::from)
    }

    /// Whether it is time to believe somebody else: nothing comes, and nothing of this has proved right,
    /// or nobody describes it so any more. Pieces prove right of a lie too, all but the last.
    pub(super) fn is_doubtful(&self, run: &Run) -> bool {
        let patience = DOUBT.saturating_mul(1 << self.doubts.count.min(4)).min(MOST_DOUBT);
        let patience = match run.has_nothing() {
            true => patience,
            false if run.has_no_source() => patience.max(DOUBT_OF_PIECES),
            false => return false,
        };
        run.last_came.elapsed() > patience && self.has_rival(run)
    }

    /// Whether somebody describes something else, and may be right.
    pub(super) fn has_rival(&self, run: &Run) -> bool {
        // A list is proved by its hash, a file that is here by what the catalogue says of it.
        let Some(identity) = self.identity.as_ref().filter(|_| !run.files && self.kind != Kind::Repair)
        else {
            return false;
        };
        // Under a BLAKE3 key the last piece proves how long it is.
        if Root::from_key(&self.key).is_some() && run.has_last() {
            return false;
        }
        let known = Said::from(&identity.description);
        self.all_said().any(|said| said != known)
    }

    /// Whether those who describe something have all been believed since the round began: whoever else
    /// did was lost before its word was taken.
    pub(super) fn only_doubted_are_left(&self) -> bool {
        let mut said = self.all_said().peekable();
        self.identity.is_none() && said.peek().is_some() && said.all(|said| self.doubts.of.contains(&said))
    }

    /// Everybody is believed in another round.
    pub(super) fn believe_again(&mut self) {
        self.doubts.of.clear();
        self.doubts.rounds += 1;
    }

    /// What was believed did not prove right: somebody else is believed next. Nobody is blamed.
    ///
    /// # Errors
    /// If everybody was believed often enough.
    pub(super) async fn doubt(&mut self) -> Result<(), GetError> {
        let Some(identity) = self.unidentified() else { return Ok(()) };
        let said = Said::from(&identity.description);
        self.doubts.count += 1;
        self.doubts.of.push(said);
        if self.all_said().all(|said| self.doubts.of.contains(&said)) {
            // Everybody has been believed once.
            self.doubts.of = vec![said];
            self.doubts.rounds += 1;
        }
        let since = *self.doubts.since.get_or_insert_with(Instant::now);
        let most = self.delivery.0.options.holder_timeout.saturating_mul(MOST_WAITS);
        if self.doubts.rounds >= MOST_ROUNDS && since.elapsed() >= most {
            let mut why = self.sources.complaints();
            why.push("its sources describe it in different ways, and none of them gives it".into());
            return Err(GetError::NoSource { key: self.key.clone(), why });
        }
        self.ask_all().await
    }

    /// Whether there is no room for what was described under an md5, which proves nothing of it.
    pub(super) fn may_be_smaller(&self, error: &GetError) -> bool {
        let GetError::Part(PartError::Disk(DiskError { fault: Fault::Full { needed: Some(_), .. }, .. })) =
            error
        else {
            return false;
        };
        Md5::from_key(&self.key).is_some() && self.identity.is_some()
    }

    /// Whoever describes what there is no room for is used no longer. If nobody describes something else,
    /// that is how it ends.
    pub(super) async fn has_no_room(&mut self, error: GetError) -> Result<(), GetError> {
        if let Some(identity) = self.unidentified() {
            let known = Said::from(&identity.description);
            for id in self.sources.ids() {
                if self.sources.opened(id).is_some_and(|opened| Said::from(&opened.description) == known) {
                    self.lost(id, &error.to_string(), false);
                }
            }
        }
        self.no_room = Some(error);
        self.ask_all().await
    }

    /// What came under the md5 was not it: nobody who describes it so is asked again. Who fetches it too
    /// was misled as well, and may come back when it has found that out; but once only.
    pub(super) async fn disown(&mut self) -> Result<(), GetError> {
        const WHY: &str = "what it described turned out to have another md5";
        let Some(identity) = self.unidentified() else { return Ok(()) };
        for id in self.sources.ids() {
            let Some(source) = self.sources.get(id) else { continue };
            if source.opened.as_ref().is_some_and(|said| said.description.root == identity.description.root) {
                let blame = !source.fetches || self.sources.was_lost(source.addr, WHY);
                self.lost(id, WHY, blame);
            }
        }
        self.ask_all().await
    }

    /// What the key names is known no longer. What it was taken for.
    fn unidentified(&mut self) -> Option<Identity> {
        self.sources.know_hashes(false);
        self.identity.take()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use askaround_core::download::{Download, DownloadConfig, DownloadInput};
    use askaround_core::key::Key;
    use askaround_core::pieces::{Manifest, PieceSet};

    use super::super::super::target::{MemoryTarget, Target as _};
    use super::super::testing;
    use super::*;
    use crate::transfer::source::{Has, Opened};

    const SIZE: u64 = 200_000;
    const PIECES: u32 = 4;

    fn manifest() -> Arc<Manifest> {
        Arc::new(Manifest::of(SIZE, vec![[7; 32]; PIECES as usize]).unwrap())
    }

    /// What this source of a fetch says of a content of this size.
    fn says(fetch: &mut Fetch, addr: &str, fetches: bool, size: u64) {
        let opened = fetch.sources.open(addr.parse().unwrap(), None, String::new(), fetches);
        let description = testing::file(manifest().root(), size);
        opened.unwrap().opened = Some(Opened { description, hashes: vec![], has: Has::All });
    }

    fn believe(fetch: &mut Fetch) {
        let manifest = manifest();
        let description = testing::file(manifest.root(), SIZE);
        fetch.identity = Some(Identity { manifest, description });
    }

    /// A fetch of this key, which is believed to be four pieces, and another source that says that they
    /// are a byte less.
    fn doubted(key: &Key) -> (Fetch, Run) {
        let mut fetch = testing::fetch(key).0;
        says(&mut fetch, "127.0.0.1:1", false, SIZE - 1);
        believe(&mut fetch);
        let target = Arc::new(MemoryTarget::new(key.clone(), manifest()));
        let download = Download::new(DownloadConfig::default(), target.lengths(), target.have());
        (fetch, Run::new(target, Arc::new(Mutex::new(download)), false, false))
    }

    #[tokio::test(start_paused = true)]
    async fn pieces_that_nobody_stands_up_for_are_doubted_after_a_while() {
        let (mut fetch, mut run) = doubted(&manifest().root().key());
        run.got(2, 0);
        let opened = |pieces| DownloadInput::Opened {
            source: 2,
            addr: ([127, 0, 0, 1], 2).into(),
            holds: true,
            pieces,
        };
        run.handle(opened(PieceSet::full(PIECES)));
        tokio::time::advance(DOUBT_OF_PIECES * 9).await;
        assert!(!fetch.is_doubtful(&run), "somebody describes it so, and it may be its turn soon");
        run.handle(DownloadInput::Closed(2));
        assert!(fetch.is_doubtful(&run));
        run.got(2, 1);
        tokio::time::advance(DOUBT * 2).await;
        assert!(!fetch.is_doubtful(&run), "whoever sent it may come back");
        tokio::time::advance(DOUBT_OF_PIECES).await;
        assert!(fetch.is_doubtful(&run));
        run.got(2, PIECES - 1);
        tokio::time::advance(DOUBT_OF_PIECES * 9).await;
        assert!(!fetch.is_doubtful(&run), "it has proved right");
        fetch.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn no_piece_proves_what_an_md5_names() {
        let (mut fetch, mut run) = doubted(&Md5::new([7; 16]).key());
        run.got(2, PIECES - 1);
        tokio::time::advance(DOUBT_OF_PIECES * 2).await;
        assert!(fetch.is_doubtful(&run));
        fetch.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_misled_by_a_wrong_md5_too_may_come_back_once() {
        let (mut fetch, _told) = testing::fetch(&Md5::new([7; 16]).key());
        let [holds, fetches] = ["127.0.0.1:1", "127.0.0.1:2"];
        let is_wanted = |fetch: &Fetch, addr: &str| fetch.sources.is_wanted(addr.parse().unwrap(), None);
        says(&mut fetch, holds, false, SIZE);
        for back in [true, false] {
            believe(&mut fetch);
            says(&mut fetch, fetches, true, SIZE);
            fetch.disown().await.unwrap();
            assert!(fetch.sources.is_empty() && fetch.identity.is_none());
            assert!(!is_wanted(&fetch, holds), "it said that it has all of it");
            assert_eq!(is_wanted(&fetch, fetches), back);
        }
        fetch.end().await;
    }
}
