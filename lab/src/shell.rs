//! Commands as a shell reads them.

use std::borrow::Cow;

/// Splits a command into its words. `None` if it has none, or has an open quote.
pub fn split(command: &str) -> Option<Vec<String>> {
    shlex::split(command).filter(|words| !words.is_empty())
}

/// A word as it has to be written to be one word, whatever is in it.
pub fn quote(word: &str) -> Cow<'_, str> {
    // Nothing that comes from a command line has the one character that cannot be written.
    shlex::try_quote(word).unwrap_or(Cow::Borrowed(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_is_one_word() {
        for word in ["a", "two words", "it's", "$HOME;`ls`", "", "é*"] {
            assert_eq!(split(&quote(word)), Some(vec![word.to_owned()]));
        }
        assert_eq!(quote("scenarios/campus-20"), "scenarios/campus-20");
        assert_eq!((split(" "), split("a 'b")), (None, None));
    }
}
