//! How a search went, as programs are told.

use std::time::Duration;

use askaround_core::id::Contact;
use askaround_core::key::Key;
use askaround_core::peer::{FindReport, TraceStep};
use askaround_core::search::Ask;
use serde::{Deserialize, Serialize};

/// How a search went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApiSearch {
    /// What was looked for.
    pub key: Key,
    /// Who has it.
    pub found: Option<Contact>,
    /// How it was found, in words.
    pub how: Option<String>,
    /// Whether a bound ended the search before everybody was asked.
    pub truncated: bool,
    /// Why the tracker did not say who is online.
    pub tracker_failed: Option<String>,
    /// How many peers did not say whether they have it.
    pub silent: u64,
    /// How many questions were asked.
    pub questions: u64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Each question, if wanted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trace: Vec<ApiStep>,
}

/// One question of a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApiStep {
    /// Who was asked; the tracker, if `None`.
    pub asked: Option<Contact>,
    /// What: `have`, `known` or `list`.
    pub what: String,
    /// Why, in words.
    pub why: String,
    /// What came back, in words.
    pub answer: String,
    /// How long that took, in seconds; `None` if the answer was not waited for.
    pub seconds: Option<f64>,
}

impl From<FindReport> for ApiSearch {
    fn from(report: FindReport) -> Self {
        let own = report.found.is_some() && report.route.is_none();
        Self {
            key: report.key,
            found: report.found,
            how: if own {
                Some("this peer holds it".into())
            } else {
                report.route.map(|reason| reason.to_string())
            },
            truncated: report.truncated,
            tracker_failed: report.tracker_failed.map(|error| error.to_string()),
            silent: report.silent,
            questions: report.questions,
            seconds: seconds(report.took),
            trace: report.trace.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<TraceStep> for ApiStep {
    fn from(step: TraceStep) -> Self {
        let (asked, what) = match &step.question.ask {
            Ask::Tracker(_) => (None, "list"),
            Ask::Have(peer) => (Some(*peer), "have"),
            Ask::Known(peer, _) => (Some(*peer), "known"),
            Ask::OwnKnown => (None, "own-known"),
        };
        Self {
            asked,
            what: what.into(),
            why: step.question.reason.to_string(),
            answer: step.answer(),
            seconds: step.answered.map(|(at, _)| seconds(at.since(step.asked_at))),
        }
    }
}

/// To the microsecond.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e6
}
