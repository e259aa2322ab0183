//! Which piece is asked of a source next.

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::time::Duration;

use super::Download;
use super::owed::SOON;
use super::source::{Owing, Source, time_at};
use super::types::{DownloadOutput, SourceId};
use crate::time::Instant;

/// A choice looks at so many pieces at most, evenly picked where there are more.
const MAX_CANDIDATES: u32 = 4096;
/// A piece is taken over from another source only if that saves at least so much time.
const WORTH_IT: Duration = Duration::from_millis(20);
/// For a piece that will not have come by then, a source is tried that has shown nothing yet. One at a
/// time: where our own link is narrow, all would be slow.
const WORTH_A_TRY: Duration = Duration::from_secs(2);

/// With more sources than this, each has others to serve while its next request is under way: one
/// request at each is enough, and keeps everybody's queues short.
const CROWDED: usize = 6;

/// With at most so many sources it costs little to think again at every event of whom to ask for
/// what waits, and evens out how fast they are. With more, a piece would be asked for and cancelled
/// a dozen times before it is sent.
const FEW: usize = 12;

impl Download {
    /// Whether it costs little to think again at every event.
    pub(super) fn has_few_sources(&self) -> bool {
        self.sources.len() <= FEW
    }

    pub(super) fn fill_all(&mut self, now: Instant) {
        let ids: Vec<SourceId> = self.sources.keys().copied().collect();
        for id in ids {
            self.fill(now, id);
        }
    }

    /// The same for those who were slow.
    pub(super) fn fill_slow(&mut self, now: Instant) {
        let slow = self.sources.iter().filter(|(_, source)| source.slow);
        for id in slow.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.fill(now, id);
        }
    }

    /// Asks a source for as much as it should be asked for.
    pub(super) fn fill(&mut self, now: Instant, id: SourceId) {
        self.fill_with(now, id, &|_| false);
    }

    /// The same when it has something new to offer: it has just got those pieces for which `new`
    /// says so, or has just become free to send them.
    pub(super) fn fill_with(&mut self, now: Instant, id: SourceId, new: &dyn Fn(u32) -> bool) {
        if let Some(piece) = self.wanted_of_a_slow_one(id) {
            self.ask(now, id, piece, false);
        }
        let crowded = self.sources.len() > CROWDED;
        while !self.done
            && let Some(source) = self.sources.get(&id)
            && !source.slow
            && source.has_room(&self.config, crowded)
        {
            let choice = self.pick(id);
            // What the source chooses in place of it cannot be on its way from elsewhere, unless
            // everything is.
            let any = choice.is_some() && self.sources[&id].holds_all();
            let choice = choice.or_else(|| self.take_over(now, id, new));
            let Some(piece) = choice else { break };
            self.ask(now, id, piece, any);
        }
    }

    fn ask(&mut self, now: Instant, id: SourceId, piece: u32, any: bool) {
        let length = self.length(piece);
        if let Some(source) = self.sources.get_mut(&id) {
            source.asked(now, piece, length);
        }
        self.owed_by.entry(piece).or_default().push(id);
        self.update_asked(piece);
        self.outputs.push_back(DownloadOutput::Ask { source: id, piece, any });
    }

    /// A missing piece of a source that was slow and has answered all that it was asked for, where there
    /// is no better source: all that are not slow have nothing of what is missing. In a crowd a slow one
    /// would keep what others have a moment later.
    fn wanted_of_a_slow_one(&self, id: SourceId) -> Option<u32> {
        let source = self.sources.get(&id).filter(|source| source.slow)?;
        let answered = source.owes.is_empty() && source.taken_back.is_empty();
        let gives = |other: &Source| {
            !other.owes.is_empty() || other.pieces.without(&self.have, &self.have).next().is_some()
        };
        if self.done || !answered || self.sources.values().any(|other| !other.slow && gives(other)) {
            return None;
        }
        source.pieces.without(&self.have, &self.asked).next()
    }

    /// A piece of this source that is missing and asked of nobody: the next for a lone source,
    /// otherwise the rarest.
    fn pick(&mut self, id: SourceId) -> Option<u32> {
        let lone = self.sources.len() == 1;
        let source = self.sources.get(&id)?;
        let mut candidates = source.pieces.without(&self.have, &self.asked);
        // What it is slow with may be asked of others, not of itself.
        let owes = |piece: &u32| source.owes.iter().any(|owed| owed.piece == *piece);
        if lone {
            return candidates.find(|piece| !owes(piece));
        }
        let missing = self.have.count() - self.have.len();
        let stride = (missing / MAX_CANDIDATES).max(1);
        let offset = self.random.u32(0..stride);
        let (mut best, mut ties) = (None, 0);
        for (at, piece) in (0..).zip(candidates) {
            if at % stride != offset && best.is_some() || owes(&piece) {
                continue;
            }
            let copies = self.copies[piece as usize];
            match best {
                Some((fewest, _)) if copies > fewest => continue,
                Some((fewest, _)) if copies == fewest => ties += 1,
                _ => ties = 1,
            }
            // Each of the ties so far is as likely as the others.
            if ties == 1 || self.random.u32(0..ties) == 0 {
                best = Some((copies, piece));
            }
        }
        best.map(|(_, piece)| piece)
    }

    /// For an idle source: a piece that waits at another source and may be asked for at once, or in
    /// the end game one that comes too slowly from there.
    fn take_over(&mut self, now: Instant, id: SourceId, new: &dyn Fn(u32) -> bool) -> Option<u32> {
        let source = self.sources.get(&id)?;
        if !source.owes.is_empty() {
            return None;
        }
        let (end_game, few) = (self.is_end_game(), self.has_few_sources());
        // Most pieces need neither, and a crowd has many sources to look at.
        let awaits = LazyCell::new(|| awaits(&self.sources, id));
        let usual = LazyCell::new(|| usual_rate(&self.sources));
        let may_try =
            LazyCell::new(|| source.rate().is_none() && !tries_another(&self.owed_by, &self.sources, id));
        let mut best: Option<(Duration, u32, Option<SourceId>)> = None;
        for (piece, owners) in &self.owed_by {
            if !source.pieces.contains(*piece) || self.have.contains(*piece) {
                continue;
            }
            let length = self.length(*piece);
            let saves = |wait: Option<Duration>| {
                let mine = source.time_for(length).or_else(|| time_at((*usual)?, length));
                wait.zip(mine).is_some_and(|(wait, mine)| wait > mine * 2 + WORTH_IT)
                    || end_game && wait.is_some_and(|wait| wait > WORTH_A_TRY) && *may_try
            };
            let [owner] = owners[..] else {
                let wait = self.time_until_first(now, *piece, owners).filter(|_| end_game);
                if saves(wait) && best.is_none_or(|(most, ..)| wait.unwrap_or_default() > most) {
                    best = Some((wait.unwrap_or_default(), *piece, None));
                }
                continue;
            };
            let Some(other) = self.sources.get(&owner).filter(|_| owner != id) else { continue };
            let Some(owed) = other.owes.iter().find(|owed| owed.piece == *piece) else { continue };
            let waits = owed.state == Owing::Asked;
            let may_be_asked = match owed.state {
                Owing::Asked => !*awaits,
                Owing::TakenBack { since, .. } => end_game && now.since(since) >= SOON,
                Owing::Begun => end_game,
            };
            if !may_be_asked {
                continue;
            }
            let wait = other.time_until(now, *piece);
            // Each of those who have it is as likely to be asked for it as the others: when one
            // more has it, its share of those who wait changes over.
            let share = waits && (few || new(*piece)) && !other.pieces.is_full() && {
                let holders = self.copies[*piece as usize].max(1);
                let slower =
                    source.rate().zip(other.rate()).is_some_and(|(mine, others)| mine < others / 2.0);
                !slower && self.random.u32(0..holders) == 0
            };
            if (saves(wait) || share) && best.is_none_or(|(most, ..)| wait.unwrap_or_default() > most) {
                best = Some((wait.unwrap_or_default(), *piece, waits.then_some(owner)));
            }
        }
        let (_, piece, owner) = best?;
        owner.is_none_or(|owner| self.take_back(now, owner, piece, id)).then_some(piece)
    }

    /// How long it will be until the first of those who owe a piece has sent it. None if that is not
    /// known of one of them.
    fn time_until_first(&self, now: Instant, piece: u32, owners: &[SourceId]) -> Option<Duration> {
        let owners = owners.iter().filter_map(|id| self.sources.get(id)).filter(|source| !source.slow);
        let times: Option<Vec<Duration>> = owners.map(|source| source.time_until(now, piece)).collect();
        times?.into_iter().min()
    }
}

/// Whether a piece is being taken back for this source.
fn awaits(sources: &BTreeMap<SourceId, Source>, id: SourceId) -> bool {
    let mut owed = sources.values().flat_map(|source| &source.owes);
    owed.any(|owed| matches!(owed.state, Owing::TakenBack { by, .. } if by == id))
}

/// Whether another source than this is asked for what comes from elsewhere too, and has not shown yet
/// how fast it is.
fn tries_another(
    owed_by: &BTreeMap<u32, Vec<SourceId>>,
    sources: &BTreeMap<SourceId, Source>,
    id: SourceId,
) -> bool {
    let shared = owed_by.values().filter(|owners| owners.len() > 1).flatten();
    let mut others = shared.filter(|other| **other != id).filter_map(|other| sources.get(other));
    others.any(|other| other.rate().is_none() && !other.slow)
}

/// The mean rate of the sources whose rate is known, in bytes a second.
fn usual_rate(sources: &BTreeMap<SourceId, Source>) -> Option<f64> {
    let rates = sources.values().filter_map(Source::rate);
    let (sum, count) = rates.fold((0.0, 0_u32), |(sum, count), rate| (sum + rate, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}
