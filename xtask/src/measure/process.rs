//! Whole commands: `askaround lab run` from start to exit.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::{RUNS, Row, askaround, median};

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
    Ok(())
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
