//! What a schedule can be made of, as it is written and stored.

use std::{str::FromStr, time::Duration};

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::{
    Mistake,
    calendar::{Calendar, Moment},
    every::Every,
};
use crate::Invalid;

/// One source of occurrences. A schedule has one or several, and fires when any of them does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Spec {
    /// A cron expression of five fields, or six with the seconds first.
    Cron(String),
    /// A cron expression in the dialect of Quartz.
    Quartz(String),
    /// A span that repeats.
    Every(Every),
    /// Dates with times of the day.
    Calendar(Calendar),
    /// A recurrence rule of RFC 5545: the lines `DTSTART`, `RRULE` and `EXDATE`.
    Rrule(String),
    /// Single moments; a one-off is a list of one.
    At(Vec<Moment>),
}

impl Spec {
    /// A cron expression.
    pub fn cron(expression: impl Into<String>) -> Self {
        Self::Cron(expression.into())
    }

    /// Each `interval`, counted from 1970-01-01T00:00:00Z.
    pub const fn every(interval: Duration) -> Self {
        Self::Every(Every::new(interval))
    }

    /// At one moment.
    pub fn at(moment: impl Into<Moment>) -> Self {
        Self::At(vec![moment.into()])
    }
}

/// The short form, for settings and command lines: `0 2 * * *`, `@daily`, `quartz 0 0 2 * * ?`, `every 15m`,
/// `at 2026-12-24T18:00`, or the lines of a recurrence rule.
impl FromStr for Spec {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let trimmed = text.trim();
        let (first, rest) = trimmed.split_once(char::is_whitespace).unwrap_or((trimmed, ""));
        let upper = trimmed.to_ascii_uppercase();
        if ["DTSTART", "RRULE:", "FREQ="].iter().any(|begin| upper.starts_with(begin)) {
            return Ok(Self::Rrule(trimmed.to_owned()));
        }
        match first.to_ascii_lowercase().as_str() {
            "quartz" => Ok(Self::Quartz(rest.trim().to_owned())),
            "every" | "@every" => span(text, rest.trim()).map(Self::every),
            "at" => {
                let moments = rest.split(',').map(|moment| moment_of(text, moment.trim()));
                moments.collect::<Result<_, _>>().map(Self::At)
            }
            _ => Ok(Self::Cron(trimmed.to_owned())),
        }
    }
}

fn span(text: &str, span: &str) -> Result<Duration, Invalid> {
    let parsed = span.parse::<SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok());
    parsed.ok_or_else(|| {
        let begin = text.trim_end().len() - span.len();
        Mistake::new(text, begin..text.len(), "is no span; write one like 90s, 15m, 6h or 1h30m")
            .of("interval")
    })
}

fn moment_of(text: &str, moment: &str) -> Result<Moment, Invalid> {
    let exact = moment.parse().map(Moment::Exact);
    let parsed = exact.or_else(|_| moment.parse().map(Moment::Local));
    parsed.map_err(|_| {
        let begin = text.find(moment).unwrap_or(0);
        let why = "is no moment; write 2026-12-24T18:00 for the schedule's zone, or 2026-12-24T18:00:00Z";
        Mistake::new(text, begin..begin + moment.len(), why).of("moment")
    })
}
