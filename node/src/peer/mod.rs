//! The peer node: the [`Peer`] machine behind a server.
//!
//! | module | what lives there |
//! | --- | --- |
//! | this one | [`PeerNode`], what it is made of, and what it answers from memory |
//! | `orders` | what the rest of the program has a running peer do: commands, news of fetches |
//! | `driver` | the loop that owns the rest: questions to others, timers, log, store |

mod driver;
mod orders;
mod saver;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use askaround_core::id::Contact;
use askaround_core::log::LogEntry;
use askaround_core::message::Message;
use askaround_core::peer::{FailReason, Outcome, Peer, PeerConfig, PeerInput, PeerOutput};
use askaround_core::script::Script;
use askaround_core::tracker::ConnectionId;
use askaround_core::wire::encode;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::delivery::stock::{Stock, StockError};
use crate::network::Network;
use crate::observe::{Observer, Seen};
use crate::server::{Flow, ServerConfig, Service, serve};
use crate::store::Store;
use crate::transfer::serve::{ContentServer, is_about_content};
use crate::{Epoch, lock};
use driver::Driver;
pub use orders::{CommandError, Order, Orders, PeerHandle};

/// A peer that listens.
#[derive(Debug)]
pub struct PeerNode {
    listener: TcpListener,
    shared: Arc<Shared>,
    options: PeerOptions,
}

/// What a peer node needs besides its machine.
#[derive(Debug, Default)]
pub struct PeerOptions {
    /// How addresses become sockets.
    pub network: Network,
    /// Where the tracker is.
    pub tracker: Option<SocketAddr>,
    /// Limits of the server.
    pub server: ServerConfig,
    /// How many idle connections to keep.
    pub keep_connections: usize,
    /// Where a scripted peer writes its log.
    pub log: Option<PathBuf>,
    /// How long a scripted peer tries to reach its tracker.
    pub patience: Duration,
    /// Where a live peer keeps its state.
    pub store: Option<Store>,
    /// Who watches.
    pub observer: Observer,
    /// The content that it serves, if it serves any.
    pub content: Option<Arc<ContentServer>>,
    /// Where a scripted peer keeps the content of its keys, if what it obtains is to be delivered
    /// (`PeerConfig::delivery_timeout`).
    pub stock: Option<Arc<Stock>>,
}

/// What happens in a peer that its user may want to hear of.
#[derive(Debug, Clone, PartialEq)]
pub enum PeerNews {
    /// A line of the log.
    Log(LogEntry),
    /// The registration was renewed, or could not be.
    Membership(Outcome),
    /// The disk does not take what has changed, and why; it is tried again.
    NotStored(String),
    /// Now it has.
    Stored,
}

/// How a peer ended.
#[derive(Debug)]
pub enum PeerEnd {
    /// The run is over.
    Finished,
    /// The run is over for this peer, and not as it should be.
    Failed(FailReason),
    /// It was told to stop.
    Stopped,
}

/// Why a peer node cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// Nobody answers at the tracker's address.
    #[error("no tracker at {addr}: {source}")]
    NoTracker {
        /// Where it should be.
        addr: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// The log cannot be written.
    #[error("cannot write the log {path}: {source}")]
    Log {
        /// Which.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The state cannot be stored.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The state could not be stored to the end.
    #[error("{0}; what changed since it could be stored is lost")]
    NotStored(#[source] crate::store::StoreError),
    /// Content cannot be removed.
    #[error(transparent)]
    Stock(#[from] StockError),
    /// A task of ours panicked.
    #[error("a bug of ours: {0}")]
    Bug(#[from] tokio::task::JoinError),
}

#[derive(Debug)]
struct Shared {
    machine: Mutex<Peer>,
    epoch: Epoch,
    observer: Observer,
    content: Option<Arc<ContentServer>>,
}

impl PeerNode {
    /// A peer with a script, on a socket that already listens, known to others as `me`.
    pub fn scripted(
        listener: TcpListener,
        me: Contact,
        config: PeerConfig,
        script: Script,
        options: PeerOptions,
    ) -> Self {
        Self::new(listener, Peer::scripted(config, me, script), options)
    }

    /// A live peer, on a socket that already listens. It begins with what is stored.
    pub fn live(
        listener: TcpListener,
        me: Contact,
        config: PeerConfig,
        options: PeerOptions,
    ) -> Result<Self, PeerError> {
        let mut machine = Peer::live(config, me);
        if let Some(store) = &options.store {
            store.load(|change| machine.restore(change))?;
        }
        Ok(Self::new(listener, machine, options))
    }

    fn new(listener: TcpListener, machine: Peer, options: PeerOptions) -> Self {
        let observer = options.observer.clone();
        let content = options.content.clone();
        let shared =
            Arc::new(Shared { machine: Mutex::new(machine), epoch: Epoch::default(), observer, content });
        Self { listener, shared, options }
    }

    /// Runs until the script is over or `stop` is cancelled. The log is on disk then.
    ///
    /// # Errors
    /// If the tracker cannot be reached at all, or the log or state cannot be written.
    pub async fn run(
        self,
        stop: CancellationToken,
        orders: Orders,
        mut news: impl FnMut(PeerNews),
    ) -> Result<PeerEnd, PeerError> {
        let Self { listener, shared, options } = self;
        let serving = CancellationToken::new();
        let server = serve(listener, shared.clone(), options.server.clone(), serving.clone());
        let connections = tokio::spawn(server);
        let result = Driver::run(&shared, options, &stop, orders, &mut news).await;
        serving.cancel();
        connections.await?;
        result
    }
}

impl Service for Shared {
    fn message(&self, connection: ConnectionId, _from: IpAddr, message: Message, out: &mut Vec<u8>) -> Flow {
        if let Some(content) = &self.content
            && is_about_content(&message)
        {
            return Flow::Content(content.clone(), message);
        }
        let mut machine = lock(&self.machine);
        let input = PeerInput::Request { connection, message };
        self.observer.saw(Seen::PeerInput(&input));
        machine.handle(self.epoch.now(), input);
        while let Some(output) = machine.poll_output() {
            self.observer.saw(Seen::PeerOutput(&output));
            match output {
                PeerOutput::Reply { message, .. } => encode(&message, out),
                // The driver takes all outputs of its own inputs before it lets go of the lock.
                other => tracing::error!(?other, "a request led to more than a reply"),
            }
        }
        Flow::Continue
    }

    fn connected(&self, connection: ConnectionId, from: SocketAddr) {
        self.observer.saw(Seen::Accepted { connection, from });
    }

    fn disconnected(&self, _connection: ConnectionId) {}
}
