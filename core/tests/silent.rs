//! A scripted peer beside one that hangs: it waits for it once in a timestep, whatever it has to do.

use std::time::Duration;

use askaround_core::Instant;
use askaround_core::id::{Contact, PeerId};
use askaround_core::key::Key;
use askaround_core::message::{Answer, HaveAnswer, Message, Request, Timestep};
use askaround_core::peer::{Peer, PeerConfig, PeerInput, PeerOutput, Target};
use askaround_core::script::{Action, Script};

const HANGS: u64 = 3;

fn contact(id: u64) -> Contact {
    Contact::new(PeerId::new(id).unwrap(), format!("127.0.0.1:{}", 1000 + id).parse().unwrap())
}

/// Peer 1, which the tracker and peer 2 answer.
struct Asker {
    peer: Peer,
    now: Instant,
    timeout: Duration,
}

/// What a timestep came to.
#[derive(Debug, PartialEq)]
struct Acted {
    texts: Vec<String>,
    asked_who_hangs: usize,
    took: Duration,
}

impl Asker {
    fn new(actions: Vec<(Timestep, Action)>) -> Self {
        let config = PeerConfig::default();
        let timeout = config.ask_timeout;
        let script = Script { id: contact(1).id, content: Vec::new(), actions };
        Self { peer: Peer::scripted(config, contact(1), script), now: Instant::ZERO, timeout }
    }

    fn act(&mut self, time: Timestep) -> Acted {
        let began = self.now;
        let mut acted = Acted { texts: Vec::new(), asked_who_hangs: 0, took: Duration::ZERO };
        self.peer.handle(self.now, PeerInput::Tracker(Message::Go(time)));
        loop {
            let Some(output) = self.peer.poll_output() else {
                self.now = self.peer.poll_timeout().expect("it waits for somebody");
                self.peer.handle(self.now, PeerInput::Timeout);
                continue;
            };
            match output {
                PeerOutput::Ask { to: Target::Peer(addr), .. } if addr == contact(HANGS).addr() => {
                    acted.asked_who_hangs += 1;
                }
                PeerOutput::Ask { ask, request, .. } => {
                    let result = Ok(answer(&request));
                    self.peer.handle(self.now, PeerInput::Answered { ask, result });
                }
                PeerOutput::Log(entry) => acted.texts.push(entry.text),
                PeerOutput::TellTracker(Message::Complete(_)) => {
                    acted.took = self.now.since(began);
                    return acted;
                }
                _ => {}
            }
        }
    }
}

fn answer(request: &Request) -> Answer {
    match request {
        Request::List(_) => Answer::Peers { peers: [1, 2, 3].map(contact).into(), next: None },
        Request::WhereIs(id) => Answer::Peer(contact(id.as_u64())),
        Request::Have(_) => Answer::Have(HaveAnswer::No),
        Request::Known(_) => Answer::Peers { peers: Vec::new(), next: None },
        Request::Contents(_) => Answer::Keys { keys: Vec::new(), next: None },
        other => panic!("{other:?}"),
    }
}

#[test]
fn somebody_who_hangs_is_waited_for_once_in_a_timestep() {
    let obtain = |key| Action::Obtain(Key::new(key).unwrap());
    let hangs = contact(HANGS).id;
    let unavailable = |key: &str| format!("Content {key} is unavailable");
    let mut asker = Asker::new(vec![
        (1, obtain("a")),
        (1, obtain("b")),
        (1, Action::Known(hangs)),
        (1, Action::Contents(hangs)),
        (1, Action::Contents(contact(2).id)),
        (2, Action::Known(hangs)),
        (2, obtain("a")),
    ]);
    let first = asker.act(1);
    let is_unreachable = "Client 3 is unreachable".to_owned();
    let texts = [
        unavailable("a"),
        unavailable("b"),
        is_unreachable.clone(),
        is_unreachable.clone(),
        "Client 2: ".into(),
    ];
    assert_eq!(first, Acted { texts: texts.into(), asked_who_hangs: 1, took: asker.timeout });
    // It may have woken up since.
    let second = asker.act(2);
    let texts = vec![is_unreachable, unavailable("a")];
    assert_eq!(second, Acted { texts, asked_who_hangs: 1, took: asker.timeout });
}
