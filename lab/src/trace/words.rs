//! What messages and events say, in few words for people.

use askaround_core::message::{Answer, Availability, ByteRange, HaveAnswer, Message, RawAnswer, Request};
use askaround_core::peer::Change;
use askaround_core::search::Reason;

use super::What;

/// So many entries of a list are named.
const NAMED: usize = 8;

/// A message, for example `Q 4a` or `hint: peer 4`.
pub fn message(message: &Message) -> String {
    match message {
        Message::Version(version) => format!("V {version}"),
        Message::Request(request) => self::request(request),
        Message::Answer(answer) => self::answer(answer),
        Message::Error(error) => format!("error: {error}"),
        Message::Start => "S: the run starts".into(),
        Message::Go(time) => format!("T: go ahead with {time}"),
        Message::Complete(time) => format!("C: {time} is complete"),
        Message::Finish => "F: the run is finished".into(),
        Message::News(news) => format!("N: has {} more pieces of {}", news.pieces.len(), news.key),
        Message::Cancel(range) => format!("X: not {} any more", bytes(range)),
    }
}

fn request(request: &Request) -> String {
    match request {
        Request::Register(register) if register.script_end.is_some() => "R: register, with a script".into(),
        Request::Register(_) => "R: register".into(),
        Request::Unregister { .. } => "U: unregister".into(),
        Request::List(_) => "L: who is registered?".into(),
        Request::WhereIs(id) => format!("W: where is peer {id}?"),
        Request::Have(key) => format!("Q: have you {key}?"),
        Request::Known(_) => "O: whom do you know?".into(),
        Request::Contents(_) => "M: what do you hold?".into(),
        Request::Describe(key) => format!("D: what is {key}?"),
        Request::Hashes { key, first } => format!("H: the piece hashes of {key} from {first} on?"),
        Request::Interest(interest) => format!("I: which pieces of {} have you?", interest.key),
        Request::Get { range, .. } => format!("G: send {}", bytes(range)),
    }
}

fn answer(answer: &Answer) -> String {
    match answer {
        Answer::Registered { contact, .. } => format!("registered as {}", contact.id),
        Answer::Unregistered(id) => format!("{id} is unregistered"),
        Answer::Peers { peers, next } => list("peers", peers, next.is_some(), |peer| peer.id.to_string()),
        Answer::Peer(contact) => format!("peer {} is at {}", contact.id, contact.addr()),
        Answer::Have(HaveAnswer::Have) => "have it".into(),
        Answer::Have(HaveAnswer::Hint(contact)) => format!("hint: peer {}", contact.id),
        Answer::Have(HaveAnswer::No) => "no".into(),
        Answer::Have(HaveAnswer::Fetching(None)) => "fetching it".into(),
        Answer::Have(HaveAnswer::Fetching(Some(contact))) => {
            format!("fetching it; hint: peer {}", contact.id)
        }
        Answer::Content(content) => format!("{} bytes, root {}", content.size, content.root),
        Answer::Raw(RawAnswer::Hashes(count)) => format!("{count} piece hashes"),
        Answer::Raw(RawAnswer::Pieces(Availability::All)) => "all pieces".into(),
        Answer::Raw(RawAnswer::Pieces(Availability::Bitmap(_))) => "some pieces".into(),
        Answer::Raw(RawAnswer::Bytes(range)) => bytes(range),
        Answer::Keys { keys, next } => list("keys", keys, next.is_some(), ToString::to_string),
    }
}

fn bytes(range: &ByteRange) -> String {
    format!("{} bytes of {} from {} on", range.length, range.key, range.from)
}

fn list<T>(what: &str, items: &[T], more: bool, name: impl Fn(&T) -> String) -> String {
    if items.is_empty() {
        return format!("no {what}");
    }
    let named: Vec<_> = items.iter().take(NAMED).map(name).collect();
    let rest = if items.len() > NAMED || more { ", …" } else { "" };
    format!("{} {what}: {}{rest}", items.len(), named.join(", "))
}

/// Why a search asks somebody, for example `peer 4 hinted at it`.
pub fn reason(reason: &Reason) -> String {
    match reason {
        Reason::OwnOriginator => "it came from there before".into(),
        Reason::Listed => "on the tracker's list".into(),
        Reason::LongerList(level) => format!("longer list, level {level}"),
        Reason::Hint { by, further: 0 } => format!("peer {} hinted at it", by.id),
        Reason::Hint { by, further } => format!("peer {} hinted at it, further hint {further}", by.id),
    }
}

/// A change to a peer's lists.
pub fn change(change: &Change) -> String {
    match change {
        Change::Held(key) => format!("holds {key}"),
        Change::Purged(key) => format!("purged {key}"),
        Change::Obtained(key, from) => format!("obtained {key} from peer {}", from.id),
        Change::Originator(key, from) => format!("once got {key} from peer {}", from.id),
    }
}

/// What happened. A received message says nothing of its own: give what was sent.
pub fn event(what: &What, received: Option<&Message>) -> String {
    match what {
        What::Send { to, body, .. } => format!("to {to}: {}", message(body)),
        What::Receive { from, .. } => {
            format!("from {from}: {}", received.map_or_else(|| "a message".into(), message))
        }
        What::Unanswered { to, why, .. } => format!("no answer from {to}: {why}"),
        What::Fetch { key, from } => format!("fetches {key} from {from}"),
        What::Fetched { key, from, failed: None } => format!("{key} came from {from}, verified"),
        What::Fetched { key, from, failed: Some(why) } => format!("{key} did not come from {from}: {why}"),
        What::Log(entry) => format!("log {}: {}", entry.time, entry.text),
        What::Change(change) => self::change(change),
        What::LeftOut(id) => format!("goes on without peer {id}"),
        What::Finished => "finished".into(),
        What::Failed(why) => format!("failed: {why}"),
    }
}
