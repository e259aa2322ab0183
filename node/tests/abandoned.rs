//! Those whose holder has left for good, and who only have each other: they find out that nobody has
//! what is missing, although each is a source of the other.

mod nodes;

use std::path::Path;
use std::time::Duration;

use askaround_core::key::Key;
use askaround_node::delivery::{DeliveryOptions, GetError, GetEvent, GetRequest};
use nodes::{Network, Node, bytes};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Only a fetch that does not see that nobody has anything goes on for so long: it ends when nothing
/// has come for 120 s, whatever else there is.
const HANGS: Duration = Duration::from_secs(100);

/// Fetches, and says so once another source is there and something has come.
async fn get(node: &Node, key: Key, to: &Path, shares: mpsc::Sender<()>) -> Result<(), GetError> {
    let request = GetRequest { key, to: to.into(), from: vec![], in_place: false };
    let (tell, mut told) = mpsc::channel(64);
    let watches = async {
        let mut said = false;
        while let Some(event) = told.recv().await {
            if matches!(event, GetEvent::Progress { here: 1.., sources: 2.., .. }) && !said {
                said = true;
                shares.send(()).await.unwrap();
            }
        }
    };
    let (got, ()) = tokio::join!(node.delivery.get(request, tell, CancellationToken::new()), watches);
    got.map(drop)
}

#[tokio::test]
async fn those_who_only_have_each_other_end_soon() {
    let network = Network::start().await;
    let slow = DeliveryOptions { up: Some(100_000), ..Default::default() };
    let seed = network.peer_with(1, slow).await;
    let fetchers = [network.peer(2).await, network.peer(3).await];
    let key = Key::new(&seed.add_file("x", &bytes(4_000_000)).await.root.to_string()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
    let (shares, mut sharing) = mpsc::channel(2);
    let leaves = async {
        for _ in &fetchers {
            sharing.recv().await.unwrap();
        }
        seed.stop().await;
    };
    let all = async {
        tokio::join!(
            get(&fetchers[0], key.clone(), &a, shares.clone()),
            get(&fetchers[1], key.clone(), &b, shares.clone()),
            leaves
        )
    };
    let (first, second, ()) = tokio::time::timeout(HANGS, all).await.expect("they wait for each other");
    for got in [first, second] {
        assert!(matches!(got, Err(GetError::Starved { missing: 1.., .. })), "{got:?}");
    }
    network.stop().await;
}
