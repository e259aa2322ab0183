//! A run into a socket that is full.

use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};

use askaround_core::Key;
use askaround_core::message::Description;
use askaround_core::pieces::Root;

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
