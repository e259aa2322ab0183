//! Starting a tracker or a peer, and what is said while it runs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use askaround_core::id::{Contact, PeerId};
use askaround_core::peer::{Outcome, PeerConfig};
use askaround_core::tracker::TrackerConfig;
use askaround_node::api::{self, ApiError};
use askaround_node::content::Catalogue;
use askaround_node::delivery::keep::{KeepError, UnknownCopy};
use askaround_node::delivery::{Delivery, DeliveryOptions};
use askaround_node::network::Network;
use askaround_node::peer::{PeerEnd, PeerError, PeerHandle, PeerNews, PeerNode, PeerOptions};
use askaround_node::store::{Store, StoreError};
use askaround_node::tracker::TrackerNode;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::node_args::NodeArgs;
use super::{folder, print, show};
use crate::args::{PeerArgs, TrackerArgs};
use crate::exit::{Failure, Stop};
use crate::limits::connections_of_tracker;
use crate::plain;

/// Within so long what becomes of files is told together.
const TOLD_TOGETHER: Duration = Duration::from_secs(1);

/// `askaround tracker`.
///
/// # Errors
/// If it cannot listen; at the end the signal that ended it.
pub(super) async fn tracker(args: TrackerArgs) -> Result<(), Failure> {
    let stop = Stop::on_signals()?;
    let room = connections_of_tracker();
    if let Some(warning) = args.server.shortage(room) {
        plain::say!("askaround: {warning}");
    }
    let registry = args.registry.config();
    let config = TrackerConfig { registry, trust_addresses: args.trust_addresses, lab: None };
    let node = TrackerNode::bind(Network::default(), args.listen, config, args.server.config(room), None)
        .map_err(|e| Failure::run(format!("cannot listen on {}: {e}", args.listen)))?;
    print(&format!("tracker listens on {}\n", node.addr().map_err(Failure::run)?))?;
    node.run(stop.token().clone(), |_| {}).await.map_err(Failure::run)?;
    Err(stop.failure())
}

/// `askaround peer`.
///
/// # Errors
/// If it cannot start or go on; at the end the signal that ended it.
pub(super) async fn peer(args: PeerArgs) -> Result<(), Failure> {
    let stop = Stop::on_signals()?;
    let folder = folder(&args.state)?;
    if !api::can_be_in(&folder) {
        // Before there is anything in it.
        return Err(ApiError::LongPath(folder).into());
    }
    if let Some(warning) = args.node.server.shortage(args.node.content.connections()) {
        plain::say!("askaround: {warning}");
    }
    let settings = Settings {
        tracker: Some(args.tracker),
        folder: Some(folder.clone()),
        longest_stay: None,
        node: args.node,
    };
    // It goes on until nobody has it do anything any more: what was done it has to store.
    let running = CancellationToken::new();
    let node = Node::start(settings, running.clone(), |_, text| plain::say!("{text}"))?;
    let tell = |path: &Path, copy: UnknownCopy| {
        let path = path.display();
        match copy {
            UnknownCopy::Found => plain::say!("the copy {path} was not known: is here again"),
            UnknownCopy::Failed(error) => plain::say!("the copy {path} was not known: {error}"),
            UnknownCopy::Left => plain::say!(
                "{path} is left of a copy that was being added or purged, and is not served: it can be removed"
            ),
        }
    };
    match node.delivery.find_copies_again(tell, stop.token().clone()).await {
        Ok(()) | Err(KeepError::Stopped) => {}
        Err(error) => plain::say!("askaround: {error}"),
    }
    let socket = api::listen(&folder)
        .map_err(|error| Failure::run(format!("cannot listen in {}: {error}", folder.display())))?;
    print(&format!("peer {} listens on {}, state in {}\n", node.me.id, node.me.addr(), folder.display()))?;
    let api = tokio::spawn(api::serve(socket, node.delivery.clone(), stop.token().clone()));
    let delivery = node.delivery.clone();
    let tell = async {
        loop {
            delivery.condition_changed().await;
            say_conditions(&delivery);
            // Where one is not what it was, others may not be: they are told of together.
            tokio::time::sleep(TOLD_TOGETHER).await;
        }
    };
    let changes_of = node.delivery.clone();
    let mut ending = pin!(node.end());
    let ended = tokio::select! {
        ended = &mut ending => Some(ended),
        () = stop.token().cancelled() => None,
        never = tell => never,
    };
    stop.token().cancel();
    let answered = api.await;
    running.cancel();
    let end = match ended {
        Some(ended) => ended,
        None => ending.await,
    };
    say_conditions(&changes_of);
    answered.map_err(Failure::run)?;
    // The next peer replaces a socket that is left, so failing to remove it harms nobody.
    let _ = std::fs::remove_file(folder.join(api::SOCKET));
    end?;
    Err(stop.failure())
}

fn say_conditions(delivery: &Delivery) {
    for text in show::conditions(&delivery.take_condition_changes(), false) {
        plain::say!("{text}");
    }
}

/// How a peer is to be.
pub(super) struct Settings {
    /// None for a peer that is told whom to ask.
    pub(super) tracker: Option<SocketAddr>,
    /// Where its state is; none if it lasts as long as a command.
    pub(super) folder: Option<PathBuf>,
    /// The longest that a fetch that is complete stays for others; none for a peer that goes on.
    pub(super) longest_stay: Option<Duration>,
    pub(super) node: NodeArgs,
}

/// A peer that runs in this process.
pub(super) struct Node {
    pub(super) me: Contact,
    pub(super) delivery: Delivery,
    running: JoinHandle<Result<PeerEnd, PeerError>>,
    /// What is here is made to survive the machine, until this is cancelled.
    settling: Option<(CancellationToken, JoinHandle<()>)>,
}

impl Node {
    /// Starts a peer, which runs until `stop` is cancelled. `say` is told when it is registered
    /// (then with `true`) or cannot be.
    ///
    /// # Errors
    /// If its folder or its address cannot be used.
    pub(super) fn start(
        settings: Settings,
        stop: CancellationToken,
        mut say: impl FnMut(bool, &str) + Send + 'static,
    ) -> Result<Self, Failure> {
        let Settings { tracker, folder, longest_stay, node: args } = settings;
        let listen = args.listen(tracker)?;
        let state = State::open(folder)?;
        let network = Network::default().of_listener(listen);
        let listener =
            network.listen(listen).map_err(|e| Failure::run(format!("cannot listen on {listen}: {e}")))?;
        let addr = listener.local_addr().map_err(Failure::run)?;
        let me = Contact::new(args.id.unwrap_or(state.id), addr);
        let (peer, orders) = PeerHandle::new();
        let options = DeliveryOptions {
            network,
            up: args.rates.up,
            down: args.rates.down,
            seed: random()?,
            longest_stay,
            ..args.content.options()
        };
        let (delivery, content) = Delivery::new(me, state.catalogue, peer, options);
        let settling = state.store.is_some().then(|| {
            let (delivery, stop) = (delivery.clone(), stop.child_token());
            (stop.clone(), async move { delivery.settle(stop).await })
        });
        let config = PeerConfig {
            has_tracker: tracker.is_some(),
            advertised_ip: args.advertise,
            token: Some(state.token),
            ..args.asking.config()
        };
        let options = PeerOptions {
            network,
            tracker,
            server: args.server.config(args.content.connections()),
            keep_connections: args.asking.kept(),
            store: state.store,
            content: Some(content),
            ..PeerOptions::default()
        };
        let node = PeerNode::live(listener, me, config, options).map_err(Failure::run)?;
        let mut registered = None;
        let tracker = tracker.map_or("the tracker".into(), |addr| addr.to_string());
        let news = move |news| tell(&news, &tracker, &mut registered, &mut say);
        let running = tokio::spawn(node.run(stop, orders, news));
        let settling = settling.map(|(stop, settling)| (stop, tokio::spawn(settling)));
        Ok(Self { me, delivery, running, settling })
    }

    /// Whether it could not go on.
    pub(super) fn has_ended(&self) -> bool {
        self.running.is_finished()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it could not go on.
    pub(super) async fn end(self) -> Result<(), Failure> {
        let end = self.running.await;
        if let Some((stop, settling)) = self.settling {
            stop.cancel();
            settling.await.map_err(Failure::run)?;
        }
        match end.map_err(Failure::run)?.map_err(Failure::run)? {
            PeerEnd::Failed(reason) => Err(Failure::run(reason)),
            PeerEnd::Finished | PeerEnd::Stopped => Ok(()),
        }
    }
}

/// What a peer keeps, on disk or only for now.
struct State {
    id: PeerId,
    token: String,
    store: Option<Store>,
    catalogue: Catalogue,
}

impl State {
    fn open(folder: Option<PathBuf>) -> Result<Self, Failure> {
        let (id, token) = new_identity()?;
        let Some(folder) = folder else {
            let catalogue = Catalogue::temporary().map_err(Failure::run)?;
            return Ok(Self { id, token, store: None, catalogue });
        };
        let failed = |error| match error {
            StoreError::InUse(_) => Failure::run(error),
            StoreError::Damaged { .. } | StoreError::Unusable { .. } => Failure::usage(error),
        };
        let store = Store::open(&folder).map_err(failed)?;
        let (id, token) = store.identity(|| (id, token)).map_err(failed)?;
        let catalogue = store.catalogue().map_err(failed)?;
        Ok(Self { id, token, store: Some(store), catalogue })
    }
}

/// An id short enough to type, and a secret that protects it. Both from the system's randomness.
fn new_identity() -> Result<(PeerId, String), Failure> {
    let id = PeerId::new(random()? % 1_000_000_000 + 1).unwrap_or(PeerId::MIN);
    Ok((id, format!("{:016x}{:016x}", random()?, random()?)))
}

fn random() -> Result<u64, Failure> {
    getrandom::u64().map_err(|e| Failure::run(format!("the system gives no random numbers: {e}")))
}

/// Says when the registration changes, not each time it is renewed, and what the disk does not take.
fn tell(news: &PeerNews, tracker: &str, registered: &mut Option<bool>, say: &mut impl FnMut(bool, &str)) {
    match news {
        PeerNews::Membership(Outcome::Registered { contact, .. }) if *registered != Some(true) => {
            *registered = Some(true);
            say(true, &format!("registered with {tracker} as {contact}"));
        }
        PeerNews::Membership(Outcome::TrackerFailed(error)) if *registered != Some(false) => {
            *registered = Some(false);
            say(false, &format!("cannot register with {tracker}: {error}; it is tried again"));
        }
        PeerNews::NotStored(why) => {
            say(false, &format!("{why}; what this peer holds is stored as soon as that is possible"));
        }
        PeerNews::Stored => say(true, "what this peer holds is stored again"),
        _ => {}
    }
}
