//! Reads traces back. Whatever is wrong is named with its line and what was expected.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use askaround_core::PeerId;
use askaround_core::id::Contact;
use askaround_core::message::{MAX_TIME, Message};
use askaround_core::peer::Change;
use askaround_core::script::{Action, Script};
use askaround_core::search::Reason;

use super::line::{EndLine, EventLine, HeaderLine, HowWord, MemberLine, VERSION};
use super::record::MAX_EVENTS;
use super::{Event, Header, Host, How, Member, Trace, What, note};

/// The longest line that is read, in bytes: a header has every script and expected log.
const MAX_LINE: u64 = 64 << 20;

/// Why a file cannot be used as a trace.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// It cannot be read at all.
    #[error("{path}: cannot be read: {source}", path = path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// It is something else.
    #[error("{path}: not a trace: {problem}; expected a file that askaround wrote with --trace", path = path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// What is odd about its first line.
        problem: String,
    },
    /// A later format.
    #[error("{path}: a trace of version {found}, and this program reads version {VERSION}", path = path.display())]
    Version {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
    /// A line that does not belong there.
    #[error("{path}: line {line}: {problem}", path = path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// The end is missing.
    #[error("{path}: ends in the middle, after {events} events", path = path.display())]
    Unfinished {
        /// Which file.
        path: PathBuf,
        /// How many events there are.
        events: usize,
    },
}

/// Reads the trace in `path`.
///
/// # Errors
/// If it cannot be read or is not a whole trace.
pub fn read(path: &Path) -> Result<Trace, TraceError> {
    let unreadable = |source| TraceError::Unreadable { path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(unreadable)?;
    let mut lines = Lines { input: BufReader::new(file), number: 0, buffer: Vec::new() };
    let header = match lines.next() {
        Ok(Some(text)) => read_header(path, text)?,
        Ok(None) => return Err(foreign(path, "it is empty")),
        // A folder, for example.
        Err(source) => return Err(unreadable(source)),
    };
    let mut events = Vec::new();
    loop {
        let unfinished = TraceError::Unfinished { path: path.to_owned(), events: events.len() };
        let Some(text) = lines.next().map_err(unreadable)? else { return Err(unfinished) };
        let whole = text.last() == Some(&b'\n');
        if let Ok(end) = serde_json::from_slice::<EndLine>(text) {
            return match end.events == events.len() {
                true => Ok(Trace { header, events, cut_off: end.cut_off }),
                false => Err(unfinished),
            };
        }
        let event = read_event(text);
        let line = lines.number;
        match event {
            Ok(event) if events.len() < MAX_EVENTS => events.push(event),
            Ok(_) => return Err(wrong(path, line, format!("more than {MAX_EVENTS} events"))),
            Err(_) if !whole => return Err(unfinished),
            Err(problem) => return Err(wrong(path, line, problem)),
        }
    }
}

fn wrong(path: &Path, line: usize, problem: String) -> TraceError {
    TraceError::Line { path: path.to_owned(), line, problem }
}

fn foreign(path: &Path, problem: &str) -> TraceError {
    TraceError::Foreign { path: path.to_owned(), problem: problem.to_owned() }
}

/// Lines of bounded length.
struct Lines<R> {
    input: R,
    number: usize,
    buffer: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.buffer.clear();
        self.number += 1;
        let read = self.input.by_ref().take(MAX_LINE).read_until(b'\n', &mut self.buffer)?;
        if read as u64 == MAX_LINE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is longer than 64 MiB"));
        }
        Ok((read > 0).then_some(&self.buffer))
    }
}

fn read_header(path: &Path, text: &[u8]) -> Result<Header, TraceError> {
    let value: serde_json::Value =
        serde_json::from_slice(text).map_err(|_| foreign(path, "its first line is not JSON"))?;
    let Some(version) = value.get("askaround_trace") else {
        return Err(foreign(path, "its first line has no askaround_trace"));
    };
    if version.as_u64() != Some(VERSION.into()) {
        let found = version.as_u64().ok_or_else(|| foreign(path, "its version is no number"))?;
        return Err(TraceError::Version { path: path.to_owned(), found });
    }
    let line: HeaderLine = serde_json::from_value(value).map_err(|e| wrong(path, 1, e.to_string()))?;
    let peers = line.peers.into_iter().map(member).collect::<Result<Vec<_>, _>>();
    let peers = peers.map_err(|problem| wrong(path, 1, problem))?;
    if !peers.is_sorted_by(|a, b| a.script.id < b.script.id) {
        return Err(wrong(path, 1, "the peers are not in increasing order of their ids".into()));
    }
    let how = match line.how {
        HowWord::Sockets => How::Sockets,
        HowWord::Simulated => How::Simulated,
    };
    Ok(Header { name: line.name, about: line.about, how, peers, expected: line.expected })
}

fn member(line: MemberLine) -> Result<Member, String> {
    let id = line.peer.id;
    let mut actions = Vec::new();
    for (time, code, parameter) in line.actions {
        let parameter = parameter.unwrap_or_default();
        let key = || parameter.parse().map_err(|e| format!("peer {id}: {e}"));
        let peer = || parameter.parse::<PeerId>().map_err(|e| format!("peer {id}: {e}"));
        let action = Action::of_letter(&code, key, peer)?;
        let action = action.ok_or_else(|| format!("peer {id}: no action has the code {code}"))?;
        if time > MAX_TIME {
            return Err(format!("peer {id}: time {time} is above {MAX_TIME}"));
        }
        actions.push((time, action));
    }
    Ok(Member { addr: line.peer.addr(), script: Script { id, content: line.content, actions } })
}

fn read_event(text: &[u8]) -> Result<Event, String> {
    let line: EventLine<'_> = serde_json::from_slice(text).map_err(|e| format!("not an event: {e}"))?;
    if line.time > MAX_TIME {
        return Err(format!("time {} is above {MAX_TIME}", line.time));
    }
    let kind = line.kind.clone();
    let needs = |field: &str| format!("an event of kind {kind} needs {field}");
    let what = match kind.as_ref() {
        "send" => What::Send {
            message: line.message.ok_or_else(|| needs("message"))?,
            to: host(line.to.as_deref().ok_or_else(|| needs("to"))?)?,
            why: reason(&line)?,
            answers: line.answers,
            body: from_the_wire(&line)?,
        },
        "receive" => What::Receive {
            message: line.message.ok_or_else(|| needs("message"))?,
            from: host(line.from.as_deref().ok_or_else(|| needs("from"))?)?,
        },
        "unanswered" => What::Unanswered {
            message: line.message.ok_or_else(|| needs("message"))?,
            to: host(line.to.as_deref().ok_or_else(|| needs("to"))?)?,
            why: line.why.clone().unwrap_or_default(),
        },
        "fetch" => What::Fetch {
            key: line.key.clone().ok_or_else(|| needs("key"))?,
            from: host(line.from.as_deref().ok_or_else(|| needs("from"))?)?,
        },
        "fetched" => What::Fetched {
            key: line.key.clone().ok_or_else(|| needs("key"))?,
            from: host(line.from.as_deref().ok_or_else(|| needs("from"))?)?,
            failed: line.why.clone(),
        },
        "log" => What::Log(line.log.clone().ok_or_else(|| needs("log"))?),
        "change" => What::Change(change(&line)?),
        "left-out" => What::LeftOut(line.peer.ok_or_else(|| needs("peer"))?),
        "finished" => What::Finished,
        "failed" => What::Failed(line.why.clone().unwrap_or_default()),
        other => return Err(format!("there is no event of kind {other:?}")),
    };
    Ok(Event { at_ns: line.at_ns, time: line.time, host: host(&line.host)?, what })
}

fn host(text: &str) -> Result<Host, String> {
    if text == "tracker" {
        return Ok(Host::Tracker);
    }
    match (text.parse(), text.parse()) {
        (Ok(id), _) => Ok(Host::Peer(id)),
        (_, Ok(addr)) => Ok(Host::Elsewhere(addr)),
        _ => Err(format!("{text:?} is neither tracker, nor a client id, nor an address")),
    }
}

fn reason(line: &EventLine<'_>) -> Result<Option<Reason>, String> {
    let Some(why) = line.why.as_deref() else { return Ok(None) };
    Ok(Some(match (why, line.by) {
        ("own-originator", _) => Reason::OwnOriginator,
        ("listed", _) => Reason::Listed,
        ("longer-list", _) => Reason::LongerList(line.level.unwrap_or(1)),
        ("hint", Some(by)) => Reason::Hint { by, further: line.further.unwrap_or(0) },
        ("hint", None) => return Err("a hint needs by".into()),
        (other, _) => return Err(format!("there is no reason {other:?}")),
    }))
}

fn change(line: &EventLine<'_>) -> Result<Change, String> {
    let key = line.key.clone().ok_or("a change needs key")?;
    let of = || -> Result<Contact, String> { line.of.ok_or_else(|| "this change needs of".to_owned()) };
    Ok(match line.change.as_deref() {
        Some("held") => Change::Held(key),
        Some("purged") => Change::Purged(key),
        Some("obtained") => Change::Obtained(key, of()?),
        Some("originator") => Change::Originator(key, of()?),
        other => return Err(format!("there is no change {other:?}")),
    })
}

/// The message, checked by the decoder of the protocol.
fn from_the_wire(line: &EventLine<'_>) -> Result<Message, String> {
    let verb = line.verb.as_deref().ok_or("a message needs verb")?;
    let text = match &line.body {
        Some(body) => format!("{verb} {body}"),
        None => verb.to_owned(),
    };
    note::from_the_wire(&text)
}
