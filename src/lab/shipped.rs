//! The scenarios that come with askaround, inside the program; and `askaround lab scenarios`.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::exit::Failure;
use crate::live::print;
use crate::table;

// Each file's path, which begins with the scenario's name, and its text.
include!(concat!(env!("OUT_DIR"), "/scenarios.rs"));

/// `askaround lab scenarios`.
#[derive(Debug, Args)]
pub struct ScenariosArgs {
    /// Only these
    #[arg(value_name = "SCENARIO")]
    pub names: Vec<String>,
    /// Write them into this folder, each as a folder of its own
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
}

/// Lists scenarios, or writes them.
pub(super) fn scenarios(args: &ScenariosArgs) -> Result<(), Failure> {
    if let Some(unknown) = args.names.iter().find(|name| !names().contains(&name.as_str())) {
        return Err(Failure::usage(unknown_name(unknown)));
    }
    let wanted =
        names().into_iter().filter(|name| args.names.is_empty() || args.names.iter().any(|n| n == name));
    let Some(out) = &args.out else {
        let row = |name: &str| vec![name.to_owned(), about(name).to_owned()];
        return print(&table::render(&["SCENARIO", "WHAT IT SHOWS"], &wanted.map(row).collect::<Vec<_>>()));
    };
    for name in wanted {
        unpack(name, out)
            .map_err(|e| Failure::usage(format!("cannot write {name} into {}: {e}", out.display())))?;
    }
    print(&format!("the scenarios are in {}\n", out.display()))
}

/// Their names, sorted.
pub(super) fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = FILES.iter().filter_map(|(path, _)| Some(path.split_once('/')?.0)).collect();
    names.dedup();
    names
}

fn about(name: &str) -> &'static str {
    let file = FILES.iter().find(|(path, _)| path.strip_prefix(name) == Some("/about.txt"));
    file.map_or("", |(_, text)| text.trim())
}

/// Writes the scenario of this name into `folder`, and says where it is then.
///
/// # Errors
/// What the operating system says.
pub(super) fn unpack(name: &str, folder: &Path) -> io::Result<PathBuf> {
    let own = |path: &str| path.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'));
    for (path, text) in FILES.iter().filter(|(path, _)| own(path)) {
        let path = folder.join(path);
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::write(path, text)?;
    }
    Ok(folder.join(name))
}

/// What to say of a name that none of them has.
pub(super) fn unknown_name(name: &str) -> String {
    let close: Vec<_> = names().into_iter().filter(|other| is_close(other, name)).collect();
    let hint = match close.as_slice() {
        [] => "askaround lab scenarios lists them".to_owned(),
        close => format!("is one of these meant: {}?", close.join(", ")),
    };
    format!("there is no scenario {name}: neither a folder nor one that comes with askaround\n{hint}")
}

/// Shares a word with it: `hint` is close to `rubric-04-hints`.
fn is_close(name: &str, wanted: &str) -> bool {
    let words = wanted.split(['-', '_', '/', '.']).filter(|word| word.len() > 2 && *word != "rubric");
    words.into_iter().any(|word| name.contains(word.trim_end_matches('s')))
}
