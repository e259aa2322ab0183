//! What the assignment's logs say, to the letter (PROTOCOL.md §6).

use serde::{Deserialize, Serialize};

use crate::id::{Contact, PeerId};
use crate::key::Key;
use crate::message::Timestep;

/// One entry of a log file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// The timestep.
    pub time: Timestep,
    /// What happened.
    pub text: String,
}

/// The tracker's entry at the end of a timestep.
pub fn registered_text(peers: &[Contact]) -> String {
    format!("Clients registered: {}", join(peers))
}

/// Action `R`, and the registration at time 0.
pub fn register_text(id: PeerId) -> String {
    format!("Client ID {id} registered")
}

/// Action `U`.
pub fn unregister_text() -> String {
    "Unregistered".into()
}

/// Action `L`.
pub fn list_text(peers: &[Contact]) -> String {
    format!("Bootstrapper: {}", join(peers))
}

/// Action `Q`, found: `from` is the peer that had it.
pub fn obtained_text(key: &Key, from: &Contact) -> String {
    format!("Obtained {key} from {}#{}", from.ip, from.port)
}

/// Action `Q`, not found, and action `P` of a key that is not held.
pub fn unavailable_text(key: &Key) -> String {
    format!("Content {key} is unavailable")
}

/// Action `P`.
pub fn removed_text(key: &Key) -> String {
    format!("Removed {key}")
}

/// Action `O`.
pub fn known_text(id: PeerId, peers: &[Contact]) -> String {
    format!("Client {id}: {}", join(peers))
}

/// Action `M`.
pub fn contents_text(id: PeerId, keys: &[Key]) -> String {
    format!("Client {id}: {}", join(keys))
}

/// Actions `O` and `M` of a peer that does not exist or does not answer.
pub fn unreachable_text(id: PeerId) -> String {
    format!("Client {id} is unreachable")
}

fn join<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_joined_and_empty_ones_leave_a_blank() {
        let id = PeerId::new(4).unwrap();
        let contact = Contact { id, ip: [127, 0, 0, 1].into(), port: 9241 };
        assert_eq!(
            list_text(&[contact, contact]),
            "Bootstrapper: <4, 127.0.0.1, 9241>, <4, 127.0.0.1, 9241>"
        );
        assert_eq!(known_text(id, &[]), "Client 4: ");
        assert_eq!(obtained_text(&Key::new("2a").unwrap(), &contact), "Obtained 2a from 127.0.0.1#9241");
    }
}
