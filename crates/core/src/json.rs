//! JSON text as it is stored: checked once when it comes in, never encoded a second time.

mod canonical;
mod pretty;

use std::fmt;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::{Invalid, bounds::JSON_DEPTH_MAX};

/// One valid JSON value, as its text. Args and outputs pass through stores, APIs and logs unread. Parsing them into a tree at
/// each step would be the largest cost of a small job.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub struct Json(Box<RawValue>);

impl Json {
    /// `null`.
    pub fn null() -> Self {
        Self(RawValue::NULL.to_owned())
    }

    /// Takes JSON text as it came. Fails if it is not exactly one JSON value or is nested too deep.
    pub fn parse(text: impl Into<String>) -> Result<Self, Invalid> {
        let raw = RawValue::from_string(text.into())
            .map_err(|error| Invalid::new("JSON", format!("does not parse: {error}")))?;
        check_depth(raw.get())?;
        Ok(Self(raw))
    }

    /// Encodes a value. Fails if its `Serialize` does, or the result is nested too deep.
    pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Self, Invalid> {
        let raw = serde_json::value::to_raw_value(value)
            .map_err(|error| Invalid::new("value", format!("does not encode as JSON: {error}")))?;
        check_depth(raw.get())?;
        Ok(Self(raw))
    }

    /// Decodes into `T`; the error says where the text did not fit.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, Invalid> {
        serde_json::from_str(self.0.get())
            .map_err(|error| Invalid::new("JSON", format!("does not fit the expected type: {error}")))
    }

    /// Takes text from a store. Its depth was checked when it came in. That it is JSON is checked again: a damaged file must
    /// become an error here, not in a handler.
    pub fn stored(text: String) -> Result<Self, Invalid> {
        RawValue::from_string(text)
            .map(Self)
            .map_err(|error| Invalid::new("stored JSON", format!("does not parse: {error}")))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// How deep arrays and objects are nested in it.
    pub(crate) fn depth(&self) -> usize {
        depth(self.as_str())
    }
}

/// Refuses nesting deeper than [`JSON_DEPTH_MAX`]: what parsers with a recursion limit could not read back.
fn check_depth(text: &str) -> Result<(), Invalid> {
    // Most text has fewer brackets than levels are allowed, wherever they stand, and counting them is quick.
    if text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count() <= JSON_DEPTH_MAX {
        return Ok(());
    }
    let deepest = depth(text);
    if deepest > JSON_DEPTH_MAX {
        let why = format!("is nested {deepest} deep; at most {JSON_DEPTH_MAX} levels are allowed");
        return Err(Invalid::new("JSON", why));
    }
    Ok(())
}

/// How deep arrays and objects are nested.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        check_depth(raw.get()).map_err(serde::de::Error::custom)?;
        Ok(Self(raw))
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Json {}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
