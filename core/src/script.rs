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

impl Action {
    /// The action of this letter, whose parameter is a key or a peer's id where it has one. `None`
    /// if no action of a script has the letter.
    ///
    /// # Errors
    /// What `key` or `peer` says: each is asked only if the letter needs it.
    pub fn of_letter<E>(
        letter: &str,
        key: impl FnOnce() -> Result<Key, E>,
        peer: impl FnOnce() -> Result<PeerId, E>,
    ) -> Result<Option<Self>, E> {
        Ok(Some(match letter {
            "R" => Self::Register,
            "U" => Self::Unregister,
            "L" => Self::List,
            "Q" => Self::Obtain(key()?),
            "P" => Self::Purge(key()?),
            "O" => Self::Known(peer()?),
            "M" => Self::Contents(peer()?),
            _ => return Ok(None),
        }))
    }

    /// The letter and the parameter. `None` of what only a live peer does.
    pub fn letter(&self) -> Option<(&'static str, Option<String>)> {
        Some(match self {
            Self::Register => ("R", None),
            Self::Unregister => ("U", None),
            Self::List => ("L", None),
            Self::Obtain(key) => ("Q", Some(key.to_string())),
            Self::Purge(key) => ("P", Some(key.to_string())),
            Self::Known(id) => ("O", Some(id.to_string())),
            Self::Contents(id) => ("M", Some(id.to_string())),
            Self::Find(_) | Self::Hold(_) | Self::Gather(_) => return None,
        })
    }
}

impl fmt::Display for Action {
    /// The assignment's letter and the parameter, as in `Q 4a`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.letter()) {
            (Self::Find(key), _) => write!(f, "find {key}"),
            (Self::Hold(key), _) => write!(f, "hold {key}"),
            (Self::Gather(key), _) => write!(f, "gather {key}"),
            (_, Some((letter, Some(parameter)))) => write!(f, "{letter} {parameter}"),
            (_, letter) => f.write_str(letter.map_or("", |(letter, _)| letter)),
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
