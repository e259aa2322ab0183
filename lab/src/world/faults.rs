//! [`Fault`]: something that goes wrong at a set time, as a person writes it, and the rules of
//! those faults that concern messages under way.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use askaround_core::{Instant, PeerId};

use super::random::Random;
use super::rule::{Crossing, Place, Rule, Verdict, Way};

/// Something that goes wrong: `crash:3@10`, `crash:10%@5+3`, `stall:2-5@1+2`,
/// `partition:1-50@10+60`, `outage@10+5`.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: Kind,
    /// Whom it befalls; empty for an outage.
    pub who: Who,
    /// When, after the run began.
    pub at: Duration,
    /// For how long; for ever, if `None`.
    pub lasts: Option<Duration>,
    text: String,
}

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Peers are gone at once; afterwards they start again with what they had stored.
    Crash,
    /// Peers do nothing for a while; what was sent to them waits.
    Stall,
    /// These peers and all the rest, the tracker included, do not reach each other.
    Partition,
    /// The tracker is gone; afterwards it starts again and knows nobody.
    Outage,
}

/// Some of the peers.
#[derive(Debug, Clone, PartialEq)]
pub enum Who {
    /// Peers by their ids, from and to, both included.
    Ids(Vec<(PeerId, PeerId)>),
    /// So many of all, chosen by chance, from 0 to 1.
    Share(f64),
}

/// A fault that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// It names a peer that does not take part.
    #[error("{fault}: there is no peer {id} in this run")]
    NoSuchPeer {
        /// The fault as it was written.
        fault: String,
        /// Who is not there.
        id: PeerId,
    },
    /// It begins when the run is over.
    #[error("{fault}: the run is over by then, it lasts {run:?}")]
    AfterTheEnd {
        /// The fault as it was written.
        fault: String,
        /// How long the run lasts.
        run: Duration,
    },
}

impl Fault {
    /// The peers whom it befalls, given everybody's ids in increasing order, by their places.
    ///
    /// # Errors
    /// If it names somebody who is not there.
    pub fn befalls(&self, ids: &[PeerId], random: &mut Random) -> Result<Vec<u32>, FaultError> {
        let place = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
        let mut places = Vec::new();
        match &self.who {
            Who::Ids(ranges) => {
                for (first, last) in ranges {
                    for end in [first, last] {
                        if ids.binary_search(end).is_err() {
                            return Err(FaultError::NoSuchPeer { fault: self.to_string(), id: *end });
                        }
                    }
                    let from = ids.partition_point(|id| id < first);
                    let to = ids.partition_point(|id| id <= last);
                    places.extend((from..to).map(place));
                }
            }
            Who::Share(share) => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a share of a count"
                )]
                let mut wanted = (share * ids.len() as f64).round() as usize;
                // Each is taken with the chance that fills what is still wanted from what is left.
                for i in 0..ids.len() {
                    if random.index(ids.len() - i) < wanted {
                        places.push(place(i));
                        wanted -= 1;
                    }
                }
            }
        }
        places.sort_unstable();
        places.dedup();
        Ok(places)
    }

    /// Somebody whom it names and who is not there, where everybody has an id from 1 to `peers`.
    pub fn stranger(&self, peers: u32) -> Option<PeerId> {
        let Who::Ids(ranges) = &self.who else { return None };
        ranges.iter().map(|(_, last)| *last).find(|last| last.as_u64() > u64::from(peers))
    }

    /// Checks that it begins while the run, which lasts `run`, goes on.
    ///
    /// # Errors
    /// If it does not.
    pub fn within(&self, run: Duration) -> Result<(), FaultError> {
        let error = || FaultError::AfterTheEnd { fault: self.to_string(), run };
        if self.at < run { Ok(()) } else { Err(error()) }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "expected KIND:WHO@START[+DURATION], for example crash:3@10, crash:10%@5+3, \
                            stall:2-5@1+2, partition:1-50@10+60 or outage@10+5";
        let (what, when) = text.split_once('@').ok_or(FORM)?;
        let (kind, who) = what.split_once(':').map_or((what, None), |(kind, who)| (kind, Some(who)));
        let kind = match kind {
            "crash" => Kind::Crash,
            "stall" => Kind::Stall,
            "partition" => Kind::Partition,
            "outage" => Kind::Outage,
            other => return Err(format!("{other:?} is none of crash, stall, partition and outage: {FORM}")),
        };
        let who = match (kind, who) {
            (Kind::Outage, None) => Who::Ids(Vec::new()),
            (Kind::Outage, Some(_)) => return Err("an outage is the tracker's: it names no peers".into()),
            (_, None) => return Err(format!("whom does it befall? {FORM}")),
            (_, Some(who)) => who.parse()?,
        };
        let (at, lasts) = when.split_once('+').map_or((when, None), |(at, lasts)| (at, Some(lasts)));
        let lasts = lasts.map(duration).transpose()?;
        match (kind, lasts) {
            (Kind::Stall | Kind::Partition, None) => return Err("for how long? write START+DURATION".into()),
            (_, Some(Duration::ZERO)) => return Err("it lasts no time at all".into()),
            _ => {}
        }
        Ok(Self { kind, who, at: duration(at)?, lasts, text: text.to_owned() })
    }
}

impl FromStr for Who {
    type Err = String;

    /// `3`, `2-5`, `2,7,9-12` or `10%`.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(percent) = text.strip_suffix('%') {
            let percent = percent.parse::<f64>().ok().filter(|p| *p > 0.0 && *p <= 100.0);
            return Ok(Self::Share(percent.ok_or("a share is above 0% and at most 100%")? / 100.0));
        }
        let id = |text: &str| text.parse::<PeerId>().map_err(|e| e.to_string());
        let range = |text: &str| match text.split_once('-') {
            Some((first, last)) => {
                let (first, last) = (id(first)?, id(last)?);
                if first <= last {
                    Ok((first, last))
                } else {
                    Err(format!("{text}: {last} is below {first}"))
                }
            }
            None => id(text).map(|id| (id, id)),
        };
        text.split(',').map(range).collect::<Result<_, _>>().map(Self::Ids)
    }
}

/// A duration as a person writes it: `20ms`, `1.5s`, `2m`, `1h`, `300us`; a bare number is seconds.
///
/// # Errors
/// If it is not one, or longer than a hundred years.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds = match &text[digits.len()..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => f64::NAN,
    };
    let number = digits.parse::<f64>().unwrap_or(f64::NAN) * seconds;
    let expected = || format!("expected a duration such as 20ms, 1.5s, 2m or 1h, found {text:?}");
    if (0.0..=3.2e9).contains(&number) { Ok(Duration::from_secs_f64(number)) } else { Err(expected()) }
}

/// From when to when, the end not included.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) from: Instant,
    pub(super) to: Instant,
}

impl Span {
    fn contains(&self, at: Instant) -> bool {
        (self.from..self.to).contains(&at)
    }
}

/// These peers do nothing for a while: what they send and what is sent to them waits for the end.
pub(super) struct Stall {
    pub(super) span: Span,
    /// By place.
    pub(super) peers: Vec<bool>,
}

/// These peers and the others do not reach each other. What is said on a kept connection arrives
/// afterwards, as TCP sends it again; whoever asks gets no answer.
pub(super) struct Partition {
    pub(super) span: Span,
    /// By place.
    pub(super) inside: Vec<bool>,
}

fn holds(set: &[bool], place: Place) -> bool {
    match place {
        Place::Tracker => false,
        Place::Peer(peer) => set.get(peer as usize).copied().unwrap_or(false),
    }
}

impl Rule for Stall {
    fn verdict(&mut self, crossing: &Crossing<'_>, _: &mut Random) -> Verdict {
        let concerns = holds(&self.peers, crossing.from) || holds(&self.peers, crossing.to);
        if concerns && self.span.contains(crossing.at) {
            Verdict::Late(self.span.to.since(crossing.at))
        } else {
            Verdict::Pass
        }
    }
}

impl Rule for Partition {
    fn verdict(&mut self, crossing: &Crossing<'_>, _: &mut Random) -> Verdict {
        let divided = holds(&self.inside, crossing.from) != holds(&self.inside, crossing.to);
        if !divided || !self.span.contains(crossing.at) {
            return Verdict::Pass;
        }
        match crossing.way {
            Way::Kept => Verdict::Late(self.span.to.since(crossing.at)),
            _ => Verdict::Vanish,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> Fault {
        text.parse().unwrap()
    }

    #[test]
    fn faults_are_read_and_wrong_ones_are_told_why() {
        let crash = fault("crash:10%@5+1.5m");
        assert_eq!((crash.kind, &crash.who), (Kind::Crash, &Who::Share(0.1)));
        assert_eq!((crash.at, crash.lasts), (Duration::from_secs(5), Some(Duration::from_secs(90))));
        assert_eq!(fault("outage@20ms").lasts, None);
        for (bad, why) in [
            ("crash:3", "expected KIND:WHO@START"),
            ("melt:3@1", "none of crash"),
            ("crash@1", "whom does it befall"),
            ("outage:3@1", "names no peers"),
            ("stall:3@1", "for how long"),
            ("crash:3@1+0", "no time at all"),
            ("crash:3@soon", "expected a duration"),
            ("crash:5-2@1", "2 is below 5"),
            ("crash:0%@1", "a share is above 0%"),
            ("crash:x@1", "a client id is"),
            ("crash:3@-1", "expected a duration"),
        ] {
            let error = bad.parse::<Fault>().unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn it_befalls_those_it_names() {
        let ids: Vec<PeerId> = [2, 3, 5, 8].iter().map(|id| PeerId::new(*id).unwrap()).collect();
        let mut random = Random::new(1);
        assert_eq!(fault("crash:8,3-5@1").befalls(&ids, &mut random), Ok(vec![1, 2, 3]));
        let error = fault("crash:3-9@1").befalls(&ids, &mut random).unwrap_err();
        assert_eq!(error.to_string(), "crash:3-9@1: there is no peer 9 in this run");
        assert_eq!(fault("crash:50%@1").befalls(&ids, &mut random).unwrap().len(), 2);
        assert_eq!(fault("crash:100%@1").befalls(&ids, &mut random).unwrap().len(), 4);
        assert!(fault("crash:2@3").within(Duration::from_secs(3)).is_err());
    }

    #[test]
    fn a_stall_delays_and_a_partition_loses() {
        let (from, to) = (Instant::from_nanos(10), Instant::from_nanos(20));
        let crossing = |at, way, to| Crossing {
            at: Instant::from_nanos(at),
            from: Place::Peer(0),
            to,
            way,
            message: None,
        };
        let mut random = Random::new(1);
        let span = Span { from, to };
        let mut stall = Stall { span, peers: vec![true, false] };
        let mut partition = Partition { span, inside: vec![true, true, false] };
        let mut says = |rule: &mut dyn Rule, at, way, to| rule.verdict(&crossing(at, way, to), &mut random);
        let late = |nanos| Verdict::Late(Duration::from_nanos(nanos));
        assert_eq!(says(&mut stall, 12, Way::Ask, Place::Peer(1)), late(8));
        assert_eq!(says(&mut stall, 20, Way::Ask, Place::Peer(1)), Verdict::Pass);
        assert_eq!(says(&mut partition, 12, Way::Ask, Place::Peer(1)), Verdict::Pass);
        assert_eq!(says(&mut partition, 12, Way::Ask, Place::Peer(2)), Verdict::Vanish);
        assert_eq!(says(&mut partition, 12, Way::Kept, Place::Tracker), late(8));
        assert_eq!(says(&mut partition, 9, Way::Ask, Place::Peer(2)), Verdict::Pass);
    }
}
