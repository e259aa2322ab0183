//! The options of a peer: one that runs until Ctrl-C, or one that lasts as long as a command.

#![allow(rustdoc::invalid_html_tags, reason = "these comments are help texts, where <n> is a placeholder")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use askaround_core::PeerId;
use clap::error::Error;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use super::args::ShowArgs;
use super::units;
use crate::address::{address, advertised, listening};
use crate::args::StateArgs;
use crate::exit::Failure;
use crate::limits::{AskLimits, ContentLimits, ServerLimits};

/// What a peer is like.
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// Where it listens, and connects from if that is one address; port 0 lets the system pick
    /// [default: 0.0.0.0:0, or port 0 of :: if the tracker has an IPv6 address]
    #[arg(long, value_name = "IP:PORT", value_parser = listening, env = "ASKAROUND_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// The address to register, if it is not the one that the tracker sees
    #[arg(long, value_name = "IP", value_parser = advertised, env = "ASKAROUND_ADVERTISE")]
    pub advertise: Option<IpAddr>,
    /// The peer's id [default: kept in its folder, made up the first time]
    #[arg(long, env = "ASKAROUND_ID")]
    pub id: Option<PeerId>,
    /// How fast it may be
    #[command(flatten)]
    pub rates: RateArgs,
    /// What content may cost
    #[command(flatten)]
    pub content: ContentLimits,
    /// What asking may cost
    #[command(flatten)]
    pub asking: AskLimits,
    /// What its connections may cost
    #[command(flatten)]
    pub server: ServerLimits,
}

/// All addresses of this machine; IPv4 comes in here too.
const EVERYWHERE: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);

impl NodeArgs {
    /// Where it listens: where others can reach it at the address that its tracker sees.
    ///
    /// # Errors
    /// If nobody can.
    pub(super) fn listen(&self, tracker: Option<SocketAddr>) -> Result<SocketAddr, Failure> {
        let tracker_is_six = tracker.as_ref().is_some_and(is_six);
        let Some(listen) = self.listen else {
            return Ok(if tracker_is_six { EVERYWHERE } else { (Ipv4Addr::UNSPECIFIED, 0).into() });
        };
        let is_reached = match (is_six(&listen), tracker_is_six) {
            // IPv4 comes in at all addresses of IPv6 too.
            (true, false) => listen.ip().is_unspecified(),
            (listens_on_six, _) => listens_on_six == tracker_is_six,
        };
        match tracker {
            Some(tracker) if !is_reached && self.advertise.is_none() => {
                let (own, others, example) =
                    if tracker_is_six { ("IPv4", "IPv6", "[::]:0") } else { ("IPv6", "IPv4", "0.0.0.0:0") };
                Err(Failure::usage(format!(
                    "--listen {listen} is {own} and the tracker {tracker} {others}, which would tell others an \
                     address where nobody listens: listen on an {others} address, as {example}"
                )))
            }
            _ => Ok(listen),
        }
    }

    /// Has it listen where these peers can reach it, which see where its connections come from.
    pub(super) fn reachable_from(&mut self, peers: &[SocketAddr]) {
        if self.listen.is_none() && peers.iter().any(is_six) {
            self.listen = Some(EVERYWHERE);
        }
    }
}

fn is_six(addr: &SocketAddr) -> bool {
    addr.ip().to_canonical().is_ipv6()
}

/// How fast a peer may send and receive.
#[derive(Debug, Clone, Copy, Args)]
pub struct RateArgs {
    /// The most bytes to send a second, as 5M or 500k (M: 1,000,000) [default: no limit]
    #[arg(long, value_name = "RATE", value_parser = rate, env = "ASKAROUND_UP")]
    pub up: Option<u64>,
    /// The most bytes to receive a second, as 20M [default: no limit]
    #[arg(long, value_name = "RATE", value_parser = rate, env = "ASKAROUND_DOWN")]
    pub down: Option<u64>,
}

/// By which peer `add` and `get` are done: the one that runs on this machine, or one of their own.
#[derive(Debug, Args)]
#[command(mut_args = long_help_only)]
pub struct ByArgs {
    /// Which peer
    #[command(flatten)]
    pub state: StateArgs,
    /// What is shown
    #[command(flatten)]
    pub show: ShowArgs,
    /// A peer of its own
    #[command(flatten)]
    pub here: HereArgs,
}

/// A peer that lasts as long as a command.
#[derive(Debug, Args)]
#[command(next_help_heading = "A peer for the time of this command")]
pub struct HereArgs {
    // First: reading an option's value takes it away.
    /// Which of them were given
    #[command(flatten)]
    given: Given,
    /// The tracker; with it no peer need be running on this machine
    ///
    /// Then --dir is where the peer of this command keeps its state; without --dir it keeps none. The
    /// variable alone starts no peer where one is running: that one is asked.
    #[arg(long, value_name = "IP:PORT", value_parser = address, env = "ASKAROUND_TRACKER")]
    pub tracker: Option<SocketAddr>,
    /// What the peer is like
    #[command(flatten)]
    pub node: NodeArgs,
}

impl HereArgs {
    /// Whether this option of the peer stands on the command line.
    pub(super) fn is_given(&self, option: &str) -> bool {
        self.given.0.iter().any(|given| given == option)
    }

    /// Refuses options of a peer of the command's own, which is not started: without `how`.
    ///
    /// # Errors
    /// If one was given.
    pub(super) fn refuse(&self, how: &str) -> Result<(), Failure> {
        let given: Vec<_> = self.given.0.iter().map(|option| format!("--{option}")).collect();
        let (are, named) = match &given[..] {
            [] => return Ok(()),
            [one] => ("is", one.clone()),
            [more @ .., last] => ("are", format!("{} and {last}", more.join(", "))),
        };
        Err(Failure::usage(format!(
            "{named} {are} for a peer that this command starts, with {how}; the running peer has the options \
             of its own `askaround peer`, and its rates are changed by `askaround limit`"
        )))
    }
}

/// Which options of a peer stand on the command line. A variable may be meant for another command.
#[derive(Debug)]
struct Given(Vec<String>);

impl FromArgMatches for Given {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let node = NodeArgs::augment_args(Command::new("peer"));
        let here = |option: &&str| {
            let id = option.replace('-', "_");
            // `add` has no --stay.
            matches.try_contains_id(&id).is_ok()
                && matches.value_source(&id) == Some(ValueSource::CommandLine)
        };
        let options = ["tracker", "stay"].into_iter().chain(node.get_arguments().filter_map(Arg::get_long));
        Ok(Self(options.filter(here).map(str::to_owned).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Given {
    fn augment_args(command: Command) -> Command {
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        command
    }
}

/// Limits are in `--help` and not in `-h`: whoever wants a file now need not know them.
fn long_help_only(arg: Arg) -> Arg {
    let is_limit = arg.get_help_heading().is_some_and(|heading| heading.starts_with("Limits"));
    if is_limit { arg.hide_short_help(true) } else { arg }
}

/// Bytes a second.
pub(super) fn rate(text: &str) -> Result<u64, String> {
    let bad = || "expected bytes a second, from 1k to 1T, as 500k, 5M or 1.5G (M: 1,000,000)".to_owned();
    units::parse(text).filter(|rate| (1_000..=1_000_000_000_000).contains(rate)).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::args::{Askaround, Command};

    #[test]
    fn whoever_names_peers_listens_where_they_can_reach_it() {
        for (from, other, expected) in [
            ("127.0.0.1:9", "", "0.0.0.0:0"),
            ("[::1]:9", "", "[::]:0"),
            ("127.0.0.1:9", "--from [::1]:9", "[::]:0"),
            ("[::ffff:127.0.0.1]:9", "", "0.0.0.0:0"),
            ("[::1]:9", "--listen [::1]:5", "[::1]:5"),
        ] {
            let words = format!("askaround get {} --from {from} {other}", "0".repeat(64));
            let Ok(Askaround { command: Command::Get(args), .. }) =
                Askaround::try_parse_from(words.split_whitespace())
            else {
                panic!("{words}");
            };
            let mut node = args.by.here.node;
            node.reachable_from(&args.from);
            assert_eq!(node.listen(None).ok(), expected.parse().ok(), "{words}");
        }
    }

    #[test]
    fn nobody_listens_where_its_tracker_sends_no_one() {
        for (listen, tracker, fits) in [
            ("127.0.0.1:0", "127.0.0.1:9", true),
            ("127.0.0.1:0", "[::1]:9", false),
            ("[::ffff:127.0.0.1]:0", "[::1]:9", false),
            ("0.0.0.0:0", "[::1]:9", false),
            ("127.0.0.1:0 --advertise 10.0.0.5", "[::1]:9", true),
            ("[::1]:0", "[::1]:9", true),
            ("[::1]:0", "127.0.0.1:9", false),
            ("[::1]:0", "[::ffff:127.0.0.1]:9", false),
            ("[::1]:0 --advertise 2001:db8::5", "127.0.0.1:9", true),
            ("[::]:0", "127.0.0.1:9", true),
            ("[::ffff:127.0.0.1]:0", "127.0.0.1:9", true),
        ] {
            let words = format!("askaround peer --tracker {tracker} --listen {listen}");
            let Ok(Askaround { command: Command::Peer(args), .. }) =
                Askaround::try_parse_from(words.split_whitespace())
            else {
                panic!("{words}");
            };
            assert_eq!(args.node.listen(Some(args.tracker)).is_ok(), fits, "{words}");
        }
    }
}
