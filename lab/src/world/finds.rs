//! How each `Q` of a run went. A scripted peer tells only its log, so the questions are noted as
//! they pass, and a second [`Search`] that is given the same answers says why each was asked.

use std::collections::{BTreeMap, VecDeque};

use askaround_core::id::Contact;
use askaround_core::log::LogEntry;
use askaround_core::message::{Answer, Request, Timestep};
use askaround_core::originators::OriginatorList;
use askaround_core::peer::{AskId, Asked, Target};
use askaround_core::script::{Action, Script};
use askaround_core::search::{Failure, Reason, Reply, Search, SearchConfig, SearchResult};
use askaround_core::{Instant, Key};

/// How a `Q` went.
#[derive(Debug, Clone, PartialEq)]
pub struct Find {
    /// In which timestep.
    pub time: Timestep,
    /// What was looked for.
    pub key: Key,
    /// Who has it.
    pub found: Option<Contact>,
    /// Why that peer was asked; `None` if it was not asked (own key, or not found).
    pub route: Option<Reason>,
    /// Everything that was asked, in the order of the answers.
    pub exchanges: Vec<Exchange>,
}

/// A question and what came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    /// Who was asked.
    pub to: Target,
    /// What.
    pub request: Request,
    /// When.
    pub asked_at: Instant,
    /// When the answer came or was given up.
    pub answered_at: Instant,
    /// The answer, if one came.
    pub answer: Option<Answer>,
}

/// Watches one peer.
pub(super) struct Recorder {
    me: Contact,
    config: SearchConfig,
    actions: VecDeque<Action>,
    open: BTreeMap<AskId, (Target, Request, Instant)>,
    /// Since the last entry of the log.
    exchanges: Vec<Exchange>,
    /// The peer's own list as it was when the present action began.
    originators: OriginatorList,
    obtained: Option<(Key, Contact)>,
    finds: Vec<Find>,
}

impl Recorder {
    pub(super) fn new(me: Contact, script: &Script, config: SearchConfig) -> Self {
        Self {
            me,
            config,
            actions: script.actions.iter().map(|(_, action)| action.clone()).collect(),
            open: BTreeMap::new(),
            exchanges: Vec::new(),
            originators: OriginatorList::default(),
            obtained: None,
            finds: Vec::new(),
        }
    }

    pub(super) fn into_finds(self) -> Vec<Find> {
        self.finds
    }

    pub(super) fn asks(&mut self, now: Instant, ask: AskId, to: Target, request: &Request) {
        self.open.insert(ask, (to, request.clone(), now));
    }

    /// An answer came, or the ask was given up. What comes after that is not noted.
    pub(super) fn answered(&mut self, now: Instant, ask: AskId, answer: Option<&Answer>) {
        if let Some((to, request, asked_at)) = self.open.remove(&ask) {
            let answer = answer.cloned();
            self.exchanges.push(Exchange { to, request, asked_at, answered_at: now, answer });
        }
    }

    /// Comes just before the entry in the log.
    pub(super) fn obtains(&mut self, key: Key, from: Contact) {
        self.obtained = Some((key, from));
    }

    /// An action is over.
    pub(super) fn logs(&mut self, entry: &LogEntry) {
        let exchanges = std::mem::take(&mut self.exchanges);
        // The registration at time 0 is no action of the script.
        let action = if entry.time == 0 { None } else { self.actions.pop_front() };
        let obtained = self.obtained.take();
        if let Some(Action::Obtain(key)) = action {
            let (found, route) = match &obtained {
                Some((_, from)) => {
                    let route = self.route(&key, &exchanges);
                    debug_assert_eq!(route.map(|(peer, _)| peer), Some(*from), "the same search");
                    (Some(*from), route.map(|(_, reason)| reason))
                }
                // Only for a key of its own does it ask nobody.
                None => (exchanges.is_empty().then_some(self.me), None),
            };
            self.finds.push(Find { time: entry.time, key, found, route, exchanges });
        }
        if let Some((key, from)) = obtained {
            self.originators.record(key, from);
        }
    }

    /// Who had the key and why that peer was asked, from the answers in their order.
    fn route(&self, key: &Key, exchanges: &[Exchange]) -> Option<(Contact, Reason)> {
        let mut search = Search::new(self.me, self.originators.sender_of(key), self.config.clone());
        let was_asked = |to: &Target, request: &Request| {
            exchanges.iter().any(|exchange| (&exchange.to, &exchange.request) == (to, request))
        };
        let mut next_exchange = exchanges.iter();
        let mut open = Vec::new();
        loop {
            while let Some(question) = search.next() {
                match Asked::new(&question.ask, key) {
                    Asked::Remote(to, request) if was_asked(&to, &request) => {
                        open.push((to, request, question.number));
                    }
                    // It had not answered before in this timestep.
                    Asked::Remote(..) => _ = search.on_failure(question.number, Failure::TimedOut),
                    Asked::Own => {
                        let peers = self.originators.peers(None).collect();
                        search.on_answer(question.number, Reply::Peers { peers, next: None });
                    }
                }
            }
            match search.result() {
                Some(SearchResult::Found(peer, reason)) => return Some((*peer, *reason)),
                Some(SearchResult::NotFound { .. }) => return None,
                None => {}
            }
            let exchange = next_exchange.next()?;
            let asked = open.iter().position(|(to, what, _)| (to, what) == (&exchange.to, &exchange.request));
            let (_, _, number) = open.swap_remove(asked?);
            match exchange.answer.clone() {
                Some(Answer::Have(have)) => search.on_answer(number, Reply::Have(have)),
                Some(Answer::Peers { peers, next }) => {
                    search.on_answer(number, Reply::Peers { peers, next });
                }
                _ => _ = search.on_failure(number, Failure::Other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::links::Links;
    use super::super::{WorldConfig, run};
    use super::*;
    use crate::ports;
    use askaround_core::PeerId;

    #[test]
    fn a_search_that_passes_over_who_did_not_answer_before_is_retold() {
        let id = |n| PeerId::new(n).unwrap();
        let key = |key| Key::new(key).unwrap();
        let script = |n, content, actions| Script { id: id(n), content, actions };
        let obtain = |text| (1, Action::Obtain(key(text)));
        let scripts = [
            script(1, Vec::new(), vec![obtain("a"), obtain("b")]),
            script(2, Vec::new(), Vec::new()),
            script(3, vec![key("a"), key("b")], Vec::new()),
        ];
        let addresses = ports::assign(scripts.iter().map(|script| script.id));
        let config = WorldConfig {
            links: Links::new(Duration::from_secs(1)),
            faults: vec!["stall:2@3+50".parse().unwrap()],
            ..WorldConfig::default()
        };
        let run = run(&scripts, &addresses, &config);
        let finds = &run.finds[&id(1)];
        let asked = |find: &Find| {
            let of_two = |exchange: &&Exchange| exchange.to == Target::Peer(addresses[1]);
            find.exchanges.iter().filter(of_two).count()
        };
        assert_eq!(finds.iter().map(asked).collect::<Vec<_>>(), [1, 0]);
        for find in finds {
            assert_eq!(find.found.map(|from| from.id), Some(id(3)), "{}", find.key);
            assert_eq!(find.route, Some(Reason::Listed), "{}", find.key);
        }
        assert_eq!(run.troubles, [] as [String; 0]);
    }
}
