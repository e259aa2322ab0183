//! One page with everything about a run. It needs nothing else: no file, no network, no server.

use std::io::{self, Write};

use super::data;
use super::model::Report;
use crate::markup::escape;

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
/// In this order: each uses what stands before.
const SCRIPTS: [&str; 6] = [
    include_str!("page/base.js"),
    include_str!("page/layout.js"),
    include_str!("page/diagram.js"),
    include_str!("page/controls.js"),
    include_str!("page/searches.js"),
    include_str!("page/tables.js"),
];

/// Writes the page.
///
/// # Errors
/// What `out` says.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let mut rest = PAGE;
    // Each part goes out as it comes, so that nothing in it is taken for another placeholder.
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").unwrap_or((after, ""));
        out.write_all(before.as_bytes())?;
        match name {
            "title" => out.write_all(escape(&report.name).as_bytes())?,
            "style" => out.write_all(STYLE.trim_end().as_bytes())?,
            "data" => out.write_all(data::json(report)?.as_bytes())?,
            "script" => {
                for script in SCRIPTS {
                    out.write_all(script.as_bytes())?;
                }
            }
            other => unreachable!("the page has a placeholder {other} that nothing fills"),
        }
        rest = after;
    }
    out.write_all(rest.as_bytes())
}
