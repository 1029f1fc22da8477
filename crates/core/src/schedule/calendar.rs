//! Lists of moments, and of dates with times of the day.

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, DateTime, Time},
    tz::TimeZone,
};
use serde::{Deserialize, Serialize};

use super::zone::{self, WallClock};
use crate::Invalid;

/// Most entries of one list.
pub const ENTRIES_MAX: usize = 10_000;

/// Dates, each at the same times of the day, in the zone of the schedule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calendar {
    /// The dates, as `2026-12-24`.
    pub dates: Vec<Date>,
    /// The times, as `06:30`. Where the calendar is an exclusion, none means the whole day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub at: Vec<Time>,
}

/// A moment in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Moment {
    /// With its offset, as `2026-12-24T18:00:00Z`.
    Exact(Timestamp),
    /// On the wall clock of the schedule's zone, as `2026-12-24T18:00`. In a gap it means the end of the gap, in a fold the
    /// first of the two.
    Local(DateTime),
}

impl Calendar {
    /// Sorts, and checks the number of entries.
    pub(crate) fn checked(&self, is_exclusion: bool) -> Result<Self, Invalid> {
        check_len(self.dates.len().saturating_mul(self.at.len().max(1)), "calendar")?;
        if self.at.is_empty() && !is_exclusion {
            let why = "has no time of the day; write when it fires, as at = [\"06:00\"]";
            return Err(Invalid::new("calendar", why));
        }
        if let Some(time) = self.at.iter().find(|time| time.subsec_nanosecond() != 0) {
            return Err(Invalid::new("calendar", format!("has the time {time}; write whole seconds")));
        }
        let mut sorted = self.clone();
        sorted.dates.sort_unstable();
        sorted.dates.dedup();
        sorted.at.sort_unstable();
        sorted.at.dedup();
        Ok(sorted)
    }

    /// Whether the date is one of the list.
    pub(crate) fn has_date(&self, date: Date) -> bool {
        self.dates.binary_search(&date).is_ok()
    }

    pub(crate) fn is_of_whole_days(&self) -> bool {
        self.at.is_empty()
    }
}

impl WallClock for Calendar {
    fn at_or_after(&self, from: DateTime) -> Option<DateTime> {
        let dates = self.dates.partition_point(|date| *date < from.date());
        let date = *self.dates.get(dates)?;
        let time = if date == from.date() { from.time() } else { Time::midnight() };
        if let Some(time) = self.at.iter().find(|at| **at >= time) {
            return Some(date.to_datetime(*time));
        }
        Some(self.dates.get(dates + 1)?.to_datetime(*self.at.first()?))
    }

    fn at_or_before(&self, until: DateTime) -> Option<DateTime> {
        let dates = self.dates.partition_point(|date| *date <= until.date());
        let date = *self.dates.get(dates.checked_sub(1)?)?;
        let time = if date == until.date() { until.time() } else { Time::MAX };
        if let Some(time) = self.at.iter().rfind(|at| **at <= time) {
            return Some(date.to_datetime(*time));
        }
        Some(self.dates.get(dates.checked_sub(2)?)?.to_datetime(*self.at.last()?))
    }
}

impl Moment {
    /// The moment in a zone.
    pub fn resolve(self, zone: &TimeZone) -> Result<Timestamp, Invalid> {
        let at = match self {
            Self::Exact(at) => Some(at),
            Self::Local(at) => zone::resolve(zone, at),
        };
        let in_range = at.map(crate::bounds::whole_micros);
        in_range.ok_or_else(|| {
            Invalid::new("moment", format!("{self:?} is out of range; use the years -9998 to 9998"))
        })
    }
}

impl From<Timestamp> for Moment {
    fn from(at: Timestamp) -> Self {
        Self::Exact(at)
    }
}

impl From<DateTime> for Moment {
    fn from(at: DateTime) -> Self {
        Self::Local(at)
    }
}

/// Moments of a list, sorted.
pub(crate) fn resolve_all(moments: &[Moment], zone: &TimeZone) -> Result<Vec<Timestamp>, Invalid> {
    check_len(moments.len(), "list of moments")?;
    let mut resolved = moments.iter().map(|moment| moment.resolve(zone)).collect::<Result<Vec<_>, _>>()?;
    resolved.sort_unstable();
    resolved.dedup();
    Ok(resolved)
}

fn check_len(entries: usize, what: &'static str) -> Result<(), Invalid> {
    match entries {
        0 => Err(Invalid::new(what, "is empty; give it at least one entry")),
        1..=ENTRIES_MAX => Ok(()),
        _ => Err(Invalid::new(what, format!("has {entries} entries; at most {ENTRIES_MAX} are allowed"))),
    }
}

/// The end of a day of the wall clock, as the moment at which the next one begins.
pub(crate) fn end_of_day(zone: &TimeZone, date: Date) -> Option<Timestamp> {
    let next = date.tomorrow().ok()?.to_datetime(Time::midnight());
    zone::resolve(zone, next).and_then(|at| at.checked_sub(SignedDuration::from_nanos(1)).ok())
}
