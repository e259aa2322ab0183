//! When each machine wants to be called.

use askaround_core::Instant;
use askaround_core::peer::PeerInput;
use askaround_core::tracker::{Tracker, TrackerInput};

use super::{Observer, World};
use crate::world::rule::Place;

impl World {
    /// A timer may have run out. False if the machine wants to be called later by now.
    pub(super) fn timer(&mut self, at: Instant, place: Place, watch: &mut dyn Observer) -> bool {
        #[cfg(test)]
        if self.mistake == Some(super::Mistake::LosesTimers) {
            return false;
        }
        let (scheduled, wanted) = match place {
            Place::Tracker => {
                let wanted = self.tracker.as_ref().and_then(Tracker::poll_timeout);
                (&mut self.tracker_timer, wanted)
            }
            Place::Peer(peer) => {
                let node = &mut self.peers[peer as usize];
                let wanted = if node.up { node.machine.poll_timeout() } else { None };
                (&mut node.timer, wanted)
            }
        };
        if *scheduled != Some(at) {
            return false;
        }
        *scheduled = None;
        if wanted.is_none_or(|wanted| wanted > at) {
            self.rearm(place);
            return false;
        }
        self.now = self.now.max(at);
        match place {
            Place::Tracker => self.tracker_input(TrackerInput::Timeout, None, watch),
            Place::Peer(peer) => self.peer_input(peer, PeerInput::Timeout, watch),
        }
        true
    }

    fn rearm(&mut self, place: Place) {
        match place {
            Place::Tracker => self.rearm_tracker(),
            Place::Peer(peer) => self.rearm_peer(peer),
        }
    }

    /// A timer that was put in stays in: a later one waits until that has come.
    pub(super) fn rearm_peer(&mut self, peer: u32) {
        let node = &mut self.peers[peer as usize];
        if let Some(wanted) = node.machine.poll_timeout()
            && node.timer.is_none_or(|scheduled| wanted < scheduled)
        {
            node.timer = Some(wanted);
            self.queue.push_timer(wanted, Place::Peer(peer));
        }
    }

    pub(super) fn rearm_tracker(&mut self) {
        if let Some(wanted) = self.tracker.as_ref().and_then(Tracker::poll_timeout)
            && self.tracker_timer.is_none_or(|scheduled| wanted < scheduled)
        {
            self.tracker_timer = Some(wanted);
            self.queue.push_timer(wanted, Place::Tracker);
        }
    }
}
