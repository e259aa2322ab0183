//! Logs on disk: a JSON array, replaced as a whole, so that a reader never sees half of one.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use askaround_core::log::LogEntry;
use tempfile::NamedTempFile;

/// A log and the file that it is written to.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    entries: Vec<LogEntry>,
    written: Option<usize>,
}

impl LogFile {
    /// An empty log for `path`, whose folder must exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), entries: Vec::new(), written: None }
    }

    /// Where it is written to.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds an entry, in memory.
    pub fn push(&mut self, entry: LogEntry) {
        self.entries.push(entry);
    }

    /// Brings the file up to date, if it is not.
    ///
    /// # Errors
    /// What the operating system says; then the file is as it was.
    pub async fn write(&mut self) -> io::Result<()> {
        if self.written == Some(self.entries.len()) {
            return Ok(());
        }
        let (path, text) = (self.path.clone(), render(&self.entries)?);
        tokio::task::spawn_blocking(move || replace(&path, &text)).await.map_err(io::Error::other)??;
        self.written = Some(self.entries.len());
        Ok(())
    }
}

/// Writes a whole log at once.
///
/// # Errors
/// What the operating system says; then the file is as it was.
pub fn write(path: &Path, entries: &[LogEntry]) -> io::Result<()> {
    replace(path, &render(entries)?)
}

/// The entries as the assignment's own files have them, to the byte: an array, indented by four,
/// without a line break at the end.
fn render(entries: &[LogEntry]) -> io::Result<Vec<u8>> {
    use serde::Serialize;
    let mut text = Vec::new();
    let format = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    entries.serialize(&mut serde_json::Serializer::with_formatter(&mut text, format))?;
    Ok(text)
}

/// Writes a file beside `path` and renames it. Who may read it is as with any new file: the user's
/// umask says.
pub fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = new_file(folder)?;
    file.write_all(text)?;
    file.persist(path)?;
    Ok(())
}

/// A new file in `folder` for what is not yet whole, readable as one made under its last name.
///
/// # Errors
/// What the operating system says.
pub fn new_file(folder: &Path) -> io::Result<NamedTempFile> {
    let anybody = Permissions::from_mode(0o666);
    tempfile::Builder::new().prefix(".askaround-").permissions(anybody).tempfile_in(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_file_is_whole_after_every_write_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("client_1.json");
        let mut log = LogFile::new(&path);
        for time in 0..3 {
            log.push(LogEntry { time, text: "<é>".into() });
            log.write().await.unwrap();
            let read: Vec<LogEntry> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            assert_eq!(read.len(), time as usize + 1);
        }
        let first = "[\n    {\n        \"time\": 0,\n        \"text\": \"<é>\"\n    },\n    {";
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(first) && text.ends_with("    }\n]"), "{text}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
