//! Content delivered by whole commands over loopback: one large file against `cp`, many small ones
//! against `tar` through a pipe, and a crowd with limited uplinks against the lower bound.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::{RUNS, Row, askaround, median};

const LARGE: usize = 512 << 20;
const SMALL: usize = 64 << 10;
const FILES: usize = 1000;
const CROWD: usize = 8;
const CROWD_BYTES: usize = 32 << 20;
/// Bytes a second that each of a crowd may send.
const CROWD_UP: usize = 5_000_000;

pub(super) fn content(rows: &mut Vec<Row>) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let at = folder.path();
    write(&at.join("large"), LARGE, 1)?;
    write(&at.join("crowd"), CROWD_BYTES, 2)?;
    std::fs::create_dir(at.join("small")).map_err(|e| e.to_string())?;
    for i in 0..FILES {
        write(&at.join(format!("small/{i}")), SMALL, i as u64 + 3)?;
    }
    let tracker = Running(start(at, &["tracker", "--listen", "127.0.0.1:0"])?);
    let (tracker, addr) = tracker.says("listens on ")?;
    one(rows, at, &addr, "large", "get, one file of 512 MiB", ("cp", "cp large copy"), LARGE)?;
    let tar = ("tar | tar", "mkdir copy && tar -c small | tar -x -C copy");
    one(rows, at, &addr, "small", "get, 1,000 files of 64 KiB", tar, FILES * SMALL)?;
    crowd(rows, at, &addr)?;
    drop(tracker);
    Ok(())
}

/// Fetches what one holder serves, each time paired with a yardstick.
fn one(
    rows: &mut Vec<Row>,
    at: &Path,
    tracker: &str,
    what: &str,
    name: &str,
    (yardstick, command): (&str, &str),
    bytes: usize,
) -> Result<(), String> {
    let (_seed, key) = seed(at, what, tracker, &[])?;
    let (mut rates, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let ours = timed(Command::new(askaround()).current_dir(at).args([
            "get",
            &key,
            "-o",
            "got",
            "--tracker",
            tracker,
            "--quiet",
        ]))?;
        let theirs = timed(Command::new("sh").current_dir(at).args(["-c", command]))?;
        for made in ["got", "copy"] {
            let path = at.join(made);
            // One of the two is a folder, the other a file.
            let _ = std::fs::remove_dir_all(&path).or_else(|_| std::fs::remove_file(&path));
        }
        rates.push(bytes as f64 / ours / 1e6);
        ratios.push(ours / theirs);
    }
    let against = format!("{yardstick}: x{:.2} its time", median(ratios));
    rows.push(Row {
        name: name.into(),
        figure: median(rates),
        unit: "MB/s",
        against,
        note: "verified".into(),
    });
    Ok(())
}

fn crowd(rows: &mut Vec<Row>, at: &Path, tracker: &str) -> Result<(), String> {
    let up = CROWD_UP.to_string();
    let (_seed, key) = seed(at, "crowd", tracker, &["--up", &up])?;
    // Kurose and Ross: with equal uplinks it is the holder's that counts.
    let bound = CROWD_BYTES as f64 / CROWD_UP as f64;
    let mut ratios = Vec::new();
    for _ in 0..RUNS {
        let begin = Instant::now();
        let gets = (0..CROWD).map(|i| {
            let out = format!("crowd-{i}");
            start(at, &["get", &key, "-o", &out, "--tracker", tracker, "--up", &up, "--quiet"]).map(Running)
        });
        for mut get in gets.collect::<Result<Vec<_>, _>>()? {
            let status = get.0.wait().map_err(|e| e.to_string())?;
            if !status.success() {
                return Err(format!("askaround get: {status}"));
            }
        }
        ratios.push(begin.elapsed().as_secs_f64() / bound);
        for i in 0..CROWD {
            std::fs::remove_file(at.join(format!("crowd-{i}"))).map_err(|e| e.to_string())?;
        }
    }
    rows.push(Row {
        name: format!("crowd of {CROWD}, 32 MiB, --up 5M each: the last"),
        figure: median(ratios),
        unit: "of the bound",
        against: "target 1.06".into(),
        note: "Kurose and Ross, §2.5".into(),
    });
    Ok(())
}

/// A program that is ended with what it is for.
struct Running(Child);

impl Running {
    /// The word behind `before` in a line that it prints.
    fn says(mut self, before: &str) -> Result<(Self, String), String> {
        let stdout = self.0.stdout.take().ok_or("no output")?;
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some((_, rest)) = line.split_once(before) {
                let word = rest.split_whitespace().next().unwrap_or_default().to_owned();
                return Ok((self, word));
            }
        }
        Err(format!("a program never said {before:?}"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn seed(at: &Path, what: &str, tracker: &str, more: &[&str]) -> Result<(Running, String), String> {
    let words = [&["add", "--serve", what, "--tracker", tracker], more].concat();
    Running(start(at, &words)?).says("askaround get ")
}

fn start(at: &Path, words: &[&str]) -> Result<Child, String> {
    let mut command = Command::new(askaround());
    command.current_dir(at).args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().map_err(|e| format!("cannot start {}: {e}", askaround().display()))
}

fn timed(command: &mut Command) -> Result<f64, String> {
    let begin = Instant::now();
    let status = command.status().map_err(|e| e.to_string())?;
    if !status.success() {
        return Err(format!("{command:?}: {status}"));
    }
    Ok(begin.elapsed().as_secs_f64())
}

/// Bytes that cannot be compressed and are the same every time.
fn write(path: &Path, bytes: usize, seed: u64) -> Result<(), String> {
    let mut state = seed;
    let mut content = Vec::with_capacity(bytes);
    while content.len() < bytes {
        // SplitMix64 (Steele, Lea and Flood 2014).
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        content.extend_from_slice(&(z ^ z >> 31).to_le_bytes());
    }
    content.truncate(bytes);
    std::fs::write(path, content).map_err(|e| format!("{}: {e}", path.display()))
}
