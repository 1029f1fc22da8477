//! Which dates a rule means.

use jiff::civil::{Date, Weekday};

use super::{Frequency, OrdinalWeekday, Rule};

impl Rule {
    /// Whether the rule allows a date, apart from its interval.
    pub(super) fn allows(&self, date: Date) -> bool {
        self.allows_month(date)
            && self.allows_month_day(date)
            && self.allows_year_day(date)
            && self.allows_week(date)
            && self.allows_weekday(date)
    }

    pub(super) fn allows_month(&self, date: Date) -> bool {
        self.months & (1 << date.month()) != 0
    }

    fn allows_month_day(&self, date: Date) -> bool {
        let (day, len) = (date.day(), date.days_in_month());
        self.month_days.is_empty() || self.month_days.iter().any(|wanted| is_nth(*wanted, day, len))
    }

    fn allows_year_day(&self, date: Date) -> bool {
        let (day, len) = (date.day_of_year(), date.days_in_year());
        self.year_days.is_empty()
            || self
                .year_days
                .iter()
                .any(|wanted| if *wanted > 0 { *wanted == day } else { len + 1 + wanted == day })
    }

    fn allows_week(&self, date: Date) -> bool {
        if self.weeks.is_empty() {
            return true;
        }
        let Some((week, weeks)) = week_of_year(date, self.week_start) else { return false };
        self.weeks.iter().any(|wanted| is_nth(*wanted, week, weeks))
    }

    fn allows_weekday(&self, date: Date) -> bool {
        self.weekdays.is_empty()
            || self.weekdays.iter().any(|wanted| {
                wanted.weekday == date.weekday()
                    && wanted.ordinal.is_none_or(|nth| self.is_ordinal(nth, date))
            })
    }

    /// Whether the date is the nth of its weekday: in its month, or in its year for a yearly rule without months.
    fn is_ordinal(&self, nth: i8, date: Date) -> bool {
        let of_year = self.frequency == Frequency::Yearly && self.months == super::parse::MONTHS_ALL;
        let (day, len) = match of_year {
            true => (date.day_of_year(), date.days_in_year()),
            false => (i16::from(date.day()), i16::from(date.days_in_month())),
        };
        let nth = i16::from(nth);
        match nth > 0 {
            true => (day - 1) / 7 + 1 == nth,
            false => (len - day) / 7 + 1 == -nth,
        }
    }
}

impl OrdinalWeekday {
    pub(super) const fn every(weekday: Weekday) -> Self {
        Self { ordinal: None, weekday }
    }
}

fn is_nth(wanted: i8, number: i8, len: i8) -> bool {
    if wanted > 0 { wanted == number } else { len + 1 + wanted == number }
}

/// The number of the week in its year, and how many weeks that year has. The first week is the first with four days in the
/// year.
fn week_of_year(date: Date, start: Weekday) -> Option<(i8, i8)> {
    let monday_zero = |date: Date| i32::from(date.weekday().since(start));
    let this = first_week(date.year(), monday_zero)?;
    let day = i32::from(date.day_of_year()) - 1;
    let next_begins = i32::from(date.days_in_year()) + first_week(date.year().checked_add(1)?, monday_zero)?;
    let (week, begin, end) = if day < this {
        let before = date.first_of_year().yesterday().ok()?;
        let begin = first_week(before.year(), monday_zero)? - i32::from(before.days_in_year());
        ((day - begin) / 7 + 1, begin, this)
    } else if day >= next_begins {
        // How many weeks the next year has matters to negative numbers alone.
        let next = Date::new(date.year().checked_add(1)?, 1, 1).ok()?;
        let after = first_week(next.year().checked_add(1)?, monday_zero)?;
        (1, next_begins, i32::from(date.days_in_year()) + i32::from(next.days_in_year()) + after)
    } else {
        ((day - this) / 7 + 1, this, next_begins)
    };
    Some((i8::try_from(week).ok()?, i8::try_from((end - begin) / 7).ok()?))
}

/// The day of the year, from 0, on which the first week begins; negative if in the year before.
fn first_week(year: i16, weekday: impl Fn(Date) -> i32) -> Option<i32> {
    let first = weekday(Date::new(year, 1, 1).ok()?);
    Some(if first <= 3 { -first } else { 7 - first })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_that_begin_on_monday_are_those_of_iso_8601() {
        let mut date = Date::constant(1997, 12, 1);
        while date.year() < 2030 {
            let iso = date.iso_week_date();
            let weeks = iso.last_of_year().unwrap().week();
            assert_eq!(week_of_year(date, Weekday::Monday), Some((iso.week(), weeks)), "{date}");
            date = date.tomorrow().unwrap();
        }
    }
}
