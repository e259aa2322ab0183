//! A peer that has what it finds fetched: a key is obtained when its content is here, and from
//! whoever sent it.

use std::time::Duration;

use askaround_core::Instant;
use askaround_core::id::{Contact, PeerId};
use askaround_core::key::Key;
use askaround_core::message::{Answer, HaveAnswer, Request};
use askaround_core::peer::{AskId, Change, Outcome, Peer, PeerConfig, PeerInput, PeerOutput};
use askaround_core::script::Action;

const TIMEOUT: Duration = Duration::from_secs(20);

fn contact(id: u64) -> Contact {
    Contact::new(PeerId::new(id).unwrap(), format!("127.0.0.1:{}", 1000 + id).parse().unwrap())
}

fn key() -> Key {
    Key::new("k").unwrap()
}

/// What a peer wants done besides asking.
#[derive(Debug, PartialEq)]
enum Did {
    Fetch(AskId, u64),
    Cancel(AskId),
    Changed(Change),
    /// Whom the key was obtained from.
    Done(Option<u64>),
}

/// Peer 1, in a network where the tracker lists 2, 3 and 4, and all say that they have the key.
struct Seeker {
    peer: Peer,
    now: Instant,
}

impl Seeker {
    fn new(operation_timeout: Duration) -> Self {
        let config = PeerConfig {
            has_tracker: false,
            delivery_timeout: Some(TIMEOUT),
            operation_timeout,
            ..PeerConfig::default()
        };
        Self { peer: Peer::live(config, contact(1)), now: Instant::ZERO }
    }

    fn obtain(&mut self) -> Vec<Did> {
        self.handle(PeerInput::Command { command: 1, action: Action::Obtain(key()), trace: false })
    }

    fn fetched(&mut self, ask: AskId, is_here: bool) -> Vec<Did> {
        let result = is_here.then_some(()).ok_or("other bytes".into());
        self.handle(PeerInput::Fetched { ask, result })
    }

    fn wait(&mut self) -> Vec<Did> {
        self.now = self.peer.poll_timeout().unwrap();
        self.handle(PeerInput::Timeout)
    }

    fn handle(&mut self, input: PeerInput) -> Vec<Did> {
        self.peer.handle(self.now, input);
        let mut did = Vec::new();
        while let Some(output) = self.peer.poll_output() {
            match output {
                PeerOutput::Ask { ask, request, .. } => {
                    let answer = match request {
                        Request::List(_) => {
                            Answer::Peers { peers: [2, 3, 4].map(contact).into(), next: None }
                        }
                        Request::Have(_) => Answer::Have(HaveAnswer::Have),
                        _ => Answer::Peers { peers: Vec::new(), next: None },
                    };
                    self.peer.handle(self.now, PeerInput::Answered { ask, result: Ok(answer) });
                }
                PeerOutput::Fetch { ask, from, .. } => did.push(Did::Fetch(ask, from.id.as_u64())),
                PeerOutput::Cancel(ask) => did.push(Did::Cancel(ask)),
                PeerOutput::Changed(change) => did.push(Did::Changed(change)),
                PeerOutput::Done { outcome: Outcome::Found { report, .. }, .. } => {
                    did.push(Did::Done(report.found.map(|from| from.id.as_u64())));
                }
                other => panic!("{other:?}"),
            }
        }
        did
    }
}

/// The one fetch that was wanted, which is of this peer.
fn fetch_of(did: &[Did], peer: u64) -> AskId {
    match did {
        [Did::Fetch(ask, from)] if *from == peer => *ask,
        other => panic!("expected a fetch from {peer}, got {other:?}"),
    }
}

#[test]
fn a_key_is_obtained_when_its_content_is_here_and_from_whoever_sent_it() {
    let mut seeker = Seeker::new(Duration::from_secs(600));
    let first = fetch_of(&seeker.obtain(), 2);
    let second = fetch_of(&seeker.fetched(first, false), 3);
    assert_eq!(seeker.fetched(first, true), [], "it was told before");
    assert!(!seeker.peer.contents().contains(&key()));
    let obtained = Change::Obtained(key(), contact(3));
    assert_eq!(seeker.fetched(second, true), [Did::Changed(obtained), Did::Done(Some(3))]);
    assert!(seeker.peer.contents().contains(&key()));
}

#[test]
fn when_nobody_sends_it_the_key_is_unavailable() {
    let mut seeker = Seeker::new(Duration::from_secs(600));
    let mut did = seeker.obtain();
    for peer in [2, 3, 4] {
        let ask = fetch_of(&did, peer);
        did = seeker.fetched(ask, false);
    }
    assert_eq!(did, [Did::Done(None)]);
}

#[test]
fn a_fetch_that_takes_too_long_is_given_up_for_the_next_holder() {
    let mut seeker = Seeker::new(Duration::from_secs(600));
    let first = fetch_of(&seeker.obtain(), 2);
    match seeker.wait()[..] {
        [Did::Cancel(given_up), Did::Fetch(_, 3)] => assert_eq!(given_up, first),
        ref other => panic!("{other:?}"),
    }
    assert_eq!(seeker.now, Instant::ZERO + TIMEOUT);
}

#[test]
fn what_is_found_and_not_here_when_the_time_is_over_is_not_obtained() {
    let mut seeker = Seeker::new(Duration::from_secs(5));
    let fetch = fetch_of(&seeker.obtain(), 2);
    assert_eq!(seeker.wait(), [Did::Cancel(fetch), Did::Done(None)]);
    assert!(!seeker.peer.contents().contains(&key()));
}
