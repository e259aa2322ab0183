//! Sources that stop, lie and flood: each ends with an error that says what it did, and
//! nothing that is not verified is ever taken.

mod content;

use std::net::SocketAddr;

use askaround_core::peer::AskError;
use askaround_core::pieces::Manifest;
use askaround_node::transfer::source::{Rejected, SourceCommand, SourceEvent};
use content::scripted::{good, hasty};
use content::{Client, content};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A server of one connection that says this: first, then once it is asked for a piece or for more
/// hashes. It stops sending after so many bytes.
async fn script(first: Vec<u8>, then: Vec<u8>, most: usize) -> (SocketAddr, JoinHandle<()>) {
    script_until(|line| line.starts_with('G') || line.contains("\"first\":"), first, then, most).await
}

/// The same, which waits for such a line.
async fn script_until(
    is_it: impl Fn(&str) -> bool + Send + 'static,
    first: Vec<u8>,
    then: Vec<u8>,
    most: usize,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        let now = most.min(first.len());
        // The client may close at any time.
        let _ = stream.get_mut().write_all(&first[..now]).await;
        if most <= first.len() {
            return;
        }
        let mut line = String::new();
        while !is_it(&line) {
            line.clear();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let _ = stream.get_mut().write_all(&then[..then.len().min(most - now)]).await;
        let _ = stream.get_mut().shutdown().await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    (addr, task)
}

/// Runs a client against such a server, which is asked for piece 0. What came, and how it ended.
async fn fetch(
    manifest: &Manifest,
    first: Vec<u8>,
    then: Vec<u8>,
    most: usize,
) -> (Client, Vec<SourceEvent>, AskError) {
    let (addr, server) = script(first, then, most).await;
    let mut client = Client::with_limits(addr, manifest.root().key(), hasty());
    let ended = match client.opened().await {
        Ok(_) => {
            client.get(0, false).await;
            client.gone().await
        }
        Err(error) => (Vec::new(), error),
    };
    server.await.unwrap();
    (client, ended.0, ended.1)
}

fn took_piece(events: &[SourceEvent]) -> bool {
    events.iter().any(|event| matches!(event, SourceEvent::Piece { result: Ok(()), .. }))
}

#[tokio::test]
async fn a_source_may_disconnect_at_every_byte() {
    let (bytes, manifest) = content(300);
    let (first, then) = good(&bytes, &manifest);
    let whole = first.len() + then.len();
    for most in 0..=whole {
        let (client, events, error) = fetch(&manifest, first.clone(), then.clone(), most).await;
        assert!(matches!(&error, AskError::Unreachable(why) if why.contains("closed")), "{most}: {error}");
        assert_eq!(took_piece(&events), most == whole, "{most} of {whole} bytes: {events:?}");
        assert_eq!(client.sink.bytes().len(), if most == whole { 300 } else { 0 });
        client.end().await;
    }
}

#[tokio::test]
async fn pieces_that_came_together_are_all_checked_and_the_bad_one_is_named() {
    const COUNT: u32 = 32;
    let (bytes, manifest) = content(COUNT as usize * 65_536);
    let (first, _) = good(&bytes, &manifest);
    for bad in [None, Some(23)] {
        let mut then = Vec::new();
        for piece in 0..COUNT {
            let from = piece as usize * 65_536;
            let answer = format!("A {{\"key\":\"{}\",\"from\":{from},\"length\":65536}}\n", manifest.root());
            then.extend(answer.bytes());
            then.extend(&bytes[from..from + 65_536]);
            if Some(piece) == bad {
                *then.last_mut().unwrap() ^= 1;
            }
        }
        let last = format!("\"from\":{}", (COUNT - 1) * 65_536);
        let asked_all = move |line: &str| line.contains(&last);
        let (addr, server) = script_until(asked_all, first.clone(), then, usize::MAX).await;
        let mut client = Client::with_limits(addr, manifest.root().key(), hasty());
        client.opened().await.unwrap();
        for piece in 0..COUNT {
            client.get(piece, false).await;
        }
        let (events, error) = client.gone().await;
        let came = |wanted: u32, right: bool| {
            let same = |event: &&SourceEvent| match event {
                SourceEvent::Piece { piece, result, .. } => *piece == wanted && result.is_ok() == right,
                _ => false,
            };
            events.iter().filter(same).count() == 1
        };
        let last = bad.unwrap_or(COUNT);
        assert!((0..last).all(|piece| came(piece, true)), "all that came before: {events:?}");
        match bad {
            Some(bad) => {
                assert!(came(bad, false), "{events:?}");
                assert!(matches!(&error, AskError::Misbehaved(why) if why.contains("piece 23")), "{error}");
            }
            None => {
                assert!(matches!(&error, AskError::Unreachable(why) if why.contains("closed")), "{error}");
            }
        }
        server.await.unwrap();
        client.end().await;
    }
}

#[tokio::test]
async fn a_source_that_lies_is_told_so() {
    let (bytes, manifest) = content(200_000);
    let (first, then) = good(&bytes, &manifest);
    let key = manifest.root();
    let lines = |text: &str| text.as_bytes().to_vec();
    let other = "0".repeat(64);
    let described = |root: &str, size: u64| {
        lines(&format!("A {{\"content\":{{\"blake3\":\"{root}\",\"size\":{size}}}}}\n"))
    };
    let with = |description: Vec<u8>, rest: &[u8]| [description, rest.to_vec()].concat();
    let right = described(&key.to_string(), 200_000);
    let piece = |from: u64, length: u64| {
        lines(&format!("A {{\"key\":\"{key}\",\"from\":{from},\"length\":{length}}}\n"))
    };
    for (first, then, expected) in [
        (described(&other, 200_000), vec![], "another content"),
        (described(&key.to_string(), u64::MAX), vec![], "at most"),
        (with(right.clone(), b"A {\"bitmap\":2}\nxx"), vec![], "bitmap of another length"),
        (with(right.clone(), b"A {\"bitmap\":1}\n\xff"), vec![], "not a bitmap"),
        (with(right.clone(), b"A {\"pieces\":\"all\"}\nA {\"hashes\":3}\n"), vec![], "number of hashes"),
        (with(right.clone(), b"A {\"pieces\":\"all\"}\nA {\"hashes\":5}\n"), vec![], "hashes"),
        (
            with(right.clone(), b"A {\"pieces\":\"all\"}\nA {\"pieces\":\"all\"}\n"),
            vec![],
            "other than what was asked",
        ),
        (with(right.clone(), b"A {\"peers\":[]}\n"), vec![], "other than what was asked"),
        (lines("GET / HTTP/1.1\r\n\r\n"), vec![], "JSON"),
        (vec![b'A'; 100_000], vec![], "a line has at most"),
        (first.clone(), piece(65_536, 65_536), "other bytes than were asked for"),
        (first.clone(), piece(0, 65_535), "other bytes than were asked for"),
        (first.clone(), piece(0, 1 << 40), "a length is"),
        (first.clone(), [&then[..], b"A {\"have\":true}\n"].concat(), "what was not asked"),
        (first.clone(), [&then[..], &[7; 70_000]].concat(), "a line has at most"),
        (first.clone(), lines("T {\"time\":1}\n"), "other than an answer"),
        (first.clone(), lines("N {\"key\":\"a\",\"pieces\":[1]}\n"), "was not asked about"),
        (
            first.clone(),
            lines(&format!("N {{\"key\":\"{key}\",\"pieces\":[]}}\n")).repeat(1100),
            "news without end",
        ),
    ] {
        let shown =
            String::from_utf8_lossy(&[&first[..], &then[..]].concat()).chars().take(300).collect::<String>();
        let (client, _, error) = fetch(&manifest, first, then, usize::MAX).await;
        let AskError::Misbehaved(why) = &error else { panic!("{error}: {shown}") };
        assert!(why.contains(expected), "{why} is not {expected}: {shown}");
        client.end().await;
    }
}

#[tokio::test]
async fn a_wrong_piece_is_not_taken_and_its_sender_is_dropped_by_name() {
    let (bytes, manifest) = content(200_000);
    let (first, mut then) = good(&bytes, &manifest);
    *then.last_mut().unwrap() ^= 1;
    let (client, events, error) = fetch(&manifest, first, then, usize::MAX).await;
    let bad = |event: &SourceEvent| {
        matches!(event, SourceEvent::Piece { piece: 0, result: Err(Rejected::Bad), .. })
    };
    assert!(events.iter().any(bad), "{events:?}");
    assert_eq!(error, AskError::Misbehaved("piece 0 is not what the key says".into()));
    assert!(client.sink.bytes().is_empty());
    client.end().await;
}

#[tokio::test]
async fn what_a_source_refuses_is_an_event_and_what_ends_it_is_an_error() {
    let (bytes, manifest) = content(200_000);
    let (first, _) = good(&bytes, &manifest);
    let then = b"E {\"code\":\"not-here\",\"text\":\"gone\"}\nE {\"code\":\"busy\"}\n".to_vec();
    let (client, events, error) = fetch(&manifest, first, then, usize::MAX).await;
    assert!(
        matches!(&events[..], [SourceEvent::Refused { piece: 0, error }] if error.text == "gone"),
        "{events:?}"
    );
    assert!(matches!(&error, AskError::Refused(error) if error.code.as_str() == "busy"), "{error}");
    client.end().await;
    let (client, _, error) =
        fetch(&manifest, b"E {\"code\":\"unknown-key\"}\n".to_vec(), vec![], usize::MAX).await;
    assert!(matches!(&error, AskError::Refused(error) if error.code.as_str() == "unknown-key"), "{error}");
    client.end().await;
}

#[tokio::test]
async fn the_hashes_of_a_large_content_come_in_several_answers() {
    let (_, manifest) = content(1);
    let key = manifest.root();
    let size = 40_000_u64 << 22;
    let mut first =
        format!("A {{\"content\":{{\"blake3\":\"{key}\",\"size\":{size}}}}}\nA {{\"pieces\":\"all\"}}\n")
            .into_bytes();
    first.extend(b"A {\"hashes\":32768}\n");
    first.extend(vec![1; 32_768 * 32]);
    let then = [&b"A {\"hashes\":7232}\n"[..], &[2; 7232 * 32]].concat();
    let (addr, server) = script(first, then, usize::MAX).await;
    let mut client = Client::connect(addr, key.key());
    let hashes = SourceCommand::Hashes { key: key.key(), first: 32_768 };
    client.commands.send(hashes).await.unwrap();
    let SourceEvent::Opened(opened) = client.event().await else { panic!() };
    assert_eq!(opened.hashes, vec![1; 32_768 * 32]);
    let SourceEvent::Hashes { first: 32_768, hashes, .. } = client.event().await else { panic!() };
    assert_eq!(hashes, vec![2; 7232 * 32]);
    client.end().await;
    server.await.unwrap();
}

#[tokio::test]
async fn hashes_that_are_known_are_not_asked_for() {
    let (bytes, manifest) = content(200_000);
    let (first, then) = good(&bytes, &manifest);
    // All but the hashes and their line: were they asked for, the answer would be another.
    let first = first[..first.len() - manifest.as_bytes().len() - b"A {\"hashes\":4}\n".len()].to_vec();
    let (addr, server) = script(first, then, usize::MAX).await;
    let mut client = Client::knowing(addr, manifest);
    let SourceEvent::Opened(opened) = client.event().await else { panic!() };
    assert!(opened.hashes.is_empty());
    client.get(0, false).await;
    assert!(matches!(client.event().await, SourceEvent::News { .. }));
    assert!(matches!(client.event().await, SourceEvent::Piece { piece: 0, result: Ok(()), .. }));
    client.end().await;
    server.await.unwrap();
}

#[tokio::test]
async fn nobody_there_is_an_error_at_once() {
    let addr = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (_, manifest) = content(1);
    let mut client = Client::connect(addr, manifest.root().key());
    assert!(matches!(client.gone().await.1, AskError::Unreachable(_)));
    client.end().await;
}
