//! [`Schedule`]: in which order the actions of each timestep take place.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use askaround_core::id::PeerId;
use askaround_core::message::Timestep;
use askaround_core::script::Script;

/// A timestep in which somebody acts.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) time: Timestep,
    /// Who acts, by increasing id: the peer's number, its first action and how many there are.
    pub(super) acting: Vec<Acting>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Acting {
    pub(super) peer: usize,
    pub(super) first: usize,
    pub(super) count: usize,
}

/// The timesteps of `scripts`, which stand by increasing id.
pub(super) fn steps(scripts: &[Script]) -> Vec<Step> {
    let mut steps: BTreeMap<Timestep, Vec<Acting>> = BTreeMap::new();
    for (peer, script) in scripts.iter().enumerate() {
        for (index, (time, _)) in script.actions.iter().enumerate() {
            let acting = steps.entry(*time).or_default();
            match acting.last_mut().filter(|acting| acting.peer == peer) {
                Some(acting) => acting.count += 1,
                None => acting.push(Acting { peer, first: index, count: 1 }),
            }
        }
    }
    steps.into_iter().map(|(time, acting)| Step { time, acting }).collect()
}

/// The order of one timestep: each peer's number once for each of its actions. A peer's own
/// actions keep their order, so which one is meant needs no saying.
pub(super) type Order = Vec<usize>;

impl Step {
    /// The order of turns by id.
    pub(super) fn by_id(&self) -> Order {
        self.acting.iter().flat_map(|acting| std::iter::repeat_n(acting.peer, acting.count)).collect()
    }

    /// `first`, and then whoever is left by id. `Err` says who acts too often in it.
    pub(super) fn complete(&self, first: &[usize]) -> Result<Order, usize> {
        let mut left: BTreeMap<usize, usize> = self.acting.iter().map(|a| (a.peer, a.count)).collect();
        for peer in first {
            match left.get_mut(peer).filter(|count| **count > 0) {
                Some(count) => *count -= 1,
                None => return Err(*peer),
            }
        }
        let rest = left.into_iter().flat_map(|(peer, count)| std::iter::repeat_n(peer, count));
        Ok(first.iter().copied().chain(rest).collect())
    }
}

/// An order for each timestep in which somebody acts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Schedule(pub(super) Vec<Order>);

impl Schedule {
    pub(super) fn by_id(steps: &[Step]) -> Self {
        Self(steps.iter().map(Step::by_id).collect())
    }

    /// How it differs from turns by id.
    pub(super) fn told(&self, steps: &[Step], scripts: &[Script]) -> Vec<TurnOrder> {
        let differing = steps.iter().zip(&self.0).filter_map(|(step, order)| {
            // What comes after the last descent is by id.
            let descent = order.windows(2).rposition(|pair| pair[0] > pair[1])?;
            let peers = order[..=descent].iter().map(|peer| scripts[*peer].id).collect();
            Some(TurnOrder { time: step.time, peers })
        });
        differing.collect()
    }

    /// Turns by id, except for what is told.
    pub(super) fn from_told(
        told: &[TurnOrder],
        steps: &[Step],
        scripts: &[Script],
    ) -> Result<Self, TurnOrderError> {
        let mut schedule = Self::by_id(steps);
        let mut seen = std::collections::BTreeSet::new();
        for TurnOrder { time, peers } in told {
            let time = *time;
            if !seen.insert(time) {
                return Err(TurnOrderError::Twice(time));
            }
            let at = steps.binary_search_by_key(&time, |step| step.time);
            let at = at.map_err(|_| TurnOrderError::NobodyActs(time))?;
            let number = |id: &PeerId| {
                let number = scripts.binary_search_by_key(id, |script| script.id);
                number.map_err(|_| TurnOrderError::NoSuchPeer(*id))
            };
            let first = peers.iter().map(number).collect::<Result<Vec<_>, _>>()?;
            let order = steps[at].complete(&first);
            schedule.0[at] = order.map_err(|peer| TurnOrderError::TooOften {
                time,
                id: scripts[peer].id,
                actions: steps[at].acting.iter().find(|a| a.peer == peer).map_or(0, |a| a.count),
            })?;
        }
        Ok(schedule)
    }
}

/// Who acts first in a timestep; whoever is left follows by id. Each turn is one action.
///
/// As text: `3:2,1`, which is: in timestep 3, client 2, then client 1, then the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnOrder {
    /// The timestep.
    pub time: Timestep,
    /// Whose turn it is, one after the other.
    pub peers: Vec<PeerId>,
}

impl fmt::Display for TurnOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.time)?;
        for (i, id) in self.peers.iter().enumerate() {
            write!(f, "{}{id}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl FromStr for TurnOrder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (time, peers) = text
            .split_once(':')
            .ok_or("expected TIME:ID,ID,…, for example 3:2,1 (in timestep 3, client 2 first)")?;
        let time = time
            .trim()
            .parse()
            .map_err(|_| format!("expected a timestep before the colon, found {time:?}"))?;
        let peers = peers.split(',').map(|id| id.trim().parse::<PeerId>().map_err(|e| e.to_string()));
        Ok(Self { time, peers: peers.collect::<Result<_, _>>()? })
    }
}

/// An order that does not fit the scenario.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TurnOrderError {
    /// Two orders for one timestep.
    #[error("timestep {0} is given two orders")]
    Twice(Timestep),
    /// Nobody has anything to do then.
    #[error("nobody acts in timestep {0}")]
    NobodyActs(Timestep),
    /// There is no such peer.
    #[error("there is no client {0} in the scenario")]
    NoSuchPeer(PeerId),
    /// It has fewer actions.
    #[error("client {id} has {actions} actions in timestep {time}, and is given more turns")]
    TooOften {
        /// When.
        time: Timestep,
        /// Who.
        id: PeerId,
        /// How many it has.
        actions: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use askaround_core::script::Action;

    fn scripts() -> Vec<Script> {
        let script = |id, times: &[Timestep]| Script {
            id: PeerId::new(id).unwrap(),
            content: Vec::new(),
            actions: times.iter().map(|time| (*time, Action::List)).collect(),
        };
        vec![script(4, &[1, 1, 7]), script(9, &[1, 7, 7])]
    }

    fn schedule(told: &[&str]) -> Result<Schedule, TurnOrderError> {
        let told: Vec<TurnOrder> = told.iter().map(|text| text.parse().unwrap()).collect();
        Schedule::from_told(&told, &steps(&scripts()), &scripts())
    }

    #[test]
    fn an_order_is_told_in_short_and_understood() {
        let scripts = scripts();
        let steps = steps(&scripts);
        assert_eq!(Schedule::by_id(&steps).0, [vec![0, 0, 1], vec![0, 1, 1]]);
        let told = |schedule: &Schedule| {
            schedule.told(&steps, &scripts).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        for (text, order) in [("7:9", vec![1, 0, 1]), ("7:9,9", vec![1, 1, 0])] {
            let schedule = schedule(&[text]).unwrap();
            assert_eq!(schedule.0, [vec![0, 0, 1], order]);
            assert_eq!(told(&schedule), [text]);
        }
        assert_eq!(schedule(&["7:4,9"]).unwrap(), Schedule::by_id(&steps));
        assert!(told(&Schedule::by_id(&steps)).is_empty());
        assert_eq!(told(&schedule(&["1:4,9", "7:9"]).unwrap()), ["1:4,9", "7:9"]);
    }

    #[test]
    fn an_order_that_does_not_fit_is_named() {
        let id = PeerId::new(9).unwrap();
        assert_eq!(schedule(&["2:4"]), Err(TurnOrderError::NobodyActs(2)));
        assert_eq!(schedule(&["1:4", "1:9"]), Err(TurnOrderError::Twice(1)));
        assert_eq!(schedule(&["1:3"]), Err(TurnOrderError::NoSuchPeer(PeerId::new(3).unwrap())));
        assert_eq!(schedule(&["1:9,9"]), Err(TurnOrderError::TooOften { time: 1, id, actions: 1 }));
        for wrong in ["", "3", ":1", "3:", "3:a", "x:1", "3:1,,2", "3:0"] {
            assert!(wrong.parse::<TurnOrder>().is_err(), "{wrong}");
        }
    }
}
