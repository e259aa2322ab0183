//! A scenario as an exam: the logs that are expected, and what else is right because the
//! assignment leaves the order within a timestep open.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use askaround_core::id::PeerId;
use askaround_core::script::Script;

use super::SubmissionError;
use super::findings::{Finding, FindingKind};
use crate::check::{CheckOptions, check};
use crate::grade::{Grade, Logs, grade};
use crate::ports;
use crate::scenario::{EXPECTED, Scenario};
use crate::world::{self, WorldConfig};

/// What another order makes of an entry: by client and number of the entry.
type Others = BTreeMap<(PeerId, usize), BTreeSet<String>>;

/// A scenario and its expected logs.
#[derive(Debug)]
pub(super) struct Exam {
    pub(super) scenario: Scenario,
    pub(super) expected: Logs,
    scripts: Vec<Script>,
    /// Found out when it is first needed.
    others: OnceLock<Others>,
}

impl Exam {
    /// The logs that the scenario comes with; without, those of a run in virtual time.
    ///
    /// # Errors
    /// If its expected logs are not usable.
    pub(super) fn new(scenario: Scenario) -> Result<Self, SubmissionError> {
        let unusable =
            |problem: String| SubmissionError::Unusable { folder: scenario.folder.clone(), problem };
        let scripts: Vec<Script> = scenario.scripts.iter().map(|(_, script)| script.clone()).collect();
        let expected = match &scenario.expected {
            Some(folder) => {
                let logs = Logs::read(folder).map_err(|e| unusable(e.to_string()))?;
                if let Some((name, problem)) = logs.unusable.first_key_value() {
                    return Err(unusable(format!("{name}: {problem}")));
                }
                let missing = scenario.unexpected(&logs);
                if !missing.is_empty() {
                    return Err(unusable(format!("{EXPECTED} has no {}", missing.join(", "))));
                }
                logs
            }
            None => {
                let addresses = ports::assign(scripts.iter().map(|script| script.id));
                let run = world::run(&scripts, &addresses, &WorldConfig::default());
                if let Some(trouble) = run.troubles.first() {
                    return Err(unusable(format!("has no expected logs, and none can be made: {trouble}")));
                }
                Logs { clients: run.logs, tracker: Some(run.tracker_log), ..Logs::default() }
            }
        };
        Ok(Self { scenario, expected, scripts, others: OnceLock::new() })
    }

    /// Grades `got`. Entries that another order within their timestep explains count as right, and
    /// are told of.
    pub(super) fn grade(&self, mut got: Logs) -> (Grade, Vec<Finding>) {
        let accepted = self.accept(&mut got);
        (grade(&self.expected, &got, &self.scripts), accepted)
    }

    /// Puts the expected text in place of one that another order gives.
    fn accept(&self, got: &mut Logs) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (id, log) in &mut got.clients {
            let Some(expected) = self.expected.clients.get(id).filter(|expected| *expected != log) else {
                continue;
            };
            let mut details = Vec::new();
            for (index, (entry, wanted)) in log.iter_mut().zip(expected).enumerate() {
                let differs = entry.time == wanted.time && entry.text != wanted.text;
                let others = differs.then(|| self.others().get(&(*id, index))).flatten();
                if others.is_some_and(|others| others.contains(&entry.text)) {
                    details.push(format!("time {}: {}", entry.time, entry.text));
                    entry.text.clone_from(&wanted.text);
                }
            }
            if !details.is_empty() {
                findings.push(Finding {
                    kind: FindingKind::OrderLeftOpen,
                    who: format!("client {id}"),
                    text: "what another order within the timestep gives; the assignment leaves it open, so it counts as right".into(),
                    details,
                });
            }
        }
        findings
    }

    /// The entries that depend on the order within a timestep.
    fn others(&self) -> &Others {
        self.others.get_or_init(|| {
            let addresses = ports::assign(self.scripts.iter().map(|script| script.id));
            let found = check(&self.scripts, &addresses, &CheckOptions::default(), &|| false);
            // The first entry of a log is that of timestep 0, and stands for no action.
            let entries = found.varying.into_iter().filter_map(|varying| {
                let script = self.scripts.get(varying.action.peer)?;
                Some(((script.id, varying.action.index + 1), varying.others))
            });
            entries.collect()
        })
    }
}
