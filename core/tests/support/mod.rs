//! A swarm in virtual time: [`Download`] and [`Upload`] behind uplinks and downlinks.

mod crowd;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use askaround_core::Instant;
use askaround_core::download::{
    Download, DownloadConfig, DownloadInput, DownloadOutput, Listener, SourceId, SubscriberId,
};
use askaround_core::pieces::{PieceSet, Root};
use askaround_core::upload::{Grant, Served, Upload, UploadConfig, UploadInput, Want, Wish};

pub(crate) use crowd::{Crowd, Report};

const CONTENT: Served = Served { root: Root::new([1; 32]), files: false };

/// One connection: `to` asks `from`. It is numbered by its place, which is also the number of the
/// source at `to`, of the subscriber at `from`, and of the connection at `from`.
struct Link {
    from: usize,
    to: usize,
    /// Requests that wait at `from`, in order.
    waiting: std::collections::VecDeque<(u32, bool)>,
    /// Whether the first of them is with the [`Upload`].
    due: bool,
    sending: bool,
    open: bool,
    /// When the last piece arrives that was sent.
    arrives: Instant,
}

struct Node {
    download: Option<Download>,
    upload: Upload,
    up: f64,
    down: f64,
    uplink_free: Instant,
    downlink_free: Instant,
    timer: Option<Instant>,
    finished: Option<Instant>,
    left: bool,
    idle: bool,
    sent: BTreeSet<u32>,
    sent_count: u64,
}

enum Event {
    /// At the asked side.
    Ask(usize, u32, bool),
    Cancel(usize, u32),
    Known(usize, Vec<u32>),
    /// At the asked side: the piece has left the uplink.
    Left(usize),
    /// At the asking side.
    Begun(usize, u32, u32),
    Arrived(usize, u32),
    Cancelled(usize, u32),
    News(usize, Vec<u32>),
    Closed(usize),
    /// At the asked side.
    Unsubscribed(usize),
    Timer(usize),
}

pub(crate) struct Swarm {
    crowd: Crowd,
    now: Instant,
    queue: BTreeMap<(Instant, u64), Event>,
    sent: u64,
    nodes: Vec<Node>,
    links: Vec<Link>,
    report: Report,
}

fn addr(node: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, (node >> 8) as u8, node as u8], 7))
}

impl Swarm {
    /// Node 0 is the holder.
    pub(crate) fn new(crowd: &Crowd) -> Self {
        let lengths = vec![crowd.piece_bytes; crowd.pieces as usize];
        let node = |i: usize| Node {
            download: (i > 0).then(|| {
                let config = DownloadConfig {
                    seed: crowd.seed + i as u64,
                    longest_stay: crowd.longest_stay,
                    ..DownloadConfig::default()
                };
                Download::new(config, lengths.clone(), PieceSet::empty(crowd.pieces))
            }),
            upload: Upload::new(UploadConfig { slots: None, seed: i as u64 }),
            up: if i == 0 { crowd.seed_up } else { crowd.up },
            down: crowd.down,
            uplink_free: Instant::ZERO,
            downlink_free: Instant::ZERO,
            timer: None,
            finished: None,
            left: false,
            idle: false,
            sent: BTreeSet::new(),
            sent_count: 0,
        };
        let mut swarm = Self {
            crowd: crowd.clone(),
            now: Instant::ZERO,
            queue: BTreeMap::new(),
            sent: 0,
            nodes: (0..=crowd.fetchers).map(node).collect(),
            links: Vec::new(),
            report: Report {
                finished: 0,
                last_seconds: 0.0,
                duplicates: 0,
                seed_sent: 0,
                news: 0,
                events: 0,
            },
        };
        swarm.connect();
        swarm
    }

    /// Everybody knows the holder; fetchers know each other both ways, by chance.
    fn connect(&mut self) {
        let mut random = fastrand::Rng::with_seed(self.crowd.seed);
        let n = self.crowd.fetchers;
        let mut pairs = BTreeSet::new();
        for one in 1..=n {
            if n - 1 <= self.crowd.neighbours {
                pairs.extend(
                    (1..=n).filter(|other| *other != one).map(|other| (one.min(other), one.max(other))),
                );
                continue;
            }
            for _ in 0..self.crowd.neighbours / 2 {
                let other = random.usize(1..=n);
                if other != one {
                    pairs.insert((one.min(other), one.max(other)));
                }
            }
        }
        for to in 1..=n {
            self.open(0, to);
        }
        for (one, other) in pairs {
            self.open(one, other);
            self.open(other, one);
        }
    }

    fn open(&mut self, from: usize, to: usize) {
        let link = self.links.len();
        self.links.push(Link {
            from,
            to,
            waiting: Default::default(),
            due: false,
            sending: false,
            open: true,
            arrives: Instant::ZERO,
        });
        let pieces = match &self.nodes[from].download {
            Some(download) => download.have().clone(),
            None => PieceSet::full(self.crowd.pieces),
        };
        if from > 0 {
            let subscriber = link as SubscriberId;
            self.download(from, DownloadInput::Subscribed { subscriber, addr: Some(addr(to)) });
        }
        self.download(
            to,
            DownloadInput::Opened { source: link as SourceId, addr: addr(from), pieces, holds: from == 0 },
        );
    }

    pub(crate) fn run(mut self) -> Report {
        while let Some(((at, _), event)) = self.queue.pop_first() {
            assert!(at.as_nanos() < 3_600_000_000_000, "an hour is not enough: {:?}", self.report);
            self.now = at;
            self.report.events += 1;
            self.happens(event);
        }
        self.report.seed_sent = self.nodes[0].sent_count;
        self.report
    }

    fn at(&mut self, at: Instant, event: Event) {
        self.sent += 1;
        self.queue.insert((at, self.sent), event);
    }

    fn later(&mut self, event: Event) {
        self.at(self.now + self.crowd.latency, event);
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Ask(link, piece, any) => {
                if self.links[link].open {
                    self.links[link].waiting.push_back((piece, any));
                    self.next_request(link);
                }
            }
            Event::Cancel(link, piece) => {
                let waiting = &mut self.links[link].waiting;
                if let Some(at) = waiting.iter().position(|(p, _)| *p == piece) {
                    let due = at == 0 && self.links[link].due;
                    if due {
                        self.links[link].due = false;
                        self.upload(self.links[link].from, UploadInput::Unwanted(link as u64));
                    }
                    self.links[link].waiting.remove(at);
                    self.later(Event::Cancelled(link, piece));
                    self.next_request(link);
                }
            }
            Event::Known(link, pieces) => {
                let input = UploadInput::Knows {
                    connection: link as u64,
                    served: CONTENT,
                    count: self.crowd.pieces,
                    pieces,
                };
                self.upload(self.links[link].from, input);
            }
            Event::Left(link) => {
                self.links[link].sending = false;
                let (connection, bytes) = (link as u64, self.crowd.piece_bytes.into());
                let input = UploadInput::Sent { connection, bytes, at: self.now };
                self.upload(self.links[link].from, input);
                self.next_request(link);
            }
            Event::Begun(link, piece, asked) => {
                let source = link as SourceId;
                self.download(self.links[link].to, DownloadInput::Begun { source, piece, asked });
            }
            Event::Arrived(link, piece) => {
                let Link { from, to, .. } = self.links[link];
                if from > 0 && self.nodes[from].left {
                    // It was cut off.
                    return;
                }
                if self.nodes[to].download.as_ref().is_some_and(|d| d.have().contains(piece)) {
                    self.report.duplicates += 1;
                }
                let bytes = self.crowd.piece_bytes.into();
                self.download(to, DownloadInput::Progress(link as SourceId, bytes));
                self.download(to, DownloadInput::Got(link as SourceId, piece));
            }
            Event::Cancelled(link, piece) => {
                self.download(self.links[link].to, DownloadInput::Refused(link as SourceId, piece));
            }
            Event::News(link, pieces) => {
                self.download(self.links[link].to, DownloadInput::News(link as SourceId, pieces));
            }
            Event::Closed(link) => {
                self.download(self.links[link].to, DownloadInput::Closed(link as SourceId));
            }
            Event::Unsubscribed(link) => {
                self.stop_sending(link);
                let subscriber = link as SubscriberId;
                self.download(self.links[link].from, DownloadInput::Unsubscribed(subscriber));
            }
            Event::Timer(node) => {
                if self.nodes[node].timer == Some(self.now) {
                    self.nodes[node].timer = None;
                    self.download(node, DownloadInput::Timeout);
                }
            }
        }
    }

    /// Hands the first request of a connection to the machine that gives turns.
    fn next_request(&mut self, link: usize) {
        let state = &mut self.links[link];
        if state.due || state.sending {
            return;
        }
        let Some((piece, any)) = state.waiting.front().copied() else { return };
        state.due = true;
        let from = state.from;
        let complete = self.nodes[from].download.is_none();
        let copies = self.nodes[from].download.as_ref().map_or(0, |download| download.copies(piece));
        let to = addr(self.links[link].to);
        let has =
            self.nodes[from].download.as_ref().and_then(|download| download.progress_of(to)).unwrap_or(0);
        let count = self.crowd.pieces;
        let wishes = vec![Wish { piece: Some(piece), any }];
        let want = Want { from: to.ip(), served: CONTENT, count, complete, wishes, copies, has };
        self.upload(from, UploadInput::Wants(link as u64, want));
    }

    fn upload(&mut self, node: usize, input: UploadInput) {
        self.nodes[node].upload.handle(input);
        while let Some(Grant { connection, pieces }) = self.nodes[node].upload.poll_output() {
            let link = connection as usize;
            let (asked, _) = self.links[link].waiting.pop_front().expect("a request was granted");
            (self.links[link].due, self.links[link].sending) = (false, true);
            self.send(link, pieces[0].unwrap_or(asked), asked);
        }
        let idle = self.nodes[node].upload.is_idle();
        if idle != self.nodes[node].idle {
            self.nodes[node].idle = idle;
            self.download(node, DownloadInput::UplinkIdle(idle));
        }
    }

    fn send(&mut self, link: usize, piece: u32, asked: u32) {
        let (from, to) = (self.links[link].from, self.links[link].to);
        let bits = f64::from(self.crowd.piece_bytes) * 8.0;
        let node = &mut self.nodes[from];
        let begins = node.uplink_free.max(self.now);
        let left = begins + Duration::from_secs_f64(bits / node.up);
        node.uplink_free = left;
        node.sent.insert(piece);
        node.sent_count += 1;
        let everything = from == 0 && node.sent.len() == self.crowd.pieces as usize;
        let receiver = &mut self.nodes[to];
        let through = receiver.downlink_free.max(begins) + Duration::from_secs_f64(bits / receiver.down);
        let arrives = through.max(left) + self.crowd.latency;
        receiver.downlink_free = through;
        self.links[link].arrives = arrives;
        self.at(begins + self.crowd.latency, Event::Begun(link, piece, asked));
        self.at(left, Event::Left(link));
        self.at(arrives, Event::Arrived(link, piece));
        if everything && self.crowd.seed_leaves {
            self.leave();
        }
    }

    /// The holder takes nothing any more; what it is sending still arrives.
    fn leave(&mut self) {
        for link in 0..self.links.len() {
            if self.links[link].from == 0 {
                self.stop_sending(link);
                let closes = self.links[link].arrives.max(self.now + self.crowd.latency);
                self.at(closes, Event::Closed(link));
            }
        }
    }

    /// A fetcher ends, in the middle of whatever it is sending.
    fn end(&mut self, node: usize) {
        self.nodes[node].left = true;
        for link in 0..self.links.len() {
            if self.links[link].from == node {
                self.stop_sending(link);
                self.later(Event::Closed(link));
            } else if self.links[link].to == node {
                self.later(Event::Unsubscribed(link));
            }
        }
    }

    fn stop_sending(&mut self, link: usize) {
        let Link { from, .. } = self.links[link];
        self.links[link].open = false;
        self.links[link].waiting.clear();
        if std::mem::take(&mut self.links[link].due) {
            self.upload(from, UploadInput::Unwanted(link as u64));
        }
    }

    fn download(&mut self, node: usize, input: DownloadInput) {
        let Node { download: Some(download), left: false, .. } = &mut self.nodes[node] else { return };
        download.handle(self.now, input);
        while let Some(output) = self.nodes[node].download.as_mut().and_then(Download::poll_output) {
            match output {
                DownloadOutput::Ask { source, piece, any } => {
                    self.later(Event::Ask(source as usize, piece, any));
                }
                DownloadOutput::Cancel(source, piece) => self.later(Event::Cancel(source as usize, piece)),
                DownloadOutput::Tell(Listener::Subscriber(link), pieces) => {
                    self.report.news += 1;
                    self.later(Event::News(link as usize, pieces));
                }
                DownloadOutput::Tell(Listener::Source(link), pieces) => {
                    self.later(Event::Known(link as usize, pieces));
                }
                DownloadOutput::Drop(source, why) => panic!("source {source}: {why}"),
                DownloadOutput::Done => {
                    self.report.finished += 1;
                    self.report.last_seconds = self.now.since(Instant::ZERO).as_secs_f64();
                    self.nodes[node].finished = Some(self.now);
                }
                DownloadOutput::Unneeded => {
                    if self.crowd.longest_stay.is_some() {
                        self.end(node);
                        return;
                    }
                }
            }
        }
        let wanted = self.nodes[node].download.as_ref().and_then(Download::poll_timeout);
        if let Some(at) = wanted
            && self.nodes[node].timer.is_none_or(|armed| at < armed)
        {
            self.nodes[node].timer = Some(at.max(self.now));
            self.at(at.max(self.now), Event::Timer(node));
        }
    }
}
