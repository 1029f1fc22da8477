//! Args with places that are filled in for each occurrence.
//!
//! A place stands inside a JSON string, as `{{nominal}}`, and may have a form: `{{nominal | date}}`. A string that is nothing but
//! one place becomes the value itself: a number for a number, `null` for a success that there never was. `{{{{` stands for `{{`.
//!
//! | name | value | forms |
//! |---|---|---|
//! | `nominal` | the time of the occurrence by the timetable | those of a time |
//! | `last_success` | the nominal time of the last run that completed; `null` before the first | those of a time |
//! | `run_number` | 1 for the first run | |
//! | `schedule` | the name of the schedule | |
//! | `zone` | the zone of the schedule | |
//!
//! A time is written in UTC, as `2026-12-24T01:00:00Z`. Its forms are `local` (in the zone, with the offset), `date` (in the
//! zone, `2026-12-24`), `unix` and `unix_ms` (numbers).

use std::ops::Range;

use jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;

use super::Mistake;
use crate::{Invalid, Json};

/// Args that were read for their places. Only strings with a place are replaced; everything else is passed on byte for
/// byte, so that a number keeps all its digits.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    text: Json,
    /// The strings with a place, in order, by where their JSON stands.
    strings: Vec<(Range<usize>, Vec<Piece>)>,
}

/// What the places are filled with.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// The name of the schedule.
    pub schedule: &'a str,
    /// Its zone.
    pub zone: &'a TimeZone,
    /// The time of the occurrence.
    pub nominal: Timestamp,
    /// The nominal time of the last run that completed.
    pub last_success: Option<Timestamp>,
    /// 1 for the first run.
    pub run_number: u64,
}

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Plain(String),
    Place(Name, Form),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Nominal,
    LastSuccess,
    RunNumber,
    Schedule,
    Zone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    Local,
    Date,
    Unix,
    UnixMs,
}

impl Template {
    /// Finds the places. The error names the string that is wrong, and the place in it.
    pub fn parse(args: &Json) -> Result<Self, Invalid> {
        let text = args.as_str();
        let mut strings = Vec::new();
        for range in string_values(text) {
            let string: String =
                text.get(range.clone()).map_or(Ok(String::new()), serde_json::from_str).map_err(|error| {
                    Invalid::new(
                        "args template",
                        format!("has a string at byte {} that does not decode: {error}", range.start),
                    )
                })?;
            if !string.contains("{{") {
                continue;
            }
            let pieces = pieces(&string).map_err(|mistake| {
                Invalid::new("args template", format!("at byte {} of the args {mistake}", range.start))
            })?;
            strings.push((range, pieces));
        }
        Ok(Self { text: args.clone(), strings })
    }

    /// The args of one occurrence.
    pub fn fill(&self, values: &Values<'_>) -> Result<Json, Invalid> {
        if self.strings.is_empty() {
            return Ok(self.text.clone());
        }
        let mut rest = self.text.as_str();
        let mut begin = 0;
        let mut filled = String::with_capacity(rest.len() + 64);
        for (range, pieces) in &self.strings {
            let (before, after) = rest.split_at(range.start - begin);
            filled.push_str(before);
            let value = match pieces.as_slice() {
                [Piece::Place(name, form)] => values.value(*name, *form),
                pieces => Value::String(pieces.iter().map(|piece| piece.text(values)).collect()),
            };
            filled.push_str(&value.to_string());
            rest = after.get(range.len()..).unwrap_or("");
            begin = range.end;
        }
        filled.push_str(rest);
        Json::parse(filled)
    }
}

impl Piece {
    fn text(&self, values: &Values<'_>) -> String {
        match self {
            Self::Plain(text) => text.clone(),
            Self::Place(name, form) => match values.value(*name, *form) {
                Value::String(text) => text,
                other => other.to_string(),
            },
        }
    }
}

/// Where the strings of JSON text stand, quotes included, without the names of fields.
fn string_values(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut strings = Vec::new();
    let mut at = 0;
    while let Some(begin) = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'"')) {
        let begin = at + begin;
        let mut end = begin + 1;
        while let Some(byte) = bytes.get(end).filter(|byte| **byte != b'"') {
            end += if *byte == b'\\' { 2 } else { 1 };
        }
        end = (end + 1).min(bytes.len());
        let follows = bytes.get(end..).and_then(|rest| rest.iter().find(|byte| !byte.is_ascii_whitespace()));
        if follows != Some(&b':') {
            strings.push(begin..end);
        }
        at = end;
    }
    strings
}

impl Values<'_> {
    fn value(&self, name: Name, form: Form) -> Value {
        match name {
            Name::Nominal => self.time(self.nominal, form),
            Name::LastSuccess => self.last_success.map_or(Value::Null, |at| self.time(at, form)),
            Name::RunNumber => self.run_number.into(),
            Name::Schedule => self.schedule.into(),
            Name::Zone => self.zone.iana_name().unwrap_or("UTC").into(),
        }
    }

    fn time(&self, at: Timestamp, form: Form) -> Value {
        match form {
            Form::Plain => at.to_string().into(),
            Form::Local => at.display_with_offset(self.zone.to_offset(at)).to_string().into(),
            Form::Date => self.zone.to_datetime(at).date().to_string().into(),
            Form::Unix => at.as_second().into(),
            Form::UnixMs => at.as_millisecond().into(),
        }
    }
}

fn pieces(text: &str) -> Result<Vec<Piece>, Mistake> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut at = 0;
    while let Some(begin) = text[at..].find("{{").map(|found| at + found) {
        plain.push_str(&text[at..begin]);
        if text[begin..].starts_with("{{{{") {
            plain.push_str("{{");
            at = begin + 4;
            continue;
        }
        let Some(len) = text[begin..].find("}}") else {
            let why = "opens a place that `}}` does not close; write `{{{{` for two braces";
            return Err(Mistake::new(text, begin..text.len(), why));
        };
        let inside = begin + 2..begin + len;
        let place = place(text, inside)?;
        if !plain.is_empty() {
            pieces.push(Piece::Plain(std::mem::take(&mut plain)));
        }
        pieces.push(place);
        at = begin + len + 2;
    }
    plain.push_str(&text[at..]);
    if !plain.is_empty() {
        pieces.push(Piece::Plain(plain));
    }
    Ok(pieces)
}

fn place(text: &str, inside: Range<usize>) -> Result<Piece, Mistake> {
    let content = text.get(inside.clone()).unwrap_or("");
    let wrong = |why: &str| Mistake::new(text, inside.clone(), why);
    let (name, form) =
        content.split_once('|').map_or((content, None), |(name, form)| (name, Some(form.trim())));
    let (name, is_time) = match name.trim() {
        "nominal" => (Name::Nominal, true),
        "last_success" => (Name::LastSuccess, true),
        "run_number" => (Name::RunNumber, false),
        "schedule" => (Name::Schedule, false),
        "zone" => (Name::Zone, false),
        _ => {
            return Err(wrong(
                "names nothing; there are nominal, last_success, run_number, schedule and zone",
            ));
        }
    };
    let form = match form {
        None => Form::Plain,
        Some(_) if !is_time => {
            return Err(wrong("has a form, which only nominal and last_success have; remove it"));
        }
        Some("local") => Form::Local,
        Some("date") => Form::Date,
        Some("unix") => Form::Unix,
        Some("unix_ms") => Form::UnixMs,
        Some(_) => return Err(wrong("has an unknown form; there are local, date, unix and unix_ms")),
    };
    Ok(Piece::Place(name, form))
}
