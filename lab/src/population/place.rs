//! Who holds and knows what at the start.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use askaround_core::Key;
use askaround_core::id::Contact;
use askaround_core::message::MAX_PAGE;
use askaround_core::peer::{Change, PeerConfig};
use askaround_core::search::SearchConfig;
use askaround_core::tracker::TrackerConfig;

use super::{LOOK_UP_EVERY, Plan, RunError, SETTLES, id_of};
use crate::world::engine::{Step, World};
use crate::world::links::LinkRule;
use crate::world::random::Random;

/// The keys of a population.
pub(super) struct Catalog {
    pub(super) keys: Vec<Key>,
    /// Who holds each.
    pub(super) holders: Vec<Vec<u32>>,
    /// With popularity: how much of it the keys up to each have, the last having 1.
    cumulative: Option<Vec<f64>>,
}

impl Catalog {
    /// A key by chance, as popular as they are.
    pub(super) fn draw(&self, random: &mut Random) -> usize {
        match &self.cumulative {
            None => random.index(self.keys.len()),
            Some(cumulative) => {
                let drawn = random.unit();
                cumulative.partition_point(|upto| *upto <= drawn).min(self.keys.len() - 1)
            }
        }
    }
}

/// Each key's share of the popularity, by rank.
fn shares(keys: u32, exponent: f64) -> Vec<f64> {
    let weights: Vec<f64> = (1..=keys).map(|rank| f64::from(rank).powf(-exponent)).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// Makes the peers, hands out keys and acquaintances, and lets everybody register.
pub(super) fn settle(plan: &Plan, stop: &dyn Fn() -> bool) -> Result<(World, Catalog), RunError> {
    let mut tracker = TrackerConfig::default();
    tracker.registry.lease = plan.lease;
    tracker.registry.max_entries = plan.peers as usize;
    let links = Box::new(LinkRule::new(plan.links.clone()));
    let mut world = World::new(tracker, vec![links], Random::new(plan.seed));
    let config = Arc::new(PeerConfig {
        search: SearchConfig {
            width: plan.width,
            max_peers: plan.peers as usize,
            max_pages: plan.peers as usize / MAX_PAGE + 2,
            ..SearchConfig::default()
        },
        operation_timeout: plan.give_up.unwrap_or(Duration::MAX),
        ..PeerConfig::default()
    });
    let mut steps = Steps { stop, taken: 0 };
    for peer in 0..plan.peers {
        world.add_live(contact(peer), config.clone());
        steps.take(1)?;
    }
    let catalog = hand_out(plan, &mut world, &mut steps)?;
    acquaint(plan, &mut world, &mut steps)?;
    // A connection may fail at first; whoever it is tries again.
    let mut greeted = Greeted { registered: 0 };
    let give_up = world.now() + SETTLES;
    while greeted.registered < plan.peers {
        steps.take(1)?;
        if world.step(&mut greeted) == Step::Idle {
            let problem = format!("only {} of {} peers could register", greeted.registered, plan.peers);
            return Err(RunError::Property(problem));
        }
        if world.now() > give_up {
            return Err(RunError::Unsettled { registered: greeted.registered, peers: plan.peers });
        }
    }
    Ok((world, catalog))
}

/// Counts the steps of the making, and asks now and then whether to stop.
struct Steps<'a> {
    stop: &'a dyn Fn() -> bool,
    taken: u64,
}

impl Steps<'_> {
    fn take(&mut self, steps: u64) -> Result<(), RunError> {
        let before = self.taken / LOOK_UP_EVERY;
        self.taken += steps;
        if self.taken / LOOK_UP_EVERY > before && (self.stop)() { Err(RunError::Stopped) } else { Ok(()) }
    }
}

fn contact(peer: u32) -> Contact {
    let ip = IpAddr::V4(Ipv4Addr::from_bits(u32::from_be_bytes([10, 0, 0, 1]) + peer));
    Contact::new(id_of(peer), SocketAddr::new(ip, 7000))
}

/// Counts who has registered.
struct Greeted {
    registered: u32,
}

impl crate::world::engine::Observer for Greeted {
    fn peer_output(&mut self, _: askaround_core::Instant, _: u32, output: &askaround_core::peer::PeerOutput) {
        use askaround_core::peer::{Outcome, PeerOutput};
        if let PeerOutput::Membership(Outcome::Registered { .. }) = output {
            self.registered += 1;
        }
    }
}

/// One peer has each key of its own; the other holders got it from one that had it before.
fn hand_out(plan: &Plan, world: &mut World, steps: &mut Steps<'_>) -> Result<Catalog, RunError> {
    let shares = plan.zipf.map(|exponent| shares(plan.keys, exponent));
    let all = f64::from(plan.copies) * f64::from(plan.keys);
    let (mut keys, mut holders) = (Vec::new(), Vec::new());
    for rank in 0..plan.keys as usize {
        let copies = match &shares {
            None => plan.copies,
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
            Some(shares) => ((shares[rank] * all).round() as u32).clamp(1, plan.peers),
        };
        let random = world.random();
        let text = format!("{:016x}{:016x}", random.bits(), random.bits());
        let key = Key::new(&text).expect("hexadecimal digits are a key");
        let chosen = choose(plan.peers, copies, random);
        for (i, peer) in chosen.iter().enumerate() {
            let change = match i {
                0 => Change::Held(key.clone()),
                _ => {
                    let from = chosen[world.random().index(i)];
                    Change::Obtained(key.clone(), contact(from))
                }
            };
            world.restore(*peer, change);
        }
        steps.take(1 + chosen.len() as u64)?;
        keys.push(key);
        holders.push(chosen);
    }
    let cumulative = shares.map(|shares| {
        let mut sum = 0.0;
        shares
            .into_iter()
            .map(|share| {
                sum += share;
                sum
            })
            .collect()
    });
    Ok(Catalog { keys, holders, cumulative })
}

/// So many different peers by chance, in an order by chance.
fn choose(peers: u32, count: u32, random: &mut Random) -> Vec<u32> {
    let mut chosen = Vec::with_capacity(count as usize);
    let mut seen = BTreeSet::new();
    // Floyd's way: no draw is in vain, however many of all are chosen.
    for last in peers - count..peers {
        let drawn = u32::try_from(random.below(u64::from(last) + 1)).unwrap_or(last);
        let peer = if seen.insert(drawn) { drawn } else { last };
        seen.insert(peer);
        chosen.push(peer);
    }
    for i in (1..chosen.len()).rev() {
        chosen.swap(i, random.index(i + 1));
    }
    chosen
}

/// Everybody has once got something, which it holds no longer, from some others.
fn acquaint(plan: &Plan, world: &mut World, steps: &mut Steps<'_>) -> Result<(), RunError> {
    let past = |n: u32| Key::new(&format!("past-{n}")).expect("a key");
    let past: Vec<Key> = (0..plan.known).map(past).collect();
    for peer in 0..plan.peers {
        let mut known = BTreeSet::new();
        for key in &past {
            let mut other = peer;
            while other == peer || known.contains(&other) {
                other = u32::try_from(world.random().below(u64::from(plan.peers))).unwrap_or(0);
            }
            known.insert(other);
            world.restore(peer, Change::Originator(key.clone(), contact(other)));
        }
        steps.take(1 + u64::from(plan.known))?;
    }
    Ok(())
}
