//! A search that asks 1,000 live peers over loopback, serially and 16 at once.

use std::net::SocketAddr;

use askaround_core::id::{Contact, PeerId};
use askaround_core::message::{Message, Register, Request, VERSION};
use askaround_core::peer::{Outcome, PeerConfig};
use askaround_core::script::Action;
use askaround_core::search::SearchConfig;
use askaround_core::tracker::TrackerConfig;
use askaround_core::wire::encode;
use askaround_node::network::Network;
use askaround_node::peer::{PeerHandle, PeerNode, PeerOptions};
use askaround_node::server::ServerConfig;
use askaround_node::tracker::TrackerNode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::{RUNS, Row, median};

const PEERS: u64 = 1000;

pub(super) fn search(rows: &mut Vec<Row>) -> Result<(), String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(measure(rows))
}

async fn measure(rows: &mut Vec<Row>) -> Result<(), String> {
    let any: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 0));
    let text = |e: std::io::Error| e.to_string();
    let stop = CancellationToken::new();
    let tracker =
        TrackerNode::bind(Network::default(), any, TrackerConfig::default(), ServerConfig::default(), None)
            .map_err(text)?;
    let at = tracker.addr().map_err(text)?;
    let mut tasks = tokio::task::JoinSet::new();
    let tracker_stop = stop.clone();
    tasks.spawn(async move { tracker.run(tracker_stop, |_| {}).await.map(drop).map_err(text) });
    let mut peers = Vec::new();
    for n in 1..=PEERS + 1 {
        let id = PeerId::new(n).map_err(|e| e.to_string())?;
        let listener = Network::default().listen(any).map_err(text)?;
        let addr = listener.local_addr().map_err(text)?;
        let options = PeerOptions { keep_connections: 2, ..PeerOptions::default() };
        let config = PeerConfig { has_tracker: false, ..PeerConfig::default() };
        let node =
            PeerNode::live(listener, Contact::new(id, addr), config, options).map_err(|e| e.to_string())?;
        let (peer, orders) = PeerHandle::new();
        let stop = stop.clone();
        tasks.spawn(async move { node.run(stop, orders, |_| {}).await.map(drop).map_err(|e| e.to_string()) });
        peers.push(peer);
        register(at, id, addr.port()).await.map_err(text)?;
    }
    let mut serial = 0.0;
    for width in [1, 16] {
        let listener = Network::default().listen(any).map_err(text)?;
        let me = Contact::new(PeerId::MAX, listener.local_addr().map_err(text)?);
        let search = SearchConfig { width, ..SearchConfig::default() };
        let options = PeerOptions { tracker: Some(at), keep_connections: 16, ..PeerOptions::default() };
        let config = PeerConfig { has_tracker: false, search, ..PeerConfig::default() };
        let node = PeerNode::live(listener, me, config, options).map_err(|e| e.to_string())?;
        let (peer, orders) = PeerHandle::new();
        let stop = stop.clone();
        tasks.spawn(async move { node.run(stop, orders, |_| {}).await.map(drop).map_err(|e| e.to_string()) });
        let (mut took, mut questions) = (Vec::new(), 0);
        for _ in 0..RUNS {
            let key = "nowhere".parse().map_err(|e| format!("{e}"))?;
            let Ok(Outcome::Found { report, .. }) = peer.command(Action::Find(key), false).await else {
                return Err("the search gave no report".into());
            };
            took.push(report.took.as_secs_f64() * 1000.0);
            questions = report.questions;
        }
        let figure = median(took);
        let against = if width == 1 { "-".into() } else { format!("width 1: x{:.2}", figure / serial) };
        serial = figure;
        rows.push(Row {
            name: format!("search of 1,001 live peers, width {width}"),
            figure,
            unit: "ms",
            against,
            note: format!("{questions} questions; the peers share this process"),
        });
    }
    stop.cancel();
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|e| e.to_string())??;
    }
    Ok(())
}

async fn register(tracker: SocketAddr, id: PeerId, port: u16) -> std::io::Result<()> {
    let mut stream = tokio::net::TcpStream::connect(tracker).await?;
    let mut out = Vec::new();
    encode(&Message::Version(VERSION), &mut out);
    let register = Register { id, ip: None, port, token: None, list: None, script_end: None };
    encode(&Message::Request(Request::Register(register)), &mut out);
    stream.write_all(&out).await?;
    let mut answer = [0; 256];
    stream.read(&mut answer).await.map(drop)
}
