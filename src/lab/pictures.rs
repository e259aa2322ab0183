//! What can be kept of a run besides its logs: `--trace` and the pictures drawn from it.

#![allow(rustdoc::invalid_html_tags, reason = "a help text has a regular expression")]

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use askaround_lab::trace::{self, Trace};
use clap::Args;
use tempfile::NamedTempFile;

use crate::exit::Failure;

/// The files to write.
#[derive(Debug, Default, Args)]
pub struct PictureArgs {
    /// Write every event as JSON lines with vector clocks
    ///
    /// ShiViz reads it too, with the parser expression
    /// "host":"(?<host>[^"]*)","clock":(?<clock>{[^}]*}),"event":"(?<event>[^"]*)"
    #[arg(long, value_name = "FILE", help_heading = "Pictures")]
    pub trace: Option<PathBuf>,
}

/// Files that are begun before the run, so that what cannot be written is known at once, and
/// appear as a whole after it.
#[derive(Debug)]
pub(super) struct Pictures {
    trace: Option<Begun>,
}

impl PictureArgs {
    /// Whether a run has to be watched.
    pub(super) fn any(&self) -> bool {
        self.trace.is_some()
    }

    /// Begins every file.
    pub(super) fn begin(&self) -> Result<Pictures, Failure> {
        let trace = self.trace.as_deref().map(Begun::new).transpose()?;
        Ok(Pictures { trace })
    }
}

impl Pictures {
    /// Writes every file, and says where it is.
    pub(super) fn draw(self, trace: &Trace) -> Result<(), Failure> {
        if trace.cut_off {
            eprintln!("askaround: the run had more events than a trace holds; its end is left out");
        }
        if let Some(file) = self.trace {
            file.finish("trace", |out| trace::write::write(trace, out))?;
        }
        Ok(())
    }
}

/// A file under another name, beside where it will be.
#[derive(Debug)]
struct Begun {
    path: PathBuf,
    file: NamedTempFile,
}

impl Begun {
    fn new(path: &Path) -> Result<Self, Failure> {
        let unusable =
            |problem: String| Failure::usage(format!("cannot write {}: {problem}", path.display()));
        if path.is_dir() {
            return Err(unusable("it is a folder".into()));
        }
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = std::fs::create_dir_all(folder)
            .and_then(|()| tempfile::Builder::new().prefix(".askaround-").tempfile_in(folder));
        let file = file.map_err(|e| unusable(e.to_string()))?;
        Ok(Self { path: path.to_owned(), file })
    }

    fn finish(
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
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let readable = std::fs::Permissions::from_mode(0o644);
            file.as_file().set_permissions(readable).map_err(|e| failed(&e))?;
        }
        file.persist(&path).map_err(|e| failed(&e.error))?;
        eprintln!("the {what} is in {}", path.display());
        Ok(())
    }
}
