//! What the parts of a fetch take, without processes and sockets: hashing, and deciding which
//! piece is asked of whom.

use std::fs::File;
use std::hint::black_box;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use askaround_core::download::{Download, DownloadConfig, DownloadInput, DownloadOutput, SourceId};
use askaround_core::pieces::{Geometry, PieceSet, piece_hash};
use askaround_core::time;
use askaround_node::content::{hash_file, md5_of};

use super::CROWD;
use crate::measure::{Row, in_turn};

const SOURCES: u16 = 32;

/// Both hashes of a file in one pass, against its md5 alone, which can only be worked out in order.
pub(super) fn hashing(rows: &mut Vec<Row>, file: &Path) -> Result<(), String> {
    let text = |e: std::io::Error| e.to_string();
    let content = std::fs::read(file).map_err(text)?;
    let measured = in_turn(|| {
        let opened = File::open(file).map_err(text)?;
        let begin = Instant::now();
        let hashed = hash_file(&opened, &|_| {}, &AtomicBool::new(false)).map_err(|e| e.to_string())?;
        let ours = begin.elapsed().as_secs_f64();
        let begin = Instant::now();
        let md5 = md5_of(&content);
        let alone = begin.elapsed().as_secs_f64();
        if hashed.md5 != md5 {
            return Err("one pass gives another md5".into());
        }
        Ok((ours, alone))
    })?;
    rows.push(Row {
        name: "both hashes of a file, one pass".into(),
        figure: content.len() as f64 / measured.seconds / 1e6,
        unit: "MB/s",
        against: format!("md5 alone: x{:.2} its time", measured.ratio),
        note: "in-process".into(),
    });
    Ok(())
}

/// Which piece is asked of whom, against hashing that piece.
pub(super) fn deciding(rows: &mut Vec<Row>) -> Result<(), String> {
    let geometry = Geometry::new(CROWD as u64).map_err(|e| e.to_string())?;
    let (size, count) = (geometry.piece_size(), geometry.count());
    let bytes = vec![7; CROWD];
    let mut seed = 0;
    let measured = in_turn(|| {
        seed += 1;
        let begin = Instant::now();
        download(&geometry, seed)?;
        let ours = begin.elapsed().as_secs_f64();
        let begin = Instant::now();
        for (piece, bytes) in geometry.pieces().zip(bytes.chunks(size as usize)) {
            black_box(piece_hash(&geometry, piece, bytes));
        }
        Ok((ours, begin.elapsed().as_secs_f64()))
    })?;
    rows.push(Row {
        name: format!("deciding a piece, {SOURCES} sources, {count} pieces"),
        figure: measured.seconds / f64::from(count) * 1e6,
        unit: "µs",
        against: format!("hashing it: x{:.2} its time", measured.ratio),
        note: format!("in-process; pieces of {} KiB", size >> 10),
    });
    Ok(())
}

/// A whole download: of sources that each have half of the pieces, and one that has them all.
fn download(geometry: &Geometry, seed: u64) -> Result<(), String> {
    let config = DownloadConfig { seed, ..DownloadConfig::default() };
    let (count, lengths) = (geometry.count(), geometry.lengths().collect());
    let mut download = Download::new(config, lengths, PieceSet::empty(count));
    let now = time::Instant::ZERO;
    for n in 0..SOURCES {
        let mut pieces = if n == 0 { PieceSet::full(count) } else { PieceSet::empty(count) };
        for piece in (0..count).filter(|piece| piece % 2 == u32::from(n) % 2) {
            pieces.insert(piece);
        }
        let addr = SocketAddr::from(([127, 0, 0, 1], n + 1));
        let source = SourceId::from(n);
        download.handle(now, DownloadInput::Opened { source, addr, pieces, holds: n == 0 });
    }
    while let Some(output) = download.poll_output() {
        if let DownloadOutput::Ask { source, piece, .. } = output {
            download.handle(now, DownloadInput::Begun { source, piece, asked: piece });
            download.handle(now, DownloadInput::Progress(source, geometry.piece_size()));
            download.handle(now, DownloadInput::Got(source, piece));
        }
    }
    if download.is_done() { Ok(()) } else { Err("a download of which every piece came is not done".into()) }
}
