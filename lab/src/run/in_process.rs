//! All nodes in this process, over real sockets.

use std::path::Path;

use askaround_core::clock::LeftOutReason;
use askaround_core::id::Contact;
use askaround_core::peer::PeerConfig;
use askaround_core::tracker::TrackerConfig;
use askaround_node::peer::{Orders, PeerEnd, PeerNode, PeerOptions};
use askaround_node::tracker::{TrackerEnd, TrackerNews, TrackerNode};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::deliver::Desk;
use super::{
    RunError, RunNews, RunOptions, RunReport, TRACKER, TRACKER_LOG, answer_timeout, lab_config, log_name,
};
use crate::loopback::Loopback;
use crate::ports;
use crate::scenario::Scenario;
use crate::trace::Host;

/// All peers together keep about so many idle connections, well below what a process may open.
const KEPT_CONNECTIONS: usize = 2000;

pub(super) async fn run(
    scenario: &Scenario,
    options: &RunOptions,
    content: Option<&Path>,
    loopback: &Loopback,
    stop: &CancellationToken,
    news: &mut (dyn FnMut(RunNews) + Send),
) -> Result<RunReport, RunError> {
    let network = loopback.network();
    let config = TrackerConfig { lab: Some(lab_config(scenario, options)), ..TrackerConfig::default() };
    let log = Some(options.out.join(TRACKER_LOG));
    let observer = |host, at| options.watcher.as_ref().map(|w| w.observer(host, at)).unwrap_or_default();
    let tracker = TrackerNode::bind(network, TRACKER, config, Default::default(), log)
        .map_err(RunError::system("listen as the tracker"))?
        .observed(observer(Host::Tracker, TRACKER));
    let peers_stop = stop.child_token();
    let mut peers = JoinSet::new();
    let assigned = ports::assign(scenario.scripts.iter().map(|(_, script)| script.id));
    for ((_, script), addr) in scenario.scripts.iter().zip(assigned) {
        let id = script.id;
        let listening = ports::listen_as_assigned(network, id, addr);
        let (listener, addr) = listening.map_err(RunError::system(format!(
            "listen as client {id} (is the limit on open files too low?)"
        )))?;
        let mut node_options = PeerOptions {
            network,
            tracker: Some(TRACKER),
            keep_connections: (KEPT_CONNECTIONS / scenario.scripts.len()).min(16),
            log: Some(options.out.join(log_name(id))),
            patience: options.gather,
            observer: observer(Host::Peer(id), addr),
            ..PeerOptions::default()
        };
        let mut config = PeerConfig {
            advertised_ip: Some(TRACKER.ip()),
            ask_timeout: answer_timeout(options.step_timeout),
            ..PeerConfig::default()
        };
        let me = Contact::new(id, addr);
        let desk = match content {
            Some(content) => Some(Desk::open(content, me, script, &mut node_options, &mut config).await?),
            None => None,
        };
        let node = PeerNode::scripted(listener, me, config, script.clone(), node_options);
        let stop = peers_stop.clone();
        peers.spawn(async move {
            let end = node.run(stop, Orders::none(), |_| {}).await;
            let noted = match desk {
                Some(desk) => desk.close().await,
                None => Ok(()),
            };
            (id, end, noted)
        });
    }
    let mut troubles = Vec::new();
    let mut trouble = |text: String, news: &mut (dyn FnMut(RunNews) + Send)| {
        news(RunNews::Trouble(text.clone()));
        troubles.push(text);
    };
    let expected = scenario.scripts.len();
    let mut on_news = |tracker_news| match tracker_news {
        TrackerNews::Log(entry) => news(RunNews::TimestepOver(entry.time)),
        TrackerNews::LeftOut { id, time, why } => {
            let why = match why {
                LeftOutReason::ConnectionBroke => "its connection broke",
                LeftOutReason::TimedOut => "it took too long",
            };
            trouble(format!("client {id} was left out in timestep {time}: {why}"), news);
        }
    };
    let end =
        tracker.run(stop.clone(), &mut on_news).await.map_err(RunError::system("write the tracker's log"))?;
    if let TrackerEnd::Finished { clocked, .. } = end
        && clocked < expected
    {
        trouble(format!("only {clocked} of {expected} clients registered"), news);
        peers_stop.cancel();
    }
    while let Some(joined) = peers.join_next().await {
        match joined {
            Ok((_, Ok(PeerEnd::Finished | PeerEnd::Stopped), Ok(()))) => {}
            Ok((id, Ok(PeerEnd::Failed(reason)), _)) => trouble(format!("client {id}: {reason}"), news),
            Ok((id, Err(error), _)) => trouble(format!("client {id}: {error}"), news),
            Ok((id, _, Err(error))) => trouble(format!("client {id}: {error}"), news),
            Err(bug) => trouble(format!("a bug of ours: {bug}"), news),
        }
    }
    Ok(RunReport { troubles, stopped: end == TrackerEnd::Stopped, deliveries: None })
}
