//! Where each action stands in a script's JSON text. `serde_json` tells no positions, so a small
//! scanner walks the text once more. It relies on the text being JSON, which has been checked.

/// Where something begins in a file, both counted from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// Where the elements of the top object's `actions` begin. Where a name stands twice the last one
/// counts, as it does for `serde_json`.
pub(super) fn of_actions(text: &str) -> Vec<Place> {
    let mut scanner = Scanner { text: text.as_bytes(), at: 0 };
    let mut starts = Vec::new();
    scanner.enter(b'{');
    while scanner.has_more(b'}') {
        let name = scanner.string();
        scanner.enter(b':');
        let is_actions = serde_json::from_slice::<String>(name).is_ok_and(|name| name == "actions");
        if is_actions {
            starts = scanner.elements();
        } else {
            scanner.skip_value();
        }
    }
    places(text, &starts)
}

/// The places of increasing offsets.
fn places(text: &str, starts: &[usize]) -> Vec<Place> {
    let mut place = Place { line: 1, column: 1 };
    let mut starts = starts.iter().peekable();
    let mut places = Vec::with_capacity(starts.len());
    for (at, c) in text.char_indices() {
        if starts.next_if(|start| **start == at).is_some() {
            places.push(place);
        }
        place = match c {
            '\n' => Place { line: place.line + 1, column: 1 },
            _ => Place { column: place.column + 1, ..place },
        };
    }
    places
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|b| b.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Passes `mark`, if it is next, and the space around it.
    fn enter(&mut self, mark: u8) -> bool {
        self.skip_space();
        let there = self.peek() == Some(mark);
        self.at += usize::from(there);
        self.skip_space();
        there
    }

    /// Whether another member comes. Passes the comma before it, or the end mark.
    fn has_more(&mut self, end: u8) -> bool {
        self.enter(b',');
        !self.enter(end) && self.peek().is_some()
    }

    /// The string that begins here, quotes included.
    fn string(&mut self) -> &'a [u8] {
        let start = self.at;
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == b'"' {
                break;
            }
        }
        &self.text[start..self.at.min(self.text.len())]
    }

    fn skip_value(&mut self) {
        let mut depth = 0usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.string();
                }
                b',' | b'}' | b']' if depth == 0 => return,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth -= 1;
                    self.at += 1;
                }
                _ => self.at += 1,
            }
        }
    }

    /// Where the elements of the array that begins here begin; none if it is no array.
    fn elements(&mut self) -> Vec<usize> {
        let mut starts = Vec::new();
        if !self.enter(b'[') {
            self.skip_value();
            return starts;
        }
        while self.has_more(b']') {
            starts.push(self.at);
            self.skip_value();
        }
        starts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn lines(text: &str) -> Vec<(usize, usize)> {
        of_actions(text).into_iter().map(|place| (place.line, place.column)).collect()
    }

    #[test]
    fn finds_the_actions_and_nothing_else() {
        let text = r#"{"a": {"actions": [1]}, "b": "\"actions\": [{",
            "actions": [{"x": "]}"},  {"y": [{}]},
  3 ] , "ä": "ä", "c": []}"#;
        assert_eq!(lines(text), [(2, 25), (2, 39), (3, 3)]);
        assert_eq!(lines(r#"{"é":1,"actions":[[]]}"#), [(1, 19)], "columns count characters");
        assert_eq!(
            lines(r#"{"actions": [1], "\u0061ctions": [2, 3]}"#),
            [(1, 35), (1, 38)],
            "the last counts"
        );
        for empty in ["{}", r#"{"actions": []}"#, r#"{"actions": null, "b": 1}"#, r#"{"actions": "[1]"}"#] {
            assert_eq!(lines(empty), [], "{empty}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i32>().prop_map(Value::from),
            "[\"\\\\\\[\\]{},:aé\n]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec(("[\"\\\\{},:a]{0,4}", inner), 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// At each place that is found, the very element begins.
        #[test]
        fn each_place_is_where_the_element_begins(
            actions in proptest::collection::vec(any_json(), 0..5), before in any_json(), after in any_json(),
        ) {
            let value = json!({ "a": before, "actions": actions, "b": after });
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                let places = of_actions(&text);
                prop_assert_eq!(places.len(), actions.len());
                for (place, action) in places.iter().zip(&actions) {
                    let rest: Vec<&str> = text.split('\n').skip(place.line - 1).collect();
                    let rest: String = rest.join("\n").chars().skip(place.column - 1).collect();
                    let first = serde_json::Deserializer::from_str(&rest).into_iter::<Value>().next();
                    prop_assert_eq!(first.unwrap().unwrap(), action.clone());
                }
            }
        }
    }
}
