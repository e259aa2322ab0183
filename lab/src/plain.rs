//! Text that a terminal shows as it is. Names of files, messages and logs come from strangers: what
//! would move the cursor, colour the screen or turn the reading direction is written out.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A text of several lines, perhaps with tabs.
pub fn text(text: &str) -> Cow<'_, str> {
    written_out(text, |c| acts(c) && !matches!(c, '\n' | '\t'))
}

/// A name within a text: it stays on its line.
pub fn name(name: &str) -> Cow<'_, str> {
    written_out(name, acts)
}

/// The same, and of one that is longer than `longest` characters the beginning, and how long it is.
pub fn beginning(text: &str, longest: usize) -> Cow<'_, str> {
    match text.char_indices().nth(longest) {
        None => name(text),
        Some((end, _)) => {
            let length = text.chars().count();
            Cow::Owned(format!("{}… ({length} characters)", name(&text[..end])))
        }
    }
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

    #[test]
    fn of_what_is_too_long_the_beginning_is_shown() {
        assert_eq!(beginning("größe", 5), "größe");
        assert_eq!(beginning("größ\u{1b}e", 5), "größ\\u{1b}… (6 characters)");
    }
}
