//! A sequence diagram in Mermaid, for a README.

use std::fmt::{self, Write};

use super::model::{MessageReport, Report};

/// A diagram of more messages than this cannot be read.
pub const MAX_MESSAGES: usize = 400;
/// Mermaid draws no longer text than this unless its page says otherwise (`maxTextSize`); in UTF-16
/// units, as JavaScript counts.
pub const MAX_TEXT: usize = 50_000;

/// A diagram of the messages at these places of the report. `None` if it would be longer than
/// [`MAX_TEXT`].
pub fn render(report: &Report, messages: &[usize]) -> Option<String> {
    let mut text = String::new();
    write(report, messages, &mut text).ok()?;
    (text.encode_utf16().count() <= MAX_TEXT).then_some(text)
}

fn write(report: &Report, messages: &[usize], out: &mut String) -> fmt::Result {
    writeln!(out, "sequenceDiagram")?;
    let mut hosts: Vec<_> =
        messages.iter().flat_map(|m| [report.messages[*m].from, report.messages[*m].to]).collect();
    hosts.sort_unstable();
    hosts.dedup();
    for host in &hosts {
        let name = &report.hosts[*host].name;
        let shown = if report.hosts[*host].addr.is_empty() { name.clone() } else { format!("peer {name}") };
        writeln!(out, "    participant h{host} as {}", escape(&shown))?;
    }
    let mut time = None;
    for place in messages {
        let message = &report.messages[*place];
        if time != Some(message.time) {
            time = Some(message.time);
            let (first, last) = (hosts[0], hosts[hosts.len() - 1]);
            writeln!(out, "    Note over h{first},h{last}: timestep {}", message.time)?;
        }
        write_message(message, out)?;
    }
    Ok(())
}

fn write_message(message: &MessageReport, out: &mut String) -> fmt::Result {
    // Answers are dashed; what never arrives ends in a cross.
    let arrow = match (message.answers, message.received) {
        (_, None) => "-x",
        (Some(_), _) => "-->>",
        (None, _) => "->>",
    };
    writeln!(out, "    h{}{arrow}h{}: {}", message.from, message.to, escape(&message.text))
}

/// Without what means something to Mermaid: a comment, an entity, the end of a line, a tag, an
/// actor's shape, a formula.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '#' | ';' | '$' | '<' | '>' | '"' | '%' | '\\' | '{' | '}' | '[' | ']' | '(' | ')' | '&' => {
                escaped.push_str(&format!("#{};", u32::from(c)));
            }
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}
