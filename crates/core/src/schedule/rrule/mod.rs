//! Recurrence rules of RFC 5545 (iCalendar).
//!
//! [`Recurrence::parse`] reads `DTSTART`, one `RRULE` and any `EXDATE`. `parse` knows the grammar, `dates` which dates a rule
//! means, `next` the search.

mod dates;
mod next;
mod parse;

use jiff::{
    Timestamp,
    civil::{DateTime, Weekday},
};

use super::{Mistake, times::Times, zone::WallClock};

/// Most occurrences that `COUNT` may ask for.
pub const COUNT_MAX: u32 = 100_000;

/// A parsed rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recurrence {
    text: String,
    pub(crate) rule: Rule,
}

/// The parts of a rule. Empty lists do not restrict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) start: DateTime,
    pub(crate) frequency: Frequency,
    pub(crate) interval: u32,
    pub(crate) count: Option<u32>,
    pub(crate) until: Option<Until>,
    pub(crate) week_start: Weekday,
    /// Bits 1 to 12.
    pub(crate) months: u16,
    pub(crate) weeks: Vec<i8>,
    pub(crate) year_days: Vec<i16>,
    pub(crate) month_days: Vec<i8>,
    pub(crate) weekdays: Vec<OrdinalWeekday>,
    /// What `BYHOUR`, `BYMINUTE` and `BYSECOND` allow, filled up from the start. For a frequency below a day the set of its
    /// unit only restricts.
    pub(crate) times: Times,
    pub(crate) positions: Vec<i16>,
    /// Sorted.
    pub(crate) excluded: Vec<DateTime>,
    /// The last occurrence, where `COUNT` ends the rule; found once.
    pub(crate) last: Option<DateTime>,
}

/// `UNTIL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// On the wall clock.
    Local(DateTime),
    /// With a `Z`.
    Exact(Timestamp),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Frequency {
    Secondly,
    Minutely,
    Hourly,
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

/// `MO`, or `2MO` for the second Monday, or `-1MO` for the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OrdinalWeekday {
    pub(crate) ordinal: Option<i8>,
    pub(crate) weekday: Weekday,
}

impl Recurrence {
    /// Reads a rule for a schedule in this zone. The error names the place and the remedy.
    pub fn parse(text: &str, zone_name: &str) -> Result<Self, Mistake> {
        let mut rule = parse::rule(text, zone_name)?;
        rule.last = rule.last_counted();
        if rule.first().is_none() {
            let why = "can never fire: no date fits all parts of the rule; leave one of them out";
            return Err(Mistake::new(text, 0..text.len(), why));
        }
        Ok(Self { text: text.trim().to_owned(), rule })
    }

    /// The rule as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first moment of the wall clock at or after `from`.
    pub fn at_or_after(&self, from: DateTime) -> Option<DateTime> {
        WallClock::at_or_after(&self.rule, from)
    }

    /// The last moment of the wall clock at or before `until`.
    pub fn at_or_before(&self, until: DateTime) -> Option<DateTime> {
        WallClock::at_or_before(&self.rule, until)
    }

    /// Rules below a day go by the wall clock also where the offset changes, as a cron job with `*` does.
    pub(crate) fn is_wildcard(&self) -> bool {
        self.rule.frequency < Frequency::Daily
    }

    pub(crate) fn until_exact(&self) -> Option<Timestamp> {
        match self.rule.until {
            Some(Until::Exact(at)) => Some(at),
            Some(Until::Local(_)) | None => None,
        }
    }
}
