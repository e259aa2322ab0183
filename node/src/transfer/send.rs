//! [`Run`]: bytes of a file into a socket, on a thread that may block on the disk.

use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SendFlags, send};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::content::ContentFile;

/// How long a run waits for a receiver itself. A thread that waits here saves four changes of
/// thread each time the socket is full, which on a fast link is several thousand times a second.
pub(super) const PATIENCE: Duration = Duration::from_millis(50);

/// The kernel keeps so much unsent data of a connection: what it can send in this time. A piece
/// then leaves before the next is begun, and who has the next slot is decided late.
const UNSENT: Duration = Duration::from_millis(20);
const LEAST_UNSENT: u32 = 16 << 10;
const MOST_UNSENT: u32 = 1 << 20;
/// Before anything is known of a link.
pub(super) const FIRST_UNSENT: u32 = 64 << 10;

/// A run of bytes to send.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) stream: Arc<TcpStream>,
    pub(super) file: Arc<ContentFile>,
    /// Sent before the bytes of the file.
    pub(super) head: Vec<u8>,
    /// Whether the head has yet to be begun: the file must be what it was when it is.
    pub(super) first: bool,
    pub(super) from: u64,
    pub(super) length: u64,
}

/// What came of a run.
#[derive(Debug)]
pub(super) struct Ran {
    /// The rest of the head.
    pub(super) head: Vec<u8>,
    /// How many bytes of the file were sent.
    pub(super) sent: u64,
    pub(super) ended: Ended,
}

#[derive(Debug)]
pub(super) enum Ended {
    Done,
    /// The receiver has taken nothing for [`PATIENCE`].
    Stalled,
    /// The file is not what it was; nothing of it was sent.
    Changed,
    Failed(io::Error),
}

impl Run {
    /// Sends until all is sent or the receiver takes no more. Blocks.
    pub(super) fn run(mut self) -> Ran {
        let mut sent = 0;
        let ended = if self.first && !self.file.unchanged() {
            Ended::Changed
        } else {
            self.send_all(&mut sent).unwrap_or_else(Ended::Failed)
        };
        Ran { head: self.head, sent, ended }
    }

    fn send_all(&mut self, sent: &mut u64) -> io::Result<Ended> {
        while !self.head.is_empty() || *sent < self.length {
            match self.step(sent) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if wait_writable(&self.stream)? {
                        continue;
                    }
                    // Once more by way of the runtime, so that it knows that the socket is full
                    // and wakes us when it is not.
                    let stream = self.stream.clone();
                    match stream.try_io(Interest::WRITABLE, || self.step(sent)) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Ended::Stalled),
                        result => result?,
                    }
                }
                result => result?,
            }
        }
        Ok(Ended::Done)
    }

    fn step(&mut self, sent: &mut u64) -> io::Result<()> {
        if !self.head.is_empty() {
            let written = send(&*self.stream, &self.head, more())?;
            self.head.drain(..written);
            return Ok(());
        }
        let count = usize::try_from(self.length - *sent).unwrap_or(usize::MAX);
        let written = send_file(&self.stream, &self.file, self.from + *sent, count)?;
        if written == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file has become shorter"));
        }
        *sent += written as u64;
        Ok(())
    }
}

/// More follows at once: the head travels with the first bytes.
fn more() -> SendFlags {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return SendFlags::MORE | SendFlags::NOSIGNAL;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    return SendFlags::empty();
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn send_file(stream: &TcpStream, file: &ContentFile, from: u64, count: usize) -> io::Result<usize> {
    let mut from = from;
    Ok(rustix::fs::sendfile(stream.as_fd(), file.file(), Some(&mut from), count)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn send_file(stream: &TcpStream, file: &ContentFile, from: u64, count: usize) -> io::Result<usize> {
    use std::os::unix::fs::FileExt as _;

    let mut bytes = vec![0; count.min(LEAST_UNSENT as usize)];
    let read = file.file().read_at(&mut bytes, from)?;
    Ok(send(stream.as_fd(), &bytes[..read], SendFlags::empty())?)
}

/// False if the socket has taken nothing for [`PATIENCE`].
fn wait_writable(stream: &TcpStream) -> io::Result<bool> {
    let until = Instant::now() + PATIENCE;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(stream, PollFlags::OUT)], Some(&timeout)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Keeps what the kernel holds of a connection's unsent data to what its link sends in a moment.
#[derive(Debug)]
pub(super) struct Unsent {
    limit: u32,
}

impl Unsent {
    pub(super) fn new(stream: &TcpStream) -> Self {
        set_unsent(stream, FIRST_UNSENT);
        Self { limit: FIRST_UNSENT }
    }

    /// So many bytes took so long.
    pub(super) fn sent(&mut self, stream: &TcpStream, bytes: u64, took: Duration) {
        let limit = u128::from(bytes) * UNSENT.as_nanos() / took.as_nanos().max(1);
        let limit = u32::try_from(limit).unwrap_or(u32::MAX).clamp(LEAST_UNSENT, MOST_UNSENT);
        // Small changes are not worth a system call.
        if limit > self.limit * 2 || limit < self.limit / 2 {
            self.limit = limit;
            set_unsent(stream, limit);
        }
    }
}

fn set_unsent(stream: &TcpStream, limit: u32) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Err(error) = SockRef::from(stream).set_tcp_notsent_lowat(limit) {
        tracing::debug!(%error, "the kernel's queue cannot be kept short");
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = (stream, limit);
}
