//! Sources that describe something else than what a key names, and give nothing of it.

mod nodes;

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use askaround_core::message::MAX_HASHES;
use askaround_core::pieces::{HASH_LEN, MAX_PIECE, Manifest};
use askaround_node::content::Entry;
use askaround_node::content::collection::MAX_LIST;
use askaround_node::delivery::{GetError, GetEvent, GetRequest};
use nodes::{Network, bytes};
use tokio::io::{AsyncBufReadExt, AsyncReadExt as _, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// One that says that a key is this content, has all of it, and refuses each piece.
async fn liar(described: String, manifest: Manifest, at: SocketAddr) -> (SocketAddr, JoinHandle<()>) {
    liar_when(None, described, manifest, at).await
}

/// The same, which says nothing before it may.
async fn liar_when(
    may: Option<Arc<Notify>>,
    described: String,
    manifest: Manifest,
    at: SocketAddr,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind((at.ip(), 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        if let Some(may) = may {
            may.notified().await;
        }
        let (asks, mut answers) = stream.into_split();
        let mut asks = BufReader::new(asks);
        let mut line = String::new();
        while asks.read_line(&mut line).await.is_ok_and(|count| count > 0) {
            let hashes = format!("A {{\"hashes\":{}}}\n", manifest.geometry().count());
            let answer = match &line[..1] {
                "D" => format!("A {{\"content\":{{{described}}}}}\n").into_bytes(),
                "I" => b"A {\"pieces\":\"all\"}\n".to_vec(),
                "H" => [hashes.as_bytes(), manifest.as_bytes()].concat(),
                "G" => b"E {\"code\":\"not-here\",\"text\":\"no\"}\n".to_vec(),
                _ => Vec::new(),
            };
            line.clear();
            if answers.write_all(&answer).await.is_err() {
                break;
            }
        }
        let _ = asks.read_to_string(&mut line).await;
    });
    (addr, task)
}

#[derive(Clone, Copy)]
enum Lie {
    Shorter,
    Collection,
    LongCollection,
    OtherUnderMd5,
    MoreThanThereIsRoomFor,
}

/// The honest source is found too, and the content comes from it.
async fn comes_although(lie: Lie) {
    let network = Network::start().await;
    let (honest, node) = (network.peer(1).await, network.peer(2).await);
    let size = if matches!(lie, Lie::LongCollection) { MAX_LIST + 1 } else { 300_000 };
    let content = bytes(size);
    let entry = honest.add_file("x", &content).await;
    let other = honest.add_file("y", &bytes(200_000)).await;
    let manifest = |entry| honest.delivery.catalogue().manifest(entry).unwrap();
    let of = |root, size| format!("\"blake3\":\"{root}\",\"size\":{size}");
    // As much as one answer can prove.
    let huge = || {
        let size = u64::from(MAX_HASHES) * MAX_PIECE;
        Manifest::of(size, vec![[7; HASH_LEN]; MAX_HASHES as usize]).unwrap()
    };
    let (key, described, manifest) = match lie {
        Lie::Shorter => (entry.root.key(), of(entry.root, 299_999), manifest(&entry)),
        Lie::Collection | Lie::LongCollection => {
            let described = of(entry.root, size as u64) + ",\"collection\":true";
            (entry.root.key(), described, manifest(&entry))
        }
        Lie::MoreThanThereIsRoomFor => {
            let huge = huge();
            (entry.md5.unwrap().key(), of(huge.root(), huge.geometry().size()), huge)
        }
        Lie::OtherUnderMd5 => (entry.md5.unwrap().key(), of(other.root, 200_000), manifest(&other)),
    };
    let at = honest.delivery.status().unwrap().me.addr();
    let (addr, task) = liar(described, manifest, at).await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("x");
    let got = node.get_from(key, &to, vec![addr]).await.unwrap();
    assert_eq!(got.blake3, entry.root.to_string());
    assert!(fs::read(&to).unwrap() == content);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "something was left behind");
    task.abort();
    network.stop().await;
}

#[tokio::test]
async fn a_folder_comes_although_its_list_comes_as_a_file() {
    let network = Network::start().await;
    let (honest, liar, node) = (network.peer(1).await, network.peer(2).await, network.peer(3).await);
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("a"), bytes(300_000)).unwrap();
    let key = honest.add_folder(source.path()).await;
    let list = honest.delivery.catalogue().collection(&key).unwrap().to_bytes();
    assert_eq!(liar.add_file("list", &list).await.root, key);
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("copy");
    let from = vec![liar.delivery.status().unwrap().me.addr()];
    let got = node.get_from(key.key(), &to, from).await.unwrap();
    assert_eq!(got.files, Some(1));
    assert!(fs::read(to.join("a")).unwrap() == bytes(300_000));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "something was left behind");
    network.stop().await;
}

#[tokio::test]
async fn content_comes_although_somebody_says_that_it_is_shorter() {
    comes_although(Lie::Shorter).await;
}

#[tokio::test]
async fn content_comes_although_somebody_says_that_it_is_a_folder() {
    comes_although(Lie::Collection).await;
}

#[tokio::test]
async fn content_comes_although_somebody_says_that_it_is_a_folder_larger_than_there_may_be() {
    comes_although(Lie::LongCollection).await;
}

#[tokio::test]
async fn content_comes_although_somebody_says_that_its_md5_is_of_something_else() {
    comes_although(Lie::OtherUnderMd5).await;
}

#[tokio::test]
async fn content_comes_although_somebody_says_that_its_md5_is_of_more_than_there_is_room_for() {
    comes_although(Lie::MoreThanThereIsRoomFor).await;
}

#[tokio::test]
async fn a_fetch_ends_although_its_sources_only_contradict_each_other() {
    let (elsewhere, network) = (Network::start().await, Network::start().await);
    let (honest, node) = (elsewhere.peer(1).await, network.peer(2).await);
    let entry = honest.add_file("x", &bytes(300_000)).await;
    let manifest = || honest.delivery.catalogue().manifest(&entry).unwrap();
    let at = node.delivery.status().unwrap().me.addr();
    let of = |size: u32| format!("\"blake3\":\"{}\",\"size\":{size}", entry.root);
    let (one, first) = liar(of(299_999), manifest(), at).await;
    let (other, second) = liar(of(299_998), manifest(), at).await;
    let folder = tempfile::tempdir().unwrap();
    let error =
        node.get_from(entry.root.key(), &folder.path().join("x"), vec![one, other]).await.unwrap_err();
    assert!(matches!(error, GetError::NoSource { .. }), "{error}");
    assert!(error.to_string().contains("in different ways"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "something was left behind");
    first.abort();
    second.abort();
    network.stop().await;
}

#[tokio::test]
async fn a_fetch_that_looks_for_others_after_a_wrong_md5_can_be_stopped() {
    let network = Network::start().await;
    let (seed, liar, node) = (network.peer(1).await, network.peer(2).await, network.peer(3).await);
    let md5 = seed.add_file("x", &bytes(1_000_000)).await.md5.unwrap();
    // Hardly anything comes of it.
    seed.delivery.set_limits(Some(Some(1)), None);
    liar.add_as("y", &bytes(300_000), md5).await;
    let folder = tempfile::tempdir().unwrap();
    let from = vec![liar.delivery.status().unwrap().me.addr()];
    let request = GetRequest { key: md5.key(), to: folder.path().join("x"), from, in_place: false };
    let (events, mut told) = mpsc::channel(64);
    let stop = CancellationToken::new();
    let stopping = async {
        while let Some(event) = told.recv().await {
            if matches!(&event, GetEvent::Note { text } if text.contains("another md5")) {
                stop.cancel();
            }
        }
    };
    let (got, ()) = tokio::join!(node.delivery.get(request, events, stop.clone()), stopping);
    assert!(stop.is_cancelled() && matches!(got, Err(GetError::Stopped)), "{got:?}");
    network.stop().await;
}

/// One whose description does not even prove right must not be the last that was believed.
#[tokio::test]
async fn whoever_was_doubted_is_believed_again_when_nobody_else_is_left() {
    let network = Network::start().await;
    let (honest, node) = (network.peer(1).await, network.peer(2).await);
    let content = bytes(1_000_000);
    let entry = honest.add_file("x", &content).await;
    let other = honest.add_file("y", &bytes(1_000_001)).await;
    // Nothing comes, so that others are believed.
    honest.delivery.set_limits(Some(Some(1)), None);
    let described = format!("\"blake3\":\"{}\",\"size\":999999", entry.root);
    let wrong = honest.delivery.catalogue().manifest(&other).unwrap();
    let at = honest.delivery.status().unwrap().me.addr();
    let known = Arc::new(Notify::new());
    let (addr, task) = liar_when(Some(known.clone()), described, wrong, at).await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("x");
    let request = GetRequest { key: entry.root.key(), to: to.clone(), from: vec![addr], in_place: false };
    let (events, mut told) = mpsc::channel(1024);
    let listening = async {
        while let Some(event) = told.recv().await {
            match event {
                GetEvent::Found { .. } => known.notify_one(),
                GetEvent::Lost { addr: lost, .. } if lost == addr => {
                    honest.delivery.set_limits(Some(None), None);
                }
                _ => {}
            }
        }
    };
    let (got, ()) = tokio::join!(node.delivery.get(request, events, CancellationToken::new()), listening);
    assert_eq!(got.unwrap().blake3, entry.root.to_string());
    assert!(fs::read(&to).unwrap() == content);
    task.abort();
    network.stop().await;
}

/// One that fetches too, has nothing at first, tells of all pieces at once, and sends them when it may.
async fn late(
    entry: &Entry,
    content: Vec<u8>,
    manifest: Manifest,
    at: SocketAddr,
) -> (SocketAddr, Arc<Notify>) {
    let listener = TcpListener::bind((at.ip(), 0)).await.unwrap();
    let (addr, may) = (listener.local_addr().unwrap(), Arc::new(Notify::new()));
    let (key, size, sends) = (entry.root.key(), content.len(), may.clone());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (asks, mut answers) = stream.into_split();
        let mut lines = BufReader::new(asks).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let answer = match &line[..1] {
                "D" => format!("A {{\"content\":{{\"blake3\":\"{key}\",\"size\":{size}}}}}\n").into_bytes(),
                "I" => {
                    [b"A {\"bitmap\":1}\n\0N {\"key\":\"", key.as_str().as_bytes(), b"\",\"pieces\":[0,1]}\n"]
                        .concat()
                }
                "H" => [b"A {\"hashes\":2}\n", manifest.as_bytes()].concat(),
                "G" => {
                    sends.notified().await;
                    sends.notify_one();
                    let second = !line.contains("\"from\":0,");
                    let part = if second { &content[65_536..] } else { &content[..65_536] };
                    [line.replacen('G', "A", 1).as_bytes(), b"\n", part].concat()
                }
                _ => Vec::new(),
            };
            if answers.write_all(&answer).await.is_err() {
                break;
            }
        }
    });
    (addr, may)
}

#[tokio::test]
async fn what_a_source_told_of_is_known_when_it_is_believed_again() {
    let network = Network::start().await;
    let (elsewhere, node) = (Network::start().await, network.peer(2).await);
    let honest = elsewhere.peer(1).await;
    let content = bytes(100_000);
    let entry = honest.add_file("x", &content).await;
    let other = honest.add_file("y", &bytes(100_001)).await;
    let manifest = |entry| honest.delivery.catalogue().manifest(entry).unwrap();
    let at = node.delivery.status().unwrap().me.addr();
    let (source, may) = late(&entry, content.clone(), manifest(&entry), at).await;
    let known = Arc::new(Notify::new());
    let described = format!("\"blake3\":\"{}\",\"size\":99999", entry.root);
    let (liar, task) = liar_when(Some(known.clone()), described, manifest(&other), at).await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("x");
    let request =
        GetRequest { key: entry.root.key(), to: to.clone(), from: vec![source, liar], in_place: false };
    let (events, mut told) = mpsc::channel(1024);
    let listening = async {
        while let Some(event) = told.recv().await {
            match event {
                GetEvent::Found { .. } => known.notify_one(),
                GetEvent::Lost { addr, .. } if addr == liar => may.notify_one(),
                _ => {}
            }
        }
    };
    let (got, ()) = tokio::join!(node.delivery.get(request, events, CancellationToken::new()), listening);
    assert_eq!(got.unwrap().blake3, entry.root.to_string());
    assert!(fs::read(&to).unwrap() == content);
    task.abort();
    elsewhere.stop().await;
    network.stop().await;
}
