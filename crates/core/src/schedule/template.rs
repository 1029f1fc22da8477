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

use jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;

use crate::{Invalid, Json, template};

/// Args that were read for their places. Only strings with a place are replaced; everything else is passed on byte for
/// byte, so that a number keeps all its digits.
#[derive(Debug, Clone, PartialEq)]
pub struct Template(template::Template<Place>);

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

/// A name and its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place(Name, Form);

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
        template::Template::parse(args, &place).map(Self)
    }

    /// The args of one occurrence.
    pub fn fill(&self, values: &Values<'_>) -> Result<Json, Invalid> {
        self.0.fill(&|Place(name, form)| Ok(values.value(*name, *form).to_string().into()))
    }
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

fn place(content: &str) -> Result<Place, String> {
    let (name, form) =
        content.split_once('|').map_or((content, None), |(name, form)| (name, Some(form.trim())));
    let (name, is_time) = match name.trim() {
        "nominal" => (Name::Nominal, true),
        "last_success" => (Name::LastSuccess, true),
        "run_number" => (Name::RunNumber, false),
        "schedule" => (Name::Schedule, false),
        "zone" => (Name::Zone, false),
        _ => {
            return Err(
                "names nothing; there are nominal, last_success, run_number, schedule and zone".into()
            );
        }
    };
    let form = match form {
        None => Form::Plain,
        Some(_) if !is_time => {
            return Err("has a form, which only nominal and last_success have; remove it".into());
        }
        Some("local") => Form::Local,
        Some("date") => Form::Date,
        Some("unix") => Form::Unix,
        Some("unix_ms") => Form::UnixMs,
        Some(_) => return Err("has an unknown form; there are local, date, unix and unix_ms".into()),
    };
    Ok(Place(name, form))
}
