//! Those who are told of pieces as they come, and for whom a fetch that is complete stays.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use askaround_core::download::{DownloadInput, SubscriberId};
use askaround_core::id::{Contact, PeerId};
use askaround_core::pieces::PieceSet;
use tokio::sync::watch;

use super::super::{Fetch, Kind};
use super::Run;
use super::stage::Stage;
use crate::delivery::active::Subscribe;
use crate::lock;

/// How long a fetch that is complete stays before it says so.
const SAYS_THAT_IT_STAYS: Duration = Duration::from_secs(1);
/// So many of those for whom it stays are named.
const NAMED: usize = 3;
/// The most who are told of pieces.
const MAX_SUBSCRIBERS: usize = 1024;

/// Somebody who is told of pieces.
pub(super) struct Subscriber {
    told: watch::Sender<PieceSet>,
    /// Who it says that it is.
    id: Option<PeerId>,
}

impl Fetch {
    /// Somebody wants to be told of pieces; if it fetches too, it is a source as well.
    pub(super) fn subscribed(&mut self, run: &mut Run, subscribe: Subscribe) {
        let Subscribe { told, addr, id } = subscribe;
        // Whoever is a source under another address, since it has several, is one all the same.
        let addr = addr.map(|addr| id.and_then(|id| self.sources.addr_of(id)).unwrap_or(addr));
        if run.subscribers.len() >= MAX_SUBSCRIBERS {
            run.forget_those_gone();
            if run.subscribers.len() >= MAX_SUBSCRIBERS {
                return;
            }
        }
        // What came since it asked.
        told.send_replace(lock(&run.download).have().clone());
        run.last_subscriber += 1;
        run.subscribers.insert(run.last_subscriber, Subscriber { told, id });
        run.handle(DownloadInput::Subscribed { subscriber: run.last_subscriber, addr });
        if let Some(addr) = addr.filter(|_| self.kind != Kind::FromOne) {
            self.asks_itself(addr, id);
        }
    }

    /// Whoever fetches too and asks here is a source as well.
    fn asks_itself(&mut self, addr: SocketAddr, id: Option<PeerId>) {
        let contact = id.map(|id| Contact::new(id, addr));
        let opened = self.sources.open(addr, contact, "it asked for pieces itself".into(), true);
        if let Some(source) = opened {
            source.asked_itself = true;
        }
    }

    /// A fetch that is complete and stays for a while says why.
    pub(super) fn say_that_it_stays(&self, run: &mut Run) {
        let Stage::Complete { since, said: said @ false } = &mut run.stage else { return };
        if since.elapsed() < SAYS_THAT_IT_STAYS {
            return;
        }
        *said = true;
        let waits: BTreeSet<_> = lock(&run.download).waited_for().collect();
        let named = waits.iter().take(NAMED).map(|(addr, has)| format!("{addr} has {has}"));
        let mut named = named.collect::<Vec<_>>().join(", ");
        if waits.len() > NAMED {
            named.push_str(", …");
        }
        self.note(if waits.is_empty() {
            "complete; it stays for a moment, since others who fetch it may come".into()
        } else {
            let count = run.worth.len();
            format!("complete; it stays for a while, since others fetch from here: of {count} pieces {named}")
        });
    }
}

impl Run {
    /// A source takes part. If it listens to us too, it may have come from another address.
    pub(super) fn listens_at(&mut self, peer: Option<PeerId>, addr: SocketAddr) {
        let same = self.subscribers.iter().filter(|(_, subscriber)| peer.is_some() && subscriber.id == peer);
        for subscriber in same.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.handle(DownloadInput::Subscribed { subscriber, addr: Some(addr) });
        }
    }

    /// Everybody who listens learns that everything is here, also of what it has itself and was
    /// not told of: so others know who still needs them.
    pub(super) fn tell_all(&self) {
        for Subscriber { told, .. } in self.subscribers.values() {
            told.send_replace(PieceSet::full(self.worth.len() as u32));
        }
    }

    /// Those who listen no longer are told of nothing more.
    fn forget_those_gone(&mut self) {
        let is_gone =
            |(id, subscriber): (&SubscriberId, &Subscriber)| subscriber.told.is_closed().then_some(*id);
        for gone in self.subscribers.iter().filter_map(is_gone).collect::<Vec<_>>() {
            self.subscribers.remove(&gone);
            self.handle(DownloadInput::Unsubscribed(gone));
        }
    }

    pub(super) fn tell(&mut self, subscriber: SubscriberId, pieces: &[u32]) {
        let Some(Subscriber { told, .. }) = self.subscribers.get(&subscriber) else { return };
        if told.is_closed() {
            self.subscribers.remove(&subscriber);
            return self.handle(DownloadInput::Unsubscribed(subscriber));
        }
        told.send_modify(|told| {
            for piece in pieces {
                told.insert(*piece);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use askaround_core::key::Key;
    use askaround_core::peer::AskError;

    use super::super::super::testing;

    #[tokio::test(start_paused = true)]
    async fn who_asks_from_a_port_where_nobody_is_costs_no_word() {
        let (mut fetch, mut told) = testing::fetch(&Key::new("k").unwrap());
        let unreachable = AskError::Unreachable("connection refused".into());
        for port in 1..=3 {
            fetch.asks_itself(([127, 0, 0, 1], port).into(), None);
            let id = fetch.sources.ids()[0];
            fetch.gone(id, &unreachable);
            assert!(fetch.sources.is_empty());
        }
        assert!(told.try_recv().is_err() && fetch.sources.complaints().is_empty());
        // One that was found is told of.
        fetch.sources.open(([127, 0, 0, 1], 4).into(), None, String::new(), true);
        fetch.gone(fetch.sources.ids()[0], &unreachable);
        assert!(told.try_recv().is_ok());
        fetch.end().await;
    }
}
