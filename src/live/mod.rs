//! The live face: long-running nodes, and verbs against a running peer.
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`args`] | the options of the verbs about content |
//! | [`node_args`] | the options of a peer, also of one for the time of a command |
//! | `content` | `get` and `add`, also with a peer for the time of the command |
//! | `node` | starting a tracker or a peer, and what is said while it runs |
//! | [`json`] | `--json`: whether it is wanted, and lines that no peer says |
//! | `verbs` | asking a peer, and how that ends |
//! | `show`, `show_fetch` | replies as text; fetches as text |
//! | `progress` | what is said while something takes long |
//! | [`units`] | bytes, rates and times, for people |

pub mod args;
mod content;
pub mod json;
mod node;
pub mod node_args;
mod progress;
mod show;
mod show_fetch;
pub mod units;
mod verbs;

use std::io::Write as _;
use std::path::PathBuf;

use askaround_node::api::ApiRequest;
use askaround_node::delivery::prefix::is_prefix;

use crate::args::{Command, KeyArgs, StateArgs};
use crate::exit::Failure;
use progress::Show;
use verbs::Verb;

/// Runs a live command.
///
/// # Errors
/// As the command fails.
pub async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Tracker(args) => node::tracker(args).await,
        Command::Peer(args) => node::peer(*args).await,
        Command::Add(args) => content::add(*args).await,
        Command::Get(args) => content::get(*args).await,
        Command::Ls(args) => {
            let show = if args.verb.json { Show::Json } else { Show::Lines };
            if args.verb.json && (args.long || args.all) {
                return Err(Failure::usage(
                    "--long and --all are for the table: leave them out, --json (or ASKAROUND_JSON) has whole \
                     keys and the files of folders",
                ));
            }
            let verb = Verb { long: args.long, all: args.all, ..Verb::new(show, ApiRequest::Ls) };
            verb.run(&args.verb.state).await
        }
        Command::Verify(args) => {
            let request = ApiRequest::Verify { keys: args.keys, repair: args.repair };
            Verb::new(args.show.show()?, request).run(&args.state).await
        }
        Command::Why(args) => Verb::plain(args.verb, ApiRequest::Why { key: args.key }).await,
        Command::Status(verb) => Verb::plain(verb, ApiRequest::Status).await,
        Command::Limit(args) => {
            let (up, down) = (args.up.unwrap_or_default(), args.down.unwrap_or_default());
            Verb::plain(args.verb, ApiRequest::Limit { up, down }).await
        }
        Command::Peers(verb) => Verb::plain(verb, ApiRequest::Peers).await,
        Command::Known(args) => Verb::plain(args.verb, ApiRequest::Known { id: args.id }).await,
        Command::Contents(args) => Verb::plain(args.verb, ApiRequest::Contents { id: args.id }).await,
        Command::Find(args) => {
            let request = ApiRequest::Find { key: args.key.clone(), trace: args.trace };
            let found = Verb::plain(args.verb, request).await;
            if matches!(found, Err(Failure::Shown(_))) && is_prefix(&args.key) && !args::is_hash(&args.key) {
                crate::plain::say!("{} is not a whole key of content: others know whole keys only", args.key);
            }
            found
        }
        Command::Register(verb) => Verb::plain(verb, ApiRequest::Register).await,
        Command::Unregister(verb) => Verb::plain(verb, ApiRequest::Unregister).await,
        Command::Purge(args) => Verb::plain(args.verb, ApiRequest::Purge { key: args.key }).await,
        Command::Hold(args) => {
            let KeyArgs { key, verb } = args;
            Verb::plain(verb, ApiRequest::Hold { key: key.clone() }).await?;
            if !args::is_hash(&key) {
                crate::plain::say!(
                    "{key} is no hash of content (64 or 32 hexadecimal digits): others find this peer by it, \
                     but nothing can be fetched by it"
                );
            }
            Ok(())
        }
        Command::Lab(_) | Command::Completions { .. } | Command::Man { .. } => Ok(()),
    }
}

/// Prints, and does not mind a reader that has gone.
///
/// # Errors
/// If stdout cannot be written for another reason.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::run(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// The folder of the peer that is meant.
fn folder(state: &StateArgs) -> Result<PathBuf, Failure> {
    if let Some(dir) = &state.dir {
        return Ok(dir.clone());
    }
    let folders = directories::ProjectDirs::from("", "", "askaround");
    let folders = folders.ok_or_else(|| Failure::usage("no home folder is known: name one with --dir"))?;
    Ok(folders.data_local_dir().to_owned())
}

/// A path as the peer needs it, which runs elsewhere.
fn absolute(path: &std::path::Path) -> Result<PathBuf, Failure> {
    let path = std::path::absolute(path).map_err(|e| Failure::usage(format!("{}: {e}", path.display())))?;
    if path.to_str().is_none() {
        return Err(Failure::usage(format!(
            "{}: is not UTF-8, which names of content are on every machine: rename it",
            path.display()
        )));
    }
    Ok(path)
}
