//! [`Search`]: how a key is found by asking around (PROTOCOL.md §5).
//!
//! A search is a machine of its own, without I/O and without time. Take questions from
//! [`Search::next`] until it gives none, get them answered in any order, hand each answer back
//! ([`Search::on_answer`], [`Search::on_failure`]), and repeat until [`Search::result`] is there.
//! With a width of 1 there is never more than one question open, and the order is the
//! document's; a larger width asks several peers of a list at once.

mod chain;
mod longer_list;
#[cfg(test)]
mod tests;
mod types;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use crate::id::Contact;
use crate::message::{HaveAnswer, Page};
use chain::{Chain, Step};
pub use types::{Ask, Failure, Holder, Question, Reason, Reply, SearchConfig, SearchResult, Unanswered};

/// So many times the width may be open of questions that take long.
const MAX_SLOW: usize = 7;

/// One search for one key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Search {
    config: SearchConfig,
    me: Contact,
    stage: Stage,
    /// What each address said when asked for the key.
    answers: BTreeMap<SocketAddr, Option<HaveAnswer>>,
    /// Who did not say in time whether it has the key, and is asked nothing more for that.
    silent: BTreeSet<SocketAddr>,
    /// Addresses that stand on any level.
    seen: BTreeSet<SocketAddr>,
    level: u32,
    /// The present level, in order; grows while its pages come.
    members: Vec<Member>,
    /// Whether the searcher has its place on the first level.
    listed: bool,
    next_member: usize,
    chains: Vec<Chain>,
    open: BTreeMap<u64, Open>,
    /// Those of the open questions that take long, by their numbers.
    slow: BTreeSet<u64>,
    next_number: u64,
    truncated: bool,
    result: Option<SearchResult>,
    holders: VecDeque<Holder>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Member {
    Me,
    Peer(Contact),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Stage {
    /// Ask the own originator, if there is one.
    OwnOriginator(Option<Contact>),
    /// Ask everybody of the present level. `more` is what to ask the tracker for next.
    Asking { more: Option<Page>, pages: usize },
    /// Ask everybody of the present level whom they know, then make the next level.
    Expanding { queue: VecDeque<(usize, Page, usize)>, known: BTreeMap<SocketAddr, Known> },
}

/// Somebody new, with where that was said first: by which member of the level, on which page, at which
/// place. Each once, however many know it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Known {
    said: (usize, usize, usize),
    peer: Contact,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Open {
    OwnOriginator(Contact),
    Listing,
    Chain(Contact, Reason),
    Known { member: usize, pages: usize },
}

impl Search {
    /// A search by `me`, who does not hold the key and got it from `own_originator` before.
    pub fn new(me: Contact, own_originator: Option<Contact>, config: SearchConfig) -> Self {
        Self {
            config: SearchConfig { width: config.width.max(1), ..config },
            me,
            stage: Stage::OwnOriginator(own_originator.filter(|o| !is_me(&me, o))),
            answers: BTreeMap::new(),
            silent: BTreeSet::new(),
            seen: BTreeSet::new(),
            level: 0,
            members: Vec::new(),
            listed: false,
            next_member: 0,
            chains: Vec::new(),
            open: BTreeMap::new(),
            slow: BTreeSet::new(),
            next_number: 0,
            truncated: false,
            result: None,
            holders: VecDeque::new(),
        }
    }

    /// The next holder that a collecting search has found.
    pub fn next_holder(&mut self) -> Option<Holder> {
        self.holders.pop_front()
    }

    /// Goes on as if the peer that was found did not hold the key: it turned out not to.
    pub fn reject_found(&mut self) {
        if let Some(SearchResult::Found(peer, _)) = &self.result {
            self.answers.insert(peer.addr(), Some(HaveAnswer::No));
            self.result = None;
            self.advance_chains();
        }
    }

    /// How it ended, once it has.
    pub fn result(&self) -> Option<&SearchResult> {
        self.result.as_ref()
    }

    /// How many questions were asked so far.
    pub fn questions(&self) -> u64 {
        self.next_number
    }

    /// Which level was asked last: 0 is the tracker's list, then come those of the longer list.
    pub fn level(&self) -> u32 {
        self.level
    }

    /// The next question, if one can be asked now. `None` means: wait for an answer, or look
    /// at [`Search::result`].
    // Not an iterator: it may give more after it gave none.
    #[expect(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<Question> {
        while self.result.is_none() && self.has_room(self.open.len(), self.slow.len()) {
            let question = match &mut self.stage {
                Stage::OwnOriginator(originator) => match originator.take() {
                    Some(peer) => {
                        self.answers.insert(peer.addr(), None);
                        let open = Open::OwnOriginator(peer);
                        Some(self.question(Ask::Have(peer), Reason::OwnOriginator, open))
                    }
                    None if self.open.len() == self.slow.len() => {
                        self.stage = Stage::Asking { more: Some(Page::default()), pages: 0 };
                        continue;
                    }
                    None => None,
                },
                Stage::Asking { .. } => match self.next_asking() {
                    Some(question) => Some(question),
                    None if self.open.is_empty() && self.chains.is_empty() => {
                        self.begin_expanding();
                        continue;
                    }
                    None => None,
                },
                Stage::Expanding { queue, .. } => match queue.pop_front() {
                    Some((member, page, pages)) => Some(self.ask_known(member, page, pages)),
                    None if self.open.is_empty() => {
                        self.next_level();
                        continue;
                    }
                    None => None,
                },
            };
            return question;
        }
        None
    }

    /// Question `number` takes long. Others are asked besides, as if it were not open; up to
    /// seven times the width. Not where `ask_silent` is set.
    pub fn on_slow(&mut self, number: u64) {
        if self.open.contains_key(&number) && !self.config.ask_silent {
            self.slow.insert(number);
        }
    }

    /// Whether of so many that are open, of which so many are slow, there may be one more.
    fn has_room(&self, open: usize, slow: usize) -> bool {
        open - slow.min(MAX_SLOW * self.config.width) < self.config.width
    }

    /// Question `number` is open no longer.
    fn close(&mut self, number: u64) -> Option<Open> {
        self.slow.remove(&number);
        self.open.remove(&number)
    }

    /// An answer came to question `number`. One of the wrong kind counts as a failure.
    pub fn on_answer(&mut self, number: u64, reply: Reply) {
        let Some(open) = self.close(number) else { return };
        match (open, reply) {
            (Open::OwnOriginator(peer), Reply::Have(answer)) => {
                let answer = self.collect(peer, Reason::OwnOriginator, answer);
                self.answers.insert(peer.addr(), Some(answer));
                if answer == HaveAnswer::Have {
                    self.result = Some(SearchResult::Found(peer, Reason::OwnOriginator));
                }
            }
            (Open::Chain(peer, reason), Reply::Have(answer)) => {
                let answer = self.collect(peer, reason, answer);
                self.answers.insert(peer.addr(), Some(answer));
                self.advance_chains();
            }
            (Open::Listing, Reply::Peers { peers, next }) => self.on_list(peers, next),
            (Open::Known { member, pages }, Reply::Peers { peers, next }) => {
                self.on_known(member, pages, peers, next);
            }
            (open, _) => _ = self.fail(open),
        }
    }

    /// Question `number` has no answer: that counts as *no*. Says what it was about, if it was open.
    pub fn on_failure(&mut self, number: u64, failure: Failure) -> Option<Unanswered> {
        let open = self.close(number)?;
        if let Open::OwnOriginator(peer) | Open::Chain(peer, _) = &open
            && failure == Failure::TimedOut
            && !self.config.ask_silent
        {
            self.silent.insert(peer.addr());
        }
        Some(self.fail(open))
    }

    fn fail(&mut self, open: Open) -> Unanswered {
        match open {
            Open::OwnOriginator(peer) | Open::Chain(peer, _) => {
                self.answers.insert(peer.addr(), Some(HaveAnswer::No));
                self.advance_chains();
                Unanswered::Have
            }
            Open::Listing => {
                self.end_list();
                Unanswered::Listing
            }
            Open::Known { .. } => Unanswered::Known,
        }
    }

    /// Notes a holder, if this search collects them, and gives what its answer means for going on.
    fn collect(&mut self, peer: Contact, reason: Reason, answer: HaveAnswer) -> HaveAnswer {
        let complete = match answer {
            HaveAnswer::Have => true,
            HaveAnswer::Fetching(_) => false,
            HaveAnswer::Hint(_) | HaveAnswer::No => return answer,
        };
        if !self.config.collect {
            return answer;
        }
        self.holders.push_back(Holder { peer, reason, complete });
        answer.hint().map_or(HaveAnswer::No, HaveAnswer::Hint)
    }

    fn question(&mut self, ask: Ask, reason: Reason, open: Open) -> Question {
        self.next_number += 1;
        self.open.insert(self.next_number, open);
        Question { number: self.next_number, ask, reason }
    }

    /// Why the members of the present level are on it.
    fn level_reason(&self) -> Reason {
        if self.level == 0 { Reason::Listed } else { Reason::LongerList(self.level) }
    }

    /// Step 3: the next question about the present level.
    fn next_asking(&mut self) -> Option<Question> {
        if let Some(chain) = self.chains.iter_mut().find(|chain| chain.is_ready()) {
            let (target, reason) = chain.start();
            self.answers.insert(target.addr(), None);
            // Other chains that lead to the same peer wait for the one answer.
            self.advance_chains();
            return Some(self.question(Ask::Have(target), reason, Open::Chain(target, reason)));
        }
        while self.has_room(self.chains.len(), self.slow_chains()) && self.next_member < self.members.len() {
            let member = self.members[self.next_member];
            self.next_member += 1;
            if let Member::Peer(contact) = member {
                self.chains.push(Chain::new(contact, self.level_reason()));
                self.advance_chains();
                if self.result.is_some() {
                    return None;
                }
                if self.chains.iter().any(Chain::is_ready) {
                    return self.next_asking();
                }
            }
        }
        let Stage::Asking { more, .. } = &mut self.stage else { return None };
        let page = more.take().filter(|_| self.next_member == self.members.len())?;
        Some(self.question(Ask::Tracker(page), Reason::Listed, Open::Listing))
    }

    /// How many chains wait for an answer that takes long.
    fn slow_chains(&self) -> usize {
        let slow = self.slow.iter().filter_map(|number| match self.open.get(number) {
            Some(Open::OwnOriginator(peer) | Open::Chain(peer, _)) => Some(peer.addr()),
            _ => None,
        });
        let slow: BTreeSet<_> = slow.collect();
        self.chains.iter().filter(|chain| slow.contains(&chain.target().addr())).count()
    }

    /// Lets every chain go on as far as known answers lead.
    fn advance_chains(&mut self) {
        let mut i = 0;
        while i < self.chains.len() && self.result.is_none() {
            match self.chains[i].advance(&self.me, &self.answers) {
                Step::Found(peer, reason) => {
                    self.result = Some(SearchResult::Found(peer, reason));
                }
                Step::Ended => {
                    self.chains.remove(i);
                }
                Step::Ask | Step::Wait => i += 1,
            }
        }
    }

    fn on_list(&mut self, peers: Vec<Contact>, next: Option<u64>) {
        for peer in peers {
            if is_me(&self.me, &peer) {
                self.list_me();
            } else if self.is_new(&peer) {
                self.members.push(Member::Peer(peer));
            }
        }
        let full = self.seen.len() >= self.config.max_peers;
        let Stage::Asking { more, pages } = &mut self.stage else { return };
        *pages += 1;
        if next.is_some() && (full || *pages >= self.config.max_pages) {
            self.truncated = true;
        } else if next.is_some() {
            *more = Some(Page::after(next));
            return;
        }
        self.end_list();
    }

    /// The tracker's list is whole. Whoever is not registered stands last on it.
    fn end_list(&mut self) {
        if self.level == 0 {
            self.list_me();
        }
    }

    fn list_me(&mut self) {
        if !std::mem::replace(&mut self.listed, true) {
            self.members.push(Member::Me);
        }
    }

    /// Notes that this peer stands on a level. False if it did already, or if there is no room.
    fn is_new(&mut self, peer: &Contact) -> bool {
        if self.seen.len() >= self.config.max_peers {
            self.truncated |= !self.seen.contains(&peer.addr());
            return false;
        }
        self.seen.insert(peer.addr())
    }
}

/// A peer is the searcher if it has its id or its address.
fn is_me(me: &Contact, peer: &Contact) -> bool {
    peer.id == me.id || peer.addr() == me.addr()
}
