//! `bootstrapper` and `client`: the course's own way of starting a lab run.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use askaround_core::clock::LeftOutReason;
use askaround_core::id::Contact;
use askaround_core::peer::PeerConfig;
use askaround_core::tracker::{LabConfig, TrackerConfig};
use askaround_lab::run::deliver::Desk;
use askaround_lab::run::{TRACKER_LOG, answer_timeout, log_name};
use askaround_lab::trace::diary::Diary;
use askaround_lab::{ports, script_file};
use askaround_node::network::Network;
use askaround_node::observe::Observer;
use askaround_node::peer::{Orders, PeerEnd, PeerError, PeerNode, PeerOptions};
use askaround_node::tracker::{TrackerEnd, TrackerNews, TrackerNode};

use crate::args::{Bootstrapper, Client};
use crate::exit::{Failure, Stop};
use crate::live::print;

/// Runs the tracker of a lab run.
///
/// # Errors
/// If it could not run, or not everybody came to the end.
pub async fn bootstrapper(args: Bootstrapper) -> Result<(), Failure> {
    let stop = Stop::on_signals()?;
    let network = Network::from_environment().map_err(Failure::usage)?;
    if !args.out.is_dir() {
        return Err(Failure::usage(format!("{} is not a folder", args.out.display())));
    }
    let lab = LabConfig {
        gather: args.wait,
        expect: args.expect,
        turns: args.turns.into(),
        step_timeout: args.step_timeout,
    };
    let config = TrackerConfig { lab: Some(lab), ..TrackerConfig::default() };
    let log = Some(args.out.join(TRACKER_LOG));
    let node = TrackerNode::bind(network, args.listen, config, Default::default(), log).map_err(|e| {
        Failure::run(format!(
            "cannot listen on {}: {e}; is another tracker running? see --listen",
            args.listen
        ))
    })?;
    let expected = args.expect.map_or(String::new(), |n| format!(", or until {n} have come"));
    print(&format!("waiting {} s for clients on {}{expected}\n", args.wait.as_secs_f64(), args.listen))?;
    let diary = args.diary.as_ref().map(|_| Diary::default());
    let node = node.observed(observer(diary.as_ref()));
    let end = node.run(stop.token().clone(), |news| match news {
        TrackerNews::Log(entry) => tracing::info!("timestep {} is over", entry.time),
        TrackerNews::LeftOut { id, time, why } => {
            let why = match why {
                LeftOutReason::ConnectionBroke => "its connection broke",
                LeftOutReason::TimedOut => "it took too long",
            };
            crate::plain::say!("client {id} was left out in timestep {time}: {why}");
        }
    });
    let end = end.await;
    write(diary, args.diary.as_deref()).await?;
    match end.map_err(|e| Failure::run(format!("cannot write {TRACKER_LOG}: {e}")))? {
        TrackerEnd::Stopped => Err(stop.failure()),
        TrackerEnd::Finished { clocked: 0, .. } => Err(Failure::run("no client registered")),
        TrackerEnd::Finished { clocked, .. } if args.expect.is_some_and(|n| clocked < n) => {
            let clients = if clocked == 1 { "client" } else { "clients" };
            Err(Failure::run(format!("only {clocked} {clients} registered in time")))
        }
        TrackerEnd::Finished { left_out: 0, .. } => Ok(()),
        TrackerEnd::Finished { .. } => Err(Failure::Shown(1)),
    }
}

/// Runs one scripted peer.
///
/// # Errors
/// If its script is unusable, or it did not come to the end.
pub async fn client(args: Client) -> Result<(), Failure> {
    let network = Network::from_environment().map_err(Failure::usage)?;
    // Before signals are ours: a file may be a pipe that nobody writes to.
    let (file, tracker) = read(&args)?;
    let stop = Stop::on_signals()?;
    for warning in &file.warnings {
        crate::plain::say!("client: {warning}");
    }
    let script = file.script;
    let id = script.id;
    if !args.out.is_dir() {
        return Err(Failure::usage(format!("{} is not a folder", args.out.display())));
    }
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let (listener, addr) = match args.port {
        None => ports::listen(network, id),
        Some(port) => network.listen(SocketAddr::new(ip, port)).and_then(|listener| {
            let port = listener.local_addr()?.port();
            Ok((listener, SocketAddr::new(ip, port)))
        }),
    }
    .map_err(|e| Failure::run(format!("cannot listen as client {id}: {e}")))?;
    let diary = args.diary.as_ref().map(|_| Diary::default());
    let mut options = PeerOptions {
        network,
        tracker: Some(tracker),
        keep_connections: 16,
        log: Some(args.out.join(log_name(id))),
        patience: args.wait,
        observer: observer(diary.as_ref()),
        ..PeerOptions::default()
    };
    let mut config = PeerConfig {
        advertised_ip: Some(ip),
        ask_timeout: answer_timeout(args.step_timeout),
        ..PeerConfig::default()
    };
    let me = Contact::new(id, addr);
    let desk = match &args.deliver {
        Some(folder) => {
            let opened = Desk::open(folder, me, &script, &mut options, &mut config).await;
            Some(opened.map_err(Failure::usage)?)
        }
        None => None,
    };
    let node = PeerNode::scripted(listener, me, config, script, options);
    let end = node.run(stop.token().clone(), Orders::none(), |_| {}).await;
    write(diary, args.diary.as_deref()).await?;
    if let Some(desk) = desk {
        let closed = desk.close().await;
        closed.map_err(|e| Failure::run(format!("client {id}: cannot note what was delivered: {e}")))?;
    }
    match end {
        Ok(PeerEnd::Finished) => Ok(()),
        Ok(PeerEnd::Stopped) => Err(stop.failure()),
        Ok(PeerEnd::Failed(reason)) => Err(Failure::run(format!("client {id}: {reason}"))),
        Err(error @ PeerError::NoTracker { .. }) => {
            Err(Failure::run(format!("client {id}: {error}; start the bootstrapper first")))
        }
        Err(error) => Err(Failure::run(format!("client {id}: {error}"))),
    }
}

fn observer(diary: Option<&Diary>) -> Observer {
    diary.map(Diary::observer).unwrap_or_default()
}

/// Writes the diary of a node that has ended.
async fn write(diary: Option<Diary>, path: Option<&Path>) -> Result<(), Failure> {
    let (Some(diary), Some(path)) = (diary, path) else { return Ok(()) };
    let written = diary.write(path).await;
    written.map_err(|e| Failure::run(format!("cannot write {}: {e}", path.display())))
}

fn read(args: &Client) -> Result<(script_file::ScriptFile, SocketAddr), Failure> {
    if let Some(file) = &args.file {
        return Ok((script_file::read_json(file).map_err(Failure::usage)?, args.tracker));
    }
    let (Some(id), Some(ip), Some(port), Some(content), Some(script)) =
        (args.id, args.tracker_ip, args.tracker_port, &args.content_file, &args.script_file)
    else {
        return Err(Failure::usage(
            "expected --file, or ID TRACKER_IP TRACKER_PORT CONTENT_FILE SCRIPT_FILE",
        ));
    };
    let file = script_file::read_lines(id, content, script).map_err(Failure::usage)?;
    Ok((file, SocketAddr::new(ip, port)))
}
