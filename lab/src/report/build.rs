//! Puts a trace together as a [`Report`].

use std::collections::BTreeMap;

use askaround_core::Key;
use askaround_core::message::{Message, Request};
use askaround_core::peer::Change;
use askaround_core::search::Reason;

use super::compare;
use super::model::{Holding, HostIndex, HostReport, KeyIndex, Kind, MessageReport, Note, Report};
use super::searches::{Asked, Searches};
use crate::trace::{Event, Host, How, MessageId, Trace, What, words};

impl Report {
    /// Puts the trace together.
    pub fn of(trace: &Trace) -> Self {
        let mut builder = Builder::new(trace);
        for (number, event) in trace.events.iter().enumerate() {
            builder.take(number, event);
        }
        let Builder { mut report, searches, .. } = builder;
        report.searches = searches.end(&report.messages);
        for (place, search) in report.searches.iter().enumerate() {
            for step in &search.steps {
                let answer = report.messages[step.message].answer;
                for message in [Some(step.message), answer].into_iter().flatten() {
                    report.messages[message].search = Some(place);
                    report.messages[message].key = report.messages[message].key.or(search.key);
                }
            }
        }
        report.logs = compare::logs(trace);
        report
    }
}

struct Builder<'a> {
    report: Report,
    hosts: BTreeMap<Host, HostIndex>,
    keys: BTreeMap<&'a Key, KeyIndex>,
    /// The place of a message in the report, by its number in the trace.
    places: BTreeMap<MessageId, usize>,
    searches: Searches<'a>,
}

impl<'a> Builder<'a> {
    fn new(trace: &'a Trace) -> Self {
        let header = &trace.header;
        let report = Report {
            name: header.name.clone(),
            about: header.about.clone(),
            simulated: header.how == How::Simulated,
            cut_off: trace.cut_off,
            kinds: Kind::ALL.map(Kind::name).to_vec(),
            hosts: Vec::new(),
            keys: Vec::new(),
            messages: Vec::new(),
            notes: Vec::new(),
            searches: Vec::new(),
            logs: Vec::new(),
            troubles: Vec::new(),
        };
        let (hosts, keys, places) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut builder = Self { report, hosts, keys, places, searches: Searches::new(&header.peers) };
        builder.host(Host::Tracker);
        for member in &header.peers {
            let place = builder.host(Host::Peer(member.script.id));
            let holds = member.script.content.iter().map(|key| builder.key(key)).collect();
            builder.report.hosts[place].holds = holds;
            builder.report.hosts[place].addr = member.addr.to_string();
        }
        builder
    }

    fn host(&mut self, host: Host) -> HostIndex {
        let hosts = &mut self.report.hosts;
        *self.hosts.entry(host).or_insert_with(|| {
            let sent = [0; Kind::ALL.len()];
            let (name, addr) = (host.to_string(), String::new());
            hosts.push(HostReport { name, addr, holds: Vec::new(), sent, received: 0 });
            hosts.len() - 1
        })
    }

    fn key(&mut self, key: &'a Key) -> KeyIndex {
        let keys = &mut self.report.keys;
        *self.keys.entry(key).or_insert_with(|| {
            keys.push(key.to_string());
            keys.len() - 1
        })
    }

    fn take(&mut self, number: usize, event: &'a Event) {
        let host = self.host(event.host);
        match &event.what {
            What::Send { message, .. } => {
                self.places.insert(*message, self.report.messages.len());
                self.sent(number, event, host);
            }
            What::Receive { message, .. } => {
                if let Some(place) = self.places.get(message) {
                    let message = &mut self.report.messages[*place];
                    (message.received, message.received_ns) = (Some(number), Some(event.at_ns));
                    self.report.hosts[host].received += 1;
                }
            }
            What::Unanswered { message, why, .. } => {
                if let Some(place) = self.places.get(message) {
                    self.report.messages[*place].unanswered = Some(why.clone());
                }
            }
            What::Log(entry) => {
                let wanted = self.searches.wanted(event.host).map(|key| self.key(key));
                self.searches.logs(event, host, wanted, entry);
                self.note(number, event, host, None);
            }
            What::Fetch { .. } | What::Fetched { .. } => self.note(number, event, host, None),
            What::Change(change) => self.changed(number, event, host, change),
            What::LeftOut(_) | What::Failed(_) => {
                let text = words::event(&event.what, None);
                let who = &self.report.hosts[host].name;
                let who = if host == 0 { who.clone() } else { format!("peer {who}") };
                self.report.troubles.push(format!("{who}, timestep {}: {text}", event.time));
                self.note(number, event, host, None);
            }
            What::Finished => {}
        }
    }

    fn sent(&mut self, number: usize, event: &'a Event, host: HostIndex) {
        let What::Send { to, body, answers, why, .. } = &event.what else { return };
        let place = self.report.messages.len();
        let request = answers.and_then(|id| self.places.get(&id).copied());
        let asked = request.map(|request| &mut self.report.messages[request]);
        let asked = asked.map(|asked| {
            asked.answer = Some(place);
            (asked.kind, asked.key)
        });
        // The tracker's list is told from a peer's by the request.
        let kind = match (Kind::of(body), asked) {
            (Kind::Known, Some((Kind::List, _))) => Kind::List,
            (kind, _) => kind,
        };
        let key = match body {
            Message::Request(Request::Have(key)) => Some(self.key(key)),
            _ => asked.and_then(|(_, key)| key),
        };
        let to = self.host(*to);
        if let Some(why) = why {
            let by = match why {
                Reason::Hint { by, .. } => Some(self.host(Host::Peer(by.id))),
                _ => None,
            };
            let wanted = self.searches.wanted(event.host);
            let wanted = wanted.map(|key| self.key(key)).or(key);
            self.searches.asks(event, host, wanted, Asked { message: place, reason: *why, by });
        }
        self.report.hosts[host].sent[kind as usize] += 1;
        self.report.messages.push(MessageReport {
            from: host,
            to,
            sent: number,
            received: None,
            sent_ns: event.at_ns,
            received_ns: None,
            time: event.time,
            kind,
            key,
            text: words::message(body),
            answers: request,
            answer: None,
            unanswered: None,
            why: why.as_ref().map(words::reason),
            search: None,
        });
    }

    fn changed(&mut self, number: usize, event: &'a Event, host: HostIndex, change: &'a Change) {
        let (key, held, source) = match change {
            Change::Held(key) => (key, true, None),
            Change::Purged(key) => (key, false, None),
            Change::Obtained(key, from) => {
                let source = self.host(Host::Peer(from.id));
                self.searches.obtains(event.host, source);
                (key, true, Some(source))
            }
            // Whom it came from is another list than what is held.
            Change::Originator(..) => return,
        };
        let key = self.key(key);
        self.note(number, event, host, Some(Holding { key, held, source }));
    }

    fn note(&mut self, at: usize, event: &Event, host: HostIndex, change: Option<Holding>) {
        let text = words::event(&event.what, None);
        self.report.notes.push(Note { host, at, at_ns: event.at_ns, time: event.time, text, change });
    }
}
