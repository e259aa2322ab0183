//! One listed peer and the hints that lead on from it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::{Reason, is_me};
use crate::id::Contact;
use crate::message::HaveAnswer;

/// After the first hint, at most so many further ones are followed (PROTOCOL.md §5).
const MAX_FURTHER_HINTS: u8 = 2;

/// Where a chain of hints has got to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Chain {
    target: Contact,
    reason: Reason,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum State {
    /// It is not known yet whether the target was asked.
    New,
    /// The target is to be asked.
    Ready,
    /// Somebody asked the target, and its answer has not come.
    Waiting,
}

/// What a chain needs next.
pub(super) enum Step {
    /// Its target is to be asked.
    Ask,
    /// Its target has been asked.
    Wait,
    /// This peer has the key.
    Found(Contact, Reason),
    /// It leads nowhere: back to the list.
    Ended,
}

impl Chain {
    pub(super) fn new(listed: Contact, reason: Reason) -> Self {
        Self { target: listed, reason, state: State::New }
    }

    /// Whom it has got to.
    pub(super) fn target(&self) -> Contact {
        self.target
    }

    pub(super) fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// The target is being asked now.
    pub(super) fn start(&mut self) -> (Contact, Reason) {
        self.state = State::Waiting;
        (self.target, self.reason)
    }

    /// Goes on as far as known answers lead. At most three hints, so it ends.
    pub(super) fn advance(
        &mut self,
        me: &Contact,
        answers: &BTreeMap<SocketAddr, Option<HaveAnswer>>,
    ) -> Step {
        loop {
            match answers.get(&self.target.addr()) {
                None => {
                    self.state = State::Ready;
                    return Step::Ask;
                }
                Some(None) => {
                    self.state = State::Waiting;
                    return Step::Wait;
                }
                Some(Some(HaveAnswer::Have)) => return Step::Found(self.target, self.reason),
                Some(Some(answer)) => {
                    let Some(hint) = answer.hint() else { return Step::Ended };
                    let further = match self.reason {
                        Reason::Hint { further, .. } => further + 1,
                        _ => 0,
                    };
                    if further > MAX_FURTHER_HINTS || is_me(me, &hint) {
                        return Step::Ended;
                    }
                    self.reason = Reason::Hint { by: self.target, further };
                    self.target = hint;
                }
            }
        }
    }
}
