//! The barrier of a lab run (PROTOCOL.md §4): the real [`Clock`], clients that crash, repeat
//! themselves and speak late, and messages that are in order within a connection only.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use askaround_core::clock::{Clock, ClockEvent, Turns};
use askaround_core::message::Timestep;
use askaround_core::{Instant, PeerId};
use stateright::{Model, Property};

/// A deliberate mistake, which a property must catch. Only tests make one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Takes any completion of a client for one of the timestep that it is in.
    AnyTimeCounts,
    /// Takes a completion for one by whoever is waited for.
    AnybodyCounts,
    /// Does not notice that a connection broke.
    CrashUnnoticed,
    /// Lets everybody act at once where turns were asked for.
    AllAtOnce,
    /// Tells everybody that the run is over as soon as the first one is through with it.
    FinishesWithTheFirst,
}

/// How large the model is.
#[derive(Debug, Clone)]
pub struct ClockModel {
    /// The last timestep of each client's script.
    pub scripts: Vec<Timestep>,
    /// Who may act when.
    pub turns: Turns,
    /// How many clients may crash.
    pub crashes: u8,
    /// How many completions may come that are too early, too late or repeated.
    pub stray: u8,
    /// How many times a turn may run out.
    pub timeouts: u8,
    /// A deliberate mistake.
    pub broken: Option<Broken>,
}

/// Everything there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClockState {
    clock: Clock,
    now: Instant,
    clients: Vec<Client>,
    crashes: u8,
    stray: u8,
    timeouts: u8,
    /// Whether the clock has said that the run is over.
    over: bool,
    /// Which rules were broken on the way here.
    wrong: BTreeSet<Wrong>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Client {
    stage: Stage,
    /// The last timestep whose actions it is through with.
    done: Timestep,
    /// Whether the clock counts it: it has joined and was not left out.
    counted: bool,
    /// The last timestep that the clock told it to go ahead with.
    told: Timestep,
    /// The last timestep of which its completion has come.
    heard: Timestep,
    to_tracker: VecDeque<Up>,
    to_client: VecDeque<Down>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stage {
    Waiting,
    Acting(Timestep),
    /// It was told that the run is over.
    Finished,
    /// It crashed, was refused or was left out.
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Up {
    Join,
    Complete(Timestep),
    /// A completion that is not due: repeated, or too early.
    Stray(Timestep),
    /// The connection broke.
    Broke,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Down {
    Start,
    Go(Timestep),
    Finish,
    LeftOut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Wrong {
    /// Somebody was told to go ahead before everybody counted had completed the timestep before.
    TooEarly,
    /// Two acted at once although turns were asked for, or not by id.
    OutOfTurn,
    /// The run was over for somebody before everybody counted was through.
    FinishedEarly,
    /// A completion that was not due changed something.
    StrayCounted,
}

/// What can happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The tracker has waited long enough for registrations.
    Gathered,
    /// The next message of this client reaches the tracker.
    ToTracker(usize),
    /// The next message of the tracker reaches this client.
    ToClient(usize),
    /// This client is through with the actions of its timestep.
    Completes(usize),
    /// This client says that it has completed a timestep that it should not speak of.
    Strays(usize, Timestep),
    /// This client crashes. What it sent before still comes, then its connection breaks.
    Crashes(usize),
    /// Somebody's turn has run out.
    Timeout,
}

fn id(client: usize) -> PeerId {
    PeerId::new(client as u64 + 1).expect("a small number")
}

fn client(id: PeerId) -> usize {
    id.as_u64() as usize - 1
}

impl ClockModel {
    fn deliver(&self, state: &mut ClockState, from: usize, message: Up) {
        match message {
            // A registration that comes too late is refused by the tracker (error `started`).
            Up::Join if state.clock.has_started() => state.clients[from].to_client.push_back(Down::LeftOut),
            Up::Join => {
                state.clock.join(id(from), self.scripts[from]);
                state.clients[from].counted = true;
            }
            // By now it has been told to go ahead: then it is its word, and counts.
            Up::Stray(time) if state.clients[from].told == time && state.clients[from].heard < time => {}
            Up::Complete(time) | Up::Stray(time) => {
                let due = matches!(message, Up::Complete(_)) && state.clients[from].counted;
                if matches!(message, Up::Complete(_)) {
                    state.clients[from].heard = time;
                }
                let before = state.clock.clone();
                let (who, what) = self.as_understood(state, from, time);
                state.clock.complete(state.now, who, what);
                if !due && state.clock != before {
                    state.wrong.insert(Wrong::StrayCounted);
                }
            }
            Up::Broke if self.broken == Some(Broken::CrashUnnoticed) => {}
            Up::Broke => {
                state.clients[from].counted = false;
                state.clock.connection_broke(state.now, id(from));
            }
        }
        self.drain(state);
    }

    /// Who is taken to have completed what.
    fn as_understood(&self, state: &ClockState, from: usize, time: Timestep) -> (PeerId, Timestep) {
        match self.broken {
            Some(Broken::AnyTimeCounts) => (id(from), state.clients[from].told),
            Some(Broken::AnybodyCounts) => {
                let waited_for =
                    state.clients.iter().position(|c| c.counted && c.told == time && c.done < time);
                (id(waited_for.unwrap_or(from)), time)
            }
            _ => (id(from), time),
        }
    }

    /// Sends what the clock wants sent, and checks each of it.
    fn drain(&self, state: &mut ClockState) {
        while let Some(event) = state.clock.poll_event() {
            let behind = |state: &ClockState, time| state.clients.iter().any(|c| c.counted && c.done < time);
            match event {
                ClockEvent::Start(id) => state.clients[client(id)].to_client.push_back(Down::Start),
                ClockEvent::Go(id, time) => {
                    if behind(state, time - 1) {
                        state.wrong.insert(Wrong::TooEarly);
                    }
                    let earlier = &state.clients[..client(id)];
                    if self.turns == Turns::ById && earlier.iter().any(|c| c.counted && c.done < time) {
                        state.wrong.insert(Wrong::OutOfTurn);
                    }
                    let it = &mut state.clients[client(id)];
                    it.told = time;
                    it.to_client.push_back(Down::Go(time));
                }
                ClockEvent::TimestepOver(time) => {
                    if behind(state, time) {
                        state.wrong.insert(Wrong::TooEarly);
                    }
                }
                ClockEvent::LeftOut { id, .. } => {
                    state.clients[client(id)].counted = false;
                    state.clients[client(id)].to_client.push_back(Down::LeftOut);
                }
                ClockEvent::Finish(id) => self.finish(state, client(id)),
                ClockEvent::Over => state.over = true,
            }
        }
        if self.broken == Some(Broken::FinishesWithTheFirst) {
            let last = self.last(state);
            let through =
                |c: &Client| c.counted && last > 0 && c.done == last && !c.to_client.contains(&Down::Finish);
            if let Some(first) = state.clients.iter().position(through) {
                self.finish(state, first);
            }
        }
    }

    fn finish(&self, state: &mut ClockState, who: usize) {
        let last = self.last(state);
        if state.clients.iter().any(|c| c.counted && c.done < last) {
            state.wrong.insert(Wrong::FinishedEarly);
        }
        state.clients[who].to_client.push_back(Down::Finish);
    }

    /// The last timestep of those who are counted.
    fn last(&self, state: &ClockState) -> Timestep {
        let counted = state.clients.iter().zip(&self.scripts).filter(|(c, _)| c.counted);
        counted.map(|(_, end)| *end).max().unwrap_or(0)
    }
}

impl ClockState {
    /// Whether anything happens if nobody crashes, strays or is late.
    fn goes_on(&self) -> bool {
        !self.clock.has_started()
            || self.clients.iter().any(|c| {
                let hears = c.stage != Stage::Gone && !c.to_client.is_empty();
                hears || !c.to_tracker.is_empty() || matches!(c.stage, Stage::Acting(_))
            })
    }
}

impl Model for ClockModel {
    type State = ClockState;
    type Action = Step;

    fn init_states(&self) -> Vec<ClockState> {
        let turns = if self.broken == Some(Broken::AllAtOnce) { Turns::Concurrent } else { self.turns };
        let client = Client {
            stage: Stage::Waiting,
            done: 0,
            counted: false,
            told: 0,
            heard: 0,
            to_tracker: VecDeque::from([Up::Join]),
            to_client: VecDeque::new(),
        };
        vec![ClockState {
            clock: Clock::new(turns, Duration::from_secs(1)),
            now: Instant::ZERO,
            clients: vec![client; self.scripts.len()],
            crashes: self.crashes,
            stray: self.stray,
            timeouts: self.timeouts,
            over: false,
            wrong: BTreeSet::new(),
        }]
    }

    fn actions(&self, state: &ClockState, actions: &mut Vec<Step>) {
        if !state.clock.has_started() {
            actions.push(Step::Gathered);
        }
        if state.timeouts > 0 && state.clock.poll_timeout().is_some() {
            actions.push(Step::Timeout);
        }
        for (i, client) in state.clients.iter().enumerate() {
            if !client.to_tracker.is_empty() {
                actions.push(Step::ToTracker(i));
            }
            if matches!(client.stage, Stage::Gone | Stage::Finished) {
                continue;
            }
            if !client.to_client.is_empty() {
                actions.push(Step::ToClient(i));
            }
            if matches!(client.stage, Stage::Acting(_)) {
                actions.push(Step::Completes(i));
            }
            if state.crashes > 0 {
                actions.push(Step::Crashes(i));
            }
            if state.stray > 0 {
                // Again, and too early, by one and by more.
                let times = client.done..=client.done + 2;
                actions.extend(times.map(|time| Step::Strays(i, time)));
            }
        }
    }

    fn next_state(&self, last: &ClockState, step: Step) -> Option<ClockState> {
        let mut state = last.clone();
        match step {
            Step::Gathered => {
                state.clock.start(state.now);
                self.drain(&mut state);
            }
            Step::Timeout => {
                state.timeouts -= 1;
                state.now = state.clock.poll_timeout()?;
                state.clock.handle_timeout(state.now);
                self.drain(&mut state);
            }
            Step::ToTracker(i) => {
                let message = state.clients[i].to_tracker.pop_front()?;
                self.deliver(&mut state, i, message);
            }
            Step::ToClient(i) => {
                let client = &mut state.clients[i];
                client.stage = match client.to_client.pop_front()? {
                    Down::Start => client.stage,
                    Down::Go(time) => Stage::Acting(time),
                    Down::Finish => Stage::Finished,
                    Down::LeftOut => Stage::Gone,
                };
            }
            Step::Completes(i) => {
                let client = &mut state.clients[i];
                let Stage::Acting(time) = client.stage else { return None };
                client.stage = Stage::Waiting;
                client.done = time;
                client.to_tracker.push_back(Up::Complete(time));
            }
            Step::Strays(i, time) => {
                state.stray -= 1;
                state.clients[i].to_tracker.push_back(Up::Stray(time));
            }
            Step::Crashes(i) => {
                state.crashes -= 1;
                let client = &mut state.clients[i];
                client.stage = Stage::Gone;
                client.to_client.clear();
                client.to_tracker.push_back(Up::Broke);
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "nobody begins t+1 before everybody counted has completed t",
                |_, state: &ClockState| !state.wrong.contains(&Wrong::TooEarly),
            ),
            Property::always("turns go by id, one at a time", |_, state: &ClockState| {
                !state.wrong.contains(&Wrong::OutOfTurn)
            }),
            Property::always(
                "nobody finishes before everybody counted is through",
                |_, state: &ClockState| !state.wrong.contains(&Wrong::FinishedEarly),
            ),
            Property::always(
                "a repeated, late or early completion changes nothing",
                |_, state: &ClockState| !state.wrong.contains(&Wrong::StrayCounted),
            ),
            Property::always("the others never wait for whoever is gone", |_, state: &ClockState| {
                state.goes_on()
                    || state.over
                        && state.clients.iter().all(|c| matches!(c.stage, Stage::Finished | Stage::Gone))
            }),
            // So that the ones above are not true of an empty world.
            Property::sometimes("everybody finishes", |_, state: &ClockState| {
                state.clients.iter().all(|c| c.stage == Stage::Finished)
            }),
            Property::sometimes("some finish though one is gone", |model: &Self, state: &ClockState| {
                let finished = state.clients.iter().filter(|c| c.stage == Stage::Finished).count();
                finished > 0 && finished < model.scripts.len() && state.over
            }),
        ]
    }
}
