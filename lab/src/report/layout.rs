//! Where each message stands in a space-time diagram: a row a host, and columns so that what
//! comes after something else stands to the right of it. Time as such is not drawn: most of it
//! is waiting.

use std::collections::BTreeMap;

use askaround_core::message::Timestep;

use super::model::{HostIndex, Report};

/// A message's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrow {
    /// The place of the message in the report.
    pub message: usize,
    /// The column where it is sent.
    pub begin: usize,
    /// The column where it arrives; absent if it does not.
    pub end: Option<usize>,
}

/// The columns of a timestep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Band {
    /// Which timestep.
    pub time: Timestep,
    /// Its first column.
    pub begin: usize,
    /// Its last column.
    pub end: usize,
}

/// A diagram of some messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The hosts that take part, in their order.
    pub rows: Vec<HostIndex>,
    /// The messages.
    pub arrows: Vec<Arrow>,
    /// The timesteps, one after the other.
    pub bands: Vec<Band>,
    /// How many columns there are.
    pub columns: usize,
}

impl Layout {
    /// Lays out the messages at these places of the report. Columns that none of them uses are
    /// left out.
    pub fn new(report: &Report, messages: &[usize]) -> Self {
        let columns = columns(report);
        let ends = messages.iter().map(|message| columns[*message]);
        let mut used: Vec<_> = ends.flat_map(|(begin, end)| std::iter::once(begin).chain(end)).collect();
        used.sort_unstable();
        used.dedup();
        let rank = |column: usize| used.partition_point(|other| *other < column);
        let (mut arrows, mut bands, mut rows) = (Vec::new(), Vec::<Band>::new(), Vec::new());
        for place in messages {
            let (begin, end) = columns[*place];
            let arrow = Arrow { message: *place, begin: rank(begin), end: end.map(rank) };
            let message = &report.messages[*place];
            if bands.last().is_none_or(|band| band.time < message.time) {
                bands.push(Band { time: message.time, begin: arrow.begin, end: arrow.begin });
            }
            if let Some(band) = bands.last_mut() {
                band.end = band.end.max(arrow.begin).max(arrow.end.unwrap_or(0));
            }
            rows.extend([message.from, message.to]);
            arrows.push(arrow);
        }
        rows.sort_unstable();
        rows.dedup();
        Self { rows, arrows, bands, columns: used.len() }
    }
}

/// The columns of the two ends of each message of the run. A host sends in the column in
/// which it received what made it send, and receives in a later one.
fn columns(report: &Report) -> Vec<(usize, Option<usize>)> {
    let mut ends = Vec::with_capacity(2 * report.messages.len());
    for (place, message) in report.messages.iter().enumerate() {
        ends.push((message.sent, place, false));
        ends.extend(message.received.map(|received| (received, place, true)));
    }
    ends.sort_unstable();
    let mut columns = vec![(0, None); report.messages.len()];
    // The column of what a host did last.
    let mut hosts: BTreeMap<HostIndex, usize> = BTreeMap::new();
    let (mut floor, mut all, mut time) = (0, 0, None);
    for (_, place, arrives) in ends {
        let message = &report.messages[place];
        if time.is_none_or(|time| time < message.time) {
            // A timestep begins when all of the one before is over.
            (time, floor) = (Some(message.time), all);
        }
        let host = if arrives { message.to } else { message.from };
        let last = hosts.get(&host).copied();
        let free = match arrives {
            true => last.map_or(0, |last| last + 1).max(columns[place].0 + 1),
            false => last.unwrap_or(0),
        };
        let column = free.max(floor);
        hosts.insert(host, column);
        match arrives {
            true => columns[place].1 = Some(column),
            false => columns[place].0 = column,
        }
        all = all.max(column + 1);
    }
    columns
}
