//! The assignment's rules once more, as plain functions without machines or messages: what the
//! machines are compared with. It also notes every question, as `asker verb asked`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use askaround_core::Key;
use askaround_core::id::{Contact, PeerId};
use askaround_core::log::{self, LogEntry};
use askaround_core::script::{Action, Script};

pub(crate) struct Model {
    addresses: BTreeMap<PeerId, SocketAddr>,
    contents: BTreeMap<PeerId, Vec<Key>>,
    originators: BTreeMap<PeerId, BTreeMap<Key, PeerId>>,
    registered: BTreeSet<PeerId>,
    pub(crate) logs: BTreeMap<PeerId, Vec<LogEntry>>,
    pub(crate) tracker_log: Vec<LogEntry>,
    pub(crate) questions: Vec<String>,
    mistake: Option<Mistake>,
}

/// A rule got wrong on purpose. That the machines are then seen to differ shows that random
/// scenarios come to where the rule matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// A purge forgets whom the key came from.
    PurgeForgets,
    /// A third further hint is followed.
    OneHintMore,
    /// A hint is not followed.
    HintIgnored,
    /// The own originator is not asked first.
    OriginatorIgnored,
    /// Only one level of the longer list is read.
    OneLevel,
    /// Somebody is asked the same thing twice in a search.
    AsksAgain,
    /// Whoever is not registered does not serve.
    UnregisteredIsGone,
}

enum Said {
    Have,
    Hint(PeerId),
    No,
}

/// The peers of one search that were asked for the key. What they say does not change.
type Asked = BTreeSet<PeerId>;

impl Model {
    pub(crate) fn run(scripts: &[Script], addresses: &[SocketAddr]) -> Self {
        Self::run_wrong(scripts, addresses, None)
    }

    pub(crate) fn run_wrong(scripts: &[Script], addresses: &[SocketAddr], mistake: Option<Mistake>) -> Self {
        let ids: Vec<PeerId> = scripts.iter().map(|script| script.id).collect();
        let registration = |id: &PeerId| vec![LogEntry { time: 0, text: log::register_text(*id) }];
        let mut model = Self {
            addresses: ids.iter().copied().zip(addresses.iter().copied()).collect(),
            contents: scripts.iter().map(|s| (s.id, s.content.clone())).collect(),
            originators: ids.iter().map(|id| (*id, BTreeMap::new())).collect(),
            registered: ids.iter().copied().collect(),
            logs: ids.iter().map(|id| (*id, registration(id))).collect(),
            tracker_log: Vec::new(),
            questions: Vec::new(),
            mistake,
        };
        let end = scripts.iter().map(Script::end).max().unwrap_or(0);
        model.end_timestep(0);
        for time in 1..=end {
            for script in scripts {
                for (_, action) in script.actions.iter().filter(|(at, _)| *at == time) {
                    let text = model.act(script.id, action);
                    model.logs.entry(script.id).or_default().push(LogEntry { time, text });
                }
            }
            model.end_timestep(time);
        }
        model
    }

    fn end_timestep(&mut self, time: u32) {
        let peers: Vec<_> = self.registered.iter().map(|id| self.contact(*id)).collect();
        self.tracker_log.push(LogEntry { time, text: log::registered_text(&peers) });
    }

    fn contact(&self, id: PeerId) -> Contact {
        Contact::new(id, self.addresses[&id])
    }

    fn makes(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    fn ask(&mut self, asker: PeerId, verb: &str, asked: Option<PeerId>) {
        let asked = asked.map_or("tracker".into(), |id| id.to_string());
        self.questions.push(format!("{asker} {verb} {asked}"));
    }

    fn act(&mut self, me: PeerId, action: &Action) -> String {
        match action {
            Action::Register => {
                self.ask(me, "R", None);
                self.registered.insert(me);
                log::register_text(me)
            }
            Action::Unregister => {
                self.ask(me, "U", None);
                self.registered.remove(&me);
                log::unregister_text()
            }
            Action::List => {
                self.ask(me, "L", None);
                let peers: Vec<_> = self.registered.iter().map(|id| self.contact(*id)).collect();
                log::list_text(&peers)
            }
            Action::Purge(key) => {
                let held = self.contents[&me].contains(key);
                self.contents.entry(me).or_default().retain(|k| k != key);
                if self.makes(Mistake::PurgeForgets) {
                    self.originators.entry(me).or_default().remove(key);
                }
                if held { log::removed_text(key) } else { log::unavailable_text(key) }
            }
            Action::Known(id) | Action::Contents(id) => {
                if *id != me {
                    self.ask(me, "W", None);
                    if !self.addresses.contains_key(id) {
                        return log::unreachable_text(*id);
                    }
                }
                if matches!(action, Action::Known(_)) {
                    let peers = self.known(me, *id);
                    log::known_text(*id, &peers.iter().map(|id| self.contact(*id)).collect::<Vec<_>>())
                } else {
                    if *id != me {
                        self.ask(me, "M", Some(*id));
                    }
                    log::contents_text(*id, &self.contents[id])
                }
            }
            Action::Obtain(key) => {
                let reachable = self.reachable(me).into_iter().any(|id| self.contents[&id].contains(key));
                let found = self.search(me, key);
                if self.mistake.is_none() {
                    assert_eq!(found.is_some(), reachable, "found whenever somebody reachable holds it");
                }
                match found {
                    Some(from) => {
                        if from != me {
                            self.contents.entry(me).or_default().push(key.clone());
                            self.originators.entry(me).or_default().insert(key.clone(), from);
                        }
                        log::obtained_text(key, &self.contact(from))
                    }
                    None => log::unavailable_text(key),
                }
            }
            Action::Find(_) | Action::Hold(_) | Action::Gather(_) => unreachable!("not in a script"),
        }
    }

    fn known(&mut self, me: PeerId, id: PeerId) -> Vec<PeerId> {
        if id != me {
            self.ask(me, "O", Some(id));
        }
        let unique: BTreeSet<PeerId> = self.originators[&id].values().copied().collect();
        unique.into_iter().rev().collect()
    }

    /// Everybody whom listed peers, and whoever they know, and so on, lead to.
    fn reachable(&self, me: PeerId) -> BTreeSet<PeerId> {
        let mut reached = self.registered.clone();
        reached.insert(me);
        loop {
            let next: BTreeSet<PeerId> =
                reached.iter().flat_map(|id| self.originators[id].values().copied()).collect();
            let before = reached.len();
            reached.extend(next);
            if reached.len() == before {
                return reached;
            }
        }
    }

    fn says(&mut self, me: PeerId, id: PeerId, key: &Key, asked: &mut Asked) -> Said {
        if asked.insert(id) || self.makes(Mistake::AsksAgain) {
            self.ask(me, "Q", Some(id));
        }
        if self.makes(Mistake::UnregisteredIsGone) && !self.registered.contains(&id) {
            return Said::No;
        }
        if self.contents[&id].contains(key) {
            Said::Have
        } else {
            self.originators[&id].get(key).map_or(Said::No, |hint| Said::Hint(*hint))
        }
    }

    fn search(&mut self, me: PeerId, key: &Key) -> Option<PeerId> {
        if self.contents[&me].contains(key) {
            return Some(me);
        }
        let mut asked = Asked::new();
        if !self.makes(Mistake::OriginatorIgnored)
            && let Some(from) = self.originators[&me].get(key).copied()
            && matches!(self.says(me, from, key, &mut asked), Said::Have)
        {
            return Some(from);
        }
        self.ask(me, "L", None);
        let mut level: Vec<PeerId> = self.registered.iter().copied().collect();
        if !level.contains(&me) {
            level.push(me);
        }
        let mut seen: BTreeSet<PeerId> = level.iter().copied().collect();
        for number in 0.. {
            if level.is_empty() || (number > 1 && self.makes(Mistake::OneLevel)) {
                break;
            }
            for id in level.iter().copied().filter(|id| *id != me) {
                if let Some(found) = self.ask_listed(me, id, key, &mut asked) {
                    return Some(found);
                }
            }
            let known: Vec<PeerId> = level.iter().flat_map(|id| self.known(me, *id)).collect();
            level = known.into_iter().filter(|id| seen.insert(*id)).collect();
        }
        None
    }

    /// A listed peer, the peer it hints at, and at most two further.
    fn ask_listed(&mut self, me: PeerId, listed: PeerId, key: &Key, asked: &mut Asked) -> Option<PeerId> {
        let mut id = listed;
        let hints = match self.mistake {
            Some(Mistake::OneHintMore) => 4,
            Some(Mistake::HintIgnored) => 0,
            _ => 3,
        };
        for hints_left in (0..=hints).rev() {
            match self.says(me, id, key, asked) {
                Said::Have => return Some(id),
                Said::Hint(hint) if hint != me && hints_left > 0 => id = hint,
                Said::Hint(_) | Said::No => return None,
            }
        }
        None
    }
}
