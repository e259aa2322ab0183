//! One who fetches from one holder, and `add` before it, in turn with other programs.

use std::time::Instant;

use super::{FILES, LARGE, Place, SMALL, plain};
use crate::measure::program::Usage;
use crate::measure::{RUNS, Row, in_turn, median};

const MIB: f64 = (1 << 20) as f64;

/// `add` of the large file: from its start until it is served.
pub(super) fn added(rows: &mut Vec<Row>, place: &Place) -> Result<(), String> {
    let measured = in_turn(|| {
        let begin = Instant::now();
        drop(place.seed("large", &[])?);
        Ok((begin.elapsed().as_secs_f64(), md5sum(place)?))
    })?;
    rows.push(Row {
        name: "add, one file of 1 GiB".into(),
        figure: LARGE as f64 / measured.seconds / 1e6,
        unit: "MB/s",
        against: format!("md5sum: x{:.2} its time", measured.ratio),
        note: "BLAKE3 and md5".into(),
    });
    Ok(())
}

fn md5sum(place: &Place) -> Result<f64, String> {
    Ok(Usage::of(["md5sum".as_ref(), place.at("large").as_os_str()])?.seconds)
}

/// `get` of the large file by either key: how fast, and what it takes at both ends.
pub(super) fn large(rows: &mut Vec<Row>, place: &Place) -> Result<(), String> {
    let (seed, key) = place.seed("large", &[])?;
    let me = std::env::current_exe().map_err(|e| e.to_string())?;
    let plain_copy = [
        me.as_os_str().to_owned(),
        "bench".into(),
        plain::COPY.into(),
        place.at("large").into(),
        place.at("copy").into(),
    ];
    let (mut rates, mut ratios, mut cpu, mut cpu_ratios, mut peaks) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let before = seed.cpu_s();
        let ours = Usage::of(place.get(&key, "got"))?;
        let both = ours.cpu_seconds + seed.cpu_s() - before;
        place.remove("got")?;
        let theirs = Usage::of(&plain_copy)?;
        place.remove("copy")?;
        rates.push(LARGE as f64 / ours.seconds / 1e6);
        ratios.push(theirs.seconds / ours.seconds);
        cpu.push(both);
        cpu_ratios.push(both / theirs.cpu_seconds);
        peaks.push(ours.peak_bytes / MIB);
    }
    let name = "get, one file of 1 GiB";
    rows.push(Row {
        name: name.into(),
        figure: median(rates),
        unit: "MB/s",
        against: format!("plain copy by TCP: x{:.2}", median(ratios)),
        note: "verified; the copy: sendfile there, read and write here".into(),
    });
    let cpu = median(cpu);
    rows.push(Row {
        name: format!("{name}, CPU of both ends"),
        figure: cpu,
        unit: "s",
        against: format!("target 2.0 s: x{:.2}", cpu / 2.0),
        note: format!("x{:.2} of what the copy takes", median(cpu_ratios)),
    });
    for (end, peak) in [("fetcher", median(peaks)), ("holder", seed.peak_bytes() / MIB)] {
        rows.push(Row {
            name: format!("{name}, memory of the {end}"),
            figure: peak,
            unit: "MiB",
            against: format!("target 64: x{:.2}", peak / 64.0),
            note: "the most at any time".into(),
        });
    }
    by_md5(rows, place, &key)
}

/// The same by its md5, which can be known only when everything is here.
fn by_md5(rows: &mut Vec<Row>, place: &Place, key: &str) -> Result<(), String> {
    let md5 = askaround_node::content::md5_of(&std::fs::read(place.at("large")).map_err(|e| e.to_string())?);
    let (mut seconds, mut ratios, mut more) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let ours = Usage::of(place.get(&md5.to_string(), "got"))?.seconds;
        place.remove("got")?;
        let by_blake3 = Usage::of(place.get(key, "got"))?.seconds;
        place.remove("got")?;
        seconds.push(ours);
        more.push(ours - by_blake3);
        ratios.push(ours / md5sum(place)?);
    }
    rows.push(Row {
        name: "get, one file of 1 GiB, by its md5".into(),
        figure: median(seconds),
        unit: "s",
        against: format!("md5sum alone: x{:.2} its time", median(ratios)),
        note: format!("{:.2} s more than by its BLAKE3 hash", median(more)),
    });
    Ok(())
}

/// A whole command for content of one piece: no later than its end, the first byte is here.
pub(super) fn at_once(rows: &mut Vec<Row>, place: &Place) -> Result<(), String> {
    let (_seed, key) = place.seed("one", &[])?;
    let mut millis = Vec::new();
    for _ in 0..RUNS {
        millis.push(Usage::of(place.get(&key, "got"))?.seconds * 1e3);
        place.remove("got")?;
    }
    let figure = median(millis);
    rows.push(Row {
        name: "get, one file of 64 KiB, whole command".into(),
        figure,
        unit: "ms",
        against: format!("target 50 ms: x{:.2}", figure / 50.0),
        note: "the first byte is here before".into(),
    });
    Ok(())
}

/// A folder of many small files, against `tar` through a pipe.
pub(super) fn folder(rows: &mut Vec<Row>, place: &Place) -> Result<(), String> {
    let (_seed, key) = place.seed("small", &[])?;
    let script = r#"mkdir "$1/copy" && tar -c -C "$1" small | tar -x -C "$1/copy""#;
    let tar = ["sh", "-c", script, "sh", &place.at("").to_string_lossy()].map(str::to_owned);
    let measured = in_turn(|| {
        let ours = Usage::of(place.get(&key, "got"))?.seconds;
        let theirs = Usage::of(&tar)?.seconds;
        place.remove("got")?;
        place.remove("copy")?;
        Ok((ours, theirs))
    })?;
    rows.push(Row {
        name: "get, 1,000 files of 64 KiB".into(),
        figure: (FILES * SMALL) as f64 / measured.seconds / 1e6,
        unit: "MB/s",
        against: format!("tar | tar: x{:.2} its time", measured.ratio),
        note: "verified; target 1.5".into(),
    });
    Ok(())
}
