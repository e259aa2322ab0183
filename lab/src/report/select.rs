//! A part of a run: some peers, timesteps, a key.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use askaround_core::message::Timestep;
use askaround_core::{Key, PeerId};

use super::model::{HostIndex, Kind, MessageReport, Report};

/// What to draw.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only messages from or to these peers; everybody's, if empty.
    pub peers: BTreeSet<PeerId>,
    /// Only these timesteps.
    pub times: Option<RangeInclusive<Timestep>>,
    /// Only what is about this key.
    pub key: Option<Key>,
    /// The messages of the clock too.
    pub clock: bool,
}

/// A selection that selects nothing at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// No such peer.
    #[error("peer {0} did not take part in this run")]
    NoSuchPeer(PeerId),
    /// No such key.
    #[error("nobody asked for or held the key {0} in this run")]
    NoSuchKey(Key),
    /// Nothing fits.
    #[error("no message of this run fits what was selected")]
    Nothing,
}

impl Selection {
    /// The places of the messages that are selected, in order.
    ///
    /// # Errors
    /// If none is.
    pub fn messages(&self, report: &Report) -> Result<Vec<usize>, SelectError> {
        let host = |id: &PeerId| {
            let name = id.to_string();
            let place = report.hosts.iter().position(|host| host.name == name);
            place.ok_or(SelectError::NoSuchPeer(*id))
        };
        let hosts = self.peers.iter().map(host).collect::<Result<BTreeSet<HostIndex>, _>>()?;
        let key = match &self.key {
            Some(key) => {
                let place = report.keys.iter().position(|known| known == key.as_str());
                Some(place.ok_or_else(|| SelectError::NoSuchKey(key.clone()))?)
            }
            None => None,
        };
        let fits = |message: &MessageReport| {
            (self.clock || message.kind != Kind::Clock)
                && (hosts.is_empty() || hosts.contains(&message.from) || hosts.contains(&message.to))
                && self.times.as_ref().is_none_or(|times| times.contains(&message.time))
                && (key.is_none() || message.key == key)
        };
        let all = report.messages.iter().enumerate();
        let selected: Vec<_> = all.filter(|(_, message)| fits(message)).map(|(place, _)| place).collect();
        if selected.is_empty() { Err(SelectError::Nothing) } else { Ok(selected) }
    }
}
