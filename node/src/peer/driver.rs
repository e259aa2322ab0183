//! [`Driver`]: the loop that owns everything of a peer but what is served from memory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use askaround_core::id::Contact;
use askaround_core::key::Key;
use askaround_core::message::Request;
use askaround_core::peer::{
    AskError, AskId, Change, CommandId, Outcome, PeerInput, PeerOutput, Registration, Standing, Target,
};
use askaround_core::script::Action;
use askaround_core::search::Holder;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::orders::{Command, CommandError, Order, Orders};
use super::saver::Saver;
use super::{PeerEnd, PeerError, PeerNews, PeerOptions, Shared};
use crate::delivery::stock::Stock;
use crate::delivery::types::TrackerStatus;
use crate::dialer::Dialer;
use crate::link::{self, Outgoing};
use crate::lock;
use crate::log_file::LogFile;
use crate::observe::Seen;
use crate::sleep_until;

const LINK_QUEUE: usize = 64;
/// So many of the keys that were delivered are handled and stored in one go: a folder may have hundreds
/// of thousands, and the machine's output for each takes many times as much as the key.
const KEYS_AT_ONCE: usize = 4096;
/// How long the end of a live peer may wait for its tracker.
const GOODBYE: Duration = Duration::from_secs(1);

/// Who waits for a command.
#[derive(Debug)]
struct Waiting {
    holders: Option<mpsc::Sender<Holder>>,
    done: oneshot::Sender<Result<Outcome, CommandError>>,
}

/// Inputs in portions, of which each is handled and what it changes is stored in one go.
fn in_portions(inputs: Vec<PeerInput>) -> Vec<Vec<PeerInput>> {
    let mut portions = vec![Vec::new()];
    for input in inputs {
        match input {
            PeerInput::Delivered { keys, from } if keys.len() > KEYS_AT_ONCE => {
                let some = keys.chunks(KEYS_AT_ONCE).map(<[_]>::to_vec);
                portions.extend(some.map(|keys| vec![PeerInput::Delivered { keys, from }]));
                portions.push(Vec::new());
            }
            input => portions.last_mut().expect("there is one").push(input),
        }
    }
    portions
}

/// The loop that owns everything of a peer but what is served from memory.
pub(super) struct Driver<'a> {
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
    saver: Option<Saver>,
    stock: Option<Arc<Stock>>,
}

impl<'a> Driver<'a> {
    pub(super) async fn run(
        shared: &'a Shared,
        options: PeerOptions,
        stop: &CancellationToken,
        mut orders: Orders,
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
            saver: options.store.map(Saver::new),
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
        let end = 'run: loop {
            let mut deadline = None;
            for some in in_portions(inputs) {
                let outputs;
                (outputs, deadline) = driver.step(some);
                if let Some(end) = driver.carry_out(outputs, news).await? {
                    break 'run end;
                }
            }
            driver.tell_noted();
            let try_again = driver.saver.as_ref().and_then(Saver::try_again);
            inputs = tokio::select! {
                () = stop.cancelled() => break PeerEnd::Stopped,
                Some(from_link) = from_link.recv() => vec![from_link],
                Some(asked) = driver.asks.join_next() => driver.answered(asked).into_iter().collect(),
                Some(first) = orders.recv() => {
                    // What they change is stored in one go.
                    let orders = orders.and_those_behind(first);
                    orders.filter_map(|order| driver.order(order)).collect()
                }
                () = shared.epoch.sleep_until(deadline) => vec![PeerInput::Timeout],
                () = sleep_until(try_again) => Vec::new(),
            };
        };
        driver.asks.shutdown().await;
        let notes: Vec<_> = orders.last_notes().filter_map(|note| driver.order(note)).collect();
        for some in in_portions(notes) {
            let (outputs, _) = driver.step(some);
            driver.carry_out(outputs, news).await?;
        }
        driver.tell_noted();
        driver.say_goodbye().await;
        driver.link = None;
        while link_task.join_next().await.transpose()?.is_some() {}
        driver.write_log().await?;
        if let Some(saver) = driver.saver {
            saver.end().await.map_err(PeerError::NotStored)?;
        }
        Ok(end)
    }

    /// Tells whoever waits that what they noted is stored.
    fn tell_noted(&mut self) {
        for noted in self.noted.drain(..) {
            // Whoever asked may have gone.
            let _ = noted.send(());
        }
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
        // Before anybody is told.
        let not_stored = match &mut self.saver {
            Some(saver) => saver.save(&outputs, news).await.err(),
            None => None,
        };
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
                        let error = not_stored.clone().filter(|_| outcome.has_changed());
                        // Whoever asked may have gone.
                        let _ = waiting.done.send(error.map_or(Ok(outcome), Err));
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

    async fn ask(&mut self, ask: AskId, to: Target, request: Request) {
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

    /// What an order is to the machine, unless it is answered from memory.
    fn order(&mut self, Order(command): Order) -> Option<PeerInput> {
        match command {
            Command::Do { action, trace, holders, done } => {
                self.commands.retain(|_, waiting| !waiting.done.is_closed());
                self.last_command += 1;
                self.commands.insert(self.last_command, Waiting { holders, done });
                Some(PeerInput::Command { command: self.last_command, action, trace })
            }
            Command::Note { input, done } => {
                self.noted.push(done);
                Some(input)
            }
            Command::Lacks { mut keys, done } => {
                let machine = lock(&self.shared.machine);
                keys.retain(|key| !machine.contents().contains(key));
                // The same.
                let _ = done.send(keys);
                None
            }
            Command::Registration { done } => {
                // Whoever asked may have gone.
                let _ = done.send(self.tracker.map(|addr| self.registration(addr)));
                None
            }
        }
    }

    /// How it stands with its tracker, in words and seconds.
    fn registration(&self, addr: SocketAddr) -> TrackerStatus {
        let Registration { standing, since, next } = lock(&self.shared.machine).registration();
        let now = self.shared.epoch.now();
        let (registered, why) = match standing {
            Standing::Registered => (true, None),
            Standing::Unknown => (false, Some("it has not answered yet".into())),
            Standing::NotWanted => (false, Some("it was told to unregister".into())),
            Standing::Failed(why) => (false, Some(why.to_string())),
        };
        let seconds = |time: Duration| (time.as_secs_f64() * 1e3).round() / 1e3;
        let again_in = next.filter(|_| !registered).map(|next| seconds(next.since(now)));
        TrackerStatus { addr, registered, seconds: seconds(now.since(since)), why, again_in }
    }

    async fn write_log(&mut self) -> Result<(), PeerError> {
        let Some(log) = &mut self.log else { return Ok(()) };
        log.write().await.map_err(|source| PeerError::Log { path: log.path().to_owned(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_keys_are_handled_in_portions_and_everything_stays_in_order() {
        let keys: Vec<_> = (0..2 * KEYS_AT_ONCE + 1).map(|n| Key::new(&n.to_string()).unwrap()).collect();
        let few = keys[..KEYS_AT_ONCE].to_vec();
        let inputs = vec![
            PeerInput::Delivered { keys: few.clone(), from: None },
            PeerInput::Timeout,
            PeerInput::Delivered { keys: keys.clone(), from: None },
            PeerInput::Begin,
        ];
        let portions = in_portions(inputs);
        let count = |input: &PeerInput| match input {
            PeerInput::Delivered { keys, .. } => keys.len(),
            _ => 0,
        };
        assert!(portions.iter().all(|some| some.iter().map(count).sum::<usize>() <= KEYS_AT_ONCE));
        let (mut handled, mut others) = (Vec::new(), Vec::new());
        for input in portions.into_iter().flatten() {
            match input {
                PeerInput::Delivered { keys, .. } => handled.extend(keys),
                other => others.push((handled.len(), format!("{other:?}"))),
            }
        }
        assert_eq!(others, [(few.len(), "Timeout".into()), (few.len() + keys.len(), "Begin".into())]);
        assert_eq!(handled, [few, keys].concat());
    }
}
