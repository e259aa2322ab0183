//! How a key is found (PROTOCOL.md §5): the real [`Search`], in every network of a few peers, with
//! answers that overtake each other and peers that crash.
//!
//! What a peer answers is chosen when it is first asked, so every network is tried, and no more of
//! each than the search looks at.
//!
//! `network` is what is searched; here are the steps that can be taken in it, and what is wrong
//! with how the search takes them.

mod network;

use std::collections::BTreeSet;

use askaround_core::PeerId;
use askaround_core::id::Contact;
use askaround_core::message::{HaveAnswer, Page};
use askaround_core::search::{Ask, Failure, Question, Reason, Reply, Search, SearchConfig, SearchResult};
use stateright::{Model, Property};

pub use network::Says;
use network::{Asked, ME, Network, Whose, asked, contact, number, whose};

/// A deliberate mistake, which a property must catch. Only tests make one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Asks once more when somebody did not answer.
    AsksAgain,
    /// Loses what it is answered about the longer list.
    LosesAnswers,
    /// Overlooks the last peer of the tracker's list.
    OverlooksTheLast,
    /// Does not read the longer list.
    NoLongerList,
    /// Takes a hint for the key.
    HintIsEnough,
    /// Follows a third further hint.
    OneHintTooMany,
    /// Has one more question open than it may.
    TooWide,
    /// Reads the tracker's list from its end.
    Backwards,
    /// Does not know its own address.
    DoesNotKnowItself,
    /// Forgets one of the holders that it collects.
    LosesAHolder,
}

/// How large the model is.
#[derive(Debug, Clone)]
pub struct SearchModel {
    /// How many other peers there are.
    pub peers: usize,
    /// How many questions may be open at once.
    pub width: usize,
    /// Whether the searcher may have got something from somebody before.
    pub originator: bool,
    /// How many peers may crash; the tracker is one too.
    pub crashes: u8,
    /// How many entries fit a page of a list.
    pub page: usize,
    /// Whether the search goes on to every holder.
    pub collect: bool,
    /// The most peers on the tracker's list.
    pub most_listed: u32,
    /// The most peers that one peer knows of.
    pub most_known: u32,
    /// A deliberate mistake.
    pub broken: Option<Broken>,
}

/// Everything there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SearchState {
    search: Search,
    /// In the order in which they were asked.
    open: Vec<Question>,
    network: Network,
    asked: BTreeSet<(Asked, Option<u64>)>,
    /// Everybody who stood on a list that was read.
    heard: BTreeSet<usize>,
    /// The last peer that was asked because it is listed.
    last_listed: Option<PeerId>,
    holders: BTreeSet<PeerId>,
    crashes: u8,
    wrong: BTreeSet<Wrong>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Wrong {
    Stuck,
    AskedTwice,
    AskedItself,
    FoundNothing,
    GaveUp,
    TooManyHints,
    TooWide,
    OutOfOrder,
    HolderMissed,
}

/// What can happen next: the open question of this place is answered, or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A peer is asked for the first time, and says this.
    Says(usize, Says),
    /// A list is read for the first time, and is this one.
    Lists(usize, Vec<usize>),
    /// The next page of a list comes.
    NextPage(usize),
    /// Whoever is asked does not answer, now or ever again.
    Crashed(usize),
}

impl SearchModel {
    /// Takes every question that the search has, and looks at how it ended, if it has.
    fn pump(&self, state: &mut SearchState) {
        while let Some(question) = state.search.next() {
            self.note(state, &question);
            state.open.push(question);
        }
        if state.open.len() > self.width {
            state.wrong.insert(Wrong::TooWide);
        }
        let found: Vec<_> =
            std::iter::from_fn(|| state.search.next_holder()).map(|holder| holder.peer.id).collect();
        let lost = usize::from(self.broken == Some(Broken::LosesAHolder));
        state.holders.extend(found.into_iter().skip(lost));
        match state.search.result() {
            None if state.open.is_empty() => {
                state.wrong.insert(Wrong::Stuck);
            }
            None => {}
            Some(SearchResult::Found(peer, _)) => {
                let has = state.network.says.get(&number(peer)) == Some(&Says::Have);
                state.wrong.extend((!has).then_some(Wrong::FoundNothing));
            }
            Some(SearchResult::NotFound { truncated }) => {
                let asked = |what| state.asked.contains(&(what, None));
                let everybody = state
                    .heard
                    .iter()
                    .filter(|peer| **peer != ME)
                    .all(|peer| asked(Asked::Have(*peer)) && asked(Asked::List(Whose::Peer(*peer))));
                let lists = asked(Asked::List(Whose::Tracker)) && asked(Asked::List(Whose::Own));
                let originator = state.network.originator.is_none_or(|peer| asked(Asked::Have(peer)));
                let has = state.network.says.iter().filter(|(_, says)| **says == Says::Have);
                let has: BTreeSet<PeerId> = has.map(|(peer, _)| contact(*peer).id).collect();
                if *truncated || !everybody || !lists || !originator || (!self.collect && !has.is_empty()) {
                    state.wrong.insert(Wrong::GaveUp);
                }
                if self.collect && has != state.holders {
                    state.wrong.insert(Wrong::HolderMissed);
                }
            }
        }
    }

    /// Checks a question as it is asked.
    fn note(&self, state: &mut SearchState, question: &Question) {
        if !state.asked.insert(asked(&question.ask)) {
            state.wrong.insert(Wrong::AskedTwice);
        }
        if whose(&question.ask) == Whose::Peer(ME) {
            state.wrong.insert(Wrong::AskedItself);
        }
        let Ask::Have(peer) = &question.ask else { return };
        match question.reason {
            Reason::Hint { by, further } => {
                let hinted = state.network.says.get(&number(&by)) == Some(&Says::Hint(number(peer)));
                if further > 2 || !hinted {
                    state.wrong.insert(Wrong::TooManyHints);
                }
            }
            Reason::Listed => {
                if state.last_listed.is_some_and(|last| last >= peer.id) {
                    state.wrong.insert(Wrong::OutOfOrder);
                }
                state.last_listed = Some(peer.id);
            }
            Reason::OwnOriginator | Reason::LongerList(_) => {}
        }
    }

    /// Every list that this one can be, in the order in which it is told.
    fn lists(&self, state: &SearchState, whose: Whose) -> Vec<Vec<usize>> {
        let all: Vec<usize> = (0..self.peers).chain([ME]).collect();
        // Whom somebody got the key from, it knows.
        let (not, must) = match whose {
            Whose::Tracker => (None, None),
            Whose::Own => (Some(ME), state.network.originator),
            Whose::Peer(peer) => match state.network.says.get(&peer) {
                Some(Says::Hint(to)) => (Some(peer), Some(*to)),
                _ => (Some(peer), None),
            },
        };
        let most = match whose {
            Whose::Tracker => self.most_listed,
            Whose::Own if !self.originator => 0,
            _ => self.most_known,
        };
        let subsets = (0u32..1 << all.len()).filter(|set| set.count_ones() <= most);
        let subsets = subsets.map(|set| {
            let mut list: Vec<usize> = (0..all.len()).filter(|i| set >> i & 1 == 1).map(|i| all[i]).collect();
            list.sort_by_key(|peer| contact(*peer).id);
            if whose != Whose::Tracker {
                list.reverse();
            }
            list
        });
        subsets
            .filter(|list| {
                not.is_none_or(|not| !list.contains(&not)) && must.is_none_or(|must| list.contains(&must))
            })
            .collect()
    }

    /// Hands the search a page of a list.
    fn page(&self, state: &mut SearchState, question: &Question) {
        let whose = whose(&question.ask);
        let mut list = state.network.lists[&whose].clone();
        match (self.broken, whose) {
            (Some(Broken::LosesAnswers), Whose::Peer(_)) => return,
            (Some(Broken::NoLongerList), Whose::Peer(_)) => {
                state.heard.extend(list.drain(..));
            }
            (Some(Broken::OverlooksTheLast), Whose::Tracker) => state.heard.extend(list.pop()),
            (Some(Broken::Backwards), Whose::Tracker) => list.reverse(),
            _ => {}
        }
        let (Ask::Tracker(Page { after, .. }) | Ask::Known(_, Page { after, .. })) = question.ask else {
            state.heard.extend(&list);
            let peers = list.into_iter().map(contact).collect();
            return state.search.on_answer(question.number, Reply::Peers { peers, next: None });
        };
        let start = after.map_or(0, |after| {
            list.iter().position(|peer| contact(*peer).id.as_u64() == after).map_or(0, |at| at + 1)
        });
        let end = list.len().min(start + self.page);
        state.heard.extend(&list[start..end]);
        let peers: Vec<Contact> = list[start..end].iter().copied().map(contact).collect();
        let next = peers.last().filter(|_| end < list.len()).map(|peer| peer.id.as_u64());
        state.search.on_answer(question.number, Reply::Peers { peers, next });
    }

    /// Hands the search what a peer says about the key.
    fn say(&self, state: &mut SearchState, question: &Question, says: Says) {
        let answer = match says {
            Says::Have => HaveAnswer::Have,
            Says::No => HaveAnswer::No,
            Says::Hint(_) if self.broken == Some(Broken::HintIsEnough) => HaveAnswer::Have,
            Says::Hint(to) => HaveAnswer::Hint(contact(to)),
        };
        state.search.on_answer(question.number, Reply::Have(answer));
        if let (
            Some(Broken::OneHintTooMany),
            Says::Hint(to),
            Reason::Hint { further: 2, .. },
            Ask::Have(by),
        ) = (self.broken, says, question.reason, &question.ask)
        {
            let reason = Reason::Hint { by: *by, further: 3 };
            self.note(state, &Question { number: u64::MAX, ask: Ask::Have(contact(to)), reason });
        }
    }
}

impl Model for SearchModel {
    type State = SearchState;
    type Action = Step;

    fn init_states(&self) -> Vec<SearchState> {
        let width = self.width + usize::from(self.broken == Some(Broken::TooWide));
        let config = SearchConfig { width, collect: self.collect, ..SearchConfig::default() };
        let mut me = contact(ME);
        if self.broken == Some(Broken::DoesNotKnowItself) {
            (me.id, me.port) = (PeerId::MAX, 9);
        }
        let state = |originator: Option<usize>| {
            let mut state = SearchState {
                search: Search::new(me, originator.map(contact), config.clone()),
                open: Vec::new(),
                network: Network { originator, ..Network::default() },
                asked: BTreeSet::new(),
                heard: BTreeSet::new(),
                last_listed: None,
                holders: BTreeSet::new(),
                crashes: self.crashes,
                wrong: BTreeSet::new(),
            };
            self.pump(&mut state);
            state
        };
        let originators = (0..self.peers).filter(|_| self.originator).map(Some);
        originators.chain([None]).map(state).collect()
    }

    fn actions(&self, state: &SearchState, actions: &mut Vec<Step>) {
        if state.search.result().is_some() {
            return;
        }
        for (i, question) in state.open.iter().enumerate() {
            let (what, _) = asked(&question.ask);
            let whose = whose(&question.ask);
            let crashed = state.network.crashed.contains(&whose);
            if crashed || (state.crashes > 0 && whose != Whose::Own) {
                actions.push(Step::Crashed(i));
            }
            match what {
                _ if crashed => {}
                Asked::List(whose) if state.network.lists.contains_key(&whose) => {
                    actions.push(Step::NextPage(i));
                }
                Asked::List(whose) => {
                    actions.extend(self.lists(state, whose).into_iter().map(|list| Step::Lists(i, list)));
                }
                Asked::Have(peer) => {
                    let others = (0..self.peers).chain([ME]).filter(|to| *to != peer);
                    actions.extend(
                        others.map(Says::Hint).chain([Says::Have, Says::No]).map(|says| Step::Says(i, says)),
                    );
                }
            }
        }
    }

    fn next_state(&self, last: &SearchState, step: Step) -> Option<SearchState> {
        let mut state = last.clone();
        let (Step::Says(i, _) | Step::Lists(i, _) | Step::NextPage(i) | Step::Crashed(i)) = step;
        let question = state.open.remove(i);
        let from = whose(&question.ask);
        match step {
            Step::Says(_, says) => {
                if let Whose::Peer(peer) = from {
                    state.network.says.insert(peer, says);
                }
                self.say(&mut state, &question, says);
            }
            Step::Lists(_, list) => {
                state.network.lists.insert(from, list);
                self.page(&mut state, &question);
            }
            Step::NextPage(_) => self.page(&mut state, &question),
            Step::Crashed(_) => {
                if state.network.crashed.insert(from) {
                    state.crashes -= 1;
                }
                let _ = state.search.on_failure(question.number, Failure::TimedOut);
                if self.broken == Some(Broken::AsksAgain) {
                    self.note(&mut state, &question);
                }
            }
        }
        self.pump(&mut state);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("it ends: it has a result or a question open", |_, state: &SearchState| {
                !state.wrong.contains(&Wrong::Stuck)
            }),
            Property::always("nobody is asked the same thing twice", |_, state: &SearchState| {
                !state.wrong.contains(&Wrong::AskedTwice)
            }),
            Property::always("it never asks itself", |_, state: &SearchState| {
                !state.wrong.contains(&Wrong::AskedItself)
            }),
            Property::always("whoever it finds has the key", |_, state: &SearchState| {
                !state.wrong.contains(&Wrong::FoundNothing)
            }),
            Property::always(
                "it gives up only when everybody that it could hear of has been asked",
                |_, state: &SearchState| !state.wrong.contains(&Wrong::GaveUp),
            ),
            Property::always(
                "it follows what was hinted, and at most two further hints",
                |_, state: &SearchState| !state.wrong.contains(&Wrong::TooManyHints),
            ),
            Property::always("it has no more questions open than its width", |_, state: &SearchState| {
                !state.wrong.contains(&Wrong::TooWide)
            }),
            Property::always("it goes down the tracker's list by id", |_, state: &SearchState| {
                !state.wrong.contains(&Wrong::OutOfOrder)
            }),
            Property::always("who collects misses no holder that it asked", |_, state: &SearchState| {
                !state.wrong.contains(&Wrong::HolderMissed)
            }),
            Property::sometimes("nobody has it", |_, state: &SearchState| {
                matches!(state.search.result(), Some(SearchResult::NotFound { .. }))
                    && state.network.says.len() > 1
            }),
        ];
        if !self.collect {
            properties.push(Property::sometimes("found by a hint", |_, state: &SearchState| {
                matches!(state.search.result(), Some(SearchResult::Found(_, Reason::Hint { .. })))
            }));
            properties.push(Property::sometimes("found on the longer list", |_, state: &SearchState| {
                matches!(state.search.result(), Some(SearchResult::Found(_, Reason::LongerList(_))))
            }));
        }
        properties
    }
}
