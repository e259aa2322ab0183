//! Folders from sources that keep something to themselves.

mod nodes;

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use askaround_core::key::Key;
use askaround_node::delivery::{DeliveryOptions, GetError, GetEvent, GetRequest, Got};
use askaround_node::transfer::source::SourceLimits;
use nodes::{Network, Node, bytes};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// One that passes everything on to a holder and back, but for requests for the piece hashes of
/// other content than `list`: those it answers with `instead`, each after a while. It says each time that
/// it is asked for them.
async fn between(
    holder: SocketAddr,
    list: String,
    instead: Vec<u8>,
    after: Duration,
    mut asked: impl FnMut() + Send + 'static,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind((holder.ip(), 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (fetcher, _) = listener.accept().await.unwrap();
        let (asks, mut answers) = fetcher.into_split();
        let (back, mut on) = TcpStream::connect(holder).await.unwrap().into_split();
        let (own, mut answers_of_its_own) = tokio::sync::mpsc::channel::<Vec<u8>>(64);
        let answering = async {
            loop {
                let mut buffer = [0; 4096];
                tokio::select! {
                    biased;
                    Some(own) = answers_of_its_own.recv() => answers.write_all(&own).await.unwrap(),
                    _ = back.readable() => match back.try_read(&mut buffer) {
                        Ok(0) => return,
                        Ok(count) => answers.write_all(&buffer[..count]).await.unwrap(),
                        Err(_) => {}
                    },
                }
            }
        };
        let asking = async {
            let mut asks = BufReader::new(asks);
            let mut line = String::new();
            while asks.read_line(&mut line).await.is_ok_and(|count| count > 0) {
                if line.starts_with("H ") && !line.contains(&list) {
                    asked();
                    tokio::time::sleep(after).await;
                    own.send(instead.clone()).await.unwrap();
                } else {
                    on.write_all(line.as_bytes()).await.unwrap();
                }
                line.clear();
            }
        };
        tokio::select! {
            () = answering => {}
            () = asking => {}
        }
    });
    (addr, task)
}

/// A folder comes although the first source is such a one. Why that one is a source no longer, if so.
async fn comes_although(instead: Vec<u8>, after: Duration, limits: SourceLimits) -> Option<String> {
    let (elsewhere, network) = (Network::start().await, Network::start().await);
    let (hidden, seed) = (elsewhere.peer(1).await, network.peer(2).await);
    let options = DeliveryOptions { source_limits: limits, ..DeliveryOptions::default() };
    let node = network.peer_with(3, options).await;
    let source = tempfile::tempdir().unwrap();
    for (name, size) in FILES {
        fs::write(source.path().join(name), bytes(size)).unwrap();
    }
    let key = hidden.add_folder(source.path()).await;
    let (asked, is_asked) = oneshot::channel();
    let mut asked = Some(asked);
    let asked = move || _ = asked.take().map(|asked| asked.send(()));
    let holder = hidden.delivery.status().unwrap().me.addr();
    let (addr, task) = between(holder, key.to_string(), instead, after, asked).await;
    let other = tempfile::tempdir().unwrap();
    let to = other.path().join("copy");
    let adding = async {
        is_asked.await.unwrap();
        seed.add_folder(source.path()).await;
    };
    let (got, ()) = tokio::join!(node.get_from(key.key(), &to, vec![addr]), adding);
    let got = got.unwrap();
    assert_eq!(got.files, Some(4));
    for (name, size) in FILES {
        assert_eq!(fs::read(to.join(name)).unwrap(), bytes(size));
    }
    task.abort();
    network.stop().await;
    elsewhere.stop().await;
    got.sources.iter().find(|source| source.addr == addr)?.lost.clone()
}

#[tokio::test]
async fn a_folder_comes_although_a_source_keeps_piece_hashes_to_itself() {
    // What it answers next is no answer to that.
    let lost = comes_although(Vec::new(), Duration::ZERO, SourceLimits::default()).await;
    assert!(lost.is_some_and(|why| why.contains("other than what was asked")));
}

#[tokio::test]
async fn a_folder_comes_although_a_source_sends_wrong_piece_hashes() {
    let mut wrong = b"A {\"hashes\":5}\n".to_vec();
    wrong.extend([7; 5 * 32]);
    let lost = comes_although(wrong, Duration::ZERO, SourceLimits::default()).await;
    assert!(lost.is_some_and(|why| why.contains("do not belong to their file")));
}

#[tokio::test]
async fn each_answer_of_a_source_has_its_own_time() {
    let denies = b"E {\"code\":\"unknown-key\",\"text\":\"\",\"definite\":true}\n".to_vec();
    // All of them together take longer than one may.
    let after = Duration::from_millis(1500);
    let limits = SourceLimits { answer_timeout: Duration::from_millis(2500), ..SourceLimits::default() };
    assert_eq!(comes_although(denies, after, limits).await, None);
}

#[tokio::test]
async fn a_fetch_whose_only_source_is_slow_to_say_that_it_has_no_piece_hashes_ends() {
    let (elsewhere, network) = (Network::start().await, Network::start().await);
    let (hidden, node) = (elsewhere.peer(1).await, network.peer(2).await);
    let source = tempfile::tempdir().unwrap();
    for (name, size) in [("large", 300_000), ("small", 10_000)] {
        fs::write(source.path().join(name), bytes(size)).unwrap();
    }
    let key = hidden.add_folder(source.path()).await.key();
    let denies = b"E {\"code\":\"unknown-key\",\"text\":\"\",\"definite\":true}\n".to_vec();
    // Longer than it takes until the fetch looks at how it stands.
    let after = Duration::from_millis(300);
    let stop = CancellationToken::new();
    let (mut left, too_often) = (12, stop.clone());
    let asked = move || {
        left -= 1;
        if left == 0 {
            too_often.cancel();
        }
    };
    let holder = hidden.delivery.status().unwrap().me.addr();
    let (addr, task) = between(holder, key.to_string(), denies, after, asked).await;
    let other = tempfile::tempdir().unwrap();
    let request = GetRequest { key, to: other.path().join("copy"), from: vec![addr], in_place: false };
    let error = node.delivery.get(request, mpsc::channel(1).0, stop).await.unwrap_err();
    assert!(matches!(&error, GetError::Starved { files: Some(files), .. } if files == "large"), "{error}");
    task.abort();
    network.stop().await;
    elsewhere.stop().await;
}

/// A holder of a folder that sends hardly anything, which the fetcher knows first, and a quick one.
#[tokio::test]
async fn a_slow_source_does_not_hold_up_piece_hashes() {
    let (elsewhere, network) = (Network::start().await, Network::start().await);
    let slow = elsewhere.peer_with(1, DeliveryOptions { up: Some(1), ..DeliveryOptions::default() }).await;
    let (quick, node) = (network.peer(2).await, network.peer(3).await);
    let source = tempfile::tempdir().unwrap();
    for number in 0..100 {
        fs::write(source.path().join(number.to_string()), bytes(70_000 + number)).unwrap();
    }
    let key = slow.add_folder(source.path()).await.key();
    quick.add_folder(source.path()).await;
    let from = vec![slow.delivery.status().unwrap().me.addr()];
    let to = tempfile::tempdir().unwrap();
    let got = node.get_from(key, &to.path().join("copy"), from).await.unwrap();
    assert_eq!(got.files, Some(100));
    network.stop().await;
    elsewhere.stop().await;
}

#[tokio::test]
async fn what_comes_slowly_comes_although_nobody_has_another_file() {
    let network = Network::start().await;
    let slow = DeliveryOptions { up: Some(500_000), ..DeliveryOptions::default() };
    let (seed, node) = (network.peer_with(1, slow).await, network.peer(2).await);
    let source = tempfile::tempdir().unwrap();
    // Longer than it is searched for somebody who has the other.
    for (name, size) in [("big", 3_500_000), ("gone", 10_000)] {
        fs::write(source.path().join(name), bytes(size)).unwrap();
    }
    let key = seed.add_folder(source.path()).await.to_string();
    fs::remove_file(source.path().join("gone")).unwrap();
    let to = tempfile::tempdir().unwrap();
    let error = node.get(&key, &to.path().join("copy")).await.unwrap_err();
    assert!(matches!(&error, GetError::Starved { files: Some(files), .. } if files == "gone"), "{error}");
    assert_eq!(fs::read(to.path().join("copy/big")).unwrap(), bytes(3_500_000));
    network.stop().await;
}

/// Adds a folder of [`FILES`].
async fn add_files(holder: &Node) -> (Key, tempfile::TempDir) {
    let source = tempfile::tempdir().unwrap();
    for (name, size) in FILES {
        fs::write(source.path().join(name), bytes(size)).unwrap();
    }
    (holder.add_folder(source.path()).await.key(), source)
}

#[tokio::test]
async fn a_fetch_waits_a_while_for_a_holder_of_what_nobody_has() {
    let network = Network::start().await;
    let waits = DeliveryOptions { holder_timeout: Duration::from_secs(3600), ..Default::default() };
    let (seed, node) = (network.peer(1).await, network.peer_with(2, waits).await);
    let (key, source) = add_files(&seed).await;
    fs::remove_file(source.path().join("b")).unwrap();
    let to = tempfile::tempdir().unwrap();
    let request = GetRequest { key, to: to.path().join("copy"), from: vec![], in_place: false };
    let (tell, mut told) = mpsc::channel(64);
    let (got, _late) = tokio::join!(node.delivery.get(request, tell, CancellationToken::new()), async {
        // By then more searches than end a fetch have found nobody.
        while !matches!(told.recv().await.unwrap(), GetEvent::Note { text } if text.contains("no source has b"))
        {
        }
        let late = network.peer(3).await;
        let (_, source) = add_files(&late).await;
        (late, source)
    });
    assert_eq!(got.unwrap().files, Some(4));
    assert_eq!(fs::read(to.path().join("copy/b")).unwrap(), bytes(300_002));
    network.stop().await;
}

/// Two holders of a folder; of some files their own copies are gone or changed.
async fn from_holders_without(gone: [&[&str]; 2]) -> (tempfile::TempDir, Result<Got, GetError>) {
    let network = Network::start().await;
    let mut holders = Vec::new();
    let mut key = None;
    for (id, gone) in (1..).zip(gone) {
        let holder = network.peer(id).await;
        let (added, source) = add_files(&holder).await;
        key = Some(added);
        for name in gone {
            fs::remove_file(source.path().join(name)).unwrap();
        }
        holders.push((holder, source));
    }
    let node = network.peer(3).await;
    let other = tempfile::tempdir().unwrap();
    let to = other.path().join("copy");
    let got = node.get(key.unwrap().as_str(), &to).await;
    network.stop().await;
    (other, got)
}

const FILES: [(&str, usize); 4] = [("a", 300_001), ("b", 300_002), ("c", 10_000), ("d", 10_001)];

#[tokio::test]
async fn a_folder_comes_from_holders_who_each_lack_a_file() {
    let (other, got) = from_holders_without([&["a", "c"], &["b", "d"]]).await;
    assert_eq!(got.unwrap().files, Some(4));
    for (name, size) in FILES {
        assert_eq!(fs::read(other.path().join("copy").join(name)).unwrap(), bytes(size), "{name}");
    }
}

#[tokio::test]
async fn of_a_folder_comes_what_anybody_has_and_the_rest_is_named() {
    let (other, got) = from_holders_without([&["b", "d"], &["b", "c", "d"]]).await;
    let error = got.unwrap_err();
    let GetError::Starved { files: Some(files), .. } = &error else { panic!("{error}") };
    assert_eq!(files, "b, d");
    for (name, size) in FILES {
        let here = fs::read(other.path().join("copy").join(name)).ok();
        assert_eq!(here, (!files.contains(name)).then(|| bytes(size)), "{name}");
    }
}
