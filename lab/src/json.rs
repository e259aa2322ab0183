//! Reads JSON that people write: what is wrong is said in plain words, a name that comes twice in
//! one object is an error, and a byte order mark at the start is no part of it.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeOwned, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// A text without the byte order mark that some editors put at its start.
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// What a text says.
///
/// # Errors
/// Where it is not JSON, or has a name twice, in words.
pub fn value(text: &str) -> Result<Value, String> {
    let text = without_mark(text);
    serde_json::from_str::<NoTwins>(text).map_err(|e| words(&e))?;
    serde_json::from_str(text).map_err(|e| words(&e))
}

/// What a text says, as a `T`.
///
/// # Errors
/// Where it is something else, in words.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(bytes)
        .map_err(|e| format!("not UTF-8 text: bad byte at position {}", e.valid_up_to()))?;
    serde_json::from_str(without_mark(text)).map_err(|e| words(&e))
}

/// An error of the parser in words that need no knowledge of the parser.
fn words(error: &serde_json::Error) -> String {
    const ENDS: [(&str, &str); 4] = [
        ("EOF while parsing a value", "it ends where a value should come"),
        ("EOF while parsing an object", "it ends within an object: a } is missing"),
        ("EOF while parsing a list", "it ends within an array: a ] is missing"),
        ("EOF while parsing a string", "it ends within a string: a \" is missing"),
    ];
    const TYPES: [(&str, &str); 12] = [
        ("expected u64", "expected a whole number"),
        ("expected u32", "expected a whole number"),
        ("expected f64", "expected a number"),
        ("expected a sequence", "expected an array"),
        ("expected a map", "expected an object"),
        ("invalid type: ", "found "),
        ("invalid value: ", "found "),
        ("floating point", "the number"),
        ("integer", "the number"),
        ("sequence", "an array"),
        ("map", "an object"),
        ("missing field", "there is no"),
    ];
    let mut text = error.to_string();
    for (from, to) in ENDS {
        text = text.replace(from, to);
    }
    if error.is_data() {
        for (from, to) in TYPES {
            text = text.replace(from, to);
        }
        text = text.replace("expected struct ", "expected an object ");
    }
    text
}

/// Any JSON in which no object has a name twice.
struct NoTwins;

impl<'de> serde::Deserialize<'de> for NoTwins {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for NoTwins {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self, A::Error> {
        let mut names = BTreeSet::new();
        while let Some(name) = object.next_key::<String>()? {
            if names.contains(&name) {
                return Err(A::Error::custom(format_args!("{name:?} comes twice in one object")));
            }
            names.insert(name);
            object.next_value::<Self>()?;
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use askaround_core::log::LogEntry;

    #[test]
    fn what_is_wrong_is_said_in_plain_words() {
        for (text, expected) in [
            ("{", "it ends within an object: a } is missing at line 1"),
            (r#"{"a":"#, "it ends where a value should come at line 1 column 5"),
            ("[1,", "it ends where a value should come"),
            (r#"["a"#, "it ends within a string"),
            ("{\"a\": 1,\n \"b\": {\"c\": 1, \"c\": 2}}", "\"c\" comes twice in one object at line 2"),
            (r#"{"a" 1}"#, "expected `:`"),
        ] {
            let error = value(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        for (text, expected) in [
            (r#"[{"time": "1", "text": "x"}]"#, r#"found string "1", expected a whole number at line 1"#),
            (r#"[{"time": 1.5, "text": "x"}]"#, "found the number `1.5`, expected a whole number"),
            (r#"[{"time": 1}]"#, "there is no `text`"),
            (r#"{"time": 1, "text": ""}"#, "found an object, expected an array"),
        ] {
            let error = read::<Vec<LogEntry>>(text.as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_text() {
        assert_eq!(value("\u{feff}[1, {\"a\": null}]").unwrap(), serde_json::json!([1, {"a": null}]));
        assert_eq!(read::<Vec<u32>>("\u{feff}[1]".as_bytes()).unwrap(), [1]);
    }
}
