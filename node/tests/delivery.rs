//! Content from peer to peer: whole nodes over loopback, in one process.

mod nodes;

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use askaround_core::key::Key;
use askaround_node::content::{Part, PartOptions, Place, Wanted};
use askaround_node::delivery::{DeliveryOptions, GetError, GetEvent, GetRequest, Got};
use nodes::{Network, bytes, names, spoil};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn files_of_every_size_come_by_either_key() {
    let network = Network::start().await;
    let (seed, fetcher) = (network.peer(1).await, network.peer(2).await);
    for size in [0, 1, 65_536, 65_537, 1_000_000] {
        let content = bytes(size);
        let entry = seed.add_file(&format!("file{size}"), &content).await;
        let folder = tempfile::tempdir().unwrap();
        for (name, key) in [("a", entry.root.to_string()), ("b", entry.md5.unwrap().to_string())] {
            let to = folder.path().join(name);
            let got = fetcher.get(&key, &to).await.unwrap();
            assert_eq!((got.size, &got.blake3), (size as u64, &entry.root.to_string()));
            assert!(fs::read(&to).unwrap() == content, "{size}");
        }
        assert_eq!(names(folder.path()), ["a", "b"], "nothing is left beside them");
    }
    assert!(fetcher.holds("d41d8cd98f00b204e9800998ecf8427e").await, "obtained by its md5");
    network.stop().await;
}

#[tokio::test]
async fn what_was_fetched_is_held_served_and_known_to_come_from_there() {
    let network = Network::start().await;
    let (one, two) = (network.peer(1).await, network.peer(2).await);
    let entry = one.add_file("x", &bytes(300_000)).await;
    let key = entry.root.to_string();
    let folder = tempfile::tempdir().unwrap();
    two.get(&key, &folder.path().join("x")).await.unwrap();
    assert!(two.holds(&key).await);
    one.stop().await;
    let three = network.peer(3).await;
    let got = three.get(&key, &folder.path().join("y")).await.unwrap();
    assert_eq!(got.sources[0].peer.unwrap().id.as_u64(), 2);
    network.stop().await;
}

#[tokio::test]
async fn a_folder_comes_whole_and_what_is_there_is_not_fetched_again() {
    let network = Network::start().await;
    let (seed, fetcher) = (network.peer(1).await, network.peer(2).await);
    let source = tempfile::tempdir().unwrap();
    let files = [("a/b/deep", 200_000), ("a/é ü", 10), ("empty", 0), ("same1", 70_000), ("same2", 70_000)];
    for (name, size) in files {
        let path = source.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes(size)).unwrap();
    }
    let key = seed.add_folder(source.path()).await.to_string();
    let to = tempfile::tempdir().unwrap();
    let to = to.path().join("copy");
    fs::create_dir(&to).unwrap();
    fs::write(to.join("same2"), bytes(70_000)).unwrap();
    // The list of the files comes too.
    let sent_kb = |got: &Got| got.sources.iter().map(|source| source.bytes).sum::<u64>() / 1000;
    let got = fetcher.get(&key, &to).await.unwrap();
    assert_eq!((got.files, got.size, got.here_before, sent_kb(&got)), (Some(5), 340_010, 140_000, 200));
    for (name, size) in files {
        assert!(fs::read(to.join(name)).unwrap() == bytes(size), "{name}");
    }
    assert_eq!(names(&to), ["a", "empty", "same1", "same2"]);
    for name in ["same1", "same2"] {
        fs::write(to.join(name), bytes(60_000)).unwrap();
    }
    let repaired = fetcher.verify(&key, true).await;
    assert_eq!((repaired.good, repaired.repaired), (5, 2), "one is fetched, the other copied from it");
    // It serves the folder now, and sees to each of its files, also to those that are the same.
    seed.stop().await;
    for name in ["same1", "same2"] {
        let damaged = fs::OpenOptions::new().write(true).open(to.join(name)).unwrap();
        damaged.write_all_at(b"!", 66_000).unwrap();
        let first = fetcher.verify(&key, false).await;
        fs::remove_file(to.join(name)).unwrap();
        let second = fetcher.verify(&key, false).await;
        assert_eq!((first.good, first.bad, second.good, second.bad), (4, 1, 4, 1), "{name}");
        fs::write(to.join(name), bytes(70_000)).unwrap();
        assert_eq!(fetcher.verify(&key, false).await.good, 5, "{name}");
    }
    let root = Key::new(blake3::hash(&bytes(70_000)).to_hex().as_str()).unwrap();
    let known = fetcher.delivery.catalogue().get(&root).unwrap().unwrap().path;
    let double = to.join(if known.ends_with("same1") { "same2" } else { "same1" });
    fs::write(&double, bytes(69_999)).unwrap();
    let repaired = fetcher.verify(&key, true).await;
    assert_eq!((repaired.good, repaired.repaired, repaired.bad), (5, 1, 0));
    assert!(fs::read(&double).unwrap() == bytes(70_000));
    fs::write(&known, bytes(69_999)).unwrap();
    let repaired = fetcher.verify(&key, true).await;
    assert_eq!((repaired.good, repaired.repaired), (5, 1), "from the other file, with nobody there");
    let third = network.peer(3).await;
    let again = tempfile::tempdir().unwrap();
    let to = again.path().join("c");
    let got = third.get(&key, &to).await.unwrap();
    assert_eq!((got.size, sent_kb(&got)), (340_010, 270), "what is the same comes once");
    for (name, size) in files {
        assert!(fs::read(to.join(name)).unwrap() == bytes(size), "{name}");
    }
    network.stop().await;
}

/// Killed between the last piece of a file and its name.
#[tokio::test]
async fn what_an_earlier_try_has_whole_is_copied_to_the_others_that_are_the_same() {
    let network = Network::start().await;
    let (seed, fetcher) = (network.peer(1).await, network.peer(2).await);
    let source = tempfile::tempdir().unwrap();
    let content = bytes(200_000);
    for name in ["a", "b"] {
        fs::write(source.path().join(name), &content).unwrap();
    }
    let key = seed.add_folder(source.path()).await.to_string();
    let to = tempfile::tempdir().unwrap();
    let entry = seed.delivery.catalogue().get(&Key::new(blake3::hash(&content).to_hex().as_str()).unwrap());
    let manifest = seed.delivery.catalogue().manifest(&entry.unwrap().unwrap()).unwrap();
    let (geometry, wanted) = (manifest.geometry(), Wanted { manifest: manifest.into(), md5: None });
    let part =
        Part::create(Place::new(&to.path().join("a")).unwrap(), wanted, PartOptions::default()).unwrap();
    for piece in geometry.pieces() {
        let range = geometry.range(piece);
        part.write_piece(piece, &content[range.start as usize..range.end as usize]).unwrap();
        part.record(&[piece]).unwrap();
    }
    drop(part);
    assert!(!to.path().join("a").exists());
    let got = fetcher.get(&key, to.path()).await.unwrap();
    assert_eq!((got.size, got.here_before), (400_000, 400_000));
    assert!(["a", "b"].iter().all(|name| fs::read(to.path().join(name)).unwrap() == content));
    network.stop().await;
}

#[tokio::test]
async fn what_cannot_be_got_says_why() {
    let network = Network::start().await;
    let (seed, node) = (network.peer(1).await, network.peer(2).await);
    let folder = tempfile::tempdir().unwrap();
    let unknown = "00".repeat(32);
    let error = node.get(&unknown, &folder.path().join("x")).await.unwrap_err();
    assert!(matches!(error, GetError::NotFound { asked: 1, truncated: false, .. }), "{error}");
    let key = seed.add_file("x", b"hello").await.root.to_string();
    let error = node.get(&key, folder.path()).await.unwrap_err();
    assert!(matches!(error, GetError::IsFolder(_)), "{error}");
    let there = folder.path().join("there");
    fs::write(&there, "something else").unwrap();
    let error = node.get(&key, &there).await.unwrap_err();
    assert!(matches!(error, GetError::Exists { .. }), "{error}");
    assert_eq!(fs::read(&there).unwrap(), b"something else");
    let nowhere = folder.path().join("no/such/folder/x");
    assert!(node.get(&key, &nowhere).await.is_err());
    assert_eq!(names(folder.path()), ["there"]);
    network.stop().await;
}

#[tokio::test]
async fn a_stopped_fetch_goes_on_where_it_was() {
    let network = Network::start().await;
    let (seed, node) = (network.peer(1).await, network.peer(2).await);
    let content = bytes(3_000_000);
    let key = seed.add_file("x", &content).await.root.to_string();
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("x");
    seed.delivery.set_limits(Some(Some(2_000_000)), None);
    let request = GetRequest { key: Key::new(&key).unwrap(), to: to.clone(), from: vec![], in_place: false };
    let (events, mut told) = mpsc::channel(64);
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    let told = tokio::spawn(async move {
        while let Some(event) = told.recv().await {
            if matches!(event, GetEvent::Progress { here, .. } if here > 500_000) {
                stopping.cancel();
            }
        }
    });
    let stopped = node.delivery.get(request, events, stop).await;
    told.await.unwrap();
    assert!(matches!(stopped, Err(GetError::Stopped)), "{stopped:?}");
    assert!(!to.exists());
    seed.delivery.set_limits(Some(None), None);
    let got = tokio::time::timeout(Duration::from_secs(60), node.get(&key, &to)).await.unwrap().unwrap();
    assert!(got.here_before > 500_000, "{}", got.here_before);
    let came: u64 = got.sources.iter().map(|s| s.bytes).sum();
    assert_eq!(came + got.here_before, 3_000_000);
    assert!(fs::read(&to).unwrap() == content);
    network.stop().await;
}

#[tokio::test]
async fn who_lies_about_an_md5_is_found_out_and_the_fetch_goes_on_with_others() {
    let network = Network::start().await;
    let (liar, honest, node) = (network.peer(1).await, network.peer(2).await, network.peer(3).await);
    let content = bytes(500_000);
    let entry = honest.add_file("x", &content).await;
    let md5 = entry.md5.unwrap();
    // The liar serves other content under that md5, and is asked first.
    liar.add_as("y", &bytes(400_000), md5).await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("x");
    let got = node.get(&md5.to_string(), &to).await.unwrap();
    assert_eq!(got.blake3, entry.root.to_string());
    assert!(fs::read(&to).unwrap() == content);
    assert_eq!(names(folder.path()), ["x"]);
    let lost: Vec<_> =
        got.sources.iter().filter_map(|s| s.lost.as_ref().map(|_| s.peer.unwrap().id)).collect();
    assert!(lost.iter().all(|id| id.as_u64() == 1), "{lost:?}");
    network.stop().await;
}

#[tokio::test]
async fn a_file_that_changed_since_is_not_served() {
    let network = Network::start().await;
    let (seed, node) = (network.peer(1).await, network.peer(2).await);
    let entry = seed.add_file("x", &bytes(200_000)).await;
    fs::write(&entry.path, bytes(200_001)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let error = node.get(&entry.root.to_string(), &folder.path().join("x")).await.unwrap_err();
    assert!(matches!(error, GetError::NoSource { .. } | GetError::NotFound { .. }), "{error}");
    assert!(!seed.holds(&entry.root.to_string()).await, "it holds it no longer");
    network.stop().await;
}

#[tokio::test]
async fn what_is_to_come_from_one_peer_comes_from_no_other() {
    let network = Network::start().await;
    let (one, two, node) = (network.peer(1).await, network.peer(2).await, network.peer(3).await);
    let content = bytes(300_000);
    let entry = one.add_file("x", &content).await;
    two.add_file("x", &content).await;
    let folder = tempfile::tempdir().unwrap();
    let me = one.delivery.status().unwrap().me;
    let from_one = async |name: &str| {
        let (key, to) = (entry.root.key(), folder.path().join(name));
        node.delivery.get_from(key, to, me, CancellationToken::new()).await
    };
    let got = from_one("a").await.unwrap();
    let came: Vec<_> = got.sources.iter().map(|s| (s.peer.unwrap().id.as_u64(), s.bytes)).collect();
    assert_eq!(came, [(1, 300_000)]);
    node.delivery.purge(&entry.root.key()).await.unwrap();
    spoil(&entry.path, 299_999);
    let error = from_one("b").await.unwrap_err();
    assert!(matches!(error, GetError::NoSource { .. }), "{error}");
    assert!(!folder.path().join("b").exists());
    one.stop().await;
    let error = from_one("c").await.unwrap_err();
    assert!(matches!(error, GetError::NoSource { .. }), "{error}");
    network.stop().await;
}

#[tokio::test]
async fn a_fetch_that_is_complete_is_not_stopped_any_more() {
    let network = Network::start().await;
    let (seed, fetcher) = (network.peer(1).await, network.peer(2).await);
    let entry = seed.add_file("x", &bytes(300_000)).await;
    let folder = tempfile::tempdir().unwrap();
    for (name, key) in [("a", entry.root.key()), ("b", entry.md5.unwrap().key())] {
        let to = folder.path().join(name);
        let request = GetRequest { key: key.clone(), to: to.clone(), from: vec![], in_place: false };
        let (events, mut told) = mpsc::channel::<GetEvent>(64);
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let stopped = tokio::spawn(async move {
            while let Some(event) = told.recv().await {
                if matches!(event, GetEvent::Progress { here: 300_000, .. }) {
                    stopping.cancel();
                }
            }
        });
        let got = fetcher.delivery.get(request, events, stop.clone()).await;
        stopped.await.unwrap();
        assert!(stop.is_cancelled(), "it told that everything is here");
        assert_eq!(got.unwrap().size, 300_000);
        assert!(to.exists());
        fetcher.delivery.purge(&key).await.unwrap();
    }
    network.stop().await;
}

/// A peer that has nothing, and never answers its first question.
async fn silent_once(asked: oneshot::Sender<()>) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let mut asked = Some(asked);
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let asked = asked.take();
            connections.spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                let silent = asked.is_some();
                let mut asked = asked;
                while stream.read_line(&mut line).await.unwrap_or(0) > 0 {
                    let answer: &[u8] = match &line[..1] {
                        "Q" => b"A {\"have\":false}\n",
                        "O" => b"A {\"peers\":[]}\n",
                        _ => b"",
                    };
                    if !answer.is_empty()
                        && let Some(asked) = asked.take()
                    {
                        let _ = asked.send(());
                    }
                    if !silent && stream.write_all(answer).await.is_err() {
                        return;
                    }
                    line.clear();
                }
            });
        }
    });
    (port, task)
}

#[tokio::test]
async fn a_peer_that_does_not_answer_keeps_nobody_from_being_found() {
    let network = Network::start().await;
    let slow = network.peer_with(1, DeliveryOptions { up: Some(20_000), ..Default::default() }).await;
    let (fetcher, quick) = (network.peer(2).await, network.peer(3).await);
    let content = bytes(2_000_000);
    let key = slow.add_file("x", &content).await.root.to_string();
    let (asked, is_asked) = oneshot::channel();
    let (port, silent) = silent_once(asked).await;
    network.register(4, port).await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("x");
    let adding = async {
        is_asked.await.unwrap();
        quick.add_file("x", &content).await;
    };
    let both = async { tokio::join!(fetcher.get(&key, &to), adding) };
    // The slow one alone takes longer than this.
    let (got, ()) =
        tokio::time::timeout(Duration::from_secs(60), both).await.expect("the quick one is found");
    let quick = quick.delivery.status().unwrap().me.addr();
    let sources = got.unwrap().sources;
    assert!(sources.iter().any(|source| source.addr == quick && source.bytes > 0), "{sources:?}");
    silent.abort();
    network.stop().await;
}
