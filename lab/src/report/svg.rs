//! A space-time diagram as SVG, for a paper: black lines for the hosts, an arrow a message.

use std::io::{self, Write};

use super::layout::Layout;
use super::model::{Kind, MessageReport, Report};
use crate::markup::escape;

/// A diagram of more messages than this cannot be read.
pub const MAX_MESSAGES: usize = 5_000;

const GUTTER: usize = 64;
const TOP: usize = 34;
const ROW: usize = 22;
/// Room for the legend.
const BOTTOM: usize = 40;
/// Columns are at most and at least so wide.
const WIDEST: usize = 46;
const NARROWEST: usize = 7;
/// About as wide as a page, where the columns allow.
const PAGE: usize = 980;
/// Arrows have labels where a column is at least so wide.
const LABELLED: usize = 38;

/// The colours of the kinds, which can be told apart on paper and by the colour-blind.
const fn color(kind: Kind) -> &'static str {
    match kind {
        Kind::Clock => "#a8a59c",
        Kind::Register => "#7552b3",
        Kind::List => "#2468ad",
        Kind::Ask => "#4d5a69",
        Kind::Have => "#22863a",
        Kind::Hint => "#c26a00",
        Kind::No => "#b3aa98",
        Kind::Known => "#a23c78",
        Kind::Error => "#c0261c",
        Kind::Content => "#6b6b12",
    }
}

/// Writes a diagram of the messages at these places of the report.
///
/// # Errors
/// What `out` says.
pub fn write(report: &Report, messages: &[usize], out: &mut dyn Write) -> io::Result<()> {
    let layout = Layout::new(report, messages);
    let step = (PAGE / layout.columns.max(1)).clamp(NARROWEST, WIDEST);
    let (width, height) = (GUTTER + layout.columns * step + 16, TOP + layout.rows.len() * ROW + BOTTOM);
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"Helvetica, Arial, 'Liberation Sans', sans-serif\" font-size=\"11\">"
    )?;
    writeln!(out, "<title>{}</title>", escape(&report.name))?;
    heads(out)?;
    let x = |column: usize| GUTTER + column * step + step / 2;
    let bottom = TOP + layout.rows.len() * ROW;
    writeln!(
        out,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#8a887f\">timestep</text>",
        GUTTER - 8,
        TOP - 10
    )?;
    for (i, band) in layout.bands.iter().enumerate() {
        let (from, to) = (GUTTER + band.begin * step, GUTTER + (band.end + 1) * step);
        if i % 2 == 1 {
            let (w, h) = (to - from, bottom - TOP);
            writeln!(out, "<rect x=\"{from}\" y=\"{TOP}\" width=\"{w}\" height=\"{h}\" fill=\"#f2efe8\"/>")?;
        }
        let middle = usize::midpoint(from, to);
        writeln!(
            out,
            "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\" fill=\"#55544f\">{}</text>",
            TOP - 10,
            band.time
        )?;
    }
    let y = |host| {
        let row = layout.rows.iter().position(|row| *row == host).unwrap_or(0);
        TOP + row * ROW + ROW / 2
    };
    for host in &layout.rows {
        let (y, end, name) = (y(*host), width - 12, escape(&report.hosts[*host].name));
        writeln!(out, "<path d=\"M{GUTTER} {y}H{end}\" stroke=\"#b9b6ae\" stroke-width=\".7\"/>")?;
        writeln!(out, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>", GUTTER - 8, y + 4)?;
    }
    for arrow in &layout.arrows {
        let message = &report.messages[arrow.message];
        let end = arrow.end.map_or(x(arrow.begin) + step / 2, x);
        let from = (x(arrow.begin), y(message.from));
        write_arrow(message, from, (end, y(message.to)), step, out)?;
    }
    legend(&layout, report, bottom, out)?;
    writeln!(out, "</svg>")
}

/// The arrowheads, one a colour: SVG has no way to take the line's.
fn heads(out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "<defs>")?;
    for kind in Kind::ALL {
        writeln!(
            out,
            "<marker id=\"h{}\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"6\" markerHeight=\"6\" \
             markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"{}\"/></marker>",
            kind as u8,
            color(kind)
        )?;
    }
    writeln!(out, "</defs>")
}

fn write_arrow(
    message: &MessageReport,
    from: (usize, usize),
    to: (usize, usize),
    step: usize,
    out: &mut dyn Write,
) -> io::Result<()> {
    let loud = matches!(message.kind, Kind::Have | Kind::Hint);
    let (width, color) = (if loud { 1.8 } else { 1.0 }, color(message.kind));
    let lost = message.received.is_none();
    let dashes = if lost { " stroke-dasharray=\"3 2\"" } else { "" };
    writeln!(
        out,
        "<path d=\"M{} {}L{} {}\" stroke=\"{color}\" stroke-width=\"{width}\"{dashes} \
         marker-end=\"url(#h{})\"><title>{}</title></path>",
        from.0,
        from.1,
        to.0,
        to.1,
        message.kind as u8,
        escape(&message.text)
    )?;
    if step >= LABELLED {
        let (x, y) = (usize::midpoint(from.0, to.0), usize::midpoint(from.1, to.1));
        writeln!(
            out,
            "<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\" font-size=\"9\" fill=\"{color}\" stroke=\"#fff\" \
             stroke-width=\"3\" paint-order=\"stroke\">{}</text>",
            y + 3,
            escape(brief(message))
        )?;
    }
    Ok(())
}

/// The first letter of a request, the first words of an answer.
fn brief(message: &MessageReport) -> &str {
    let text = message.text.split(':').next().unwrap_or_default();
    match message.kind {
        Kind::Hint | Kind::Error => text,
        _ => text.char_indices().nth(9).map_or(text, |(end, _)| &text[..end]),
    }
}

fn legend(layout: &Layout, report: &Report, bottom: usize, out: &mut dyn Write) -> io::Result<()> {
    let mut x = GUTTER;
    for kind in Kind::ALL {
        if layout.arrows.iter().any(|arrow| report.messages[arrow.message].kind == kind) {
            let y = bottom + 22;
            writeln!(
                out,
                "<rect x=\"{x}\" y=\"{}\" width=\"9\" height=\"9\" fill=\"{}\"/><text x=\"{}\" y=\"{y}\">{}</text>",
                y - 9,
                color(kind),
                x + 14,
                kind.name()
            )?;
            x += 30 + kind.name().len() * 6;
        }
    }
    Ok(())
}
