//! Reads scripts: the course's JSON, and lines of `<time>,<label>,<parameters>`. Whatever is
//! wrong is named with its file, its place and what was expected.

mod places;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use askaround_core::id::PeerId;
use askaround_core::key::Key;
use askaround_core::message::{MAX_TIME, Timestep};
use askaround_core::script::{Action, Script};
use serde_json::{Map, Value};

use crate::json;

pub use places::Place;

/// The largest file that is read, in bytes. As a tree of values it can take 30 times as much
/// memory; a script of an action in each of the 10,000 timesteps has half a megabyte.
const MAX_FILE: u64 = 8 << 20;

/// What a script has.
const SCRIPT_FIELDS: [&str; 3] = ["client_id", "content", "actions"];
/// What an action has; `R`, `U` and `L` may name the tracker.
const ACTION_FIELDS: [&str; 6] = ["time", "code", "content_id", "client_id", "ip", "port"];

/// A script or content list that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}", path = path.display())]
pub struct ScriptError {
    /// Which file.
    pub path: PathBuf,
    /// Where in it, what is wrong, and what was expected.
    pub problem: String,
}

/// A script and what is odd about its file.
#[derive(Debug)]
pub struct ScriptFile {
    /// The script.
    pub script: Script,
    /// Where each of its actions stands in the file.
    pub places: Vec<Place>,
    /// Things that are accepted but probably not meant.
    pub warnings: Vec<String>,
}

/// Reads a whole script in JSON.
///
/// # Errors
/// If the file cannot be read or is not such a script.
pub fn read_json(path: &Path) -> Result<ScriptFile, ScriptError> {
    let text = read(path)?;
    let wrong = |problem: String| ScriptError { path: path.to_owned(), problem };
    let value = json::value(&text).map_err(|e| wrong(format!("not JSON: {e}")))?;
    let Value::Object(fields) = &value else {
        return Err(wrong(format!(
            "expected an object with client_id, content and actions, found {}",
            kind(&value)
        )));
    };
    let mut warnings: Vec<_> = unknown_fields(fields, &SCRIPT_FIELDS).collect();
    let id = match fields.get("client_id") {
        Some(id) => parse_id(id).map_err(|e| wrong(format!("client_id: {e}")))?,
        None => return Err(wrong("client_id is missing".into())),
    };
    check_name(path, id).map_err(&wrong)?;
    let content = match fields.get("content") {
        Some(list) => parse_content(list).map_err(&wrong)?,
        None => Vec::new(),
    };
    // The first one: they may all be alike.
    let odd = fields.get("actions").and_then(Value::as_array).into_iter().flatten().enumerate();
    warnings.extend(odd.into_iter().find_map(|(i, action)| {
        let odd = unknown_fields(action.as_object()?, &ACTION_FIELDS).next()?;
        Some(format!("actions[{i}]: {odd}"))
    }));
    let actions = match fields.get("actions") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(list)) => list
            .iter()
            .enumerate()
            .map(|(i, action)| {
                parse_action(action, &mut warnings).map_err(|e| wrong(format!("actions[{i}]: {e}")))
            })
            .collect::<Result<_, _>>()?,
        Some(other) => return Err(wrong(format!("actions: expected an array, found {}", kind(other)))),
    };
    let (actions, places) = in_order(actions, places::of_actions(&text), &mut warnings);
    let warnings = warnings.into_iter().map(|w| format!("{}: {w}", path.display())).collect();
    Ok(ScriptFile { script: Script { id, content, actions }, places, warnings })
}

/// Reads the paragraph's form: a content list (JSON array, or one key a line) and an input script
/// (lines), for the peer `id`.
///
/// # Errors
/// If a file cannot be read or has something else in it.
pub fn read_lines(id: PeerId, content: &Path, script: &Path) -> Result<ScriptFile, ScriptError> {
    let mut warnings = Vec::new();
    let keys = read_content(content)?;
    let (mut actions, mut places) = (Vec::new(), Vec::new());
    for (i, line) in read_any(script)?.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let action = parse_line(line.trim())
            .map_err(|e| ScriptError { path: script.to_owned(), problem: format!("line {}: {e}", i + 1) })?;
        actions.push(action);
        places.push(Place { line: i + 1, column: 1 });
    }
    let (actions, places) = in_order(actions, places, &mut warnings);
    let warnings = warnings.into_iter().map(|w| format!("{}: {w}", script.display())).collect();
    Ok(ScriptFile { script: Script { id, content: keys, actions }, places, warnings })
}

fn read_content(path: &Path) -> Result<Vec<Key>, ScriptError> {
    let wrong = |problem: String| ScriptError { path: path.to_owned(), problem };
    let text = read_any(path)?;
    if text.trim_start().starts_with(['[', '{']) {
        let value = json::value(&text).map_err(|e| wrong(format!("not JSON: {e}")))?;
        let list = value.get("content").unwrap_or(&value);
        return parse_content(list).map_err(wrong);
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(i, line)| Key::new(line.trim()).map_err(|e| wrong(format!("line {}: {e}", i + 1)))).collect()
}

fn read(path: &Path) -> Result<String, ScriptError> {
    let text = read_any(path)?;
    match text.trim().is_empty() {
        true => Err(ScriptError { path: path.to_owned(), problem: "is empty".into() }),
        false => Ok(text),
    }
}

/// The text of a file, which may be empty: a peer that starts with nothing has an empty list, and one
/// that does nothing an empty script.
fn read_any(path: &Path) -> Result<String, ScriptError> {
    let wrong = |problem: String| ScriptError { path: path.to_owned(), problem };
    let file = fs::File::open(path).map_err(|e| wrong(format!("cannot be read: {e}")))?;
    let mut bytes = Vec::new();
    let read = file.take(MAX_FILE + 1).read_to_end(&mut bytes);
    read.map_err(|e| wrong(format!("cannot be read: {e}")))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(wrong(format!("larger than {} MiB", MAX_FILE >> 20)));
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        wrong(format!("is not UTF-8 text: bad byte at position {}", e.utf8_error().valid_up_to()))
    })?;
    Ok(json::without_mark(&text).to_owned())
}

/// A file named by a number holds the script of that client.
fn check_name(path: &Path, id: PeerId) -> Result<(), String> {
    let stem = path.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse::<PeerId>().ok());
    match stem {
        Some(named) if named != id => Err(format!("client_id is {id}, but the file's name says {named}")),
        _ => Ok(()),
    }
}

/// A name that is none of those that are read is passed over, and may stand for one of them that was
/// meant.
fn unknown_fields(fields: &Map<String, Value>, known: &[&str]) -> impl Iterator<Item = String> {
    let unknown = fields.keys().filter(|name| !known.contains(&name.as_str()));
    unknown.map(|name| {
        let name: String = name.chars().take(40).collect();
        format!("{name:?} is no field here, and is not read: expected {}", known.join(", "))
    })
}

fn parse_id(value: &Value) -> Result<PeerId, String> {
    match value {
        Value::String(text) => text.parse().map_err(|e: askaround_core::id::InvalidPeerId| e.to_string()),
        Value::Number(number) => {
            number.to_string().parse().map_err(|e: askaround_core::id::InvalidPeerId| e.to_string())
        }
        other => Err(format!("expected a client id, found {}", kind(other))),
    }
}

fn parse_content(list: &Value) -> Result<Vec<Key>, String> {
    let Value::Array(list) = list else {
        return Err(format!("content: expected an array of keys, found {}", kind(list)));
    };
    list.iter().enumerate().map(|(i, key)| parse_key(key).map_err(|e| format!("content[{i}]: {e}"))).collect()
}

fn parse_key(value: &Value) -> Result<Key, String> {
    match value {
        Value::String(text) => Key::new(text).map_err(|e| e.to_string()),
        other => Err(format!("expected a key, found {}", kind(other))),
    }
}

fn parse_action(value: &Value, warnings: &mut Vec<String>) -> Result<(Timestep, Action), String> {
    let Value::Object(fields) = value else {
        return Err(format!("expected an object, found {}", kind(value)));
    };
    let time = match fields.get("time") {
        Some(time) => parse_time(time.as_u64(), &time.to_string())?,
        None => return Err("time is missing".into()),
    };
    let code = match fields.get("code") {
        Some(Value::String(code)) => code.as_str(),
        Some(other) => return Err(format!("code: expected a letter, found {}", kind(other))),
        None => return Err("code is missing".into()),
    };
    let key = || match fields.get("content_id") {
        Some(key) => parse_key(key).map_err(|e| format!("content_id: {e}")),
        None => Err(format!("{code} needs a content_id")),
    };
    let peer = || match (fields.get("client_id"), fields.get("content_id")) {
        (Some(id), _) => parse_id(id).map_err(|e| format!("client_id: {e}")),
        (None, Some(id)) => {
            warnings.push(format!("{code} at time {time} has its client id under content_id"));
            parse_id(id).map_err(|e| format!("content_id: {e}"))
        }
        (None, None) => Err(format!("{code} needs a client_id")),
    };
    let action = Action::of_letter(code, key, peer)?.ok_or_else(|| unknown_code(code))?;
    Ok((time, action))
}

fn parse_line(line: &str) -> Result<(Timestep, Action), String> {
    let mut parts = line.splitn(3, ',').map(str::trim);
    let time = parts.next().unwrap_or_default();
    let time = parse_time(time.parse().ok(), time)?;
    let code = parts.next().ok_or("expected <time>,<label>,<parameters>")?;
    let parameter = parts.next().unwrap_or_default();
    let key = || Key::new(parameter).map_err(|e| format!("{code}: {e}"));
    let peer = || parameter.parse::<PeerId>().map_err(|e| format!("{code}: {e}"));
    let action = Action::of_letter(code, key, peer)?.ok_or_else(|| unknown_code(code))?;
    Ok((time, action))
}

fn parse_time(time: Option<u64>, text: &str) -> Result<Timestep, String> {
    let time = time.and_then(|t| Timestep::try_from(t).ok()).filter(|t| (1..=MAX_TIME).contains(t));
    time.ok_or_else(|| {
        let text: String = text.chars().take(40).collect();
        format!("time: expected a whole number from 1 to {MAX_TIME}, found {text}")
    })
}

fn unknown_code(code: &str) -> String {
    let code: String = code.chars().take(20).collect();
    format!("code: expected one of R U L Q P O M, found {code:?}")
}

fn in_order(
    actions: Vec<(Timestep, Action)>,
    places: Vec<Place>,
    warnings: &mut Vec<String>,
) -> (Vec<(Timestep, Action)>, Vec<Place>) {
    debug_assert_eq!(actions.len(), places.len(), "each action stands somewhere");
    let mut both: Vec<_> = actions.into_iter().zip(places).collect();
    if !both.is_sorted_by_key(|((time, _), _)| *time) {
        warnings.push("the times are out of order; the actions are run by time".into());
        both.sort_by_key(|((time, _), _)| *time);
    }
    both.into_iter().unzip()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &[u8]) -> Result<ScriptFile, ScriptError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("3.json");
        fs::write(&path, text).unwrap();
        read_json(&path)
    }

    #[test]
    fn a_byte_order_mark_and_files_with_nothing_are_no_mistakes() {
        let file =
            json("\u{feff}{\"client_id\": 3, \"actions\": [{\"time\": 1, \"code\": \"L\"}]}".as_bytes());
        assert_eq!(file.unwrap().places, [Place { line: 1, column: 30 }]);
        let folder = tempfile::tempdir().unwrap();
        let (content, script) = (folder.path().join("content"), folder.path().join("script"));
        fs::write(&script, "\u{feff}1,L").unwrap();
        let three = PeerId::new(3).unwrap();
        for empty in ["", "\n", "[]", "\u{feff}"] {
            fs::write(&content, empty).unwrap();
            let file = read_lines(three, &content, &script).unwrap();
            assert_eq!((file.script.content.len(), file.script.actions.len()), (0, 1), "{empty:?}");
        }
        for empty in ["", "\n", "\u{feff}"] {
            fs::write(&script, empty).unwrap();
            let file = read_lines(three, &content, &script).unwrap();
            assert_eq!((file.script.actions.len(), file.places.len()), (0, 0), "{empty:?}");
        }
    }

    #[test]
    fn a_name_that_is_not_read_is_told() {
        for (text, expected) in [
            (
                r#"{"client_id": 3, "action": []}"#,
                "\"action\" is no field here, and is not read: expected client_id, content, actions",
            ),
            (r#"{"client_id": 3, "Actions": []}"#, "\"Actions\" is no field here"),
            (
                r#"{"client_id": 3, "actions": [{"time": 1, "code": "L", "tme": 2}]}"#,
                "actions[0]: \"tme\" is no field here",
            ),
        ] {
            let warnings = json(text.as_bytes()).unwrap().warnings;
            assert!(matches!(&warnings[..], [one] if one.contains(expected)), "{warnings:?}");
        }
    }

    #[test]
    fn reads_what_the_course_writes() {
        let file = json(
            br#"{"client_id": "3", "content": ["3a"], "actions": [
                {"time": 2, "code": "M", "content_id": "7"}, {"time": 1, "code": "Q", "content_id": "4a"},
                {"time": 2, "code": "U", "ip": "127.0.0.1", "port": 8888}, {"time": 2, "code": "O", "client_id": 4}]}"#,
        )
        .unwrap();
        let id = |n| PeerId::new(n).unwrap();
        let actions = vec![
            (1, Action::Obtain(Key::new("4a").unwrap())),
            (2, Action::Contents(id(7))),
            (2, Action::Unregister),
            (2, Action::Known(id(4))),
        ];
        assert_eq!(file.script, Script { id: id(3), content: vec![Key::new("3a").unwrap()], actions });
        let lines: Vec<_> = file.places.iter().map(|place| place.line).collect();
        assert_eq!(lines, [2, 2, 3, 3], "in the order of the actions");
        assert_eq!(file.warnings.len(), 2, "{:?}", file.warnings);
    }

    #[test]
    fn the_documents_lines_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let (content, script) = (folder.path().join("content"), folder.path().join("script"));
        fs::write(&content, "aa\nbb\n").unwrap();
        fs::write(&script, "2,Q,898119abdc27abd\n6,U,127.0.0.1,5001\n7,L,127.0.0.1,5001\n7,O,4\n8,M,7\n")
            .unwrap();
        let file = read_lines(PeerId::new(1).unwrap(), &content, &script).unwrap();
        assert_eq!((file.script.content.len(), file.script.actions.len(), file.script.end()), (2, 5, 8));
        fs::write(&script, "2,Q,a\n3,X,b\n").unwrap();
        let error = read_lines(PeerId::new(1).unwrap(), &content, &script).unwrap_err();
        assert!(error.problem.starts_with("line 2: code: expected one of"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let deep = "[".repeat(100_000);
        for (text, expected) in [
            ("", "is empty"),
            ("{", "not JSON"),
            (&deep, "not JSON: recursion limit"),
            ("[]", "expected an object with client_id"),
            ("{}", "client_id is missing"),
            (r#"{"client_id": 4}"#, "client_id is 4, but the file's name says 3"),
            (r#"{"client_id": 3.5}"#, "client_id: a client id is a whole number"),
            (r#"{"client_id": 3, "content": "a"}"#, "content: expected an array of keys, found a string"),
            (r#"{"client_id": 3, "content": ["a", "b c"]}"#, "content[1]: a key has no white space"),
            (r#"{"client_id": 3, "actions": [{"code": "L"}]}"#, "actions[0]: time is missing"),
            (r#"{"client_id": 3, "actions": [{"time": -1, "code": "L"}]}"#, "actions[0]: time: expected"),
            (r#"{"client_id": 3, "actions": [{"time": 1.5, "code": "L"}]}"#, "found 1.5"),
            (r#"{"client_id": 3, "actions": [{"time": 1e99, "code": "L"}]}"#, "found 1e+99"),
            (r#"{"client_id": 3, "actions": [{"time": 0, "code": "L"}]}"#, "from 1 to 10000, found 0"),
            (r#"{"client_id": 3, "actions": [{"time": 1, "code": "Z"}]}"#, "expected one of R U L Q P O M"),
            (r#"{"client_id": 3, "actions": [{"time": 1, "code": "Q"}]}"#, "Q needs a content_id"),
            (r#"{"client_id": 3, "actions": [{"time": 1, "code": "O"}]}"#, "O needs a client_id"),
            (r#"{"client_id": 3, "actions": [{"time": 1, "time": 2, "code": "L"}]}"#, "\"time\" comes twice"),
        ] {
            let error = json(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("3.json: ") && error.contains(expected), "{error}");
        }
        let huge = format!("{{\"client_id\": 3, \"x\": [{}1]}}", "1,".repeat(5 << 20));
        assert!(json(huge.as_bytes()).unwrap_err().problem.contains("larger than 8 MiB"));
        assert!(json(b"\xff{}").unwrap_err().problem.contains("not UTF-8"));
        assert!(read_json(Path::new("/nowhere/3.json")).unwrap_err().problem.contains("cannot be read"));
    }
}
