//! The peer node: the [`Peer`] machine behind a server, with its questions to others, its log
//! and its store.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use askaround_core::id::Contact;
use askaround_core::key::Key;
use askaround_core::log::LogEntry;
use askaround_core::message::Message;
use askaround_core::peer::{
    AskError, AskId, Change, CommandId, FailReason, Outcome, Peer, PeerConfig, PeerInput, PeerOutput, Target,
};
use askaround_core::script::{Action, Script};
use askaround_core::search::Holder;
use askaround_core::tracker::ConnectionId;
use askaround_core::wire::encode;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::delivery::stock::{Stock, StockError};
use crate::dialer::Dialer;
use crate::link::{self, Outgoing};
use crate::log_file::LogFile;
use crate::network::Network;
use crate::observe::{Observer, Seen};
use crate::server::{Flow, ServerConfig, Service, serve};
use crate::store::Store;
use crate::transfer::serve::{ContentServer, is_about_content};
use crate::{Epoch, lock};

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

/// Something that a running peer is to do.
#[derive(Debug)]
enum Command {
    Do {
        action: Action,
        trace: bool,
        /// Who is told of holders.
        holders: Option<mpsc::Sender<Holder>>,
        done: oneshot::Sender<Outcome>,
    },
    /// Something that came of a delivery; `done` is told when it is stored.
    Note { input: PeerInput, done: oneshot::Sender<()> },
}

/// Who waits for a command.
#[derive(Debug)]
struct Waiting {
    holders: Option<mpsc::Sender<Holder>>,
    done: oneshot::Sender<Outcome>,
}

/// What happens in a peer that its user may want to hear of.
#[derive(Debug, Clone, PartialEq)]
pub enum PeerNews {
    /// A line of the log.
    Log(LogEntry),
    /// The registration was renewed, or could not be.
    Membership(Outcome),
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

const COMMANDS: usize = 64;
const LINK_QUEUE: usize = 64;
/// How long the end of a live peer may wait for its tracker.
const GOODBYE: Duration = Duration::from_secs(1);

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
            for change in store.load()? {
                machine.restore(change);
            }
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
        commands: mpsc::Receiver<PeerCommand>,
        mut news: impl FnMut(PeerNews),
    ) -> Result<PeerEnd, PeerError> {
        let Self { listener, shared, options } = self;
        let serving = CancellationToken::new();
        let server = serve(listener, shared.clone(), options.server.clone(), serving.clone());
        let connections = tokio::spawn(server);
        let result = Driver::run(&shared, options, &stop, commands, &mut news).await;
        serving.cancel();
        connections.await?;
        result
    }
}

/// A command on its way to a peer; made by [`command`].
#[derive(Debug)]
pub struct PeerCommand(Command);

/// The way to a peer, and its other end, which [`PeerNode::run`] takes.
pub fn command_channel() -> (mpsc::Sender<PeerCommand>, mpsc::Receiver<PeerCommand>) {
    mpsc::channel(COMMANDS)
}

/// Has a running peer do something and waits for the outcome; `None` if the peer has ended.
/// Dropping the future gives the command up.
pub async fn command(peer: &mpsc::Sender<PeerCommand>, action: Action, trace: bool) -> Option<Outcome> {
    let (done, outcome) = oneshot::channel();
    peer.send(PeerCommand(Command::Do { action, trace, holders: None, done })).await.ok()?;
    outcome.await.ok()
}

/// Has a running peer do something that nobody waits for. A peer that is too busy to take it is
/// told the next time.
pub(crate) fn command_soon(peer: &mpsc::Sender<PeerCommand>, action: Action) {
    let command = Command::Do { action, trace: false, holders: None, done: oneshot::channel().0 };
    let _ = peer.try_send(PeerCommand(command));
}

/// The same for what a fetch has to say at its end.
pub(crate) fn fetching_no_longer(peer: &mpsc::Sender<PeerCommand>, key: Key) {
    let input = PeerInput::Fetching(key, false);
    let _ = peer.try_send(PeerCommand(Command::Note { input, done: oneshot::channel().0 }));
}

/// Has a running peer look for everybody who holds a content or is fetching it. Each comes through
/// `holders`; one that finds no room there is passed over. The outcome tells how the search went.
pub async fn gather(
    peer: &mpsc::Sender<PeerCommand>,
    key: Key,
    holders: mpsc::Sender<Holder>,
) -> Option<Outcome> {
    let (done, outcome) = oneshot::channel();
    let (action, holders) = (Action::Gather(key), Some(holders));
    peer.send(PeerCommand(Command::Do { action, trace: true, holders, done })).await.ok()?;
    outcome.await.ok()
}

/// Tells a running peer that a content is being fetched, or no longer.
pub async fn fetching(peer: &mpsc::Sender<PeerCommand>, key: Key, fetching: bool) {
    note(peer, PeerInput::Fetching(key, fetching)).await;
}

/// Tells a running peer that a content was fetched and verified, and by whom it was sent. It is
/// stored when this returns.
pub async fn delivered(peer: &mpsc::Sender<PeerCommand>, keys: Vec<Key>, from: Option<Contact>) {
    note(peer, PeerInput::Delivered { keys, from }).await;
}

/// A peer that has ended needs to know nothing.
async fn note(peer: &mpsc::Sender<PeerCommand>, input: PeerInput) {
    let (done, noted) = oneshot::channel();
    if peer.send(PeerCommand(Command::Note { input, done })).await.is_ok() {
        let _ = noted.await;
    }
}

/// The loop that owns everything of a peer but what is served from memory.
struct Driver<'a> {
    shared: &'a Shared,
    dialer: Arc<Dialer>,
    tracker: Option<SocketAddr>,
    link: Option<mpsc::Sender<Outgoing>>,
    /// What was asked or is being fetched, and what comes of it for the machine.
    asks: JoinSet<(AskId, PeerInput)>,
    asking: BTreeMap<AskId, AbortHandle>,
    commands: BTreeMap<CommandId, Waiting>,
    last_command: CommandId,
    /// Whoever waits until what was just handed over has been carried out.
    noted: Vec<oneshot::Sender<()>>,
    log: Option<LogFile>,
    store: Option<Store>,
    stock: Option<Arc<Stock>>,
}

impl<'a> Driver<'a> {
    async fn run(
        shared: &'a Shared,
        options: PeerOptions,
        stop: &CancellationToken,
        mut incoming: mpsc::Receiver<PeerCommand>,
        news: &mut impl FnMut(PeerNews),
    ) -> Result<PeerEnd, PeerError> {
        let mut driver = Self {
            shared,
            dialer: Arc::new(Dialer::new(options.network, options.keep_connections, options.observer)),
            tracker: options.tracker,
            link: None,
            asks: JoinSet::new(),
            asking: BTreeMap::new(),
            commands: BTreeMap::new(),
            last_command: 0,
            noted: Vec::new(),
            log: options.log.map(LogFile::new),
            store: options.store,
            stock: options.stock,
        };
        let (to_driver, mut from_link) = mpsc::channel(LINK_QUEUE);
        let mut link_task = JoinSet::new();
        if let (Some(addr), true) = (options.tracker, driver.log.is_some()) {
            let connecting = link::connect(options.network, addr, options.patience);
            let stream = tokio::select! {
                () = stop.cancelled() => return Ok(PeerEnd::Stopped),
                connected = connecting => connected.map_err(|source| PeerError::NoTracker { addr, source })?,
            };
            shared.observer.opened(&stream, addr);
            let (sender, receiver) = mpsc::channel(LINK_QUEUE);
            driver.link = Some(sender);
            link_task.spawn(link::run(stream, receiver, to_driver));
        }
        let mut inputs = vec![PeerInput::Begin];
        let end = loop {
            let (outputs, deadline) = driver.step(inputs);
            if let Some(end) = driver.carry_out(outputs, news).await? {
                break end;
            }
            for noted in driver.noted.drain(..) {
                // Whoever asked may have gone.
                let _ = noted.send(());
            }
            inputs = tokio::select! {
                () = stop.cancelled() => break PeerEnd::Stopped,
                Some(from_link) = from_link.recv() => vec![from_link],
                Some(asked) = driver.asks.join_next() => driver.answered(asked).into_iter().collect(),
                Some(first) = incoming.recv() => driver.commands(first, &mut incoming),
                () = shared.epoch.sleep_until(deadline) => vec![PeerInput::Timeout],
            };
        };
        driver.asks.shutdown().await;
        driver.say_goodbye().await;
        driver.link = None;
        while link_task.join_next().await.transpose()?.is_some() {}
        driver.write_log().await?;
        Ok(end)
    }

    /// Hands inputs to the machine, one after the other, and takes the outputs of each.
    fn step(&self, inputs: Vec<PeerInput>) -> (Vec<PeerOutput>, Option<askaround_core::Instant>) {
        let mut machine = lock(&self.shared.machine);
        let mut outputs = Vec::new();
        for input in inputs {
            self.shared.observer.saw(Seen::PeerInput(&input));
            machine.handle(self.shared.epoch.now(), input);
            while let Some(output) = machine.poll_output() {
                self.shared.observer.saw(Seen::PeerOutput(&output));
                outputs.push(output);
            }
        }
        (outputs, machine.poll_timeout())
    }

    /// Does what the machine wants done, in order. `Some` if that was the end.
    async fn carry_out(
        &mut self,
        outputs: Vec<PeerOutput>,
        news: &mut impl FnMut(PeerNews),
    ) -> Result<Option<PeerEnd>, PeerError> {
        if let Some(store) = &self.store {
            let changed = |output: &PeerOutput| match output {
                PeerOutput::Changed(change) => Some(change.clone()),
                _ => None,
            };
            // All in one go, before anybody is told: what a folder changes are thousands.
            store.save(outputs.iter().filter_map(changed).collect()).await?;
        }
        for output in outputs {
            match output {
                PeerOutput::Ask { ask, to, request, .. } => self.ask(ask, to, request).await,
                PeerOutput::Fetch { ask, key, from } => self.fetch(ask, key, from),
                PeerOutput::Cancel(ask) => {
                    if let Some(asking) = self.asking.remove(&ask) {
                        asking.abort();
                    }
                }
                PeerOutput::TellTracker(message) => {
                    self.write_log().await?;
                    self.send(Outgoing::Tell(message)).await;
                }
                PeerOutput::Done { command, outcome } => {
                    if let Some(waiting) = self.commands.remove(&command) {
                        // Whoever asked may have gone.
                        let _ = waiting.done.send(outcome);
                    }
                }
                PeerOutput::Holder { command, holder } => {
                    let holders = self.commands.get(&command).and_then(|waiting| waiting.holders.as_ref());
                    if let Some(holders) = holders {
                        // Whoever has enough of them need not take more.
                        let _ = holders.try_send(holder);
                    }
                }
                PeerOutput::Log(entry) => {
                    if let Some(log) = &mut self.log {
                        log.push(entry.clone());
                    }
                    if entry.time == 0 {
                        self.write_log().await?;
                    }
                    news(PeerNews::Log(entry));
                }
                PeerOutput::Changed(Change::Purged(key)) => {
                    if let Some(stock) = &self.stock {
                        stock.purge(&key).await?;
                    }
                }
                PeerOutput::Changed(_) => {}
                PeerOutput::Membership(outcome) => news(PeerNews::Membership(outcome)),
                PeerOutput::Finished => return Ok(Some(PeerEnd::Finished)),
                PeerOutput::Failed(reason) => return Ok(Some(PeerEnd::Failed(reason))),
                // Requests are served, and their replies taken, by the connections' tasks.
                PeerOutput::Reply { .. } => {}
            }
        }
        Ok(None)
    }

    /// A live peer that ends takes itself off the tracker's list; if that fails, its lease runs
    /// out.
    async fn say_goodbye(&mut self) {
        let Some(tracker) = self.tracker.filter(|_| self.link.is_none()) else { return };
        let action = Action::Unregister;
        let goodbye = PeerInput::Command { command: self.last_command + 1, action, trace: false };
        for output in self.step(vec![goodbye]).0 {
            if let PeerOutput::Ask { to: Target::Tracker, request, .. } = output {
                let asked = tokio::time::timeout(GOODBYE, self.dialer.ask(tracker, &request)).await;
                tracing::debug!(?asked, "unregistered");
            }
        }
    }

    async fn ask(&mut self, ask: AskId, to: Target, request: askaround_core::message::Request) {
        let addr = match to {
            Target::Peer(addr) => Some(addr),
            Target::Tracker if self.link.is_some() => {
                return self.send(Outgoing::Ask(ask, request)).await;
            }
            Target::Tracker => self.tracker,
        };
        let dialer = self.dialer.clone();
        self.begin(ask, async move {
            let result = match addr {
                Some(addr) => dialer.ask(addr, &request).await,
                None => Err(AskError::Unreachable("this peer was given no tracker".into())),
            };
            PeerInput::Answered { ask, result }
        });
    }

    fn fetch(&mut self, ask: AskId, key: Key, from: Contact) {
        let stock = self.stock.clone();
        self.begin(ask, async move {
            let result = match stock {
                Some(stock) => stock.fetch(&key, from).await.map_err(|error| error.to_string()),
                None => Err("this peer keeps no content".into()),
            };
            PeerInput::Fetched { ask, result }
        });
    }

    fn begin(&mut self, ask: AskId, work: impl Future<Output = PeerInput> + Send + 'static) {
        let asking = self.asks.spawn(async move { (ask, work.await) });
        self.asking.insert(ask, asking);
    }

    async fn send(&self, what: Outgoing) {
        if let Some(link) = &self.link {
            // If the link is gone, its last input, TrackerLost, is on its way.
            let _ = link.send(what).await;
        }
    }

    fn answered(&mut self, asked: Result<(AskId, PeerInput), tokio::task::JoinError>) -> Option<PeerInput> {
        match asked {
            Ok((ask, came)) => {
                self.asking.remove(&ask);
                Some(came)
            }
            Err(error) if error.is_cancelled() => None,
            // The machine's own deadline ends the ask.
            Err(error) => {
                tracing::error!(%error, "a question of ours failed by a bug of ours");
                None
            }
        }
    }

    /// A command and those that wait behind it: what they change is stored in one go.
    fn commands(&mut self, first: PeerCommand, incoming: &mut mpsc::Receiver<PeerCommand>) -> Vec<PeerInput> {
        let more = std::iter::from_fn(|| incoming.try_recv().ok());
        std::iter::once(first).chain(more).take(COMMANDS).map(|PeerCommand(one)| self.command(one)).collect()
    }

    fn command(&mut self, command: Command) -> PeerInput {
        match command {
            Command::Do { action, trace, holders, done } => {
                self.commands.retain(|_, waiting| !waiting.done.is_closed());
                self.last_command += 1;
                self.commands.insert(self.last_command, Waiting { holders, done });
                PeerInput::Command { command: self.last_command, action, trace }
            }
            Command::Note { input, done } => {
                self.noted.push(done);
                input
            }
        }
    }

    async fn write_log(&mut self) -> Result<(), PeerError> {
        let Some(log) = &mut self.log else { return Ok(()) };
        log.write().await.map_err(|source| PeerError::Log { path: log.path().to_owned(), source })
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
