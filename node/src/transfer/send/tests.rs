//! Runs into a socket that is full, and from files that cannot be read, or not by every way.

use std::cell::Cell;
use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use askaround_core::Key;
use askaround_core::message::Description;
use askaround_core::pieces::{Manifest, Root};

use super::*;
use crate::content::{Stamp, hash_file};
use crate::transfer::shelf::Holding;

/// Nothing is asked of it: the files are open already.
#[derive(Debug)]
struct Nothing;

impl Shelf for Nothing {
    fn open(&self, _: &Key) -> io::Result<Option<Arc<ContentFile>>> {
        Ok(None)
    }

    fn describe(&self, _: &Key) -> io::Result<Option<Description>> {
        Ok(None)
    }

    fn interest(
        &self,
        _: std::net::IpAddr,
        _: &askaround_core::message::Interest,
    ) -> io::Result<Option<Holding>> {
        Ok(None)
    }

    fn changed(&self, _: Root) {}
}

/// The bytes of a file of zeros, as one answer.
fn zeros(length: u64) -> Outgoing {
    let file = tempfile::tempfile().unwrap();
    file.set_len(length).unwrap();
    let manifest = Arc::new(hash_file(&file, &|_| {}, &AtomicBool::new(false)).unwrap().manifest);
    let key = manifest.root().key();
    let stamp = Stamp::of(&file).unwrap();
    let file = Arc::new(ContentFile::whole(file, manifest, stamp));
    Outgoing::of(file, ByteRange { key, from: 0, length })
}

/// These bytes of a file.
fn of(bytes: &[u8], range: ByteRange) -> Outgoing {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let manifest = Arc::new(hash_file(&file, &|_| {}, &AtomicBool::new(false)).unwrap().manifest);
    let stamp = Stamp::of(&file).unwrap();
    Outgoing::of(Arc::new(ContentFile::whole(file, manifest, stamp)), range)
}

/// Else a few hundred who read slowly would hold all threads of the program.
#[tokio::test]
async fn without_a_turn_a_receiver_that_reads_slowly_holds_no_thread() {
    const LENGTH: u64 = 32 << 20;
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let stream = Arc::new(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
    let (mut receiver, _) = listener.accept().unwrap();
    while stream.try_write(&[0; 4096]).is_ok() {}
    let answers = [zeros(LENGTH)].into();
    let run = Run { stream, shelf: Arc::new(Nothing), answers, most: LENGTH, least_pace: None };
    let over = Arc::new(AtomicBool::new(false));
    let ends = over.clone();
    // A little at a time, for as long as the run lasts.
    let read_on = move || while !ends.load(Ordering::Relaxed) && receiver.read(&mut [0; 512]).unwrap() > 0 {};
    let reading = std::thread::spawn(read_on);
    let ran = tokio::task::spawn_blocking(move || run.run()).await.unwrap();
    over.store(true, Ordering::Relaxed);
    reading.join().unwrap();
    assert!(matches!(ran.ended, Ended::Full), "{:?}", ran.ended);
    assert!(ran.sent < LENGTH);
}

#[test]
fn whoever_takes_a_little_now_and_then_is_too_slow() {
    let begin = Instant::now();
    let after = |ms| begin + Duration::from_millis(ms);
    let mut taking = Taking { least: 100_000, since: None };
    // What the kernel has taken before it is waited for does not count.
    assert!(!taking.is_too_slow(1_000_000, begin));
    for ms in (10..250).step_by(10) {
        assert!(!taking.is_too_slow(1_000_000 + ms, after(ms)));
    }
    assert!(taking.is_too_slow(1_000_250, after(250)));
}

#[test]
fn whoever_takes_enough_is_not_too_slow_however_long_it_takes() {
    let begin = Instant::now();
    let mut taking = Taking { least: 100_000, since: None };
    for ms in (0..60_000).step_by(10) {
        assert!(!taking.is_too_slow(ms * 110, begin + Duration::from_millis(ms)), "after {ms} ms");
    }
}

thread_local! {
    /// Whether the file system cannot do it.
    pub(super) static NO_SENDFILE: Cell<bool> = const { Cell::new(false) };
}

/// What a receiver gets of these answers, and how their run ended.
async fn received(answers: impl IntoIterator<Item = Outgoing>, no_sendfile: bool) -> (Vec<u8>, Ran) {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let stream = Arc::new(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
    let (mut receiver, _) = listener.accept().unwrap();
    let reading = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        receiver.read_to_end(&mut bytes).map(|_| bytes).unwrap()
    });
    let answers = answers.into_iter().collect();
    let run = Run { stream, shelf: Arc::new(Nothing), answers, most: 1 << 30, least_pace: Some(0) };
    let ran = tokio::task::spawn_blocking(move || {
        NO_SENDFILE.set(no_sendfile);
        let ran = run.run();
        NO_SENDFILE.set(false);
        ran
    });
    let ran = ran.await.unwrap();
    (reading.join().unwrap(), ran)
}

#[tokio::test]
async fn a_file_that_sendfile_does_not_take_is_sent_all_the_same() {
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|at| (at * 31 % 251) as u8).collect();
    let part = ByteRange { key: Key::new("k").unwrap(), from: 7, length: 2_900_000 };
    for no_sendfile in [false, true] {
        let (got, ran) = received([of(&bytes, part.clone()), of(&bytes, part.clone())], no_sendfile).await;
        assert!(matches!(ran.ended, Ended::Done), "{:?}", ran.ended);
        assert_eq!(ran.sent, 2 * part.length);
        let head = of(&bytes, part.clone()).head;
        let answer = [head.as_slice(), &bytes[7..2_900_007]].concat();
        assert!(got == [answer.as_slice(), &answer].concat(), "{} bytes", got.len());
    }
}

/// A folder can be opened as a file can, and not be read.
fn unreadable_file(length: u64) -> Outgoing {
    let folder = std::fs::File::open("/").unwrap();
    let stamp = Stamp::of(&folder).unwrap();
    let manifest = Arc::new(Manifest::of(1, vec![[0; 32]]).unwrap());
    let range = ByteRange { key: Key::new("k").unwrap(), from: 0, length };
    Outgoing::of(Arc::new(ContentFile::whole(folder, manifest, stamp).at("/".into())), range)
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_not_here_and_the_next_is() {
    let range = ByteRange { key: Key::new("k").unwrap(), from: 0, length: 3 };
    let (got, ran) = received([unreadable_file(9), of(b"abc", range)], false).await;
    assert!(matches!(ran.ended, Ended::Done), "{:?}", ran.ended);
    let got = String::from_utf8(got).unwrap();
    assert!(got.contains("not-here") && got.ends_with("abc"), "{got}");
}

#[tokio::test]
async fn an_answer_whose_file_cannot_be_read_any_more_is_the_last() {
    let (_, ran) = received([unreadable_file(COPIED + 1)], false).await;
    let Ended::Failed(error) = ran.ended else { panic!("{:?}", ran.ended) };
    assert!(error.to_string().starts_with("/: "), "{error}");
}
