//! Whether content is the list of a folder is seen when it has come, and not by what its sources say.

mod nodes;

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use askaround_node::delivery::GetError;
use nodes::source::Said;
use nodes::{Network, bytes};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A fetch that does not end by itself is given up after so long.
const HANGS: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_list_of_a_folder_held_as_a_file_ends_a_fetch_of_the_folder() {
    let network = Network::start().await;
    let (holder, node) = (network.peer(1).await, network.peer(2).await);
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("a"), bytes(300_000)).unwrap();
    // Somebody who is not there made it.
    let maker = network.peer(3).await;
    let key = maker.add_folder(source.path()).await;
    let list = maker.delivery.catalogue().collection(&key).unwrap().to_bytes();
    maker.stop().await;
    assert_eq!(holder.add_file("list", &list).await.root, key);
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("copy");
    let get = tokio::time::timeout(HANGS, node.get_from(key.key(), &to, vec![]));
    let got = get.await.expect("it has no end");
    assert!(matches!(&got, Err(GetError::Starved { files: Some(files), .. }) if files == "a"), "{got:?}");
    network.stop().await;
}

/// Holds it, and says that it is the list of a folder.
async fn says_that_it_is_a_list(file: Said) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        stream.write_all(&file.first_as_list(b"A {\"pieces\":\"all\"}\n")).await.unwrap();
        let mut line = String::new();
        while stream.read_line(&mut line).await.is_ok_and(|count| count > 0) {
            if line.starts_with("G ") {
                stream.write_all(&file.piece(file.asked(&line))).await.unwrap();
            }
            line.clear();
        }
    });
    (addr, task)
}

#[tokio::test]
async fn a_file_comes_although_all_say_that_it_is_the_list_of_a_folder() {
    let network = Network::start().await;
    let (maker, node) = (network.peer(1).await, network.peer(2).await);
    let file = Said::of(&maker, 300_000).await;
    let key = file.root.key();
    maker.stop().await;
    let (addr, task) = says_that_it_is_a_list(file).await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("x");
    let get = tokio::time::timeout(HANGS, node.get_from(key, &to, vec![addr]));
    get.await.expect("it has no end").unwrap();
    assert!(fs::read(&to).unwrap() == bytes(300_000));
    task.abort();
    network.stop().await;
}
