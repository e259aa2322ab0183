//! `askaround lab grade EXPECTED GOT`: two folders of logs.

use std::path::Path;

use askaround_core::script::Script;
use askaround_lab::grade::Logs;
use askaround_lab::scenario::Scenario;

use super::grade_args::GradeArgs;
use super::logs::read_expected;
use crate::exit::Failure;
use crate::live::print;

pub(super) fn grade(args: &GradeArgs) -> Result<(), Failure> {
    let [expected_folder, got_folder] = args.folders.as_slice() else {
        return Err(Failure::usage(format!(
            "expected two folders of logs, EXPECTED and GOT, found {}; --submission DIR runs somebody's programs instead",
            args.folders.len()
        )));
    };
    let expected = read_expected(expected_folder)?;
    let got = Logs::read(got_folder).map_err(Failure::usage)?;
    let scripts = scripts_for(args, expected_folder)?;
    let grade = askaround_lab::grade::grade(&expected, &got, &scripts);
    if args.json {
        let text = serde_json::to_string_pretty(&grade).map_err(Failure::run)?;
        print(&format!("{text}\n"))?;
    } else {
        print(&grade.render())?;
    }
    if grade.equal { Ok(()) } else { Err(Failure::Shown(1)) }
}

/// The scenario's scripts: with them, what each client held at the start is known.
fn scripts_for(args: &GradeArgs, expected: &Path) -> Result<Vec<Script>, Failure> {
    let scripts = |scenario: Scenario| scenario.scripts.into_iter().map(|(_, script)| script).collect();
    if let Some(folder) = &args.scenario {
        return Ok(scripts(Scenario::read(folder).map_err(Failure::usage)?));
    }
    // The folder around the expected logs is the scenario, if it has scripts.
    let around = expected.canonicalize().ok().and_then(|path| path.parent().map(Path::to_owned));
    Ok(around.and_then(|folder| Scenario::read(&folder).ok()).map(scripts).unwrap_or_default())
}
