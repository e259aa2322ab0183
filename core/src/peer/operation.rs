//! One action under way: what it waits for, and what an answer makes of it.

use super::report::{FindReport, Said, TraceStep};
use super::types::{AskError, CommandId, Outcome, PeerConfig, Target};
use crate::id::{Contact, PeerId};
use crate::key::Key;
use crate::message::{Answer, Page, Request, Timestep};
use crate::search::{Failure, Reply, Search, SearchResult, Unanswered};
use crate::time::Instant;

use std::net::SocketAddr;
use std::time::Duration;

/// On whose behalf something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// Somebody at this machine.
    Command(CommandId),
    /// The script, in this timestep.
    Script(Timestep),
    /// The first registration of a lab run.
    Joining,
    /// The upkeep of a live registration.
    Membership,
}

#[derive(Debug, Clone)]
pub(super) struct Operation {
    pub(super) owner: Owner,
    pub(super) deadline: Instant,
    pub(super) started: Instant,
    pub(super) waiting: Waiting,
    /// How many pages of a list have come.
    pub(super) pages: usize,
}

/// What an operation waits for.
#[derive(Debug, Clone)]
pub(super) enum Waiting {
    Registered,
    Unregistered,
    List(Vec<Contact>),
    KnownAddress(PeerId),
    ContentsAddress(PeerId),
    Known { id: PeerId, at: SocketAddr, peers: Vec<Contact> },
    Contents { id: PeerId, at: SocketAddr, keys: Vec<Key> },
    Search { key: Key, obtain: bool, search: Box<Search>, trace: Option<Vec<TraceStep>>, silent: Silent },
}

/// Who did not answer a search.
#[derive(Debug, Clone, Default)]
pub(super) struct Silent {
    /// Why the tracker did not, when it was asked last.
    tracker: Option<AskError>,
    /// How many peers did not say whether they have the key.
    peers: u64,
}

/// What an answer leads to.
#[derive(Debug)]
pub(super) enum Progress {
    Ask(Target, Request),
    /// Ask the search for more.
    Search,
    Done(Outcome),
}

impl Operation {
    pub(super) fn on_answer(
        &mut self,
        now: Instant,
        question: u64,
        result: Result<Answer, AskError>,
        config: &PeerConfig,
    ) -> Progress {
        if let Waiting::Search { search, trace, silent, .. } = &mut self.waiting {
            let result = result.and_then(reply);
            // Questions are numbered in the order in which they are asked.
            if let Some(trace) = trace
                && let Ok(at) = trace.binary_search_by_key(&question, |step| step.question.number)
            {
                trace[at].answered = Some((now, result.as_ref().map(Said::from).map_err(AskError::clone)));
            }
            match result {
                Ok(reply) => search.on_answer(question, reply),
                Err(error) => {
                    let failure = match error {
                        AskError::TimedOut => Failure::TimedOut,
                        _ => Failure::Other,
                    };
                    match search.on_failure(question, failure) {
                        Some(Unanswered::Have) => silent.peers += 1,
                        Some(Unanswered::Listing) => silent.tracker = Some(error),
                        Some(Unanswered::Known) | None => {}
                    }
                }
            }
            return Progress::Search;
        }
        match result {
            Ok(answer) => self.on_plain_answer(answer, config),
            Err(error) => Progress::Done(self.failed(error)),
        }
    }

    fn on_plain_answer(&mut self, answer: Answer, config: &PeerConfig) -> Progress {
        self.pages += 1;
        let too_many = |entries: usize| entries >= config.max_list || self.pages >= config.search.max_pages;
        match (&mut self.waiting, answer) {
            (Waiting::Registered, Answer::Registered { contact, lease_s, .. }) => {
                let lease = lease_s.map(|seconds| Duration::from_secs(seconds.max(3).into()));
                Progress::Done(Outcome::Registered { contact, lease })
            }
            (Waiting::Unregistered, Answer::Unregistered(id)) => Progress::Done(Outcome::Unregistered(id)),
            (Waiting::List(peers), Answer::Peers { peers: page, next }) => {
                peers.extend(page);
                match next {
                    Some(_) if too_many(peers.len()) => Progress::Done(self.failed(endless())),
                    Some(_) => Progress::Ask(Target::Tracker, Request::List(Page::after(next))),
                    None => Progress::Done(Outcome::Listed(std::mem::take(peers))),
                }
            }
            (Waiting::KnownAddress(id), Answer::Peer(contact)) => {
                let at = contact.addr();
                self.waiting = Waiting::Known { id: *id, at, peers: Vec::new() };
                Progress::Ask(Target::Peer(at), Request::Known(Page::default()))
            }
            (Waiting::ContentsAddress(id), Answer::Peer(contact)) => {
                let at = contact.addr();
                self.waiting = Waiting::Contents { id: *id, at, keys: Vec::new() };
                Progress::Ask(Target::Peer(at), Request::Contents(Page::default()))
            }
            (Waiting::Known { id, at, peers }, Answer::Peers { peers: page, next }) => {
                peers.extend(page);
                match next {
                    Some(_) if too_many(peers.len()) => Progress::Done(self.failed(endless())),
                    Some(_) => Progress::Ask(Target::Peer(*at), Request::Known(Page::after(next))),
                    None => Progress::Done(Outcome::Known { id: *id, peers: std::mem::take(peers) }),
                }
            }
            (Waiting::Contents { id, at, keys }, Answer::Keys { keys: page, next }) => {
                keys.extend(page);
                match next {
                    Some(_) if too_many(keys.len()) => Progress::Done(self.failed(endless())),
                    Some(_) => Progress::Ask(Target::Peer(*at), Request::Contents(Page::after(next))),
                    None => Progress::Done(Outcome::Contents { id: *id, keys: std::mem::take(keys) }),
                }
            }
            (_, other) => Progress::Done(self.failed(misplaced(&other))),
        }
    }

    /// The outcome when what it waited for did not come.
    fn failed(&self, why: AskError) -> Outcome {
        match self.waiting {
            Waiting::KnownAddress(id) | Waiting::ContentsAddress(id) => {
                let why = match why {
                    AskError::Refused(_) => why,
                    // Not the peer is at fault.
                    why => AskError::Unreachable(format!("the tracker did not say where it is: {why}")),
                };
                Outcome::Unreachable { id, why }
            }
            Waiting::Known { id, .. } | Waiting::Contents { id, .. } => Outcome::Unreachable { id, why },
            _ => Outcome::TrackerFailed(why),
        }
    }

    /// The outcome when the operation as a whole took too long.
    pub(super) fn timed_out(mut self) -> Outcome {
        match &mut self.waiting {
            Waiting::Search { search, .. } => {
                // A search that has found somebody waits only until what it found is here.
                while let Some(SearchResult::Found(..)) = search.result() {
                    search.reject_found();
                }
                let now = self.deadline;
                self.search_ended(now)
            }
            _ => self.failed(AskError::TimedOut),
        }
    }

    /// The outcome of a search; one that has no result yet was cut short.
    pub(super) fn search_ended(self, now: Instant) -> Outcome {
        let Waiting::Search { key, obtain, search, trace, silent } = self.waiting else {
            unreachable!("only a search ends so");
        };
        let (found, route, truncated) = match search.result() {
            Some(SearchResult::Found(peer, reason)) => (Some(*peer), Some(*reason), false),
            Some(SearchResult::NotFound { truncated }) => (None, None, *truncated),
            None => (None, None, true),
        };
        let report = FindReport {
            key,
            found,
            route,
            level: search.level(),
            truncated,
            tracker_failed: silent.tracker,
            silent: silent.peers,
            questions: search.questions(),
            took: now.since(self.started),
            trace: trace.unwrap_or_default(),
        };
        Outcome::Found { report: Box::new(report), obtain }
    }
}

fn endless() -> AskError {
    AskError::Misbehaved("a list without end".into())
}

/// An answer to another request than the one that was asked.
fn misplaced(answer: &Answer) -> AskError {
    let what = match answer {
        Answer::Registered { .. } => "a registration",
        Answer::Unregistered(_) => "an end of a registration",
        Answer::Peers { .. } => "a list of peers",
        Answer::Peer(_) => "an address",
        Answer::Have(_) => "whether it has a key",
        Answer::Keys { .. } => "a list of keys",
        Answer::Content(_) => "what a content is",
        Answer::Raw(_) => "raw bytes",
    };
    AskError::Misbehaved(format!("it was asked something else and answered {what}"))
}

fn reply(answer: Answer) -> Result<Reply, AskError> {
    match answer {
        Answer::Have(have) => Ok(Reply::Have(have)),
        Answer::Peers { peers, next } => Ok(Reply::Peers { peers, next }),
        other => Err(misplaced(&other)),
    }
}
