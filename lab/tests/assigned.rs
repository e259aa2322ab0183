//! Ports of peers that have no draw left, over sockets.

mod play;

use std::collections::BTreeSet;
use std::fs;

use askaround_core::clock::Turns;
use askaround_core::id::PeerId;
use askaround_lab::ports;
use play::play;

/// A peer, and before it one for each port that it draws.
fn crowded() -> Vec<PeerId> {
    let id = |n| PeerId::new(n).unwrap();
    let last = id(1_000_000);
    let mut draws: BTreeSet<u16> = ports::draws(last).collect();
    let takes_one = |id: &PeerId| ports::draws(*id).next().is_some_and(|port| draws.remove(&port));
    let some = (1..100_000).map(id).filter(takes_one);
    let ids: Vec<PeerId> = some.take(ports::draws(last).collect::<BTreeSet<_>>().len()).collect();
    [ids, vec![last]].concat()
}

#[test]
fn who_has_no_draw_left_gets_the_same_port_in_every_run() {
    let ids = crowded();
    let assigned = ports::assign(ids.iter().copied());
    let last = assigned.last().unwrap().port();
    assert_eq!(last, 10_000, "somebody has each of its draws");
    let folder = tempfile::tempdir().unwrap();
    for id in &ids {
        let script = format!(r#"{{"client_id": "{id}", "actions": []}}"#);
        fs::write(folder.path().join(format!("{id}.json")), script).unwrap();
    }
    let (_, out) = play(folder.path(), Turns::ById);
    let log = fs::read_to_string(out.path().join("bootstrapper.json")).unwrap();
    for (id, addr) in ids.iter().zip(assigned) {
        let contact = format!("<{id}, 127.0.0.1, {}>", addr.port());
        assert!(log.contains(&contact), "{contact}: {log}");
    }
}
