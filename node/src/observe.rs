//! Watching a node: everything that goes into its machine and comes out of it, and which
//! connection belongs to whom. A lab run is traced so. Without an observer it costs one
//! comparison.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use askaround_core::peer::{PeerInput, PeerOutput};
use askaround_core::tracker::{ConnectionId, TrackerInput, TrackerOutput};
use tokio::net::TcpStream;

/// Something that an observer sees. What a machine sends is seen before it leaves the node.
#[derive(Debug, Clone, Copy)]
pub enum Seen<'a> {
    /// Handed to a peer's machine.
    PeerInput(&'a PeerInput),
    /// Taken from a peer's machine.
    PeerOutput(&'a PeerOutput),
    /// Handed to a tracker's machine.
    TrackerInput(&'a TrackerInput),
    /// Taken from a tracker's machine.
    TrackerOutput(&'a TrackerOutput),
    /// This node opened a connection; nothing has been sent on it yet.
    Opened {
        /// Its address at this end.
        local: SocketAddr,
        /// Whom it leads to, as this node calls it.
        to: SocketAddr,
    },
    /// This node accepted a connection.
    Accepted {
        /// Its number in the inputs and outputs.
        connection: ConnectionId,
        /// The address at its other end.
        from: SocketAddr,
    },
}

/// Calls a function with everything that happens in a node, or nothing at all.
///
/// The function is called by the tasks of the node, sometimes while the node's machine is
/// locked, so it must be quick and must not call the node.
#[derive(Clone, Default)]
pub struct Observer(Option<Arc<See>>);

type See = dyn Fn(Seen<'_>) + Send + Sync;

impl Observer {
    /// Calls `see`.
    pub fn new(see: impl Fn(Seen<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(see)))
    }

    pub(crate) fn saw(&self, seen: Seen<'_>) {
        if let Some(see) = &self.0 {
            see(seen);
        }
    }

    pub(crate) fn opened(&self, stream: &TcpStream, to: SocketAddr) {
        if self.0.is_some()
            && let Ok(local) = stream.local_addr()
        {
            self.saw(Seen::Opened { local, to });
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Observer" } else { "no observer" })
    }
}
