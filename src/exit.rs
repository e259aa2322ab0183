//! How a program ends: its exit status, one readable report, and signals.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use askaround_node::api::ApiError;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Why a program did not do what it was asked to.
#[derive(Debug)]
pub enum Failure {
    /// Wrong use or unusable input: exit status 2.
    Usage(String),
    /// It was tried and failed, or what was asked for is not so: exit status 1.
    Run(String),
    /// It has been explained already; the exit status.
    Shown(u8),
    /// A signal ended it: 128 and its number.
    Signal(u8),
}

impl Failure {
    /// Bad usage or input.
    pub fn usage(error: impl fmt::Display) -> Self {
        Self::Usage(error.to_string())
    }

    /// Something that failed.
    pub fn run(error: impl fmt::Display) -> Self {
        Self::Run(error.to_string())
    }

    /// The exit status.
    pub fn status(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Run(_) => 1,
            Self::Shown(status) => *status,
            Self::Signal(number) => 128 + number,
        }
    }

    /// The report, if it has not been given already.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Usage(text) | Self::Run(text) => Some(text.into()),
            Self::Signal(HANGUP) => Some("ended by SIGHUP: its terminal is closed".into()),
            Self::Signal(2) => Some("ended by Ctrl-C (SIGINT)".into()),
            Self::Signal(15) => Some("ended by SIGTERM".into()),
            Self::Signal(number) => Some(format!("ended by signal {number}").into()),
            Self::Shown(_) => None,
        }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::TooLong(_) => Self::usage(error),
            _ => Self::run(error),
        }
    }
}

/// Prints the report, if there is one, and gives the exit status.
pub fn status(program: &str, result: Result<(), Failure>) -> ExitCode {
    let Err(failure) = result else { return ExitCode::SUCCESS };
    if let Failure::Usage(text) | Failure::Run(text) = &failure {
        crate::plain::say!("{program}: {text}");
    }
    ExitCode::from(failure.status())
}

/// The number of SIGHUP.
const HANGUP: u8 = 1;

/// Tells a program to end when it is sent SIGINT or SIGTERM; or SIGHUP, unless it was started with that
/// ignored, as by nohup.
#[derive(Debug, Clone)]
pub struct Stop {
    token: CancellationToken,
    signal: Arc<AtomicU8>,
}

impl Stop {
    /// Begins to listen for signals. A second one ends the program at once, also while it waits for
    /// somebody to read its stdout: a thread of its own listens. Of SIGHUP a terminal that is closed may
    /// send several, which are as good as one.
    ///
    /// # Errors
    /// If the system does not let us.
    pub fn on_signals() -> Result<Self, Failure> {
        let stop = Self { token: CancellationToken::new(), signal: Arc::default() };
        let told = stop.clone();
        let (sender, listens) = std::sync::mpsc::sync_channel(1);
        // It ends with the program. The runtime is the thread's from the beginning: where there is no
        // thread there must be none, since it could not be dropped here.
        let listen = move || match Signals::open() {
            Ok((runtime, signals)) => {
                let _ = sender.send(Ok(()));
                runtime.block_on(signals.tell(&told));
            }
            Err(error) => {
                let _ = sender.send(Err(error));
            }
        };
        std::thread::Builder::new().name("signals".into()).spawn(listen).map_err(|_| no_thread())?;
        listens.recv().map_err(Failure::run)?.map_err(Failure::run)?;
        Ok(stop)
    }

    /// Cancelled when it is time to end.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// The failure that stands for the signal that came.
    pub fn failure(&self) -> Failure {
        Failure::Signal(self.signal.load(Ordering::Relaxed))
    }
}

/// The signals that end a program.
struct Signals {
    /// None where it is not ours.
    hangup: Option<Signal>,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn open() -> io::Result<(Runtime, Self)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let listening = runtime.enter();
        let signals = Self {
            hangup: hangup_is_ours().then(|| signal(SignalKind::hangup())).transpose()?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        };
        drop(listening);
        Ok((runtime, signals))
    }

    async fn tell(mut self, stop: &Stop) {
        let mut told = false;
        loop {
            let number = tokio::select! {
                () = next(&mut self.hangup) => HANGUP,
                _ = self.interrupt.recv() => 2,
                _ = self.terminate.recv() => 15,
            };
            if number != HANGUP && std::mem::replace(&mut told, true) {
                std::process::exit(128 + i32::from(number));
            }
            if !stop.token.is_cancelled() {
                stop.signal.store(number, Ordering::Relaxed);
                stop.token.cancel();
            }
        }
    }
}

/// Waits for a signal; for ever, if there is none to wait for.
async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether SIGHUP is not ignored, as far as the system says so: whoever ignores it wants the program
/// to outlive its terminal, and listening for it would make it heard.
fn hangup_is_ours() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask >> (HANGUP - 1) & 1 == 0)
}

/// No thread can be started.
fn no_thread() -> Failure {
    Failure::run(
        "the system lets the program start no thread: there are too many processes (see ulimit -u), or there \
         is too little memory (see ulimit -v)",
    )
}

/// What Rust's own parsers of numbers say, and the same in plain words.
const OF_NUMBERS: [(&str, &str); 7] = [
    (" is not in ", " is not from "),
    ("..=", " to "),
    ("invalid digit found in string", "expected a whole number"),
    ("cannot parse integer from empty string", "expected a whole number"),
    ("number too large to fit in target type", "the number is too large"),
    ("number too small to fit in target type", "the number is too small"),
    ("invalid float literal", "expected a number"),
];

/// Tells what is wrong with a command line, or the help that was asked for, and ends the program.
pub fn wrong_use(error: &clap::Error) -> ! {
    use std::io::IsTerminal;
    if !error.use_stderr() || !OF_NUMBERS.iter().any(|(rust, _)| error.to_string().contains(rust)) {
        error.exit();
    }
    let text = error.render();
    let text = if std::io::stderr().is_terminal() { text.ansi().to_string() } else { text.to_string() };
    let plain = OF_NUMBERS.iter().fold(text, |text, (rust, plain)| text.replace(rust, plain));
    crate::plain::say!("{}", plain.trim_end());
    std::process::exit(error.exit_code())
}

/// Has a panic that is reported as an error not be told a second time.
pub fn tell_panics_once() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !askaround_node::store::is_opening() {
            tell(info);
        }
    }));
}

/// Sets up what `-v` shows, on stderr. `RUST_LOG` overrides it.
pub fn show_traces(verbose: u8) {
    use std::io::IsTerminal;
    let level = match verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| level.into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .log_internal_errors(false)
        .init();
}

/// The most threads for work that blocks: on the disk, or on who has a turn to be sent to. Requests
/// for what has to be read can have as many at work at once, and each takes memory.
const MAX_BLOCKING: usize = 128;

/// With fewer open files not even a small file is got.
const MIN_FILES: u64 = 32;

/// How long a thread that has nothing to do is kept.
const KEEP_THREAD: Duration = Duration::from_secs(60);

/// Runs a program's future on one thread: a node's work is small, and one thread needs no
/// hand-over between them.
pub fn block_on(future: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    // Many nodes in one process need many sockets; where the limit stays low, listening says so.
    if let Ok(files @ ..MIN_FILES) = rlimit::increase_nofile_limit(u64::MAX) {
        return Err(Failure::run(format!(
            "the limit on open files is {files} (see ulimit -n): at least {MIN_FILES} are needed"
        )));
    }
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().max_blocking_threads(MAX_BLOCKING).thread_keep_alive(KEEP_THREAD);
    let runtime = runtime.build().map_err(Failure::run)?;
    start_thread(&runtime)?;
    runtime.block_on(async {
        fail_where_a_file_is_too_large()?;
        tokio::select! {
            result = future => result,
            never = keep_a_thread() => match never {},
        }
    })
}

/// Has writing fail where a file would be larger than it may (`ulimit -f`). Otherwise the system ends
/// the program without a word.
///
/// # Errors
/// If the system does not let us.
fn fail_where_a_file_is_too_large() -> Result<(), Failure> {
    let number = rustix::process::Signal::XFSZ.as_raw();
    // What is registered stays, also when nobody listens.
    signal(SignalKind::from_raw(number)).map(drop).map_err(Failure::run)
}

/// Gives a thread for work that blocks something to do before none is left. While there is one, work
/// waits where the system starts no other; without one the runtime panics.
async fn keep_a_thread() -> Infallible {
    loop {
        tokio::time::sleep(KEEP_THREAD / 2).await;
        // An empty task does not fail.
        let _ = tokio::task::spawn_blocking(|| ()).await;
    }
}

/// Starts a first thread for work that blocks.
///
/// # Errors
/// If there can be none. Later that would be a panic.
fn start_thread(runtime: &Runtime) -> Result<(), Failure> {
    // The only way that the runtime has to say so. Nothing else runs yet that could panic.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let started = std::panic::catch_unwind(AssertUnwindSafe(|| drop(runtime.spawn_blocking(|| ()))));
    std::panic::set_hook(hook);
    started.map_err(|_| no_thread())
}
