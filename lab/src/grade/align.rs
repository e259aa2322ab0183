//! Which entry of a log stands for which expected one.

use askaround_core::log::LogEntry;

/// The largest table that is worth filling: a log that is longer than any script could make it is
/// not worth the square of its length.
const MAX_TABLE: usize = 25_000_000;

/// An expected entry, by number, and the entry that stands for it, if there is one; or an entry
/// too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) expected: Option<usize>,
    pub(super) got: Option<usize>,
}

/// Pairs the entries: equal ones first, as many as possible in order (a longest common
/// subsequence), so that one missing entry does not spoil all that follow; then those between
/// them that are about the same thing; then one by one.
pub(super) fn align(expected: &[LogEntry], got: &[LogEntry]) -> Vec<Pair> {
    let mut pairs = Vec::new();
    let (mut i, mut j) = (0, 0);
    for (to_i, to_j) in equal(expected, got).into_iter().chain([(expected.len(), got.len())]) {
        pair_gap(expected, got, (i, to_i), (j, to_j), &mut pairs);
        if to_i < expected.len() && to_j < got.len() {
            pairs.push(Pair { expected: Some(to_i), got: Some(to_j) });
        }
        (i, j) = (to_i + 1, to_j + 1);
    }
    pairs
}

/// The longest common subsequence, as pairs of numbers.
fn equal(expected: &[LogEntry], got: &[LogEntry]) -> Vec<(usize, usize)> {
    let same = |i: usize, j: usize| expected[i] == got[j];
    let start = (0..expected.len().min(got.len())).take_while(|i| same(*i, *i)).count();
    let (rows, columns) = (expected.len() - start, got.len() - start);
    let mut found: Vec<_> = (0..start).map(|i| (i, i)).collect();
    if rows.saturating_mul(columns) > MAX_TABLE {
        return found;
    }
    let mut best = vec![vec![0u32; columns + 1]; rows + 1];
    for i in (0..rows).rev() {
        for j in (0..columns).rev() {
            best[i][j] = match same(start + i, start + j) {
                true => best[i + 1][j + 1] + 1,
                false => best[i + 1][j].max(best[i][j + 1]),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < rows && j < columns {
        if same(start + i, start + j) {
            found.push((start + i, start + j));
            (i, j) = (i + 1, j + 1);
        } else if best[i + 1][j] >= best[i][j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    found
}

/// Pairs what lies between two equal pairs.
fn pair_gap(
    expected: &[LogEntry],
    got: &[LogEntry],
    (from_i, to_i): (usize, usize),
    (from_j, to_j): (usize, usize),
    pairs: &mut Vec<Pair>,
) {
    let (mut i, mut j) = (from_i, from_j);
    for (anchor_i, entry) in expected.iter().enumerate().take(to_i).skip(from_i) {
        let about = subject(entry);
        let Some(anchor_j) = (j..to_j).find(|j| subject(&got[*j]) == about) else { continue };
        one_by_one((i, anchor_i), (j, anchor_j), pairs);
        pairs.push(Pair { expected: Some(anchor_i), got: Some(anchor_j) });
        (i, j) = (anchor_i + 1, anchor_j + 1);
    }
    one_by_one((i, to_i), (j, to_j), pairs);
}

fn one_by_one((from_i, to_i): (usize, usize), (from_j, to_j): (usize, usize), pairs: &mut Vec<Pair>) {
    for step in 0..(to_i - from_i).max(to_j - from_j) {
        let within = |from: usize, to: usize| Some(from + step).filter(|at| *at < to);
        pairs.push(Pair { expected: within(from_i, to_i), got: within(from_j, to_j) });
    }
}

/// What an entry is about: the time, and the key or the list that it names.
pub(super) fn subject(entry: &LogEntry) -> (u32, &str) {
    let text = entry.text.as_str();
    let about = text
        .strip_prefix("Obtained ")
        .or_else(|| text.strip_prefix("Content "))
        .map(|rest| rest.split(' ').next().unwrap_or_default())
        .unwrap_or_else(|| text.split(':').next().unwrap_or_default().trim_end_matches(" is unreachable"));
    (entry.time, about)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(texts: &[&str]) -> Vec<LogEntry> {
        texts.iter().map(|text| LogEntry { time: 1, text: (*text).into() }).collect()
    }

    #[test]
    fn what_is_about_the_same_is_paired_across_what_is_missing() {
        let expected = log(&["Client 2: a", "Removed x", "Obtained k from h#1", "Client 3: b"]);
        let got = log(&["Obtained k from h#2", "Client 3: b", "Unregistered"]);
        let pairs: Vec<_> = align(&expected, &got).iter().map(|pair| (pair.expected, pair.got)).collect();
        assert_eq!(
            pairs,
            [(Some(0), None), (Some(1), None), (Some(2), Some(0)), (Some(3), Some(1)), (None, Some(2))]
        );
    }
}
