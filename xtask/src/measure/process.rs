//! Whole commands: `askaround lab run` and `lab check` from start to exit.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::{RUNS, Row, median};
use crate::release::askaround;

pub(super) fn lab(rows: &mut Vec<Row>) -> Result<(), String> {
    let thousand = tempfile::tempdir().map_err(|e| e.to_string())?;
    for id in 1..=1000 {
        let script = format!(
            r#"{{"client_id": {id}, "content": ["k{id}"], "actions": [{{"time": 1, "code": "Q", "content_id": "k{}"}}]}}"#,
            id % 3 + 1
        );
        let path = thousand.path().join(format!("{id}.json"));
        std::fs::write(path, script).map_err(|e| e.to_string())?;
    }
    for (name, folder, target) in [
        ("lab run, campus of 20 peers", Path::new("scenarios/campus-20"), Some(0.15)),
        ("lab run, town of 200 peers", Path::new("scenarios/town-200"), Some(2.0)),
        ("lab run, 1,000 peers", thousand.path(), None),
    ] {
        let seconds = (0..RUNS).map(|_| lab_run(folder)).collect::<Result<Vec<_>, _>>()?;
        let figure = median(seconds);
        let against = target.map_or("-".into(), |t| format!("target {t} s: x{:.2}", figure / t));
        rows.push(Row { name: name.into(), figure, unit: "s, whole process", against, note: String::new() });
    }
    let campus = Path::new("scenarios/campus-20");
    let seconds = (0..RUNS).map(|_| lab_check(campus)).collect::<Result<Vec<_>, _>>()?;
    let figure = median(seconds);
    rows.push(Row {
        name: "lab check, campus of 20 peers".into(),
        figure,
        unit: "s, whole process",
        against: format!("target 2 s: x{:.4}", figure / 2.0),
        note: "every order that can make a difference".into(),
    });
    Ok(())
}

fn lab_check(folder: &Path) -> Result<f64, String> {
    let begin = Instant::now();
    let output = Command::new(askaround()).args(["lab", "check"]).arg(folder).output();
    let seconds = begin.elapsed().as_secs_f64();
    let output = output.map_err(|e| e.to_string())?;
    let exhaustive = String::from_utf8_lossy(&output.stdout).contains("every one that can make a difference");
    if output.status.success() && exhaustive {
        Ok(seconds)
    } else {
        Err(format!("lab check {} failed", folder.display()))
    }
}

fn lab_run(folder: &Path) -> Result<f64, String> {
    let out = tempfile::tempdir().map_err(|e| e.to_string())?;
    let begin = Instant::now();
    let status = Command::new(askaround())
        .args(["lab", "run", "--quiet", "--out"])
        .args([out.path(), folder])
        .stdout(Stdio::null())
        .status()
        .map_err(|e| e.to_string())?;
    let seconds = begin.elapsed().as_secs_f64();
    if status.success() { Ok(seconds) } else { Err(format!("lab run {} failed", folder.display())) }
}
