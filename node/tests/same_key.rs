//! Fetches of one key at the same time.

mod nodes;

use std::fs;
use std::path::Path;

use askaround_node::delivery::{DeliveryOptions, GetError, GetEvent, GetRequest, Got};
use nodes::{Network, Node, bytes};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

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
    let network = Network::start().await;
    let slow = DeliveryOptions { up: Some(100_000), ..DeliveryOptions::default() };
    let (seed, node) = (network.peer_with(1, slow).await, network.peer(2).await);
    let content = bytes(500_000);
    let key = seed.add_file("x", &content).await.root.to_string();
    let folder = tempfile::tempdir().unwrap();
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
    let network = Network::start().await;
    let slow = DeliveryOptions { up: Some(100_000), ..DeliveryOptions::default() };
    let (seed, node) = (network.peer_with(1, slow).await, network.peer(2).await);
    let content = bytes(500_000);
    let key = seed.add_file("x", &content).await.root.to_string();
    let folder = tempfile::tempdir().unwrap();
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
async fn whoever_waits_for_another_fetch_can_be_stopped() {
    let network = Network::start().await;
    let slow = DeliveryOptions { up: Some(100_000), ..DeliveryOptions::default() };
    let (seed, node) = (network.peer_with(1, slow).await, network.peer(2).await);
    let key = seed.add_file("x", &bytes(500_000)).await.root.to_string();
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
