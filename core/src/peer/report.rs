//! [`FindReport`]: how a search went, for people.

use std::fmt;
use std::time::Duration;

use super::types::AskError;
use crate::id::Contact;
use crate::key::Key;
use crate::message::HaveAnswer;
use crate::search::{Question, Reason, Reply};
use crate::time::Instant;

/// The most steps that are kept of a search: strangers can have it ask for page after page.
pub(super) const MAX_TRACE: usize = 100_000;

/// One question of a search, and what came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceStep {
    /// Who was asked what, and why.
    pub question: Question,
    /// When.
    pub asked_at: Instant,
    /// When an answer came, and what it said. `None` if the search ended before.
    pub answered: Option<(Instant, Result<Said, AskError>)>,
}

impl TraceStep {
    /// What came back, in words.
    pub fn answer(&self) -> String {
        match &self.answered {
            None => "not waited for".into(),
            Some((_, Ok(said))) => said.to_string(),
            Some((_, Err(error))) => error.to_string(),
        }
    }
}

/// What an answer said, as far as a trace keeps it: not whom a page of peers named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// Whether it has the key.
    Have(HaveAnswer),
    /// A page of peers.
    Peers {
        /// How many.
        count: usize,
        /// Whether there is another page.
        more: bool,
    },
}

impl From<&Reply> for Said {
    fn from(reply: &Reply) -> Self {
        match reply {
            Reply::Have(answer) => Self::Have(*answer),
            Reply::Peers { peers, next } => Self::Peers { count: peers.len(), more: next.is_some() },
        }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Have(HaveAnswer::Have) => f.write_str("has it"),
            Self::Have(HaveAnswer::No) => f.write_str("no"),
            Self::Have(HaveAnswer::Hint(hint)) => write!(f, "hint: peer {} at {}", hint.id, hint.addr()),
            Self::Have(HaveAnswer::Fetching(None)) => f.write_str("is fetching it"),
            Self::Have(HaveAnswer::Fetching(Some(hint))) => {
                write!(f, "is fetching it; hint: peer {} at {}", hint.id, hint.addr())
            }
            Self::Peers { count, more } => {
                let peers = if *count == 1 { "peer" } else { "peers" };
                let more = if *more { ", more to come" } else { "" };
                write!(f, "{count} {peers}{more}")
            }
        }
    }
}

/// How a search ended, for people.
#[derive(Debug, Clone, PartialEq)]
pub struct FindReport {
    /// What was looked for.
    pub key: Key,
    /// Who has it.
    pub found: Option<Contact>,
    /// Why that peer was asked; `None` if it was not asked (own key, or not found).
    pub route: Option<Reason>,
    /// Which level was asked last: 0 is the tracker's list, then come those of the longer list.
    pub level: u32,
    /// Whether a bound ended the search before everybody was asked.
    pub truncated: bool,
    /// Why the tracker did not say who is online, if it was asked: then only peers that were known
    /// otherwise could be asked.
    pub tracker_failed: Option<AskError>,
    /// How many peers did not say whether they have it.
    pub silent: u64,
    /// How many questions were asked.
    pub questions: u64,
    /// How long it took.
    pub took: Duration,
    /// Each question, if a trace was wanted; of more than a hundred thousand the first.
    pub trace: Vec<TraceStep>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::PeerId;
    use crate::message::{Answer, Request};
    use crate::peer::{Outcome, Peer, PeerConfig, PeerInput, PeerOutput};
    use crate::script::Action;
    use crate::search::SearchConfig;

    #[test]
    fn what_was_said_is_put_into_words() {
        let hint = Contact::new(PeerId::new(2).unwrap(), "10.0.0.1:7".parse().unwrap());
        for (said, words) in [
            (Said::Have(HaveAnswer::Have), "has it"),
            (Said::Have(HaveAnswer::No), "no"),
            (Said::Have(HaveAnswer::Hint(hint)), "hint: peer 2 at 10.0.0.1:7"),
            (Said::Have(HaveAnswer::Fetching(None)), "is fetching it"),
            (Said::Have(HaveAnswer::Fetching(Some(hint))), "is fetching it; hint: peer 2 at 10.0.0.1:7"),
            (Said::Peers { count: 0, more: false }, "0 peers"),
            (Said::Peers { count: 1, more: false }, "1 peer"),
            (Said::Peers { count: 256, more: true }, "256 peers, more to come"),
        ] {
            assert_eq!(said.to_string(), words);
        }
    }

    #[test]
    fn of_a_search_that_is_answered_without_end_the_first_steps_are_kept() {
        let contact = |id| Contact::new(PeerId::new(id).unwrap(), "10.0.0.1:7".parse().unwrap());
        let max_pages = MAX_TRACE + 10;
        let search = SearchConfig { max_pages, ..SearchConfig::default() };
        let mut peer = Peer::live(PeerConfig { search, ..PeerConfig::default() }, contact(1));
        let action = Action::Find(Key::new("a").unwrap());
        peer.handle(Instant::ZERO, PeerInput::Command { command: 1, action, trace: true });
        let report = loop {
            match peer.poll_output().unwrap() {
                PeerOutput::Ask { ask, request, .. } => {
                    let other = Contact { port: 8, ..contact(2) };
                    let answer = match request {
                        Request::List(_) => Answer::Peers { peers: vec![other], next: None },
                        Request::Have(_) => Answer::Have(HaveAnswer::No),
                        Request::Known(_) => Answer::Peers { peers: vec![other; 256], next: Some(1) },
                        other => panic!("{other:?}"),
                    };
                    peer.handle(Instant::ZERO, PeerInput::Answered { ask, result: Ok(answer) });
                }
                PeerOutput::Done { outcome: Outcome::Found { report, .. }, .. } => break report,
                _ => {}
            }
        };
        assert!(report.truncated && report.questions > max_pages as u64, "{}", report.questions);
        assert_eq!(report.trace.len(), MAX_TRACE);
        let (_, page) = report.trace.last().unwrap().answered.as_ref().unwrap();
        assert_eq!(page, &Ok(Said::Peers { count: 256, more: true }));
    }
}
