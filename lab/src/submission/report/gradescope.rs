//! `results.json` in the form that Gradescope reads
//! (<https://gradescope-autograders.readthedocs.io/en/latest/specs/>): a scored test for each
//! rubric item, and one without points for each scenario, which explains.

use serde_json::{Value, json};

use crate::grade::{RubricLine, notes};
use crate::submission::SubmissionGrade;

/// The longest text of one test, in bytes.
const MAX_OUTPUT: usize = 32 << 10;

impl SubmissionGrade {
    /// What belongs into `results.json`.
    pub fn gradescope(&self) -> Value {
        let items = self.rubric.iter().filter_map(|line| self.item(line));
        let scenarios = self.scenarios.iter().map(|scenario| {
            let right = scenario.is_right();
            json!({
                "name": format!("scenario {}", scenario.name),
                "status": if right { "passed" } else { "failed" },
                "output": cut(scenario.render()),
                "output_format": "text",
                "visibility": "visible",
            })
        });
        let right = self.scenarios.iter().filter(|scenario| scenario.is_right()).count();
        let mut summary = format!(
            "{} of {} points: {right} of {} scenarios are right.",
            self.earned,
            self.possible,
            self.scenarios.len()
        );
        for note in self.how_started().into_iter().chain(notes(self.surplus, self.unscored)) {
            summary.push_str(&format!("\n{note}."));
        }
        json!({
            "score": self.earned,
            "execution_time": self.seconds.round(),
            "output": summary,
            "output_format": "text",
            "visibility": "visible",
            "stdout_visibility": "hidden",
            "tests": items.chain(scenarios).collect::<Vec<_>>(),
        })
    }

    /// A rubric item, if the scenarios exercise it.
    fn item(&self, line: &RubricLine) -> Option<Value> {
        let earned = line.earned?;
        let right = line.matching == line.entries;
        let mut output =
            format!("{} of {} log entries that show it count as right.", line.matching, line.entries);
        if !right {
            let wrong = self.scenarios.iter().filter(|scenario| {
                let mut lines = scenario.rounds.iter().flat_map(|round| &round.grade.rubric);
                lines.any(|other| other.item == line.item && other.matching < other.entries)
            });
            let names: Vec<_> = wrong.map(|scenario| scenario.name.as_str()).collect();
            output.push_str(&format!(" See below: {}.", names.join(", ")));
        }
        Some(json!({
            "number": line.item.to_string(),
            "name": line.title,
            "score": earned,
            "max_score": line.points,
            "status": if right { "passed" } else { "failed" },
            "output": output,
            "output_format": "text",
            "visibility": "visible",
        }))
    }
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_OUTPUT {
        text.truncate(text.floor_char_boundary(MAX_OUTPUT));
        text.push_str("\n… (cut)");
    }
    text
}
