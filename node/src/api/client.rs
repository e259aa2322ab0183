//! Asks a running peer.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::ReadHalf;
use tokio_util::sync::CancellationToken;

use super::MAX_REQUEST;
use super::path::{SocketPath, can_be_in};
use super::types::{ApiEvent, ApiLine, ApiReply, ApiRequest};

/// How long a peer may take to end what is given up.
const GIVING_UP: Duration = Duration::from_secs(10);

/// Why a running peer could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// There is none.
    #[error("no peer is running on {0}: start one with `askaround peer`, or name its folder with --dir")]
    NotRunning(PathBuf),
    /// The path of its folder is too long for a socket in it.
    #[error("{0}: its path is too long for a local socket: name a shorter one with --dir")]
    LongPath(PathBuf),
    /// The system does not let us reach it.
    #[error("cannot talk to the peer on {folder}: {error}")]
    Unreachable {
        /// The peer's folder.
        folder: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// What is asked for is longer than a request may be.
    #[error("the running peer takes {MAX_REQUEST} bytes at once, and this is {0}: ask for fewer at once")]
    TooLong(usize),
    /// It went away.
    #[error("the peer ended before it was done: start it again, then the same command goes on")]
    Ended,
    /// The system refused.
    #[error("cannot talk to the peer: {0}")]
    Broken(#[from] io::Error),
    /// It answered something else.
    #[error("the peer's answer is not understood; is it of another version? {0}")]
    Answer(#[from] serde_json::Error),
}

/// Whether a peer runs on `folder`.
///
/// # Errors
/// If the system does not let us see.
pub async fn is_running(folder: &Path) -> Result<bool, ApiError> {
    match connect(folder).await {
        Ok(_) => Ok(true),
        Err(ApiError::NotRunning(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Asks the peer that runs on `folder`. When `give_up` is cancelled the peer is told so, and its
/// reply still waited for, since it ends soon.
///
/// # Errors
/// If there is none, or it goes away.
pub async fn ask(
    folder: &Path,
    request: &ApiRequest,
    mut event: impl FnMut(ApiEvent),
    give_up: &CancellationToken,
) -> Result<ApiReply, ApiError> {
    let mut text = serde_json::to_vec(request)?;
    text.push(b'\n');
    if text.len() > MAX_REQUEST {
        return Err(ApiError::TooLong(text.len()));
    }
    let mut stream = connect(folder).await?;
    let (reader, mut writer) = stream.split();
    let mut lines = BufReader::new(reader).lines();
    let reply = async {
        match writer.write_all(&text).await {
            // Whoever does not read it may have said why.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
            _ => {}
        }
        loop {
            match next(&mut lines).await? {
                ApiLine::Event(happened) => event(happened),
                ApiLine::Reply(reply) => return Ok(*reply),
            }
        }
    };
    tokio::select! {
        reply = reply => return reply,
        () = give_up.cancelled() => {}
    }
    writer.shutdown().await?;
    let last = async {
        loop {
            if let ApiLine::Reply(reply) = next(&mut lines).await? {
                return Ok(*reply);
            }
        }
    };
    tokio::time::timeout(GIVING_UP, last).await.map_err(io::Error::from)?
}

async fn connect(folder: &Path) -> Result<UnixStream, ApiError> {
    use io::ErrorKind::{ConnectionRefused, NotADirectory, NotFound};
    if !can_be_in(folder) {
        return Err(ApiError::LongPath(folder.to_owned()));
    }
    let connected = async { UnixStream::connect(&SocketPath::of(folder)?.path).await };
    connected.await.map_err(|error| match error.kind() {
        NotFound | NotADirectory | ConnectionRefused => ApiError::NotRunning(folder.to_owned()),
        _ => ApiError::Unreachable { folder: folder.to_owned(), error },
    })
}

async fn next(lines: &mut Lines<BufReader<ReadHalf<'_>>>) -> Result<ApiLine, ApiError> {
    match lines.next_line().await {
        Ok(Some(line)) => Ok(ApiLine::parse(&line)?),
        Ok(None) => Err(ApiError::Ended),
        // What was asked for was not read.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Err(ApiError::Ended),
        Err(error) => Err(error.into()),
    }
}
