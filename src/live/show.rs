//! Replies as text.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use askaround_core::Key;
use askaround_node::api::{ApiReply, ApiRequest, ApiSearch};
use askaround_node::content::{Condition, Kept};
use askaround_node::delivery::conditions::ConditionChange;
use askaround_node::delivery::error::unanswered;
use askaround_node::delivery::keep::{Added, Listed, Purged};
use askaround_node::delivery::prefix::MIN_DIGITS;
use askaround_node::delivery::types::{Got, Status, TrackerStatus};
use askaround_node::delivery::verify::{Checked, Verdict, VerifySummary};

use super::args::is_hash;
use super::progress::Show;
use super::show_fetch::{fetch_head, fetches_text};
use super::units;
use super::verbs::Verb;
use crate::{plain, table};

/// So many digits of a key are shown in tables.
const SHORT: usize = 12;
/// Of so many files at once it is told what became of each.
const FILES_TOLD: usize = 5;

/// What a reply says. What was told by events is not said again.
pub(super) fn text(verb: &Verb, reply: &ApiReply) -> String {
    let key = match &verb.request {
        ApiRequest::Purge { key } => key.as_str(),
        _ => "",
    };
    match reply {
        ApiReply::Registered(contact) => format!("registered as {contact}\n"),
        ApiReply::Unregistered(id) => format!("unregistered {id}\n"),
        ApiReply::Peers(peers) if peers.is_empty() => "nobody\n".into(),
        ApiReply::Peers(peers) => {
            let rows: Vec<_> = peers.iter().map(|p| vec![p.id.to_string(), p.addr().to_string()]).collect();
            table::render(&["PEER", "ADDRESS"], &rows)
        }
        ApiReply::Keys(keys) if keys.is_empty() => "nothing\n".into(),
        ApiReply::Keys(keys) => keys.iter().map(|key| format!("{key}\n")).collect(),
        ApiReply::Purged(purged) => purged_text(key, purged),
        ApiReply::Held { key, new: true } => format!("holds {key}\n"),
        ApiReply::Held { key, new: false } => format!("held {key} already\n"),
        ApiReply::Search(search) => search_text(search),
        ApiReply::Contents(contents) => contents_text(contents, verb.long, verb.all),
        ApiReply::Verified(_) if verb.show == Show::Quiet => String::new(),
        ApiReply::Verified(summary) => verified_text(summary),
        ApiReply::Status(status) => status_text(status),
        ApiReply::Fetches(fetches) => fetches_text(fetches),
        ApiReply::Got(_) if verb.show == Show::Quiet => String::new(),
        ApiReply::Got(got) => got_text(got),
        ApiReply::Added(_) => String::new(),
        ApiReply::Error(_) | ApiReply::Unusable(_) | ApiReply::Stopped => String::new(),
    }
}

/// What was added, and the keys by which others get it. If `brief`, just the key.
pub(super) fn added(added: &Added, brief: bool) -> String {
    if brief {
        return format!("{}\n", added.blake3);
    }
    let files = added.files.map_or(String::new(), |files| format!("{}, ", units::count(files, "file")));
    let mut text = format!(
        "added {} ({files}{})\n  blake3 {}\n",
        plain::name(&added.path),
        units::bytes(added.size),
        added.blake3
    );
    if let Some(md5) = &added.md5 {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  md5    {md5}");
    }
    text
}

/// A content that is not as it should be.
pub(super) fn checked(checked: &Checked) -> String {
    let what = match &checked.verdict {
        Verdict::Good => "good".into(),
        Verdict::Forgotten { also } => format!("is gone, and forgotten: {} is the same", plain::name(also)),
        Verdict::Repaired => "repaired".into(),
        Verdict::NotRepaired { why } => format!("could not be repaired: {why}"),
        Verdict::Bad { pieces: 0, .. } => "bad: there is something behind its end".into(),
        Verdict::Bad { pieces, of, .. } => {
            format!("bad: {pieces} of {} are wrong or missing", units::count((*of).into(), "piece"))
        }
        Verdict::Unreadable { why } => format!("cannot be read: {why}"),
    };
    format!("{}: {what}\n", plain::name(&checked.path))
}

/// What becomes of files that were served: a line each, and of many how many more there are.
pub(super) fn conditions(changes: &[ConditionChange], serves: bool) -> Vec<String> {
    let (told, others) = changes.split_at(changes.len().min(FILES_TOLD));
    let mut lines: Vec<_> = told.iter().map(|change| condition(change, serves)).collect();
    let good = others.iter().filter(|change| change.condition == Condition::Good).count();
    let list = if serves { "" } else { ": `askaround ls` says which" };
    for (count, what) in [(others.len() - good, "not served any more"), (good, "served again")] {
        if count > 0 {
            let be = if count == 1 { "is" } else { "are" };
            lines.push(format!("{} {be} {what}{list}", units::count(count as u64, "other file")));
        }
    }
    lines
}

/// What becomes of a file that was served, and what to do. `serves` in a peer for the time of a
/// command, which no verb can be given to.
fn condition(change: &ConditionChange, serves: bool) -> String {
    let ConditionChange { blake3, path, condition } = change;
    let (key, name) = (blake3.as_str().get(..SHORT).unwrap_or_default(), plain::name(path));
    let what = match condition {
        Condition::Good => return format!("{name} is as it was, and served again"),
        Condition::Missing => "is gone",
        Condition::Unreadable => "cannot be read",
        Condition::Damaged => "is damaged",
        Condition::Changed | Condition::Unchecked => "was changed",
    };
    let mend = match (condition, serves) {
        (Condition::Missing, true) => "put it back and give this command again".to_owned(),
        (Condition::Unreadable, true) => "see to its permissions".to_owned(),
        (Condition::Unreadable, false) => {
            format!("see to its permissions and `askaround verify {key}`, or `askaround purge {key}`")
        }
        (Condition::Damaged, false) => format!("`askaround verify --repair {key}` fetches what is wrong"),
        (_, true) => "to serve it as it is now, give this command again".to_owned(),
        (Condition::Missing, false) => {
            format!("put it back and `askaround verify {key}`, or `askaround purge {key}`")
        }
        (_, false) => format!(
            "to serve it as it is now, `askaround add` it again; if its bytes are the same, `askaround verify {key}`"
        ),
    };
    format!("{name} {what} and is not served any more: {mend}")
}

fn purged_text(key: &str, purged: &Purged) -> String {
    // First digits do for a purge: what was purged is said whole.
    let key = purged.key.as_ref().map_or(key, Key::as_str);
    let gave_up = purged.given_up.as_ref().map_or(String::new(), |to| {
        format!("removed what a stopped fetch had left beside {}\n", plain::name(to))
    });
    if let Some(to) = &purged.fetching {
        let was_held = if purged.held { "was held; it" } else { "is not held, but" };
        return format!(
            "{gave_up}{key} {was_held} is being fetched to {}: Ctrl-C there stops that\n",
            plain::name(to)
        );
    }
    if !purged.held && purged.given_up.is_none() {
        let is_start = key.len() < MIN_DIGITS && key.chars().all(|c| c.is_ascii_hexdigit());
        let hint =
            if is_start { "; of a key of content, at least the first 8 digits are needed" } else { "" };
        return format!("{key} is not held{hint}\n{}", left_over(purged));
    }
    if purged.in_folder {
        return format!("{key} is still served: it is a file of a folder that is here; purge the folder\n");
    }
    let what = match &purged.stays {
        Some(path) => {
            let (place, stays) = (place_text(path, purged.also_stay), purged.also_stay == 0);
            format!(
                "purged {key}; {place} {}\n",
                if stays { "stays where it is" } else { "stay where they are" }
            )
        }
        None if purged.held => format!("purged {key}\n"),
        None => String::new(),
    };
    what + &gave_up
}

/// How to remove what fetches have left that nobody remembers.
fn left_over(purged: &Purged) -> &'static str {
    if !purged.key.as_ref().is_some_and(is_hash) {
        return "";
    }
    "what a stopped fetch of it may have left are hidden files beside where it was to go, or in its folder, \
     that end in .askaround-part and .askaround-journal: remove them\n"
}

/// Where something is; of several places one, and how many more there are.
fn place_text(path: &str, more: u64) -> String {
    let path = plain::name(path);
    if more == 0 { path.into_owned() } else { format!("{path} and {more} more") }
}

fn contents_text(contents: &[Listed], long: bool, all: bool) -> String {
    let mut text = String::new();
    let mut rows = Vec::new();
    for content in contents.iter().filter(|content| all || content.own) {
        let kept = match content.kept {
            Kept::Reference => "in place".into(),
            Kept::Copy => "copy".into(),
            Kept::Fetched => "fetched".into(),
            Kept::List => units::count(content.files.unwrap_or(0), "file"),
        };
        let condition = match content.condition {
            Condition::Good => "good",
            Condition::Damaged => "damaged",
            Condition::Changed => "changed",
            Condition::Unreadable => "unreadable",
            Condition::Missing => "missing",
            Condition::Unchecked => "unchecked",
        };
        let digits = if long { usize::MAX } else { SHORT };
        let mut row = vec![content.blake3.as_str().chars().take(digits).collect()];
        if long {
            row.push(content.md5.as_ref().map_or("-".into(), ToString::to_string));
        }
        row.extend([
            units::bytes(content.size),
            kept,
            condition.into(),
            place_text(&content.path, content.also.len() as u64),
        ]);
        rows.push(row);
    }
    if rows.is_empty() {
        return "nothing\n".into();
    }
    let headings: &[&str] = if long {
        &["BLAKE3", "MD5", "SIZE", "KEPT", "CONDITION", "PATH"]
    } else {
        &["KEY", "SIZE", "KEPT", "CONDITION", "PATH"]
    };
    text += &table::render(headings, &rows);
    let bad = |condition| contents.iter().any(|content| content.condition == condition);
    if bad(Condition::Damaged) {
        text += "What is damaged is not served until `askaround verify --repair` has repaired it.\n";
    }
    if bad(Condition::Missing) {
        text += "What is missing is not served: put it back and `askaround verify`, have `askaround verify --repair` fetch it, or `askaround purge` it.\n";
    }
    if bad(Condition::Changed) {
        text += "What is changed is not served: `askaround add` it as what it is now, or have `askaround verify` find it good.\n";
    }
    if bad(Condition::Unchecked) {
        text += "What is unchecked is read again by the peer, and then served; `askaround verify` does that at once.\n";
    }
    text
}

fn verified_text(summary: &VerifySummary) -> String {
    let good = format!("{} good, {}", units::count(summary.good, "file"), units::bytes(summary.bytes));
    match summary.bad {
        0 => format!("{good}\n"),
        bad => format!("{bad} bad; {good}\n"),
    }
}

fn status_text(status: &Status) -> String {
    let limit = |limit: Option<u64>| {
        limit.map_or("no limit".into(), |limit| format!("at most {}", units::rate(limit)))
    };
    let mut text = format!(
        "peer      {} at {}\n{}contents  {}, {}\nup        {} sent, {}\ndown      {} received, {}\n",
        status.me.id,
        status.me.addr(),
        status.tracker.as_ref().map_or(String::new(), tracker_text),
        status.contents,
        units::bytes(status.bytes),
        units::bytes(status.sent),
        limit(status.up_limit),
        units::bytes(status.received),
        limit(status.down_limit),
    );
    if !status.fetches.is_empty() {
        text += "\n";
        text.extend(status.fetches.iter().map(fetch_head));
    }
    text
}

fn tracker_text(tracker: &TrackerStatus) -> String {
    let time = Duration::try_from_secs_f64(tracker.seconds).unwrap_or_default();
    let (addr, time) = (tracker.addr, units::time(time));
    let Some(why) = &tracker.why else { return format!("tracker   {addr}, registered for {time}\n") };
    let again = match tracker.again_in {
        // What was tried once is tried until it succeeds.
        Some(seconds) => format!("; tried again in {}", units::left(seconds.ceil() as u64)),
        None => String::new(),
    };
    format!("tracker   {addr}, not registered for {time}: {why}{again}\n")
}

fn got_text(got: &Got) -> String {
    let files = got.files.map_or(String::new(), |files| format!("{}, ", units::count(files, "file")));
    let what = format!("{} ({files}{})", plain::name(&got.path.to_string_lossy()), units::bytes(got.size));
    let fetched = got.size.saturating_sub(got.here_before);
    if fetched == 0 && got.size > 0 {
        return match &got.copied_from {
            Some(from) => {
                let (from, others) =
                    (from.to_string_lossy(), if got.files.is_some() { " and other files" } else { "" });
                format!("{what} was copied from {}{others}: nothing had to be fetched\n", plain::name(&from))
            }
            None => format!("{what} is here already: nothing had to be fetched\n"),
        };
    }
    let time = Duration::try_from_secs_f64(got.seconds).unwrap_or_default();
    let rate = (fetched as f64 / got.seconds.max(0.001)) as u64;
    // One that was lost and came back is one.
    let sources: BTreeSet<_> = got.sources.iter().filter(|s| s.bytes > 0).map(|s| s.addr).collect();
    let sources = units::count(sources.len() as u64, "source");
    format!("got {what} in {}, {}, from {sources}\n", units::time(time), units::rate(rate))
}

/// That nobody has it is only said when everybody could be asked.
fn not_found(search: &ApiSearch) -> String {
    let key = &search.key;
    match &search.tracker_failed {
        Some(why) => format!("not found {key}, but the tracker did not say who is online: {why}"),
        None if search.truncated => format!("not found {key}, but not everybody could be asked"),
        None => format!("nobody has {key}"),
    }
}

fn search_text(search: &ApiSearch) -> String {
    let mut text = String::new();
    if !search.trace.is_empty() {
        let rows: Vec<_> = search
            .trace
            .iter()
            .map(|step| {
                let whom = match (&step.asked, step.what.as_str()) {
                    (Some(peer), _) => format!("{} at {}", peer.id, peer.addr()),
                    (None, "list") => "tracker".into(),
                    (None, _) => "itself".into(),
                };
                let took = step.seconds.map_or("-".into(), |seconds| format!("{:.1} ms", seconds * 1e3));
                vec![whom, step.what.clone(), took, step.answer.clone(), step.why.clone()]
            })
            .collect();
        text += &table::render(&["ASKED", "WHAT", "TOOK", "ANSWER", "WHY ASKED"], &rows);
    }
    let questions = units::count(search.questions, "question");
    let asked = format!("{questions} in {:.1} ms{}", search.seconds * 1e3, unanswered(search.silent));
    // Writing to a String cannot fail.
    let _ = match (&search.found, &search.how) {
        (Some(peer), Some(how)) => writeln!(text, "found {} at {peer}: {how} ({asked})", search.key),
        (Some(peer), None) => writeln!(text, "found {} at {peer} ({asked})", search.key),
        (None, _) => writeln!(text, "{} ({asked})", not_found(search)),
    };
    text
}

#[cfg(test)]
mod tests {
    use askaround_node::delivery::types::SourceReport;

    use super::*;

    #[test]
    fn a_source_that_was_lost_and_came_back_is_one() {
        let source = |addr: &str, bytes, lost: Option<&str>| SourceReport {
            addr: addr.parse().unwrap(),
            peer: None,
            how: String::new(),
            bytes,
            rate: 0,
            complete: true,
            lost: lost.map(Into::into),
        };
        let got = |sources| Got {
            key: Key::new("k").unwrap(),
            blake3: String::new(),
            size: 3000,
            path: "file".into(),
            files: None,
            here_before: 0,
            copied_from: None,
            seconds: 2.0,
            sources,
        };
        let [back, other] = [("10.0.0.1:1", 1000), ("10.0.0.2:1", 1000)].map(|(a, b)| source(a, b, None));
        let lost = source("10.0.0.1:1", 1000, Some("gone"));
        let idle = source("10.0.0.3:1", 0, None);
        let text = got_text(&got(vec![lost.clone(), back.clone(), idle.clone()]));
        assert_eq!(text, "got file (3.00 kB) in 2.0 s, 1.50 kB/s, from 1 source\n");
        assert!(got_text(&got(vec![lost, back, other, idle])).ends_with("from 2 sources\n"));
    }
}
