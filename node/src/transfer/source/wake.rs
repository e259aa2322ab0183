//! [`WakeAt`]: how much of a piece has to have come before the system wakes whoever reads it.
//!
//! Over a slow link a piece comes packet by packet, and a wake-up for each of them costs more than
//! everything else about it. `SO_RCVLOWAT` has the system wait for more (socket(7)). None of the
//! libraries that are used here for sockets can set it, so this is done through `libc`: the one
//! place of the project that needs `unsafe`.

use tokio::net::TcpStream;

/// What a connection waits for.
#[derive(Debug)]
pub(super) struct WakeAt {
    most: usize,
    now: usize,
}

impl WakeAt {
    /// Waits for at most so many bytes.
    pub(super) fn new(most: usize) -> Self {
        Self { most: most.max(1), now: 1 }
    }

    /// From now on waits for that many bytes, or for the rest of the piece; for any byte where no
    /// piece is due. The end of a connection is noticed at once all the same.
    pub(super) fn set(&mut self, stream: &TcpStream, piece_left: Option<usize>) {
        let wanted = piece_left.unwrap_or(1).clamp(1, self.most);
        if wanted != self.now {
            // Where it cannot be set, every packet wakes, as ever.
            if let Err(error) = set_receive_low(stream, wanted) {
                tracing::debug!(%error, "each packet of a piece wakes its reader");
            }
            self.now = wanted;
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn set_receive_low(stream: &TcpStream, bytes: usize) -> std::io::Result<()> {
    use std::os::fd::AsRawFd as _;

    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    let length = libc::socklen_t::try_from(size_of_val(&bytes)).map_err(std::io::Error::other)?;
    let value = std::ptr::from_ref(&bytes).cast();
    #[expect(unsafe_code, reason = "no library offers this option")]
    // SAFETY: the descriptor is open for as long as `stream` is borrowed, and `value` points to
    // `length` bytes that live until the call returns; the kernel only reads them.
    let result =
        unsafe { libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVLOWAT, value, length) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Elsewhere the option exists, but not everywhere does it hold back a wake-up.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn set_receive_low(_: &TcpStream, _: usize) -> std::io::Result<()> {
    Ok(())
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// Whether the system says that there is something to read.
    fn is_readable(stream: &TcpStream, wait: Duration) -> bool {
        let timeout = Timespec { tv_sec: wait.as_secs().cast_signed(), tv_nsec: 0 };
        poll(&mut [PollFd::new(stream, PollFlags::IN)], Some(&timeout)).unwrap() > 0
    }

    #[tokio::test]
    async fn a_reader_is_woken_for_enough_bytes_or_at_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut other, _) = listener.accept().await.unwrap();
        let mut wake_at = WakeAt::new(1000);

        wake_at.set(&stream, Some(5000));
        other.write_all(&[0; 999]).await.unwrap();
        assert!(!is_readable(&stream, Duration::ZERO));
        other.write_all(&[0; 1]).await.unwrap();
        assert!(is_readable(&stream, Duration::from_secs(10)));

        // Less than that is left of the piece.
        wake_at.set(&stream, Some(1001));
        wake_at.set(&stream, Some(7));
        let mut bytes = [0; 993];
        assert_eq!(stream.try_read(&mut bytes).unwrap_or(0), 0, "the runtime has not seen it yet");
        stream.readable().await.unwrap();
        assert_eq!(stream.try_read(&mut bytes).unwrap(), 993);
        assert!(is_readable(&stream, Duration::from_secs(10)));

        // The end, although less than enough is there.
        wake_at.set(&stream, Some(500));
        assert!(!is_readable(&stream, Duration::ZERO));
        drop(other);
        assert!(is_readable(&stream, Duration::from_secs(10)));
    }
}
