//! Who is online (PROTOCOL.md §2): the real [`Registry`], and peers that register, move, leave, come
//! back and let their lease run out. Requests come in any order, so also one that was overtaken.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use askaround_core::id::Contact;
use askaround_core::registry::{Refusal, Registry, RegistryConfig};
use askaround_core::{Instant, PeerId};
use stateright::{Model, Property};

/// A deliberate mistake, which a property must catch. Only tests make one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Takes any token for the right one.
    AnyToken,
    /// Lets no registration run out.
    NoLease,
    /// Forgets whoever unregisters.
    ForgetsAtOnce,
    /// Keeps the old address of whoever comes back at another.
    KeepsOldAddress,
    /// Does not let anybody renew.
    RefusesRenewal,
    /// Takes more entries from one address than it should.
    NoLimit,
    /// Notes a registration although it refuses it.
    NotesRefused,
    /// Never forgets whoever has long been gone.
    NeverForgets,
}

/// How large the model is.
#[derive(Debug, Clone)]
pub struct RegistryModel {
    /// How many ids there are.
    pub ids: u64,
    /// How many tokens there are, no token being one.
    pub tokens: usize,
    /// How many steps of time, each half a lease.
    pub ticks: u64,
    /// The most entries from one IP address.
    pub per_ip: usize,
    /// A deliberate mistake.
    pub broken: Option<Broken>,
}

/// Everything there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RegistryState {
    registry: Registry,
    now: u64,
    /// What is to be true of each id.
    ghosts: Vec<Option<Ghost>>,
    wrong: BTreeSet<Wrong>,
}

/// The last registration of an id that was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Ghost {
    at: usize,
    token: Option<&'static str>,
    /// When it ends or ended.
    until: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Wrong {
    TakenOver,
    RefusedItsOwn,
    NotAsRegistered,
    ListedWrongly,
    ForgottenEarly,
    NeverForgotten,
    OverLimit,
    RefusalChangedSomething,
}

/// What can happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// An id is registered at one of [`ADDRESSES`] with this token.
    Register(u64, usize, Option<&'static str>),
    /// An id is unregistered with this token.
    Unregister(u64, Option<&'static str>),
    /// Half a lease passes.
    Tick,
    /// The registry looks at so many entries for what has run out.
    Sweep(usize),
}

/// Two ports of one IP address, and another address.
pub const ADDRESSES: [(u8, u16); 3] = [(1, 1), (1, 2), (2, 1)];
const TOKENS: [Option<&str>; 3] = [None, Some("s"), Some("t")];
/// Both in ticks.
const LEASE: u64 = 2;
const FORGET_AFTER: u64 = 2;

fn id(n: u64) -> PeerId {
    PeerId::new(n + 1).expect("a small number")
}

fn contact(n: u64, at: usize) -> Contact {
    let (ip, port) = ADDRESSES[at];
    Contact { id: id(n), ip: IpAddr::V4(Ipv4Addr::new(10, 0, 0, ip)), port }
}

fn time(ticks: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(ticks)
}

impl RegistryModel {
    fn register(&self, state: &mut RegistryState, n: u64, at: usize, token: Option<&'static str>) {
        let before = state.clone();
        let ghost = state.ghosts[n as usize];
        let registered = ghost.filter(|ghost| state.now < ghost.until);
        let shown =
            if self.broken == Some(Broken::AnyToken) { ghost.and_then(|g| g.token).or(token) } else { token };
        let refuses = self.broken == Some(Broken::RefusesRenewal) && registered.is_some();
        let result = if refuses {
            Err(Refusal::IdTaken)
        } else {
            let keeps = self.broken == Some(Broken::KeepsOldAddress);
            let at = ghost.filter(|_| keeps).map_or(at, |ghost| ghost.at);
            state.registry.register(time(state.now), contact(n, at), shown)
        };
        // Whose it is: without a token, whoever is at that address; with one, whoever knows it.
        let its_own = registered.is_none_or(|ghost| match ghost.token {
            Some(secret) => token == Some(secret),
            None => ghost.at == at,
        });
        let mut wrong = |what| state.wrong.insert(what);
        match result {
            Ok(()) => {
                if !its_own {
                    wrong(Wrong::TakenOver);
                }
                let token = if self.broken == Some(Broken::AnyToken) { shown } else { token };
                state.ghosts[n as usize] = Some(Ghost { at, token, until: state.now + LEASE });
            }
            Err(refusal) => {
                if its_own && (refusal == Refusal::IdTaken || self.has_room(&before, n, at)) {
                    wrong(Wrong::RefusedItsOwn);
                }
                if self.broken == Some(Broken::NotesRefused) {
                    state.registry.remove(id(n));
                    let _ = state.registry.register(time(state.now), contact(n, at), token);
                }
                if state.registry != before.registry {
                    state.wrong.insert(Wrong::RefusalChangedSomething);
                }
            }
        }
    }

    /// Whether there is room for an entry of this id at this address.
    fn has_room(&self, state: &RegistryState, n: u64, at: usize) -> bool {
        let others = (0..self.ids).filter(|other| *other != n);
        let there = others.filter_map(|other| state.registry.lookup(id(other)));
        there.filter(|other| other.ip == contact(n, at).ip).count() < self.per_ip
    }

    fn unregister(&self, state: &mut RegistryState, n: u64, token: Option<&'static str>) {
        let before = state.registry.clone();
        let ghost = state.ghosts[n as usize];
        let registered = ghost.filter(|ghost| state.now < ghost.until);
        let shown =
            if self.broken == Some(Broken::AnyToken) { ghost.and_then(|g| g.token).or(token) } else { token };
        let result = state.registry.unregister(time(state.now), id(n), shown);
        let may = registered.is_none_or(|ghost| ghost.token.is_none() || ghost.token == token);
        match result {
            Ok(()) if !may => {
                state.wrong.insert(Wrong::TakenOver);
            }
            Ok(()) => {
                if let Some(ghost) = &mut state.ghosts[n as usize] {
                    ghost.until = ghost.until.min(state.now);
                }
                if self.broken == Some(Broken::ForgetsAtOnce) {
                    state.registry.remove(id(n));
                }
            }
            Err(Refusal::UnknownPeer) if ghost.is_some() => {
                state.wrong.insert(Wrong::ForgottenEarly);
            }
            Err(refusal) => {
                if may && refusal != Refusal::UnknownPeer {
                    state.wrong.insert(Wrong::RefusedItsOwn);
                }
                if state.registry != before {
                    state.wrong.insert(Wrong::RefusalChangedSomething);
                }
            }
        }
    }

    /// Compares what the registry says with what is to be true.
    fn compare(&self, state: &mut RegistryState) {
        let listed = |ghost: &Ghost| state.now < ghost.until;
        let ghosts = (0..self.ids).zip(&state.ghosts);
        let expected: Vec<Contact> = ghosts
            .filter_map(|(n, ghost)| ghost.filter(|ghost| listed(ghost)).map(|ghost| contact(n, ghost.at)))
            .collect();
        // In pages of one, as whoever pages through it sees it.
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let (page, next) = state.registry.list(time(state.now), after, 1);
            pages.extend(page);
            after = next;
            if next.is_none() || pages.len() > state.ghosts.len() {
                break;
            }
        }
        let whole = state.registry.list(time(state.now), None, 9).0;
        if whole != expected || pages != expected {
            state.wrong.insert(Wrong::ListedWrongly);
        }
        for n in 0..self.ids {
            let found = state.registry.lookup(id(n));
            match state.ghosts[n as usize] {
                Some(ghost) if found.is_none() => {
                    if state.now < ghost.until + FORGET_AFTER {
                        state.wrong.insert(Wrong::ForgottenEarly);
                    } else {
                        state.ghosts[n as usize] = None;
                    }
                }
                ghost => {
                    if found != ghost.map(|ghost| contact(n, ghost.at)) {
                        state.wrong.insert(Wrong::NotAsRegistered);
                    }
                }
            }
        }
        for (ip, _) in ADDRESSES {
            let from =
                |n: u64| state.registry.lookup(id(n)).is_some_and(|c| c.ip == Ipv4Addr::new(10, 0, 0, ip));
            if (0..self.ids).filter(|n| from(*n)).count() > self.per_ip {
                state.wrong.insert(Wrong::OverLimit);
            }
        }
    }

    fn sweep(&self, state: &mut RegistryState, budget: usize) {
        if self.broken != Some(Broken::NeverForgets) {
            state.registry.sweep(time(state.now), budget);
        }
        // Two rounds over everything notice an end and forget it.
        let mut later = state.registry.clone();
        for _ in 0..2 * self.ids + 2 {
            if self.broken != Some(Broken::NeverForgets) {
                later.sweep(time(state.now), budget);
            }
        }
        let stays = |(n, ghost): (u64, &Option<Ghost>)| {
            ghost.is_some_and(|g| g.until + FORGET_AFTER <= state.now) && later.lookup(id(n)).is_some()
        };
        if (0..).zip(&state.ghosts).any(stays) {
            state.wrong.insert(Wrong::NeverForgotten);
        }
    }
}

impl Model for RegistryModel {
    type State = RegistryState;
    type Action = Step;

    fn init_states(&self) -> Vec<RegistryState> {
        let seconds = Duration::from_secs;
        let config = RegistryConfig {
            lease: (self.broken != Some(Broken::NoLease)).then_some(seconds(LEASE)),
            forget_after: seconds(FORGET_AFTER),
            max_entries: self.ids as usize,
            max_entries_per_ip: if self.broken == Some(Broken::NoLimit) { usize::MAX } else { self.per_ip },
        };
        let ghosts = vec![None; self.ids as usize];
        vec![RegistryState { registry: Registry::new(config), now: 0, ghosts, wrong: BTreeSet::new() }]
    }

    fn actions(&self, state: &RegistryState, actions: &mut Vec<Step>) {
        for n in 0..self.ids {
            for token in TOKENS.into_iter().take(self.tokens) {
                actions.extend((0..ADDRESSES.len()).map(|at| Step::Register(n, at, token)));
                actions.push(Step::Unregister(n, token));
            }
        }
        actions.extend([Step::Sweep(1), Step::Sweep(9)]);
        if state.now < self.ticks {
            actions.push(Step::Tick);
        }
    }

    fn next_state(&self, last: &RegistryState, step: Step) -> Option<RegistryState> {
        let mut state = last.clone();
        match step {
            Step::Register(n, at, token) => self.register(&mut state, n, at, token),
            Step::Unregister(n, token) => self.unregister(&mut state, n, token),
            Step::Tick => state.now += 1,
            Step::Sweep(budget) => self.sweep(&mut state, budget),
        }
        self.compare(&mut state);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "nobody takes over a registration without its token",
                |_, state: &RegistryState| !state.wrong.contains(&Wrong::TakenOver),
            ),
            Property::always(
                "whoever owns an id may renew, move and leave, and come back when it has ended",
                |_, state: &RegistryState| !state.wrong.contains(&Wrong::RefusedItsOwn),
            ),
            Property::always(
                "a look-up gives the address of the last registration",
                |_, state: &RegistryState| !state.wrong.contains(&Wrong::NotAsRegistered),
            ),
            Property::always(
                "exactly those are listed whose lease runs, page by page",
                |_, state: &RegistryState| !state.wrong.contains(&Wrong::ListedWrongly),
            ),
            Property::always("whoever is gone can be looked up for a while", |_, state: &RegistryState| {
                !state.wrong.contains(&Wrong::ForgottenEarly)
            }),
            Property::always("whoever has long been gone is forgotten", |_, state: &RegistryState| {
                !state.wrong.contains(&Wrong::NeverForgotten)
            }),
            Property::always("no address holds more entries than it may", |_, state: &RegistryState| {
                !state.wrong.contains(&Wrong::OverLimit)
            }),
            Property::always("what is refused changes nothing", |_, state: &RegistryState| {
                !state.wrong.contains(&Wrong::RefusalChangedSomething)
            }),
            Property::sometimes("somebody came back at another address", |_, state: &RegistryState| {
                state.now > LEASE && state.ghosts[0].is_some_and(|g| g.at == 2 && state.now < g.until)
            }),
            Property::sometimes("somebody was forgotten", |_, state: &RegistryState| {
                state.now >= LEASE + FORGET_AFTER && state.registry.is_empty()
            }),
        ]
    }
}
