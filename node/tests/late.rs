//! A piece of a folder's list that comes whole when the list is here from others, and the files are
//! fetched.

mod nodes;

use std::fs;
use std::net::SocketAddr;

use askaround_node::content::hash_file;
use nodes::source::Said;
use nodes::{Network, bytes};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// So many files that their list has several pieces.
const FILES: usize = 2500;

/// A holder that sends a piece of the list up to its last byte, and that one when it is told that it
/// is here from others.
async fn holds_a_byte_back(list: Said) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        stream.write_all(&list.first_as_list(b"A {\"pieces\":\"all\"}\n")).await.unwrap();
        let (mut line, mut held_back) = (String::new(), None);
        loop {
            line.clear();
            assert!(stream.read_line(&mut line).await.unwrap() > 0, "it is a source no longer");
            if line.starts_with("G ") && held_back.is_none() {
                let range = list.asked(&line);
                let mut answer = list.piece(range.clone());
                held_back = answer.pop().map(|byte| (range.start / 65_536, byte));
                stream.write_all(&answer).await.unwrap();
            } else if let (Some(news), Some((piece, byte))) = (line.strip_prefix("N "), held_back) {
                let news: serde_json::Value = serde_json::from_str(news).unwrap();
                if news["pieces"].as_array().unwrap().contains(&piece.into()) {
                    stream.write_all(&[byte]).await.unwrap();
                    break;
                }
            }
        }
        stream.shutdown().await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    (addr, task)
}

#[tokio::test]
async fn is_no_piece_of_the_files() {
    let network = Network::start().await;
    let (seed, node) = (network.peer(1).await, network.peer(2).await);
    let source = tempfile::tempdir().unwrap();
    for n in 0..FILES {
        fs::write(source.path().join(n.to_string()), bytes(1000 + n)).unwrap();
    }
    let root = seed.add_folder(source.path()).await;
    let collection = seed.delivery.catalogue().collection(&root).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), collection.to_bytes()).unwrap();
    let hashed = hash_file(file.as_file(), &|_| (), &Default::default()).unwrap();
    assert!(hashed.manifest.geometry().count() > 2);
    let list = Said { bytes: collection.to_bytes(), root, manifest: hashed.manifest };
    let (late, over) = holds_a_byte_back(list).await;
    let to = tempfile::tempdir().unwrap();
    let got = node.get_from(root.key(), &to.path().join("copy"), vec![late]).await.unwrap();
    assert_eq!(got.files, Some(FILES as u64));
    network.stop().await;
    over.await.unwrap();
}
