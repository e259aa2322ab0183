//! `askaround lab replay`: pictures from a trace.

use std::path::PathBuf;

use askaround_lab::report::model::Report;
use askaround_lab::trace::read;
use clap::Args;

use super::pictures::DrawArgs;
use crate::exit::Failure;
use crate::live::print;
use crate::table;

/// `askaround lab replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The trace, as --trace wrote it
    pub file: PathBuf,
    /// What to draw.
    #[command(flatten)]
    pub drawn: DrawArgs,
}

/// Draws from a trace, or says what is in it.
pub(super) fn replay(args: &ReplayArgs) -> Result<(), Failure> {
    args.drawn.check()?;
    let trace = read::read(&args.file).map_err(Failure::usage)?;
    if args.drawn.any() {
        return args.drawn.begin(std::slice::from_ref(&args.file))?.draw(&trace);
    }
    print(&summary(&Report::of(&trace)))
}

/// Every search, and how much was said.
fn summary(report: &Report) -> String {
    let name = |host: usize| report.hosts[host].name.clone();
    let row = |search: &askaround_lab::report::searches::Search| {
        let found = match search.found {
            Some(found) if found == search.host => "own".to_owned(),
            Some(found) => name(found),
            None => "-".to_owned(),
        };
        let key = search.key.map_or_else(|| "?".to_owned(), |key| report.keys[key].clone());
        vec![search.time.to_string(), name(search.host), found, search.steps.len().to_string(), key]
    };
    let rows: Vec<_> = report.searches.iter().map(row).collect();
    let about = report.about.as_ref().map(|about| format!(": {about}")).unwrap_or_default();
    let peers = report.hosts.iter().filter(|host| !host.addr.is_empty()).count();
    format!(
        "{}{about}\n{peers} peers, {} messages, {} searches\n\n{}\nto draw it: --report FILE.html, --svg FILE, --mermaid FILE\n",
        report.name,
        report.messages.len(),
        rows.len(),
        table::render(&["TIME", "PEER", "FOUND AT", "QUESTIONS", "KEY"], &rows)
    )
}
