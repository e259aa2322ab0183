//! What happens to nodes as a whole: they are gone, and start again.

use askaround_core::peer::{Change, Peer, PeerConfig};
use askaround_core::tracker::Tracker;

use super::{Event, World};

/// Something that happens to a node as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// This peer is gone at once.
    Crash(u32),
    /// It starts again with what it had stored. A scripted peer does not.
    Restart(u32),
    /// The tracker is gone.
    TrackerDown,
    /// It starts again and knows nobody. The tracker of a lab run does not.
    TrackerUp,
}

impl World {
    pub(super) fn strike(&mut self, blow: Blow) {
        match blow {
            Blow::Crash(peer) => {
                let node = &mut self.peers[peer as usize];
                if node.up {
                    node.up = false;
                    node.timer = None;
                    let life = node.life;
                    node.life += 1;
                    self.leave(peer, life);
                }
            }
            Blow::Restart(peer) => self.restart(peer),
            Blow::TrackerDown => {
                self.tracker = None;
                self.tracker_timer = None;
                for peer in 0..u32::try_from(self.peers.len()).unwrap_or(u32::MAX) {
                    let node = &self.peers[peer as usize];
                    if node.live.is_none() {
                        self.queue.push(self.now, Event::Closed { peer, life: node.life });
                    }
                }
            }
            Blow::TrackerUp => {
                if self.tracker.is_none() && self.tracker_config.lab.is_none() {
                    self.tracker = Some(Tracker::new(self.tracker_config.clone(), self.now));
                    self.rearm_tracker();
                }
            }
        }
    }

    /// A live peer starts again with what it had stored, as the store hands it back.
    fn restart(&mut self, peer: u32) {
        let node = &mut self.peers[peer as usize];
        let Some(config) = node.live.as_ref().filter(|_| !node.up) else { return };
        let mut machine = Peer::live(PeerConfig::clone(config), node.machine.me());
        for (key, from) in node.machine.originators().iter() {
            machine.restore(Change::Originator(key.clone(), from));
        }
        for key in node.machine.contents().iter() {
            machine.restore(Change::Held(key.clone()));
        }
        node.machine = machine;
        node.up = true;
        self.rearm_peer(peer);
    }
}
