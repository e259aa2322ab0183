//! What entries too many cost. "One entry an action, in order", the rules say: who writes several
//! for one action has not said what came of it, even if the right one is among them.
//!
//! Each entry too many takes the points of one right entry of the same log that carries some: the
//! one about the same thing, if it is of the same timestep; else another of that timestep, the last
//! first; else the last before it; else the first after it. So an entry written twice by accident
//! costs one, and several guesses at an action never earn what one of them would.

use askaround_core::log::LogEntry;

use super::align::{Pair, subject};

/// A log's entries, counted.
pub(super) struct Counted {
    /// For each expected entry, whether it counts: it is there, and no entry too many takes it.
    pub(super) counts: Vec<bool>,
    /// How many entries are too many.
    pub(super) surplus: usize,
    /// How many entries are right and do not count.
    pub(super) taken: usize,
}

/// Counts what is `right`. `differing` are the pairs that are not equal; `is_scored` says which
/// expected entries carry points.
pub(super) fn count(
    expected: &[LogEntry],
    got: &[LogEntry],
    differing: &[Pair],
    right: &[bool],
    is_scored: &dyn Fn(usize) -> bool,
) -> Counted {
    let mut counts = right.to_vec();
    let mut surplus = 0;
    for entry in differing.iter().filter(|pair| is_surplus(expected, got, pair, right)) {
        surplus += 1;
        let Some(entry) = entry.got.map(|j| &got[j]) else { continue };
        let counting = || (0..counts.len()).filter(|i| counts[*i] && is_scored(*i));
        let taken = counting()
            .find(|i| subject(&expected[*i]) == subject(entry))
            .or_else(|| counting().rfind(|i| expected[*i].time == entry.time))
            .or_else(|| counting().rfind(|i| expected[*i].time < entry.time))
            .or_else(|| counting().next());
        if let Some(taken) = taken {
            counts[taken] = false;
        }
    }
    let number = |flags: &[bool]| flags.iter().filter(|flag| **flag).count();
    let taken = number(right) - number(&counts);
    Counted { counts, surplus, taken }
}

/// Whether the entry of `pair` stands for no action. One that stands in the place of a missing one
/// is just wrong, unless it is about what a right entry of its timestep is about: then it is
/// another guess at that, and has come there because something else is missing.
fn is_surplus(expected: &[LogEntry], got: &[LogEntry], pair: &Pair, right: &[bool]) -> bool {
    let Some(about) = pair.got.map(|j| subject(&got[j])) else { return false };
    let Some(own) = pair.expected.map(|i| subject(&expected[i])) else { return true };
    own != about && (0..expected.len()).any(|i| right[i] && subject(&expected[i]) == about)
}

#[cfg(test)]
mod tests {
    use super::super::align::align;
    use super::super::{differing, right};
    use super::*;

    /// What counts of a log of `got`, whose entries are all expected to be as in `expected`.
    fn counted(expected: &[(u32, &str)], got: &[(u32, &str)]) -> (Vec<bool>, usize) {
        let log = |entries: &[(u32, &str)]| -> Vec<LogEntry> {
            entries.iter().map(|(time, text)| LogEntry { time: *time, text: (*text).into() }).collect()
        };
        let (expected, got) = (log(expected), log(got));
        let pairs = align(&expected, &got);
        let right = right(&expected, &got, &pairs);
        let is_scored = |i: usize| !expected[i].text.starts_with("Client 9");
        let counted = count(&expected, &got, &differing(&expected, &got, &pairs), &right, &is_scored);
        (counted.counts, counted.surplus)
    }

    const LOG: [(u32, &str); 4] =
        [(1, "Removed x"), (2, "Obtained k from h#1"), (2, "Client 2: a"), (3, "Client 3: b")];

    #[test]
    fn an_entry_too_many_takes_one_entry() {
        let with = |extra: &[(u32, &'static str)]| {
            let mut got = LOG.to_vec();
            got.splice(3..3, extra.iter().copied());
            counted(&LOG, &got)
        };
        let flags = |counts: [u8; 4]| counts.map(|flag| flag == 1).to_vec();
        assert_eq!(with(&[]), (flags([1, 1, 1, 1]), 0));
        assert_eq!(with(&[(2, "Content k is unavailable")]), (flags([1, 0, 1, 1]), 1), "the same key");
        assert_eq!(with(&[(2, "Removed y")]), (flags([1, 1, 0, 1]), 1), "the same timestep");
        assert_eq!(with(&[(7, "Removed y")]), (flags([1, 1, 1, 0]), 1), "the one before");
        assert_eq!(with(&[(0, "Removed y")]), (flags([0, 1, 1, 1]), 1), "the first after");
        let worthless = [(1, "Removed x"), (2, "Client 9: a")];
        let got = [&worthless[..], &[(2, "Client 9: b")]].concat();
        assert_eq!(counted(&worthless, &got), (vec![false, true], 1), "what carries points");
        let twice = [(2, "Obtained k from h#1"), (2, "Client 2: a")];
        assert_eq!(with(&twice), (flags([1, 0, 0, 1]), 2));
    }

    #[test]
    fn guesses_do_not_pay_where_something_else_is_left_out() {
        let got = [LOG[0], (2, "Obtained k from h#1"), (2, "Obtained k from h#2"), LOG[3]];
        assert_eq!(counted(&LOG, &got), (vec![true, false, false, true], 1));
    }

    #[test]
    fn what_is_wrong_late_or_in_another_order_is_not_too_many() {
        for got in [
            [LOG[0], (2, "Obtained k from h#2"), LOG[2], LOG[3]],
            [LOG[0], (2, "obtained K"), LOG[2], LOG[3]],
            [LOG[0], LOG[2], LOG[1], LOG[3]],
            [LOG[0], LOG[1], LOG[3], (3, "Client 2: a")],
        ] {
            let (counts, surplus) = counted(&LOG, &got);
            assert_eq!((counts.iter().filter(|counts| **counts).count(), surplus), (3, 0), "{got:?}");
        }
    }
}
