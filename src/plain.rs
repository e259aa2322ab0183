//! Text that a terminal shows as it is, and lines on stderr.

use std::io::Write as _;

pub(crate) use askaround_lab::plain::{beginning, name, text};

/// Says a line on stderr, as `eprintln!` formats it. One that nobody can hear is no reason to end.
macro_rules! say {
    ($($words:tt)*) => {
        $crate::plain::say_line(&format!($($words)*))
    };
}
pub(crate) use say;

pub(crate) fn say_line(line: &str) {
    let line = format!("{}\n", text(line));
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}
