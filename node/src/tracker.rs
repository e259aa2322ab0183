//! The tracker node: the [`Tracker`] machine behind a server.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use askaround_core::clock::LeftOutReason;
use askaround_core::id::PeerId;
use askaround_core::log::LogEntry;
use askaround_core::message::{Message, Timestep};
use askaround_core::tracker::{ConnectionId, Tracker, TrackerConfig, TrackerInput, TrackerOutput};
use askaround_core::wire::encode;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::log_file::LogFile;
use crate::network::Network;
use crate::observe::{Observer, Seen};
use crate::server::{Flow, Push, ServerConfig, Service, serve};
use crate::{Epoch, lock};

/// A tracker that listens.
#[derive(Debug)]
pub struct TrackerNode {
    listener: TcpListener,
    machine: Tracker,
    epoch: Epoch,
    server: ServerConfig,
    log: Option<LogFile>,
    observer: Observer,
}

/// What happens in a tracker that its user may want to hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrackerNews {
    /// A line of the log.
    Log(LogEntry),
    /// A peer no longer counts in this run.
    LeftOut {
        /// Who.
        id: PeerId,
        /// In which timestep.
        time: Timestep,
        /// Why.
        why: LeftOutReason,
    },
}

/// How a tracker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackerEnd {
    /// The lab run is over: how many took part, and how many were left out.
    Finished {
        /// Who took part.
        clocked: usize,
        /// Who was left out.
        left_out: usize,
    },
    /// It was told to stop.
    Stopped,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    epoch: Epoch,
    observer: Observer,
    /// The timers or the effects changed.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    machine: Tracker,
    clocked: BTreeMap<ConnectionId, mpsc::Sender<Push>>,
    effects: VecDeque<TrackerOutput>,
}

/// A peer is sent S, T and F, each only after it did something; more would be our bug.
const PUSHES: usize = 8;

impl TrackerNode {
    /// Listens on `addr`. The log, if any, is written to `log`.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn bind(
        network: Network,
        addr: SocketAddr,
        config: TrackerConfig,
        server: ServerConfig,
        log: Option<PathBuf>,
    ) -> io::Result<Self> {
        let epoch = Epoch::default();
        Ok(Self {
            listener: network.listen(addr)?,
            machine: Tracker::new(config, epoch.now()),
            epoch,
            server,
            log: log.map(LogFile::new),
            observer: Observer::default(),
        })
    }

    /// The same, watched by `observer`.
    pub fn observed(self, observer: Observer) -> Self {
        Self { observer, ..self }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Runs until the lab run is over or `stop` is cancelled. The log is on disk then.
    ///
    /// # Errors
    /// If the log cannot be written.
    pub async fn run(
        self,
        stop: CancellationToken,
        mut news: impl FnMut(TrackerNews),
    ) -> io::Result<TrackerEnd> {
        let Self { listener, machine, epoch, server, mut log, observer } = self;
        let state = State { machine, clocked: BTreeMap::new(), effects: VecDeque::new() };
        let shared = Arc::new(Shared { state: Mutex::new(state), epoch, observer, changed: Notify::new() });
        let serving = CancellationToken::new();
        let connections = tokio::spawn(serve(listener, shared.clone(), server, serving.clone()));
        let result = drive(&shared, &stop, log.as_mut(), &mut news).await;
        serving.cancel();
        connections.await.map_err(io::Error::other)?;
        result
    }
}

/// Fires timers and carries out effects until the end.
async fn drive(
    shared: &Shared,
    stop: &CancellationToken,
    mut log: Option<&mut LogFile>,
    news: &mut impl FnMut(TrackerNews),
) -> io::Result<TrackerEnd> {
    let mut left_out = 0;
    loop {
        let (effects, deadline, clocked) = {
            let mut state = lock(&shared.state);
            (std::mem::take(&mut state.effects), state.machine.poll_timeout(), state.machine.clocked())
        };
        let mut finished = false;
        for effect in effects {
            match effect {
                TrackerOutput::Log(entry) => {
                    if let Some(log) = &mut log {
                        log.push(entry.clone());
                    }
                    news(TrackerNews::Log(entry));
                }
                TrackerOutput::LeftOut { id, time, why } => {
                    left_out += 1;
                    news(TrackerNews::LeftOut { id, time, why });
                }
                TrackerOutput::Finished => finished = true,
                TrackerOutput::Send(..) | TrackerOutput::Close(_) | TrackerOutput::Clocked(_) => {}
            }
        }
        if let Some(log) = &mut log {
            log.write().await?;
        }
        if finished {
            return Ok(TrackerEnd::Finished { clocked, left_out });
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(TrackerEnd::Stopped),
            () = shared.changed.notified() => {}
            () = shared.epoch.sleep_until(deadline) => {
                shared.handle(TrackerInput::Timeout, None, &mut Vec::new());
            }
        }
    }
}

impl Shared {
    /// Hands one input to the machine and passes its outputs on. What goes to the connection
    /// `own`, whose task this is, is appended to `out`.
    fn handle(&self, input: TrackerInput, own: Option<ConnectionId>, out: &mut Vec<u8>) -> Flow {
        let mut flow = Flow::Continue;
        let mut state = lock(&self.state);
        let deadline = state.machine.poll_timeout();
        self.observer.saw(Seen::TrackerInput(&input));
        state.machine.handle(self.epoch.now(), input);
        while let Some(output) = state.machine.poll_output() {
            self.observer.saw(Seen::TrackerOutput(&output));
            match output {
                TrackerOutput::Send(connection, message) if Some(connection) == own => encode(&message, out),
                TrackerOutput::Send(connection, message) => {
                    push(&state.clocked, connection, Push::Message(message));
                }
                TrackerOutput::Close(connection) if Some(connection) == own => flow = Flow::Close,
                TrackerOutput::Close(connection) => push(&state.clocked, connection, Push::Close),
                TrackerOutput::Clocked(connection) => {
                    let (sender, receiver) = mpsc::channel(PUSHES);
                    state.clocked.insert(connection, sender);
                    flow = Flow::Clocked(receiver);
                }
                effect => state.effects.push_back(effect),
            }
        }
        if !state.effects.is_empty() || state.machine.poll_timeout() != deadline {
            self.changed.notify_one();
        }
        flow
    }
}

fn push(clocked: &BTreeMap<ConnectionId, mpsc::Sender<Push>>, connection: ConnectionId, what: Push) {
    if let Some(sender) = clocked.get(&connection)
        && let Err(error) = sender.try_send(what)
    {
        tracing::warn!(connection, %error, "a peer does not read what the clock sends");
    }
}

impl Service for Shared {
    fn message(&self, connection: ConnectionId, from: IpAddr, message: Message, out: &mut Vec<u8>) -> Flow {
        self.handle(TrackerInput::Message { connection, from, message }, Some(connection), out)
    }

    fn connected(&self, connection: ConnectionId, from: SocketAddr) {
        self.observer.saw(Seen::Accepted { connection, from });
    }

    fn disconnected(&self, connection: ConnectionId) {
        // Only a clocked connection means anything to the machine.
        if lock(&self.state).clocked.remove(&connection).is_some() {
            self.handle(TrackerInput::Disconnected(connection), None, &mut Vec::new());
        }
    }
}
