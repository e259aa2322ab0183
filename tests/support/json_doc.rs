//! docs/json.md, read: which lines there are, and what each of their fields is.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde_json::Value;

/// Of each kind of line or object its fields, and what the page says each of them is.
pub(crate) struct JsonDoc {
    kinds: BTreeMap<String, BTreeMap<String, String>>,
    /// What was seen of them: `kind.field`, also with ` null` or ` absent`.
    seen: RefCell<BTreeSet<String>>,
}

const RESULT: &str = "Results";
const ERROR: &str = "The error";

impl JsonDoc {
    pub(crate) fn read() -> Self {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/json.md")).unwrap();
        let (mut kinds, mut kind) = (BTreeMap::<String, BTreeMap<_, _>>::new(), String::new());
        for line in page.lines() {
            if let Some(title) = line.strip_prefix("## ").or_else(|| line.strip_prefix("### ")) {
                kind = title.replace('`', "");
            }
            let cells: Vec<_> = line.trim_matches(['|', ' ']).split(" | ").collect();
            let field = cells[0].trim_matches('`');
            if line.starts_with("| `") || field == "all of" {
                let twice = kinds.entry(kind.clone()).or_default().insert(field.into(), cells[1].into());
                assert_eq!(twice, None, "{kind} has {field} twice");
            }
        }
        assert!(kinds.len() > 15, "{kinds:?}");
        Self { kinds, seen: RefCell::default() }
    }

    /// Everything that the page says there is.
    fn documented(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for (kind, fields) in &self.kinds {
            for (field, what) in fields {
                all.insert(format!("{kind}.{field}"));
                let maybe = what.split(" or ").filter(|what| matches!(*what, "null" | "absent"));
                all.extend(maybe.map(|maybe| format!("{kind}.{field} {maybe}")));
            }
        }
        all
    }

    /// A line is as the page says; what it is: `event`, `result` or `error`.
    pub(crate) fn check(&self, line: &Value) -> &'static str {
        if let Some(event) = line.get("event") {
            let mut fields = line.as_object().unwrap().clone();
            fields.remove("event");
            self.object(&format!("Event {}", event.as_str().unwrap()), &fields.into());
            return "event";
        }
        if line.get("error").is_some() {
            self.object(ERROR, line);
            return "error";
        }
        let (field, value) = line.as_object().and_then(|fields| fields.iter().next()).unwrap();
        assert_eq!(line.as_object().unwrap().len(), 1, "{line}");
        let what = self.kinds[RESULT].get(field).unwrap_or_else(|| panic!("no result is {line}"));
        self.saw(RESULT, field, "");
        assert!(self.fits(what, value), "{field} is no {what}: {line}");
        "result"
    }

    fn object(&self, kind: &str, value: &Value) {
        let fields = self.kinds.get(kind).unwrap_or_else(|| panic!("docs/json.md has no {kind:?}: {value}"));
        let there = value.as_object().unwrap_or_else(|| panic!("{kind} is no object: {value}"));
        if let Some(other) = fields.get("all of") {
            self.saw(kind, "all of", "");
            assert!(self.fits(other, value), "{kind}: {value}");
            return;
        }
        for (field, what) in fields {
            let Some(value) = there.get(field) else {
                assert!(what.contains("absent"), "{kind} has no {field}: {value}");
                self.saw(kind, field, " absent");
                continue;
            };
            self.saw(kind, field, if value.is_null() { " null" } else { "" });
            assert!(self.fits(what, value), "{kind}: {field} is no {what}: {value}");
        }
        for field in there.keys() {
            assert!(fields.contains_key(field), "docs/json.md says nothing of {field:?} in {kind}: {value}");
        }
    }

    fn saw(&self, kind: &str, field: &str, how: &str) {
        self.seen.borrow_mut().insert(format!("{kind}.{field}{how}"));
    }

    fn fits(&self, what: &str, value: &Value) -> bool {
        what.split(" or ").any(|what| match (what, value) {
            ("null", value) => value.is_null(),
            ("absent", _) => false,
            ("number", value) => value.is_number(),
            ("boolean", value) => value.is_boolean(),
            ("text", value) => value.is_string(),
            ("key", value) => value.as_str().is_some_and(|key| !key.is_empty()),
            ("address", value) => value.as_str().is_some_and(|addr| addr.parse::<SocketAddr>().is_ok()),
            ("contact", Value::Array(parts)) => {
                matches!(&parts[..], [Value::Number(_), Value::String(_), Value::Number(_)])
            }
            (list, Value::Array(values)) if list.starts_with("list of ") => {
                values.iter().all(|value| self.fits(&list["list of ".len()..], value))
            }
            (link, Value::Object(_)) if link.starts_with('[') => {
                let name = link[1..].split(']').next().unwrap();
                assert_eq!(link, format!("[{name}](#{name})"));
                self.object(name, value);
                true
            }
            _ => false,
        })
    }

    /// Everything that the page says there is was among what was checked.
    pub(crate) fn assert_all_seen(&self) {
        let never: Vec<_> = self.documented().difference(&self.seen.borrow()).cloned().collect();
        assert!(never.is_empty(), "docs/json.md has what is never printed: {never:?}");
    }
}
