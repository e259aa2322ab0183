//! Who is told of which piece, and when.

use super::Download;
use super::types::{DownloadOutput, Listener};
use crate::message::MAX_NEWS;
use crate::time::Instant;

impl Download {
    /// Tells of a piece that has come: at once of one that few have.
    pub(super) fn spread(&mut self, now: Instant, piece: u32) {
        let fetching = self.sources.values().filter(|source| !source.pieces.is_full()).count();
        let copies = self.copies[piece as usize] as usize;
        let rare = self.uplink_idle || copies == 0 || (copies + 1) * 4 <= fetching + 1;
        let mut listeners = Vec::new();
        for (id, addr) in &self.subscribers {
            let source = addr.and_then(|addr| self.by_addr.get(&addr)).and_then(|id| self.sources.get(id));
            if !source.is_some_and(|source| source.pieces.contains(piece)) {
                listeners.push((Listener::Subscriber(*id), rare));
            }
        }
        let choosing = self.sources.iter().filter(|(_, source)| source.holds_all());
        listeners.extend(choosing.map(|(id, _)| (Listener::Source(*id), false)));
        for (listener, now) in listeners {
            let news = self.news.entry(listener).or_default();
            news.push(piece);
            if now || news.len() >= MAX_NEWS {
                self.tell(listener);
            }
        }
        if !self.news.is_empty() && self.news_at.is_none() {
            self.news_at = Some(now + self.config.news_delay);
        }
    }

    pub(super) fn tell(&mut self, listener: Listener) {
        for pieces in self.news.remove(&listener).unwrap_or_default().chunks(MAX_NEWS) {
            self.outputs.push_back(DownloadOutput::Tell(listener, pieces.to_vec()));
        }
    }

    pub(super) fn tell_all(&mut self) {
        self.news_at = None;
        let listeners: Vec<Listener> = self.news.keys().copied().collect();
        for listener in listeners {
            self.tell(listener);
        }
    }
}
