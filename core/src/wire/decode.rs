//! Reading messages.

use std::net::IpAddr;

use serde::Deserialize;

use super::{MAX_LINE, content};
use crate::id::{Contact, PeerId};
use crate::key::Key;
use crate::message::{
    Answer, Availability, ErrorAnswer, ErrorCode, HaveAnswer, MAX_PAGE, MAX_TIME, MAX_TOKEN, Message, Page,
    RawAnswer, Register, Request, Timestep, VERSION,
};

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// More than [`MAX_LINE`] bytes without a line feed.
    #[error("a line has at most {MAX_LINE} bytes")]
    TooLong,
    /// The first message is not `V`.
    #[error("the first message of a connection is V {{\"version\":{VERSION}}}")]
    NoVersion,
    /// A version that is not spoken here.
    #[error("version {0} is not spoken here, version {VERSION} is")]
    WrongVersion(u32),
    /// A verb that does not exist. The connection may go on.
    #[error("there is no verb {0}")]
    UnknownVerb(String),
    /// Anything else.
    #[error("{0}")]
    Bad(String),
}

impl WireError {
    /// The error to answer with (PROTOCOL.md §1.7).
    pub fn to_answer(&self) -> ErrorAnswer {
        let code = match self {
            Self::TooLong => ErrorCode::TooLong,
            Self::NoVersion | Self::WrongVersion(_) => ErrorCode::Version,
            Self::UnknownVerb(_) => ErrorCode::UnknownVerb,
            Self::Bad(_) => ErrorCode::BadMessage,
        };
        ErrorAnswer::new(code, self.to_string())
    }
}

/// Takes bytes as they come and gives messages as they are whole.
///
/// Call [`Decoder::feed`], then [`Decoder::next`] until it says `None`. It buffers at most what
/// was fed plus one unfinished line of [`MAX_LINE`] bytes.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Where the unread part of `buffer` begins.
    start: usize,
    expects_version: bool,
}

/// An empty buffer larger than this is given back, so that idle connections stay small.
const KEEP_CAPACITY: usize = 4096;

impl Decoder {
    /// For the side that accepted the connection: the first message must be `V`.
    pub fn server() -> Self {
        Self { expects_version: true, ..Self::default() }
    }

    /// For the side that opened the connection.
    pub fn client() -> Self {
        Self::default()
    }

    /// Takes what arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// At most `max` of the raw bytes that follow the message that came last; empty if there are
    /// none yet. What is taken here is no longer read as lines.
    pub fn take_raw(&mut self, max: usize) -> &[u8] {
        let start = self.start;
        self.start = self.buffer.len().min(start.saturating_add(max));
        &self.buffer[start..self.start]
    }

    /// Whether a part of a line has come and its rest has not.
    pub fn has_partial_line(&self) -> bool {
        self.start < self.buffer.len()
    }

    /// The next whole message, or `None` until more is fed.
    ///
    /// # Errors
    /// [`WireError::UnknownVerb`] concerns one line, and reading may go on. After any other
    /// error the stream is lost and the connection is to be closed.
    // Not an iterator: an error in the middle does not end it.
    #[expect(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Message>, WireError> {
        loop {
            let unread = &self.buffer[self.start..];
            let window = &unread[..unread.len().min(MAX_LINE)];
            let Some(length) = memchr::memchr(b'\n', window) else {
                if unread.len() >= MAX_LINE {
                    return Err(WireError::TooLong);
                }
                self.release();
                return Ok(None);
            };
            let line = &unread[..length];
            let message = decode(line.strip_suffix(b"\r").unwrap_or(line));
            self.start += length + 1;
            if self.expects_version {
                match message {
                    Ok(Message::Version(VERSION)) => self.expects_version = false,
                    Ok(Message::Version(other)) => return Err(WireError::WrongVersion(other)),
                    _ => return Err(WireError::NoVersion),
                }
                continue;
            }
            return match message? {
                Message::Version(_) => Err(WireError::Bad("V comes once, at the start".into())),
                message => Ok(Some(message)),
            };
        }
    }

    fn release(&mut self) {
        if self.start == self.buffer.len() {
            self.start = 0;
            self.buffer.clear();
            if self.buffer.capacity() > KEEP_CAPACITY {
                self.buffer = Vec::new();
            }
        }
    }
}

/// One line without its line feed.
fn decode(line: &[u8]) -> Result<Message, WireError> {
    if line == b"S" {
        return Ok(Message::Start);
    }
    let Some(space) = memchr::memchr(b' ', line).filter(|at| (1..=16).contains(at)) else {
        return Err(WireError::Bad("a message is a verb, a space and a JSON object".into()));
    };
    let (verb, json) = (&line[..space], &line[space + 1..]);
    if !verb.iter().all(u8::is_ascii_uppercase) {
        return Err(WireError::Bad("a verb is 1 to 16 upper-case letters".into()));
    }
    Ok(match verb {
        b"R" => Message::Request(Request::Register(parse::<RegisterBody>(verb, json)?.check()?)),
        b"U" => {
            let body: UnregisterBody = parse(verb, json)?;
            Message::Request(Request::Unregister { id: body.id, token: check_token(body.token)? })
        }
        b"L" => Message::Request(Request::List(parse::<PageBody>(verb, json)?.check()?)),
        b"W" => Message::Request(Request::WhereIs(parse::<IdBody>(verb, json)?.id)),
        b"Q" => Message::Request(Request::Have(parse::<KeyBody>(verb, json)?.key)),
        b"O" => Message::Request(Request::Known(parse::<PageBody>(verb, json)?.check()?)),
        b"M" => Message::Request(Request::Contents(parse::<PageBody>(verb, json)?.check()?)),
        b"D" => Message::Request(Request::Describe(parse::<KeyBody>(verb, json)?.key)),
        b"H" => {
            let (key, first) = parse::<content::HashesBody>(verb, json)?.check();
            Message::Request(Request::Hashes { key, first })
        }
        b"I" => Message::Request(Request::Interest(parse::<content::InterestBody>(verb, json)?.check()?)),
        b"G" => {
            let (range, any) = parse::<content::RangeBody>(verb, json)?.check()?;
            Message::Request(Request::Get { range, any })
        }
        b"N" => Message::News(parse::<content::NewsBody>(verb, json)?.check()?),
        b"X" => Message::Cancel(parse::<content::RangeBody>(verb, json)?.check()?.0),
        b"A" => Message::Answer(parse::<AnswerBody>(verb, json)?.check()?),
        b"E" => {
            let body: ErrorBody = parse(verb, json)?;
            let text = body.text.unwrap_or_default();
            // It will be shown on somebody's terminal.
            let text = text.chars().filter(|c| !c.is_control()).take(200).collect();
            Message::Error(ErrorAnswer { code: ErrorCode::from_wire(&body.code), text })
        }
        b"T" => Message::Go(check_time(parse::<TimeBody>(verb, json)?.time)?),
        b"C" => Message::Complete(check_time(parse::<TimeBody>(verb, json)?.time)?),
        b"F" => {
            parse::<EmptyBody>(verb, json)?;
            Message::Finish
        }
        b"V" => Message::Version(parse::<VersionBody>(verb, json)?.version),
        _ => {
            parse::<EmptyBody>(verb, json)?;
            return Err(WireError::UnknownVerb(String::from_utf8_lossy(verb).into_owned()));
        }
    })
}

fn parse<'a, T: Deserialize<'a>>(verb: &[u8], json: &'a [u8]) -> Result<T, WireError> {
    // serde would take an array for a struct.
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err(WireError::Bad("after the verb and a space comes a JSON object".into()));
    }
    serde_json::from_slice(json)
        .map_err(|e| WireError::Bad(format!("in {}: {e}", String::from_utf8_lossy(verb))))
}

fn check_time(time: Timestep) -> Result<Timestep, WireError> {
    if time > MAX_TIME {
        return Err(WireError::Bad(format!("a time is a whole number from 0 to {MAX_TIME}")));
    }
    Ok(time)
}

fn check_token(token: Option<String>) -> Result<Option<String>, WireError> {
    match token {
        Some(token) if token.is_empty() || token.len() > MAX_TOKEN => {
            Err(WireError::Bad(format!("a token has 1 to {MAX_TOKEN} bytes")))
        }
        token => Ok(token),
    }
}

#[derive(Deserialize)]
struct EmptyBody {}

#[derive(Deserialize)]
struct VersionBody {
    version: u32,
}

#[derive(Deserialize)]
struct TimeBody {
    time: Timestep,
}

#[derive(Deserialize)]
struct IdBody {
    id: PeerId,
}

#[derive(Deserialize)]
struct KeyBody {
    key: Key,
}

#[derive(Deserialize)]
struct UnregisterBody {
    id: PeerId,
    token: Option<String>,
}

#[derive(Deserialize)]
struct RegisterBody {
    id: PeerId,
    ip: Option<IpAddr>,
    port: u16,
    token: Option<String>,
    list: Option<usize>,
    script_end: Option<Timestep>,
}

impl RegisterBody {
    fn check(self) -> Result<Register, WireError> {
        if self.port == 0 {
            return Err(WireError::Bad("a port is a number from 1 to 65535".into()));
        }
        Ok(Register {
            id: self.id,
            ip: self.ip,
            port: self.port,
            token: check_token(self.token)?,
            list: self.list.map(|n| n.min(MAX_PAGE)),
            script_end: self.script_end.map(check_time).transpose()?,
        })
    }
}

#[derive(Deserialize)]
struct PageBody {
    after: Option<u64>,
    limit: Option<usize>,
}

impl PageBody {
    fn check(self) -> Result<Page, WireError> {
        match self.limit {
            Some(0) => Err(WireError::Bad("a limit is 1 or more".into())),
            limit => Ok(Page { after: self.after, limit: limit.map_or(MAX_PAGE, |n| n.min(MAX_PAGE)) }),
        }
    }
}

#[derive(Deserialize)]
struct ErrorBody {
    code: String,
    text: Option<String>,
}

#[derive(Deserialize)]
struct AnswerBody {
    registered: Option<Contact>,
    lease_s: Option<u32>,
    unregistered: Option<PeerId>,
    peers: Option<Vec<Contact>>,
    peer: Option<Contact>,
    have: Option<bool>,
    hint: Option<Contact>,
    fetching: Option<bool>,
    keys: Option<Vec<Key>>,
    next: Option<u64>,
    content: Option<content::DescriptionBody>,
    hashes: Option<u32>,
    /// `"all"`; a list of pieces goes as a bitmap.
    pieces: Option<AllPieces>,
    bitmap: Option<u32>,
    key: Option<Key>,
    from: Option<u64>,
    length: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum AllPieces {
    All,
}

impl AnswerBody {
    fn check(self) -> Result<Answer, WireError> {
        let entries = self.peers.as_ref().map_or(0, Vec::len).max(self.keys.as_ref().map_or(0, Vec::len));
        if entries > MAX_PAGE {
            return Err(WireError::Bad(format!("a page has at most {MAX_PAGE} entries")));
        }
        Ok(match self {
            Self { registered: Some(contact), lease_s, peers, .. } => {
                Answer::Registered { contact, lease_s, peers }
            }
            Self { unregistered: Some(id), .. } => Answer::Unregistered(id),
            Self { have: Some(true), .. } => Answer::Have(HaveAnswer::Have),
            Self { have: Some(false), fetching: Some(true), hint, .. } => {
                Answer::Have(HaveAnswer::Fetching(hint))
            }
            Self { have: Some(false), hint: Some(hint), .. } => Answer::Have(HaveAnswer::Hint(hint)),
            Self { have: Some(false), .. } => Answer::Have(HaveAnswer::No),
            Self { peers: Some(peers), next, .. } => Answer::Peers { peers, next },
            Self { keys: Some(keys), next, .. } => Answer::Keys { keys, next },
            Self { peer: Some(peer), .. } => Answer::Peer(peer),
            Self { content: Some(content), .. } => Answer::Content(content.check()?),
            Self { hashes: Some(count), .. } => Answer::Raw(content::check_hashes(count)?),
            Self { pieces: Some(AllPieces::All), .. } => Answer::Raw(RawAnswer::Pieces(Availability::All)),
            Self { bitmap: Some(bytes), .. } => Answer::Raw(content::check_bitmap(bytes)?),
            Self { key: Some(key), from: Some(from), length: Some(length), .. } => {
                Answer::Raw(RawAnswer::Bytes(content::check_range(key, from, length)?))
            }
            _ => return Err(WireError::Bad("an answer to no request of this version".into())),
        })
    }
}
