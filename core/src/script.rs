//! [`Script`]: what a peer of a lab run holds at the start and does when.

use std::fmt;

use crate::id::PeerId;
use crate::key::Key;
use crate::message::Timestep;

/// Something a peer can be told to do. The letters are the assignment's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// `R`: register with the tracker.
    Register,
    /// `U`: unregister.
    Unregister,
    /// `L`: list the registered peers.
    List,
    /// `Q`: find a key and obtain it.
    Obtain(Key),
    /// `P`: purge a key.
    Purge(Key),
    /// `O`: whom does this peer know.
    Known(PeerId),
    /// `M`: what does this peer hold.
    Contents(PeerId),
    /// Find a key and obtain nothing (live only).
    Find(Key),
    /// Hold a key from now on (live only).
    Hold(Key),
    /// Find everybody who holds a key or is fetching it, and obtain nothing (live only).
    Gather(Key),
}

impl fmt::Display for Action {
    /// The assignment's letter and the parameter, as in `Q 4a`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register => f.write_str("R"),
            Self::Unregister => f.write_str("U"),
            Self::List => f.write_str("L"),
            Self::Obtain(key) => write!(f, "Q {key}"),
            Self::Purge(key) => write!(f, "P {key}"),
            Self::Known(id) => write!(f, "O {id}"),
            Self::Contents(id) => write!(f, "M {id}"),
            Self::Find(key) => write!(f, "find {key}"),
            Self::Hold(key) => write!(f, "hold {key}"),
            Self::Gather(key) => write!(f, "gather {key}"),
        }
    }
}

/// The script of one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Whose it is.
    pub id: PeerId,
    /// The content list at the start.
    pub content: Vec<Key>,
    /// What to do when, by time; actions of one time in their order.
    pub actions: Vec<(Timestep, Action)>,
}

impl Script {
    /// The last timestep in which something is done, or 0.
    pub fn end(&self) -> Timestep {
        self.actions.last().map_or(0, |(time, _)| *time)
    }
}
