//! Folders that are moved, and links put in their place, while something is fetched into them or
//! afterwards.

mod nodes;

use std::fs;
use std::path::Path;

use askaround_core::key::Key;
use askaround_node::delivery::{DeliveryOptions, GetError, GetEvent, GetRequest, Got};
use nodes::{Network, Node, bytes};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Fetches from somebody who sends hardly anything before `was` is `is`.
async fn get_while_moved(
    (seed, node): (&Node, &Node),
    key: Key,
    to: &Path,
    (was, is): (&Path, &Path),
) -> Result<Got, GetError> {
    let request = GetRequest { key, to: to.into(), from: vec![], in_place: false };
    let (tell, mut told) = mpsc::channel(64);
    let moves = async {
        while !matches!(told.recv().await.unwrap(), GetEvent::Found { .. }) {}
        fs::rename(was, is).unwrap();
        seed.delivery.set_limits(Some(None), None);
    };
    tokio::join!(node.delivery.get(request, tell, CancellationToken::new()), moves).0
}

#[tokio::test]
async fn what_was_moved_while_it_came_is_not_reported_where_it_is_not() {
    let network = Network::start().await;
    let slow = DeliveryOptions { up: Some(1), ..Default::default() };
    let seed = network.peer_with(1, slow).await;
    let node = network.peer(2).await;
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("a"), bytes(300_000)).unwrap();
    let folder_key = seed.add_folder(source.path()).await.key();
    let file_key = seed.add_file("x", &bytes(200_000)).await.root.key();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);

    let got =
        get_while_moved((&seed, &node), folder_key.clone(), &at("copy"), (&at("copy"), &at("moved"))).await;
    assert!(matches!(&got, Err(GetError::Moved(path)) if *path == at("copy")), "{got:?}");
    assert!(fs::read(at("moved/a")).unwrap() == bytes(300_000), "what came is whole");
    assert!(!node.holds(folder_key.as_str()).await);

    seed.delivery.set_limits(Some(Some(1)), None);
    fs::create_dir(at("in")).unwrap();
    let got = get_while_moved((&seed, &node), file_key, &at("in/x"), (&at("in"), &at("elsewhere"))).await;
    assert!(matches!(&got, Err(GetError::Moved(path)) if *path == at("in")), "{got:?}");
    assert!(fs::read(at("elsewhere/x")).unwrap() == bytes(200_000));
    network.stop().await;
}

#[tokio::test]
async fn nothing_is_repaired_through_a_link_that_was_put_in_a_folder() {
    let network = Network::start().await;
    let (seed, node) = (network.peer(1).await, network.peer(2).await);
    let source = tempfile::tempdir().unwrap();
    fs::create_dir(source.path().join("sub")).unwrap();
    fs::write(source.path().join("sub/a"), bytes(300_000)).unwrap();
    let key = seed.add_folder(source.path()).await.to_string();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().canonicalize().unwrap().join(name);
    node.get(&key, &at("copy")).await.unwrap();
    fs::rename(at("copy/sub"), at("saved")).unwrap();
    fs::create_dir(at("out")).unwrap();
    std::os::unix::fs::symlink(at("out"), at("copy/sub")).unwrap();
    let summary = node.verify(&key, true).await;
    assert_eq!((summary.bad, summary.repaired), (1, 0), "{summary:?}");
    assert_eq!(fs::read_dir(at("out")).unwrap().count(), 0, "something was written there");
    fs::remove_file(at("copy/sub")).unwrap();
    let summary = node.verify(&key, true).await;
    assert_eq!((summary.bad, summary.repaired), (0, 1), "{summary:?}");
    assert!(fs::read(at("copy/sub/a")).unwrap() == bytes(300_000));
    network.stop().await;
}
