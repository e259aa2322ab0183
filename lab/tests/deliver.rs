//! Runs that deliver: a key is obtained when its bytes have come from whoever was found, and not
//! when they have not, whatever is wrong with them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use askaround_core::id::{Contact, PeerId};
use askaround_core::key::Key;
use askaround_core::log::LogEntry;
use askaround_core::peer::PeerConfig;
use askaround_core::script::{Action, Script};
use askaround_core::tracker::{LabConfig, TrackerConfig};
use askaround_lab::loopback::Loopback;
use askaround_lab::ports;
use askaround_lab::run::deliver::{Desk, contents, lay_out};
use askaround_lab::run::{TRACKER, log_name};
use askaround_node::delivery::stock::Delivered;
use askaround_node::peer::{Orders, PeerEnd, PeerNode, PeerOptions};
use askaround_node::tracker::TrackerNode;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

fn id(id: u64) -> PeerId {
    PeerId::new(id).unwrap()
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

/// Peer 1 obtains `a` and `b`, purges `b`, and lists what it holds. Peers 2 and 3 hold both.
fn scripts() -> Vec<Script> {
    let actions = vec![
        (1, Action::Obtain(key("a"))),
        (1, Action::Obtain(key("b"))),
        (2, Action::Purge(key("b"))),
        (2, Action::Contents(id(1))),
        (2, Action::Known(id(1))),
    ];
    let holder = |n| Script { id: id(n), content: vec![key("a"), key("b")], actions: Vec::new() };
    vec![Script { id: id(1), content: Vec::new(), actions }, holder(2), holder(3)]
}

struct Ran {
    scratch: tempfile::TempDir,
    /// What peer 1 logged after time 0.
    log: Vec<String>,
    /// What was delivered to peer 1: from whom, and whether it came.
    deliveries: Vec<(String, u64, bool)>,
}

/// Plays the scripts, with what `spoil` does to the scratch folder once everybody has looked at
/// their content and before anybody acts.
async fn play(spoil: impl FnOnce(&Path)) -> Ran {
    let scratch = tempfile::tempdir().unwrap();
    let out = tempfile::tempdir().unwrap();
    let scripts = scripts();
    lay_out(&scripts, scratch.path()).unwrap();
    let loopback = Loopback::claim().await.unwrap();
    let network = loopback.network();
    let lab = LabConfig { expect: Some(scripts.len()), ..LabConfig::default() };
    let config = TrackerConfig { lab: Some(lab), ..TrackerConfig::default() };
    let tracker = TrackerNode::bind(network, TRACKER, config, Default::default(), None).unwrap();
    let mut nodes = Vec::new();
    for script in scripts {
        let (listener, addr) = ports::listen(network, script.id).unwrap();
        let me = Contact::new(script.id, addr);
        let log = Some(out.path().join(log_name(script.id)));
        let mut options = PeerOptions { network, tracker: Some(TRACKER), log, ..PeerOptions::default() };
        let mut config = PeerConfig { advertised_ip: Some(TRACKER.ip()), ..PeerConfig::default() };
        let desk = Desk::open(scratch.path(), me, &script, &mut options, &mut config).await.unwrap();
        nodes.push((desk, PeerNode::scripted(listener, me, config, script, options)));
    }
    spoil(scratch.path());
    let mut running = JoinSet::new();
    for (desk, node) in nodes {
        running.spawn(async move {
            let end = node.run(CancellationToken::new(), Orders::none(), |_| {}).await.unwrap();
            desk.close().await.unwrap();
            assert!(matches!(end, PeerEnd::Finished), "{end:?}");
        });
    }
    tracker.run(CancellationToken::new(), |_| {}).await.unwrap();
    while running.join_next().await.transpose().unwrap().is_some() {}
    let log: Vec<LogEntry> = read(&out.path().join(log_name(id(1))));
    let delivered: Vec<Delivered> = read(&scratch.path().join("1/deliveries.json"));
    let log = log.into_iter().filter(|entry| entry.time > 0).map(|entry| entry.text).collect();
    let deliveries =
        delivered.iter().map(|d| (d.key.to_string(), d.from.id.as_u64(), d.failed.is_none())).collect();
    Ran { scratch, log, deliveries }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The file of a key at a peer that holds it at the start.
fn file(scratch: &Path, peer: u64, of: &str) -> PathBuf {
    let table: BTreeMap<String, String> = read(&scratch.join("keys.json"));
    scratch.join(peer.to_string()).join(&table[of])
}

/// The files with this content in a peer's folder.
fn copies(scratch: &Path, peer: u64, of: &str) -> usize {
    let wanted = &contents(&scripts())[&key(of)];
    let files = fs::read_dir(scratch.join(peer.to_string())).unwrap();
    files.filter(|file| fs::read(file.as_ref().unwrap().path()).unwrap() == *wanted).count()
}

/// Writes other bytes, so that nobody who looks at the file sees that it was changed.
fn falsify(path: &Path) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    let mut bytes = fs::read(path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(path, bytes).unwrap();
    fs::File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
}

const FROM_2: &str = "from 127.0.0.1#9978";
const FROM_3: &str = "from 127.0.0.1#9243";

#[tokio::test]
async fn what_is_obtained_has_come_and_what_is_purged_is_gone() {
    let ran = play(|_| {}).await;
    let expected = [
        format!("Obtained a {FROM_2}"),
        format!("Obtained b {FROM_2}"),
        "Removed b".into(),
        "Client 1: a".into(),
        "Client 1: <2, 127.0.0.1, 9978>".into(),
    ];
    assert_eq!(ran.log, expected);
    assert_eq!(ran.deliveries, [("a".into(), 2, true), ("b".into(), 2, true)]);
    let copies = |peer| ["a", "b"].map(|key| copies(ran.scratch.path(), peer, key));
    assert_eq!((copies(1), copies(2)), ([1, 0], [1, 1]));
}

/// A way to make a file what it should not be.
type Spoil = fn(&Path);

#[tokio::test]
async fn a_key_is_never_obtained_from_a_holder_whose_bytes_are_not_those() {
    let ways: [(&str, Spoil); 4] = [
        ("other bytes", falsify),
        ("changed", |path| fs::write(path, "something else").unwrap()),
        ("shorter", |path| fs::File::options().write(true).open(path).unwrap().set_len(70_000).unwrap()),
        ("gone", |path| fs::remove_file(path).unwrap()),
    ];
    for (way, spoil) in ways {
        let ran = play(|scratch| spoil(&file(scratch, 2, "a"))).await;
        let expected = [
            format!("Obtained a {FROM_3}"),
            format!("Obtained b {FROM_2}"),
            "Removed b".into(),
            "Client 1: a".into(),
            "Client 1: <3, 127.0.0.1, 9243>, <2, 127.0.0.1, 9978>".into(),
        ];
        assert_eq!(ran.log, expected, "{way}");
        let expected = [("a".into(), 2, false), ("a".into(), 3, true), ("b".into(), 2, true)];
        assert_eq!(ran.deliveries, expected, "{way}");
        assert_eq!(copies(ran.scratch.path(), 1, "a"), 1, "{way}");
    }
}

#[tokio::test]
async fn a_key_that_nobody_delivers_is_unavailable() {
    let ran = play(|scratch| {
        falsify(&file(scratch, 2, "a"));
        falsify(&file(scratch, 3, "a"));
    })
    .await;
    let expected = [
        "Content a is unavailable".into(),
        format!("Obtained b {FROM_2}"),
        "Removed b".into(),
        "Client 1: ".into(),
        "Client 1: <2, 127.0.0.1, 9978>".into(),
    ];
    assert_eq!(ran.log, expected);
    assert_eq!(ran.deliveries, [("a".into(), 2, false), ("a".into(), 3, false), ("b".into(), 2, true)]);
    assert_eq!(copies(ran.scratch.path(), 1, "a"), 0);
}

#[test]
fn contents_are_the_same_for_everybody_and_no_two_alike() {
    let keys: Vec<Key> = (0..40).map(|n| key(&format!("k{n:02}"))).collect();
    let script = |content: Vec<Key>| Script { id: id(1), content, actions: Vec::new() };
    let all = contents(&[script(keys.clone())]);
    assert_eq!(all, contents(&[script(keys[20..].to_vec()), script(keys[..30].to_vec())]));
    let sizes: Vec<usize> = all.values().map(Vec::len).collect();
    assert_eq!(sizes[..6], [151_072, 65_537, 65_536, 1, 0, 65_537]);
    let different: std::collections::BTreeSet<_> = all.values().collect();
    assert_eq!(different.len(), 40);
}
