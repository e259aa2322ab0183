//! [`Unsent`]: how much the kernel may keep of what a connection has not sent yet.

use std::time::Duration;

use tokio::net::TcpStream;

/// The kernel keeps so much unsent data of a connection: what it can send in this time. A piece
/// then leaves before the next is begun, and who has the next slot is decided late.
const UNSENT: Duration = Duration::from_millis(20);
const LEAST_UNSENT: u32 = 16 << 10;
const MOST_UNSENT: u32 = 1 << 20;
/// Before anything is known of a link.
const FIRST_UNSENT: u32 = 32 << 10;

/// Keeps what the kernel holds of a connection's unsent data to what its link sends in a moment.
#[derive(Debug)]
pub(super) struct Unsent {
    /// What the kernel may hold.
    limit: u32,
    /// What the link sends in [`UNSENT`], as far as is known.
    moment: u32,
}

impl Unsent {
    pub(super) fn new(stream: &TcpStream) -> Self {
        set_unsent(stream, FIRST_UNSENT);
        Self { limit: FIRST_UNSENT, moment: FIRST_UNSENT }
    }

    /// What the link sends in a moment, as far as is known.
    pub(super) fn moment(&self) -> u64 {
        self.moment.into()
    }

    /// A run of so many bytes took so long. The kernel took the first of them at once, so only
    /// the others show what the link sends; without others it may be more than was thought. At
    /// least half of a run has to leave before it is over: otherwise everybody's turn would be
    /// over at once, and who is served would be decided by who asks for most.
    pub(super) fn sent(&mut self, stream: &TcpStream, bytes: u64, took: Duration) {
        let moment = match bytes.saturating_sub(self.limit.into()) {
            0 => u128::from(self.moment) * 2,
            waited => u128::from(waited) * UNSENT.as_nanos() / took.as_nanos().max(1),
        };
        self.moment = u32::try_from(moment).unwrap_or(u32::MAX).clamp(LEAST_UNSENT, MOST_UNSENT);
        let half = u32::try_from(bytes / 2).unwrap_or(u32::MAX).max(LEAST_UNSENT);
        let limit = self.moment.min(half);
        // Small changes are not worth a system call.
        if limit > self.limit * 2 || limit < self.limit / 2 {
            self.limit = limit;
            set_unsent(stream, limit);
        }
    }
}

fn set_unsent(stream: &TcpStream, limit: u32) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_notsent_lowat(limit) {
        tracing::debug!(%error, "the kernel's queue cannot be kept short");
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = (stream, limit);
}
