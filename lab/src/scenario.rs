//! A scenario: a folder of scripts `<n>.json`, with the expected logs where there are any.

use std::fs;
use std::path::{Path, PathBuf};

use askaround_core::script::Script;

use crate::grade::Logs;
use crate::run::{TRACKER_LOG, log_name};
use crate::script_file::{Place, ScriptError, read_json};

/// The folder of the expected logs inside a scenario's folder.
pub const EXPECTED: &str = "expected_outcomes";

/// A scenario, read and checked.
#[derive(Debug)]
pub struct Scenario {
    /// Its folder.
    pub folder: PathBuf,
    /// Its name: that of the folder.
    pub name: String,
    /// What it shows, in one line, if it says.
    pub about: Option<String>,
    /// The scripts and their files, by increasing id.
    pub scripts: Vec<(PathBuf, Script)>,
    /// Where each action of each script stands in its file.
    pub places: Vec<Vec<Place>>,
    /// The folder of expected logs, if there is one.
    pub expected: Option<PathBuf>,
    /// What is odd about the files.
    pub warnings: Vec<String>,
}

impl Scenario {
    /// Reads the scenario in `folder`.
    ///
    /// # Errors
    /// If the folder cannot be read, has no script, or has one that cannot be used.
    pub fn read(folder: &Path) -> Result<Self, ScriptError> {
        let wrong = |problem: String| ScriptError { path: folder.to_owned(), problem };
        let entries = fs::read_dir(folder).map_err(|e| wrong(format!("cannot be read: {e}")))?;
        let mut scripts = Vec::new();
        let mut warnings = Vec::new();
        let mut others = Vec::new();
        for entry in entries {
            let path = entry.map_err(|e| wrong(format!("cannot be read: {e}")))?.path();
            if is_script(&path) {
                let file = read_json(&path)?;
                warnings.extend(file.warnings);
                scripts.push((path, file.script, file.places));
            } else if looks_like_script(&path) {
                others.push(path);
            }
        }
        others.sort();
        scripts.sort_by_key(|(_, script, _)| script.id);
        if let Some([one, other]) = scripts.array_windows().find(|[a, b]| a.1.id == b.1.id) {
            let name = one.0.file_name().unwrap_or_default().to_string_lossy();
            return Err(ScriptError {
                path: other.0.clone(),
                problem: format!("client {} has a second script in {name}", one.1.id),
            });
        }
        if scripts.is_empty() {
            let names: Vec<_> = others.iter().filter_map(|path| path.file_name()?.to_str()).collect();
            let found =
                if names.is_empty() { String::new() } else { format!("; found {}", names.join(", ")) };
            return Err(wrong(format!("no script here: expected files named 1.json, 2.json, …{found}")));
        }
        let not_read = |path: &PathBuf| {
            format!(
                "{}: not read, for a script has the name of its client: 1.json, 2.json, …",
                path.display()
            )
        };
        warnings.extend(others.iter().map(not_read));
        let (scripts, places) =
            scripts.into_iter().map(|(path, script, places)| ((path, script), places)).unzip();
        let expected = folder.join(EXPECTED);
        if expected.exists() && !expected.is_dir() {
            let problem = "is a file: expected a folder of logs, client_1.json, …, bootstrapper.json".into();
            return Err(ScriptError { path: expected, problem });
        }
        let name = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        let about = fs::read_to_string(folder.join("about.txt")).ok();
        Ok(Self {
            name: name.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            folder: folder.to_owned(),
            about: about.map(|text| text.trim().to_owned()),
            scripts,
            places,
            expected: expected.is_dir().then_some(expected),
            warnings,
        })
    }

    /// The names of the logs that `expected` should have and has not: then nothing is known of what
    /// these should be.
    pub fn unexpected(&self, expected: &Logs) -> Vec<String> {
        let missing = self.scripts.iter().map(|(_, script)| script.id);
        let missing = missing.filter(|id| !expected.clients.contains_key(id)).map(log_name);
        missing.chain(expected.tracker.is_none().then(|| TRACKER_LOG.to_owned())).collect()
    }
}

/// Whether a file was perhaps meant to be a script: other JSON than logs, or the number of a client
/// with another ending.
fn looks_like_script(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_lowercase();
    let is_log = name == TRACKER_LOG || (name.starts_with("client_") && name.ends_with(".json"));
    let (stem, ending) = name.split_once('.').unwrap_or((&name, ""));
    let numbered = !stem.is_empty() && stem.bytes().all(|b| b.is_ascii_digit());
    path.is_file() && !is_log && (ending.ends_with("json") || numbered)
}

fn is_script(path: &Path) -> bool {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let numbered = !stem.is_empty() && stem.bytes().all(|b| b.is_ascii_digit());
    numbered && path.extension().is_some_and(|extension| extension == "json")
}
