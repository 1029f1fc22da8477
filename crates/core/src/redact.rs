//! Hides fields of JSON from readers who may not see them.

use std::{fmt, str::FromStr};

use serde_json::Value;

use crate::{Invalid, Json, bounds};

/// What stands in place of a hidden value.
pub const HIDDEN: &str = "(hidden)";
/// Most pointers for one kind.
pub const POINTERS_MAX: usize = 64;
/// Hidden texts that are shorter are not looked for in errors: they stand in too many words.
const TEXT_BYTES_MIN: usize = 3;

/// A JSON pointer (RFC 6901); `*` as a part stands for any name or place.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pointer {
    text: String,
    parts: Vec<String>,
}

impl FromStr for Pointer {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = |why: &str| Invalid::new("JSON pointer", format!("{text:?} {why}"));
        if text.len() > bounds::UNIQUE_KEY_BYTES_MAX {
            return Err(invalid("is too long"));
        }
        let Some(rest) = text.strip_prefix('/') else {
            return Err(invalid("does not begin with a slash, as in /card/number"));
        };
        let part = |part: &str| {
            let is_escaped = part.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
            is_escaped.then(|| part.replace("~1", "/").replace("~0", "~"))
        };
        let parts = rest.split('/').map(part).collect::<Option<Vec<_>>>();
        let parts = parts.ok_or_else(|| invalid("has a ~ that is neither ~0 nor ~1"))?;
        Ok(Self { text: text.to_owned(), parts })
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What is hidden of one job, and the texts that stood there.
#[derive(Debug, Default)]
pub struct Redaction {
    pointers: Vec<Pointer>,
    texts: Vec<String>,
}

impl Redaction {
    /// Hides the values at these pointers.
    pub fn new(pointers: impl IntoIterator<Item = Pointer>) -> Self {
        Self { pointers: pointers.into_iter().collect(), texts: Vec::new() }
    }

    /// Whether it hides nothing.
    pub fn is_empty(&self) -> bool {
        self.pointers.is_empty()
    }

    /// The JSON with its values hidden. What stood there is remembered for [`text`](Self::text). JSON without such values stays as it
    /// is, byte for byte.
    pub fn json(&mut self, json: &Json) -> Json {
        if self.pointers.is_empty() {
            return json.clone();
        }
        let Ok(mut value) = serde_json::from_str::<Value>(json.as_str()) else {
            // It cannot be searched, so all of it is hidden.
            return Json::encode(HIDDEN).unwrap_or_else(|_| Json::null());
        };
        let mut is_changed = false;
        for pointer in &self.pointers {
            is_changed |= hide(&mut value, &pointer.parts, &mut self.texts);
        }
        if !is_changed {
            return json.clone();
        }
        Json::encode(&value).unwrap_or_else(|_| Json::null())
    }

    /// Whether something stands at a pointer that only says that a value was hidden: it was read where it is hidden, and would be stored in
    /// place of the value.
    pub fn is_hidden_already(&self, json: &Json) -> bool {
        if self.pointers.is_empty() || !json.as_str().contains(HIDDEN) {
            return false;
        }
        let Ok(value) = serde_json::from_str::<Value>(json.as_str()) else { return false };
        self.pointers.iter().any(|pointer| is_placeholder(&value, &pointer.parts))
    }

    /// Other JSON about the same job, such as a value of its journal: with its values at the pointers hidden, and every text replaced that
    /// was hidden before.
    pub fn within(&self, json: &Json) -> Json {
        if self.pointers.is_empty() {
            return json.clone();
        }
        let Ok(mut value) = serde_json::from_str::<Value>(json.as_str()) else {
            return Json::encode(HIDDEN).unwrap_or_else(|_| Json::null());
        };
        let mut is_changed = false;
        for pointer in &self.pointers {
            is_changed |= hide(&mut value, &pointer.parts, &mut Vec::new());
        }
        is_changed |= self.blot(&mut value);
        if !is_changed {
            return json.clone();
        }
        Json::encode(&value).unwrap_or_else(|_| Json::null())
    }

    /// Hides the hidden texts wherever they stand. Whether there was one.
    fn blot(&self, value: &mut Value) -> bool {
        match value {
            Value::Null | Value::Bool(_) => false,
            Value::Number(number) => {
                let is_hidden = self.texts.contains(&number.to_string());
                if is_hidden {
                    *value = HIDDEN.into();
                }
                is_hidden
            }
            Value::String(text) => {
                let shown = self.text(text);
                let is_changed = shown != *text;
                *text = shown;
                is_changed
            }
            Value::Array(items) => changes(items.iter_mut().map(|item| self.blot(item))),
            Value::Object(fields) => changes(fields.values_mut().map(|field| self.blot(field))),
        }
    }

    /// A text, such as an error, with every hidden text in it replaced.
    pub fn text(&self, text: &str) -> String {
        let mut shown = text.to_owned();
        for hidden in &self.texts {
            if shown.contains(hidden.as_str()) {
                shown = shown.replace(hidden.as_str(), HIDDEN);
            }
        }
        shown
    }
}

/// Makes all of these changes, and says whether there was one.
fn changes(each: impl Iterator<Item = bool>) -> bool {
    each.fold(false, std::ops::BitOr::bitor)
}

/// Hides what the parts lead to. Whether there was something.
fn hide(value: &mut Value, parts: &[String], texts: &mut Vec<String>) -> bool {
    let Some((part, rest)) = parts.split_first() else {
        if *value == HIDDEN {
            return false;
        }
        remember(value, texts);
        *value = HIDDEN.into();
        return true;
    };
    match value {
        Value::Object(fields) if part == "*" => {
            changes(fields.values_mut().map(|field| hide(field, rest, texts)))
        }
        Value::Array(items) if part == "*" => changes(items.iter_mut().map(|item| hide(item, rest, texts))),
        Value::Object(fields) => fields.get_mut(part).is_some_and(|field| hide(field, rest, texts)),
        Value::Array(items) => {
            let place = part.parse::<usize>().ok();
            place.and_then(|place| items.get_mut(place)).is_some_and(|item| hide(item, rest, texts))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Whether the parts lead to what stands in place of a hidden value.
fn is_placeholder(value: &Value, parts: &[String]) -> bool {
    let Some((part, rest)) = parts.split_first() else { return *value == HIDDEN };
    match value {
        Value::Object(fields) if part == "*" => fields.values().any(|field| is_placeholder(field, rest)),
        Value::Array(items) if part == "*" => items.iter().any(|item| is_placeholder(item, rest)),
        Value::Object(fields) => fields.get(part).is_some_and(|field| is_placeholder(field, rest)),
        Value::Array(items) => {
            let place = part.parse::<usize>().ok();
            place.and_then(|place| items.get(place)).is_some_and(|item| is_placeholder(item, rest))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The texts of a hidden value, the longest first, so that none hides a part of another.
fn remember(value: &Value, texts: &mut Vec<String>) {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Array(items) => return items.iter().for_each(|item| remember(item, texts)),
        Value::Object(fields) => return fields.values().for_each(|field| remember(field, texts)),
        Value::Null | Value::Bool(_) => return,
    };
    if text.len() >= TEXT_BYTES_MIN && !texts.contains(&text) {
        let place = texts.partition_point(|other| other.len() >= text.len());
        texts.insert(place, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redaction(pointers: &[&str]) -> Redaction {
        Redaction::new(pointers.iter().map(|pointer| pointer.parse().expect("a pointer")))
    }

    fn json(text: &str) -> Json {
        Json::parse(text).expect("JSON")
    }

    #[test]
    fn what_was_read_where_it_is_hidden_is_known() {
        let redaction = redaction(&["/card/number", "/people/*/name"]);
        for text in
            [r#"{"card":{"number":"(hidden)"}}"#, r#"{"people":[{"name":"Ada"},{"name":"(hidden)"}]}"#]
        {
            assert!(redaction.is_hidden_already(&json(text)), "{text}");
        }
        for text in [r#"{"card":{"number":"4111"}}"#, r#"{"note":"(hidden)","card":{}}"#, "null"] {
            assert!(!redaction.is_hidden_already(&json(text)), "{text}");
        }
    }

    #[test]
    fn values_are_hidden_and_all_else_stays() {
        for (pointers, text, shown) in [
            (
                vec!["/card/number"],
                r#"{"card":{"number":"4111"},"x":1}"#,
                r#"{"card":{"number":"(hidden)"},"x":1}"#,
            ),
            (
                vec!["/people/*/name"],
                r#"{"people":[{"name":"Ada"},{"name":"Bob"}]}"#,
                r#"{"people":[{"name":"(hidden)"},{"name":"(hidden)"}]}"#,
            ),
            (vec!["/1"], r#"[1,{"a":2}]"#, r#"[1,"(hidden)"]"#),
            (vec!["/a~1b"], r#"{"a/b":1}"#, r#"{"a/b":"(hidden)"}"#),
            (vec!["/*"], r#"{"a":[1]}"#, r#"{"a":"(hidden)"}"#),
            (vec!["/none"], r#"{ "a": 1.0 }"#, r#"{ "a": 1.0 }"#),
            (vec![], r#"{ "a": 1.0 }"#, r#"{ "a": 1.0 }"#),
            (vec!["/a"], "null", "null"),
        ] {
            assert_eq!(redaction(&pointers).json(&json(text)).as_str(), shown, "{pointers:?}");
        }
    }

    #[test]
    fn what_is_hidden_is_hidden_in_errors_too() {
        let mut redaction = redaction(&["/iban", "/pin"]);
        redaction.json(&json(r#"{"iban":"DE02","pin":7}"#));
        assert_eq!(redaction.text("no account DE02, 7 tries"), "no account (hidden), 7 tries");
    }

    #[test]
    fn what_is_hidden_is_hidden_in_other_values_too() {
        let mut redaction = redaction(&["/iban", "/pin"]);
        redaction.json(&json(r#"{"iban":"DE02","pin":4711}"#));
        for (text, shown) in [
            (r#"{"to":["DE02 at once",4711,true]}"#, r#"{"to":["(hidden) at once","(hidden)",true]}"#),
            (r#"{"iban":"DE99"}"#, r#"{"iban":"(hidden)"}"#),
            (r#"{ "to": 1.0 }"#, r#"{ "to": 1.0 }"#),
        ] {
            assert_eq!(redaction.within(&json(text)).as_str(), shown);
        }
    }

    #[test]
    fn pointers_have_the_form_of_the_standard() {
        for wrong in ["", "card", "/a~2", "/a~"] {
            assert!(wrong.parse::<Pointer>().is_err(), "{wrong}");
        }
    }
}
