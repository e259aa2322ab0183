//! What a program said, without what is different each time: so that the same is counted as the same.

/// A key in a message has at least so many digits, and a peer's id fewer.
const SHORT_KEY: usize = 12;

/// Names of files of a folder follow, which look like anything, up to the next `;`.
const FILES: &str = "no source has ";

/// The line in which a command says why it failed, or else that something is not as it should be.
pub(super) fn reason<'a>(stdout: &'a str, stderr: &'a str) -> &'a str {
    let says = |line: &&str| line.starts_with("askaround: ") || line.starts_with("error: ");
    let lines = || stderr.lines().chain(stdout.lines());
    lines().find(says).or_else(|| lines().next()).unwrap_or_default()
}

/// The line with paths, keys and numbers replaced.
pub(super) fn without_details(line: &str) -> String {
    // The two names with which a path is more than one word.
    let line = line.replace("with space", "NAME").replace("x\\ny", "NAME");
    let words: Vec<String> = line.split_whitespace().map(word).collect();
    let said = words.join(" ");
    let Some((before, after)) = said.split_once(FILES) else { return said };
    let end = after.find(';').unwrap_or(after.len());
    format!("{before}{FILES}FILES{}", &after[end..])
}

fn word(word: &str) -> String {
    let within = word.trim_matches(['`', '"', '(', ')', ':', ',', '.', ';']);
    if within.contains('/') && !within.ends_with("/s") {
        return word.replace(within, "PATH");
    }
    if within.len() >= SHORT_KEY && within.chars().all(|c| c.is_ascii_hexdigit()) {
        return word.replace(within, "KEY");
    }
    let mut out = String::new();
    for c in word.chars() {
        match c {
            '0'..='9' if out.ends_with('#') => {}
            '0'..='9' => out.push('#'),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{reason, without_details};

    #[test]
    fn the_same_message_about_another_thing_is_the_same() {
        let key = "008f163db38682925e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f";
        let said = format!("reading\naskaround: nobody has {key}: 10 peers were asked\n  THE LIST\n");
        assert_eq!(
            without_details(reason("", &said)),
            "askaround: nobody has KEY: # peers were asked",
            "{said}"
        );
        assert_eq!(without_details("no source has a, -dash1; what came"), "no source has FILES; what came");
        let said =
            "askaround: /tmp/s-1/with space12/x\\ny3 was changed (/tmp/a): `purge 44c77418e275`, 1.5 MB";
        assert_eq!(
            without_details(reason(said, "")),
            "askaround: PATH was changed (PATH): `purge KEY`, #.# MB"
        );
    }
}
