//! The options of the verbs about content.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use askaround_core::Key;
use askaround_core::pieces::Root;
use askaround_node::api::LimitChange;
use askaround_node::content::Md5;
use askaround_node::delivery::prefix::{MIN_DIGITS, is_prefix};
use clap::Args;
use clap::builder::FalseyValueParser;

use super::node_args::{ByArgs, rate};
use super::progress::Show;
use super::units;
use crate::address::address;
use crate::args::{StateArgs, VerbArgs};
use crate::exit::Failure;
use crate::limits;

/// `askaround add`.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// Files and folders; a folder is one content, with a key of its own
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Keep a copy in the peer's folder, instead of using the file where it lies
    ///
    /// Without it nothing is copied, and a file that is changed later is noticed and not served
    /// any more. File systems that can share bytes between files do so: then a copy costs nothing.
    #[arg(long, env = "ASKAROUND_COPY", value_parser = FalseyValueParser::new())]
    pub copy: bool,
    /// Be a peer for it: needs --tracker and no running peer, and lasts until Ctrl-C
    #[arg(long)]
    pub serve: bool,
    /// By which peer
    #[command(flatten)]
    pub by: ByArgs,
}

/// `askaround get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// What to fetch: a BLAKE3 hash, of 64 hexadecimal digits, or an md5, of 32
    ///
    /// Of content that is here already, the first 8 digits or more do.
    #[arg(value_parser = content_key)]
    pub key: Key,
    /// The file to make, or the folder, if the key is a folder's [default: the key as given, in the current
    /// folder]
    ///
    /// A file that is there already is not overwritten. A folder may be there: files in it that
    /// are as they should be are not fetched again, and others are not overwritten.
    #[arg(short, long, value_name = "PATH")]
    pub out: Option<PathBuf>,
    /// Peers to ask first, before others are looked for; several with commas, or several times
    #[arg(long, value_name = "IP:PORT", value_parser = address, value_delimiter = ',')]
    pub from: Vec<SocketAddr>,
    /// Write into the file itself, which is there before it is whole, and not beside it
    #[arg(long, env = "ASKAROUND_IN_PLACE", value_parser = FalseyValueParser::new())]
    pub in_place: bool,
    /// By which peer
    // Before --stay: it sees what was given, and reading an option's value takes it away.
    #[command(flatten)]
    pub by: ByArgs,
    /// The most seconds that the peer of this command stays, when it has everything, for those who fetch
    /// from it what nobody else has
    #[arg(long, value_name = "SECONDS", default_value = "3600", value_parser = limits::stay, env = "ASKAROUND_STAY")]
    #[arg(help_heading = "Limits of content", hide_short_help = true)]
    pub stay: Duration,
}

/// `askaround limit`.
#[derive(Debug, Args)]
pub struct LimitArgs {
    /// The most bytes to send a second, as 5M or 500k (M: 1,000,000), or none
    #[arg(long, value_name = "RATE|none", value_parser = limit)]
    pub up: Option<LimitChange>,
    /// The most bytes to receive a second, or none
    #[arg(long, value_name = "RATE|none", value_parser = limit)]
    pub down: Option<LimitChange>,
    /// The rest
    #[command(flatten)]
    pub verb: VerbArgs,
}

/// `askaround ls`.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// Whole keys, of both kinds
    #[arg(short, long)]
    pub long: bool,
    /// Also the files of folders
    #[arg(short, long)]
    pub all: bool,
    /// The rest
    #[command(flatten)]
    pub verb: VerbArgs,
}

/// `askaround verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Which contents, by their keys or at least 8 first digits [default: all that are here]
    #[arg(value_name = "KEY", value_parser = content_key)]
    pub keys: Vec<Key>,
    /// Fetch what is wrong or missing from other peers, and write it where it belongs. A file that
    /// was changed since is written over only if its KEY is given
    #[arg(long)]
    pub repair: bool,
    /// Which peer
    #[command(flatten)]
    pub state: StateArgs,
    /// What is shown
    #[command(flatten)]
    pub show: ShowArgs,
}

/// `askaround why`.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// Which fetch, by its key or at least 8 first digits [default: all that run, and the last that ended]
    #[arg(value_parser = content_key)]
    pub key: Option<Key>,
    /// The rest
    #[command(flatten)]
    pub verb: VerbArgs,
}

/// What is shown of something that may take long.
#[derive(Debug, Clone, Copy, Args)]
pub struct ShowArgs {
    /// Print lines of JSON: what happens, each with a field `event`, and last a result or an error
    #[arg(long, env = "ASKAROUND_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
    /// Print no progress, and of results the least
    #[arg(short, long)]
    pub quiet: bool,
}

impl ShowArgs {
    /// How much is said.
    ///
    /// # Errors
    /// If two options contradict each other.
    pub(super) fn show(self) -> Result<Show, Failure> {
        // Not left to the parser, to which a variable that says no is an option that was given.
        if self.json && self.quiet {
            return Err(Failure::usage(
                "--quiet and --json do not go together: leave out --quiet, and of the lines of --json (or \
                 ASKAROUND_JSON) take the last",
            ));
        }
        Ok(Show::new(self.json, self.quiet))
    }
}

/// A key as it is, but a hash in small letters.
pub(crate) fn any_key(text: &str) -> Result<Key, String> {
    let small = Key::new(&text.to_ascii_lowercase()).map_err(|e| e.to_string())?;
    if is_hash(&small) { Ok(small) } else { Key::new(text).map_err(|e| e.to_string()) }
}

/// Whether a key names bytes.
pub(super) fn is_hash(key: &Key) -> bool {
    Root::from_key(key).is_some() || Md5::from_key(key).is_some()
}

/// A key that names bytes, or the first digits of one.
fn content_key(text: &str) -> Result<Key, String> {
    let key = Key::new(&text.to_ascii_lowercase()).map_err(|e| e.to_string())?;
    if is_hash(&key) || is_prefix(&key) {
        return Ok(key);
    }
    let odd = text.chars().find(|c| !c.is_ascii_hexdigit());
    let what = odd.map_or(units::count(text.len() as u64, "digit"), |odd| format!("the character {odd:?}"));
    Err(format!(
        "expected a BLAKE3 hash of 64 hexadecimal digits, an md5 of 32, or at least the first {MIN_DIGITS} \
         of one that is here, not {what}"
    ))
}

fn limit(text: &str) -> Result<LimitChange, String> {
    if text == "none" {
        return Ok(LimitChange::None);
    }
    rate(text).map(LimitChange::To).map_err(|e| format!("{e}, or none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_content_are_hashes() {
        assert!(content_key(&"0aF".repeat(22)).unwrap_err().contains("66 digits"));
        assert!(content_key("0123abc").unwrap_err().contains("7 digits"));
        assert_eq!(content_key("0123ABCD").unwrap().as_str(), "0123abcd");
        assert_eq!(content_key(&"0A".repeat(32)).unwrap().as_str(), "0a".repeat(32));
        assert!(content_key(&"0a".repeat(16)).is_ok());
        assert!(content_key("k").unwrap_err().contains("'k'"));
        assert!(content_key("").is_err());
    }

    #[test]
    fn rates_are_in_thousands() {
        for (text, expected) in [
            ("1k", 1000),
            ("5M", 5_000_000),
            ("1.5G", 1_500_000_000),
            ("20m", 20_000_000),
            ("4096", 4096),
            ("1T", 1_000_000_000_000),
        ] {
            assert_eq!(rate(text), Ok(expected), "{text}");
        }
        for text in ["", "M", "5", "0", "-1M", "5 MB", "2T", "NaN", "infM", "1e3k"] {
            assert!(rate(text).is_err(), "{text}");
        }
        assert_eq!(limit("none"), Ok(LimitChange::None));
        assert_eq!(limit("2M"), Ok(LimitChange::To(2_000_000)));
    }
}
