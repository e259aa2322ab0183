//! Lists of a million entries, from a tracker or a peer that means harm: they end, they are never
//! kept whole, and whoever sent them is named.

mod support;

use askaround_core::PeerId;
use askaround_core::peer::{AskError, Outcome, PeerConfig};
use askaround_core::script::Action;
use askaround_node::server::ServerConfig;
use support::{Peer, Tracker, stranger};

const MAX_LIST: usize = 20_000;

/// So many entries that nobody has seen before; nobody listens there.
fn page(n: u64, entries: u64, next: bool) -> String {
    let contacts = (1..=entries).map(|i| {
        let id = n * entries + i + 1000;
        let [_, _, a, b] = (id as u32).to_be_bytes();
        format!("[{id},\"127.{}.{a}.{b}\",1]", 128 + (id >> 16) % 100)
    });
    let contacts = contacts.collect::<Vec<_>>().join(",");
    let next = if next { format!(",\"next\":{n}") } else { String::new() };
    format!("A {{\"peers\":[{contacts}]{next}}}\n")
}

type Attack = fn(u64) -> String;

/// What a hostile node sends, and what is then said of it.
fn attacks() -> [(Attack, &'static str); 3] {
    [
        (|_| page(0, 1_000_000, false), "a line has at most 65536 bytes"),
        (|_| page(0, 1500, true), "a page has at most 256 entries"),
        (|n| page(n, 256, true), "a list without end"),
    ]
}

fn config() -> PeerConfig {
    let mut config = PeerConfig { max_list: MAX_LIST, ..PeerConfig::default() };
    config.search.width = 64;
    config.search.max_peers = 500;
    config
}

fn blamed(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::TrackerFailed(AskError::Misbehaved(why))
        | Outcome::Unreachable { why: AskError::Misbehaved(why) | AskError::Unreachable(why), .. } => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_trackers() {
    for (attack, expected) in attacks() {
        let tracker = stranger(move |n, line| match line.as_bytes() {
            [b'R', ..] => "E {\"code\":\"full\",\"definite\":false}\n".into(),
            _ => attack(n),
        });
        let peer = Peer::start(Some(tracker.await), config(), ServerConfig::default());
        let listed = peer.command(Action::List).await;
        assert!(matches!(listed, Outcome::TrackerFailed(_)), "{listed:?}");
        assert!(blamed(&listed).contains(expected), "{expected}: {}", blamed(&listed));

        let outcome = peer.command(Action::Find("a".parse().unwrap())).await;
        let Outcome::Found { report, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(report.found, None);
        // Twice each of the peers on its lists, its own list, and the pages.
        assert!(report.questions <= 2 * 500 + 1 + 4, "{}", report.questions);
        assert_eq!(report.truncated, expected == "a list without end");

        let known = peer.command(Action::Known(PeerId::new(7).unwrap())).await;
        assert!(blamed(&known).starts_with("the tracker did not say where it is"), "{}", blamed(&known));
        peer.assert_well().await;
    }
}

#[tokio::test]
async fn a_peers() {
    let tracker = Tracker::start(ServerConfig::default());
    let peer = Peer::start(Some(tracker.addr), config(), ServerConfig::default());
    for (id, (attack, expected)) in (2..).zip(attacks()) {
        let addr = stranger(move |n, line| match line.as_bytes() {
            [b'Q', ..] => "A {\"have\":false}\n".into(),
            _ => attack(n),
        });
        tracker.register(id, addr.await).await;
        let known = peer.command(Action::Known(PeerId::new(id).unwrap())).await;
        assert!(blamed(&known).contains(expected), "{expected}: {}", blamed(&known));
    }
    let outcome = peer.command(Action::Find("a".parse().unwrap())).await;
    let Outcome::Found { report, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!((report.found, report.truncated), (None, true));
    let blamed =
        report.trace.iter().filter(|s| matches!(s.answered, Some((_, Err(AskError::Misbehaved(_))))));
    let blamed: Vec<_> = blamed.filter_map(|s| s.question.ask.peer()).map(|(id, _)| id.as_u64()).collect();
    assert_eq!(blamed, [2, 3]);
    peer.assert_well().await;
    tracker.assert_well().await;
}
