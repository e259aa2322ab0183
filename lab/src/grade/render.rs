//! The comparison for people who read a terminal.

use std::borrow::Cow;
use std::fmt::Write as _;

use askaround_core::log::LogEntry;

use super::{Grade, RubricLine};
use crate::plain;

/// So many differences of a log are shown; `--json` has more.
const SHOWN: usize = 3;
/// So much of an entry is shown: of a list, about forty clients.
const SHOWN_CHARACTERS: usize = 1000;

impl Grade {
    /// A report for people.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for log in self.logs.iter().filter(|log| !log.differences.is_empty()) {
            let _ = writeln!(text, "{}: {}", log.name, log.verdict());
            for difference in log.differences.iter().take(SHOWN) {
                let _ = writeln!(text, "  entry {}", difference.index + 1);
                let _ = writeln!(text, "    expected  {}", entry_text(difference.expected.as_ref()));
                let _ = writeln!(text, "    got       {}", entry_text(difference.got.as_ref()));
                let _ = writeln!(text, "    likely    {}", difference.explanation);
            }
            let more = log.differences.len().saturating_sub(SHOWN) + log.more;
            if more > 0 {
                let _ = writeln!(text, "  and {more} more");
            }
        }
        let right = self.logs.iter().filter(|log| log.differences.is_empty()).count();
        let _ = writeln!(text, "{right} of {} logs are right\n", self.logs.len());
        let what = "total of what this scenario exercises";
        render_rubric(&mut text, &self.rubric, self.earned, self.possible, what);
        for note in notes(self.surplus, self.unscored) {
            let _ = writeln!(text, "{note}");
        }
        text
    }
}

/// An entry in words, on one line.
pub fn entry_text(entry: Option<&LogEntry>) -> String {
    let text = |entry: &LogEntry| format!("time {}: {}", entry.time, shown(&entry.text));
    entry.map_or_else(|| "nothing".into(), text)
}

/// A text out of a log: whoever wrote that may have put anything there.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    plain::beginning(text, SHOWN_CHARACTERS)
}

/// The rubric as a table.
pub fn render_rubric(text: &mut String, rubric: &[RubricLine], earned: u32, possible: u32, total: &str) {
    let _ = writeln!(text, "{:>2}  {:<58}  {:>9}  {:>9}", "", "RUBRIC", "ENTRIES", "POINTS");
    for line in rubric {
        let (entries, points) = match line.earned {
            Some(earned) => {
                (format!("{}/{}", line.matching, line.entries), format!("{earned}/{}", line.points))
            }
            None => ("-".into(), format!("-/{}", line.points)),
        };
        let _ = writeln!(text, "{:>2}  {:<58}  {entries:>9}  {points:>9}", line.item, line.title);
    }
    let _ = writeln!(text, "    {total:<58}  {:>9}  {:>9}", "", format!("{earned}/{possible}"));
}

/// What no item asks for.
const NO_ITEM: &str = "as for lists of clients that a client knows (O), empty lists of keys, keys that a client has, \
    or finds where they had come from before, and what is unavailable or unreachable, unless a purge shows in it";

/// What is to be said below the rubric: why what differs costs more, or less, than it seems.
pub fn notes(surplus: usize, unscored: usize) -> Vec<String> {
    let mut notes = Vec::new();
    if surplus > 0 {
        let entries = if surplus == 1 { "1 entry is".into() } else { format!("{surplus} entries are") };
        notes.push(format!(
            "{entries} too many: an action has one entry, so each of these takes the points of one that is right"
        ));
    }
    if unscored > 0 {
        let entries =
            if unscored == 1 { "1 entry that differs carries" } else { "entries that differ carry" };
        let number = if unscored == 1 { String::new() } else { format!("{unscored} ") };
        notes.push(format!("{number}{entries} no points: no item of the rubric asks for it ({NO_ITEM})"));
    }
    notes
}
