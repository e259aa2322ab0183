//! A source that disconnects after every possible byte of what it says: the fetch ends complete
//! with what others have, or says that there is nobody else, and never passes off the rest.

mod nodes;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use askaround_core::id::{Contact, PeerId};
use askaround_node::delivery::GetError;
use nodes::source::Said;
use nodes::{Network, Node};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const PIECE: usize = 65_536;
/// Three pieces, the last one shorter.
const SIZE: usize = 2 * PIECE + 10_000;

/// Which of its answers a source does not finish, and where in it it stops.
#[derive(Debug, Clone, Copy)]
struct Cut {
    /// 0 is what it says first; then come the pieces, in the order in which they are asked for.
    answer: usize,
    at: At,
}

#[derive(Debug, Clone, Copy)]
enum At {
    /// After so many bytes.
    Sent(usize),
    /// So many bytes before the end.
    Left(usize),
}

/// Every byte of what is said, and some of the pieces' own.
fn cuts(content: &Content) -> Vec<Cut> {
    /// The longest words before the bytes of a piece.
    const WORDS: usize = 220;
    let first = (0..=content.first().len()).map(|n| (0, At::Sent(n)));
    let pieces = (1..=3).flat_map(|answer| {
        let at = (0..WORDS).map(At::Sent).chain([5000, 1, 0].map(At::Left));
        at.map(move |at| (answer, at))
    });
    first.chain(pieces).map(|(answer, at)| Cut { answer, at }).collect()
}

impl Cut {
    /// How much of an answer of this length is sent: all of it, if the cut is in a later one.
    fn of(self, answer: usize, length: usize) -> usize {
        match self.at {
            _ if answer < self.answer => length,
            At::Sent(sent) => sent.min(length),
            At::Left(left) => length.saturating_sub(left),
        }
    }
}

/// What a source of three pieces says.
struct Content(Said);

impl std::ops::Deref for Content {
    type Target = Said;

    fn deref(&self) -> &Said {
        &self.0
    }
}

impl Content {
    async fn of(node: &Node) -> Self {
        Self(Said::of(node, SIZE).await)
    }

    /// The description, two of three pieces, all hashes.
    fn first(&self) -> Vec<u8> {
        self.0.first(b"A {\"bitmap\":1}\n\x03")
    }

    fn news(&self) -> Vec<u8> {
        format!("N {{\"key\":\"{}\",\"pieces\":[2]}}\n", self.root).into_bytes()
    }

    /// Says what a good source says, up to the cut. Returns when the other end has noticed.
    async fn say_until(&self, cut: Cut, stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        let mut stream = BufReader::new(stream);
        let mut next = self.first();
        for answer in 0..=cut.answer {
            if answer > 0 {
                let mut line = String::new();
                while !line.starts_with("G ") {
                    line.clear();
                    assert_ne!(stream.read_line(&mut line).await.unwrap(), 0, "{cut:?}: it asks for no more");
                }
                let news = if answer == 1 { self.news() } else { Vec::new() };
                next = [news, self.piece(self.asked(&line))].concat();
            }
            let now = cut.of(answer, next.len());
            stream.get_mut().write_all(&next[..now]).await.unwrap();
        }
        stream.get_mut().shutdown().await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
}

/// A source for one connection that says so much. It is over once the other end has noticed.
async fn cut_off(content: &Arc<Content>, cut: Cut) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (addr, content) = (listener.local_addr().unwrap(), content.clone());
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        content.say_until(cut, stream).await;
    });
    (addr, task)
}

/// A way to `good` for one connection, which opens once the first source is over.
async fn then(first: JoinHandle<()>, good: SocketAddr) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        first.await.unwrap();
        let mut good = TcpStream::connect(good).await.unwrap();
        stream.set_nodelay(true).unwrap();
        good.set_nodelay(true).unwrap();
        // Either end may close at any time.
        let _ = copy_bidirectional(&mut stream, &mut good).await;
    });
    (addr, task)
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn others_give_what_a_source_did_not_say() {
    let (far, near) = (Network::start().await, Network::start().await);
    // Of another network, so that no search finds it.
    let (good, fetcher) = (far.peer(1).await, near.peer(2).await);
    let content = Arc::new(Content::of(&good).await);
    let key = content.root.key();
    let good = good.delivery.status().unwrap().me.addr();
    for cut in cuts(&content) {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("x");
        let (first, over) = cut_off(&content, cut).await;
        let (second, over) = then(over, good).await;
        let got = fetcher.get_from(key.clone(), &to, vec![first, second]).await;
        let got = got.unwrap_or_else(|error| panic!("{cut:?}: {error}"));
        over.await.unwrap();
        assert_eq!((got.size, got.here_before), (SIZE as u64, 0), "{cut:?}");
        assert!(fs::read(&to).unwrap() == content.bytes, "{cut:?}: it is another content");
        assert_eq!(names(folder.path()), ["x"], "{cut:?}: something is left beside it");
        assert!(fetcher.delivery.purge(&key).await.unwrap().held, "{cut:?}: it is not held");
    }
    far.stop().await;
    near.stop().await;
}

#[tokio::test]
async fn without_others_what_a_source_did_not_say_is_missing() {
    let (far, near) = (Network::start().await, Network::start().await);
    let (good, fetcher) = (far.peer(1).await, near.peer(2).await);
    let content = Arc::new(Content::of(&good).await);
    let key = content.root.key();
    for cut in cuts(&content) {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("x");
        let (addr, over) = cut_off(&content, cut).await;
        let from = Contact::new(PeerId::new(3).unwrap(), addr);
        let got = fetcher.delivery.get_from(key.clone(), to.clone(), from, CancellationToken::new()).await;
        over.await.unwrap();
        if let Cut { answer: 3, at: At::Left(0) } = cut {
            assert!(got.is_ok(), "everything was said: {got:?}");
            assert!(fs::read(&to).unwrap() == content.bytes);
            continue;
        }
        let error = got.expect_err("not everything was said");
        let GetError::NoSource { why, .. } = &error else { panic!("{cut:?}: {error}") };
        assert!(why.len() == 1 && why[0].contains("closed"), "{cut:?}: {error}");
        assert!(!to.exists(), "{cut:?}: it has its name before it is whole");
        assert!(fetcher.delivery.catalogue().get(&key).unwrap().is_none(), "{cut:?}: it is listed");
        assert!(!fetcher.holds(key.as_str()).await, "{cut:?}: it is held");
    }
    far.stop().await;
    near.stop().await;
}

#[tokio::test]
async fn a_search_that_finds_nobody_else_ends_the_fetch() {
    let (far, near) = (Network::start().await, Network::start().await);
    let (good, fetcher) = (far.peer(1).await, near.peer(2).await);
    let content = Arc::new(Content::of(&good).await);
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("x");
    let (addr, over) = cut_off(&content, Cut { answer: 2, at: At::Left(1) }).await;
    let error = fetcher.get_from(content.root.key(), &to, vec![addr]).await.unwrap_err();
    over.await.unwrap();
    assert!(matches!(error, GetError::Starved { missing: 2, .. }), "{error}");
    assert!(!to.exists());
    // The piece that came whole is not fetched again.
    let good = good.delivery.status().unwrap().me.addr();
    let got = fetcher.get_from(content.root.key(), &to, vec![good]).await.unwrap();
    assert!(got.here_before > 0);
    assert!(fs::read(&to).unwrap() == content.bytes);
    far.stop().await;
    near.stop().await;
}
