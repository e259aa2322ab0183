//! How operations are carried out: from an action to questions and a fetch, from what comes of
//! those to an outcome, and to whoever wanted it. What an answer means to an operation is in
//! [`operation`](super::operation).

use std::time::Duration;

use super::asks::{Ask, Awaited};
use super::operation::{Operation, Owner, Progress, Silent, Waiting};
use super::report::{MAX_TRACE, TraceStep};
use super::types::{AskError, AskId, Asked, Change, CommandId, FailReason, Outcome, PeerOutput, Target};
use super::{Peer, ScriptRun};
use crate::id::Contact;
use crate::key::Key;
use crate::log::{LogEntry, register_text};
use crate::message::{Answer, Page, Register, Request};
use crate::script::Action;
use crate::search::{Question, Search, SearchConfig, SearchResult};
use crate::time::Instant;

/// After so long others are asked besides who was asked: a machine that sleeps answers nobody.
const SLOW_AFTER: Duration = Duration::from_secs(1);

impl Peer {
    /// Begins an operation. True if it is over already.
    pub(super) fn begin_operation(
        &mut self,
        now: Instant,
        owner: Owner,
        action: &Action,
        trace: bool,
    ) -> bool {
        let number = self.next_operation;
        self.next_operation += 1;
        let deadline = now + self.config.operation_timeout;
        let waiting = match action {
            Action::Register => {
                self.membership.want(now);
                self.ask(now, number, Target::Tracker, self.register_request(owner));
                Waiting::Registered
            }
            Action::Unregister => {
                self.membership.end(now);
                let request = Request::Unregister { id: self.me.id, token: self.config.token.clone() };
                self.ask(now, number, Target::Tracker, request);
                Waiting::Unregistered
            }
            Action::List => {
                self.ask(now, number, Target::Tracker, Request::List(Page::default()));
                Waiting::List(Vec::new())
            }
            Action::Known(id) if *id == self.me.id => {
                let peers = self.originators.peers(None).collect();
                return self.done(owner, Outcome::Known { id: *id, peers });
            }
            Action::Contents(id) if *id == self.me.id => {
                let keys = self.contents.iter().cloned().collect();
                return self.done(owner, Outcome::Contents { id: *id, keys });
            }
            Action::Known(id) => {
                self.ask(now, number, Target::Tracker, Request::WhereIs(*id));
                Waiting::KnownAddress(*id)
            }
            Action::Contents(id) => {
                self.ask(now, number, Target::Tracker, Request::WhereIs(*id));
                Waiting::ContentsAddress(*id)
            }
            Action::Purge(key) => {
                let outcome = if self.contents.contains(key) {
                    self.change(Change::Purged(key.clone()));
                    Outcome::Purged(key.clone())
                } else {
                    Outcome::NotHeld(key.clone())
                };
                return self.done(owner, outcome);
            }
            Action::Hold(key) => {
                let new = !self.contents.contains(key);
                if new {
                    self.change(Change::Held(key.clone()));
                }
                return self.done(owner, Outcome::Held { key: key.clone(), new });
            }
            Action::Obtain(key) | Action::Find(key) | Action::Gather(key) => {
                let obtain = matches!(action, Action::Obtain(_));
                let collect = matches!(action, Action::Gather(_));
                if self.contents.contains(key) && !collect {
                    return self.done(owner, Outcome::own(key.clone(), self.me, obtain));
                }
                let search = Search::new(
                    self.me,
                    self.originators.sender_of(key),
                    SearchConfig { collect, ..self.config.search.clone() },
                );
                Waiting::Search {
                    key: key.clone(),
                    obtain,
                    search: Box::new(search),
                    trace: trace.then(Vec::new),
                    silent: Silent::default(),
                }
            }
        };
        let searching = matches!(waiting, Waiting::Search { .. });
        let operation = Operation { owner, deadline, started: now, waiting, pages: 0 };
        self.operations.insert(number, Box::new(operation));
        if searching {
            self.pump_search(now, number);
        }
        false
    }

    fn register_request(&self, owner: Owner) -> Request {
        let script_end = self.script.as_ref().filter(|_| owner == Owner::Joining).map(|s| s.end);
        Request::Register(Register {
            id: self.me.id,
            ip: self.config.advertised_ip,
            port: self.me.port,
            token: self.config.token.clone(),
            list: None,
            script_end,
        })
    }

    fn ask(&mut self, now: Instant, operation: u64, to: Target, request: Request) -> AskId {
        self.ask_question(now, operation, to, request, None)
    }

    fn ask_question(
        &mut self,
        now: Instant,
        operation: u64,
        to: Target,
        request: Request,
        question: Option<&Question>,
    ) -> AskId {
        let what = Awaited::Answer { of: to, question: question.map_or(0, |question| question.number) };
        let deadline = now + self.config.ask_timeout;
        let may_be_slow = question.is_some() && !self.config.search.ask_silent;
        let slow_at = may_be_slow.then_some(now + SLOW_AFTER);
        let ask = self.asks.open(Ask { operation, what, deadline, slow_at });
        let why = question.map(|question| question.reason);
        self.outputs.push_back(PeerOutput::Ask { ask, to, request, why });
        ask
    }

    pub(super) fn answered(&mut self, now: Instant, ask: AskId, result: Result<Answer, AskError>) {
        let Some(Ask { operation: number, what: Awaited::Answer { of, question }, .. }) =
            self.asks.close(ask)
        else {
            return;
        };
        if let (Target::Peer(addr), Err(AskError::TimedOut), Some(script)) = (of, &result, &mut self.script) {
            script.silent.insert(addr);
        }
        let Some(operation) = self.operations.get_mut(&number) else { return };
        let mut progress = operation.on_answer(now, question, result, &self.config);
        if let Progress::Ask(to, _) = progress
            && is_silent(self.script.as_ref(), to)
        {
            progress = operation.on_answer(now, question, Err(AskError::TimedOut), &self.config);
        }
        match progress {
            Progress::Ask(to, request) => {
                self.ask(now, number, to, request);
            }
            Progress::Search => self.pump_search(now, number),
            Progress::Done(outcome) => self.end_operation(now, number, |_| outcome),
        }
    }

    /// A question of an operation's search takes long: others are asked besides.
    pub(super) fn is_slow(&mut self, now: Instant, operation: u64, question: u64) {
        if let Some(Operation { waiting: Waiting::Search { search, .. }, .. }) =
            self.operations.get_mut(&operation).map(Box::as_mut)
        {
            search.on_slow(question);
            self.pump_search(now, operation);
        }
    }

    /// Asks what the search wants asked; ends the operation when the search has ended.
    fn pump_search(&mut self, now: Instant, number: u64) {
        loop {
            let Some(Operation {
                owner, waiting: Waiting::Search { key, obtain, search, trace, .. }, ..
            }) = self.operations.get_mut(&number).map(Box::as_mut)
            else {
                return;
            };
            while let (Owner::Command(command), Some(holder)) = (*owner, search.next_holder()) {
                self.outputs.push_back(PeerOutput::Holder { command, holder });
            }
            let Some(question) = search.next() else {
                match search.result() {
                    Some(SearchResult::Found(from, _))
                        if *obtain && let Some(timeout) = self.config.delivery_timeout =>
                    {
                        let (key, from) = (key.clone(), *from);
                        self.fetch(now + timeout, number, key, from);
                    }
                    Some(_) => self.end_operation(now, number, |operation| operation.search_ended(now)),
                    None => {}
                }
                return;
            };
            let key = key.clone();
            if let Some(trace) = trace.as_mut().filter(|trace| trace.len() < MAX_TRACE) {
                trace.push(TraceStep { question: question.clone(), asked_at: now, answered: None });
            }
            match Asked::new(&question.ask, &key) {
                Asked::Remote(to, _) if is_silent(self.script.as_ref(), to) => {
                    if let Some(operation) = self.operations.get_mut(&number) {
                        let silent = Err(AskError::TimedOut);
                        operation.on_answer(now, question.number, silent, &self.config);
                    }
                }
                Asked::Remote(to, request) => {
                    self.ask_question(now, number, to, request, Some(&question));
                }
                Asked::Own => {
                    let peers: Vec<_> = self.originators.peers(None).collect();
                    let answer = Answer::Peers { peers, next: None };
                    if let Some(operation) = self.operations.get_mut(&number) {
                        operation.on_answer(now, question.number, Ok(answer), &self.config);
                    }
                }
            }
        }
    }

    /// Has what a search has found fetched. Meanwhile answers to its other questions may come.
    fn fetch(&mut self, deadline: Instant, operation: u64, key: Key, from: Contact) {
        if !self.asks.is_fetching(operation) {
            let ask = self.asks.open(Ask { operation, what: Awaited::Fetch, deadline, slow_at: None });
            self.outputs.push_back(PeerOutput::Fetch { ask, key, from });
        }
    }

    /// What was found is here, or whoever had it counts as not having it.
    pub(super) fn fetched(&mut self, now: Instant, ask: AskId, is_here: bool) {
        let Some(Ask { operation: number, .. }) = self.asks.close(ask) else { return };
        if is_here {
            return self.end_operation(now, number, |operation| operation.search_ended(now));
        }
        if let Some(Operation { waiting: Waiting::Search { search, .. }, .. }) =
            self.operations.get_mut(&number).map(Box::as_mut)
        {
            search.reject_found();
        }
        self.pump_search(now, number);
    }

    /// Ends an operation with what `outcome` makes of it, and gives up what it still asked.
    pub(super) fn end_operation(
        &mut self,
        now: Instant,
        number: u64,
        outcome: impl FnOnce(Operation) -> Outcome,
    ) {
        let Some(operation) = self.operations.remove(&number) else { return };
        self.cancel_asks(number);
        let (owner, registers) = (operation.owner, matches!(operation.waiting, Waiting::Registered));
        let outcome = outcome(*operation);
        if registers {
            self.note_membership(now, owner, &outcome);
        }
        if let Outcome::Found { report, obtain: true } = &outcome
            && let Some(from) = report.found
        {
            self.change(Change::Obtained(report.key.clone(), from));
        }
        let over = self.done(owner, outcome);
        if over && matches!(owner, Owner::Script(_)) {
            self.run_script(now);
        }
    }

    pub(super) fn abandon(&mut self, command: CommandId) {
        let number = self.operations.iter().find(|(_, o)| o.owner == Owner::Command(command));
        if let Some(number) = number.map(|(number, _)| *number) {
            self.operations.remove(&number);
            self.cancel_asks(number);
        }
    }

    fn cancel_asks(&mut self, operation: u64) {
        self.outputs.extend(self.asks.close_all_of(operation).into_iter().map(PeerOutput::Cancel));
    }

    /// Tells the owner of an operation how it ended. True, for the owner's convenience.
    fn done(&mut self, owner: Owner, outcome: Outcome) -> bool {
        match owner {
            Owner::Command(command) => {
                self.outputs.push_back(PeerOutput::Done { command, outcome });
            }
            Owner::Script(time) => {
                let text = outcome.log_text();
                self.outputs.push_back(PeerOutput::Log(LogEntry { time, text }));
            }
            Owner::Joining => match outcome {
                Outcome::Registered { .. } => {
                    let text = register_text(self.me.id);
                    self.outputs.push_back(PeerOutput::Log(LogEntry { time: 0, text }));
                }
                Outcome::TrackerFailed(error) => {
                    self.script = None;
                    self.outputs.push_back(PeerOutput::Failed(FailReason::NotRegistered(error)));
                }
                _ => {}
            },
            Owner::Membership => self.outputs.push_back(PeerOutput::Membership(outcome)),
        }
        true
    }
}

/// Whether a peer has not answered in time before in this timestep.
fn is_silent(script: Option<&ScriptRun>, to: Target) -> bool {
    matches!((script, to), (Some(script), Target::Peer(addr)) if script.silent.contains(&addr))
}
