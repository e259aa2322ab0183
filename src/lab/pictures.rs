//! What can be kept of a run besides its logs: `--trace`, and the pictures drawn from it.

#![allow(rustdoc::invalid_html_tags, reason = "a help text has a regular expression")]

use std::io::{BufWriter, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use askaround_core::message::Timestep;
use askaround_core::{Key, PeerId};
use askaround_lab::report::model::Report;
use askaround_lab::report::select::Selection;
use askaround_lab::report::{html, mermaid, svg};
use askaround_lab::run::{TRACKER_LOG, log_name};
use askaround_lab::scenario::Scenario;
use askaround_lab::trace::{self, Trace};
use askaround_node::log_file;
use clap::Args;
use tempfile::NamedTempFile;

use crate::exit::Failure;

const HEADING: &str = "Pictures";
const CHOOSE: &str = "choose a part with --draw-peers, --draw-times or --draw-key";

/// `--trace` and what can be drawn from it.
#[derive(Debug, Clone, Default, Args)]
pub struct PictureArgs {
    /// Write every event as JSON lines with vector clocks; `askaround lab replay` draws from it
    ///
    /// ShiViz reads it too, with the parser expression
    /// "host":"(?<host>[^"]*)","clock":(?<clock>{[^}]*}),"event":"(?<event>[^"]*)"
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    pub trace: Option<PathBuf>,
    /// The pictures.
    #[command(flatten)]
    pub drawn: DrawArgs,
}

/// The pictures.
#[derive(Debug, Clone, Default, Args)]
pub struct DrawArgs {
    /// Write one HTML page: a space-time diagram, every search, who holds what, the logs
    ///
    /// It needs nothing else, no network either. A large run opens with a part of itself.
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    pub report: Option<PathBuf>,
    /// Write a space-time diagram for a paper, of at most 5000 messages
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    pub svg: Option<PathBuf>,
    /// Write a sequence diagram for a README, of at most 400 messages
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    pub mermaid: Option<PathBuf>,
    /// In --svg and --mermaid, only messages from or to these peers, such as 1,4,5
    #[arg(long, value_name = "IDS", value_delimiter = ',', help_heading = HEADING)]
    pub draw_peers: Vec<PeerId>,
    /// In --svg and --mermaid, only these timesteps, such as 3 or 2-5
    #[arg(long, value_name = "TIMES", value_parser = times, help_heading = HEADING)]
    pub draw_times: Option<RangeInclusive<Timestep>>,
    /// In --svg and --mermaid, only what is about this key
    #[arg(long, value_name = "KEY", help_heading = HEADING)]
    pub draw_key: Option<Key>,
    /// In --svg and --mermaid, the messages of the clock too
    #[arg(long, help_heading = HEADING)]
    pub draw_clock: bool,
}

fn times(text: &str) -> Result<RangeInclusive<Timestep>, String> {
    let wrong = || "expected a timestep, or two with a dash between them, such as 2-5".to_owned();
    let number = |text: &str| text.trim().parse::<Timestep>().map_err(|_| wrong());
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let (from, to) = (number(from)?, number(to)?);
    if from > to { Err(wrong()) } else { Ok(from..=to) }
}

/// Files that are begun before the run, so that what cannot be written is known at once, and
/// appear as a whole after it.
#[derive(Debug)]
pub(super) struct Pictures {
    trace: Option<Begun>,
    report: Option<Begun>,
    svg: Option<Begun>,
    mermaid: Option<Begun>,
    selection: Selection,
}

impl PictureArgs {
    /// Whether a run has to be watched.
    pub(super) fn any(&self) -> bool {
        self.trace.is_some() || self.drawn.any()
    }

    /// Begins the one picture that there is of a population: how the cost grows.
    pub(super) fn begin_chart(&self) -> Result<Option<Begun>, Failure> {
        if self.trace.is_some() || self.drawn.report.is_some() || self.drawn.mermaid.is_some() {
            let problem =
                "--trace, --report and --mermaid are for a scenario; a population is drawn by --svg";
            return Err(Failure::usage(problem));
        }
        if let Some(chosen) = self.drawn.chosen() {
            let problem = "is for the messages of a scenario: leave it out, a population is drawn as a whole";
            return Err(Failure::usage(format!("{chosen} {problem}")));
        }
        self.drawn.svg.as_deref().map(Begun::new).transpose()
    }

    /// Begins every file. None of them may be one of the scenario's, or a log, which go to `out`.
    pub(super) fn begin(&self, scenario: &Scenario, out: &Path) -> Result<Pictures, Failure> {
        self.drawn.check()?;
        let ids: Vec<_> = scenario.scripts.iter().map(|(_, script)| script.id).collect();
        let logs = || ids.iter().map(|id| log_name(*id)).chain([TRACKER_LOG.to_owned()]);
        let folders = scenario.expected.iter().map(PathBuf::as_path).chain([out]);
        let mut taken: Vec<PathBuf> = folders.flat_map(|folder| logs().map(|log| folder.join(log))).collect();
        taken.extend(scenario.scripts.iter().map(|(file, _)| file.clone()));
        taken.push(scenario.folder.join("about.txt"));
        if let Some(stranger) = self.drawn.draw_peers.iter().find(|id| !ids.contains(id)) {
            return Err(Failure::usage(format!("--draw-peers: peer {stranger} does not take part")));
        }
        let drawn = [&self.drawn.report, &self.drawn.svg, &self.drawn.mermaid];
        if self.trace.is_some() && drawn.contains(&&self.trace) {
            return Err(twice(self.trace.as_deref()));
        }
        if let Some(trace) = &self.trace {
            not_over(trace, &taken)?;
        }
        let begun = self.drawn.begin(&taken)?;
        Ok(Pictures { trace: self.trace.as_deref().map(Begun::new).transpose()?, ..begun })
    }
}

impl DrawArgs {
    /// Whether there is anything to draw.
    pub(super) fn any(&self) -> bool {
        self.report.is_some() || self.svg.is_some() || self.mermaid.is_some()
    }

    /// An option that chooses what is shown, if one was given.
    fn chosen(&self) -> Option<&'static str> {
        let given = [
            ("--draw-peers", !self.draw_peers.is_empty()),
            ("--draw-times", self.draw_times.is_some()),
            ("--draw-key", self.draw_key.is_some()),
            ("--draw-clock", self.draw_clock),
        ];
        given.into_iter().find_map(|(option, is_given)| is_given.then_some(option))
    }

    /// Refuses to choose what is shown where nothing shows it.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match self.chosen() {
            Some(chosen) if self.svg.is_none() && self.mermaid.is_none() => Err(Failure::usage(format!(
                "{chosen} is for what --svg and --mermaid show: name a file for one of them, or leave it out"
            ))),
            _ => Ok(()),
        }
    }

    /// Begins every picture. None of them may be one of the files that are `taken`.
    pub(super) fn begin(&self, taken: &[PathBuf]) -> Result<Pictures, Failure> {
        let paths = [self.report.as_deref(), self.svg.as_deref(), self.mermaid.as_deref()];
        for path in paths.into_iter().flatten() {
            not_over(path, taken)?;
        }
        for (i, path) in paths.iter().enumerate() {
            if path.is_some() && paths[..i].contains(path) {
                return Err(twice(*path));
            }
        }
        let begin = |path: &Option<PathBuf>| path.as_deref().map(Begun::new).transpose();
        let selection = Selection {
            peers: self.draw_peers.iter().copied().collect(),
            times: self.draw_times.clone(),
            key: self.draw_key.clone(),
            clock: self.draw_clock,
        };
        Ok(Pictures {
            trace: None,
            report: begin(&self.report)?,
            svg: begin(&self.svg)?,
            mermaid: begin(&self.mermaid)?,
            selection,
        })
    }
}

/// Refuses to write over a file that is read or written besides.
pub(super) fn not_over(path: &Path, taken: &[PathBuf]) -> Result<(), Failure> {
    let is_taken = taken.iter().any(|taken| whole(taken) == whole(path));
    let refused = || {
        let path = path.display();
        Failure::usage(format!(
            "{path} is read, or a log is written to it: name another file for the picture"
        ))
    };
    if is_taken { Err(refused()) } else { Ok(()) }
}

/// Where a file is or would be, whatever way its name leads there.
fn whole(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if let Ok(there) = absolute.canonicalize() {
        return there;
    }
    match (absolute.parent(), absolute.file_name()) {
        (Some(folder), Some(name)) => whole(folder).join(name),
        _ => absolute,
    }
}

fn twice(path: Option<&Path>) -> Failure {
    let path = path.unwrap_or(Path::new(""));
    Failure::usage(format!("two pictures cannot go to the same file, {}", path.display()))
}

impl Pictures {
    /// Writes every file, and says where it is.
    pub(super) fn draw(self, trace: &Trace) -> Result<(), Failure> {
        if trace.cut_off {
            crate::plain::say!("askaround: the run had more events than a trace holds; its end is left out");
        }
        if let Some(file) = self.trace {
            file.finish("trace", |out| trace::write::write(trace, out))?;
        }
        if self.report.is_none() && self.svg.is_none() && self.mermaid.is_none() {
            return Ok(());
        }
        let report = Report::of(trace);
        if let Some(file) = self.report {
            file.finish("report", |out| html::write(&report, out))?;
        }
        if let Some(file) = self.svg {
            let messages = select(&self.selection, &report, "--svg", svg::MAX_MESSAGES)?;
            file.finish("diagram", |out| svg::write(&report, &messages, out))?;
        }
        if let Some(file) = self.mermaid {
            let messages = select(&self.selection, &report, "--mermaid", mermaid::MAX_MESSAGES)?;
            let text = mermaid::render(&report, &messages).ok_or_else(|| {
                let most = mermaid::MAX_TEXT;
                Failure::usage(format!("--mermaid: Mermaid draws no more than {most} characters; {CHOOSE}"))
            })?;
            file.finish("sequence diagram", |out| out.write_all(text.as_bytes()))?;
        }
        Ok(())
    }
}

fn select(selection: &Selection, report: &Report, what: &str, most: usize) -> Result<Vec<usize>, Failure> {
    let messages = selection.messages(report).map_err(|e| Failure::usage(format!("{what}: {e}")))?;
    if messages.len() > most {
        return Err(Failure::usage(format!(
            "{what}: {} messages are more than the {most} that such a picture can show; {CHOOSE}",
            messages.len()
        )));
    }
    Ok(messages)
}

/// A file under another name, beside where it will be.
#[derive(Debug)]
pub(super) struct Begun {
    path: PathBuf,
    file: NamedTempFile,
}

impl Begun {
    /// Begins it, so that what cannot be written is known at once.
    pub(super) fn new(path: &Path) -> Result<Self, Failure> {
        let unusable =
            |problem: String| Failure::usage(format!("cannot write {}: {problem}", path.display()));
        // Replacing a device, say /dev/null, by a file would break more than this run.
        match std::fs::metadata(path) {
            Ok(there) if there.is_dir() => return Err(unusable("it is a folder".into())),
            Ok(there) if !there.is_file() => return Err(unusable("it is not a plain file".into())),
            _ => {}
        }
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = std::fs::create_dir_all(folder).and_then(|()| log_file::new_file(folder));
        // Without the name of the temporary file, which nobody asked for.
        let refused = |e: std::io::Error| {
            let source = e.get_ref().and_then(std::error::Error::source);
            source.map_or_else(|| e.to_string(), ToString::to_string)
        };
        let file = file.map_err(|e| unusable(refused(e)))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Writes it, puts it where it belongs, and says so.
    pub(super) fn finish(
        self,
        what: &str,
        write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
    ) -> Result<(), Failure> {
        let Self { path, file } = self;
        let failed =
            |e: &dyn std::fmt::Display| Failure::run(format!("cannot write {}: {e}", path.display()));
        let mut out = BufWriter::new(file);
        write(&mut out).and_then(|()| out.flush()).map_err(|e| failed(&e))?;
        let file = out.into_inner().map_err(|e| failed(&e))?;
        file.persist(&path).map_err(|e| failed(&e.error))?;
        crate::plain::say!("the {what} is in {}", path.display());
        Ok(())
    }
}
