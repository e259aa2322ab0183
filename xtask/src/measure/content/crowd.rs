//! Many who fetch the same at once, each with an uplink of its own, against the lower bound
//! (Kurose and Ross, §2.5).

use std::process::Command;
use std::time::Instant;

use super::{CROWD, Place};
use crate::measure::program::Running;
use crate::measure::{RUNS, Row, median};

/// Bytes a second that each may send, the holder too. Then it is the holder's uplink that bounds.
const UP: usize = 5_000_000;

/// How many times the bound the last of `size` needs.
pub(super) fn crowd(rows: &mut Vec<Row>, place: &Place, size: usize) -> Result<(), String> {
    let up = UP.to_string();
    let (_seed, key) = place.seed("crowd", &["--up", &up])?;
    let bound = CROWD as f64 / UP as f64;
    let mut ratios = Vec::new();
    for _ in 0..RUNS {
        let names: Vec<String> = (0..size).map(|n| format!("crowd-{n}")).collect();
        let begin = Instant::now();
        let start = |name: &String| {
            let mut words = place.get(&key, name).into_iter();
            Running::start(Command::new(words.next().unwrap_or_default()).args(words).args(["--up", &up]))
        };
        let running = names.iter().map(start).collect::<Result<Vec<_>, _>>()?;
        running.into_iter().try_for_each(Running::ends)?;
        ratios.push(begin.elapsed().as_secs_f64() / bound);
        names.iter().try_for_each(|name| place.remove(name))?;
    }
    rows.push(Row {
        name: format!("crowd of {size}, 64 MiB, --up 5M each: the last"),
        figure: median(ratios),
        unit: "of the bound",
        against: "target 1.06".into(),
        note: format!("{} processes on this machine", size + 1),
    });
    Ok(())
}
