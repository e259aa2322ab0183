//! The options of `askaround lab sim`, and the command that repeats a run.

#![allow(rustdoc::invalid_html_tags, reason = "help texts, where <name> is a placeholder")]

use std::path::PathBuf;
use std::time::Duration;

use askaround_lab::population::Churn;
use askaround_lab::shell::quote;
use askaround_lab::world::faults::{Fault, duration};
use askaround_lab::world::links::Links;
use clap::{Args, ValueEnum};

use crate::args::TurnsArg;
use crate::lab::pictures::PictureArgs;

const SCENARIO: &str = "A scenario";
const POPULATION: &str = "A population";
const LINKS: &str = "Links and faults";

/// `askaround lab sim`.
#[derive(Debug, Clone, Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "Examples:
  askaround lab sim scenarios/campus-20
  askaround lab sim --peers 1000,10000,100000 --copies 10 --lookups 100
  askaround lab sim --peers 10000 --copies 10 --search walk
  askaround lab sim --peers 1000 --every 1s --churn 10m/1m --fault outage@30+20

A run depends on its options and its seed alone. When something that always has to be so is not,
the command that repeats it is printed."
)]
pub struct SimArgs {
    /// The folder of a scenario to play
    #[arg(required_unless_present = "peers", conflicts_with = "peers")]
    pub dir: Option<PathBuf>,
    /// The folder for the logs [default: logs/<name of the scenario>]
    #[arg(long, conflicts_with = "peers", help_heading = SCENARIO)]
    pub out: Option<PathBuf>,
    /// Who may act when within a timestep
    #[arg(long, value_enum, default_value_t, conflicts_with = "peers", help_heading = SCENARIO)]
    pub turns: TurnsArg,
    /// Print no table
    #[arg(short, long, conflicts_with_all = ["json", "peers"], help_heading = SCENARIO)]
    pub quiet: bool,
    /// How many peers; several numbers for a row each, to see how the cost grows: 1000,10000
    #[arg(long, value_name = "N", value_delimiter = ',', help_heading = POPULATION)]
    pub peers: Vec<u32>,
    /// How many keys there are
    #[arg(long, value_name = "K", default_value_t = 100, conflicts_with = "dir", help_heading = POPULATION)]
    pub keys: u32,
    /// How many peers hold a key at the start; with --zipf, on average
    #[arg(long, value_name = "C", default_value_t = 10, conflicts_with = "dir", help_heading = POPULATION)]
    pub copies: u32,
    /// The key of rank r is held and looked for in proportion to 1/r to this power
    #[arg(long, value_name = "A", value_parser = exponent, conflicts_with = "dir", help_heading = POPULATION)]
    pub zipf: Option<f64>,
    /// How many lookups there are; each obtains what it finds, and leaves a hint behind
    #[arg(long, value_name = "L", default_value_t = 100, conflicts_with = "dir", help_heading = POPULATION)]
    pub lookups: u32,
    /// So many of the lookups are for keys that nobody has
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent, conflicts_with = "dir", help_heading = POPULATION)]
    pub missing: f64,
    /// From how many others everybody has once obtained something
    #[arg(long, value_name = "D", default_value_t = 4, conflicts_with = "dir", help_heading = POPULATION)]
    pub known: u32,
    /// How a key is looked for
    #[arg(long, value_enum, default_value_t, conflicts_with = "dir", help_heading = POPULATION)]
    pub search: SearchArg,
    /// How often a question is passed on at most [default: 7 for a flood, 1024 for a walk]
    #[arg(long, value_name = "HOPS", value_parser = clap::value_parser!(u32).range(1..=1_000_000), conflicts_with = "dir", help_heading = POPULATION)]
    pub ttl: Option<u32>,
    /// How many walkers a walk has [default: 32]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000), conflicts_with = "dir", help_heading = POPULATION)]
    pub walkers: Option<u32>,
    /// A lookup begins every so often [default: when the one before is over; with faults every 1s]
    #[arg(long, value_name = "TIME", value_parser = some_time, conflicts_with = "dir", help_heading = POPULATION)]
    pub every: Option<Duration>,
    /// How long a registration lasts unless renewed [default: for ever; with faults 120s]
    #[arg(long, value_name = "TIME", value_parser = lease, conflicts_with = "dir", help_heading = POPULATION)]
    pub lease: Option<Duration>,
    /// A lookup is given up after this long [default: never; a live peer gives up after 10m]
    #[arg(long, value_name = "TIME", value_parser = some_time, conflicts_with = "dir", help_heading = POPULATION)]
    pub give_up: Option<Duration>,
    /// Write the figures into a file of comma-separated values, a line for each number of peers
    #[arg(long, value_name = "FILE", conflicts_with = "dir", help_heading = POPULATION)]
    pub csv: Option<PathBuf>,
    /// How many questions a search has open at once
    ///
    /// With more than one, the logs of a scenario may be others than those of `lab run`: a peer further
    /// down the list may be the first to say that it has the key.
    #[arg(long, value_name = "W", default_value_t = 1, value_parser = width)]
    pub width: usize,
    /// Where all chance comes from: the same seed gives the same run
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// How long a message is under way [default: 20ms; in a scenario 1us]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = LINKS)]
    pub latency: Option<Duration>,
    /// A message may be under way up to so much longer
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = duration, help_heading = LINKS)]
    pub jitter: Duration,
    /// So many of the questions find that no connection can be made
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent, help_heading = LINKS)]
    pub loss: f64,
    /// What a node can send, in bits a second: 64k, 10M, 1G
    #[arg(long, value_name = "RATE", value_parser = rate, help_heading = LINKS)]
    pub bandwidth: Option<u64>,
    /// Something goes wrong at a set time, KIND:WHO@START[+DURATION]; may be given again
    ///
    /// crash:3@10 (a peer is gone), crash:10%@5+3 (it starts again after 3 s), stall:2-5@1+2,
    /// partition:1-50@10+60 (these on one side, all others and the tracker on the other),
    /// outage@10+5 (the tracker). WHO is ids and ranges, or a share of all, drawn by the seed. Times
    /// are seconds from the first lookup, or in a scenario from the start; 20ms, 2m are fine too.
    #[arg(long = "fault", alias = "faults", value_name = "FAULT", help_heading = LINKS, verbatim_doc_comment)]
    pub faults: Vec<Fault>,
    /// Peers crash and come back: how long one is there and how long it is gone, on average: 10m/1m
    #[arg(long, value_name = "UP/DOWN", value_parser = churn, conflicts_with = "dir", help_heading = LINKS)]
    pub churn: Option<Churn>,
    /// What to draw; of a population, --svg draws how the cost grows.
    #[command(flatten)]
    pub pictures: PictureArgs,
}

/// How a key is looked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum SearchArg {
    /// As the peers that ship do: own originator, tracker's list and hints, longer list
    #[default]
    Ask,
    /// Every peer passes the question on to all that it knows, up to --ttl times
    Flood,
    /// --walkers go from peer to peer by chance, each up to --ttl steps
    Walk,
}

impl SimArgs {
    /// The links, where a message takes `latency` unless another was given.
    pub(super) fn links(&self, latency: Duration) -> Links {
        Links {
            latency: self.latency.unwrap_or(latency),
            jitter: self.jitter,
            loss: self.loss,
            bandwidth: self.bandwidth,
            handshake: self.dir.is_none(),
        }
    }

    /// The command that repeats the run of `what`: a folder as a shell reads it, or `--peers` and a
    /// number.
    pub(super) fn command(&self, what: &str) -> String {
        let mut words = vec![format!("askaround lab sim {what}")];
        if self.dir.is_some() {
            words.extend(self.out.as_ref().map(|out| format!("--out {}", quote(&out.to_string_lossy()))));
            if self.turns != TurnsArg::default() {
                let turns = self.turns.to_possible_value();
                words.push(format!("--turns {}", turns.map_or(String::new(), |v| v.get_name().to_owned())));
            }
        } else {
            self.population_words(&mut words);
        }
        let time = |name: &str, time: Duration| format!("--{name} {}", seconds(time));
        words.extend(self.latency.map(|latency| time("latency", latency)));
        if !self.jitter.is_zero() {
            words.push(time("jitter", self.jitter));
        }
        if self.loss > 0.0 {
            words.push(format!("--loss {}", self.loss * 100.0));
        }
        words.extend(self.bandwidth.map(|rate| format!("--bandwidth {rate}")));
        words.extend(self.faults.iter().map(|fault| format!("--fault {fault}")));
        words.push(format!("--width {} --seed {}", self.width, self.seed));
        words.join(" ")
    }

    fn population_words(&self, words: &mut Vec<String>) {
        words.push(format!("--keys {} --copies {}", self.keys, self.copies));
        words.extend(self.zipf.map(|exponent| format!("--zipf {exponent}")));
        words.push(format!("--lookups {} --known {}", self.lookups, self.known));
        if self.missing > 0.0 {
            words.push(format!("--missing {}", self.missing * 100.0));
        }
        if let (Some(search), true) = (self.search.to_possible_value(), self.search != SearchArg::Ask) {
            words.push(format!("--search {}", search.get_name()));
        }
        words.extend(self.ttl.map(|ttl| format!("--ttl {ttl}")));
        words.extend(self.walkers.map(|walkers| format!("--walkers {walkers}")));
        for (name, value) in [("every", self.every), ("lease", self.lease), ("give-up", self.give_up)] {
            words.extend(value.map(|value| format!("--{name} {}", seconds(value))));
        }
        words.extend(self.churn.map(|c| format!("--churn {}/{}", seconds(c.up), seconds(c.down))));
    }
}

/// Seconds, as the options read them.
fn seconds(time: Duration) -> String {
    format!("{}", time.as_secs_f64())
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse::<f64>().ok();
    let share = number.filter(|n| (0.0..=100.0).contains(n)).map(|n| n / 100.0);
    share.ok_or_else(|| "expected a share from 0% to 100%".into())
}

fn exponent(text: &str) -> Result<f64, String> {
    let exponent = text.parse::<f64>().ok().filter(|a| (0.0..=10.0).contains(a));
    exponent.ok_or_else(|| "expected a number from 0 to 10; popularity is often about 1".into())
}

fn rate(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k') => (&text[..text.len() - 1], 1_000),
        Some(b'M') => (&text[..text.len() - 1], 1_000_000),
        Some(b'G') => (&text[..text.len() - 1], 1_000_000_000),
        _ => (text, 1),
    };
    let bits = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).filter(|n| *n > 0);
    bits.ok_or_else(|| "expected bits a second, such as 64k, 10M or 1G".into())
}

fn some_time(text: &str) -> Result<Duration, String> {
    duration(text)
        .and_then(|time| if time.is_zero() { Err("it has to be some time".into()) } else { Ok(time) })
}

fn lease(text: &str) -> Result<Duration, String> {
    let lease = duration(text)?;
    let sensible = (3..=86_400).contains(&lease.as_secs());
    if sensible { Ok(lease) } else { Err("a lease is 3 seconds to a day".into()) }
}

fn churn(text: &str) -> Result<Churn, String> {
    let (up, down) = text.split_once('/').ok_or("expected UP/DOWN, for example 10m/1m")?;
    Ok(Churn { up: some_time(up)?, down: some_time(down)? })
}

fn width(text: &str) -> Result<usize, String> {
    let width = text.parse().ok().filter(|n| (1..=256).contains(n));
    width.ok_or_else(|| "expected a whole number from 1 to 256".into())
}
