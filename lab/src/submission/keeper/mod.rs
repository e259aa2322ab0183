//! The keeper: a process of ours that runs one scenario with somebody else's programs, and ends
//! everything that they started, whatever they do.
//!
//! It is a process of its own so that whoever leaves a process group or a session is still its
//! descendant: as the first process of a PID namespace where there is one (the kernel ends the
//! rest with it), and as a child subreaper everywhere on Linux. It ends when its stdin ends, so it
//! does not outlive whoever started it, whatever happens to that one.

mod logs;
mod loopback;
mod output;
mod proc_files;
mod process;
mod run;
mod stuck;

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions, kill_process, setrlimit, waitpid};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio_util::sync::CancellationToken;

use super::plan::{Event, Limits, Order, RunEnd};

/// The longest plan, in bytes.
const MAX_PLAN: u64 = 16 << 20;
/// How long processes may take to die of `SIGKILL`.
const END: Duration = Duration::from_secs(5);

/// Reads an order from stdin, carries it out, and tells about it on stdout, as lines of JSON. The
/// end of stdin ends it.
///
/// # Errors
/// If stdin is not a pipe with an order. What goes wrong later is told on stdout.
pub async fn keep() -> io::Result<()> {
    let stdin = pipe::Receiver::from_owned_fd(io::stdin().as_fd().try_clone_to_owned()?)?;
    let mut stdin = BufReader::new(stdin.take(MAX_PLAN));
    let mut line = String::new();
    stdin.read_line(&mut line).await?;
    let order: Order = serde_json::from_str(&line)?;
    let stop = CancellationToken::new();
    let lifeline = tokio::spawn({
        let stop = stop.clone();
        async move {
            // Nothing more is sent: this waits for the end.
            let _ = stdin.read_line(&mut String::new()).await;
            stop.cancel();
        }
    });
    let event = match (prepare(&order), &order) {
        (Err(problem), _) => Event::Failed(problem),
        (Ok(()), Order::Probe { .. }) => Event::Able,
        (Ok(()), Order::Run(plan)) => {
            Event::Over(run::run(plan, &stop, &mut |complete| tell(&Event::Progress(complete))).await)
        }
    };
    lifeline.abort();
    if let (Event::Over(record), Order::Run(plan)) = (&event, &order)
        && record.end == RunEnd::Stopped
    {
        // Whoever made the folder may have been killed.
        let _ = std::fs::remove_dir_all(&plan.folder);
    }
    tell(&event);
    Ok(())
}

/// The descendants of a process, by number.
pub(super) fn descendants(ancestor: i32) -> Vec<i32> {
    proc_files::descendants(ancestor).into_iter().map(|process| process.pid).collect()
}

/// Whoever listened may be gone; then there is nobody to tell.
fn tell(event: &Event) {
    if let Ok(text) = serde_json::to_string(event) {
        let mut stdout = io::stdout().lock();
        let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    }
}

fn prepare(order: &Order) -> Result<(), String> {
    let (own_network, limits) = match order {
        Order::Probe { own_network } => (*own_network, Limits::default()),
        Order::Run(plan) => (plan.own_network, plan.limits),
    };
    if own_network {
        loopback::bring_up().map_err(|e| format!("cannot bring up the loopback device: {e}"))?;
    }
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|e| format!("cannot become the parent of orphans: {e}"))?;
    limit_resources(&limits).map_err(|e| format!("cannot limit what processes may use: {e}"))
}

/// What the kernel limits, for this process and all that it starts.
fn limit_resources(limits: &Limits) -> io::Result<()> {
    // Threads reserve much more address space than they use, so this is no more than a last stop;
    // memory in use is watched.
    let address_space = limits.memory.saturating_mul(8).max(4 << 30);
    for (resource, most) in
        [(Resource::As, address_space), (Resource::Fsize, limits.output), (Resource::Core, 0)]
    {
        let before = rustix::process::getrlimit(resource).maximum;
        let most = Some(before.map_or(most, |before| before.min(most)));
        setrlimit(resource, Rlimit { current: most, maximum: most })?;
    }
    Ok(())
}

/// Ends every descendant of this process. The command lines of those that `expected` does not name.
async fn end_descendants(expected: &[i32]) -> Vec<String> {
    let me = rustix::process::getpid().as_raw_nonzero().get();
    let give_up = Instant::now() + END;
    let mut others = Vec::new();
    let mut named = expected.to_vec();
    loop {
        let all = proc_files::descendants(me);
        let alive: Vec<_> = all.iter().filter(|process| !process.is_zombie()).collect();
        for process in &alive {
            if !named.contains(&process.pid) {
                named.push(process.pid);
                others.push(proc_files::command_line(process.pid));
            }
        }
        for pid in alive.iter().filter_map(|process| Pid::from_raw(process.pid)) {
            let _ = kill_process(pid, Signal::KILL);
        }
        reap_orphans(&all, expected);
        if alive.is_empty() || Instant::now() > give_up {
            return others;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Orphans come to us when they end. Those that we started ourselves are reaped elsewhere.
fn reap_orphans(all: &[proc_files::Process], started: &[i32]) {
    let me = rustix::process::getpid().as_raw_nonzero().get();
    let orphans = all.iter().filter(|p| p.is_zombie() && p.parent == me && !started.contains(&p.pid));
    for pid in orphans.filter_map(|process| Pid::from_raw(process.pid)) {
        let _ = waitpid(Some(pid), WaitOptions::NOHANG);
    }
}
