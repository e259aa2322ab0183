//! The connections of a fetch: who is a source, what it said first, why it is one no longer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use askaround_core::download::SourceId;
use askaround_core::id::{Contact, PeerId};
use askaround_core::key::Key;
use askaround_core::message::Interest;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Delivery;
use super::target::Slot;
use super::types::SourceReport;
use crate::transfer::source::{self, Has, Opened, SourceCommand, SourceEvent, SourceLimits, SourceOptions};

/// One that has given nothing for so long has had its time.
const GIVES_NOTHING: Duration = Duration::from_secs(30);
/// So many sources that are used no longer are remembered by name.
const REMEMBERED: usize = 256;
/// So many of those who sent what they should not have are remembered by their addresses. Beyond that
/// one of them may be asked again, and has to do so again.
const MAX_BLAMED: usize = 16_384;
/// Whoever was lost while it sent something is waited for twice as long when it is asked again, at most
/// so many times: over a very slow link a piece would never come otherwise.
const MOST_DOUBLED: u32 = 4;
const EVENTS: usize = 256;
/// More than a fetch ever has to say to a source that keeps up, however many events it takes at once.
const COMMANDS: usize = 1024;

/// What came from a source, with its number.
pub(super) type Event = (SourceId, SourceEvent);

/// The sources of a fetch.
pub(super) struct Sources {
    delivery: Delivery,
    key: Key,
    slot: Arc<Slot>,
    hashes_known: Arc<AtomicBool>,
    by_id: BTreeMap<SourceId, Source>,
    by_addr: BTreeMap<SocketAddr, SourceId>,
    /// Whoever sent what it should not have is not asked again.
    blamed: BTreeSet<SocketAddr>,
    lost: Vec<SourceReport>,
    /// Who was lost while it sent something, and how often.
    lost_sending: BTreeMap<SocketAddr, u32>,
    last: SourceId,
    events: mpsc::Sender<Event>,
    tasks: JoinSet<()>,
}

/// A source.
pub(super) struct Source {
    pub(super) addr: SocketAddr,
    pub(super) contact: Option<Contact>,
    pub(super) how: String,
    /// Whether it fetches the content itself, as far as was known when it was found.
    pub(super) fetches: bool,
    /// Whether it was not found, but asked for pieces itself.
    pub(super) asked_itself: bool,
    pub(super) bytes: u64,
    since: Instant,
    /// What it said first; of what it has, also what it got since.
    pub(super) opened: Option<Opened>,
    /// What it has of the files of the collection, until it takes part in fetching those.
    pub(super) files: Option<Has>,
    commands: mpsc::Sender<SourceCommand>,
    /// Ends its connection when it is a source no longer, also while it takes no commands.
    _connection: DropGuard,
}

impl Sources {
    pub(super) fn new(delivery: Delivery, key: Key, slot: Arc<Slot>) -> (Self, mpsc::Receiver<Event>) {
        let (events, incoming) = mpsc::channel(EVENTS);
        let sources = Self {
            delivery,
            key,
            slot,
            hashes_known: Arc::default(),
            by_id: BTreeMap::new(),
            by_addr: BTreeMap::new(),
            blamed: BTreeSet::new(),
            lost: Vec::new(),
            lost_sending: BTreeMap::new(),
            last: 0,
            events,
            tasks: JoinSet::new(),
        };
        (sources, incoming)
    }

    /// One that gave nothing yet and did not say that it holds the content, or has given nothing for
    /// long, if there is no room for one that holds it: those who only say that they do must not keep it
    /// out.
    pub(super) fn in_the_way(&self) -> Option<SourceId> {
        if self.by_id.len() < self.delivery.0.options.max_sources {
            return None;
        }
        let useless = |source: &Source| {
            source.bytes == 0 && (source.fetches || source.since.elapsed() >= GIVES_NOTHING)
        };
        self.by_id.iter().find(|(_, source)| useless(source)).map(|(id, _)| *id)
    }

    /// Whether it is not a source already, and may be one.
    pub(super) fn is_wanted(&self, addr: SocketAddr, contact: Option<Contact>) -> bool {
        !self.by_addr.contains_key(&addr)
            && !self.blamed.contains(&addr)
            && !self.delivery.is_me(addr, contact)
    }

    /// Opens a source, unless it is one already, or is not to be one.
    pub(super) fn open(
        &mut self,
        addr: SocketAddr,
        contact: Option<Contact>,
        how: String,
        fetches: bool,
    ) -> Option<&mut Source> {
        let options = &self.delivery.0.options;
        if self.by_id.len() >= options.max_sources || !self.is_wanted(addr, contact) {
            return None;
        }
        self.last += 1;
        let id = self.last;
        let (commands, incoming) = mpsc::channel(COMMANDS);
        let stop = CancellationToken::new();
        let me = self.delivery.0.me;
        let options = SourceOptions {
            network: options.network,
            addr,
            interest: Interest { key: self.key.clone(), files: false, id: Some(me.id), port: Some(me.port) },
            hashes_known: self.hashes_known.clone(),
            pool: self.delivery.0.pool.clone(),
            down: self.delivery.0.down.clone(),
            limits: self.limits(addr),
            stop: stop.clone(),
        };
        self.tasks.spawn(source::run(id, options, self.slot.clone(), incoming, self.events.clone()));
        self.by_addr.insert(addr, id);
        let source = Source {
            addr,
            contact,
            how,
            fetches,
            asked_itself: false,
            bytes: 0,
            since: Instant::now(),
            opened: None,
            files: None,
            commands,
            _connection: stop.drop_guard(),
        };
        Some(self.by_id.entry(id).or_insert(source))
    }

    /// How long this one is waited for.
    fn limits(&self, addr: SocketAddr) -> SourceLimits {
        let limits = &self.delivery.0.options.source_limits;
        let doubled = self.lost_sending.get(&addr).map_or(0, |times| MOST_DOUBLED.min(*times));
        SourceLimits { answer_timeout: limits.answer_timeout * (1 << doubled), ..limits.clone() }
    }

    /// Whether the piece hashes are known, and connections from now on need not ask for them.
    pub(super) fn know_hashes(&self, known: bool) {
        self.hashes_known.store(known, Ordering::Release);
    }

    pub(super) fn get(&self, id: SourceId) -> Option<&Source> {
        self.by_id.get(&id)
    }

    /// What a source said first, if it has.
    pub(super) fn opened(&self, id: SourceId) -> Option<&Opened> {
        self.get(id)?.opened.as_ref()
    }

    pub(super) fn opened_mut(&mut self, id: SourceId) -> Option<&mut Opened> {
        self.get_mut(id)?.opened.as_mut()
    }

    pub(super) fn get_mut(&mut self, id: SourceId) -> Option<&mut Source> {
        self.by_id.get_mut(&id)
    }

    /// Where the source with this peer's id listens.
    pub(super) fn addr_of(&self, id: PeerId) -> Option<SocketAddr> {
        let is_it = |source: &&Source| source.contact.is_some_and(|contact| contact.id == id);
        self.by_id.values().find(is_it).map(|source| source.addr)
    }

    pub(super) fn ids(&self) -> Vec<SourceId> {
        self.by_id.keys().copied().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Tells a source what to do. One that is gone has said so, or will. False if it is so far behind
    /// that it cannot be told: it is not waited for, since others would wait with it.
    #[must_use]
    pub(super) fn tell(&self, id: SourceId, command: SourceCommand) -> bool {
        let told = self.by_id.get(&id).map(|source| source.commands.try_send(command));
        !matches!(told, Some(Err(TrySendError::Full(_))))
    }

    /// A source is used no longer. Its connection ends. Where it was, unless nobody needs to hear of it:
    /// it had been lost so before, and has sent nothing since.
    pub(super) fn lose(&mut self, id: SourceId, why: &str, blame: bool) -> Option<SocketAddr> {
        let source = self.forget(id)?;
        if blame {
            if self.blamed.len() >= MAX_BLAMED {
                self.blamed.pop_first();
            }
            self.blamed.insert(source.addr);
            // Whoever asked for the content is told too.
            tracing::info!(source = %source.addr, why, "a source is not used any more");
        } else if source.bytes > 0
            && (self.lost_sending.len() < REMEMBERED || self.lost_sending.contains_key(&source.addr))
        {
            *self.lost_sending.entry(source.addr).or_default() += 1;
        }
        let is_same = |r: &&mut SourceReport| r.addr == source.addr && r.lost.as_deref() == Some(why);
        if let Some(before) = self.lost.iter_mut().find(is_same) {
            before.bytes += source.bytes;
            return (source.bytes > 0).then_some(source.addr);
        }
        if self.lost.len() < REMEMBERED {
            self.lost.push(SourceReport { lost: Some(why.to_owned()), ..report(&source) });
        }
        Some(source.addr)
    }

    /// Whatever it was, it has come to nothing that anybody has to hear of.
    pub(super) fn forget(&mut self, id: SourceId) -> Option<Source> {
        let source = self.by_id.remove(&id)?;
        self.by_addr.remove(&source.addr);
        while let Some(ended) = self.tasks.try_join_next() {
            note_panic(ended);
        }
        Some(source)
    }

    /// Whether a source there was lost for this before, as far as is remembered.
    pub(super) fn was_lost(&self, addr: SocketAddr, why: &str) -> bool {
        self.lost.iter().any(|report| report.addr == addr && report.lost.as_deref() == Some(why))
    }

    /// Why sources were lost, in words.
    pub(super) fn complaints(&self) -> Vec<String> {
        let lost = self.lost.iter().filter_map(|r| Some(format!("{}: {}", r.addr, r.lost.as_ref()?)));
        lost.collect()
    }

    /// All sources, those that were lost too.
    pub(super) fn reports(&self) -> Vec<SourceReport> {
        self.lost.iter().cloned().chain(self.by_id.values().map(report)).collect()
    }

    /// Who has sent most, over all its connections.
    pub(super) fn main(&self) -> Option<Contact> {
        let mut sent: BTreeMap<_, (u64, Option<Contact>)> = BTreeMap::new();
        for report in self.reports() {
            let (bytes, peer) = sent.entry(report.addr).or_default();
            *bytes += report.bytes;
            *peer = report.peer.or(*peer);
        }
        sent.into_values().filter(|(bytes, _)| *bytes > 0).max_by_key(|(bytes, _)| *bytes)?.1
    }

    /// Ends all connections. Pieces that are being checked have been written by then. Nobody takes
    /// events any more: their channel is to be closed before.
    pub(super) async fn shutdown(&mut self) {
        self.by_id.clear();
        while let Some(ended) = self.tasks.join_next().await {
            note_panic(ended);
        }
    }
}

fn note_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a bug of ours: the connection to a source broke");
    }
}

fn report(source: &Source) -> SourceReport {
    SourceReport {
        addr: source.addr,
        peer: source.contact,
        how: source.how.clone(),
        bytes: source.bytes,
        rate: 0,
        complete: false,
        lost: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Catalogue;
    use crate::delivery::DeliveryOptions;
    use crate::peer::PeerHandle;

    /// Those of a fetch by this peer.
    fn sources(options: DeliveryOptions) -> (Sources, mpsc::Receiver<Event>) {
        let catalogue = Catalogue::temporary().unwrap();
        let (delivery, _) = Delivery::new(me(), catalogue, PeerHandle::new().0, options);
        Sources::new(delivery, Key::new("k").unwrap(), Arc::default())
    }

    fn me() -> Contact {
        Contact::new(PeerId::new(1).unwrap(), "127.0.0.1:7".parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn only_who_gave_nothing_and_does_not_hold_it_or_had_its_time_makes_room() {
        let options = DeliveryOptions { max_sources: 2, ..DeliveryOptions::default() };
        let (mut sources, mut incoming) = sources(options);
        let [holder, fetcher, other] =
            ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"].map(|a| a.parse().unwrap());
        sources.open(holder, None, String::new(), false);
        assert_eq!(sources.in_the_way(), None, "there is room");
        sources.open(fetcher, None, String::new(), true);
        let second = sources.by_addr[&fetcher];
        assert_eq!(sources.in_the_way(), Some(second));
        assert!(sources.is_wanted(other, None) && !sources.is_wanted(holder, None));
        assert!(!sources.is_wanted(me().addr(), None), "it is us");
        sources.get_mut(second).unwrap().bytes = 1;
        assert_eq!(sources.in_the_way(), None, "it is of use");
        tokio::time::advance(GIVES_NOTHING).await;
        assert_eq!(sources.in_the_way(), Some(sources.by_addr[&holder]), "it only says that it holds it");
        sources.lose(second, "it sent what it should not have", true).unwrap();
        assert!(!sources.is_wanted(fetcher, None), "who is blamed is not asked again");
        incoming.close();
        sources.shutdown().await;
    }

    #[tokio::test]
    async fn who_has_sent_most_in_several_connections_is_the_main_one() {
        let (mut sources, mut incoming) = sources(DeliveryOptions::default());
        let contact = |id, addr: &str| Contact::new(PeerId::new(id).unwrap(), addr.parse().unwrap());
        let [back, steady, silent] =
            [contact(2, "127.0.0.1:1"), contact(3, "127.0.0.1:2"), contact(4, "127.0.0.1:3")];
        assert_eq!(sources.main(), None);
        for (from, bytes, why) in [
            (silent, 0, "no answer in time"),
            (back, 60, "no answer in time"),
            (back, 50, "it closed the connection"),
            (steady, 100, "it closed the connection"),
        ] {
            sources.open(from.addr(), Some(from), String::new(), false);
            let id = sources.by_addr[&from.addr()];
            sources.get_mut(id).unwrap().bytes = bytes;
            sources.lose(id, why, false);
        }
        assert_eq!(sources.main(), Some(back));
        sources.open(steady.addr(), Some(steady), String::new(), false);
        let id = sources.by_addr[&steady.addr()];
        sources.get_mut(id).unwrap().bytes = 11;
        assert_eq!(sources.main(), Some(steady));
        incoming.close();
        sources.shutdown().await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_lost_while_it_sent_is_waited_for_longer_the_next_time() {
        let (mut sources, mut incoming) = sources(DeliveryOptions::default());
        let [sends, silent] = ["127.0.0.1:1", "127.0.0.1:2"].map(|addr| addr.parse().unwrap());
        let usual = SourceLimits::default().answer_timeout;
        for times in [1, 2, 4, 8, 16, 16] {
            for (addr, bytes, window) in [(sends, 1000, times * usual), (silent, 0, usual)] {
                assert_eq!(sources.limits(addr).answer_timeout, window, "{addr}");
                sources.open(addr, None, String::new(), false);
                let id = sources.by_addr[&addr];
                sources.get_mut(id).unwrap().bytes = bytes;
                let is_told = sources.lose(id, "no answer in time", false).is_some();
                assert!(is_told || bytes == 0, "{addr}");
            }
        }
        let lost: Vec<_> = sources.reports().into_iter().map(|report| (report.addr, report.bytes)).collect();
        assert_eq!(lost, [(sends, 6000), (silent, 0)]);
        incoming.close();
        sources.shutdown().await;
    }
}
