//! Where a Python program hangs: CPython's fault handler prints each thread's stack on `SIGABRT`.

use std::path::Path;

/// So many places are reported.
const MAX_PLACES: usize = 8;

/// Takes the fault handler's text off the end of what was said on stderr. For each thread, the
/// innermost line that lies in `folder`, as `client.py line 12, in receive`.
pub(super) fn split_off(stderr: &mut String, folder: &Path) -> Vec<String> {
    let Some(at) = stderr.find("Fatal Python error: Aborted") else { return Vec::new() };
    let report = stderr.split_off(at);
    let mut places = Vec::new();
    let mut looking = false;
    for line in report.lines() {
        if line.ends_with("(most recent call first):") {
            looking = true;
        } else if let Some(place) = place(line, folder).filter(|_| looking) {
            looking = false;
            if !places.contains(&place) && places.len() < MAX_PLACES {
                places.push(place);
            }
        }
    }
    places
}

/// `  File "/scratch/client.py", line 12 in receive`.
fn place(line: &str, folder: &Path) -> Option<String> {
    let (file, rest) = line.trim().strip_prefix("File \"")?.split_once("\", line ")?;
    let (number, function) = rest.split_once(" in ")?;
    // A script that was started by a relative name has a relative one here.
    let path = Path::new(file);
    let path = if path.is_absolute() { path.strip_prefix(folder).ok()? } else { path };
    Some(format!("{} line {number}, in {function}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_own_line_of_each_thread_is_taken() {
        let mut stderr = "about to wait\nFatal Python error: Aborted\n\nThread 0x01 (most recent call first):\n  \
            File \"/usr/lib/python3/socket.py\", line 700 in accept\n  File \"/s/peer.py\", line 30 in serve\n  \
            File \"/s/client.py\", line 3 in <module>\n\nCurrent thread 0x02 (most recent call first):\n  \
            File \"client.py\", line 9 in main\n"
            .to_owned();
        let places = split_off(&mut stderr, Path::new("/s"));
        assert_eq!(places, ["peer.py line 30, in serve", "client.py line 9, in main"]);
        assert_eq!(stderr, "about to wait\n");
    }
}
