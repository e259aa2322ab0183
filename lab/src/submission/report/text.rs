//! The report for people who read a terminal.

use std::fmt::Write as _;

use crate::grade::{Divergence, Grade, entry_text, notes, render_rubric};
use crate::submission::findings::Finding;
use crate::submission::plan::{Ended, Exceeded, ProcessRecord};
use crate::submission::{Round, ScenarioGrade, SubmissionGrade};

/// So many differing logs of a run are explained here; the page and `--json` have all.
const SHOWN_LOGS: usize = 3;

/// What is said of a run that is wrong and has all its points.
pub(super) const COSTS_NOTHING: &str = "no points are lost: no item of the rubric asks for what differs";

impl SubmissionGrade {
    /// A report for people.
    pub fn render(&self) -> String {
        let mut text = String::new();
        if let Some(note) = self.how_started() {
            let _ = writeln!(text, "{note}");
        }
        for scenario in &self.scenarios {
            text.push_str(&scenario.render());
        }
        text.push('\n');
        render_rubric(
            &mut text,
            &self.rubric,
            self.earned,
            self.possible,
            "total of what these scenarios exercise",
        );
        for note in notes(self.surplus, self.unscored) {
            let _ = writeln!(text, "{note}");
        }
        text
    }
}

impl SubmissionGrade {
    /// How clients were started, if not as was tried first.
    pub(super) fn how_started(&self) -> Option<String> {
        let failed = self.client_failed.as_ref()?;
        Some(format!("clients were started by: {} (by {failed} every one fails at once)", self.client))
    }
}

/// How a process ended, in words.
pub(super) fn ended_text(process: &ProcessRecord) -> String {
    let after = process.ended_after.map(|seconds| format!(" after {seconds:.1} s")).unwrap_or_default();
    match (process.exceeded, process.ended) {
        (Some(Exceeded::Memory), _) => "ended: too much memory".into(),
        (Some(Exceeded::Output), _) => "ended: too much output".into(),
        (None, Ended::Exited(status)) => format!("exit status {status}{after}"),
        (None, Ended::Signal(signal)) => format!("signal {signal}{after}"),
        (None, Ended::StillRunning) => "was running, and was ended".into(),
        (None, Ended::NotStarted) => "was not started".into(),
    }
}

impl ScenarioGrade {
    /// Whether every run gave the expected logs.
    pub fn is_right(&self) -> bool {
        self.right == self.rounds.len()
    }

    /// How many of its runs were right, in words.
    pub(super) fn verdict(&self) -> String {
        match (self.right, self.rounds.len()) {
            (1, 1) => "right".into(),
            (0, 1) => "wrong".into(),
            (right, all) if right == all => format!("right in all of {all} runs"),
            (0, all) => format!("wrong in all of {all} runs"),
            (right, all) => format!("right in {right} of {all} runs: its logs depend on timing or order"),
        }
    }

    /// The run to explain: the first that went wrong, or had something to tell.
    pub(super) fn telling(&self) -> Option<&Round> {
        let wrong = self.rounds.iter().find(|round| !round.grade.equal);
        wrong.or_else(|| self.rounds.iter().find(|round| !round.findings.is_empty()))
    }

    /// What there is to tell, in lines.
    pub(super) fn render(&self) -> String {
        let mut text = format!("{}: {}\n", self.name, self.verdict());
        let Some(round) = self.telling() else { return text };
        for finding in &round.findings {
            finding.render(&mut text);
        }
        if round.grade.costs_nothing() {
            let _ = writeln!(text, "  {COSTS_NOTHING}");
        }
        let firsts = round.first_differences();
        for (name, first) in firsts.iter().take(SHOWN_LOGS) {
            let _ = writeln!(text, "  {name}, entry {}", first.index + 1);
            let _ = writeln!(text, "    expected  {}", entry_text(first.expected.as_ref()));
            let _ = writeln!(text, "    got       {}", entry_text(first.got.as_ref()));
            let _ = writeln!(text, "    likely    {}", first.explanation);
        }
        match firsts.len().saturating_sub(SHOWN_LOGS) {
            0 => {}
            1 => text.push_str("  1 more log differs\n"),
            more => drop(writeln!(text, "  {more} more logs differ")),
        }
        text
    }
}

impl Grade {
    /// Whether the logs differ and all points were earned.
    pub(super) fn costs_nothing(&self) -> bool {
        !self.equal && self.earned == self.possible
    }
}

impl Round {
    /// The first difference of each log that is there, earliest in time first.
    pub(super) fn first_differences(&self) -> Vec<(&str, &Divergence)> {
        let logs = self.grade.logs.iter();
        let firsts = logs.filter_map(|log| Some((log.name.as_str(), log.differences.first()?)));
        // What is not there at all is told by the findings.
        let mut firsts: Vec<_> = firsts.filter(|(_, first)| !first.cause.is_of_the_file()).collect();
        firsts
            .sort_by_key(|(_, first)| first.expected.as_ref().or(first.got.as_ref()).map(|entry| entry.time));
        firsts
    }
}

impl Finding {
    fn render(&self, text: &mut String) {
        let _ = match self.who.as_str() {
            "" => writeln!(text, "  {}", self.text),
            who => writeln!(text, "  {who}: {}", self.text),
        };
        for line in &self.details {
            let _ = writeln!(text, "    | {line}");
        }
    }
}
