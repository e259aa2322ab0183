//! A live peer's registration with its tracker: whether it is wanted, how it stands, when it is
//! renewed or tried again.

use std::time::Duration;

use super::Peer;
use super::operation::Owner;
use super::types::{AskError, Outcome, Registration, Standing};
use crate::time::Instant;

/// The longest pause between two tries is two to the power of this, in seconds.
const LONGEST_PAUSE: u32 = 4;

/// A live peer's registration.
#[derive(Debug, Clone, Default)]
pub(super) struct Membership {
    pub(super) wanted: bool,
    /// When to register again.
    pub(super) renew_at: Option<Instant>,
    failures: u32,
    standing: State,
    since: Instant,
}

#[derive(Debug, Clone, Default)]
enum State {
    #[default]
    Unknown,
    Registered,
    // Boxed: most peers of a population never fail.
    Failed(Box<AskError>),
}

impl Membership {
    /// Of a peer that registers by itself, if it is to.
    pub(super) fn new(wanted: bool) -> Self {
        Self { wanted, renew_at: wanted.then_some(Instant::ZERO), ..Self::default() }
    }

    /// Wanted from now on.
    pub(super) fn want(&mut self, now: Instant) {
        if !self.wanted {
            *self = Self { wanted: true, since: now, ..Self::default() };
        }
    }

    /// Wanted no longer.
    pub(super) fn end(&mut self, now: Instant) {
        *self = Self { since: now, ..Self::default() };
    }

    fn succeeded(&mut self, now: Instant, lease: Option<Duration>) {
        if !matches!(self.standing, State::Registered) {
            self.since = now;
        }
        self.standing = State::Registered;
        self.failures = 0;
        self.renew_at = lease.map(|lease| now + lease / 3);
    }

    fn failed(&mut self, now: Instant, why: AskError) {
        if !matches!(self.standing, State::Failed(_)) {
            self.since = now;
        }
        self.standing = State::Failed(Box::new(why));
        let pause = Duration::from_secs(1 << self.failures.min(LONGEST_PAUSE));
        self.failures += 1;
        self.renew_at = Some(now + pause);
    }
}

impl Peer {
    /// How a live peer stands with its tracker.
    pub fn registration(&self) -> Registration {
        let Membership { wanted, renew_at, standing, since, .. } = &self.membership;
        let standing = match standing {
            _ if !wanted => Standing::NotWanted,
            State::Unknown => Standing::Unknown,
            State::Registered => Standing::Registered,
            State::Failed(why) => Standing::Failed((**why).clone()),
        };
        Registration { standing, since: *since, next: *renew_at }
    }

    /// A registration has ended so.
    pub(super) fn note_membership(&mut self, now: Instant, owner: Owner, outcome: &Outcome) {
        let is_live = matches!(owner, Owner::Membership | Owner::Command(_));
        match outcome {
            // A renewal that was under way when the peer was told to unregister is not kept up.
            Outcome::Registered { contact, lease } if self.membership.wanted => {
                self.me = *contact;
                self.membership.succeeded(now, *lease);
            }
            Outcome::TrackerFailed(why) if is_live && self.membership.wanted => {
                self.membership.failed(now, why.clone());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Contact, PeerId};
    use crate::message::{Answer, Request};
    use crate::peer::{PeerConfig, PeerInput, PeerOutput};
    use crate::script::Action;

    const SECOND: Duration = Duration::from_secs(1);

    fn me() -> Contact {
        Contact::new(PeerId::MIN, "127.0.0.1:1".parse().unwrap())
    }

    fn at(seconds: u32) -> Instant {
        Instant::ZERO + SECOND * seconds
    }

    fn refused() -> AskError {
        AskError::Unreachable("refused".into())
    }

    /// The peer asks its tracker something, which comes to this.
    fn tracker_says(peer: &mut Peer, now: Instant, input: PeerInput, result: Result<Answer, AskError>) {
        peer.handle(now, input);
        let asked = std::iter::from_fn(|| peer.poll_output()).find_map(|output| match output {
            PeerOutput::Ask { ask, request: Request::Register(_) | Request::Unregister { .. }, .. } => {
                Some(ask)
            }
            _ => None,
        });
        peer.handle(now, PeerInput::Answered { ask: asked.unwrap(), result });
        while peer.poll_output().is_some() {}
    }

    fn registered() -> Result<Answer, AskError> {
        Ok(Answer::Registered { contact: me(), lease_s: Some(60), peers: None })
    }

    #[test]
    fn how_it_stands_is_known_since_when_and_until_when() {
        let mut peer = Peer::live(PeerConfig::default(), me());
        let stands = |peer: &Peer| {
            let Registration { standing, since, next } = peer.registration();
            (standing, since, next)
        };
        assert_eq!(stands(&peer), (Standing::Unknown, at(0), Some(at(0))));
        tracker_says(&mut peer, at(1), PeerInput::Timeout, Err(refused()));
        assert_eq!(stands(&peer), (Standing::Failed(refused()), at(1), Some(at(2))));
        tracker_says(&mut peer, at(2), PeerInput::Timeout, Err(AskError::TimedOut));
        assert_eq!(stands(&peer), (Standing::Failed(AskError::TimedOut), at(1), Some(at(4))));
        for now in [at(4), at(24)] {
            tracker_says(&mut peer, now, PeerInput::Timeout, registered());
            assert_eq!(stands(&peer), (Standing::Registered, at(4), Some(now + SECOND * 20)));
        }
        let command = |action| PeerInput::Command { command: 1, action, trace: false };
        tracker_says(&mut peer, at(30), command(Action::Unregister), Ok(Answer::Unregistered(me().id)));
        assert_eq!(stands(&peer), (Standing::NotWanted, at(30), None));
    }

    #[test]
    fn a_registration_that_was_asked_for_and_failed_is_tried_again() {
        let mut peer = Peer::live(PeerConfig { has_tracker: false, ..PeerConfig::default() }, me());
        assert_eq!(peer.registration().standing, Standing::NotWanted);
        let register = PeerInput::Command { command: 1, action: Action::Register, trace: false };
        tracker_says(&mut peer, at(5), register, Err(refused()));
        assert_eq!(peer.poll_timeout(), Some(at(6)));
        tracker_says(&mut peer, at(6), PeerInput::Timeout, registered());
        assert_eq!(peer.registration().standing, Standing::Registered);
    }
}
