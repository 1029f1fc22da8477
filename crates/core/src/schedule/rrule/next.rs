//! The search for the next and the previous occurrence of a rule.
//!
//! A rule is a sequence of periods (years, months, weeks, days, hours, minutes or seconds). The search computes the
//! period of the moment it starts from, and goes on period by period. Below a day it jumps to the next date, hour or
//! minute that the rule allows.

use jiff::{
    SignedDuration, ToSpan as _,
    civil::{Date, DateTime, Time},
};

use super::{Frequency, Rule, Until};
use crate::schedule::{
    times::{Times, bit_from, bit_to, whole_second_from, whole_second_to},
    zone::WallClock,
};

/// Dates repeat after 400 years. With an interval the cycle may be longer: then a rule this rare counts as one that never fires.
const YEARS_MAX: i16 = 400;
/// More periods than a search over [`YEARS_MAX`] years of days looks at.
const STEPS_MAX: u32 = 150_000;

impl WallClock for Rule {
    fn at_or_after(&self, from: DateTime) -> Option<DateTime> {
        let last = self.last_local();
        let mut from = whole_second_from(from)?.max(self.start);
        loop {
            let found = self.search_from(from)?;
            if last.is_some_and(|last| found > last) {
                return None;
            }
            if self.excluded.binary_search(&found).is_err() {
                return Some(found);
            }
            from = found.checked_add(SignedDuration::from_secs(1)).ok()?;
        }
    }

    fn at_or_before(&self, until: DateTime) -> Option<DateTime> {
        let mut until = whole_second_to(until);
        if let Some(last) = self.last_local() {
            until = until.min(last);
        }
        loop {
            let found = self.search_to(until)?;
            if self.excluded.binary_search(&found).is_err() {
                return Some(found);
            }
            until = found.checked_sub(SignedDuration::from_secs(1)).ok()?;
        }
    }
}

/// The occurrences of one period, in order.
struct Period {
    dates: Vec<Date>,
    times: Times,
    /// The chosen ones, where `BYSETPOS` chooses.
    chosen: Option<Vec<DateTime>>,
}

impl Rule {
    pub(super) fn first(&self) -> Option<DateTime> {
        self.at_or_after(self.start)
    }

    /// The occurrence that `COUNT` makes the last one, excluded ones counted too.
    pub(super) fn last_counted(&self) -> Option<DateTime> {
        let count = self.count?;
        let mut found = self.search_from(self.start)?;
        for _ in 1..count {
            let Some(next) =
                found.checked_add(SignedDuration::from_secs(1)).ok().and_then(|from| self.search_from(from))
            else {
                break;
            };
            found = next;
        }
        Some(found)
    }

    fn last_local(&self) -> Option<DateTime> {
        let until = match self.until {
            Some(Until::Local(until)) => Some(until),
            Some(Until::Exact(_)) | None => None,
        };
        match (self.last, until) {
            (Some(last), Some(until)) => Some(last.min(until)),
            (last, until) => last.or(until),
        }
    }

    /// Whether `BYSETPOS` asks for more than a period of a day or less ever has.
    fn chooses_nothing(&self) -> bool {
        let per_period = match self.frequency {
            Frequency::Secondly => 1,
            Frequency::Minutely => self.times.seconds.count_ones(),
            Frequency::Hourly => self.times.minutes.count_ones() * self.times.seconds.count_ones(),
            Frequency::Daily => self.times.len(),
            Frequency::Weekly | Frequency::Monthly | Frequency::Yearly => return false,
        };
        let is_out = |position: &i16| u32::from(position.unsigned_abs()) > per_period;
        !self.positions.is_empty() && self.positions.iter().all(is_out)
    }

    fn search_from(&self, from: DateTime) -> Option<DateTime> {
        if self.chooses_nothing() {
            return None;
        }
        let from = from.max(self.start);
        let last_year = from.year().saturating_add(YEARS_MAX);
        let mut index = self.index_of(from)?;
        for _ in 0..STEPS_MAX {
            index = self.on_interval(index, Towards::Later);
            let at = self.begin_of(index)?;
            if at.year() > last_year {
                return None;
            }
            match self.allowed_from(at) {
                Some(later) if later > at => {
                    index = self.index_of(later)?.max(index + 1);
                    continue;
                }
                Some(_) => {}
                None => return None,
            }
            let found = self.period(at).and_then(|period| period.at_or_after(from));
            if found.is_some() {
                return found;
            }
            index += 1;
        }
        None
    }

    fn search_to(&self, until: DateTime) -> Option<DateTime> {
        if until < self.start {
            return None;
        }
        let mut index = self.index_of(until)?;
        for _ in 0..STEPS_MAX {
            index = self.on_interval(index, Towards::Earlier);
            if index < 0 {
                return None;
            }
            let at = self.begin_of(index)?;
            match self.allowed_to(at) {
                Some(earlier) if earlier < at => {
                    index = self.index_of(earlier)?.min(index - 1);
                    continue;
                }
                Some(_) => {}
                None => return None,
            }
            let found = self.period(at).and_then(|period| period.at_or_before(until));
            if found.is_some_and(|found| found >= self.start) {
                return found;
            }
            index -= 1;
        }
        None
    }

    fn on_interval(&self, index: i64, towards: Towards) -> i64 {
        let interval = i64::from(self.interval);
        match towards {
            Towards::Later => index + (-index).rem_euclid(interval),
            Towards::Earlier => index - index.rem_euclid(interval),
        }
    }

    /// How many periods lie between that of the start and that of `at`.
    fn index_of(&self, at: DateTime) -> Option<i64> {
        let days = days_between(self.start.date(), at.date());
        Some(match self.frequency {
            Frequency::Yearly => i64::from(at.year()) - i64::from(self.start.year()),
            Frequency::Monthly => months(at.date()) - months(self.start.date()),
            Frequency::Weekly => {
                let into_week = i64::from(self.start.weekday().since(self.week_start));
                (days + into_week).div_euclid(7)
            }
            Frequency::Daily => days,
            Frequency::Hourly => days * 24 + i64::from(at.hour()) - i64::from(self.start.hour()),
            Frequency::Minutely => days * 1440 + minutes(at.time()) - minutes(self.start.time()),
            Frequency::Secondly => days * 86_400 + seconds(at.time()) - seconds(self.start.time()),
        })
    }

    /// The first moment of a period, which for weeks may lie before the start.
    fn begin_of(&self, index: i64) -> Option<DateTime> {
        let start = self.start.date();
        let later = |unit: i64, from: DateTime| {
            from.checked_add(SignedDuration::from_secs(index.checked_mul(unit)?)).ok()
        };
        match self.frequency {
            Frequency::Yearly => {
                let year = i16::try_from(i64::from(start.year()).checked_add(index)?).ok()?;
                Some(midnight(Date::new(year, 1, 1).ok()?))
            }
            Frequency::Monthly => {
                let month = months(start).checked_add(index)?;
                let year = i16::try_from(month.div_euclid(12)).ok()?;
                Some(midnight(Date::new(year, i8::try_from(month.rem_euclid(12)).ok()? + 1, 1).ok()?))
            }
            Frequency::Weekly => {
                let into_week = i64::from(start.weekday().since(self.week_start));
                let days = index.checked_mul(7)? - into_week;
                start.checked_add(SignedDuration::from_secs(days.checked_mul(86_400)?)).ok().map(midnight)
            }
            Frequency::Daily => later(86_400, midnight(start)),
            Frequency::Hourly => later(3600, start.at(self.start.hour(), 0, 0, 0)),
            Frequency::Minutely => later(60, start.at(self.start.hour(), self.start.minute(), 0, 0)),
            Frequency::Secondly => later(1, self.start),
        }
    }

    /// The first moment from `at` on that a rule of days or less allows; rules of longer periods restrict inside the period.
    fn allowed_from(&self, at: DateTime) -> Option<DateTime> {
        match self.frequency {
            Frequency::Yearly | Frequency::Monthly | Frequency::Weekly => return Some(at),
            Frequency::Daily | Frequency::Hourly | Frequency::Minutely | Frequency::Secondly => {}
        }
        if !self.allows(at.date()) {
            let mut date = at.date();
            for _ in 0..i32::from(YEARS_MAX) * 366 {
                date = if self.allows_month(date) { date } else { date.last_of_month() }.tomorrow().ok()?;
                if self.allows(date) {
                    return Some(midnight(date));
                }
            }
            return None;
        }
        if self.frequency == Frequency::Daily {
            return Some(at);
        }
        let next_day = || at.date().tomorrow().ok().map(midnight);
        let hour = u32::try_from(at.hour()).ok()?;
        match bit_from(self.times.hours.into(), hour) {
            None => return next_day(),
            Some(allowed) if allowed > hour => {
                return Some(at.date().at(i8::try_from(allowed).ok()?, 0, 0, 0));
            }
            Some(_) => {}
        }
        if self.frequency == Frequency::Hourly {
            return Some(at);
        }
        let minute = u32::try_from(at.minute()).ok()?;
        let hour_begin = at.date().at(at.hour(), 0, 0, 0);
        match bit_from(self.times.minutes, minute) {
            None => return hour_begin.checked_add(1.hour()).ok(),
            Some(allowed) if allowed > minute => {
                return Some(at.date().at(at.hour(), i8::try_from(allowed).ok()?, 0, 0));
            }
            Some(_) => {}
        }
        Some(at)
    }

    /// The same towards the past: the last second of what is allowed before, or `at` itself.
    fn allowed_to(&self, at: DateTime) -> Option<DateTime> {
        match self.frequency {
            Frequency::Yearly | Frequency::Monthly | Frequency::Weekly => return Some(at),
            Frequency::Daily | Frequency::Hourly | Frequency::Minutely | Frequency::Secondly => {}
        }
        if !self.allows(at.date()) {
            let mut date = at.date();
            for _ in 0..i32::from(YEARS_MAX) * 366 {
                date = if self.allows_month(date) { date } else { date.first_of_month() }.yesterday().ok()?;
                if self.allows(date) {
                    return Some(date.at(23, 59, 59, 0));
                }
                if date < self.start.date() {
                    return None;
                }
            }
            return None;
        }
        if self.frequency == Frequency::Daily {
            return Some(at);
        }
        let hour = u32::try_from(at.hour()).ok()?;
        match bit_to(self.times.hours.into(), hour) {
            None => return at.date().yesterday().ok().map(|date| date.at(23, 59, 59, 0)),
            Some(allowed) if allowed < hour => {
                return Some(at.date().at(i8::try_from(allowed).ok()?, 59, 59, 0));
            }
            Some(_) => {}
        }
        if self.frequency == Frequency::Hourly {
            return Some(at);
        }
        let minute = u32::try_from(at.minute()).ok()?;
        match bit_to(self.times.minutes, minute) {
            None => at.date().at(at.hour(), 0, 0, 0).checked_sub(1.second()).ok(),
            Some(allowed) if allowed < minute => {
                Some(at.date().at(at.hour(), i8::try_from(allowed).ok()?, 59, 0))
            }
            Some(_) => Some(at),
        }
    }

    fn period(&self, begin: DateTime) -> Option<Period> {
        let date = begin.date();
        let dates = match self.frequency {
            Frequency::Yearly => {
                let first = date.first_of_year();
                let months = (1..=12i8).filter(|month| self.months & (1 << month) != 0);
                let firsts = months.filter_map(|month| Date::new(first.year(), month, 1).ok());
                firsts.flat_map(|first| self.dates(first, first.days_in_month())).collect()
            }
            Frequency::Monthly => self.dates(date, date.days_in_month()),
            Frequency::Weekly => self.dates(date, 7),
            Frequency::Daily | Frequency::Hourly | Frequency::Minutely | Frequency::Secondly => vec![date],
        };
        let one = |part: i8| 1u64.checked_shl(u32::try_from(part).unwrap_or(0)).unwrap_or(0);
        let mut times = self.times;
        if self.frequency <= Frequency::Hourly {
            times.hours &= u32::try_from(one(begin.hour())).unwrap_or(0);
        }
        if self.frequency <= Frequency::Minutely {
            times.minutes &= one(begin.minute());
        }
        if self.frequency == Frequency::Secondly {
            times.seconds &= one(begin.second());
        }
        if dates.is_empty() || times.len() == 0 {
            return None;
        }
        let mut period = Period { dates, times, chosen: None };
        if !self.positions.is_empty() {
            period.chosen = Some(period.choose(&self.positions));
        }
        Some(period)
    }

    fn dates(&self, first: Date, days: i8) -> Vec<Date> {
        let days = (0..days).filter_map(|day| first.checked_add(i64::from(day).days()).ok());
        days.filter(|date| self.allows(*date)).collect()
    }
}

impl Period {
    fn choose(&self, positions: &[i16]) -> Vec<DateTime> {
        let per_day = i64::from(self.times.len());
        let len = per_day * i64::try_from(self.dates.len()).unwrap_or(0);
        let mut chosen: Vec<DateTime> = positions
            .iter()
            .map(|position| i64::from(*position))
            .map(|position| if position > 0 { position - 1 } else { len + position })
            .filter(|index| (0..len).contains(index))
            .filter_map(|index| {
                let date = self.dates.get(usize::try_from(index / per_day).ok()?)?;
                Some(date.to_datetime(self.times.nth(u32::try_from(index % per_day).ok()?)?))
            })
            .collect();
        chosen.sort_unstable();
        chosen.dedup();
        chosen
    }

    fn at_or_after(&self, from: DateTime) -> Option<DateTime> {
        if let Some(chosen) = &self.chosen {
            return chosen.get(chosen.partition_point(|at| *at < from)).copied();
        }
        let index = self.dates.partition_point(|date| *date < from.date());
        let date = *self.dates.get(index)?;
        if date > from.date() {
            return Some(date.to_datetime(self.times.first()));
        }
        if let Some(time) = self.times.at_or_after(from.time()) {
            return Some(date.to_datetime(time));
        }
        self.dates.get(index + 1).map(|date| date.to_datetime(self.times.first()))
    }

    fn at_or_before(&self, until: DateTime) -> Option<DateTime> {
        if let Some(chosen) = &self.chosen {
            return chosen.get(chosen.partition_point(|at| *at <= until).checked_sub(1)?).copied();
        }
        let index = self.dates.partition_point(|date| *date <= until.date()).checked_sub(1)?;
        let date = *self.dates.get(index)?;
        if date < until.date() {
            return Some(date.to_datetime(self.times.last()));
        }
        if let Some(time) = self.times.at_or_before(until.time()) {
            return Some(date.to_datetime(time));
        }
        self.dates.get(index.checked_sub(1)?).map(|date| date.to_datetime(self.times.last()))
    }
}

enum Towards {
    Later,
    Earlier,
}

fn midnight(date: Date) -> DateTime {
    date.to_datetime(Time::midnight())
}

fn months(date: Date) -> i64 {
    i64::from(date.year()) * 12 + i64::from(date.month()) - 1
}

fn minutes(time: Time) -> i64 {
    i64::from(time.hour()) * 60 + i64::from(time.minute())
}

fn seconds(time: Time) -> i64 {
    minutes(time) * 60 + i64::from(time.second())
}

fn days_between(from: Date, to: Date) -> i64 {
    from.duration_until(to).as_secs() / 86_400
}
