//! The next and the previous moment of the wall clock that an expression means.
//!
//! Months and days are found by sets of bits, never by a walk over seconds. Dates of the Gregorian calendar repeat after
//! 400 years, so a search that finds none in 400 years proves that there is none.

use jiff::civil::{Date, DateTime};

use super::fields::Fields;
use crate::schedule::{
    times::{bit_from, bit_to, whole_second_from, whole_second_to},
    zone::WallClock,
};

/// Dates repeat after so many years.
const CYCLE_YEARS: i16 = 400;

impl WallClock for Fields {
    fn at_or_after(&self, from: DateTime) -> Option<DateTime> {
        let from = whole_second_from(from)?;
        if self.has_day(from.date())
            && let Some(time) = self.times.at_or_after(from.time())
        {
            return Some(from.date().to_datetime(time));
        }
        let date = self.date_at_or_after(from.date().tomorrow().ok()?)?;
        Some(date.to_datetime(self.times.first()))
    }

    fn at_or_before(&self, until: DateTime) -> Option<DateTime> {
        let until = whole_second_to(until);
        if self.has_day(until.date())
            && let Some(time) = self.times.at_or_before(until.time())
        {
            return Some(until.date().to_datetime(time));
        }
        let date = self.date_at_or_before(until.date().yesterday().ok()?)?;
        Some(date.to_datetime(self.times.last()))
    }
}

impl Fields {
    /// Whether there is any date at all.
    pub(crate) fn ever_fires(&self) -> bool {
        let begin = self.years.as_ref().and_then(|years| years.first()).copied().unwrap_or(2000);
        Date::new(begin, 1, 1).is_ok_and(|date| self.date_at_or_after(date).is_some())
    }

    fn date_at_or_after(&self, from: Date) -> Option<Date> {
        let (mut year, mut month, mut day) = parts(from);
        let last_year = from.year().saturating_add(CYCLE_YEARS).min(9999);
        loop {
            if let Some(years) = &self.years {
                let in_set = *years.get(years.partition_point(|other| *other < year))?;
                if in_set != year {
                    (year, month, day) = (in_set, 1, 1);
                }
            } else if year > last_year {
                return None;
            }
            while let Some(in_set) = bit_from(self.months.into(), month) {
                if in_set != month {
                    (month, day) = (in_set, 1);
                }
                let first = date(year, month, 1)?;
                if let Some(day) = bit_from(self.days_of(first).into(), day) {
                    return date(year, month, day);
                }
                (month, day) = (month + 1, 1);
            }
            (year, month, day) = (year.checked_add(1)?, 1, 1);
        }
    }

    fn date_at_or_before(&self, until: Date) -> Option<Date> {
        let (mut year, mut month, mut day) = parts(until);
        let first_year = until.year().saturating_sub(CYCLE_YEARS).max(-9999);
        loop {
            if let Some(years) = &self.years {
                let at_most = years.partition_point(|other| *other <= year);
                let in_set = *years.get(at_most.checked_sub(1)?)?;
                if in_set != year {
                    (year, month, day) = (in_set, 12, 31);
                }
            } else if year < first_year {
                return None;
            }
            while let Some(in_set) = bit_to(self.months.into(), month) {
                if in_set == 0 {
                    break;
                }
                if in_set != month {
                    (month, day) = (in_set, 31);
                }
                let first = date(year, month, 1)?;
                if let Some(day) = bit_to(self.days_of(first).into(), day) {
                    return date(year, month, day);
                }
                (month, day) = (month - 1, 31);
            }
            (year, month, day) = (year.checked_sub(1)?, 12, 31);
        }
    }
}

fn parts(date: Date) -> (i16, u32, u32) {
    let part = |part: i8| u32::try_from(part).unwrap_or(1);
    (date.year(), part(date.month()), part(date.day()))
}

fn date(year: i16, month: u32, day: u32) -> Option<Date> {
    Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}
