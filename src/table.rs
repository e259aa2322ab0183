//! Plain tables: columns as wide as their widest cell, the last one free.

use std::fmt::Write;

/// The rows under their headings, one a line.
pub(crate) fn render(headings: &[&str], rows: &[Vec<String>]) -> String {
    let columns = headings.len();
    let width = |i: usize| {
        let cells = rows.iter().filter_map(|row| row.get(i)).map(|cell| cell.chars().count());
        cells.chain([headings[i].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    let mut line = |cells: Vec<&str>| {
        for (i, cell) in cells.iter().enumerate() {
            if i + 1 == cells.len() {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{cell}");
            } else {
                let _ = write!(text, "{cell:<width$}  ", width = widths[i]);
            }
        }
    };
    line(headings.to_vec());
    for row in rows {
        line(row.iter().map(String::as_str).collect());
    }
    text
}
