//! Fetches of one key at the same time.

mod nodes;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use askaround_core::id::{Contact, PeerId};
use askaround_core::key::Key;
use askaround_node::content::Catalogue;
use askaround_node::delivery::keep::{AddRequest, KeepError, KeepEvent};
use askaround_node::delivery::verify::Verdict;
use askaround_node::delivery::{Delivery, DeliveryOptions, GetError, GetEvent, GetRequest, Got};
use askaround_node::peer::PeerHandle;
use nodes::{Network, Node, bytes};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const SIZE: usize = 500_000;

/// A peer that has a file and sends it slowly, one that is to fetch it, and its key.
async fn slow_seed() -> (Network, Node, Node, String) {
    let network = Network::start().await;
    let slow = DeliveryOptions { up: Some(100_000), ..DeliveryOptions::default() };
    let (seed, node) = (network.peer_with(1, slow).await, network.peer(2).await);
    let key = seed.add_file("x", &bytes(SIZE)).await.root.to_string();
    (network, seed, node, key)
}

/// Fetches; what is told goes to `told`.
async fn get(
    node: &Node,
    key: &str,
    to: &Path,
    told: mpsc::Sender<GetEvent>,
    stop: CancellationToken,
) -> Result<Got, GetError> {
    let request = GetRequest { key: key.parse().unwrap(), to: to.into(), from: vec![], in_place: false };
    node.delivery.get(request, told, stop).await
}

/// Waits until a fetch says that it waits for another.
async fn waits(told: &mut mpsc::Receiver<GetEvent>) {
    loop {
        match told.recv().await {
            Some(GetEvent::Note { text }) if text.contains("waiting for that") => return,
            Some(_) => {}
            None => panic!("it does not wait"),
        }
    }
}

#[tokio::test]
async fn what_is_wanted_twice_comes_once() {
    let (network, seed, node, key) = slow_seed().await;
    let (content, folder) = (bytes(SIZE), tempfile::tempdir().unwrap());
    let [one, same, other] = ["one", "one", "other"].map(|name| folder.path().join(name));
    let (tell, _) = mpsc::channel(1);
    let (tell_same, mut same_told) = mpsc::channel(64);
    let (tell_other, mut other_told) = mpsc::channel(64);
    let go_on = async {
        waits(&mut same_told).await;
        waits(&mut other_told).await;
        seed.delivery.set_limits(Some(None), None);
    };
    let never = CancellationToken::new();
    let (first, second, third, ()) = tokio::join!(
        get(&node, &key, &one, tell, never.clone()),
        get(&node, &key, &same, tell_same, never.clone()),
        get(&node, &key, &other, tell_other, never.clone()),
        go_on,
    );
    let came = |got: &Got| got.sources.iter().map(|source| source.bytes).sum::<u64>();
    assert_eq!(came(&first.unwrap()), 500_000);
    for got in [second.unwrap(), third.unwrap()] {
        assert_eq!((came(&got), got.here_before), (0, 500_000));
    }
    for path in [&one, &other] {
        assert!(fs::read(path).unwrap() == content);
    }
    let told = std::iter::from_fn(|| other_told.try_recv().ok());
    let read = |event: &GetEvent| matches!(event, GetEvent::Reading { path, .. } if Path::new(path) == one);
    assert!(told.filter(read).count() > 0, "it says that it copies");
    network.stop().await;
}

#[tokio::test]
async fn a_fetch_goes_on_with_what_another_leaves() {
    let (network, seed, node, key) = slow_seed().await;
    let (content, folder) = (bytes(SIZE), tempfile::tempdir().unwrap());
    let to = folder.path().join("x");
    let (tell, mut told) = mpsc::channel(64);
    let (tell_second, mut second_told) = mpsc::channel(64);
    let stop = CancellationToken::new();
    let stopping = async {
        waits(&mut second_told).await;
        while !matches!(told.recv().await, Some(GetEvent::Progress { here: 1.., .. })) {}
        stop.cancel();
        seed.delivery.set_limits(Some(None), None);
    };
    let (first, second, ()) = tokio::join!(
        get(&node, &key, &to, tell, stop.clone()),
        get(&node, &key, &to, tell_second, CancellationToken::new()),
        stopping,
    );
    assert!(matches!(first, Err(GetError::Stopped)), "{first:?}");
    let got = second.unwrap();
    assert!(got.here_before > 0, "{got:?}");
    assert!(fs::read(&to).unwrap() == content);
    network.stop().await;
}

#[tokio::test]
async fn a_fetch_that_is_stopped_while_its_peer_is_busy_leaves_what_came_to_another() {
    let network = Network::start().await;
    let seed = network.peer(1).await;
    let content = bytes(300_000);
    let key = seed.add_file("x", &content).await.root.key();
    let from = seed.delivery.status().unwrap().me;
    let me = Contact::new(PeerId::new(2).unwrap(), SocketAddr::new(network.ip(), 9));
    let (peer, mut orders) = PeerHandle::new();
    let (delivery, _) = Delivery::new(me, Catalogue::temporary().unwrap(), peer, Default::default());
    let (folder, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
    let to = folder.path().join("x");
    let fetch = tokio::spawn({
        let (delivery, key, to, stop) = (delivery.clone(), key.clone(), to.clone(), stop.clone());
        async move { delivery.get_from(key, to, from, stop).await }
    });
    // That it is being fetched: from then on others are served.
    let busy_with = orders.recv().await.unwrap();
    stop.cancel();
    let idle = tokio::spawn(async move { while orders.recv().await.is_some() {} });
    drop(busy_with);
    let stopped = fetch.await.unwrap();
    assert!(matches!(stopped, Err(GetError::Stopped)), "{stopped:?}");
    delivery.get_from(key, to.clone(), from, CancellationToken::new()).await.unwrap();
    assert!(fs::read(&to).unwrap() == content);
    drop(delivery);
    idle.await.unwrap();
    network.stop().await;
}

#[tokio::test]
async fn whoever_waits_for_another_fetch_can_be_stopped() {
    let (network, seed, node, key) = slow_seed().await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("x");
    let (tell, _) = mpsc::channel(1);
    let (tell_second, mut second_told) = mpsc::channel(64);
    let stop = CancellationToken::new();
    let stopping = async {
        waits(&mut second_told).await;
        stop.cancel();
        seed.delivery.set_limits(Some(None), None);
    };
    let (first, second, ()) = tokio::join!(
        get(&node, &key, &to, tell, CancellationToken::new()),
        get(&node, &key, &to, tell_second, stop.clone()),
        stopping,
    );
    assert!(first.is_ok(), "{first:?}");
    assert!(matches!(second, Err(GetError::Stopped)), "{second:?}");
    network.stop().await;
}

/// Verifies and repairs everything; what is told of it as it goes is passed to `told`. What came of
/// the contents.
async fn repair(
    node: &Node,
    mut told: impl FnMut(KeepEvent),
    stop: CancellationToken,
) -> Result<Vec<Verdict>, KeepError> {
    let (events, mut come) = mpsc::channel(64);
    let verify = node.delivery.verify(vec![], true, events, stop);
    let mut verdicts = Vec::new();
    let listen = async {
        while let Some(event) = come.recv().await {
            match event {
                KeepEvent::Checked(checked) => verdicts.push(checked.verdict),
                event => told(event),
            }
        }
    };
    let (verified, ()) = tokio::join!(verify, listen);
    verified.map(|_| verdicts)
}

/// Turns over all bytes so that nobody who looks at the file sees it.
fn spoil(path: &Path) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    let spoilt: Vec<_> = fs::read(path).unwrap().iter().map(|byte| !byte).collect();
    fs::write(path, spoilt).unwrap();
    fs::File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
}

/// What a repair says that waits for its turn while its user does something, and what is in its file
/// then.
async fn repaired_after(meanwhile: impl Fn(&Node, &Key, &Path)) -> (String, Vec<u8>) {
    let network = Network::start().await;
    let (seed, node) = (network.peer(1).await, network.peer(2).await);
    let key = seed.add_file("x", &bytes(500_000)).await.root.key();
    let folder = tempfile::tempdir().unwrap();
    let [x, y] = ["x", "y"].map(|name| folder.path().join(name));
    node.get(key.as_str(), &x).await.unwrap();
    spoil(&x);
    seed.delivery.set_limits(Some(Some(100_000)), None);
    let (tell, mut told) = mpsc::channel(64);
    let never = CancellationToken::new();
    let first = get(&node, key.as_str(), &y, tell, never.clone());
    let second = async {
        while !matches!(told.recv().await.unwrap(), GetEvent::Progress { .. }) {}
        let told = |event| {
            if matches!(event, KeepEvent::Repairing { .. }) {
                meanwhile(&node, &key, &x);
                seed.delivery.set_limits(Some(None), None);
            }
        };
        repair(&node, told, never.clone()).await.unwrap()
    };
    let (got, verdicts) = tokio::join!(first, second);
    got.unwrap();
    network.stop().await;
    match &verdicts[..] {
        [Verdict::NotRepaired { why }] => (why.clone(), fs::read(&x).unwrap()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_its_user_writes_or_purges_while_a_repair_waits_stays_so() {
    let (why, left) = repaired_after(|_, _, x| fs::write(x, "the user's own words").unwrap()).await;
    assert!(why.contains("was changed since"), "{why}");
    assert_eq!(left, b"the user's own words");
    let purge = |node: &Node, key: &Key, _: &Path| drop(node.delivery.catalogue().remove(key).unwrap());
    let (why, left) = repaired_after(purge).await;
    assert!(why.contains("is not here"), "{why}");
    assert_ne!(left, bytes(500_000));
}

#[tokio::test]
async fn a_repair_that_ends_early_is_gone_on_with() {
    let network = Network::start().await;
    let (seed, node) = (network.peer(1).await, network.peer(2).await);
    let content = bytes(500_000);
    let root = seed.add_file("x", &content).await.root;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("x");
    node.get(&root.to_string(), &to).await.unwrap();
    spoil(&to);
    seed.delivery.set_limits(Some(Some(100_000)), None);
    let stop = CancellationToken::new();
    let stopping = |event| {
        if matches!(event, KeepEvent::Repairing { done, .. } if done > 0) {
            stop.cancel();
        }
    };
    let stopped = repair(&node, stopping, stop.clone()).await;
    assert!(matches!(stopped, Err(KeepError::Stopped)), "{stopped:?}");
    seed.stop().await;
    let nobody = repair(&node, |_| (), CancellationToken::new()).await.unwrap();
    assert!(matches!(&nobody[..], [Verdict::NotRepaired { .. }]), "{nobody:?}");
    let seed = network.peer(3).await;
    seed.add_file("x", &content).await;
    let repaired = repair(&node, |_| (), CancellationToken::new()).await.unwrap();
    assert_eq!(repaired, [Verdict::Repaired], "although it is not named by its key");
    assert!(fs::read(&to).unwrap() == content);
    network.stop().await;
}

#[tokio::test]
async fn what_could_not_be_repaired_stays_when_it_is_purged() {
    let network = Network::start().await;
    let node = network.peer(1).await;
    let mine = tempfile::tempdir().unwrap();
    let file = mine.path().join("x");
    fs::write(&file, bytes(SIZE)).unwrap();
    let (events, _) = mpsc::channel(1);
    let request = AddRequest { paths: vec![file.clone()], copy: false };
    let added = node.delivery.add(request, events, CancellationToken::new()).await.unwrap();
    spoil(&file);
    let rotten = fs::read(&file).unwrap();
    for purged in [false, true] {
        let verdicts = repair(&node, |_| (), CancellationToken::new()).await.unwrap();
        assert!(matches!(&verdicts[..], [Verdict::NotRepaired { .. }]), "{verdicts:?}");
        if purged {
            let purged = node.delivery.purge(&added[0].blake3).await.unwrap();
            assert_eq!((purged.given_up, purged.stays.as_deref()), (None, file.to_str()));
        }
        assert!(fs::read(&file).unwrap() == rotten);
        assert_eq!(fs::read_dir(mine.path()).unwrap().count(), 1, "nothing is left beside it");
    }
    network.stop().await;
}
