//! Times of the day as sets: an hour, a minute and a second are chosen independently.

use jiff::civil::{DateTime, Time};

/// Every time whose hour, minute and second are in these sets. Bit `n` stands for the number `n`. No set is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) hours: u32,
    pub(crate) minutes: u64,
    pub(crate) seconds: u64,
}

pub(crate) const HOURS_ALL: u32 = (1 << 24) - 1;
pub(crate) const SIXTY_ALL: u64 = (1 << 60) - 1;

impl Times {
    /// How many there are in a day.
    pub(crate) fn len(&self) -> u32 {
        self.hours.count_ones() * self.per_hour()
    }

    fn per_hour(&self) -> u32 {
        self.minutes.count_ones() * self.seconds.count_ones()
    }

    pub(crate) fn contains(&self, time: Time) -> bool {
        let (hour, minute, second) = parts(time);
        self.hours & (1 << hour) != 0
            && self.minutes & (1 << minute) != 0
            && self.seconds & (1 << second) != 0
    }

    pub(crate) fn first(&self) -> Time {
        time(lowest(self.hours.into()), lowest(self.minutes), lowest(self.seconds))
    }

    pub(crate) fn last(&self) -> Time {
        time(highest(self.hours.into()), highest(self.minutes), highest(self.seconds))
    }

    /// The `index`-th of a day, from 0.
    pub(crate) fn nth(&self, index: u32) -> Option<Time> {
        if index >= self.len() {
            return None;
        }
        let seconds = self.seconds.count_ones();
        let (hour, rest) = (index / self.per_hour(), index % self.per_hour());
        let hour = nth_bit(self.hours.into(), hour)?;
        Some(time(hour, nth_bit(self.minutes, rest / seconds)?, nth_bit(self.seconds, rest % seconds)?))
    }

    /// The first at or after `from`, a whole second, on the same day.
    pub(crate) fn at_or_after(&self, from: Time) -> Option<Time> {
        let (hour, minute, second) = parts(from);
        let hours = u64::from(self.hours);
        if bit_from(hours, hour) == Some(hour) {
            if bit_from(self.minutes, minute) == Some(minute)
                && let Some(second) = bit_from(self.seconds, second)
            {
                return Some(time(hour, minute, second));
            }
            if let Some(minute) = bit_from(self.minutes, minute + 1) {
                return Some(time(hour, minute, lowest(self.seconds)));
            }
        }
        Some(time(bit_from(hours, hour + 1)?, lowest(self.minutes), lowest(self.seconds)))
    }

    /// The last at or before `until`, a whole second, on the same day.
    pub(crate) fn at_or_before(&self, until: Time) -> Option<Time> {
        let (hour, minute, second) = parts(until);
        let hours = u64::from(self.hours);
        if bit_to(hours, hour) == Some(hour) {
            if bit_to(self.minutes, minute) == Some(minute)
                && let Some(second) = bit_to(self.seconds, second)
            {
                return Some(time(hour, minute, second));
            }
            if let Some(minute) = minute.checked_sub(1).and_then(|to| bit_to(self.minutes, to)) {
                return Some(time(hour, minute, highest(self.seconds)));
            }
        }
        let hour = hour.checked_sub(1).and_then(|to| bit_to(hours, to))?;
        Some(time(hour, highest(self.minutes), highest(self.seconds)))
    }
}

/// The first whole second at or after a moment of the wall clock.
pub(crate) fn whole_second_from(at: DateTime) -> Option<DateTime> {
    let nanos = i64::from(at.subsec_nanosecond());
    match nanos {
        0 => Some(at),
        _ => at.checked_add(jiff::SignedDuration::from_nanos(1_000_000_000 - nanos)).ok(),
    }
}

/// The last whole second at or before a moment of the wall clock.
pub(crate) fn whole_second_to(at: DateTime) -> DateTime {
    let time = at.time();
    at.date().at(time.hour(), time.minute(), time.second(), 0)
}

fn parts(time: Time) -> (u32, u32, u32) {
    let part = |part: i8| u32::try_from(part).unwrap_or(0);
    (part(time.hour()), part(time.minute()), part(time.second()))
}

fn time(hour: u32, minute: u32, second: u32) -> Time {
    let part = |part: u32| i8::try_from(part).unwrap_or(0);
    // An empty set has no lowest number; `new` then refuses, and midnight stands in for what cannot be reached.
    Time::new(part(hour), part(minute), part(second), 0).unwrap_or(Time::midnight())
}

pub(crate) fn lowest(set: u64) -> u32 {
    set.trailing_zeros()
}

pub(crate) fn highest(set: u64) -> u32 {
    63u32.saturating_sub(set.leading_zeros())
}

/// The lowest number in the set that is at least `from`.
pub(crate) fn bit_from(set: u64, from: u32) -> Option<u32> {
    let rest = set & u64::MAX.checked_shl(from)?;
    (rest != 0).then(|| lowest(rest))
}

/// The highest number in the set that is at most `to`.
pub(crate) fn bit_to(set: u64, to: u32) -> Option<u32> {
    let rest = if to >= 63 { set } else { set & ((1 << (to + 1)) - 1) };
    (rest != 0).then(|| highest(rest))
}

/// The `index`-th number of the set, from 0.
pub(crate) fn nth_bit(mut set: u64, index: u32) -> Option<u32> {
    for _ in 0..index {
        set &= set.checked_sub(1)?;
    }
    (set != 0).then(|| lowest(set))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(times: &Times) -> Vec<u32> {
        (0..86_400).filter(|at| times.contains(time(at / 3600, at / 60 % 60, at % 60))).collect()
    }

    fn of(second: u32) -> Time {
        time(second / 3600, second / 60 % 60, second % 60)
    }

    #[test]
    fn next_last_and_nth_agree_with_a_walk_over_every_second() {
        for (hours, minutes, seconds_set) in
            [(1 << 23, 1 << 59, 1 << 59), (0b1010_0001, 0b1001, 0b11), (1, 1, 1), (HOURS_ALL, 1 << 30, 1)]
        {
            let times = Times { hours, minutes, seconds: seconds_set };
            let walked = seconds(&times);
            assert_eq!(walked.len() as u32, times.len());
            for (index, second) in walked.iter().enumerate() {
                assert_eq!(times.nth(index as u32), Some(of(*second)));
            }
            assert_eq!(times.nth(times.len()), None);
            for at in (0..86_400).step_by(7).chain([86_399]) {
                let after = walked.iter().find(|second| **second >= at).map(|second| of(*second));
                let before = walked.iter().rev().find(|second| **second <= at).map(|second| of(*second));
                assert_eq!(times.at_or_after(of(at)), after, "{times:?} from {at}");
                assert_eq!(times.at_or_before(of(at)), before, "{times:?} to {at}");
            }
        }
    }
}
