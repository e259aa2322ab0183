//! [`Links`]: what connects the nodes, the same for every two of them.

use std::collections::BTreeMap;
use std::time::Duration;

use askaround_core::Instant;
use askaround_core::wire::encode;

use super::random::Random;
use super::rule::{Crossing, Place, Rule, Verdict, Way};

/// How the links are.
#[derive(Debug, Clone, PartialEq)]
pub struct Links {
    /// How long a message is under way, one way.
    pub latency: Duration,
    /// It may be under way up to so much longer, each delay as likely.
    pub jitter: Duration,
    /// So many of the questions find that no connection can be made, from 0 to 1.
    pub loss: f64,
    /// What a node can send, in bits a second; without limit, if `None`.
    pub bandwidth: Option<u64>,
    /// Whether a question to a peer opens a connection first, which takes a round trip (TCP's
    /// handshake). The connection with the tracker is kept.
    pub handshake: bool,
}

impl Links {
    /// Links that take `latency` and are otherwise perfect.
    pub const fn new(latency: Duration) -> Self {
        Self { latency, jitter: Duration::ZERO, loss: 0.0, bandwidth: None, handshake: false }
    }
}

/// The rule of these links.
#[derive(Debug)]
pub(crate) struct LinkRule {
    links: Links,
    /// When each node's line is free again.
    free_at: BTreeMap<Place, Instant>,
    scratch: Vec<u8>,
}

impl LinkRule {
    pub(crate) fn new(links: Links) -> Self {
        Self { links, free_at: BTreeMap::new(), scratch: Vec::new() }
    }

    /// How long this message waits for the sender's line and occupies it: one at a time.
    fn on_the_line(&mut self, crossing: &Crossing<'_>) -> Duration {
        let Some(bits_a_second) = self.links.bandwidth else { return Duration::ZERO };
        self.scratch.clear();
        if let Some(message) = crossing.message {
            encode(message, &mut self.scratch);
        }
        let bits = u128::from(self.scratch.len() as u64) * 8;
        let nanos = bits * 1_000_000_000 / u128::from(bits_a_second.max(1));
        let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let free_at = self.free_at.entry(crossing.from).or_default();
        *free_at = (*free_at).max(crossing.at) + takes;
        free_at.since(crossing.at)
    }
}

impl Rule for LinkRule {
    fn verdict(&mut self, crossing: &Crossing<'_>, random: &mut Random) -> Verdict {
        let opens = crossing.way == Way::Ask;
        if (opens || crossing.way == Way::Parcel) && random.chance(self.links.loss) {
            return Verdict::Break(self.links.latency * 2);
        }
        let mut takes = self.links.latency + self.on_the_line(crossing);
        if self.links.handshake && opens && crossing.to != Place::Tracker {
            takes += self.links.latency * 2;
        }
        if !self.links.jitter.is_zero() {
            takes += random.duration(self.links.jitter);
        }
        Verdict::Late(takes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use askaround_core::message::{Message, Request};

    fn ask(at: u64) -> (Instant, Message) {
        let key = "0123456789abcdef0123456789abcdef".parse().unwrap();
        (Instant::from_nanos(at), Message::Request(Request::Have(key)))
    }

    fn takes(rule: &mut LinkRule, at: u64, way: Way, random: &mut Random) -> Verdict {
        let (at, message) = ask(at);
        let (from, to) = (Place::Peer(1), Place::Peer(2));
        rule.verdict(&Crossing { at, from, to, way, message: Some(&message) }, random)
    }

    #[test]
    fn latency_jitter_and_handshake_add_up() {
        let mut random = Random::new(1);
        let latency = Duration::from_millis(20);
        let mut plain = LinkRule::new(Links::new(latency));
        assert_eq!(takes(&mut plain, 0, Way::Ask, &mut random), Verdict::Late(latency));
        let mut shaking = LinkRule::new(Links { handshake: true, ..Links::new(latency) });
        assert_eq!(takes(&mut shaking, 0, Way::Ask, &mut random), Verdict::Late(latency * 3));
        assert_eq!(takes(&mut shaking, 0, Way::Answer, &mut random), Verdict::Late(latency));
        let jitter = Duration::from_millis(5);
        let mut jittery = LinkRule::new(Links { jitter, ..Links::new(latency) });
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..100 {
            let Verdict::Late(by) = takes(&mut jittery, 0, Way::Ask, &mut random) else { panic!() };
            assert!((latency..latency + jitter).contains(&by));
            seen.insert(by);
        }
        assert!(seen.len() > 90);
    }

    #[test]
    fn loss_breaks_so_many_connections_and_no_answers() {
        let mut random = Random::new(2);
        let mut rule = LinkRule::new(Links { loss: 0.25, ..Links::new(Duration::from_millis(1)) });
        let broken = (0..4000)
            .filter(|_| matches!(takes(&mut rule, 0, Way::Ask, &mut random), Verdict::Break(_)))
            .count();
        assert!((900..1100).contains(&broken), "{broken}");
        assert!((0..100).all(|_| takes(&mut rule, 0, Way::Answer, &mut random) != Verdict::Vanish));
    }

    #[test]
    fn what_is_sent_at_once_waits_for_the_line() {
        let mut random = Random::new(3);
        // `Q {"key":"…32…"}` and its line end are 45 bytes: 360 bits, at 360 kbit/s a millisecond.
        let mut rule = LinkRule::new(Links { bandwidth: Some(360_000), ..Links::new(Duration::ZERO) });
        let ms = |n| Verdict::Late(Duration::from_millis(n));
        assert_eq!(takes(&mut rule, 0, Way::Answer, &mut random), ms(1));
        assert_eq!(takes(&mut rule, 0, Way::Answer, &mut random), ms(2));
        assert_eq!(takes(&mut rule, 10_000_000, Way::Answer, &mut random), ms(1), "the line is free again");
    }
}
