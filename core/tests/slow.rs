//! A search beside peers that do not answer: it does not wait for them with what it does besides.

use std::time::Duration;

use askaround_core::Instant;
use askaround_core::id::{Contact, PeerId};
use askaround_core::key::Key;
use askaround_core::message::{Answer, HaveAnswer, Request};
use askaround_core::peer::{Outcome, Peer, PeerConfig, PeerInput, PeerOutput, Target};
use askaround_core::script::Action;
use askaround_core::search::SearchConfig;

fn contact(id: u64) -> Contact {
    Contact::new(PeerId::new(id).unwrap(), format!("127.0.0.1:{}", 1000 + id).parse().unwrap())
}

#[test]
fn a_holder_behind_many_who_sleep_is_found_long_before_they_are_given_up() {
    const SLEEP: u64 = 30;
    let search = SearchConfig { width: 4, ask_silent: false, ..SearchConfig::default() };
    let config = PeerConfig { search, ..PeerConfig::default() };
    let timeout = config.ask_timeout;
    let (mut peer, mut now) = (Peer::live(config, contact(1)), Instant::ZERO);
    let action = Action::Find(Key::new("k").unwrap());
    peer.handle(now, PeerInput::Command { command: 1, action, trace: false });
    let found = loop {
        let Some(output) = peer.poll_output() else {
            now = peer.poll_timeout().expect("it waits for somebody");
            peer.handle(now, PeerInput::Timeout);
            continue;
        };
        match output {
            PeerOutput::Ask { ask, to: Target::Tracker, .. } => {
                let peers = (2..SLEEP + 3).map(contact).collect();
                peer.handle(
                    now,
                    PeerInput::Answered { ask, result: Ok(Answer::Peers { peers, next: None }) },
                );
            }
            PeerOutput::Ask { ask, to: Target::Peer(addr), request: Request::Have(_), .. }
                if addr == contact(SLEEP + 2).addr() =>
            {
                let result = Ok(Answer::Have(HaveAnswer::Have));
                peer.handle(now, PeerInput::Answered { ask, result });
            }
            PeerOutput::Done { outcome: Outcome::Found { report, .. }, .. } => break report.found,
            _ => {}
        }
    };
    assert_eq!(found, Some(contact(SLEEP + 2)));
    assert!(now.since(Instant::ZERO) < timeout, "{now:?}");
    // Nothing of what it waited for is left.
    assert!(peer.poll_timeout().is_none_or(|at| at.since(now) > Duration::from_secs(1)));
}
