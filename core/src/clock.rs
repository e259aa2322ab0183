//! [`Clock`]: the barrier of a lab run (PROTOCOL.md §4).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::id::PeerId;
use crate::message::Timestep;
use crate::time::Instant;

/// So many of those who vanish before the start are remembered: anybody can join and go.
const MAX_VANISHED: usize = 4096;

/// Who may act when within a timestep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Turns {
    /// One after the other, by increasing id: a run gives the same logs every time.
    #[default]
    ById,
    /// All at once, as the assignment's Figure 4 draws it.
    Concurrent,
}

/// What the clock tells its owner.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ClockEvent {
    /// Time 0 is over: tell this peer that the run starts.
    Start(PeerId),
    /// Tell this peer to go ahead with this timestep.
    Go(PeerId, Timestep),
    /// Everybody has completed this timestep.
    TimestepOver(Timestep),
    /// This peer is left out from now on.
    LeftOut {
        /// Who.
        id: PeerId,
        /// In which timestep.
        time: Timestep,
        /// Why.
        why: LeftOutReason,
    },
    /// The last timestep is over: tell this peer that the run is finished.
    Finish(PeerId),
    /// The run is over.
    Over,
}

/// Why a peer no longer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LeftOutReason {
    /// Its connection broke.
    ConnectionBroke,
    /// It did not complete a timestep in time.
    TimedOut,
}

/// Lets timestep t+1 begin when everybody who takes part has completed t.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Clock {
    turns: Turns,
    step_timeout: Duration,
    phase: Phase,
    members: BTreeMap<PeerId, Member>,
    /// Whose connection broke before the start, and who has not come back.
    vanished: BTreeSet<PeerId>,
    last: Timestep,
    deadline: Option<Instant>,
    events: VecDeque<ClockEvent>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Gathering,
    Running(Timestep),
    Over,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Member {
    told: Timestep,
    completed: Timestep,
    left_out: bool,
}

impl Clock {
    /// A clock that gathers members. `step_timeout` is how long a peer may take for its turn.
    pub fn new(turns: Turns, step_timeout: Duration) -> Self {
        Self {
            turns,
            step_timeout,
            phase: Phase::Gathering,
            members: BTreeMap::new(),
            vanished: BTreeSet::new(),
            last: 0,
            deadline: None,
            events: VecDeque::new(),
        }
    }

    /// Whether the run has begun.
    pub fn has_started(&self) -> bool {
        self.phase != Phase::Gathering
    }

    /// How many take part.
    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// Whether this peer takes part and was not left out.
    pub fn is_active(&self, id: PeerId) -> bool {
        self.members.get(&id).is_some_and(|member| !member.left_out)
    }

    /// A peer joins whose script ends at `script_end`. Only while gathering.
    pub fn join(&mut self, id: PeerId, script_end: Timestep) {
        debug_assert!(!self.has_started(), "the owner refuses whoever comes late");
        self.vanished.remove(&id);
        self.members.insert(id, Member { told: 0, completed: 0, left_out: false });
        self.last = self.last.max(script_end);
    }

    /// Ends the gathering: time 0 is over and the first timestep begins.
    pub fn start(&mut self, now: Instant) {
        if self.has_started() {
            return;
        }
        self.events.push_back(ClockEvent::TimestepOver(0));
        let why = LeftOutReason::ConnectionBroke;
        let vanished = std::mem::take(&mut self.vanished).into_iter();
        self.events.extend(vanished.map(|id| ClockEvent::LeftOut { id, time: 0, why }));
        self.events.extend(self.members.keys().map(|id| ClockEvent::Start(*id)));
        self.phase = Phase::Running(0);
        self.advance(now);
    }

    /// A peer says that it has completed `time`. Anything but the timestep that it was told to
    /// go ahead with changes nothing, and nor does whoever was left out.
    pub fn complete(&mut self, now: Instant, id: PeerId, time: Timestep) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let due = !member.left_out && member.told == time && member.completed < time;
        if self.phase == Phase::Running(time) && due {
            member.completed = time;
            self.advance(now);
        }
    }

    /// The connection of a peer broke.
    pub fn connection_broke(&mut self, now: Instant, id: PeerId) {
        match self.phase {
            Phase::Gathering => {
                if self.members.remove(&id).is_some() && self.vanished.len() < MAX_VANISHED {
                    self.vanished.insert(id);
                }
            }
            Phase::Running(_) => {
                self.leave_out(id, LeftOutReason::ConnectionBroke);
                self.advance(now);
            }
            Phase::Over => {}
        }
    }

    /// Call when the time of [`Clock::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Phase::Running(time) = self.phase else { return };
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            let late: Vec<_> = self.waiting_for(time).collect();
            for id in late {
                self.leave_out(id, LeftOutReason::TimedOut);
            }
            self.advance(now);
        }
    }

    /// When somebody's turn runs out.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// What is to be told, in order.
    pub fn poll_event(&mut self) -> Option<ClockEvent> {
        self.events.pop_front()
    }

    /// Who was told to go ahead with `time` and has not completed it.
    fn waiting_for(&self, time: Timestep) -> impl Iterator<Item = PeerId> {
        self.members
            .iter()
            .filter(move |(_, m)| !m.left_out && m.told == time && m.completed < time)
            .map(|(id, _)| *id)
    }

    fn leave_out(&mut self, id: PeerId, why: LeftOutReason) {
        let Phase::Running(time) = self.phase else { return };
        if let Some(member) = self.members.get_mut(&id).filter(|member| !member.left_out) {
            member.left_out = true;
            self.events.push_back(ClockEvent::LeftOut { id, time, why });
        }
    }

    /// Goes on as far as can be without waiting for anybody.
    fn advance(&mut self, now: Instant) {
        while let Phase::Running(time) = self.phase {
            if time > 0 {
                if self.waiting_for(time).next().is_some() {
                    return;
                }
                if self.tell_next(now, time) {
                    return;
                }
                self.events.push_back(ClockEvent::TimestepOver(time));
            }
            self.deadline = None;
            self.phase = if time < self.last { Phase::Running(time + 1) } else { Phase::Over };
        }
        if self.phase == Phase::Over && self.events.back() != Some(&ClockEvent::Over) {
            let active = self.members.iter().filter(|(_, m)| !m.left_out);
            self.events.extend(active.map(|(id, _)| ClockEvent::Finish(*id)));
            self.events.push_back(ClockEvent::Over);
        }
    }

    /// Tells whoever is next, or everybody, to go ahead. False if all have been told.
    fn tell_next(&mut self, now: Instant, time: Timestep) -> bool {
        let untold = self.members.iter_mut().filter(|(_, m)| !m.left_out && m.told < time);
        let how_many = match self.turns {
            Turns::ById => 1,
            Turns::Concurrent => usize::MAX,
        };
        let mut told = false;
        for (id, member) in untold.take(how_many) {
            member.told = time;
            self.events.push_back(ClockEvent::Go(*id, time));
            told = true;
        }
        if told {
            self.deadline = Some(now + self.step_timeout);
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::ClockEvent::{Finish, Go, LeftOut, Over, Start, TimestepOver};
    use super::*;

    const NOW: Instant = Instant::ZERO;

    fn id(n: u64) -> PeerId {
        PeerId::new(n).unwrap()
    }

    fn clock(turns: Turns) -> Clock {
        let mut clock = Clock::new(turns, Duration::from_secs(5));
        clock.join(id(2), 1);
        clock.join(id(1), 2);
        clock.start(NOW);
        clock
    }

    fn events(clock: &mut Clock) -> Vec<ClockEvent> {
        std::iter::from_fn(|| clock.poll_event()).collect()
    }

    #[test]
    fn turns_go_by_id_and_the_run_ends_after_the_last_script() {
        let mut clock = clock(Turns::ById);
        assert_eq!(events(&mut clock), [TimestepOver(0), Start(id(1)), Start(id(2)), Go(id(1), 1)]);
        clock.complete(NOW, id(2), 1);
        clock.complete(NOW, id(1), 2);
        assert_eq!(events(&mut clock), [], "neither out of turn nor for another time");
        clock.complete(NOW, id(1), 1);
        clock.complete(NOW, id(1), 1);
        assert_eq!(events(&mut clock), [Go(id(2), 1)]);
        clock.complete(NOW, id(2), 1);
        assert_eq!(events(&mut clock), [TimestepOver(1), Go(id(1), 2)]);
        clock.complete(NOW, id(1), 2);
        clock.complete(NOW, id(2), 2);
        assert_eq!(events(&mut clock), [Go(id(2), 2), TimestepOver(2), Finish(id(1)), Finish(id(2)), Over]);
        assert_eq!(clock.poll_timeout(), None);
    }

    #[test]
    fn concurrent_turns_tell_everybody_at_once() {
        let mut clock = clock(Turns::Concurrent);
        assert_eq!(events(&mut clock)[3..], [Go(id(1), 1), Go(id(2), 1)]);
        clock.complete(NOW, id(2), 1);
        assert_eq!(events(&mut clock), []);
        clock.complete(NOW, id(1), 1);
        assert_eq!(events(&mut clock), [TimestepOver(1), Go(id(1), 2), Go(id(2), 2)]);
    }

    #[test]
    fn whoever_breaks_or_is_late_is_left_out_and_named() {
        let mut clock = clock(Turns::ById);
        events(&mut clock);
        clock.connection_broke(NOW, id(1));
        let why = LeftOutReason::ConnectionBroke;
        assert_eq!(events(&mut clock), [LeftOut { id: id(1), time: 1, why }, Go(id(2), 1)]);
        let late = NOW + Duration::from_secs(5);
        clock.handle_timeout(late);
        let why = LeftOutReason::TimedOut;
        let expected = [LeftOut { id: id(2), time: 1, why }, TimestepOver(1), TimestepOver(2), Over];
        assert_eq!(events(&mut clock), expected);
    }

    #[test]
    fn whoever_vanishes_before_the_start_is_named_unless_it_comes_back() {
        let mut clock = Clock::new(Turns::ById, Duration::from_secs(5));
        for n in 1..=3 {
            clock.join(id(n), 0);
        }
        clock.connection_broke(NOW, id(3));
        clock.connection_broke(NOW, id(1));
        clock.connection_broke(NOW, id(9));
        clock.join(id(1), 0);
        clock.start(NOW);
        let why = LeftOutReason::ConnectionBroke;
        let left_out = LeftOut { id: id(3), time: 0, why };
        let expected =
            [TimestepOver(0), left_out, Start(id(1)), Start(id(2)), Finish(id(1)), Finish(id(2)), Over];
        assert_eq!(events(&mut clock), expected);
    }

    #[test]
    fn a_run_of_nobody_is_over_at_once() {
        let mut clock = Clock::new(Turns::ById, Duration::from_secs(5));
        clock.start(NOW);
        assert_eq!(events(&mut clock), [TimestepOver(0), Over]);
    }
}
