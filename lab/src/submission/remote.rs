//! Starts a keeper and listens to it. Closing its stdin ends it, and with it all that it started.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio_util::sync::CancellationToken;

use super::isolation::Isolation;
use super::plan::{Event, Order};

/// The most that a keeper tells, in bytes: what 10 000 processes may say.
const MAX_TOLD: u64 = 512 << 20;
/// How long a keeper may take to end everything, once it was told to.
const END: Duration = Duration::from_secs(20);

/// Has a keeper carry out `order`, until `stop`. Its last event.
///
/// # Errors
/// What went wrong with the keeper, in words.
pub(super) async fn command(
    isolation: Isolation,
    keeper: &[OsString],
    order: &Order,
    stop: &CancellationToken,
    progress: &mut (dyn FnMut(usize) + Send),
) -> Result<Event, String> {
    let words = isolation.wrap(keeper);
    let (program, arguments) = words.split_first().ok_or("no command for the keeper")?;
    // Not ended on drop: its stdin is, and then it ends what it has started before itself. Ctrl-C
    // in a terminal does not reach it, in a group of its own; it comes through us.
    let mut child = Command::new(program)
        .args(arguments)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot start {}: {e}", program.display()))?;
    let stdin = child.stdin.take();
    let result = tokio::select! {
        biased;
        result = listen(&mut child, stdin, order, stop, progress) => result,
        () = overdue(stop) => Err("the run did not end when it was told to".into()),
    };
    if result.is_err() {
        end_by_force(&child);
    }
    let _ = tokio::time::timeout(END, child.wait()).await;
    result
}

/// A while after `stop`.
async fn overdue(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(END).await;
}

async fn listen(
    child: &mut Child,
    mut stdin: Option<ChildStdin>,
    order: &Order,
    stop: &CancellationToken,
    progress: &mut (dyn FnMut(usize) + Send),
) -> Result<Event, String> {
    let mut line = serde_json::to_string(order).map_err(|e| e.to_string())?;
    line.push('\n');
    if let Some(stdin) = &mut stdin {
        // If this fails, its stderr says why.
        let _ = stdin.write_all(line.as_bytes()).await;
    }
    let stdout = child.stdout.take().ok_or("the keeper has no stdout")?;
    let mut lines = BufReader::new(stdout.take(MAX_TOLD)).lines();
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line.map_err(|e| e.to_string())?,
            () = stop.cancelled(), if stdin.is_some() => {
                stdin = None;
                continue;
            }
        };
        match line.as_deref().map(serde_json::from_str) {
            Some(Ok(Event::Progress(complete))) => progress(complete),
            Some(Ok(Event::Failed(problem))) => return Err(problem),
            Some(Ok(event)) => return Ok(event),
            Some(Err(error)) => return Err(format!("the keeper said something else: {error}")),
            None => break,
        }
    }
    let mut said = String::new();
    if let Some(stderr) = child.stderr.take() {
        let _ = stderr.take(4096).read_to_string(&mut said).await;
    }
    let said = said.trim();
    Err(if said.is_empty() { "the keeper ended without a word".into() } else { said.to_owned() })
}

/// A keeper that does not do as it is told is ended, and all that descends from it.
fn end_by_force(child: &Child) {
    use rustix::process::{Pid, Signal, kill_process};
    let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) else { return };
    let descendants = super::keeper::descendants(pid);
    for pid in descendants.into_iter().chain([pid]).filter_map(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
}
