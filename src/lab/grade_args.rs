//! The options of `askaround lab grade`.

use std::path::PathBuf;
use std::time::Duration;

use askaround_lab::submission::isolation::Isolation;
use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};

use crate::args::seconds;

const USAGE: &str = "askaround lab grade [--scenario DIR] [--json] EXPECTED GOT
       askaround lab grade --submission DIR [OPTIONS] [SCENARIO]...";

const EXAMPLES: &str = "Examples:
  askaround lab grade scenarios/campus-20/expected_outcomes logs/campus-20
  askaround lab grade --submission handed-in/anna                  all 12 rubric items
  askaround lab grade --submission handed-in/anna rubric-04-hints --repeat 5
  askaround lab grade --submission . --tracker './tracker --fast' --client './peer {file}'

A submission is started as the assignment says, in a scratch copy with the scripts 1.json, 2.json, … in its \
working directory, and writes client_<n>.json and bootstrapper.json there. Each run has a network and processes of \
its own where the system allows it; it is no prison, for a submission can read whatever you can.

Points: an item earns its points in proportion to the log entries that show it and are right. An action has one \
entry, so each entry too many takes the points of one that is right: of the same action, else of its timestep, else \
of the one before. What depends on a purge shows item 6. Entries that no item asks for carry no points: those of O, \
empty lists of keys, keys that a client has or finds where they had come from before, and what is unavailable or \
unreachable.";

/// `askaround lab grade`.
#[derive(Debug, Args)]
#[command(override_usage = USAGE, after_long_help = EXAMPLES, allow_negative_numbers = true)]
pub struct GradeArgs {
    /// The folders of the logs as they should be and as they are; with --submission, the scenarios
    ///
    /// A scenario is a folder, or the name of one that comes with askaround. Without any, those of
    /// the 12 rubric items.
    #[arg(value_name = "FOLDER|SCENARIO")]
    pub folders: Vec<PathBuf>,
    /// The scenario's folder, if it is not the one that EXPECTED lies in
    #[arg(long, env = "ASKAROUND_SCENARIO")]
    pub scenario: Option<PathBuf>,
    /// Print JSON
    #[arg(long, env = "ASKAROUND_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
    /// Run the tracker and the clients in this folder, and grade the logs that they write
    #[arg(long, value_name = "DIR")]
    pub submission: Option<PathBuf>,
    /// How the submission is run
    #[command(flatten)]
    pub run: SubmissionArgs,
}

/// How a submission is run.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options with --submission")]
pub struct SubmissionArgs {
    /// The command that starts the tracker; {count} stands for the number of clients
    #[arg(long, requires = "submission", value_name = "COMMAND", default_value = "python3 bootstrapper.py")]
    pub tracker: String,
    /// The command that starts a client; {file} stands for its script, {id} for its id [default:
    /// python3 client.py -file {file}]
    ///
    /// Without it, --file is tried where every client fails at once with -file, and the report says
    /// which it was.
    #[arg(long, requires = "submission", value_name = "COMMAND")]
    pub client: Option<String>,
    /// Run each scenario so many times, and say in how many it was right
    #[arg(long, requires = "submission", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeat: u32,
    /// Decides the order in which clients are started
    #[arg(long, requires = "submission", default_value_t = 1)]
    pub seed: u32,
    /// So many runs at once [default: one a processor]
    #[arg(long, requires = "submission", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,
    /// Seconds that a run may take
    #[arg(long, requires = "submission", value_name = "SECONDS", default_value = "120", value_parser = seconds)]
    pub time: Duration,
    /// Seconds until the tracker listens
    #[arg(long, requires = "submission", value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub start: Duration,
    /// Seconds without output, log or processor time after which a run is taken to hang
    #[arg(long, requires = "submission", value_name = "SECONDS", default_value = "20", value_parser = seconds)]
    pub stall: Duration,
    /// Seconds that everybody has to exit once all logs are complete
    #[arg(long, requires = "submission", value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub grace: Duration,
    /// Memory that a process may use
    #[arg(long, requires = "submission", value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u64).range(16..=1_048_576))]
    pub memory: u64,
    /// What a process may write, to stdout and stderr together and to one file
    #[arg(long, requires = "submission", value_name = "MIB", default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=4096))]
    pub output: u64,
    /// What all processes of a run may write together, to files and streams
    #[arg(long, requires = "submission", value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    pub disk: u64,
    /// Processes that a run may have beside those that are started; helpers of less than a second
    /// do not count
    #[arg(long, requires = "submission", value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub processes: u32,
    /// The port on which the tracker is expected to listen
    #[arg(long, requires = "submission", default_value_t = 8888, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// How runs are kept apart
    #[arg(long, requires = "submission", value_enum, default_value_t)]
    pub isolation: IsolationArg,
    /// Write results.json, report.html and the logs of each run into this folder
    #[arg(long, requires = "submission", value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Write the results in the form that Gradescope reads, for example to
    /// /autograder/results/results.json
    #[arg(long, requires = "submission", value_name = "FILE")]
    pub gradescope: Option<PathBuf>,
    /// Write the report as a page that opens in any browser
    #[arg(long, requires = "submission", value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// How runs are kept apart.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum IsolationArg {
    /// As well as the system allows
    #[default]
    Auto,
    /// A network and processes of its own for each run (Linux namespaces)
    Full,
    /// A network of its own for each run
    Network,
    /// On this machine's ports, one run at a time
    None,
}

impl From<IsolationArg> for Option<Isolation> {
    fn from(isolation: IsolationArg) -> Self {
        match isolation {
            IsolationArg::Auto => None,
            IsolationArg::Full => Some(Isolation::Full),
            IsolationArg::Network => Some(Isolation::Network),
            IsolationArg::None => Some(Isolation::None),
        }
    }
}
