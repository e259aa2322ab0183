//! The report as one page that needs nothing else: no scripts, no network, dark and light.

use std::fmt::Write as _;

use super::text::{COSTS_NOTHING, ended_text};
use crate::grade::{LogGrade, RubricLine, entry_text, notes};
use crate::markup::escape;
use crate::submission::plan::{ProcessRecord, Said};
use crate::submission::{Round, ScenarioGrade, SubmissionGrade};

const STYLE: &str = include_str!("page.css");

impl SubmissionGrade {
    /// A page that opens in any browser.
    pub fn html(&self) -> String {
        let name = self.submission.display().to_string();
        let right = self.scenarios.iter().filter(|scenario| scenario.is_right()).count();
        let mut page = String::new();
        let _ = write!(
            page,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{points} of {possible} points: {name}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
             <header>\n<h1>{name}</h1>\n<p class=\"score\"><strong>{points}</strong> of {possible} points</p>\n\
             <p>{right} of {all} scenarios are right. Each run had {isolation}; all took {seconds:.0} s.</p>\n</header>\n",
            points = self.earned,
            possible = self.possible,
            name = escape(&name),
            all = self.scenarios.len(),
            isolation = escape(&self.isolation),
            seconds = self.seconds,
        );
        page.push_str("<main>\n");
        if let Some(note) = self.how_started() {
            let _ = writeln!(page, "<p>{}</p>", escape(&note));
        }
        page.push_str("<h2>Rubric</h2>\n<table class=\"rubric\">\n");
        page.push_str("<tr><th>Item</th><th></th><th>Log entries that count</th><th>Points</th></tr>\n");
        self.rubric.iter().for_each(|line| rubric_line(&mut page, line));
        page.push_str("</table>\n");
        for note in notes(self.surplus, self.unscored) {
            let _ = writeln!(page, "<p>{}</p>", escape(&note));
        }
        page.push_str("<h2>Scenarios</h2>\n");
        self.scenarios.iter().for_each(|scenario| scenario_section(&mut page, scenario));
        page.push_str("</main>\n</body>\n</html>\n");
        page
    }
}

fn rubric_line(page: &mut String, line: &RubricLine) {
    let (class, entries, points) = match line.earned {
        None => ("unused", "not exercised".to_owned(), format!("– of {}", line.points)),
        Some(earned) => {
            let class = if line.matching == line.entries { "right" } else { "wrong" };
            let entries = format!("{} of {}", line.matching, line.entries);
            (class, entries, format!("{earned} of {}", line.points))
        }
    };
    let _ = writeln!(
        page,
        "<tr class=\"{class}\"><td>{}</td><td>{}</td><td>{entries}</td><td>{points}</td></tr>",
        line.item,
        escape(line.title)
    );
}

fn scenario_section(page: &mut String, scenario: &ScenarioGrade) {
    let (class, open) = if scenario.is_right() { ("right", "") } else { ("wrong", " open") };
    let _ = writeln!(
        page,
        "<details class=\"scenario {class}\"{open}>\n<summary><b>{}</b> <span class=\"verdict\">{}</span></summary>",
        escape(&scenario.name),
        escape(&scenario.verdict())
    );
    if let Some(about) = &scenario.about {
        let _ = writeln!(page, "<p class=\"about\">{}</p>", escape(about));
    }
    // One run is enough to explain; a flaky submission fails in many ways.
    if let Some(round) = scenario.telling().or(scenario.rounds.first()) {
        round_section(page, round);
    }
    page.push_str("</details>\n");
}

fn round_section(page: &mut String, round: &Round) {
    if !round.findings.is_empty() {
        page.push_str("<h3>What happened</h3>\n<ul class=\"findings\">\n");
        for finding in &round.findings {
            let who = if finding.who.is_empty() {
                String::new()
            } else {
                format!("<b>{}</b>: ", escape(&finding.who))
            };
            let _ = write!(page, "<li>{who}{}", escape(&finding.text));
            if !finding.details.is_empty() {
                let _ = write!(page, "<pre>{}</pre>", escape(&finding.details.join("\n")));
            }
            page.push_str("</li>\n");
        }
        page.push_str("</ul>\n");
    }
    let mut differing: Vec<&LogGrade> = round.grade.logs.iter().filter(|log| log.differs()).collect();
    if !differing.is_empty() {
        // What came first is the likeliest reason of the rest.
        differing.sort_by_key(|log| log.first_time());
        page.push_str("<h3>Where the logs differ, earliest first</h3>\n");
        if round.grade.costs_nothing() {
            let _ = writeln!(page, "<p>{COSTS_NOTHING}</p>");
        }
        differing.into_iter().for_each(|log| differences(page, log));
    }
    page.push_str("<details class=\"processes\"><summary>Processes and what they said</summary>\n<table>\n");
    page.push_str("<tr><th></th><th>How it ended</th><th>Listened on</th><th>Said</th></tr>\n");
    round.run.processes.iter().for_each(|process| process_line(page, process));
    page.push_str("</table></details>\n");
}

fn differences(page: &mut String, log: &LogGrade) {
    let _ = writeln!(
        page,
        "<div class=\"log\"><p><b>{}</b>: {}</p>\n<table>\n\
         <tr><th>Entry</th><th>Expected</th><th>Got</th><th>Likely</th></tr>",
        escape(&log.name),
        log.verdict()
    );
    for difference in &log.differences {
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td class=\"entry\">{}</td><td class=\"entry\">{}</td><td>{}</td></tr>",
            difference.index + 1,
            escape(&entry_text(difference.expected.as_ref())),
            escape(&entry_text(difference.got.as_ref())),
            escape(&difference.explanation)
        );
    }
    page.push_str("</table>\n");
    if log.more > 0 {
        let _ = writeln!(page, "<p>and {} more</p>", log.more);
    }
    page.push_str("</div>\n");
}

fn process_line(page: &mut String, process: &ProcessRecord) {
    let name = process.id.map_or_else(|| "the tracker".to_owned(), |id| format!("client {id}"));
    let port = process.listened_on.map_or_else(|| "–".to_owned(), |port| port.to_string());
    let _ = write!(
        page,
        "<tr><td title=\"{}\">{name}</td><td>{}</td><td>{port}</td><td>",
        escape(&process.command),
        escape(&ended_text(process))
    );
    for (stream, said) in [("stderr", &process.stderr), ("stdout", &process.stdout)] {
        stream_section(page, stream, said);
    }
    page.push_str("</td></tr>\n");
}

fn stream_section(page: &mut String, stream: &str, said: &Said) {
    if said.bytes > 0 {
        let _ = write!(
            page,
            "<details><summary>{stream}, {} bytes</summary><pre>{}</pre></details>",
            said.bytes,
            escape(&said.text)
        );
    }
}
