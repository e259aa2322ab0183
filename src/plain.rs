//! Text that a terminal shows as it is. Names of files and messages come from strangers: what
//! would move the cursor, colour the screen or turn the reading direction is written out.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Write as _;

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

/// A text of several lines, perhaps with tabs.
pub(crate) fn text(text: &str) -> Cow<'_, str> {
    written_out(text, |c| acts(c) && !matches!(c, '\n' | '\t'))
}

/// A name within a text: it stays on its line.
pub(crate) fn name(name: &str) -> Cow<'_, str> {
    written_out(name, acts)
}

/// Whether a terminal does something at this character, instead of showing it.
fn acts(c: char) -> bool {
    // After the control characters those that turn the reading direction, and line separators.
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn written_out(text: &str, bad: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&bad) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if bad(c) {
            // Writing to a String cannot fail.
            let _ = write!(plain, "{}", c.escape_default());
        } else {
            plain.push(c);
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_written_out_and_all_else_stays() {
        assert!(matches!(name("größe 日本 🦀 a\\b"), Cow::Borrowed(_)));
        assert_eq!(name("a\nb\tc\u{1b}[2J\u{7f}\u{9b}"), "a\\nb\\tc\\u{1b}[2J\\u{7f}\\u{9b}");
        assert_eq!(text("a\nb\tc\r\u{1b}]0;x\u{7}"), "a\nb\tc\\r\\u{1b}]0;x\\u{7}");
        assert_eq!(name("txt.\u{202e}exe"), "txt.\\u{202e}exe");
    }
}
