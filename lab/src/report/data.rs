//! The data of a page: the report as JSON, with messages as lists of numbers, since there may be
//! many of them.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::compare::LogReport;
use super::model::{HostReport, MessageReport, Note, Report};
use super::searches::Search;

/// What the page's scripts read.
#[derive(Serialize)]
struct Data<'a> {
    name: &'a str,
    about: Option<&'a str>,
    simulated: bool,
    cut_off: bool,
    kinds: &'a [&'static str],
    hosts: &'a [HostReport],
    keys: &'a [String],
    texts: Vec<&'a str>,
    messages: Vec<MessageData>,
    notes: &'a [Note],
    searches: Vec<SearchData<'a>>,
    logs: &'a [LogReport],
    troubles: &'a [String],
}

/// In this order; -1 stands for none.
struct MessageData {
    from: i64,
    to: i64,
    sent: i64,
    received: i64,
    sent_ns: i64,
    received_ns: i64,
    time: i64,
    kind: i64,
    key: i64,
    text: i64,
    answers: i64,
    answer: i64,
    search: i64,
    why: i64,
    unanswered: i64,
}

impl Serialize for MessageData {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        [
            self.from,
            self.to,
            self.sent,
            self.received,
            self.sent_ns,
            self.received_ns,
            self.time,
            self.kind,
            self.key,
            self.text,
            self.answers,
            self.answer,
            self.search,
            self.why,
            self.unanswered,
        ]
        .serialize(serializer)
    }
}

#[derive(Serialize)]
struct SearchData<'a> {
    host: usize,
    time: u32,
    key: Option<usize>,
    found: Option<usize>,
    took_ns: u64,
    log: Option<&'a str>,
    /// Message, why, level, parent or -1, and 1 if it is on the path.
    steps: Vec<[i64; 5]>,
}

/// Texts that many messages share, each once.
#[derive(Default)]
struct Texts<'a> {
    all: Vec<&'a str>,
    places: BTreeMap<&'a str, usize>,
}

impl<'a> Texts<'a> {
    fn place(&mut self, text: &'a str) -> i64 {
        let all = &mut self.all;
        let place = self.places.entry(text).or_insert_with(|| {
            all.push(text);
            all.len() - 1
        });
        number(*place)
    }
}

/// The report as JSON that can stand inside a `script` element: no `<`, `>` or `&` is left in
/// it, whatever keys and texts say.
pub(super) fn json(report: &Report) -> Result<String, serde_json::Error> {
    let mut texts = Texts::default();
    let messages = report.messages.iter().map(|message| message_data(message, &mut texts)).collect();
    let data = Data {
        name: &report.name,
        about: report.about.as_deref(),
        simulated: report.simulated,
        cut_off: report.cut_off,
        kinds: &report.kinds,
        hosts: &report.hosts,
        keys: &report.keys,
        texts: texts.all,
        messages,
        notes: &report.notes,
        searches: report.searches.iter().map(search_data).collect(),
        logs: &report.logs,
        troubles: &report.troubles,
    };
    Ok(serde_json::to_string(&data)?.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"))
}

fn message_data<'a>(message: &'a MessageReport, texts: &mut Texts<'a>) -> MessageData {
    MessageData {
        from: number(message.from),
        to: number(message.to),
        sent: number(message.sent),
        received: optional(message.received),
        sent_ns: i64::try_from(message.sent_ns).unwrap_or(i64::MAX),
        received_ns: message.received_ns.map_or(-1, |ns| i64::try_from(ns).unwrap_or(i64::MAX)),
        time: message.time.into(),
        kind: message.kind as i64,
        key: optional(message.key),
        text: texts.place(&message.text),
        answers: optional(message.answers),
        answer: optional(message.answer),
        search: optional(message.search),
        why: message.why.as_deref().map_or(-1, |why| texts.place(why)),
        unanswered: message.unanswered.as_deref().map_or(-1, |why| texts.place(why)),
    }
}

fn search_data(search: &Search) -> SearchData<'_> {
    let steps = search.steps.iter().map(|step| {
        let (message, parent) = (number(step.message), optional(step.parent));
        [message, step.why as i64, step.level.into(), parent, i64::from(step.on_path)]
    });
    SearchData {
        host: search.host,
        time: search.time,
        key: search.key,
        found: search.found,
        took_ns: search.took_ns,
        log: search.log.as_deref(),
        steps: steps.collect(),
    }
}

fn number(place: usize) -> i64 {
    i64::try_from(place).unwrap_or(i64::MAX)
}

fn optional(place: Option<usize>) -> i64 {
    place.map_or(-1, number)
}
