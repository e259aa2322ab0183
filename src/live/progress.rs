//! What is said while something takes long: a bar on a terminal, a line now and then in a pipe,
//! JSON lines, or nothing. Results go to stdout, everything else to stderr.

use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use askaround_node::api::ApiEvent;
use askaround_node::delivery::conditions::ConditionChange;
use askaround_node::delivery::keep::KeepEvent;
use askaround_node::delivery::types::GetEvent;
use askaround_node::delivery::verify::{Checked, Verdict};
use indicatif::{ProgressBar, ProgressStyle};
use rustix::termios::tcgetwinsize;

use super::json::{self, ServeEvent};
use super::{print, show, units};
use crate::exit::Failure;
use crate::plain;

/// How often a pipe is told how far it is, at first and at last: what takes hours is not to fill a
/// log with thousands of lines.
const OFTEN: Duration = Duration::from_secs(3);
const SELDOM: Duration = Duration::from_secs(60);
/// In between, a line comes after this part of the time that it takes already.
const PART: u32 = 20;

/// In so few columns there are words and no bar.
const WORDS: u16 = 60;

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    /// A bar that moves, and results.
    Bar,
    /// A line every few seconds, and results.
    Lines,
    /// Events and the result as lines of JSON.
    Json,
    /// Nothing but what was asked for.
    Quiet,
}

impl Show {
    pub(super) fn new(json: bool, quiet: bool) -> Self {
        match (json, quiet) {
            (true, _) => Self::Json,
            (_, true) => Self::Quiet,
            _ if std::io::stderr().is_terminal() => Self::Bar,
            _ => Self::Lines,
        }
    }

    /// Whether a person reads along.
    pub(super) fn is_for_people(self) -> bool {
        matches!(self, Self::Bar | Self::Lines)
    }
}

/// Tells how far something is. Cloning shares it.
#[derive(Clone)]
pub(super) struct Meter {
    pub(super) show: Show,
    bar: ProgressBar,
    state: Arc<Mutex<State>>,
}

struct State {
    since: Instant,
    last_line: Instant,
    last_text: String,
    /// What is being read.
    reading: Option<Reading>,
    /// How far a fetch is, of how much.
    far: Option<(u64, u64)>,
}

/// A file that is being read, or files that are counted together.
struct Reading {
    began: Instant,
    /// Bytes that were read when it began, and are by now.
    from: u64,
    done: u64,
    size: u64,
}

impl Reading {
    /// Goes on, or begins: `done` and `size` tell whether it is another file's.
    fn next(last: Option<Self>, done: u64, size: u64) -> Self {
        match last {
            Some(last) if last.size == size && last.done <= done => Self { done, ..last },
            _ => Self { began: Instant::now(), from: done, done, size },
        }
    }
}

impl Meter {
    pub(super) fn new(show: Show) -> Self {
        // Nothing is known yet, which is not a bar that is full.
        let bar = if show == Show::Bar { ProgressBar::new(0) } else { ProgressBar::hidden() };
        bar.set_style(style("{wide_msg}"));
        let now = Instant::now();
        let state = State { since: now, last_line: now, last_text: String::new(), reading: None, far: None };
        Self { show, bar, state: Arc::new(Mutex::new(state)) }
    }

    /// Something happened.
    ///
    /// # Errors
    /// If stdout cannot be written.
    pub(super) fn event(&self, event: &ApiEvent) -> Result<(), Failure> {
        if self.show == Show::Json {
            return json::line(event);
        }
        match event {
            ApiEvent::Keep(event) => self.kept(event),
            ApiEvent::Get(event) => {
                self.fetched(event);
                Ok(())
            }
        }
    }

    fn kept(&self, event: &KeepEvent) -> Result<(), Failure> {
        match event {
            KeepEvent::Reading { path, done, size } => self.reading(path, *done, *size),
            KeepEvent::Repairing { path, done, size, rate, sources } => {
                let sources = units::count(*sources as u64, "source");
                let path = plain::name(path);
                self.far(*done, *size, *rate, &format!("repairing {path} from {sources}"));
            }
            // Whoever reads nothing but the key must not take it for that of all.
            KeepEvent::LeftOut { text } if self.show == Show::Quiet => plain::say!("{}", plain::name(text)),
            KeepEvent::LeftOut { text } => self.note(text),
            KeepEvent::Replaced { blake3, path } => {
                self.note(&format!("{} was {blake3} before, which is forgotten", plain::name(path)));
            }
            KeepEvent::Added(added) => self.result(&show::added(added, self.show == Show::Quiet))?,
            KeepEvent::Checked(Checked { verdict: Verdict::Good, .. }) => {}
            KeepEvent::Checked(checked) => self.result(&show::checked(checked))?,
        }
        Ok(())
    }

    fn fetched(&self, event: &GetEvent) {
        match event {
            GetEvent::Found { size, here, files, .. } => {
                self.state().far = Some((*here, *size));
                let files =
                    files.map_or(String::new(), |files| format!("{} of ", units::count(files, "file")));
                let here = match here {
                    0 => String::new(),
                    here => format!(", of which {} are here already", units::bytes(*here)),
                };
                self.note(&format!("found: {files}{}{here}", units::bytes(*size)));
            }
            GetEvent::Reading { path, done, size } => self.reading(path, *done, *size),
            GetEvent::Progress { here, size, rate, sources, waiting } => {
                self.state().far = Some((*here, *size));
                let from = units::count(*sources as u64, "source");
                if *waiting {
                    // How long that takes nobody knows.
                    let far = amount(*here, *size);
                    let rate = if *sources > 0 { format!(", {}", units::rate(*rate)) } else { String::new() };
                    let waiting = "waiting for somebody who has the rest";
                    self.at(*here, *size, &format!("{far}{rate}, from {from}, {waiting}"));
                } else {
                    self.far(*here, *size, *rate, &format!("from {from}"));
                }
            }
            GetEvent::Lost { addr, why } => self.note(&format!("lost the source {addr}: {why}")),
            GetEvent::Note { text } => self.note(text),
            // How many there are is part of the progress; who they are, `why` says.
            GetEvent::Source { .. } => {}
        }
    }

    fn reading(&self, path: &str, done: u64, size: u64) {
        let what = format!("reading {}", plain::name(path));
        let (from, began) = {
            let mut state = self.state();
            let reading = Reading::next(state.reading.take(), done, size);
            let told = (reading.from, reading.began);
            state.reading = Some(reading);
            told
        };
        if done == from {
            // How fast that is, is not known yet.
            return self.at(done, size, &format!("{}, {what}", amount(done, size)));
        }
        let rate = (done - from) as f64 / began.elapsed().as_secs_f64().max(0.001);
        self.far(done, size, rate as u64, &what);
    }

    /// How far it is, at what rate, of what.
    fn far(&self, done: u64, size: u64, rate: u64, what: &str) {
        let left = size.saturating_sub(done).checked_div(rate).filter(|left| *left > 0);
        let left = left.map_or(String::new(), |left| format!(", {} left", units::left(left)));
        self.at(done, size, &format!("{}, {}{left}, {what}", amount(done, size), units::rate(rate)));
    }

    fn at(&self, done: u64, size: u64, text: &str) {
        self.bar.set_style(style(if is_narrow() { "{wide_msg}" } else { "{bar:20} {wide_msg}" }));
        // It is drawn by each of these.
        if self.bar.length() != Some(size) {
            self.bar.set_length(size);
        }
        self.bar.set_position(done);
        // One text, so that nothing in it is ahead of the rest.
        self.bar.set_message(plain::text(&format!("{:>3}% {text}", percent(done, size))).into_owned());
        self.line(text);
    }

    /// What is being sent, of which nobody knows how much it will be.
    ///
    /// # Errors
    /// If stdout cannot be written.
    pub(super) fn serving(&self, sent: u64, rate: u64) -> Result<(), Failure> {
        if self.show == Show::Json {
            return json::line(&ServeEvent::Serving { sent, rate });
        }
        let text = format!("sent {}, now {}", units::bytes(sent), units::rate(rate));
        self.bar.set_style(style("{spinner} {wide_msg}"));
        self.bar.tick();
        self.bar.set_message(text.clone());
        self.line(&text);
        Ok(())
    }

    /// Files that are served by this command are not any more, or are again.
    ///
    /// # Errors
    /// If stdout cannot be written.
    pub(super) fn conditions(&self, changes: Vec<ConditionChange>) -> Result<(), Failure> {
        if self.show == Show::Json {
            return changes.into_iter().try_for_each(|change| json::line(&ServeEvent::Condition(change)));
        }
        show::conditions(&changes, true).iter().for_each(|text| self.note(text));
        Ok(())
    }

    /// In a pipe, now and then.
    fn line(&self, text: &str) {
        let mut state = self.state();
        let due = state.last_line.elapsed() >= pause(state.since.elapsed()) && state.last_text != text;
        if self.show == Show::Lines && due {
            (state.last_line, state.last_text) = (Instant::now(), text.into());
            plain::say!("{text}");
        }
    }

    /// Something that its user should know, in a line: names and messages in it may come from strangers.
    pub(super) fn note(&self, text: &str) {
        match self.show {
            Show::Bar | Show::Lines => self.bar.suspend(|| plain::say!("{}", plain::name(text))),
            Show::Json => {
                // Where stdout fails, the result fails too, and says so.
                let _ = json::line(&GetEvent::Note { text: text.into() });
            }
            Show::Quiet => {}
        }
    }

    fn result(&self, text: &str) -> Result<(), Failure> {
        self.bar.suspend(|| print(&plain::text(text)))
    }

    /// Nothing more will come. How far a fetch came, of how much.
    pub(super) fn end(&self) -> Option<(u64, u64)> {
        self.bar.finish_and_clear();
        self.state().far
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long after one line the next is due, if it takes so long already.
fn pause(taken: Duration) -> Duration {
    (taken / PART).clamp(OFTEN, SELDOM)
}

/// How much that is. Never ahead of the amounts beside it, which are rounded.
fn percent(done: u64, size: u64) -> u64 {
    let of = |done: u64, size: u64| (u128::from(done) * 100).checked_div(size.into()).unwrap_or(100) as u64;
    let shown = of(units::shown(done), units::shown(size));
    shown.min(of(done, size)).min(100)
}

fn amount(done: u64, size: u64) -> String {
    format!("{} of {}", units::bytes(done), units::bytes(size))
}

/// Whether a bar would leave no room for the words, which say more.
fn is_narrow() -> bool {
    // One that has no size says 0.
    let columns = tcgetwinsize(std::io::stderr()).map_or(0, |size| size.ws_col);
    (1..WORDS).contains(&columns)
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_never_ahead_of_the_amounts() {
        let shown = [(0, 0), (0, 9), (1999, 2000), (1_994_999, 2_000_000), (2_000_000, 2_000_000)];
        assert_eq!(shown.map(|(done, size)| percent(done, size)), [100, 0, 99, 99, 100]);
        assert_eq!(
            (amount(1_014_900, 1_989_900), percent(1_014_900, 1_989_900)),
            ("1.01 MB of 1.99 MB".into(), 50)
        );
        assert_eq!(percent(u64::MAX, u64::MAX), 100);
    }

    #[test]
    fn each_file_that_is_read_has_a_rate_of_its_own() {
        let told = [(1, 9), (5, 9), (9, 9), (4, 9), (9, 9), (20, 30), (20, 30)];
        let (mut reading, mut from) = (None, Vec::new());
        for (done, size) in told {
            let next = Reading::next(reading, done, size);
            from.push(next.from);
            reading = Some(next);
        }
        assert_eq!(from, [1, 1, 1, 4, 4, 20, 20]);
    }

    #[test]
    fn a_pipe_is_told_seldom_of_what_takes_long() {
        let seconds = [0, 60, 600, 3600].map(|taken| pause(Duration::from_secs(taken)).as_secs());
        assert_eq!(seconds, [3, 3, 30, 60]);
    }
}
