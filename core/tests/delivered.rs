//! What a peer keeps of what was delivered to it.

use askaround_core::Instant;
use askaround_core::id::{Contact, PeerId};
use askaround_core::key::Key;
use askaround_core::peer::{Change, Peer, PeerConfig, PeerInput, PeerOutput};

fn contact(id: u64) -> Contact {
    Contact::new(PeerId::new(id).unwrap(), format!("127.0.0.1:{}", 1000 + id).parse().unwrap())
}

/// What changes when a key is delivered.
fn changes(peer: &mut Peer, from: Option<Contact>) -> Vec<Change> {
    let keys = vec![Key::new("k").unwrap()];
    peer.handle(Instant::from_nanos(0), PeerInput::Delivered { keys, from });
    let outputs = std::iter::from_fn(|| peer.poll_output());
    outputs
        .filter_map(|output| match output {
            PeerOutput::Changed(change) => Some(change),
            _ => None,
        })
        .collect()
}

#[test]
fn what_is_held_already_is_not_stored_once_more() {
    let config = PeerConfig { has_tracker: false, ..PeerConfig::default() };
    let (mut peer, key) = (Peer::live(config, contact(1)), Key::new("k").unwrap());
    assert_eq!(changes(&mut peer, None), [Change::Held(key.clone())]);
    assert_eq!(changes(&mut peer, None), []);
    assert_eq!(changes(&mut peer, Some(contact(2))), [Change::Originator(key, contact(2))]);
}
