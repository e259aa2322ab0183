//! [`Peer`]: the machine that holds a content list and an originator list, answers other peers,
//! and carries out actions, alone or from a script in lock-step.

mod operation;
mod types;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::content::ContentList;
use crate::id::Contact;
use crate::key::Key;
use crate::log::{LogEntry, register_text};
use crate::message::{
    Answer, ErrorAnswer, ErrorCode, HaveAnswer, Message, Page, Register, Request, Timestep,
};
use crate::originators::OriginatorList;
use crate::script::{Action, Script};
use crate::search::{Question, Search, SearchConfig, SearchResult};
use crate::time::Instant;
use operation::{Operation, Owner, Progress, Waiting};
pub use types::{
    AskError, AskId, Asked, Change, CommandId, FailReason, FindReport, Outcome, PeerConfig, PeerInput,
    PeerOutput, Target, TraceStep,
};

/// A peer (PROTOCOL.md §3, §4, §5).
#[derive(Debug, Clone)]
pub struct Peer {
    config: PeerConfig,
    me: Contact,
    contents: ContentList,
    originators: OriginatorList,
    operations: BTreeMap<u64, Operation>,
    next_operation: u64,
    asks: BTreeMap<AskId, PendingAsk>,
    deadlines: BTreeSet<(Instant, AskId)>,
    next_ask: AskId,
    script: Option<ScriptRun>,
    fetching: BTreeSet<Key>,
    membership: Membership,
    outputs: VecDeque<PeerOutput>,
}

#[derive(Debug, Clone)]
struct PendingAsk {
    operation: u64,
    /// The question of the search, where it is one.
    question: u64,
    /// Whether it is a fetch of what the search has found.
    fetch: bool,
    deadline: Instant,
}

/// The script of a lab run and where it has got to.
#[derive(Debug, Clone)]
struct ScriptRun {
    end: Timestep,
    actions: VecDeque<(Timestep, Action)>,
    /// The timestep that is being acted, if one is.
    acting: Option<Timestep>,
}

/// A live peer's registration.
#[derive(Debug, Clone, Default)]
struct Membership {
    wanted: bool,
    /// When to register again.
    renew_at: Option<Instant>,
    failures: u32,
}

/// What a peer waits for. Each deadline is in [`Peer::poll_timeout`].
#[derive(Debug, Clone, Copy)]
enum Timer {
    /// Somebody does not answer.
    Ask,
    /// An operation takes too long altogether.
    Operation,
    /// A live peer's registration is to be renewed, or tried again.
    Renew,
}

/// A page of keys holds at most so many bytes of text, so that it fits a line even if every
/// character has to be escaped (PROTOCOL.md §1.1).
const MAX_PAGE_BYTES: usize = 30_000;

impl Peer {
    /// A live peer. It registers by itself if it has a tracker.
    pub fn live(config: PeerConfig, me: Contact) -> Self {
        let mut peer = Self::new(config, me);
        peer.membership.wanted = peer.config.has_tracker;
        peer.membership.renew_at = peer.config.has_tracker.then_some(Instant::ZERO);
        peer
    }

    /// A peer of a lab run. It registers when told [`PeerInput::Begin`].
    pub fn scripted(config: PeerConfig, me: Contact, script: Script) -> Self {
        let mut peer = Self::new(config, me);
        peer.script = Some(ScriptRun { end: script.end(), actions: script.actions.into(), acting: None });
        peer.contents = script.content.into_iter().collect();
        peer
    }

    fn new(config: PeerConfig, me: Contact) -> Self {
        Self {
            config,
            me,
            contents: ContentList::default(),
            originators: OriginatorList::default(),
            operations: BTreeMap::new(),
            next_operation: 0,
            asks: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            next_ask: 0,
            script: None,
            fetching: BTreeSet::new(),
            membership: Membership::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Who this is and where it listens, as far as it knows.
    pub fn me(&self) -> Contact {
        self.me
    }

    /// What it holds.
    pub fn contents(&self) -> &ContentList {
        &self.contents
    }

    /// Whom it got what from.
    pub fn originators(&self) -> &OriginatorList {
        &self.originators
    }

    /// Puts back a change that was stored before, without putting it out again.
    pub fn restore(&mut self, change: Change) {
        self.apply(change);
    }

    /// Takes one input. Poll the outputs afterwards.
    pub fn handle(&mut self, now: Instant, input: PeerInput) {
        match input {
            PeerInput::Begin => {
                if self.script.is_some() {
                    self.begin_operation(now, Owner::Joining, &Action::Register, false);
                }
            }
            PeerInput::Request { connection, message } => {
                let answer = match message {
                    Message::Request(request) => self.serve(&request),
                    _ => Err(ErrorAnswer::new(ErrorCode::NotServed, "a peer is sent requests")),
                };
                let message = answer.map_or_else(Message::Error, Message::Answer);
                self.outputs.push_back(PeerOutput::Reply { connection, message });
            }
            PeerInput::Command { command, action, trace } => {
                self.begin_operation(now, Owner::Command(command), &action, trace);
            }
            PeerInput::Abandon(command) => self.abandon(command),
            PeerInput::Fetching(key, true) => _ = self.fetching.insert(key),
            PeerInput::Fetching(key, false) => _ = self.fetching.remove(&key),
            PeerInput::Delivered { keys, from } => {
                for key in keys {
                    let change = match (from, self.contents.contains(&key)) {
                        (Some(from), false) => Change::Obtained(key, from),
                        (Some(from), true) => Change::Originator(key, from),
                        (None, false) => Change::Held(key),
                        (None, true) => continue,
                    };
                    self.change(change);
                }
            }
            PeerInput::Answered { ask, result } => self.answered(now, ask, result),
            PeerInput::Fetched { ask, result } => self.fetched(now, ask, result.is_ok()),
            PeerInput::Tracker(message) => self.tracker_says(now, &message),
            PeerInput::TrackerLost(why) => {
                if self.script.take().is_some() {
                    self.outputs.push_back(PeerOutput::Failed(FailReason::TrackerLost(why)));
                }
            }
            PeerInput::Timeout => {
                for timer in [Timer::Ask, Timer::Operation, Timer::Renew] {
                    self.fire(now, timer);
                }
            }
        }
    }

    /// The next thing to do, in order.
    pub fn poll_output(&mut self) -> Option<PeerOutput> {
        self.outputs.pop_front()
    }

    /// When to call with [`PeerInput::Timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let timers = [Timer::Ask, Timer::Operation, Timer::Renew];
        timers.into_iter().filter_map(|timer| self.deadline(timer)).min()
    }

    fn deadline(&self, timer: Timer) -> Option<Instant> {
        match timer {
            Timer::Ask => self.deadlines.first().map(|(deadline, _)| *deadline),
            Timer::Operation => self.operations.values().map(|o| o.deadline).min(),
            Timer::Renew => self.membership.renew_at,
        }
    }

    fn fire(&mut self, now: Instant, timer: Timer) {
        match timer {
            Timer::Ask => {
                while let Some((deadline, ask)) = self.deadlines.first().copied()
                    && deadline <= now
                {
                    self.outputs.push_back(PeerOutput::Cancel(ask));
                    match self.asks.get(&ask) {
                        Some(PendingAsk { fetch: true, .. }) => self.fetched(now, ask, false),
                        _ => self.answered(now, ask, Err(AskError::TimedOut)),
                    }
                }
            }
            Timer::Operation => {
                let late = self.operations.iter().filter(|(_, o)| o.deadline <= now);
                let late: Vec<u64> = late.map(|(number, _)| *number).collect();
                for number in late {
                    self.end_operation(now, number, |operation| operation.timed_out());
                }
            }
            Timer::Renew => {
                if self.membership.renew_at.is_some_and(|at| at <= now) {
                    self.membership.renew_at = None;
                    self.begin_operation(now, Owner::Membership, &Action::Register, false);
                }
            }
        }
    }

    /// Answers another peer (PROTOCOL.md §3).
    fn serve(&self, request: &Request) -> Result<Answer, ErrorAnswer> {
        match request {
            Request::Have(key) => Ok(Answer::Have(self.have(key))),
            Request::Known(page) => {
                let before = page.after.map(crate::id::PeerId::new).transpose();
                // Nothing stands behind a number that is no id.
                let Ok(before) = before else {
                    return Ok(Answer::Peers { peers: Vec::new(), next: None });
                };
                let mut rest = self.originators.peers(before);
                let peers: Vec<_> = rest.by_ref().take(page.limit).collect();
                let next = rest.next().and(peers.last()).map(|peer| peer.id.as_u64());
                Ok(Answer::Peers { peers, next })
            }
            Request::Contents(page) => Ok(self.contents_page(*page)),
            Request::Register(_) | Request::Unregister { .. } | Request::List(_) | Request::WhereIs(_) => {
                Err(ErrorAnswer::new(ErrorCode::NotServed, "a peer keeps no register: ask the tracker"))
            }
            // Where there is content, the driver serves it without asking the machine.
            Request::Describe(_) | Request::Hashes { .. } | Request::Interest(_) | Request::Get { .. } => {
                Err(ErrorAnswer::new(ErrorCode::NotServed, "this peer delivers no content"))
            }
        }
    }

    fn have(&self, key: &Key) -> HaveAnswer {
        if self.contents.contains(key) {
            return HaveAnswer::Have;
        }
        let hint = self.originators.sender_of(key);
        if self.fetching.contains(key) {
            return HaveAnswer::Fetching(hint);
        }
        hint.map_or(HaveAnswer::No, HaveAnswer::Hint)
    }

    fn contents_page(&self, page: Page) -> Answer {
        let (mut keys, mut bytes, mut last) = (Vec::new(), 0, 0);
        for (serial, key) in self.contents.page(page.after.unwrap_or(0), page.limit) {
            bytes += key.as_str().len();
            if bytes > MAX_PAGE_BYTES {
                break;
            }
            keys.push(key.clone());
            last = serial;
        }
        let next = (!keys.is_empty() && self.contents.has_after(last)).then_some(last);
        Answer::Keys { keys, next }
    }

    fn tracker_says(&mut self, now: Instant, message: &Message) {
        let Some(script) = &mut self.script else { return };
        match message {
            Message::Go(time) if script.acting.is_none() => {
                script.acting = Some(*time);
                self.run_script(now);
            }
            Message::Finish => {
                self.script = None;
                self.outputs.push_back(PeerOutput::Finished);
            }
            Message::Error(error) => {
                self.script = None;
                self.outputs.push_back(PeerOutput::Failed(FailReason::Refused(error.clone())));
            }
            _ => {}
        }
    }

    /// Begins the next action of the timestep, or completes it.
    fn run_script(&mut self, now: Instant) {
        while let Some(script) = &mut self.script
            && let Some(time) = script.acting
        {
            if script.actions.front().is_some_and(|(at, _)| *at <= time)
                && let Some((_, action)) = script.actions.pop_front()
            {
                if !self.begin_operation(now, Owner::Script(time), &action, false) {
                    return;
                }
            } else {
                script.acting = None;
                self.outputs.push_back(PeerOutput::TellTracker(Message::Complete(time)));
            }
        }
    }

    /// Begins an operation. True if it is over already.
    fn begin_operation(&mut self, now: Instant, owner: Owner, action: &Action, trace: bool) -> bool {
        let number = self.next_operation;
        self.next_operation += 1;
        let deadline = now + self.config.operation_timeout;
        let waiting = match action {
            Action::Register => {
                self.membership.wanted = true;
                self.ask(now, number, Target::Tracker, self.register_request(owner));
                Waiting::Registered
            }
            Action::Unregister => {
                self.membership = Membership::default();
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
                return self.done(now, owner, Outcome::Known { id: *id, peers });
            }
            Action::Contents(id) if *id == self.me.id => {
                let keys = self.contents.iter().cloned().collect();
                return self.done(now, owner, Outcome::Contents { id: *id, keys });
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
                return self.done(now, owner, outcome);
            }
            Action::Hold(key) => {
                let new = !self.contents.contains(key);
                if new {
                    self.change(Change::Held(key.clone()));
                }
                return self.done(now, owner, Outcome::Held { key: key.clone(), new });
            }
            Action::Obtain(key) | Action::Find(key) | Action::Gather(key) => {
                let obtain = matches!(action, Action::Obtain(_));
                let collect = matches!(action, Action::Gather(_));
                if self.contents.contains(key) && !collect {
                    return self.done(now, owner, Outcome::own(key.clone(), self.me, obtain));
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
                }
            }
        };
        let searching = matches!(waiting, Waiting::Search { .. });
        self.operations.insert(number, Operation { owner, deadline, started: now, waiting, pages: 0 });
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
        let deadline = now + self.config.ask_timeout;
        let number = question.map_or(0, |question| question.number);
        let ask = self.open(PendingAsk { operation, question: number, fetch: false, deadline });
        let why = question.map(|question| question.reason);
        self.outputs.push_back(PeerOutput::Ask { ask, to, request, why });
        ask
    }

    fn open(&mut self, pending: PendingAsk) -> AskId {
        self.next_ask += 1;
        self.deadlines.insert((pending.deadline, self.next_ask));
        self.asks.insert(self.next_ask, pending);
        self.next_ask
    }

    /// `None` if it was given up before: what came of it comes too late and changes nothing.
    fn close(&mut self, ask: AskId) -> Option<PendingAsk> {
        let pending = self.asks.remove(&ask)?;
        self.deadlines.remove(&(pending.deadline, ask));
        Some(pending)
    }

    fn answered(&mut self, now: Instant, ask: AskId, result: Result<Answer, AskError>) {
        let Some(pending) = self.close(ask) else { return };
        let number = pending.operation;
        let Some(operation) = self.operations.get_mut(&number) else { return };
        match operation.on_answer(now, pending.question, result, &self.config) {
            Progress::Ask(to, request) => {
                self.ask(now, number, to, request);
            }
            Progress::Search => self.pump_search(now, number),
            Progress::Done(outcome) => self.end_operation(now, number, |_| outcome),
        }
    }

    /// Asks what the search wants asked; ends the operation when the search has ended.
    fn pump_search(&mut self, now: Instant, number: u64) {
        loop {
            let Some(Operation { owner, waiting: Waiting::Search { key, obtain, search, trace }, .. }) =
                self.operations.get_mut(&number)
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
            if let Some(trace) = trace {
                trace.push(TraceStep { question: question.clone(), asked_at: now, answered: None });
            }
            match Asked::new(&question.ask, &key) {
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
        if !self.asks.values().any(|pending| pending.fetch && pending.operation == operation) {
            let ask = self.open(PendingAsk { operation, question: 0, fetch: true, deadline });
            self.outputs.push_back(PeerOutput::Fetch { ask, key, from });
        }
    }

    /// What was found is here, or whoever had it counts as not having it.
    fn fetched(&mut self, now: Instant, ask: AskId, is_here: bool) {
        let Some(PendingAsk { operation: number, .. }) = self.close(ask) else { return };
        if is_here {
            return self.end_operation(now, number, |operation| operation.search_ended(now));
        }
        if let Some(Operation { waiting: Waiting::Search { search, .. }, .. }) =
            self.operations.get_mut(&number)
        {
            search.reject_found();
        }
        self.pump_search(now, number);
    }

    /// Ends an operation with what `outcome` makes of it, and gives up what it still asked.
    fn end_operation(&mut self, now: Instant, number: u64, outcome: impl FnOnce(Operation) -> Outcome) {
        let Some(operation) = self.operations.remove(&number) else { return };
        let open: Vec<AskId> =
            self.asks.iter().filter(|(_, p)| p.operation == number).map(|(ask, _)| *ask).collect();
        for ask in open {
            self.close(ask);
            self.outputs.push_back(PeerOutput::Cancel(ask));
        }
        let owner = operation.owner;
        let outcome = outcome(operation);
        if let Outcome::Found { report, obtain: true } = &outcome
            && let Some(from) = report.found
        {
            self.change(Change::Obtained(report.key.clone(), from));
        }
        let over = self.done(now, owner, outcome);
        if over && matches!(owner, Owner::Script(_)) {
            self.run_script(now);
        }
    }

    fn abandon(&mut self, command: CommandId) {
        let number = self.operations.iter().find(|(_, o)| o.owner == Owner::Command(command));
        if let Some(number) = number.map(|(number, _)| *number) {
            self.operations.remove(&number);
            self.asks.retain(|ask, pending| {
                if pending.operation == number {
                    self.deadlines.remove(&(pending.deadline, *ask));
                    self.outputs.push_back(PeerOutput::Cancel(*ask));
                }
                pending.operation != number
            });
        }
    }

    /// Tells the owner of an operation how it ended. True, for the owner's convenience.
    fn done(&mut self, now: Instant, owner: Owner, outcome: Outcome) -> bool {
        self.note_membership(now, owner, &outcome);
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

    fn note_membership(&mut self, now: Instant, owner: Owner, outcome: &Outcome) {
        match outcome {
            // A renewal that was under way when the peer was told to unregister is not kept up.
            Outcome::Registered { contact, lease } if self.membership.wanted => {
                self.me = *contact;
                self.membership.failures = 0;
                self.membership.renew_at = lease.map(|lease| now + lease / 3);
            }
            Outcome::TrackerFailed(_) if owner == Owner::Membership && self.membership.wanted => {
                let backoff = Duration::from_secs(1 << self.membership.failures.min(4));
                self.membership.failures += 1;
                self.membership.renew_at = Some(now + backoff);
            }
            _ => {}
        }
    }

    fn change(&mut self, change: Change) {
        self.apply(change.clone());
        self.outputs.push_back(PeerOutput::Changed(change));
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Held(key) => {
                self.contents.add(key);
            }
            Change::Purged(key) => {
                self.contents.purge(&key);
            }
            Change::Obtained(key, from) => {
                self.contents.add(key.clone());
                self.originators.record(key, from);
            }
            Change::Originator(key, from) => self.originators.record(key, from),
        }
    }
}
