//! The loop that owns a [`Download`]: what sources say goes in, what is asked of them comes out.

mod hashes;
mod listeners;
mod md5;
mod serving;
mod stage;
mod state;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use askaround_core::download::{Download, DownloadConfig, DownloadInput, DownloadOutput, Listener, SourceId};
use askaround_core::message::ErrorCode;
use askaround_core::pieces::PieceSet;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};

pub(super) use self::hashes::FileHashes;
pub(super) use self::md5::Md5InOrder;
pub(super) use self::serving::Serving;
use self::serving::ServingGuard;
use self::stage::Stage;
pub(super) use self::state::Run;
use super::super::error::GetError;
use super::super::target::Target;
use super::identify::WRONG;
use super::{Fetch, Kind, Md5, PROGRESS_EVERY};
use crate::lock;
use crate::transfer::source::{Has, Rejected, SourceCommand, SourceEvent};

/// How often what came is made to survive the machine.
const SYNC_EVERY: Duration = Duration::from_secs(30);
const SUBSCRIPTIONS: usize = 64;

/// What is fetched, and what goes along with it.
pub(super) struct Order {
    pub(super) target: Arc<dyn Target>,
    pub(super) serving: Serving,
    /// Its md5, if that is worked out.
    pub(super) md5: Option<Md5InOrder>,
    /// The piece hashes that have to be asked for.
    pub(super) hashes: Option<FileHashes>,
}

impl Fetch {
    /// Fetches all pieces of a target. Gives its md5, if that is worked out, and what has others
    /// served until it is dropped: it is to be in the catalogue by then, or they are told that it is
    /// not here.
    pub(super) async fn get_pieces(&mut self, order: Order) -> Result<(Option<Md5>, ServingGuard), GetError> {
        let Order { target, serving, md5, hashes } = order;
        let (files, served) = (serving.files, !serving.keys.is_empty());
        let download = Arc::new(Mutex::new(self.download(&*target, served)));
        self.slot.set(target.clone());
        let (subscribe, mut subscriptions) = mpsc::channel(SUBSCRIPTIONS);
        let serves = self.serve(serving, &download, subscribe).await;
        let mut run = Run::new(target, download, files, served);
        (run.md5, run.hashes) = (md5, hashes);
        for id in self.sources.ids() {
            self.take_part(&mut run, id);
        }
        let mut ticks = interval(PROGRESS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut syncs = interval(SYNC_EVERY);
        syncs.reset();
        let mut uplink_idle = self.delivery.0.uplink_idle.clone();
        uplink_idle.mark_changed();
        let stop = self.stop.clone();
        loop {
            self.ask_for_hashes(&mut run);
            if self.carry_out(&mut run).await? {
                break;
            }
            if !run.stage.is_complete() {
                if self.kind == Kind::FromOne && self.sources.is_empty() {
                    return Err(GetError::NoSource { key: self.key.clone(), why: self.sources.complaints() });
                }
                self.search_if_due();
            }
            run.md5.iter_mut().for_each(Md5InOrder::go_on);
            let deadline = lock(&run.download).poll_timeout();
            tokio::select! {
                Some((id, event)) = self.incoming.recv() => self.heard(&mut run, id, event).await?,
                Some(holder) = self.searches.holders.recv() => {
                    if let Some(id) = self.add_holder(holder) {
                        run.handle(DownloadInput::Closed(id));
                    }
                }
                Some(over) = self.searches.running.join_next() => {
                    self.search_over(over?)?;
                    run.hashes.iter_mut().for_each(FileHashes::ask_again);
                    self.go_on_or_starve(&mut run)?;
                    if run.stage.is_starving() {
                        self.ask_again(&mut run);
                    }
                }
                Some(subscribe) = subscriptions.recv() => self.subscribed(&mut run, subscribe),
                went_on = went_on(&mut run.md5) => went_on?,
                // What is complete and said to stay goes no further.
                _ = ticks.tick(), if !matches!(run.stage, Stage::Complete { said: true, .. }) => {
                    self.look(&mut run)?;
                }
                _ = syncs.tick(), if self.syncing.is_empty() => {
                    let target = run.target.clone();
                    self.syncing.spawn_blocking(move || target.sync());
                }
                Some(synced) = self.syncing.join_next() => synced??,
                () = tokio::time::sleep_until(self.searches.next_at),
                    if self.may_search() && !run.stage.is_complete() => {}
                () = stop.cancelled(), if run.stage.is_complete() => break,
                Ok(()) = uplink_idle.changed() => {
                    let idle = *uplink_idle.borrow_and_update();
                    run.handle(DownloadInput::UplinkIdle(idle));
                }
                () = run.epoch.sleep_until(deadline) => run.handle(DownloadInput::Timeout),
            }
        }
        if let Stage::Complete { since, .. } = run.stage {
            self.stayed = since.elapsed();
        }
        self.progress(&mut run);
        while let Some(synced) = self.syncing.join_next().await {
            synced??;
        }
        let md5 = match run.md5 {
            Some(md5) => Some(md5.finish(&self.stop).await?),
            None => None,
        };
        Ok((md5, serves))
    }

    /// The machine that chooses what is asked of whom.
    fn download(&self, target: &dyn Target, served: bool) -> Download {
        let options = &self.delivery.0.options;
        let config = DownloadConfig {
            seed: options.seed ^ self.delivery.0.me.id.as_u64(),
            max_sources: options.max_sources,
            max_pipeline: options.max_in_flight,
            longest_stay: options.longest_stay.filter(|_| served),
            ..DownloadConfig::default()
        };
        Download::new(config, target.lengths(), target.have())
    }

    /// Looks how it goes, and tells.
    fn look(&mut self, run: &mut Run) -> Result<(), GetError> {
        self.progress(run);
        self.say_that_it_stays(run);
        self.look_at_supply(run)?;
        if self.is_doubtful(run) {
            return Err(GetError::Doubted(self.key.clone()));
        }
        Ok(())
    }

    /// A source that has said what it has takes part.
    fn take_part(&mut self, run: &mut Run, id: SourceId) {
        let Some(source) = self.sources.get(id) else { return };
        let Some(opened) = &source.opened else { return };
        if self.wrong.contains(&opened.description.root) {
            // If it fetches too, it may say something else when it is asked again.
            return self.lost(id, WRONG, false);
        }
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
                let pieces = match &mut run.hashes {
                    Some(hashes) => hashes.opened(id, pieces),
                    None => pieces,
                };
                run.handle(DownloadInput::Opened { source: id, addr, pieces, holds });
            }
            Err(error) => self.lost(id, &error.to_string(), true),
        }
    }

    /// Whoever refused pieces takes part as if it were new: its disk may have failed for a moment.
    fn ask_again(&mut self, run: &mut Run) {
        for id in std::mem::take(&mut run.refusing) {
            if run.knows(id) {
                run.handle(DownloadInput::Closed(id));
                self.take_part(run, id);
            }
        }
    }

    async fn heard(&mut self, run: &mut Run, id: SourceId, event: SourceEvent) -> Result<(), GetError> {
        if self.sources.get(id).is_none() {
            return Ok(());
        }
        match event {
            SourceEvent::Opened(opened) => {
                self.opened(id, opened);
                self.take_part(run, id);
            }
            SourceEvent::Files(has) => {
                if let Some(source) = self.sources.get_mut(id) {
                    source.files = Some(has);
                }
                self.take_part(run, id);
            }
            SourceEvent::News { files, pieces } => {
                if !files {
                    self.has_more(id, &pieces);
                }
                if files == run.files && run.knows(id) {
                    let pieces = match &mut run.hashes {
                        Some(hashes) => hashes.news(id, pieces),
                        None => pieces,
                    };
                    run.heard_news();
                    run.handle(DownloadInput::News(id, pieces));
                }
            }
            SourceEvent::Hashes { key, first, hashes } => {
                self.hashes_came(run, id, &key, first, hashes).await?;
            }
            SourceEvent::Progress(bytes) => {
                if let Some(source) = self.sources.get_mut(id) {
                    source.bytes += bytes;
                    self.delivery.0.down.count(bytes);
                }
                run.last_came = Instant::now();
                run.throughput.came(bytes);
                run.handle(DownloadInput::Progress(id, bytes));
            }
            SourceEvent::Begun { asked, piece, range } => {
                if run.target.is(piece, &range) {
                    run.handle(DownloadInput::Begun { source: id, piece, asked });
                }
            }
            SourceEvent::Piece { piece, result } => match result {
                Ok(()) if run.target.has(piece) => run.got(id, piece),
                // It is of what was fetched before.
                Ok(()) => {}
                // Of a file whose hashes are not known: it was not asked for that one.
                Err(Rejected::Late) if run.files => run.handle(DownloadInput::Refused(id, piece)),
                Err(Rejected::Late) => {}
                Err(Rejected::Bad) => run.handle(DownloadInput::Bad(id, piece)),
                Err(Rejected::Disk(error)) => return Err(GetError::Write(error)),
            },
            SourceEvent::Refused { piece, error } => {
                run.handle(DownloadInput::Refused(id, piece));
                if error.code == ErrorCode::NotHere {
                    run.refusing.insert(id);
                }
                // Of a folder it may have the other files.
                if error.code == ErrorCode::UnknownKey && (!run.files || run.has_none(id)) {
                    run.handle(DownloadInput::Closed(id));
                    self.lost(id, "it no longer has it", false);
                    self.go_on_or_starve(run)?;
                }
            }
            SourceEvent::Gone(error) => {
                run.broke_off(id);
                run.handle(DownloadInput::Closed(id));
                self.gone(id, &error);
                self.go_on_or_starve(run)?;
            }
        }
        Ok(())
    }

    /// Does what the machine wants done. True when it is over: everything is here, and nobody
    /// has to be waited for.
    async fn carry_out(&mut self, run: &mut Run) -> Result<bool, GetError> {
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
                    self.lost(source, &why.to_string(), why.is_its_fault());
                    continue;
                }
                DownloadOutput::Done => {
                    // Otherwise it has its name when the md5 proves it right.
                    if run.md5.is_none() {
                        let target = run.target.clone();
                        self.work.run(move |_| target.complete()).await??;
                    }
                    self.complete.store(run.served, Ordering::Release);
                    run.stage = Stage::Complete { since: Instant::now(), said: false };
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
}

/// Waits for the thread that works out the md5; for ever, if there is none.
async fn went_on(md5: &mut Option<Md5InOrder>) -> Result<(), GetError> {
    match md5 {
        Some(md5) => md5.went_on().await,
        None => std::future::pending().await,
    }
}
