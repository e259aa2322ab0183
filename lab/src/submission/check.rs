//! Whether a submission has what its commands need, before anything is started.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Submission, SubmissionError};

/// So many names of what is there are listed.
const SHOWN: usize = 12;

impl Submission {
    /// Looks for the folder, the programs and the scripts that the commands name.
    ///
    /// # Errors
    /// What is missing, what is there instead, and which option to change.
    pub fn check(&self) -> Result<(), SubmissionError> {
        let wrong = |problem: String| SubmissionError::Unusable { folder: self.folder.clone(), problem };
        if !self.folder.exists() {
            return Err(wrong("no such folder".into()));
        }
        if !self.folder.is_dir() {
            return Err(wrong("not a folder: unpack the submission first".into()));
        }
        let names = names(&self.folder).map_err(|e| wrong(format!("cannot be read: {e}")))?;
        for (words, what, option) in
            [(&self.tracker, "the tracker", "--tracker"), (&self.client, "a client", "--client")]
        {
            let command = words.join(" ");
            for word in words.iter().filter(|word| is_script(word)) {
                if !self.folder.join(word).is_file() {
                    let problem = format!(
                        "no {word} here, and {what} is started by: {command}\n{}\n{option} names another command",
                        self.instead(word, &names)
                    );
                    return Err(wrong(problem));
                }
            }
            let program = words.first().map_or("", String::as_str);
            if self.program(program).is_none() {
                let place = if program.contains('/') { "in the submission" } else { "on the PATH" };
                let problem = format!(
                    "{what} is started by: {command}\nbut there is no program {program} {place}; {option} names another command"
                );
                return Err(wrong(problem));
            }
        }
        Ok(())
    }

    /// What the folder has instead of the file `word`.
    fn instead(&self, word: &str, names: &[String]) -> String {
        let deeper = names.iter().map(|name| self.folder.join(name)).find(|path| path.join(word).is_file());
        if let Some(folder) = deeper {
            return format!("it is in {}: is that the submission?", folder.display());
        }
        if names.is_empty() {
            return "the folder is empty".into();
        }
        let more = if names.len() > SHOWN { ", …" } else { "" };
        format!("the folder has: {}{more}", names[..names.len().min(SHOWN)].join(", "))
    }

    /// Where a program is: in the submission if it is named with a `/`, otherwise on the `PATH`.
    fn program(&self, name: &str) -> Option<PathBuf> {
        use std::os::unix::fs::PermissionsExt;
        let runs = |path: &PathBuf| {
            fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        };
        if name.contains('/') {
            return Some(self.folder.join(name)).filter(runs);
        }
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(runs)
    }
}

/// A word that names a script of the submission: it is to be found there.
fn is_script(word: &str) -> bool {
    let path = Path::new(word);
    let known = path
        .extension()
        .and_then(|e| e.to_str())
        .is_some_and(|extension| ["py", "js", "rb", "pl", "jar", "sh"].contains(&extension));
    known && !word.starts_with('-') && !word.contains('{')
}

fn names(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
