//! The verbs of a running peer, for programs on the same machine: a Unix socket in the peer's
//! folder, which only its user can open. A request is one line of JSON, the answer is another.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use askaround_core::id::{Contact, PeerId};
use askaround_core::key::Key;
use askaround_core::message::HaveAnswer;
use askaround_core::peer::{AskError, FindReport, Outcome, TraceStep};
use askaround_core::script::Action;
use askaround_core::search::{Ask, Reason, Reply};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::peer::{PeerCommand, command};

/// The socket's name in a peer's folder.
pub const SOCKET: &str = "peer.sock";
const MAX_REQUEST: u64 = 64 << 10;
const MAX_CLIENTS: usize = 64;

/// What a program may ask of a running peer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case")]
pub enum ApiRequest {
    /// List the registered peers.
    Peers,
    /// Whom does this peer know.
    Known {
        /// Which peer.
        id: PeerId,
    },
    /// What does this peer hold.
    Contents {
        /// Which peer.
        id: PeerId,
    },
    /// Who has this key.
    Find {
        /// Which key.
        key: Key,
        /// Whether each question is wanted.
        trace: bool,
    },
    /// Register with the tracker.
    Register,
    /// Unregister.
    Unregister,
    /// Hold this key no longer.
    Purge {
        /// Which key.
        key: Key,
    },
    /// Hold this key.
    Hold {
        /// Which key.
        key: Key,
    },
}

/// What comes back.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApiReply {
    /// Registered, as the tracker lists it.
    Registered(Contact),
    /// No longer registered.
    Unregistered(PeerId),
    /// A list of peers.
    Peers(Vec<Contact>),
    /// A list of keys.
    Keys(Vec<Key>),
    /// How a search went.
    Search(ApiSearch),
    /// Whether the key was purged; false if it was not held.
    Purged(bool),
    /// Whether the key is newly held; false if it was held before.
    Held(bool),
    /// It could not be done, in words.
    Error(String),
}

/// How a search went.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ApiSearch {
    /// What was looked for.
    pub key: Key,
    /// Who has it.
    pub found: Option<Contact>,
    /// How it was found, in words.
    pub route: Option<String>,
    /// Whether a bound ended the search before everybody was asked.
    pub truncated: bool,
    /// How many questions were asked.
    pub questions: u64,
    /// How long it took.
    pub took_ms: f64,
    /// Each question, if wanted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trace: Vec<ApiStep>,
}

/// One question of a search.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ApiStep {
    /// Who was asked; the tracker, if `None`.
    pub asked: Option<Contact>,
    /// What: `have`, `known` or `list`.
    pub what: String,
    /// Why, in words.
    pub why: String,
    /// What came back, in words.
    pub answer: String,
    /// How long that took.
    pub took_ms: Option<f64>,
}

impl ApiRequest {
    fn action(self) -> (Action, bool) {
        match self {
            Self::Peers => (Action::List, false),
            Self::Known { id } => (Action::Known(id), false),
            Self::Contents { id } => (Action::Contents(id), false),
            Self::Find { key, trace } => (Action::Find(key), trace),
            Self::Register => (Action::Register, false),
            Self::Unregister => (Action::Unregister, false),
            Self::Purge { key } => (Action::Purge(key), false),
            Self::Hold { key } => (Action::Hold(key), false),
        }
    }
}

impl From<Outcome> for ApiReply {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Registered { contact, .. } => Self::Registered(contact),
            Outcome::Unregistered(id) => Self::Unregistered(id),
            Outcome::TrackerFailed(error) => Self::Error(format!("the tracker: {error}")),
            Outcome::Listed(peers) | Outcome::Known { peers, .. } => Self::Peers(peers),
            Outcome::Contents { keys, .. } => Self::Keys(keys),
            Outcome::Found { report, .. } => Self::Search((*report).into()),
            Outcome::Purged(_) => Self::Purged(true),
            Outcome::NotHeld(_) => Self::Purged(false),
            Outcome::Held { new, .. } => Self::Held(new),
            Outcome::Unreachable { id, why } => Self::Error(match why {
                AskError::Refused(error) => format!("client {id}: {}", error.text),
                why => format!("client {id}: {why}"),
            }),
        }
    }
}

impl From<FindReport> for ApiSearch {
    fn from(report: FindReport) -> Self {
        let own = report.found.is_some() && report.route.is_none();
        Self {
            key: report.key,
            found: report.found,
            route: if own { Some("this peer holds it".into()) } else { report.route.map(reason_text) },
            truncated: report.truncated,
            questions: report.questions,
            took_ms: millis(report.took),
            trace: report.trace.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<TraceStep> for ApiStep {
    fn from(step: TraceStep) -> Self {
        let (asked, what) = match &step.question.ask {
            Ask::Tracker(_) => (None, "list"),
            Ask::Have(peer) => (Some(*peer), "have"),
            Ask::Known(peer, _) => (Some(*peer), "known"),
            Ask::OwnKnown => (None, "own-known"),
        };
        let answer = match &step.answered {
            None => "not waited for".into(),
            Some((_, Err(error))) => error.to_string(),
            Some((_, Ok(Reply::Have(HaveAnswer::Have)))) => "has it".into(),
            Some((_, Ok(Reply::Have(HaveAnswer::No)))) => "no".into(),
            Some((_, Ok(Reply::Have(HaveAnswer::Fetching(None))))) => "is fetching it".into(),
            Some((_, Ok(Reply::Have(HaveAnswer::Fetching(Some(hint)))))) => {
                format!("is fetching it; hint: {hint}")
            }
            Some((_, Ok(Reply::Have(HaveAnswer::Hint(hint))))) => format!("hint: {hint}"),
            Some((_, Ok(Reply::Peers { peers, next }))) => {
                let more = if next.is_some() { ", more to come" } else { "" };
                format!("{} peers{more}", peers.len())
            }
        };
        Self {
            asked,
            what: what.into(),
            why: reason_text(step.question.reason),
            answer,
            took_ms: step.answered.map(|(at, _)| millis(at.since(step.asked_at))),
        }
    }
}

pub(crate) fn reason_text(reason: Reason) -> String {
    match reason {
        Reason::OwnOriginator => "this peer got it from there before".into(),
        Reason::Listed => "on the tracker's list".into(),
        Reason::LongerList(level) => format!("on the longer list, level {level}"),
        Reason::Hint { by, further: 0 } => format!("hint of client {}", by.id),
        Reason::Hint { by, further } => format!("further hint {further}, of client {}", by.id),
    }
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

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
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves programs until `stop` is cancelled.
pub async fn serve(listener: UnixListener, peer: mpsc::Sender<PeerCommand>, stop: CancellationToken) {
    let clients = Arc::new(Semaphore::new(MAX_CLIENTS));
    let tasks = TaskTracker::new();
    loop {
        let Ok(permit) = clients.clone().acquire_owned().await else { break };
        tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let (peer, stop) = (peer.clone(), stop.clone());
                tasks.spawn(async move {
                    let _permit = permit;
                    tokio::select! {
                        () = stop.cancelled() => {}
                        served = client(stream, &peer) => if let Err(error) = served {
                            tracing::debug!(%error, "a local client");
                        },
                    }
                });
            }
        }
    }
    tasks.close();
    tasks.wait().await;
}

async fn client(mut stream: UnixStream, peer: &mpsc::Sender<PeerCommand>) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut line = String::new();
    let mut reader = BufReader::new(reader.take(MAX_REQUEST));
    reader.read_line(&mut line).await?;
    let reply = match serde_json::from_str::<ApiRequest>(&line) {
        Ok(request) => {
            let (action, trace) = request.action();
            tokio::select! {
                // Whoever asked is gone: the command is given up with this future.
                _ = reader.read_u8() => return Ok(()),
                outcome = command(peer, action, trace) => match outcome {
                    Some(outcome) => outcome.into(),
                    None => ApiReply::Error("the peer is ending".into()),
                },
            }
        }
        Err(error) => ApiReply::Error(format!("not a request: {error}")),
    };
    let mut text = serde_json::to_vec(&reply)?;
    text.push(b'\n');
    writer.write_all(&text).await
}

/// Why a running peer could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// There is none.
    #[error("no peer is running on {0}: start one with `askaround peer`, or name its folder with --dir")]
    NotRunning(PathBuf),
    /// It went away, or the system refused.
    #[error("cannot talk to the peer: {0}")]
    Broken(#[from] io::Error),
    /// It answered something else.
    #[error("the peer's answer is not understood; is it of another version? {0}")]
    Answer(#[from] serde_json::Error),
}

/// Asks the peer that runs on `folder`.
///
/// # Errors
/// If there is none, or it goes away.
pub async fn ask(folder: &Path, request: &ApiRequest) -> Result<ApiReply, ApiError> {
    let mut stream = match UnixStream::connect(folder.join(SOCKET)).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Err(ApiError::NotRunning(folder.to_owned()));
        }
        Err(error) => return Err(error.into()),
    };
    let mut text = serde_json::to_vec(request)?;
    text.push(b'\n');
    stream.write_all(&text).await?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await?;
    if line.is_empty() {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(serde_json::from_str(&line)?)
}
