//! The longer list of a search: the peers that those of a level know are the next level.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::{Ask, Known, Member, Open, Question, Reason, Search, SearchResult, Stage, is_me};
use crate::id::Contact;
use crate::message::Page;

impl Search {
    /// Step 4: ask everybody of the present level whom they know.
    pub(super) fn begin_expanding(&mut self) {
        let is_asked = |member: &Member| match member {
            Member::Peer(peer) => !self.silent.contains(&peer.addr()),
            Member::Me => true,
        };
        let members = self.members.iter().enumerate().filter(|(_, member)| is_asked(member));
        let queue = members.map(|(member, _)| (member, Page::default(), 0)).collect();
        self.stage = Stage::Expanding { queue, known: BTreeMap::new() };
    }

    pub(super) fn ask_known(&mut self, member: usize, page: Page, pages: usize) -> Question {
        let reason = Reason::LongerList(self.level + 1);
        let ask = match self.members[member] {
            Member::Me => Ask::OwnKnown,
            Member::Peer(contact) => Ask::Known(contact, page),
        };
        self.question(ask, reason, Open::Known { member, pages: pages + 1 })
    }

    pub(super) fn on_known(&mut self, member: usize, pages: usize, peers: Vec<Contact>, next: Option<u64>) {
        let Stage::Expanding { queue, known } = &mut self.stage else { return };
        // What is known already need not be kept, nor what the lists have no room for: that bounds what
        // peers can make us hold.
        let room = self.config.max_peers.saturating_sub(self.seen.len());
        let new = peers.into_iter().enumerate();
        for (at, peer) in new.filter(|(_, p)| !is_me(&self.me, p) && !self.seen.contains(&p.addr())) {
            let here = Known { said: (member, pages, at), peer };
            let is_full = known.len() >= room;
            match known.entry(peer.addr()) {
                Entry::Occupied(mut first) if here.said < first.get().said => _ = first.insert(here),
                Entry::Occupied(_) => {}
                Entry::Vacant(_) if is_full => self.truncated = true,
                Entry::Vacant(place) => _ = place.insert(here),
            }
        }
        if next.is_some() && (pages >= self.config.max_pages || known.len() >= room) {
            self.truncated = true;
        } else if next.is_some() {
            queue.push_front((member, Page::after(next), pages));
        }
    }

    pub(super) fn next_level(&mut self) {
        let Stage::Expanding { known, .. } = &mut self.stage else { return };
        let mut known: Vec<Known> = std::mem::take(known).into_values().collect();
        known.sort_unstable_by_key(|known| known.said);
        let mut members = Vec::new();
        for Known { peer, .. } in known {
            if self.is_new(&peer) {
                members.push(Member::Peer(peer));
            }
        }
        if members.is_empty() {
            self.result = Some(SearchResult::NotFound { truncated: self.truncated });
            return;
        }
        self.members = members;
        self.next_member = 0;
        self.level += 1;
        self.stage = Stage::Asking { more: None, pages: 0 };
    }
}
