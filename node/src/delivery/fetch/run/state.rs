//! [`Run`]: how far a fetch is, and its machine.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use askaround_core::download::{Download, DownloadInput, SourceId, SubscriberId};
use tokio::time::Instant;

use super::super::super::error::GetError;
use super::super::super::target::Target;
use super::super::super::throughput::Throughput;
use super::super::progress::Lack;
use super::hashes::FileHashes;
use super::listeners::Subscriber;
use super::md5::Md5InOrder;
use super::stage::Stage;
use crate::{Epoch, lock};

/// So often sources may break off before the next piece has come, however long that takes.
const MOST_BROKEN_OFF: u32 = 10;

/// How far a fetch is, and its machine.
pub(in super::super) struct Run {
    pub(super) epoch: Epoch,
    pub(in super::super) target: Arc<dyn Target>,
    pub(in super::super) download: Arc<Mutex<Download>>,
    /// How many bytes each piece stands for.
    pub(super) worth: Vec<u64>,
    /// Whether it is the files of a collection that are fetched.
    pub(in super::super) files: bool,
    pub(in super::super) here: u64,
    /// When something came last.
    pub(in super::super) last_came: Instant,
    /// When a piece came last, and how many sources have gone since in the middle of one.
    last_piece: Instant,
    broken_off: u32,
    /// When somebody who fetches it too told of something that it has got.
    last_news: Instant,
    /// The longest that it took until somebody told of the next.
    longest_without_news: Duration,
    pub(super) stage: Stage,
    /// Who said of pieces that they cannot be read now.
    pub(super) refusing: BTreeSet<SourceId>,
    pub(super) subscribers: BTreeMap<SubscriberId, Subscriber>,
    pub(super) last_subscriber: SubscriberId,
    /// Whether others are served meanwhile.
    pub(super) served: bool,
    pub(super) md5: Option<Md5InOrder>,
    pub(super) hashes: Option<FileHashes>,
    pub(in super::super) throughput: Throughput,
    pub(in super::super) lack: Lack,
}

impl Run {
    pub(in super::super) fn new(
        target: Arc<dyn Target>,
        download: Arc<Mutex<Download>>,
        files: bool,
        served: bool,
    ) -> Self {
        let worth = target.worth();
        let here = lock(&download).have().iter().map(|piece| worth[piece as usize]).sum();
        Self {
            epoch: Epoch::default(),
            target,
            download,
            worth,
            files,
            here,
            last_came: Instant::now(),
            last_piece: Instant::now(),
            broken_off: 0,
            last_news: Instant::now(),
            longest_without_news: Duration::ZERO,
            stage: Stage::FIRST,
            refusing: BTreeSet::new(),
            subscribers: BTreeMap::new(),
            last_subscriber: 0,
            served,
            md5: None,
            hashes: None,
            throughput: Throughput::new(Instant::now()),
            lack: Lack::None,
        }
    }

    pub(in super::super) fn handle(&mut self, input: DownloadInput) {
        lock(&self.download).handle(self.epoch.now(), input);
    }

    /// Whether no piece has proved right.
    pub(in super::super) fn has_nothing(&self) -> bool {
        lock(&self.download).have().is_empty()
    }

    /// Whether the last piece is here, and with it how long the content is.
    pub(in super::super) fn has_last(&self) -> bool {
        let download = lock(&self.download);
        download.have().count().checked_sub(1).is_some_and(|last| download.have().contains(last))
    }

    pub(super) fn knows(&self, id: SourceId) -> bool {
        lock(&self.download).knows(id)
    }

    /// Whether some piece is missing that no source has, as far as their hashes are known.
    pub(in super::super) fn lacks_a_holder(&self) -> bool {
        !self.asks_for_hashes() && lock(&self.download).lacks_a_holder()
    }

    fn asks_for_hashes(&self) -> bool {
        self.hashes.as_ref().is_some_and(FileHashes::is_asking)
    }

    /// A source is gone. Of one that was sending nothing that means nothing: whoever has nothing to
    /// send closes too.
    pub(super) fn broke_off(&mut self, id: SourceId) {
        self.broken_off += u32::from(lock(&self.download).comes_from(id));
    }

    /// Whether sources break off again and again in the middle of a piece, and none has come for longer
    /// than that, nor is one coming: each may be one whose disk fails, and would be asked for it for ever.
    pub(super) fn only_breaks_off(&self, patience: Duration) -> bool {
        self.broken_off >= MOST_BROKEN_OFF
            && self.last_piece.elapsed() > patience
            && !lock(&self.download).comes_from_any()
    }

    /// Somebody who fetches it too has got something.
    pub(super) fn heard_news(&mut self) {
        self.longest_without_news = self.longest_without_news.max(self.last_news.elapsed());
        self.last_news = Instant::now();
    }

    /// Since when nothing more is to come from the sources that take part, if so. Of those who fetch it
    /// too nothing is when none of them has got anything for as long as `hope` says, or where that took
    /// longer before, for a few times that: they wait for each other. While hashes are asked for nothing
    /// is known: what they are of may be asked for then.
    pub(super) fn stuck_since(&self, hope: RangeInclusive<Duration>) -> Option<Instant> {
        if self.asks_for_hashes() {
            return None;
        }
        let download = lock(&self.download);
        if download.is_stuck() {
            return Some(Instant::now());
        }
        let last = self.last_came.max(self.last_news);
        let hope = (3 * self.longest_without_news).clamp(*hope.start(), *hope.end());
        (last.elapsed() >= hope && download.gets_nothing()).then_some(last)
    }

    /// Whether some source takes part that may give something of what is missing.
    pub(super) fn is_supplied(&self) -> bool {
        let download = lock(&self.download);
        download.sources().next().is_some() && !download.is_stuck()
    }

    /// Whether no source takes part yet, or any more.
    pub(in super::super) fn has_no_source(&self) -> bool {
        lock(&self.download).sources().next().is_none()
    }

    /// It ends without what is missing: of which some source has none, or for which it was waited for so
    /// long in vain.
    pub(super) fn starves(&self) -> GetError {
        let download = lock(&self.download);
        let missing = download.have().missing().count() as u32;
        if download.sources().next().is_some() && !download.gets_nothing() {
            return GetError::NothingCame { missing, seconds: self.last_came.elapsed().as_secs() };
        }
        let files = match download.lacks_a_holder() {
            true => self.target.files_of(&mut download.missing_everywhere()),
            false => self.target.files_of(&mut download.have().missing()),
        };
        GetError::Starved { missing, files }
    }

    /// Whether a source has nothing, or not any more.
    pub(super) fn has_none(&self, id: SourceId) -> bool {
        lock(&self.download).has_none(id)
    }

    pub(in super::super) fn got(&mut self, id: SourceId, piece: u32) {
        if !lock(&self.download).have().contains(piece) {
            self.here += self.worth[piece as usize];
            self.last_came = Instant::now();
            self.last_piece = Instant::now();
            self.broken_off = 0;
        }
        self.handle(DownloadInput::Got(id, piece));
    }
}

#[cfg(test)]
mod tests {
    use askaround_core::download::DownloadConfig;
    use askaround_core::pieces::{Manifest, PieceSet};

    use super::*;
    use crate::delivery::target::MemoryTarget;

    /// Of four pieces. What they are of does not matter.
    fn run() -> Run {
        let manifest = Arc::new(Manifest::of(200_000, vec![[7; 32]; 4]).unwrap());
        let target = Arc::new(MemoryTarget::new(manifest.root().key(), manifest));
        let download = Download::new(DownloadConfig::default(), target.lengths(), target.have());
        Run::new(target, Arc::new(Mutex::new(download)), false, false)
    }

    #[tokio::test(start_paused = true)]
    async fn sources_that_break_off_in_every_piece_are_waited_for_no_longer() {
        let (mut run, patience) = (run(), Duration::from_secs(120));
        let count = run.worth.len() as u32;
        let opened = |source| {
            let addr = ([127, 0, 0, 1], source as u16).into();
            DownloadInput::Opened { source, addr, pieces: PieceSet::full(count), holds: true }
        };
        let breaks_off = |run: &mut Run, begins| {
            run.handle(opened(1));
            if begins {
                run.handle(DownloadInput::Begun { source: 1, piece: 1, asked: 1 });
            }
            run.broke_off(1);
            run.handle(DownloadInput::Closed(1));
        };
        tokio::time::advance(2 * patience).await;
        for _ in 1..MOST_BROKEN_OFF {
            breaks_off(&mut run, true);
            assert!(!run.only_breaks_off(patience), "a slow link may do that for a while");
        }
        (0..MOST_BROKEN_OFF).for_each(|_| breaks_off(&mut run, false));
        assert!(!run.only_breaks_off(patience), "who sends nothing breaks nothing off");
        breaks_off(&mut run, true);
        assert!(run.only_breaks_off(patience));
        run.handle(opened(2));
        run.handle(DownloadInput::Begun { source: 2, piece: 0, asked: 0 });
        assert!(!run.only_breaks_off(patience), "a piece comes from another");
        run.got(2, 0);
        run.handle(DownloadInput::Closed(2));
        tokio::time::advance(2 * patience).await;
        assert!(!run.only_breaks_off(patience), "a piece has come");
        (0..MOST_BROKEN_OFF).for_each(|_| breaks_off(&mut run, true));
        assert!(run.only_breaks_off(patience));
        assert!(!run.only_breaks_off(3 * patience), "it is waited for longer");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_waited_for_in_vain_is_not_said_to_be_with_nobody() {
        let mut run = run();
        let pieces = PieceSet::full(run.worth.len() as u32);
        tokio::time::advance(Duration::from_secs(120)).await;
        assert!(matches!(run.starves(), GetError::Starved { missing: 4, .. }));
        let addr = ([127, 0, 0, 1], 1).into();
        run.handle(DownloadInput::Opened { source: 1, addr, pieces, holds: true });
        let error = run.starves();
        assert!(matches!(error, GetError::NothingCame { missing: 4, seconds: 120 }), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_only_wait_for_each_other_are_stuck_after_a_while() {
        let mut run = run();
        let count = run.worth.len() as u32;
        let opened = |source, pieces: PieceSet| {
            let addr = ([127, 0, 0, 1], source as u16).into();
            DownloadInput::Opened { source, addr, holds: pieces.is_full(), pieces }
        };
        let [least, most] = [30, 120].map(Duration::from_secs);
        let stuck_since = |run: &Run| run.stuck_since(least..=most);
        run.handle(opened(1, PieceSet::empty(count)));
        assert_eq!(stuck_since(&run), None, "it may get something");
        tokio::time::advance(least).await;
        assert_eq!(stuck_since(&run), Some(run.last_came), "it has got nothing");
        run.heard_news();
        for (wait, expected) in
            [(Duration::from_secs(89), None), (Duration::from_secs(1), Some(run.last_news))]
        {
            tokio::time::advance(wait).await;
            assert_eq!(stuck_since(&run), expected, "three times as long as it took");
        }
        run.heard_news();
        tokio::time::advance(most).await;
        assert!(stuck_since(&run).is_some(), "but not for ever");
        run.handle(opened(2, PieceSet::full(count)));
        tokio::time::advance(10 * most).await;
        assert_eq!(stuck_since(&run), None, "somebody has all of it");
    }
}
