//! The socket, and whoever connects to it.

#[cfg(test)]
mod tests;

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::geteuid;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::WriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::answer::answer;
use super::path::SocketPath;
use super::types::{ApiEvent, ApiReply, ApiRequest};
use super::{MAX_REQUEST, SOCKET};
use crate::delivery::Delivery;

/// Programs that may be connected. One more is told so, and goes.
const MAX_PROGRAMS: usize = 1000;
/// How many of them may have long work done at the same time. Others wait for their turn.
const MAX_AT_WORK: usize = 64;
/// How long a program may take to say what it wants.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait when a program cannot be let in: the process may be out of files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
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
    serve_at_most(MAX_PROGRAMS, listener, delivery, stop).await;
}

async fn serve_at_most(most: usize, listener: UnixListener, delivery: Delivery, stop: CancellationToken) {
    let programs = Arc::new(Semaphore::new(most));
    let server = Arc::new(Server { delivery, stop, turns: Semaphore::new(MAX_AT_WORK) });
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = server.stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        if !stream.peer_cred().is_ok_and(|who| may_ask(who.uid(), geteuid().as_raw())) {
            refuse(stream, "only the user whose peer this is, and root, may have it do something");
            continue;
        }
        let Ok(place) = programs.clone().try_acquire_owned() else {
            let why = format!("{most} programs are at work with this peer: try again once one has ended");
            refuse(stream, &why);
            continue;
        };
        let server = server.clone();
        tasks.spawn(async move {
            let _place = place;
            if let Err(error) = server.client(stream).await {
                tracing::debug!(%error, "a local client");
            }
        });
    }
    tasks.close();
    tasks.wait().await;
}

/// Whether a user's programs are answered. That others cannot open the socket is not enough: they can
/// for as long as its mode is what the system gave it.
fn may_ask(uid: u32, own: u32) -> bool {
    uid == own || uid == 0
}

/// Tells a program why it is not let in. Nothing is waited for: a line always fits into a socket that
/// nothing was written to.
fn refuse(stream: UnixStream, why: &str) {
    let tell = || stream.into_std()?.write_all(&line_of(&ApiReply::Error(why.into()))?);
    if let Err(error) = tell() {
        tracing::debug!(%error, "a local client that was refused");
    }
}

/// What is the same for all programs.
struct Server {
    delivery: Delivery,
    stop: CancellationToken,
    /// Of long work.
    turns: Semaphore,
}

impl Server {
    async fn client(&self, mut stream: UnixStream) -> io::Result<()> {
        let stop = &self.stop;
        let (reader, mut writer) = stream.split();
        let mut line = Vec::new();
        let mut reader = BufReader::new(reader.take(MAX_REQUEST as u64));
        let read = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            read = timeout(REQUEST_TIMEOUT, reader.read_until(b'\n', &mut line)) => read,
        };
        let request = match read {
            Ok(read) => read.map(|_| parse(&line))?,
            Err(_) => Err(format!("no request came within {} s", REQUEST_TIMEOUT.as_secs())),
        };
        let request = match request {
            Ok(request) => request,
            Err(why) => return write_line(&mut writer, &ApiReply::Unusable(why), stop).await,
        };
        // Whoever gives up may still say so after a request of as many bytes as may be.
        reader.get_mut().set_limit(1);
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
        let answering = async { tokio::join!(self.answer(request, events, given_up.clone()), tell) };
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

    /// Answers, long work in its turn.
    async fn answer(
        &self,
        request: ApiRequest,
        events: mpsc::Sender<ApiEvent>,
        given_up: CancellationToken,
    ) -> ApiReply {
        let _turn = match is_long(&request) {
            true => tokio::select! {
                () = given_up.cancelled() => return ApiReply::Stopped,
                turn = self.turns.acquire() => turn.ok(),
            },
            false => None,
        };
        answer(&self.delivery, request, events, given_up).await
    }
}

/// What a line asks for, or why it is no request.
fn parse(line: &[u8]) -> Result<ApiRequest, String> {
    if line.len() == MAX_REQUEST && !line.ends_with(b"\n") {
        return Err(format!("a request has at most {MAX_REQUEST} bytes"));
    }
    serde_json::from_slice(line).map_err(|error| format!("not a request: {error}"))
}

/// Whether it may take as long as content is large.
fn is_long(request: &ApiRequest) -> bool {
    matches!(request, ApiRequest::Add(_) | ApiRequest::Get(_) | ApiRequest::Verify { .. })
}

/// Writes a line, as slowly as it is read, until the peer ends.
async fn write_line(
    writer: &mut WriteHalf<'_>,
    line: &impl Serialize,
    stop: &CancellationToken,
) -> io::Result<()> {
    let text = match line_of(line) {
        Ok(text) => text,
        // Whoever waits for an answer gets one.
        Err(error) => line_of(&ApiReply::Error(format!("a bug of ours: {error}")))?,
    };
    let too_late = async {
        stop.cancelled().await;
        tokio::time::sleep(LAST_WORDS).await;
    };
    tokio::select! {
        written = writer.write_all(&text) => written,
        () = too_late => Err(io::ErrorKind::TimedOut.into()),
    }
}

fn line_of(line: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    Ok(text)
}
