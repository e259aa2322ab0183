//! The live face: long-running nodes, and verbs against a running peer.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use askaround_core::id::{Contact, PeerId};
use askaround_core::peer::{Outcome, PeerConfig};
use askaround_core::tracker::TrackerConfig;
use askaround_node::api::{self, ApiReply, ApiRequest, ApiSearch};
use askaround_node::network::Network;
use askaround_node::peer::{PeerEnd, PeerNews, PeerNode, PeerOptions, command_channel};
use askaround_node::store::{Store, StoreError};
use askaround_node::tracker::TrackerNode;

use crate::args::{Command, PeerArgs, StateArgs, TrackerArgs};
use crate::exit::{Failure, Stop};
use crate::table;

/// Runs a live command.
///
/// # Errors
/// As the command fails.
pub async fn run(command: Command) -> Result<(), Failure> {
    let (state, json, request) = match command {
        Command::Tracker(args) => return tracker(args).await,
        Command::Peer(args) => return peer(args).await,
        Command::Peers(verb) => (verb.state, verb.json, ApiRequest::Peers),
        Command::Known(args) => (args.verb.state, args.verb.json, ApiRequest::Known { id: args.id }),
        Command::Contents(args) => (args.verb.state, args.verb.json, ApiRequest::Contents { id: args.id }),
        Command::Find(args) => {
            let request = ApiRequest::Find { key: args.key, trace: args.trace };
            (args.verb.state, args.verb.json, request)
        }
        Command::Register(verb) => (verb.state, verb.json, ApiRequest::Register),
        Command::Unregister(verb) => (verb.state, verb.json, ApiRequest::Unregister),
        Command::Purge(args) => (args.verb.state, args.verb.json, ApiRequest::Purge { key: args.key }),
        Command::Hold(args) => (args.verb.state, args.verb.json, ApiRequest::Hold { key: args.key }),
        Command::Lab(_) | Command::Completions { .. } | Command::Man { .. } => return Ok(()),
    };
    let stop = Stop::on_signals()?;
    let folder = folder(&state)?;
    let reply = tokio::select! {
        () = stop.token().cancelled() => return Err(stop.failure()),
        reply = api::ask(&folder, &request) => reply.map_err(Failure::run)?,
    };
    show(&request, reply, json)
}

/// Prints, and does not mind a reader that has gone.
///
/// # Errors
/// If stdout cannot be written for another reason.
pub fn print(text: &str) -> Result<(), Failure> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::run(error)),
        _ => Ok(()),
    }
}

async fn tracker(args: TrackerArgs) -> Result<(), Failure> {
    let stop = Stop::on_signals()?;
    let registry = args.registry.config();
    let config = TrackerConfig { registry, trust_addresses: args.trust_addresses, lab: None };
    let node = TrackerNode::bind(Network::default(), args.listen, config, args.server.config(), None)
        .map_err(|e| Failure::run(format!("cannot listen on {}: {e}", args.listen)))?;
    print(&format!("tracker listens on {}\n", node.addr().map_err(Failure::run)?))?;
    node.run(stop.token().clone(), |_| {}).await.map_err(Failure::run)?;
    Err(stop.failure())
}

fn folder(state: &StateArgs) -> Result<PathBuf, Failure> {
    if let Some(dir) = &state.dir {
        return Ok(dir.clone());
    }
    let folders = directories::ProjectDirs::from("", "", "askaround");
    let folders = folders.ok_or_else(|| Failure::usage("no home folder is known: name one with --dir"))?;
    Ok(folders.data_local_dir().to_owned())
}

async fn peer(args: PeerArgs) -> Result<(), Failure> {
    let stop = Stop::on_signals()?;
    let folder = folder(&args.state)?;
    let store = Store::open(&folder).map_err(|e| match e {
        StoreError::InUse(_) => Failure::run(e),
        StoreError::Unusable { .. } => Failure::usage(e),
    })?;
    let fresh = new_identity()?;
    let (kept, token) = store.identity(|| fresh).map_err(Failure::run)?;
    let id = args.id.unwrap_or(kept);
    let network = Network::default();
    let listener = network
        .listen(args.listen)
        .map_err(|e| Failure::run(format!("cannot listen on {}: {e}", args.listen)))?;
    let addr = listener.local_addr().map_err(Failure::run)?;
    let config = PeerConfig { advertised_ip: args.advertise, token: Some(token), ..args.asking.config() };
    let options = PeerOptions {
        network,
        tracker: Some(args.tracker),
        server: args.server.config(),
        keep_connections: args.asking.keep_connections,
        store: Some(store),
        ..PeerOptions::default()
    };
    let node = PeerNode::live(listener, Contact::new(id, addr), config, options).map_err(Failure::run)?;
    let socket = api::listen(&folder)
        .map_err(|e| Failure::run(format!("cannot listen in {}: {e}", folder.display())))?;
    print(&format!("peer {id} listens on {addr}, state in {}\n", folder.display()))?;
    let (commands, incoming) = command_channel();
    let api = tokio::spawn(api::serve(socket, commands, stop.token().clone()));
    let mut registered = None;
    let end =
        node.run(stop.token().clone(), incoming, |news| membership(&news, &args, &mut registered)).await;
    stop.token().cancel();
    api.await.map_err(Failure::run)?;
    // The next peer replaces a socket that is left, so failing to remove it harms nobody.
    let _ = std::fs::remove_file(folder.join(api::SOCKET));
    match end.map_err(Failure::run)? {
        PeerEnd::Failed(reason) => Err(Failure::run(reason)),
        PeerEnd::Finished | PeerEnd::Stopped => Err(stop.failure()),
    }
}

/// Says when the registration changes, not each time it is renewed.
fn membership(news: &PeerNews, args: &PeerArgs, registered: &mut Option<bool>) {
    match news {
        PeerNews::Membership(Outcome::Registered { contact, .. }) if *registered != Some(true) => {
            *registered = Some(true);
            eprintln!("registered with {} as {contact}", args.tracker);
        }
        PeerNews::Membership(Outcome::TrackerFailed(error)) if *registered != Some(false) => {
            *registered = Some(false);
            eprintln!("cannot register with {}: {error}; it is tried again", args.tracker);
        }
        _ => {}
    }
}

/// An id short enough to type, and a secret that protects it. Both from the system's randomness.
fn new_identity() -> Result<(PeerId, String), Failure> {
    let random =
        || getrandom::u64().map_err(|e| Failure::run(format!("the system gives no random numbers: {e}")));
    let id = PeerId::new(random()? % 1_000_000_000 + 1).unwrap_or(PeerId::MIN);
    Ok((id, format!("{:016x}{:016x}", random()?, random()?)))
}

fn show(request: &ApiRequest, reply: ApiReply, json: bool) -> Result<(), Failure> {
    if json {
        let text = serde_json::to_string_pretty(&reply).map_err(Failure::run)?;
        print(&format!("{text}\n"))?;
    } else {
        print(&text(request, &reply))?;
    }
    match reply {
        ApiReply::Error(text) if !json => Err(Failure::run(text)),
        ApiReply::Error(_) | ApiReply::Purged(false) | ApiReply::Search(ApiSearch { found: None, .. }) => {
            Err(Failure::Shown)
        }
        _ => Ok(()),
    }
}

fn text(request: &ApiRequest, reply: &ApiReply) -> String {
    let key = match request {
        ApiRequest::Find { key, .. } | ApiRequest::Purge { key } | ApiRequest::Hold { key } => key.as_str(),
        _ => "",
    };
    match reply {
        ApiReply::Registered(contact) => format!("registered as {contact}\n"),
        ApiReply::Unregistered(id) => format!("unregistered {id}\n"),
        ApiReply::Peers(peers) if peers.is_empty() => "nobody\n".into(),
        ApiReply::Peers(peers) => {
            let rows: Vec<_> = peers.iter().map(|p| vec![p.id.to_string(), p.addr().to_string()]).collect();
            table::render(&["PEER", "ADDRESS"], &rows)
        }
        ApiReply::Keys(keys) if keys.is_empty() => "nothing\n".into(),
        ApiReply::Keys(keys) => keys.iter().map(|key| format!("{key}\n")).collect(),
        ApiReply::Purged(true) => format!("purged {key}\n"),
        ApiReply::Purged(false) => format!("{key} is not held\n"),
        ApiReply::Held(true) => format!("holds {key}\n"),
        ApiReply::Held(false) => format!("held {key} already\n"),
        ApiReply::Search(search) => search_text(search),
        ApiReply::Error(_) => String::new(),
    }
}

fn search_text(search: &ApiSearch) -> String {
    let mut text = String::new();
    if !search.trace.is_empty() {
        let rows: Vec<_> = search
            .trace
            .iter()
            .map(|step| {
                let whom = match (&step.asked, step.what.as_str()) {
                    (Some(peer), _) => format!("{} at {}", peer.id, peer.addr()),
                    (None, "list") => "tracker".into(),
                    (None, _) => "itself".into(),
                };
                let took = step.took_ms.map_or("-".into(), |ms| format!("{ms:.1} ms"));
                vec![whom, step.what.clone(), took, step.answer.clone(), step.why.clone()]
            })
            .collect();
        text += &table::render(&["ASKED", "WHAT", "TOOK", "ANSWER", "WHY ASKED"], &rows);
    }
    let asked = format!("{} questions in {:.1} ms", search.questions, search.took_ms);
    // Writing to a String cannot fail.
    let _ = match (&search.found, &search.route) {
        (Some(peer), Some(route)) => writeln!(text, "found {} at {peer}: {route} ({asked})", search.key),
        (Some(peer), None) => writeln!(text, "found {} at {peer} ({asked})", search.key),
        (None, _) if search.truncated => {
            writeln!(text, "not found {}, but not everybody could be asked ({asked})", search.key)
        }
        (None, _) => writeln!(text, "nobody has {} ({asked})", search.key),
    };
    text
}
