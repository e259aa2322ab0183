//! The limits of the live nodes as options; docs/limits.md lists them all.

use std::time::Duration;

use askaround_core::peer::PeerConfig;
use askaround_core::registry::RegistryConfig;
use askaround_core::search::SearchConfig;
use askaround_node::delivery::DeliveryOptions;
use askaround_node::server::ServerConfig;
use askaround_node::transfer::source::SourceLimits;
use clap::Args;

/// Files that a node needs for other things than the connections that it accepts.
const OTHER_FILES: u64 = 256;
/// A file of a folder that is fetched takes up to four: its data, its journal, its folder, and one that
/// is copied. There have to be some such files.
const MIN_OPEN_FILES: usize = 12;
/// Where the system lets a peer open few files, it shares them out: of so many one is a source's, ...
const FILES_A_SOURCE: u64 = 10;
/// ... and of so many one an idle connection's.
const FILES_A_KEPT: u64 = 16;

/// Limits of whoever accepts connections.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits of connections")]
pub struct ServerLimits {
    /// The most connections at once; beyond it the one that has been idle longest is closed
    #[arg(long, value_name = "N", default_value_t = 8192, value_parser = connections, env = "ASKAROUND_MAX_CONNECTIONS")]
    pub max_connections: usize,
    /// Seconds that the first message, the rest of a line, or the reading of an answer may take
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = wait, env = "ASKAROUND_MESSAGE_TIMEOUT")]
    pub message_timeout: Duration,
    /// Seconds that a connection may say nothing
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = wait, env = "ASKAROUND_IDLE_TIMEOUT")]
    pub idle_timeout: Duration,
}

impl ServerLimits {
    /// The same for the server, and no more connections than the system has room for
    /// ([`connections_of_tracker`], [`ContentLimits::connections`]).
    pub fn config(&self, room: usize) -> ServerConfig {
        ServerConfig {
            max_connections: self.max_connections.min(room),
            message_timeout: self.message_timeout,
            idle_timeout: self.idle_timeout,
        }
    }

    /// What to tell whoever starts a node, if there is room for fewer connections.
    pub fn shortage(&self, room: usize) -> Option<String> {
        (self.max_connections > room).then(|| {
            format!(
                "at most {room} connections at once, not {}: the limit on open files is {} (see ulimit -n)",
                self.max_connections,
                files()
            )
        })
    }
}

/// How many files the system lets this program open.
fn files() -> u64 {
    rlimit::Resource::NOFILE.get_soft().unwrap_or(u64::MAX)
}

/// What to tell whoever has a peer for the time of a command, if very few files may be open.
pub fn few_files() -> Option<String> {
    let files = files();
    (files < OTHER_FILES).then(|| {
        format!(
            "only {files} files can be open at once (see ulimit -n): what needs more may be slow, or fail"
        )
    })
}

/// As a number of things, of which there is at least one.
fn some(files: u64) -> usize {
    usize::try_from(files).unwrap_or(usize::MAX).max(1)
}

/// How many connections the system allows a tracker: half of its files at least are theirs.
pub fn connections_of_tracker() -> usize {
    let files = files();
    some(files.saturating_sub(OTHER_FILES).max(files / 2))
}

/// Limits of a tracker's list.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits of the list")]
pub struct RegistryLimits {
    /// Seconds that a registration lasts unless renewed
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = clap::value_parser!(u32).range(3..=86_400), env = "ASKAROUND_LEASE")]
    pub lease: u32,
    /// The most entries that are kept, registered or not
    #[arg(long, value_name = "N", default_value_t = 2_000_000, value_parser = entries, env = "ASKAROUND_MAX_PEERS")]
    pub max_peers: usize,
    /// The most entries that are kept from one IP address [default: as --max-peers]
    #[arg(long, value_name = "N", value_parser = entries, env = "ASKAROUND_MAX_PEERS_PER_IP")]
    pub max_peers_per_ip: Option<usize>,
    /// Seconds that a peer that is no longer registered can still be looked up
    #[arg(long, value_name = "SECONDS", default_value = "86400", value_parser = wait, env = "ASKAROUND_FORGET_AFTER")]
    pub forget_after: Duration,
}

impl RegistryLimits {
    /// The same for the registry.
    pub fn config(&self) -> RegistryConfig {
        RegistryConfig {
            lease: Some(Duration::from_secs(self.lease.into())),
            forget_after: self.forget_after,
            max_entries: self.max_peers,
            max_entries_per_ip: self.max_peers_per_ip.unwrap_or(self.max_peers),
        }
    }
}

/// Limits of what delivering content costs.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits of content")]
pub struct ContentLimits {
    /// Memory for pieces on their way, of all fetches, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 32, value_parser = mebibytes, env = "ASKAROUND_PIECE_MEMORY")]
    pub piece_memory: usize,
    /// How many connections are sent content at the same time; others wait their turn [default: one
    /// for each 10 Mbit/s that leave, from 2 to 4]
    #[arg(long, value_name = "N", value_parser = slots, env = "ASKAROUND_UPLOAD_SLOTS")]
    pub upload_slots: Option<usize>,
    /// The most pieces that are asked of one source and have not come
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = in_flight, env = "ASKAROUND_MAX_IN_FLIGHT")]
    pub max_in_flight: usize,
    /// The most files of folders that are open while the folders are fetched; others are opened when
    /// something of them comes
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = open_files, env = "ASKAROUND_MAX_OPEN_FILES")]
    pub max_open_files: usize,
    /// The most sources of one fetch
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = slots, env = "ASKAROUND_MAX_SOURCES")]
    pub max_sources: usize,
    /// Seconds that a source may take to answer, or for the next 16 KiB of a piece
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = wait, env = "ASKAROUND_SOURCE_TIMEOUT")]
    pub source_timeout: Duration,
    /// Seconds that a fetch that has begun waits for somebody who has what is missing, when none of
    /// its sources has it
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = stay, env = "ASKAROUND_HOLDER_TIMEOUT")]
    pub holder_timeout: Duration,
}

impl ContentLimits {
    /// The same for the delivery.
    pub fn options(&self) -> DeliveryOptions {
        let defaults = DeliveryOptions::default();
        let source_limits = SourceLimits { answer_timeout: self.source_timeout, ..defaults.source_limits };
        DeliveryOptions {
            memory: self.piece_memory << 20,
            upload_slots: self.upload_slots,
            max_sources: self.max_sources.min(some(files() / FILES_A_SOURCE)),
            max_in_flight: self.max_in_flight,
            max_open_files: self.open_files(),
            holder_timeout: self.holder_timeout,
            source_limits,
            ..defaults
        }
    }

    /// Files that may be open for fetches: no more than leave most to connections.
    fn open_files(&self) -> usize {
        self.max_open_files.min(some(files() / 4))
    }

    /// How many connections the system allows a peer: one that is sent content has a file open. A
    /// quarter of its files at least are theirs.
    pub fn connections(&self) -> usize {
        let files = files();
        let others = OTHER_FILES + self.open_files() as u64;
        some(files.saturating_sub(others).max(files / 4) / 2)
    }
}

/// Limits of what a peer asks of others.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits of asking")]
pub struct AskLimits {
    /// How many peers a search asks at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = width, env = "ASKAROUND_WIDTH")]
    pub width: usize,
    /// Seconds that somebody may take to answer
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = wait, env = "ASKAROUND_ASK_TIMEOUT")]
    pub ask_timeout: Duration,
    /// Seconds that a verb may take altogether
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = wait, env = "ASKAROUND_VERB_TIMEOUT")]
    pub verb_timeout: Duration,
    /// The longest list that is put together from somebody's answers, in entries
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = entries, env = "ASKAROUND_MAX_LIST")]
    pub max_list: usize,
    /// The most peers that one search puts on its lists
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = entries, env = "ASKAROUND_MAX_ASKED")]
    pub max_asked: usize,
    /// The most pages of a list that one peer is asked for
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = entries, env = "ASKAROUND_MAX_PAGES")]
    pub max_pages: usize,
    /// How many idle connections to other peers are kept for the next question
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = kept, env = "ASKAROUND_KEEP_CONNECTIONS")]
    pub keep_connections: usize,
}

impl AskLimits {
    /// How many idle connections are kept, and no more than leave most files to others.
    pub fn kept(&self) -> usize {
        self.keep_connections.min(some(files() / FILES_A_KEPT))
    }

    /// The same for the peer's machine.
    pub fn config(&self) -> PeerConfig {
        PeerConfig {
            search: SearchConfig {
                width: self.width,
                max_peers: self.max_asked,
                max_pages: self.max_pages,
                ask_silent: false,
                ..SearchConfig::default()
            },
            ask_timeout: self.ask_timeout,
            operation_timeout: self.verb_timeout,
            max_list: self.max_list,
            ..PeerConfig::default()
        }
    }
}

/// A wait that ends: a fraction of a second to a year.
fn wait(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|s| (0.01..=31_536_000.0).contains(s));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "expected a number of seconds from 0.01 to 31536000".into())
}

/// The same, or no wait at all; a day is enough.
pub fn stay(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|s| (0.0..=86_400.0).contains(s));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "expected a number of seconds from 0 to 86400".into())
}

fn whole(text: &str, low: usize, high: usize) -> Result<usize, String> {
    let number = text.parse().ok().filter(|n| (low..=high).contains(n));
    number.ok_or_else(|| format!("expected a whole number from {low} to {high}"))
}

fn width(text: &str) -> Result<usize, String> {
    whole(text, 1, 256)
}

fn mebibytes(text: &str) -> Result<usize, String> {
    whole(text, 4, 1 << 20)
}

fn slots(text: &str) -> Result<usize, String> {
    whole(text, 1, 1024)
}

/// With less than two a source waits for us after each piece.
fn in_flight(text: &str) -> Result<usize, String> {
    whole(text, 2, 256)
}

fn open_files(text: &str) -> Result<usize, String> {
    whole(text, MIN_OPEN_FILES, 100_000)
}

fn connections(text: &str) -> Result<usize, String> {
    whole(text, 1, 1_000_000)
}

fn entries(text: &str) -> Result<usize, String> {
    whole(text, 1, 100_000_000)
}

fn kept(text: &str) -> Result<usize, String> {
    whole(text, 0, 100_000)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Askaround, Command};

    fn parse(words: &str) -> Command {
        Askaround::try_parse_from(words.split(' ')).unwrap().command
    }

    #[test]
    fn each_option_sets_its_own_limit() {
        let words = "askaround peer --width 2 --ask-timeout 3 --verb-timeout 4 --max-list 5 --max-asked 6 \
                     --max-pages 7 --keep-connections 8 --max-connections 9 --message-timeout 10.5 \
                     --idle-timeout 11 --piece-memory 16 --upload-slots 17 --max-sources 18 \
                     --source-timeout 19 --max-in-flight 20 --max-open-files 21 --holder-timeout 22";
        let Command::Peer(args) = parse(words) else { panic!() };
        let config = args.node.asking.config();
        let search = &config.search;
        assert_eq!((search.width, search.max_peers, search.max_pages), (2, 6, 7));
        let seconds = (config.ask_timeout.as_secs(), config.operation_timeout.as_secs());
        assert_eq!((seconds, config.max_list, args.node.asking.keep_connections), ((3, 4), 5, 8));
        let server = args.node.server.config(args.node.content.connections());
        assert_eq!((server.max_connections, server.idle_timeout.as_secs()), (9, 11));
        assert_eq!(server.message_timeout.as_millis(), 10_500);
        let content = args.node.content.options();
        assert_eq!((content.memory, content.upload_slots, content.max_sources), (16 << 20, Some(17), 18));
        assert_eq!(content.source_limits.answer_timeout.as_secs(), 19);
        assert_eq!(content.holder_timeout.as_secs(), 22);
        assert_eq!((content.max_in_flight, content.max_open_files), (20, 21));

        let words = "askaround tracker --lease 12 --max-peers 13 --max-peers-per-ip 14 --forget-after 15";
        let Command::Tracker(args) = parse(words) else { panic!() };
        let config = args.registry.config();
        assert_eq!(config.lease, Some(Duration::from_secs(12)));
        assert_eq!((config.max_entries, config.max_entries_per_ip), (13, 14));
        assert_eq!(config.forget_after.as_secs(), 15);
    }
}
