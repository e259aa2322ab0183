//! What is here already when it is fetched: another file with it, or a damaged one.

mod nodes;

use std::fs;
use std::os::unix::fs::FileExt as _;

use askaround_node::delivery::{GetError, GetRequest, Got};
use nodes::{Network, bytes, names, spoil};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn what_is_here_is_copied_and_what_of_it_is_wrong_is_fetched() {
    let network = Network::start().await;
    let (seed, node) = (network.peer(1).await, network.peer(2).await);
    let content = bytes(300_000);
    let key = seed.add_file("x", &content).await.root.to_string();
    let here = node.add_file("x", &content).await;
    let folder = tempfile::tempdir().unwrap();
    let came = |got: &Got| got.sources.iter().map(|source| source.bytes).sum::<u64>();
    let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
    let got = node.get(&key, &a).await.unwrap();
    assert_eq!((came(&got), got.here_before), (0, 300_000));
    assert!(fs::read(&a).unwrap() == content);
    [&here.path, &a].into_iter().for_each(|path| spoil(path, 70_000));
    let got = node.get(&key, &b).await.unwrap();
    assert_eq!((came(&got), got.here_before), (65_536, 300_000 - 65_536));
    assert!(fs::read(&b).unwrap() == content);
    network.stop().await;
}

#[tokio::test]
async fn what_was_fetched_and_is_damaged_is_fetched_again_where_it_is() {
    let network = Network::start().await;
    let (seed, node) = (network.peer(1).await, network.peer(2).await);
    let (source, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (name, size) in [("large", 200_000), ("small", 10)] {
        fs::write(source.path().join(name), bytes(size)).unwrap();
    }
    let folder = seed.add_folder(source.path()).await.to_string();
    let file = seed.add_file("x", &bytes(300_000)).await.root.to_string();
    let [x, f] = ["x", "f"].map(|name| to.path().join(name));
    node.get(&file, &x).await.unwrap();
    node.get(&folder, &f).await.unwrap();
    for (path, at) in [(&x, 70_000), (&f.join("large"), 70_000), (&f.join("small"), 3)] {
        spoil(path, at);
    }
    assert_eq!(node.verify(&file, false).await.bad, 1);
    assert!(!node.holds(&file).await);
    assert_eq!(node.verify(&folder, false).await.bad, 2);
    let missing = |got: &Got| got.size - got.here_before;
    assert_eq!(missing(&node.get(&file, &x).await.unwrap()), 65_536);
    assert_eq!(missing(&node.get(&folder, &f).await.unwrap()), 65_536 + 10);
    assert!(fs::read(&x).unwrap() == bytes(300_000));
    assert!(fs::read(f.join("large")).unwrap() == bytes(200_000));
    assert!(fs::read(f.join("small")).unwrap() == bytes(10));
    assert_eq!(
        (names(to.path()), names(&f)),
        (vec!["f".into(), "x".into()], vec!["large".into(), "small".into()])
    );
    // What its user has changed is not.
    fs::write(&x, "edited").unwrap();
    assert_eq!(node.verify(&file, false).await.bad, 1);
    let error = node.get(&file, &x).await.unwrap_err();
    assert!(matches!(error, GetError::Exists { .. }), "{error}");
    network.stop().await;
}

#[tokio::test]
async fn a_sparse_file_that_is_there_already_is_known_as_one() {
    let network = Network::start().await;
    let (seed, node) = (network.peer(1).await, network.peer(2).await);
    let mut content = vec![0; 4 << 20];
    content[1 << 20] = 1;
    let root = seed.add_file("x", &content).await.root;
    let folder = tempfile::tempdir().unwrap();
    let x = folder.path().join("x");
    let file = fs::File::create(&x).unwrap();
    file.set_len(content.len() as u64).unwrap();
    file.write_all_at(&[1], 1 << 20).unwrap();
    let got = node.get(&root.to_string(), &x).await.unwrap();
    assert_eq!(got.here_before, got.size);
    assert!(node.delivery.catalogue().get(&root.key()).unwrap().unwrap().sparse);
    network.stop().await;
}

#[tokio::test]
async fn an_equal_file_at_the_destination_is_taken_and_another_is_not_written_to() {
    let network = Network::start().await;
    let (node, to) = (network.peer(1).await, tempfile::tempdir().unwrap());
    for (name, size) in [("large", 300_000), ("small", 10), ("empty", 0)] {
        let content = bytes(size);
        let key = node.add_file(name, &content).await.root.key();
        for in_place in [false, true] {
            let path = to.path().join(format!("{name}-{in_place}"));
            let get = async || {
                let request = GetRequest { key: key.clone(), to: path.clone(), from: vec![], in_place };
                let (events, _told) = mpsc::channel(1);
                node.delivery.get(request, events, CancellationToken::new()).await
            };
            fs::write(&path, "another").unwrap();
            let error = get().await.unwrap_err();
            assert!(matches!(error, GetError::Exists { .. }), "{name}, in place {in_place}: {error}");
            assert_eq!(fs::read(&path).unwrap(), b"another");
            fs::write(&path, &content).unwrap();
            let got = get().await.unwrap();
            assert_eq!((got.here_before, got.copied_from), (size as u64, None), "in place {in_place}");
            assert!(fs::read(&path).unwrap() == content);
        }
    }
    network.stop().await;
}
