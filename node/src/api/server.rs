//! The socket, and whoever connects to it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::WriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::answer::answer;
use super::path::SocketPath;
use super::types::{ApiReply, ApiRequest};
use super::{MAX_REQUEST, SOCKET};
use crate::delivery::Delivery;

const MAX_CLIENTS: usize = 64;
/// Events that wait until the program has read those before.
const EVENTS: usize = 64;
/// How long a peer that ends waits for a program to read how its request ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Listens in `folder`. A socket left by a peer that crashed is replaced: the caller holds the
/// folder's [`Store`](crate::store::Store), so no other peer lives there.
///
/// # Errors
/// What the operating system says.
pub fn listen(folder: &Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join(SOCKET);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&SocketPath::of(folder)?.path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves programs until `stop` is cancelled.
pub async fn serve(listener: UnixListener, delivery: Delivery, stop: CancellationToken) {
    let clients = Arc::new(Semaphore::new(MAX_CLIENTS));
    let tasks = TaskTracker::new();
    loop {
        let permit = tokio::select! {
            () = stop.cancelled() => break,
            permit = clients.clone().acquire_owned() => permit,
        };
        let Ok(permit) = permit else { break };
        tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let (delivery, stop) = (delivery.clone(), stop.clone());
                tasks.spawn(async move {
                    let _permit = permit;
                    if let Err(error) = client(stream, &delivery, &stop).await {
                        tracing::debug!(%error, "a local client");
                    }
                });
            }
        }
    }
    tasks.close();
    tasks.wait().await;
}

async fn client(mut stream: UnixStream, delivery: &Delivery, stop: &CancellationToken) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut line = String::new();
    let mut reader = BufReader::new(reader.take(MAX_REQUEST as u64));
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        read = reader.read_line(&mut line) => read?,
    };
    let request = match serde_json::from_str::<ApiRequest>(&line) {
        Ok(request) => request,
        Err(error) => {
            let reply = ApiReply::Unusable(match line.len() {
                MAX_REQUEST if !line.ends_with('\n') => {
                    format!("a request has at most {MAX_REQUEST} bytes")
                }
                _ => format!("not a request: {error}"),
            });
            return write_line(&mut writer, &reply, stop).await;
        }
    };
    let given_up = stop.child_token();
    let (events, to_tell) = mpsc::channel(EVENTS);
    let tell = async {
        // Gone with this: whoever has more to tell learns that nobody listens.
        let mut to_tell = to_tell;
        while let Some(event) = to_tell.recv().await {
            write_line(&mut writer, &event, stop).await?;
        }
        Ok::<_, io::Error>(())
    };
    let answering = async { tokio::join!(answer(delivery, request, events, given_up.clone()), tell) };
    let gone = async {
        // A byte more, the end, an error: whoever asked wants it no longer.
        let _ = reader.read_u8().await;
        given_up.cancel();
        std::future::pending::<()>().await;
    };
    let (reply, told) = tokio::select! {
        answered = answering => answered,
        () = gone => return Ok(()),
    };
    told?;
    write_line(&mut writer, &reply, stop).await
}

/// Writes a line, as slowly as it is read, until the peer ends.
async fn write_line(
    writer: &mut WriteHalf<'_>,
    line: &impl Serialize,
    stop: &CancellationToken,
) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    let too_late = async {
        stop.cancelled().await;
        tokio::time::sleep(LAST_WORDS).await;
    };
    tokio::select! {
        written = writer.write_all(&text) => written,
        () = too_late => Err(io::ErrorKind::TimedOut.into()),
    }
}
