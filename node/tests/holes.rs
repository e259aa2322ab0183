//! Files of which much is zeros that take no room: neither do they where they are fetched to.

mod nodes;

use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use askaround_node::delivery::keep::AddRequest;
use nodes::Network;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Of so many bytes some few are written.
const SIZE: u64 = 8 << 20;
const WRITTEN: &[(u64, &[u8])] = &[(0, b"first"), (5 << 20, b"in the middle")];

fn write_sparse(path: &Path) {
    let file = fs::File::create(path).unwrap();
    file.set_len(SIZE).unwrap();
    WRITTEN.iter().for_each(|(at, bytes)| file.write_all_at(bytes, *at).unwrap());
}

fn assert_is_sparse(path: &Path) {
    let mut expected = vec![0; SIZE as usize];
    for (at, bytes) in WRITTEN {
        expected[*at as usize..][..bytes.len()].copy_from_slice(bytes);
    }
    assert!(fs::read(path).unwrap() == expected);
    let room = fs::metadata(path).unwrap().blocks() * 512;
    assert!(room < SIZE / 4, "{room} bytes on the disk");
}

#[tokio::test]
async fn zeros_of_a_file_are_not_sent() {
    let network = Network::start().await;
    let (seed, node) = (network.peer(1).await, network.peer(2).await);
    let (theirs, mine) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (source, to) = (theirs.path().join("image"), mine.path().join("image"));
    write_sparse(&source);
    let request = AddRequest { paths: vec![source], copy: false };
    let added = seed.delivery.add(request, mpsc::channel(64).0, CancellationToken::new()).await.unwrap();
    let got = node.get(added[0].blake3.as_str(), &to).await.unwrap();
    assert_is_sparse(&to);
    let came: u64 = got.sources.iter().map(|source| source.bytes).sum();
    assert_eq!(came, WRITTEN.len() as u64 * 65_536, "a piece each");
    assert_eq!(got.here_before, SIZE - came);
    network.stop().await;
}

#[tokio::test]
async fn zeros_of_a_file_in_a_folder_take_no_room() {
    let network = Network::start().await;
    let (seed, node) = (network.peer(1).await, network.peer(2).await);
    let (theirs, mine) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_sparse(&theirs.path().join("image"));
    let folder = seed.add_folder(theirs.path()).await.to_string();
    let to = mine.path().join("folder");
    node.get(&folder, &to).await.unwrap();
    assert_is_sparse(&to.join("image"));
    network.stop().await;
}
