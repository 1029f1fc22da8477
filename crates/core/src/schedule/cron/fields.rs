//! A parsed cron expression: one set per field, and which days of a month it means.

use jiff::civil::Date;

use crate::schedule::times::Times;

/// The sets of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(crate) times: Times,
    pub(crate) days: Days,
    /// Bits 1 to 12.
    pub(crate) months: u16,
    pub(crate) weekdays: Weekdays,
    /// Sorted; none means every year.
    pub(crate) years: Option<Vec<i16>>,
    /// Which fields begin with `*` or `?`.
    pub(crate) stars: Stars,
    /// Whether the expression has a field for seconds.
    pub(crate) has_seconds: bool,
}

/// Vixie cron asks of four fields whether they begin with a star.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stars {
    pub(crate) minute: bool,
    pub(crate) hour: bool,
    pub(crate) day: bool,
    pub(crate) weekday: bool,
}

/// Days of the month. A day counts if any of the sets has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Days {
    /// Bits 1 to 31.
    pub(crate) plain: u32,
    /// Bit n: n days before the last one.
    pub(crate) from_last: u32,
    /// Bits 1 to 31: the working day nearest to it, in the same month.
    pub(crate) near: u32,
    /// Bit n: the working day nearest to n days before the last one.
    pub(crate) near_from_last: u32,
}

/// Days of the week, 0 for Sunday to 6. A day counts if any of the sets has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Weekdays {
    pub(crate) plain: u8,
    /// At index 0 the first of the month, at index 4 the fifth.
    pub(crate) nth: [u8; 5],
    /// The last of the month.
    pub(crate) last: u8,
}

impl Fields {
    /// The days of a month that the expression means, as bits 1 to 31.
    pub(crate) fn days_of(&self, first: Date) -> u32 {
        let len = u32::try_from(first.days_in_month()).unwrap_or(31);
        let of_month = self.days.of(first, len);
        let of_week = self.weekdays.of(first, len);
        // The rule of Vixie cron: only if both fields are restricted, either of them is enough.
        if self.stars.day || self.stars.weekday { of_month & of_week } else { of_month | of_week }
    }

    pub(crate) fn has_day(&self, date: Date) -> bool {
        let month = u32::try_from(date.month()).unwrap_or(0);
        u32::from(self.months) & (1 << month) != 0
            && self.has_year(date.year())
            && self.days_of(date.first_of_month()) & (1 << u32::try_from(date.day()).unwrap_or(0)) != 0
    }

    pub(crate) fn has_year(&self, year: i16) -> bool {
        self.years.as_ref().is_none_or(|years| years.binary_search(&year).is_ok())
    }

    /// Whether either of two restricted fields for days is enough.
    pub(crate) fn either_day(&self) -> bool {
        !self.stars.day && !self.stars.weekday
    }
}

impl Days {
    fn of(&self, first: Date, len: u32) -> u32 {
        let exists = ((1u32 << len) - 1) << 1;
        let mut set = self.plain & exists;
        each(self.from_last, |before| set |= bit(len.checked_sub(before)));
        each(self.near & exists, |day| set |= bit(Some(nearest_working_day(first, day, len))));
        each(self.near_from_last, |before| {
            let day = len.checked_sub(before).filter(|day| *day >= 1);
            set |= bit(day.map(|day| nearest_working_day(first, day, len)));
        });
        set & exists
    }
}

impl Weekdays {
    fn of(&self, first: Date, len: u32) -> u32 {
        let begins_on = sunday_zero(first);
        let mut set = 0;
        for day in 1..=len {
            let weekday = (begins_on + day - 1) % 7;
            let nth = self.nth.get(((day - 1) / 7) as usize).copied().unwrap_or(0);
            let last = if day + 7 > len { self.last } else { 0 };
            if (self.plain | nth | last) & (1 << weekday) != 0 {
                set |= 1 << day;
            }
        }
        set
    }
}

/// The working day nearest to a day, in the same month: Friday for a Saturday, Monday for a Sunday, unless that lies in
/// another month.
fn nearest_working_day(first: Date, day: u32, len: u32) -> u32 {
    match ((sunday_zero(first) + day - 1) % 7, day) {
        (6, 1) => 3,
        (6, day) => day - 1,
        (0, day) if day == len => day - 2,
        (0, day) => day + 1,
        (_, day) => day,
    }
}

fn sunday_zero(date: Date) -> u32 {
    u32::try_from(date.weekday().to_sunday_zero_offset()).unwrap_or(0)
}

fn bit(at: Option<u32>) -> u32 {
    at.and_then(|at| 1u32.checked_shl(at)).unwrap_or(0)
}

fn each(mut set: u32, mut of: impl FnMut(u32)) {
    while set != 0 {
        of(set.trailing_zeros());
        set &= set - 1;
    }
}
