//! The kinds of values that settings have: how each is read from text or TOML, and shown.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::terminal::parse::span;

/// A value as it was given, before it is read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Raw {
    /// A string of TOML, a variable, or a flag.
    Text(String),
    /// A number of TOML.
    Integer(i64),
    /// A boolean of TOML.
    Boolean(bool),
    /// An array of TOML, or a flag that was given several times.
    List(Vec<Raw>),
    /// A number with a fraction of TOML.
    Fraction(f64),
    /// A table of TOML, in the order of the file.
    Table(Vec<(String, Raw)>),
}

/// A kind of value.
pub(super) trait Value: Sized {
    /// What it may be, as the end of "write …".
    fn expected() -> &'static str;

    /// Whether it takes several values.
    fn is_list() -> bool {
        false
    }

    /// Reads it from text. Fails with what is wrong, as the end of "the value …".
    fn parse(text: &str) -> Result<Self, String>;

    /// Reads it as it was given.
    fn read(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::Text(text) => Self::parse(text.trim()),
            other => Err(format!("is {}; write {}", other.sort(), Self::expected())),
        }
    }

    /// The text that is read as this value.
    fn text(&self) -> String;
}

impl Raw {
    pub(super) fn sort(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "a number",
            Self::Boolean(_) => "a boolean",
            Self::List(_) => "an array",
            Self::Fraction(_) => "a number with a fraction",
            Self::Table(_) => "a table",
        }
    }
}

impl Raw {
    /// The same as JSON. Within it a string is a string.
    fn json(&self) -> Result<serde_json::Value, String> {
        Ok(match self {
            Self::Text(text) => text.as_str().into(),
            Self::Integer(number) => (*number).into(),
            Self::Boolean(value) => (*value).into(),
            Self::List(items) => items.iter().map(Self::json).collect::<Result<Vec<_>, _>>()?.into(),
            Self::Fraction(number) => match serde_json::Number::from_f64(*number) {
                Some(number) => number.into(),
                None => return Err(format!("has {number}, which JSON cannot hold")),
            },
            Self::Table(pairs) => {
                let pair = |(name, value): &(String, Self)| Ok((name.clone(), value.json()?));
                serde_json::Value::Object(pairs.iter().map(pair).collect::<Result<_, String>>()?)
            }
        })
    }
}

impl Value for String {
    fn expected() -> &'static str {
        "a string"
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("is empty".into());
        }
        Ok(text.into())
    }

    fn text(&self) -> String {
        self.clone()
    }
}

impl Value for bool {
    fn expected() -> &'static str {
        "true or false"
    }

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("is neither true nor false; write {}", Self::expected()))
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::Boolean(value) => Ok(*value),
            Raw::Text(text) => Self::parse(text.trim()),
            other => Err(format!("is {}; write {}", other.sort(), Self::expected())),
        }
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

/// A count: at least one.
impl Value for u64 {
    fn expected() -> &'static str {
        "a whole number from 1 up, such as 100"
    }

    fn parse(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(0) | Err(_) => Err(format!("is not valid; write {}", <Self as Value>::expected())),
            Ok(count) => Ok(count),
        }
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::Integer(number) => Self::parse(&number.to_string()),
            Raw::Text(text) => Self::parse(text.trim()),
            other => Err(format!("is {}; write {}", other.sort(), <Self as Value>::expected())),
        }
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl Value for Duration {
    fn expected() -> &'static str {
        "a time with its unit, such as \"30s\" or \"5m\""
    }

    fn parse(text: &str) -> Result<Self, String> {
        let read = span(text)?;
        if read.is_zero() {
            return Err(format!("is zero; write {}", Self::expected()));
        }
        Ok(read)
    }

    fn text(&self) -> String {
        let (secs, millis) = (self.as_secs(), self.subsec_millis());
        match (secs, millis) {
            (0, millis) => format!("{millis}ms"),
            (secs, 0) => format!("{secs}s"),
            (secs, millis) => format!("{secs}s{millis}ms"),
        }
    }
}

/// A time that may be zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Wait(pub(crate) Duration);

impl Value for Wait {
    fn expected() -> &'static str {
        "a time with its unit, such as \"5s\", or \"0s\""
    }

    fn parse(text: &str) -> Result<Self, String> {
        span(text).map(Self)
    }

    fn text(&self) -> String {
        if self.0.is_zero() { "0s".into() } else { self.0.text() }
    }
}

/// A part of a whole: 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Ratio(pub(crate) f64);

impl Value for Ratio {
    fn expected() -> &'static str {
        "a number from 0 to 1, such as \"0.1\""
    }

    fn parse(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(Self(ratio)),
            Ok(_) | Err(_) => Err(format!("is not valid; write {}", Self::expected())),
        }
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::Integer(number) => Self::parse(&number.to_string()),
            Raw::Text(text) => Self::parse(text.trim()),
            other => Err(format!("is {}; write {}", other.sort(), Self::expected())),
        }
    }

    fn text(&self) -> String {
        self.0.to_string()
    }
}

/// A secret. It is not shown, and no error repeats it.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Secret(pub(crate) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Value for Secret {
    fn expected() -> &'static str {
        "a secret"
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("is empty".into()) } else { Ok(Self(text.into())) }
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// A size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Bytes(pub(crate) u64);

impl Bytes {
    /// The same for what counts in memory.
    pub(crate) fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// Units of a size, the largest first.
const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl Value for Bytes {
    fn expected() -> &'static str {
        "a size with its unit (B, KiB, MiB or GiB), such as \"16MiB\""
    }

    fn parse(text: &str) -> Result<Self, String> {
        let refused = || format!("is no size; write {}", Self::expected());
        let unit = UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, bytes)));
        let (number, bytes) = unit.ok_or_else(refused)?;
        let number: u64 = number.trim().parse().map_err(|_| refused())?;
        match number.checked_mul(*bytes) {
            None | Some(0) => Err(refused()),
            Some(bytes) => Ok(Self(bytes)),
        }
    }

    fn text(&self) -> String {
        let (unit, bytes) =
            UNITS.into_iter().find(|(_, bytes)| self.0.is_multiple_of(*bytes)).unwrap_or(("B", 1));
        format!("{}{unit}", self.0 / bytes)
    }
}

impl Value for SocketAddr {
    fn expected() -> &'static str {
        "an address with its port, such as \"127.0.0.1:8080\" or \"[::1]:8080\""
    }

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("{text:?} is no address; write {}", Self::expected()))
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl Value for PathBuf {
    fn expected() -> &'static str {
        "the path of a file or folder"
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("is empty".into()) } else { Ok(text.into()) }
    }

    fn text(&self) -> String {
        self.display().to_string()
    }
}

/// A value that may be left out; as text, an empty string.
impl<T: Value> Value for Option<T> {
    fn expected() -> &'static str {
        T::expected()
    }

    fn is_list() -> bool {
        T::is_list()
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(None) } else { T::parse(text).map(Some) }
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::Text(text) if text.is_empty() => Ok(None),
            raw => T::read(raw).map(Some),
        }
    }

    fn text(&self) -> String {
        self.as_ref().map(T::text).unwrap_or_default()
    }
}

/// Names with a text for each: a table of TOML whose values are strings, or text such as `A=1,B=2`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Pairs(pub(crate) Vec<(String, String)>);

impl Value for Pairs {
    fn expected() -> &'static str {
        "a table of strings, such as { LEVEL = \"info\" }"
    }

    fn parse(text: &str) -> Result<Self, String> {
        let pair = |part: &str| match part.split_once('=') {
            Some((name, value)) => Ok((name.trim().to_owned(), value.to_owned())),
            None => Err(format!("has {part:?} without `=`; write {}", Self::expected())),
        };
        let parts = text.split(',').filter(|part| !part.trim().is_empty());
        parts.map(pair).collect::<Result<_, _>>().map(Self)
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        let pair = |(name, value): &(String, Raw)| match value {
            Raw::Text(value) => Ok((name.clone(), value.clone())),
            other => Err(format!("has {} as `{name}`; write {}", other.sort(), Self::expected())),
        };
        match raw {
            Raw::Table(pairs) => pairs.iter().map(pair).collect::<Result<_, _>>().map(Self),
            Raw::Text(text) => Self::parse(text),
            other => Err(format!("is {}; write {}", other.sort(), Self::expected())),
        }
    }

    fn text(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
    }
}

/// Any JSON: a value of TOML, or a string that holds JSON.
impl Value for serde_json::Value {
    fn expected() -> &'static str {
        "a table or an array, or JSON in a string"
    }

    fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text)
            .map_err(|error| format!("is no JSON ({error}); write {}", Self::expected()))
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::Text(text) => Self::parse(text),
            other => other.json(),
        }
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

/// Several values: an array of TOML, or text with commas between.
impl<T: Value> Value for Vec<T> {
    fn expected() -> &'static str {
        T::expected()
    }

    fn is_list() -> bool {
        true
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::new());
        }
        text.split(',').map(|part| T::parse(part.trim())).collect()
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::List(items) => items.iter().map(T::read).collect(),
            Raw::Text(text) => Self::parse(text.trim()),
            one => Ok(vec![T::read(one)?]),
        }
    }

    fn text(&self) -> String {
        self.iter().map(Value::text).collect::<Vec<_>>().join(",")
    }
}

/// A number from 0 to 9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Priority(pub(crate) u8);

impl Value for Priority {
    fn expected() -> &'static str {
        "a number from 0 (first) to 9 (last)"
    }

    fn parse(text: &str) -> Result<Self, String> {
        let priority = text.parse().ok().filter(|priority| *priority <= 9);
        priority.map(Self).ok_or_else(|| format!("is {text:?}; write {}", Self::expected()))
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::Integer(number) => Self::parse(&number.to_string()),
            Raw::Text(text) => Self::parse(text.trim()),
            other => Err(format!("is {}; write {}", other.sort(), Self::expected())),
        }
    }

    fn text(&self) -> String {
        self.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_need_a_unit_and_are_shown_with_the_largest_that_fits() {
        for (text, bytes) in [("1B", 1), ("16MiB", 16 << 20), ("2 KiB", 2048), ("1GiB", 1 << 30)] {
            assert_eq!(Bytes::parse(text), Ok(Bytes(bytes)));
        }
        for text in ["", "1", "MiB", "1.5MiB", "-1B", "0B", "99999999999GiB", "1MB"] {
            assert!(Bytes::parse(text).is_err(), "{text}");
        }
        assert_eq!(Bytes(16 << 20).text(), "16MiB");
        assert_eq!(Bytes(1000).text(), "1000B");
    }

    #[test]
    fn json_is_read_from_toml_and_from_text() {
        let table = Raw::Table(vec![
            ("to".into(), Raw::Text("ada".into())),
            ("many".into(), Raw::List(vec![Raw::Integer(1), Raw::Fraction(0.5), Raw::Boolean(true)])),
        ]);
        let read = Option::<serde_json::Value>::read(&table).expect("a table").expect("a value");
        assert_eq!(read.to_string(), r#"{"many":[1,0.5,true],"to":"ada"}"#);
        assert_eq!(serde_json::Value::read(&Raw::Text(read.to_string())), Ok(read));
        assert!(serde_json::Value::read(&Raw::Fraction(f64::NAN)).is_err());
        assert!(serde_json::Value::read(&Raw::Text("{".into())).is_err());
        assert_eq!(Option::<serde_json::Value>::read(&Raw::Text(String::new())), Ok(None));
    }

    #[test]
    fn pairs_are_read_from_a_table_and_from_text() {
        let pairs = Pairs(vec![("A".into(), "1".into()), ("B".into(), "x=y".into())]);
        let table =
            Raw::Table(vec![("A".into(), Raw::Text("1".into())), ("B".into(), Raw::Text("x=y".into()))]);
        assert_eq!(Pairs::read(&table), Ok(pairs.clone()));
        assert_eq!(Pairs::parse(&pairs.text()), Ok(pairs));
        assert!(Pairs::read(&Raw::Table(vec![("A".into(), Raw::Integer(1))])).is_err());
        assert!(Pairs::parse("A").is_err());
    }

    #[test]
    fn every_value_is_read_from_the_text_that_it_shows() {
        for text in ["30s", "1s250ms", "250ms"] {
            assert_eq!(Duration::parse(text).expect(text).text(), text);
        }
        assert!(Duration::parse("30").is_err(), "a time without a unit");
        let addresses = Vec::<SocketAddr>::parse("127.0.0.1:80, [::1]:80").expect("addresses");
        assert_eq!(addresses.text(), "127.0.0.1:80,[::1]:80");
        assert!(<u64 as Value>::parse("0").is_err());
    }
}
