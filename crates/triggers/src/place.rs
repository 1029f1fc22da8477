//! Values of a delivery by name: what templates, filters and pointers of a mapping refer to.
//!
//! | name | value |
//! |---|---|
//! | `body` | the whole body |
//! | `body/user/id` | the value at this JSON pointer (RFC 6901) of the body; `null` if there is none |
//! | `header.NAME` | a header; `null` if there is none |
//! | `identity` | what makes the delivery the same when it comes again |
//! | `key` | what it is in order with, at its source; `null` if there is nothing |
//! | `at` | when it happened, by the clock of the source, as `2026-12-24T01:00:00Z`; `null` if it does not say |
//! | `trigger` | the name of the trigger |

use std::{borrow::Cow, cell::OnceCell, collections::BTreeMap, fmt};

use backroom::{Invalid, Json};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::value::RawValue;

use crate::{BodyFormat, Delivery};

/// A value of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// The value at a JSON pointer of the body; empty for the whole.
    Body(String),
    Header(String),
    Identity,
    Key,
    At,
    Trigger,
}

impl Place {
    /// Reads a name. Fails with the remedy.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.contains('|') {
            return Err("has a form behind `|`, which no place of a delivery has; remove it".into());
        }
        if text == "body" || text.starts_with("body/") {
            let pointer = text.trim_start_matches("body");
            return check_pointer(pointer).map(|()| Self::Body(pointer.into()));
        }
        if let Some(name) = text.strip_prefix("header.") {
            return match name.trim() {
                "" => Err("names no header; write header.NAME".into()),
                name => Ok(Self::Header(name.to_ascii_lowercase())),
            };
        }
        match text {
            "identity" => Ok(Self::Identity),
            "key" => Ok(Self::Key),
            "at" => Ok(Self::At),
            "trigger" => Ok(Self::Trigger),
            _ => {
                Err("names nothing; there are body, body/POINTER, header.NAME, identity, key, at and trigger"
                    .into())
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(pointer) => write!(f, "body{pointer}"),
            Self::Header(name) => write!(f, "header.{name}"),
            Self::Identity => f.write_str("identity"),
            Self::Key => f.write_str("key"),
            Self::At => f.write_str("at"),
            Self::Trigger => f.write_str("trigger"),
        }
    }
}

/// Refuses what is no JSON pointer.
pub(crate) fn check_pointer(pointer: &str) -> Result<(), String> {
    if !pointer.is_empty() && !pointer.starts_with('/') {
        return Err(format!("has the JSON pointer {pointer:?}, which does not begin with `/`"));
    }
    let mut rest = pointer;
    while let Some(at) = rest.find('~') {
        rest = &rest[at + 1..];
        if !rest.starts_with(['0', '1']) {
            return Err(format!(
                "has the JSON pointer {pointer:?}; write `~0` for `~` and `~1` for `/` inside a name"
            ));
        }
    }
    Ok(())
}

/// A delivery with its body read once.
pub(crate) struct Values<'a> {
    delivery: &'a Delivery,
    trigger: &'a str,
    format: BodyFormat,
    body: OnceCell<Result<Json, Invalid>>,
}

impl<'a> Values<'a> {
    pub(crate) fn new(delivery: &'a Delivery, trigger: &'a str, format: BodyFormat) -> Self {
        Self { delivery, trigger, format, body: OnceCell::new() }
    }

    /// The body as JSON. Fails if it is not of its format.
    pub(crate) fn body(&self) -> Result<&Json, Invalid> {
        self.body.get_or_init(|| body(&self.delivery.body, self.format)).as_ref().map_err(Clone::clone)
    }

    /// A value as JSON text; `null` if there is none.
    pub(crate) fn json(&self, place: &Place) -> Result<Cow<'_, str>, Invalid> {
        let text = |text: &str| Cow::Owned(serde_json::Value::from(text).to_string());
        let or_null = |found: Option<&str>| found.map_or(Cow::Borrowed("null"), text);
        Ok(match place {
            Place::Body(pointer) => Cow::Borrowed(at(self.body()?.as_str(), pointer).unwrap_or("null")),
            Place::Header(name) => or_null(self.delivery.header_value(name)),
            Place::Identity => text(&self.delivery.identity),
            Place::Key => or_null(self.delivery.order_key.as_deref()),
            Place::At => or_null(self.delivery.at.map(|at| at.to_string()).as_deref()),
            Place::Trigger => text(self.trigger),
        })
    }

    /// A value as text: a string without its quotes, anything else as JSON. None for `null`.
    pub(crate) fn text(&self, place: &Place) -> Result<Option<String>, Invalid> {
        let json = self.json(place)?;
        if json == "null" {
            return Ok(None);
        }
        Ok(Some(serde_json::from_str::<String>(&json).unwrap_or_else(|_| json.into_owned())))
    }
}

fn body(bytes: &[u8], format: BodyFormat) -> Result<Json, Invalid> {
    let utf8 = || {
        // Some programs of Windows begin each text with this mark.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        std::str::from_utf8(bytes).map_err(|error| {
            let why = format!(
                "is no UTF-8 text at byte {}; send UTF-8, or set body to base64",
                error.valid_up_to()
            );
            Invalid::new("body", why)
        })
    };
    match format {
        BodyFormat::Json => {
            let text = utf8()?.trim();
            if text.is_empty() {
                return Err(Invalid::new(
                    "body",
                    "is empty, which is no JSON; for other content set body to text",
                ));
            }
            Json::parse(text).map_err(|invalid| {
                Invalid::new(
                    "body",
                    format!("is no JSON: {}; for other content set body to text", invalid.why),
                )
            })
        }
        BodyFormat::Text => Json::encode(utf8()?),
        BodyFormat::Base64 => Json::encode(&STANDARD.encode(bytes)),
    }
}

/// The JSON text at a pointer of JSON text.
pub(crate) fn at<'a>(json: &'a str, pointer: &str) -> Option<&'a str> {
    let mut found: &'a RawValue = serde_json::from_str(json).ok()?;
    for part in pointer.split('/').skip(1) {
        let name = part.replace("~1", "/").replace("~0", "~");
        found = match found.get().as_bytes().first()? {
            b'{' => serde_json::from_str::<BTreeMap<String, &RawValue>>(found.get()).ok()?.remove(&name)?,
            b'[' => {
                let is_index =
                    name == "0" || !name.starts_with('0') && name.bytes().all(|b| b.is_ascii_digit());
                let index = is_index.then(|| name.parse::<usize>().ok()).flatten()?;
                serde_json::from_str::<Vec<&RawValue>>(found.get()).ok()?.get(index).copied()?
            }
            _ => return None,
        };
    }
    Some(found.get())
}

/// A condition of a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    place: Place,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Exists,
    Missing,
    Equals(String),
    Differs(String),
    Begins(String),
}

impl Condition {
    /// Reads `PLACE == text`, `PLACE != text`, `PLACE == begin*`, `PLACE exists` or `PLACE missing`.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let unquoted = |value: &str| {
            let value = value.trim();
            let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            inner.unwrap_or(value).to_owned()
        };
        let (place, test) = if let Some((place, value)) = text.split_once("!=") {
            (place, Test::Differs(unquoted(value)))
        } else if let Some((place, value)) = text.split_once("==") {
            let value = unquoted(value);
            let begin = value.strip_suffix('*').map(str::to_owned);
            (place, begin.map_or(Test::Equals(value), Test::Begins))
        } else if let Some(place) = text.trim().strip_suffix(" exists") {
            (place, Test::Exists)
        } else if let Some(place) = text.trim().strip_suffix(" missing") {
            (place, Test::Missing)
        } else {
            return Err(format!(
                "{text:?} is no condition; write one such as `header.x-event == push`, `body/action != closed`, \
                 `header.subject == orders.*`, `body/id exists` or `body/id missing`"
            ));
        };
        let place = Place::read(place).map_err(|why| format!("{text:?} {why}"))?;
        Ok(Self { place, test })
    }

    /// Whether it holds. Fails if it asks for the body, and that is not of its format.
    pub(crate) fn holds(&self, values: &Values<'_>) -> Result<bool, Invalid> {
        let found = values.text(&self.place)?;
        Ok(match &self.test {
            Test::Exists => found.is_some(),
            Test::Missing => found.is_none(),
            Test::Equals(wanted) => found.as_ref() == Some(wanted),
            Test::Differs(wanted) => found.as_ref() != Some(wanted),
            Test::Begins(begin) => found.is_some_and(|found| found.starts_with(begin.as_str())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_finds_values_as_they_were_written() {
        let json = r#"{"a":{"b":[1,1.50,{"c/d":null}],"~":"x"},"":7, "n":12345678901234567890123}"#;
        for (pointer, found) in [
            ("", Some(json)),
            ("/a/b/1", Some("1.50")),
            ("/a/b/2/c~1d", Some("null")),
            ("/a/~0", Some("\"x\"")),
            ("/", Some("7")),
            ("/n", Some("12345678901234567890123")),
            ("/a/b/3", None),
            ("/a/b/01", None),
            ("/a/b/-", None),
            ("/n/x", None),
            ("/missing", None),
        ] {
            assert_eq!(at(json, pointer), found, "{pointer}");
        }
        for wrong in ["a", "/a~", "/a~2"] {
            assert!(check_pointer(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn bodies_in_other_encodings_are_refused_with_the_place() {
        let of = |bytes: &[u8]| body(bytes, BodyFormat::Json).map_err(|invalid| invalid.to_string());
        assert_eq!(of(b"\xef\xbb\xbf {\"a\":1}\n").unwrap().as_str(), "{\"a\":1}");
        assert!(of(b"{\"a\":\"\xe4\"}").unwrap_err().contains("byte 6"));
        assert!(of(b"\xff\xfe{\0").unwrap_err().contains("byte 0"));
        assert!(of(b" ").unwrap_err().contains("empty"));
        assert!(of(b"{\"a\":1} x").unwrap_err().contains("no JSON"));
        assert_eq!(body(b"a\"b", BodyFormat::Text).unwrap().as_str(), r#""a\"b""#);
        assert_eq!(body(b"\xff\0", BodyFormat::Base64).unwrap().as_str(), r#""/wA=""#);
    }

    #[test]
    fn conditions_compare_headers_and_values_of_the_body() {
        let delivery = Delivery::new("1", br#"{"action":"opened","n":3,"none":null}"#.as_slice())
            .header("X-Event", "push");
        let values = Values::new(&delivery, "t", BodyFormat::Json);
        for (text, holds) in [
            ("header.x-event == push", true),
            ("header.X-Event == \"push\"", true),
            ("header.x-event == pu*", true),
            ("header.x-event != push", false),
            ("header.other != push", true),
            ("header.other missing", true),
            ("body/action == opened", true),
            ("body/n == 3", true),
            ("body/none exists", false),
            ("body/action exists", true),
            ("trigger == t", true),
        ] {
            assert_eq!(Condition::read(text).unwrap().holds(&values), Ok(holds), "{text}");
        }
        for wrong in ["", "header.x-event", "subject == a", "header. == a", "body/a~ exists"] {
            assert!(Condition::read(wrong).is_err(), "{wrong}");
        }
        let broken = Delivery::new("1", b"{".as_slice());
        let values = Values::new(&broken, "t", BodyFormat::Json);
        assert!(Condition::read("body/a exists").unwrap().holds(&values).is_err());
    }
}
