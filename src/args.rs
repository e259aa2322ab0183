//! The options of `askaround`, `bootstrapper` and `client`, and what `--help` teaches.

#![allow(rustdoc::invalid_html_tags, reason = "these comments are help texts, where <n> is a placeholder")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use askaround_core::clock::Turns;
use askaround_core::{Key, PeerId};
use askaround_lab::run::OtherClient;
use clap::builder::FalseyValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::address::{address, listening};
use crate::lab::grade_args::GradeArgs;
use crate::lab::pictures::PictureArgs;
use crate::lab::plot::PlotArgs;
use crate::lab::replay::ReplayArgs;
use crate::lab::shipped::ScenariosArgs;
use crate::limits::{RegistryLimits, ServerLimits};
use crate::live::args::{AddArgs, GetArgs, LimitArgs, LsArgs, VerifyArgs, WhyArgs, any_key};
use crate::live::node_args::NodeArgs;

const EXIT_CODES: &str = "Exit status: 0 done; 1 it failed, or what was asked for is not so (a log differs, a key \
is not found); 2 wrong use or an unusable file; 129, 130 or 143 ended by SIGHUP, Ctrl-C or SIGTERM.";

/// A peer-to-peer content network: content is found by asking around.
///
/// The tracker knows who is online and never who has what. A peer keeps what it holds and whom it
/// got each thing from; a key is found by asking peers and following their hints.
///
/// Live: `askaround tracker` on one machine; then `askaround add --serve FILE --tracker IP:PORT`
/// on one and `askaround get KEY --tracker IP:PORT` on others, or `askaround peer` on each and
/// verbs without --tracker. Lab: `askaround lab run DIR` plays a scenario in lock-step.
#[derive(Debug, Parser)]
#[command(name = "askaround", version, after_help = EXIT_CODES, arg_required_else_help = true)]
pub struct Askaround {
    /// Say more on stderr; twice for more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The commands of `askaround`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run, compare and grade scripted scenarios
    #[command(subcommand)]
    Lab(LabCommand),
    /// Run a tracker, which knows who is online
    Tracker(TrackerArgs),
    /// Run a peer, until Ctrl-C
    Peer(Box<PeerArgs>),
    /// Add files and folders to what a peer has for others
    ///
    /// Prints the keys by which others get them. A key is a hash of the bytes: the BLAKE3 hash, as
    /// b3sum prints it, or the md5, as md5sum does. Either names the content to any peer.
    ///
    /// The peer is the one that runs on this machine. With --serve and --tracker none need be
    /// running: askaround add --serve build.tar --tracker 10.0.0.5:8888
    Add(Box<AddArgs>),
    /// Fetch content by its key, from everybody who has it
    ///
    /// Every piece is verified before it is written, and the file has its name only once it is
    /// whole. A fetch that was interrupted, by Ctrl-C or by a power loss, goes on when the same
    /// command is given again.
    ///
    /// It is fetched by the peer that runs on this machine. With --tracker none need be running:
    /// askaround get KEY -o build.tar --tracker 10.0.0.5:8888
    Get(Box<GetArgs>),
    /// List the content that is here
    Ls(LsArgs),
    /// Read content again and say what is not as it should be
    ///
    /// Exits 1 if something is not. What is good counts as unchanged from then on. With --repair
    /// the pieces that are wrong or missing are fetched from others.
    Verify(VerifyArgs),
    /// Say why a fetch is as fast as it is, or why it failed
    ///
    /// For each fetch: everybody who sends or sent pieces, how they were found, at what rate they
    /// send, why they are used no longer; and everybody who was asked who has it, and what they said.
    Why(WhyArgs),
    /// Say what the running peer is doing, and whether it is registered with its tracker
    Status(VerbArgs),
    /// Change how fast the running peer may send and receive; without options, say it
    ///
    /// Until the peer ends. For good: options of `askaround peer`.
    Limit(LimitArgs),
    /// List the peers that are registered with the tracker
    Peers(VerbArgs),
    /// Ask a peer whom it knows: everybody it ever got something from
    Known(IdArgs),
    /// Ask a peer what it holds
    Contents(IdArgs),
    /// Find who has a key, without obtaining it
    Find(FindArgs),
    /// Register the running peer with its tracker
    Register(VerbArgs),
    /// Unregister the running peer; it goes on serving
    Unregister(VerbArgs),
    /// Forget content, or a key that is held; files of yours stay where they are
    ///
    /// Takes either key of a content, or at least 8 first digits of one, or any other key that the
    /// peer holds. Copies in the peer's
    /// folder are removed.
    Purge(KeyArgs),
    /// Have the running peer say that it holds a key, without content
    Hold(KeyArgs),
    /// Print a completion script for a shell
    ///
    /// For example: askaround completions bash > /etc/bash_completion.d/askaround
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a folder
    Man {
        /// The folder, for example /usr/local/share/man/man1
        folder: PathBuf,
    },
}

/// The commands of `askaround lab`.
#[derive(Debug, Subcommand)]
pub enum LabCommand {
    /// Play the scenario in a folder of scripts <n>.json over real sockets on loopback
    ///
    /// Prints a table of what happened and writes client_<n>.json and bootstrapper.json. Where the
    /// folder has expected_outcomes/, compares, and exits 1 on a difference.
    Run(RunArgs),
    /// Say whether a scenario's logs depend on the order within a timestep, and which actions race
    ///
    /// Tries every order of actions that can make a difference, or, where those are very many, some
    /// at random. An action is taken as a whole: that somebody acts in the midst of another's search
    /// is not tried. Names each entry that varies and the two actions behind it, and exits 1 if
    /// there is one.
    Check(crate::lab::CheckArgs),
    /// Simulate, in virtual time, a scenario or a population of up to millions of peers
    ///
    /// A scenario gives the logs of `lab run` in milliseconds. A population shows what lookups
    /// cost and how that grows.
    Sim(Box<crate::lab::sim::SimArgs>),
    /// Draw a run from its trace: as a page, for a paper, for a README; or say what is in it
    Replay(ReplayArgs),
    /// Draw how the cost of lookups grows with the number of peers
    Plot(PlotArgs),
    /// Compare two folders of logs, or run somebody's submission, and grade by the rubric
    Grade(Box<GradeArgs>),
    /// List the scenarios that come with askaround, or write them into a folder
    Scenarios(ScenariosArgs),
    /// Run one scenario of `lab grade --submission`: used by that command only
    #[command(hide = true)]
    Keep,
}

/// `askaround lab run`.
#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub struct RunArgs {
    /// The scenario's folder
    pub dir: PathBuf,
    /// The folder for the logs [default: logs/<name of the scenario>]
    #[arg(long, env = "ASKAROUND_OUT")]
    pub out: Option<PathBuf>,
    /// Start a process a node, as the course does, instead of one for all
    #[arg(long, env = "ASKAROUND_PROCESSES", value_parser = FalseyValueParser::new())]
    pub processes: bool,
    /// Who may act when within a timestep
    #[arg(long, value_enum, default_value_t, env = "ASKAROUND_TURNS")]
    pub turns: TurnsArg,
    /// Run so many times, and compare the logs of each with the first
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000), env = "ASKAROUND_REPEAT")]
    pub repeat: u32,
    /// Put real content behind each key, and really deliver what Q finds
    ///
    /// Every key that somebody holds at the start stands for generated bytes, of sizes from none to
    /// several pieces; the table of the run says for which, by their BLAKE3 hash. A search goes as
    /// without this option. Then the bytes are fetched over TCP from the peer that it found, and
    /// from no other; only when all of them are here and have that hash is the key obtained, and
    /// logged. A peer that does not send them counts as not having the key, and the search goes on.
    /// The logs are those of a run without this option. Content lies in a temporary folder, which
    /// is removed at the end. Not with --client: other programs keep no content.
    #[arg(long, env = "ASKAROUND_DELIVER", value_parser = FalseyValueParser::new())]
    pub deliver: bool,
    /// Use another program as a peer, with --processes: IDS=COMMAND, IDS being 2,4 or all
    ///
    /// Placeholders: {file} {id} {tracker} {port} {out}. The program is told its loopback address
    /// in ASKAROUND_LOOPBACK (PROTOCOL.md, section 6).
    #[arg(long, value_name = "IDS=COMMAND")]
    pub client: Vec<OtherClient>,
    /// Seconds that a peer may take for its turn
    #[arg(long, default_value = "60", value_parser = seconds, env = "ASKAROUND_STEP_TIMEOUT")]
    pub step_timeout: Duration,
    /// Print the logs and the comparison as JSON
    #[arg(long, env = "ASKAROUND_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
    /// Print no table
    #[arg(short, long)]
    pub quiet: bool,
    /// What to keep besides the logs.
    #[command(flatten)]
    pub pictures: PictureArgs,
}

/// Who may act when.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum TurnsArg {
    /// One after the other, by client id: the same logs every time
    #[default]
    ById,
    /// All at once
    Concurrent,
}

impl From<TurnsArg> for Turns {
    fn from(turns: TurnsArg) -> Self {
        match turns {
            TurnsArg::ById => Self::ById,
            TurnsArg::Concurrent => Self::Concurrent,
        }
    }
}

/// `askaround tracker`.
#[derive(Debug, Args)]
pub struct TrackerArgs {
    /// Where to listen
    #[arg(long, default_value = "0.0.0.0:8888", value_name = "IP:PORT", value_parser = listening, env = "ASKAROUND_LISTEN")]
    pub listen: SocketAddr,
    /// Let peers register addresses that their requests do not come from
    #[arg(long, env = "ASKAROUND_TRUST_ADDRESSES", value_parser = FalseyValueParser::new())]
    pub trust_addresses: bool,
    /// What its list may grow to
    #[command(flatten)]
    pub registry: RegistryLimits,
    /// What its connections may cost
    #[command(flatten)]
    pub server: ServerLimits,
}

/// `askaround peer`.
#[derive(Debug, Args)]
pub struct PeerArgs {
    /// The tracker
    #[arg(long, default_value = "127.0.0.1:8888", value_name = "IP:PORT", value_parser = address, env = "ASKAROUND_TRACKER")]
    pub tracker: SocketAddr,
    /// Where its state is
    #[command(flatten)]
    pub state: StateArgs,
    /// What it is like
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Which running peer is meant.
#[derive(Debug, Args)]
pub struct StateArgs {
    /// The peer's folder [default: askaround in the user's data folder]
    #[arg(long, value_name = "STATE", env = "ASKAROUND_DIR")]
    pub dir: Option<PathBuf>,
}

/// A verb without a parameter.
#[derive(Debug, Args)]
pub struct VerbArgs {
    /// Which peer
    #[command(flatten)]
    pub state: StateArgs,
    /// Print a line of JSON: a result or an error
    #[arg(long, env = "ASKAROUND_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
}

/// A verb about a peer.
#[derive(Debug, Args)]
pub struct IdArgs {
    /// The other peer's id
    pub id: PeerId,
    /// The rest
    #[command(flatten)]
    pub verb: VerbArgs,
}

/// A verb about a key.
#[derive(Debug, Args)]
pub struct KeyArgs {
    /// The key
    #[arg(value_parser = any_key)]
    pub key: Key,
    /// The rest
    #[command(flatten)]
    pub verb: VerbArgs,
}

/// `askaround find`.
#[derive(Debug, Args)]
pub struct FindArgs {
    /// The key
    #[arg(value_parser = any_key)]
    pub key: Key,
    /// Show who was asked, why, what they said, and how long it took
    #[arg(long, env = "ASKAROUND_TRACE", value_parser = FalseyValueParser::new())]
    pub trace: bool,
    /// The rest
    #[command(flatten)]
    pub verb: VerbArgs,
}

/// The tracker of a lab run, as the course starts it.
///
/// Waits for registrations, then lets the clients run their scripts in lock-step, and writes
/// bootstrapper.json.
#[derive(Debug, Parser)]
#[command(name = "bootstrapper", version, after_help = EXIT_CODES, allow_negative_numbers = true)]
pub struct Bootstrapper {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:8888", value_name = "IP:PORT", value_parser = listening, env = "ASKAROUND_LISTEN")]
    pub listen: SocketAddr,
    /// Seconds to wait for registrations
    #[arg(long, default_value = "10", value_parser = seconds, env = "ASKAROUND_WAIT")]
    pub wait: Duration,
    /// Start as soon as so many clients have registered
    #[arg(long, value_name = "N", env = "ASKAROUND_EXPECT")]
    pub expect: Option<usize>,
    /// Who may act when within a timestep
    #[arg(long, value_enum, default_value_t, env = "ASKAROUND_TURNS")]
    pub turns: TurnsArg,
    /// Seconds that a client may take for its turn; then it is left out
    #[arg(long, default_value = "60", value_parser = seconds, env = "ASKAROUND_STEP_TIMEOUT")]
    pub step_timeout: Duration,
    /// The folder for bootstrapper.json
    #[arg(long, default_value = ".", env = "ASKAROUND_OUT")]
    pub out: PathBuf,
    /// Write what it sees into this file at the end, for askaround lab run --processes --trace
    #[arg(long, value_name = "FILE")]
    pub diary: Option<PathBuf>,
    /// Say more on stderr; twice for more
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// One peer of a lab run, as the course starts it: client --file 3.json
///
/// Or as the assignment's text has it: client ID TRACKER_IP TRACKER_PORT CONTENT_FILE SCRIPT_FILE
#[derive(Debug, Parser)]
#[command(name = "client", version, after_help = EXIT_CODES, allow_negative_numbers = true)]
pub struct Client {
    /// The script, in JSON; also spelt -file
    #[arg(long, required_unless_present = "id", conflicts_with = "id")]
    pub file: Option<PathBuf>,
    /// The client's id
    #[arg(requires_all = ["tracker_ip", "tracker_port", "content_file", "script_file"])]
    pub id: Option<PeerId>,
    /// The tracker's address
    pub tracker_ip: Option<std::net::IpAddr>,
    /// The tracker's port
    pub tracker_port: Option<u16>,
    /// The keys it holds at the start: a JSON array, or one a line
    pub content_file: Option<PathBuf>,
    /// Its script: lines of <time>,<label>,<parameters>
    pub script_file: Option<PathBuf>,
    /// The tracker
    #[arg(long, default_value = "127.0.0.1:8888", value_name = "IP:PORT", value_parser = address, env = "ASKAROUND_TRACKER")]
    pub tracker: SocketAddr,
    /// The port to listen on [default: the one that the assignment gives this client]
    #[arg(long, env = "ASKAROUND_PORT")]
    pub port: Option<u16>,
    /// Seconds to try to reach the tracker
    #[arg(long, default_value = "30", value_parser = seconds, env = "ASKAROUND_WAIT")]
    pub wait: Duration,
    /// Seconds that the tracker gives a client for its turn: an answer may take a tenth of that
    #[arg(long, default_value = "60", value_parser = seconds, env = "ASKAROUND_STEP_TIMEOUT")]
    pub step_timeout: Duration,
    /// The folder for the log
    #[arg(long, default_value = ".", env = "ASKAROUND_OUT")]
    pub out: PathBuf,
    /// Deliver what Q finds, with content out of this folder, as askaround lab run --deliver does
    #[arg(long, value_name = "FOLDER")]
    pub deliver: Option<PathBuf>,
    /// Write what it sees into this file at the end, for askaround lab run --processes --trace
    #[arg(long, value_name = "FILE")]
    pub diary: Option<PathBuf>,
    /// Say more on stderr; twice for more
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|s| (0.0..=1e6).contains(s));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "expected a number of seconds, at most 1000000".into())
}
