//! Writes a trace as JSON lines; the format stands in the [parent module](super).

use std::collections::BTreeMap;
use std::io::{self, Write};

use askaround_core::message::Message;
use askaround_core::peer::Change;
use askaround_core::script::{Action, Script};
use askaround_core::search::Reason;

use super::clocks::Clocks;
use super::line::{ClockMap, ClocksWord, EndLine, EventLine, HeaderLine, HowWord, MemberLine, VERSION};
use super::{Event, Header, How, MessageId, Trace, What, note, words};

/// With more hosts than this, a clock has only what changed.
pub const FULL_CLOCKS: usize = 65;

/// Writes the whole trace.
///
/// # Errors
/// What `out` says.
pub fn write(trace: &Trace, mut out: impl Write) -> io::Result<()> {
    let full = trace.header.peers.len() < FULL_CLOCKS;
    line(&mut out, &header(&trace.header, full))?;
    let mut clocks = Clocks::default();
    let mut sent: BTreeMap<MessageId, &Message> = BTreeMap::new();
    for event in &trace.events {
        clocks.count(event);
        let clock = if full { clocks.of(event.host).collect() } else { clocks.changes(event.host) };
        let received = match &event.what {
            What::Send { message, body, .. } => {
                sent.insert(*message, body);
                None
            }
            What::Receive { message, .. } => sent.remove(message),
            _ => None,
        };
        let text = plain(&words::event(&event.what, received));
        line(&mut out, &EventLine { event: text.into(), clock: ClockMap(&clock), ..event_line(event)? })?;
    }
    line(&mut out, &EndLine { events: trace.events.len(), cut_off: trace.cut_off })?;
    out.flush()
}

fn line(out: &mut impl Write, line: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

fn header(header: &Header, full: bool) -> HeaderLine {
    let member = |member: &super::Member| MemberLine {
        peer: member.contact(),
        content: member.script.content.clone(),
        actions: actions(&member.script),
    };
    HeaderLine {
        askaround_trace: VERSION,
        name: header.name.clone(),
        about: header.about.clone(),
        how: match header.how {
            How::Sockets => HowWord::Sockets,
            How::Simulated => HowWord::Simulated,
        },
        clocks: if full { ClocksWord::Full } else { ClocksWord::Changes },
        peers: header.peers.iter().map(member).collect(),
        expected: header.expected.clone(),
    }
}

fn actions(script: &Script) -> Vec<(u32, String, Option<String>)> {
    let action = |(time, action): &(u32, Action)| {
        let (letter, parameter) = action.letter()?;
        Some((*time, letter.to_owned(), parameter))
    };
    script.actions.iter().filter_map(action).collect()
}

fn event_line(event: &Event) -> io::Result<EventLine<'static>> {
    let line = EventLine {
        host: event.host.to_string(),
        at_ns: event.at_ns,
        time: event.time,
        ..EventLine::default()
    };
    Ok(match &event.what {
        What::Send { message, to, body, answers, why } => {
            let (verb, body) = on_the_wire(body)?;
            let line = EventLine {
                kind: "send".into(),
                message: Some(*message),
                to: Some(to.to_string()),
                verb: Some(verb),
                body,
                answers: *answers,
                ..line
            };
            why.iter().fold(line, with_reason)
        }
        What::Receive { message, from } => EventLine {
            kind: "receive".into(),
            message: Some(*message),
            from: Some(from.to_string()),
            ..line
        },
        What::Unanswered { message, to, why } => EventLine {
            kind: "unanswered".into(),
            message: Some(*message),
            to: Some(to.to_string()),
            why: Some(why.clone()),
            ..line
        },
        What::Fetch { key, from } => {
            EventLine { kind: "fetch".into(), key: Some(key.clone()), from: Some(from.to_string()), ..line }
        }
        What::Fetched { key, from, failed } => EventLine {
            kind: "fetched".into(),
            key: Some(key.clone()),
            from: Some(from.to_string()),
            why: failed.clone(),
            ..line
        },
        What::Log(entry) => EventLine { kind: "log".into(), log: Some(entry.clone()), ..line },
        What::Change(change) => with_change(EventLine { kind: "change".into(), ..line }, change),
        What::LeftOut(id) => EventLine { kind: "left-out".into(), peer: Some(*id), ..line },
        What::Finished => EventLine { kind: "finished".into(), ..line },
        What::Failed(why) => EventLine { kind: "failed".into(), why: Some(why.clone()), ..line },
    })
}

fn with_reason<'a>(line: EventLine<'a>, reason: &Reason) -> EventLine<'a> {
    let why = |why: &str| Some(why.to_owned());
    match reason {
        Reason::OwnOriginator => EventLine { why: why("own-originator"), ..line },
        Reason::Listed => EventLine { why: why("listed"), ..line },
        Reason::LongerList(level) => EventLine { why: why("longer-list"), level: Some(*level), ..line },
        Reason::Hint { by, further } => {
            EventLine { why: why("hint"), by: Some(*by), further: Some(*further), ..line }
        }
    }
}

fn with_change<'a>(line: EventLine<'a>, change: &Change) -> EventLine<'a> {
    let (word, key, of) = match change {
        Change::Held(key) => ("held", key, None),
        Change::Purged(key) => ("purged", key, None),
        Change::Obtained(key, from) => ("obtained", key, Some(*from)),
        Change::Originator(key, from) => ("originator", key, Some(*from)),
    };
    EventLine { change: Some(word.into()), key: Some(key.clone()), of, ..line }
}

/// The verb and the JSON object of the message's line (PROTOCOL.md §1.1).
fn on_the_wire(message: &Message) -> io::Result<(String, Option<serde_json::Value>)> {
    let text = note::on_the_wire(message);
    match text.split_once(' ') {
        Some((verb, body)) => Ok((verb.to_owned(), Some(serde_json::from_str(body)?))),
        None => Ok((text, None)),
    }
}

/// Without what would end a string in the eyes of ShiViz.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '"' => '\'',
            '\\' => '/',
            c if c.is_control() => ' ',
            c => c,
        })
        .collect()
}
