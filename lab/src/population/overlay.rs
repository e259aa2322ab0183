//! Flooding and random walks over the peers that each peer knows, to compare with (Lv, Cao, Cohen,
//! Li, Shenker: "Search and Replication in Unstructured Peer-to-Peer Networks", 2002).
//!
//! A question is passed on by the peers themselves and whoever has the key tells the searcher. A
//! flood goes to everybody that a peer knows; a peer that sees it again, or has the key, does not
//! pass it on, yet the message counts. A walker goes on to one by chance, and asks the searcher
//! after every fourth step whether to go on. A message that is lost is not sent again.

use std::collections::{HashMap, HashSet};

use askaround_core::Key;
use askaround_core::message::{Answer, HaveAnswer, Message, Request};
use askaround_core::peer::Change;

use super::Search;
use super::drive::contact_of;
use super::meter::{Ended, Meter};
use crate::world::engine::World;

/// A walker asks the searcher after so many steps.
const CHECK_EVERY: u32 = 4;

/// Searches under way, and what travels for them.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    searches: HashMap<usize, UnderWay>,
    travellers: HashMap<u64, Traveller>,
    last_traveller: u64,
    ended: Vec<(usize, Ended)>,
}

#[derive(Debug)]
struct UnderWay {
    searcher: u32,
    key: Key,
    /// Who has seen the flood.
    seen: HashSet<u32>,
    travelling: u32,
    /// When the searcher heard first, who has the key and over how many peers the way led.
    hit: Option<Ended>,
}

#[derive(Debug, Clone, Copy)]
struct Traveller {
    lookup: usize,
    what: What,
    /// How many peers it has come to.
    hops: u32,
}

#[derive(Debug, Clone, Copy)]
enum What {
    /// The question.
    Question,
    /// This walker asks the searcher whether to go on.
    Check { walker_at: u32 },
    /// It is to go on, or not.
    GoOn(bool),
    /// This peer has the key.
    Hit(u32),
}

impl Overlay {
    pub(super) fn begin(
        &mut self,
        world: &mut World,
        meter: &mut Meter,
        search: Search,
        lookup: usize,
        key: Key,
    ) {
        let searcher = meter.lookups[lookup].searcher;
        let seen = HashSet::from([searcher]);
        let own = world.peer(searcher).contents().contains(&key);
        let hit = own.then(|| Ended { at: world.now(), found: Some((searcher, 0)), truncated: false });
        self.searches.insert(lookup, UnderWay { searcher, key, seen, travelling: 0, hit });
        let question = Traveller { lookup, what: What::Question, hops: 0 };
        if !own {
            match search {
                Search::Walk { walkers, .. } => {
                    for _ in 0..walkers {
                        self.walk_on(world, meter, searcher, question);
                    }
                }
                _ => self.pass_on(world, meter, searcher, question),
            }
        }
        self.end_if_over(world, lookup);
    }

    /// Searches that are over since the last call.
    pub(super) fn take_ended(&mut self) -> Vec<(usize, Ended)> {
        std::mem::take(&mut self.ended)
    }

    pub(super) fn lost(&mut self, world: &World, parcel: u64) {
        if let Some(traveller) = self.travellers.remove(&parcel) {
            self.gone(world, traveller.lookup);
        }
    }

    pub(super) fn arrived(
        &mut self,
        world: &mut World,
        meter: &mut Meter,
        search: Search,
        at: u32,
        parcel: u64,
    ) {
        let Some(traveller) = self.travellers.remove(&parcel) else { return };
        let Some(under_way) = self.searches.get_mut(&traveller.lookup) else { return };
        let (searcher, over) = (under_way.searcher, under_way.hit.is_some());
        let send = |what| Traveller { what, ..traveller };
        match traveller.what {
            What::Question => {
                meter.asked[at as usize] += 1;
                let new = under_way.seen.insert(at);
                let has = at != searcher && world.peer(at).contents().contains(&under_way.key);
                let (may_go_on, walks) = match search {
                    Search::Walk { ttl, .. } => (traveller.hops < ttl, true),
                    Search::Flood { ttl } => (traveller.hops < ttl && new, false),
                    Search::Ask => (false, false),
                };
                if has && (new || walks) {
                    self.send(world, meter, at, searcher, send(What::Hit(at)));
                } else if !has && may_go_on && !walks {
                    self.pass_on(world, meter, at, traveller);
                } else if !has && may_go_on && traveller.hops.is_multiple_of(CHECK_EVERY) {
                    self.send(world, meter, at, searcher, send(What::Check { walker_at: at }));
                } else if !has && may_go_on {
                    self.walk_on(world, meter, at, traveller);
                }
            }
            What::Check { walker_at } => {
                self.send(world, meter, searcher, walker_at, send(What::GoOn(!over)));
            }
            What::GoOn(true) => self.walk_on(world, meter, at, send(What::Question)),
            What::GoOn(false) => {}
            What::Hit(holder) => {
                if under_way.hit.is_none() {
                    let found = Some((holder, traveller.hops));
                    under_way.hit = Some(Ended { at: world.now(), found, truncated: false });
                    let change = Change::Obtained(under_way.key.clone(), contact_of(world, holder));
                    world.restore(searcher, change);
                }
            }
        }
        self.gone(world, traveller.lookup);
    }

    /// To everybody that this peer knows.
    fn pass_on(&mut self, world: &mut World, meter: &mut Meter, from: u32, question: Traveller) {
        for to in known(world, from) {
            self.send(world, meter, from, to, Traveller { hops: question.hops + 1, ..question });
        }
    }

    /// To one of those that this peer knows.
    fn walk_on(&mut self, world: &mut World, meter: &mut Meter, from: u32, walker: Traveller) {
        let known = known(world, from);
        if !known.is_empty() {
            let to = known[world.random().index(known.len())];
            self.send(world, meter, from, to, Traveller { hops: walker.hops + 1, ..walker });
        }
    }

    fn send(&mut self, world: &mut World, meter: &mut Meter, from: u32, to: u32, traveller: Traveller) {
        let Some(under_way) = self.searches.get_mut(&traveller.lookup) else { return };
        under_way.travelling += 1;
        meter.lookups[traveller.lookup].messages += 1;
        let message = match traveller.what {
            What::Question | What::Check { .. } => Message::Request(Request::Have(under_way.key.clone())),
            What::GoOn(_) | What::Hit(_) => Message::Answer(Answer::Have(HaveAnswer::Have)),
        };
        self.last_traveller += 1;
        self.travellers.insert(self.last_traveller, traveller);
        world.carry(from, to, self.last_traveller, &message);
    }

    /// Something of this search has come to its end.
    fn gone(&mut self, world: &World, lookup: usize) {
        if let Some(under_way) = self.searches.get_mut(&lookup) {
            under_way.travelling -= 1;
        }
        self.end_if_over(world, lookup);
    }

    fn end_if_over(&mut self, world: &World, lookup: usize) {
        if self.searches.get(&lookup).is_some_and(|under_way| under_way.travelling == 0)
            && let Some(under_way) = self.searches.remove(&lookup)
        {
            let nothing = Ended { at: world.now(), found: None, truncated: true };
            self.ended.push((lookup, under_way.hit.unwrap_or(nothing)));
        }
    }
}

/// The peers that this one knows.
fn known(world: &World, peer: u32) -> Vec<u32> {
    world.peer(peer).originators().peers(None).filter_map(|contact| world.at(contact.addr())).collect()
}
