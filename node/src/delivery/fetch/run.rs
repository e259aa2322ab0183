//! The loop that owns a [`Download`]: what sources say goes in, what is asked of them comes out.

mod listeners;
mod serving;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use askaround_core::download::{
    Download, DownloadConfig, DownloadInput, DownloadOutput, Listener, SourceId, SubscriberId,
};
use askaround_core::message::ErrorCode;
use askaround_core::pieces::PieceSet;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::listeners::Subscriber;
use self::serving::Serves;
pub(super) use self::serving::Serving;
use super::super::error::GetError;
use super::super::target::Target;
use super::progress::Pace;
use super::{Fetch, InOrderHash, Md5};
use crate::content::ContentFile;
use crate::transfer::source::{Has, Rejected, SourceCommand, SourceEvent};
use crate::{Epoch, lock};

/// How often is told how far it is.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);
/// How often what came is made to survive the machine.
const SYNC_EVERY: Duration = Duration::from_secs(30);
/// How long a fetch goes on while nothing comes.
const PATIENCE: Duration = Duration::from_secs(120);
/// After so many searches in a row that leave it without a source, a fetch ends.
const DRY_SEARCHES: u32 = 4;
const SUBSCRIPTIONS: usize = 64;

/// The md5 of what comes, worked out as far as it is whole from the beginning.
pub(super) type Hashing = (InOrderHash, Arc<ContentFile>);

pub(super) struct Run {
    epoch: Epoch,
    download: Arc<Mutex<Download>>,
    /// How many bytes each piece stands for.
    worth: Vec<u64>,
    /// Whether it is the files of a collection that are fetched.
    pub(super) files: bool,
    here: u64,
    /// When something came last.
    pub(super) last_came: Instant,
    dry: u32,
    subscribers: BTreeMap<SubscriberId, Subscriber>,
    last_subscriber: SubscriberId,
    /// Whether others are served meanwhile.
    served: bool,
    /// Since when every piece is here.
    complete: Option<Instant>,
    /// Whether it was said that it stays.
    said: bool,
    hash: Option<Hashing>,
    hashing: JoinSet<std::io::Result<Hashing>>,
}

impl Fetch {
    /// Fetches all pieces of a target. Gives its md5, if that is worked out, and what has others
    /// served until it is dropped: it is to be in the catalogue by then, or they are told that it is
    /// not here.
    pub(super) async fn run(
        &mut self,
        target: Arc<dyn Target>,
        serving: Serving,
        hash: Option<Hashing>,
    ) -> Result<(Option<Md5>, Serves), GetError> {
        let options = &self.delivery.0.options;
        let (files, served) = (serving.files, !serving.keys.is_empty());
        let config = DownloadConfig {
            seed: options.seed ^ self.delivery.0.me.id.as_u64(),
            max_sources: options.max_sources,
            max_pipeline: options.max_in_flight,
            longest_stay: options.longest_stay.filter(|_| served),
            ..DownloadConfig::default()
        };
        let (worth, have) = (target.worth(), target.have());
        let here = have.iter().map(|piece| worth[piece as usize]).sum();
        let download = Arc::new(Mutex::new(Download::new(config, target.lengths(), have)));
        self.slot.set(target.clone());
        let (subscribe, mut subscriptions) = mpsc::channel(SUBSCRIPTIONS);
        let serving = self.serve(serving, &download, subscribe).await;
        let mut run = Run {
            epoch: Epoch::default(),
            download,
            worth,
            files,
            here,
            last_came: Instant::now(),
            dry: 0,
            subscribers: BTreeMap::new(),
            last_subscriber: 0,
            served,
            complete: None,
            said: false,
            hash,
            hashing: JoinSet::new(),
        };
        for id in self.sources.ids() {
            self.take_part(&mut run, id).await;
        }
        let mut pace = Pace::new(here);
        let mut told = Instant::now();
        let mut ticks = interval(PROGRESS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut syncs = interval(SYNC_EVERY);
        syncs.reset();
        let mut uplink_idle = self.delivery.0.uplink_idle.clone();
        uplink_idle.mark_changed();
        let stop = self.stop.clone();
        loop {
            if self.carry_out(&mut run, &target).await? {
                break;
            }
            if run.complete.is_none() {
                if self.one_source && self.sources.is_empty() {
                    return Err(GetError::NoSource { key: self.key.clone(), why: self.sources.complaints() });
                }
                self.search_if_due();
            }
            self.hash_on(&mut run);
            let deadline = lock(&run.download).poll_timeout();
            tokio::select! {
                Some((id, event)) = self.incoming.recv() => self.heard(&mut run, id, event).await?,
                Some(holder) = self.holders.recv() => {
                    if let Some(id) = self.add_holder(holder) {
                        run.handle(DownloadInput::Closed(id));
                    }
                }
                Some(over) = self.search.join_next() => {
                    self.search_over(over?)?;
                    if run.complete.is_none() {
                        self.starved(&mut run)?;
                    }
                }
                Some(subscribe) = subscriptions.recv() => self.subscribed(&mut run, subscribe),
                Some(hashed) = run.hashing.join_next() => {
                    let hashed = hashed?.map_err(crate::content::HashError::Disk);
                    run.hash = Some(hashed.map_err(|error| GetError::Read {
                        path: lock(&self.job.report).to.clone(),
                        error,
                    })?);
                }
                // What is complete and said to stay goes no further.
                _ = ticks.tick(), if !run.said => {
                    self.progress(&mut pace, &lock(&run.download), run.here, told.elapsed());
                    told = Instant::now();
                    self.say_that_it_stays(&mut run);
                    if self.is_doubtful(&run) {
                        return Err(GetError::Doubted(self.key.clone()));
                    }
                }
                _ = syncs.tick(), if self.syncing.is_empty() => {
                    let target = target.clone();
                    self.syncing.spawn_blocking(move || target.sync());
                }
                Some(synced) = self.syncing.join_next() => synced??,
                () = tokio::time::sleep_until(self.next_search),
                    if self.may_search() && run.complete.is_none() => {}
                () = stop.cancelled(), if run.complete.is_some() => break,
                Ok(()) = uplink_idle.changed() => {
                    let idle = *uplink_idle.borrow_and_update();
                    run.handle(DownloadInput::UplinkIdle(idle));
                }
                () = run.epoch.sleep_until(deadline) => run.handle(DownloadInput::Timeout),
            }
        }
        self.stayed = run.complete.map_or(Duration::ZERO, |since| since.elapsed());
        self.progress(&mut pace, &lock(&run.download), run.here, told.elapsed());
        while let Some(synced) = self.syncing.join_next().await {
            synced??;
        }
        Ok((self.md5(run).await?, serving))
    }

    /// A source that has said what it has takes part.
    async fn take_part(&mut self, run: &mut Run, id: SourceId) {
        let Some(source) = self.sources.get(id) else { return };
        let Some(opened) = &source.opened else { return };
        if !self.fits(&opened.description) {
            // It may be right, and the others wrong.
            return;
        }
        if run.files && source.files.is_none() {
            self.say(id, SourceCommand::Files);
            return;
        }
        let has = if run.files { source.files.as_ref() } else { Some(&opened.has) };
        let count = run.worth.len() as u32;
        let holds = matches!(has, Some(Has::All));
        let pieces = match has {
            Some(Has::All) => Ok(PieceSet::full(count)),
            Some(Has::Bitmap(bytes)) => PieceSet::from_bytes(count, bytes),
            None => return,
        };
        let (addr, peer) = (source.addr, source.contact.map(|contact| contact.id));
        match pieces {
            Ok(pieces) => {
                run.listens_at(peer, addr);
                run.handle(DownloadInput::Opened { source: id, addr, pieces, holds });
                let early = self.sources.get_mut(id).map(|source| std::mem::take(&mut source.early));
                if !run.files {
                    run.handle(DownloadInput::News(id, early.unwrap_or_default()));
                }
            }
            Err(error) => self.lost(id, &error.to_string(), true),
        }
    }

    async fn heard(&mut self, run: &mut Run, id: SourceId, event: SourceEvent) -> Result<(), GetError> {
        if self.sources.get(id).is_none() {
            return Ok(());
        }
        match event {
            SourceEvent::Opened(opened) => {
                self.opened(id, opened);
                self.take_part(run, id).await;
            }
            SourceEvent::Files(has) => {
                if let Some(source) = self.sources.get_mut(id) {
                    source.files = Some(has);
                }
                self.take_part(run, id).await;
            }
            SourceEvent::News { files, pieces } if files == run.files => {
                if run.knows(id) {
                    run.handle(DownloadInput::News(id, pieces));
                } else if !files {
                    self.early(id, pieces);
                }
            }
            SourceEvent::News { .. } | SourceEvent::Hashes { .. } => {}
            SourceEvent::Progress(bytes) => {
                if let Some(source) = self.sources.get_mut(id) {
                    source.bytes += bytes;
                    self.delivery.0.down.count(bytes);
                }
                run.last_came = Instant::now();
                run.handle(DownloadInput::Progress(id, bytes));
            }
            SourceEvent::Begun { asked, piece } => {
                run.handle(DownloadInput::Begun { source: id, piece, asked });
            }
            SourceEvent::Piece { asked: _, piece, result } => match result {
                Ok(()) => run.got(id, piece),
                Err(Rejected::Late) => {}
                Err(Rejected::Bad) => run.handle(DownloadInput::Bad(id, piece)),
                Err(Rejected::Disk(error)) => return Err(GetError::Write(error)),
            },
            SourceEvent::Refused { error, .. } if error.code == ErrorCode::UnknownKey => {
                run.handle(DownloadInput::Closed(id));
                self.lost(id, "it no longer has it", false);
            }
            SourceEvent::Refused { piece, .. } => run.handle(DownloadInput::Refused(id, piece)),
            SourceEvent::Gone(error) => {
                run.handle(DownloadInput::Closed(id));
                self.gone(id, &error);
                if run.complete.is_none() {
                    self.starved(run)?;
                }
            }
        }
        Ok(())
    }

    /// Does what the machine wants done. True when it is over: everything is here, and nobody
    /// has to be waited for.
    async fn carry_out(&mut self, run: &mut Run, target: &Arc<dyn Target>) -> Result<bool, GetError> {
        loop {
            let Some(output) = lock(&run.download).poll_output() else { return Ok(false) };
            let (source, command) = match output {
                DownloadOutput::Ask { source, piece, any } => (source, SourceCommand::Get { piece, any }),
                DownloadOutput::Cancel(source, piece) => (source, SourceCommand::Cancel { piece }),
                DownloadOutput::Tell(Listener::Source(source), pieces) => {
                    (source, SourceCommand::News { files: run.files, pieces })
                }
                DownloadOutput::Tell(Listener::Subscriber(subscriber), pieces) => {
                    run.tell(subscriber, &pieces);
                    continue;
                }
                DownloadOutput::Drop(source, why) => {
                    self.lost(source, &why.to_string(), true);
                    continue;
                }
                DownloadOutput::Done => {
                    if run.hash.is_none() && run.hashing.is_empty() {
                        let target = target.clone();
                        tokio::task::spawn_blocking(move || target.complete()).await??;
                    }
                    self.complete.store(run.served, Ordering::Release);
                    run.complete = Some(Instant::now());
                    run.tell_all();
                    continue;
                }
                DownloadOutput::Unneeded => return Ok(true),
            };
            if !self.say(source, command) {
                run.handle(DownloadInput::Closed(source));
            }
        }
    }

    /// Whether there is still hope.
    fn starved(&mut self, run: &mut Run) -> Result<(), GetError> {
        if !self.sources.is_empty() || !self.holders.is_empty() {
            run.dry = 0;
        } else if self.has_nobody() {
            run.dry += 1;
        }
        let waited = run.last_came.elapsed() > PATIENCE;
        if run.dry >= DRY_SEARCHES || waited {
            if self.has_rival(run) {
                return Err(GetError::Doubted(self.key.clone()));
            }
            let missing = lock(&run.download).have().missing().count() as u32;
            return Err(GetError::Starved { missing });
        }
        Ok(())
    }

    /// Goes on with the md5 of what is there, on a thread that may block.
    fn hash_on(&self, run: &mut Run) {
        if let Some((mut hash, content)) = run.hash.take() {
            let next = content.geometry().piece(hash.pieces());
            if next.is_some_and(|next| content.has(next)) {
                run.hashing.spawn_blocking(move || hash.follow(&content, 64).map(|_| (hash, content)));
            } else {
                run.hash = Some((hash, content));
            }
        }
    }

    async fn md5(&self, mut run: Run) -> Result<Option<Md5>, GetError> {
        let failed = |error| GetError::Read {
            path: lock(&self.job.report).to.clone(),
            error: crate::content::HashError::Disk(error),
        };
        if let Some(hashed) = run.hashing.join_next().await {
            run.hash = Some(hashed?.map_err(failed)?);
        }
        let Some((hash, content)) = run.hash.take() else { return Ok(None) };
        let md5 = tokio::task::spawn_blocking(move || hash.finish(&content)).await?.map_err(failed)?;
        Ok(Some(md5))
    }
}

impl Run {
    fn handle(&mut self, input: DownloadInput) {
        lock(&self.download).handle(self.epoch.now(), input);
    }

    /// Whether no piece has proved right.
    pub(super) fn has_nothing(&self) -> bool {
        lock(&self.download).have().is_empty()
    }

    fn knows(&self, id: SourceId) -> bool {
        lock(&self.download).knows(id)
    }

    fn got(&mut self, id: SourceId, piece: u32) {
        if !lock(&self.download).have().contains(piece) {
            self.here += self.worth[piece as usize];
            self.last_came = Instant::now();
        }
        self.handle(DownloadInput::Got(id, piece));
    }
}
