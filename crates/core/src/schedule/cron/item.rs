//! From the text of one field to its set: lists, ranges, steps, names, and the letters `L`, `W` and `#`.

use super::{
    Dialect,
    fields::{Days, Weekdays},
    parse::Field,
};
use crate::schedule::Mistake;

/// What a field may hold.
pub(super) struct Kind {
    what: &'static str,
    min: u32,
    max: u32,
    names: &'static [&'static str],
    /// The number of the first name.
    first: u32,
}

pub(super) const SECOND: Kind = plain("second", 0, 59);
pub(super) const MINUTE: Kind = plain("minute", 0, 59);
pub(super) const HOUR: Kind = plain("hour", 0, 23);
const DAY: Kind = plain("day of month", 1, 31);
pub(super) const MONTH: Kind = Kind {
    what: "month",
    min: 1,
    max: 12,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    first: 1,
};
const WEEKDAY_NAMES: &[&str] = &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const WEEKDAY: Kind = Kind { what: "day of week", min: 0, max: 7, names: WEEKDAY_NAMES, first: 0 };
const WEEKDAY_QUARTZ: Kind = Kind { what: "day of week", min: 1, max: 7, names: WEEKDAY_NAMES, first: 1 };
const YEAR: Kind = plain("year", 1970, 2199);

const fn plain(what: &'static str, min: u32, max: u32) -> Kind {
    Kind { what, min, max, names: &[], first: 0 }
}

/// Numbers in the order in which a range runs through them, which may go on at the smallest.
type Numbers = Vec<u32>;

/// One item of a list, and how far it was read.
struct Item<'a> {
    expression: &'a str,
    kind: &'a Kind,
    text: &'a str,
    at: usize,
    read: usize,
}

pub(super) fn set(expression: &str, kind: &Kind, field: Field<'_>) -> Result<u64, Mistake> {
    let mut set = 0u64;
    for mut item in items(expression, kind, field)? {
        let numbers = item.numbers()?;
        item.end()?;
        numbers.into_iter().for_each(|number| set |= 1 << number);
    }
    Ok(set)
}

pub(super) fn years(expression: &str, field: Field<'_>) -> Result<Option<Vec<i16>>, Mistake> {
    if field.text == "*" {
        return Ok(None);
    }
    let mut years = Vec::new();
    for mut item in items(expression, &YEAR, field)? {
        let numbers = item.numbers()?;
        item.end()?;
        years.extend(numbers.into_iter().filter_map(|year| i16::try_from(year).ok()));
    }
    years.sort_unstable();
    years.dedup();
    Ok(Some(years))
}

pub(super) fn days(expression: &str, field: Field<'_>) -> Result<Days, Mistake> {
    let mut days = Days::default();
    for mut item in items(expression, &DAY, field)? {
        if item.take('L') {
            let before =
                if item.take('-') { item.bounded("the days before the last one", 1, 30)? } else { 0 };
            match item.take('W') {
                true => days.near_from_last |= 1 << before,
                false => days.from_last |= 1 << before,
            }
        } else {
            let numbers = item.numbers()?;
            match (numbers.as_slice(), item.take('W')) {
                ([day], true) => days.near |= 1 << day,
                (_, true) => {
                    return Err(item.wrong(
                        "has `W` after more than one day; write each day with its own `W`, as 1W,15W",
                    ));
                }
                (numbers, false) => numbers.iter().for_each(|day| days.plain |= 1 << day),
            }
        }
        item.end()?;
    }
    Ok(days)
}

pub(super) fn weekdays(expression: &str, field: Field<'_>, dialect: Dialect) -> Result<Weekdays, Mistake> {
    let mut weekdays = Weekdays::default();
    let (kind, shift) = match dialect {
        Dialect::Vixie => (&WEEKDAY, 0),
        Dialect::Quartz => (&WEEKDAY_QUARTZ, 6),
    };
    let bit = |number: u32| 1u8 << ((number + shift) % 7);
    for mut item in items(expression, kind, field)? {
        if item.take('L') {
            if dialect == Dialect::Vixie {
                return Err(
                    item.wrong("has `L` without a day; write the day before it: 5L is the last Friday")
                );
            }
            // In Quartz a lone `L` is the last day of the week.
            weekdays.plain |= bit(7);
            item.end()?;
            continue;
        }
        let numbers = item.numbers()?;
        let before = item.read;
        if item.take('L') {
            weekdays.last |= bit(item.only(&numbers, before)?);
        } else if item.take('#') {
            let day = item.only(&numbers, before)?;
            if item.take('L') {
                weekdays.last |= bit(day);
            } else {
                let nth = item.bounded("the number after `#`", 1, 5)?;
                if let Some(set) = weekdays.nth.get_mut(nth as usize - 1) {
                    *set |= bit(day);
                }
            }
        } else {
            numbers.into_iter().for_each(|number| weekdays.plain |= bit(number));
        }
        item.end()?;
    }
    Ok(weekdays)
}

fn items<'a>(expression: &'a str, kind: &'a Kind, field: Field<'a>) -> Result<Vec<Item<'a>>, Mistake> {
    let mut at = field.at;
    let mut items = Vec::new();
    for text in field.text.split(',') {
        let item = Item { expression, kind, text, at, read: 0 };
        if text.is_empty() {
            let why = format!("has an empty place in the list for the {}; remove a comma", kind.what);
            return Err(Mistake::new(expression, at..at + 1, why));
        }
        items.push(item);
        at += text.len() + 1;
    }
    Ok(items)
}

impl<'a> Item<'a> {
    /// `*`, `?`, a number, a range, each of them perhaps with a step.
    fn numbers(&mut self) -> Result<Numbers, Mistake> {
        let (min, max) = (self.kind.min, self.highest());
        let is_for_days = matches!(self.kind.what, "day of month" | "day of week");
        if !is_for_days && self.rest().starts_with('?') {
            return Err(self.wrong("has `?`, which only the fields for days may have; write `*`"));
        }
        if self.take('*') || self.take('?') {
            return Ok((min..=max).step_by(self.step()?.unwrap_or(1) as usize).collect());
        }
        let begin = self.number()?;
        if self.take('-') {
            let end = self.number()?;
            let step = self.step()?.unwrap_or(1);
            return Ok(self.range(begin, end, step));
        }
        // `5/10` runs from 5 to the end of the field; in the field for weekdays that is 7, Sunday.
        Ok(match self.step()? {
            Some(step) => (begin..=self.kind.max).step_by(step as usize).collect(),
            None => vec![begin],
        })
    }

    /// A range whose end is smaller than its begin goes on at the smallest number of the field.
    fn range(&self, begin: u32, end: u32, step: u32) -> Numbers {
        let (min, max) = (self.kind.min, self.highest());
        if begin <= end {
            return (begin..=end).step_by(step as usize).collect();
        }
        // 7 and 0 are both Sunday.
        let begin = if begin > max { min } else { begin };
        if begin <= end {
            return (begin..=end).step_by(step as usize).collect();
        }
        (begin..=max).chain(min..=end).step_by(step as usize).collect()
    }

    /// The largest number that is not another name of a smaller one.
    fn highest(&self) -> u32 {
        match (self.kind.names.len(), self.kind.min) {
            (7, 0) => 6,
            _ => self.kind.max,
        }
    }

    fn step(&mut self) -> Result<Option<u32>, Mistake> {
        if !self.take('/') {
            return Ok(None);
        }
        let most = self.kind.max.max(self.kind.max - self.kind.min);
        self.bounded("the step", 1, most).map(Some)
    }

    /// A number or a name.
    fn number(&mut self) -> Result<u32, Mistake> {
        let rest = self.rest();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        if letters == 0 {
            return self.bounded(self.kind.what, self.kind.min, self.kind.max);
        }
        let begin = self.read;
        // A letter `L` may follow the name of a day.
        let name =
            if letters == 4 && rest[..4].ends_with(['L', 'l']) { &rest[..3] } else { &rest[..letters] };
        let index = self.kind.names.iter().position(|known| known.eq_ignore_ascii_case(name));
        let found = index.and_then(|index| u32::try_from(index).ok());
        self.read += name.len();
        match found {
            Some(index) => Ok(self.kind.first + index),
            None => Err(self.unknown_name(begin, name)),
        }
    }

    fn unknown_name(&self, begin: usize, name: &str) -> Mistake {
        let short = name.get(..3).unwrap_or(name).to_ascii_uppercase();
        let why = match self.kind.names {
            [] => format!(
                "has letters where the {} must be a number from {} to {}",
                self.kind.what, self.kind.min, self.kind.max
            ),
            names if names.contains(&short.as_str()) => format!("has a long name; write {short}"),
            names => format!("has an unknown {}; the names are {}", self.kind.what, names.join(", ")),
        };
        self.wrong_from(begin, why)
    }

    fn bounded(&mut self, what: &str, min: u32, max: u32) -> Result<u32, Mistake> {
        let rest = self.rest();
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let begin = self.read;
        if digits == 0 {
            self.read += rest.chars().next().map_or(0, char::len_utf8);
            return Err(
                self.wrong_from(begin, format!("needs a number from {min} to {max} here, for {what}"))
            );
        }
        self.read += digits;
        let number: Option<u32> = rest[..digits].parse().ok();
        number.filter(|number| (min..=max).contains(number)).ok_or_else(|| {
            self.wrong_from(begin, format!("has a number out of range for {what}; use {min} to {max}"))
        })
    }

    fn only(&self, numbers: &[u32], read: usize) -> Result<u32, Mistake> {
        match numbers {
            [number] => Ok(*number),
            _ => {
                let end = self.at + read;
                let why = "has a sign after more than one day; write each day with its own sign, as 1L,5L";
                Err(Mistake::new(self.expression, self.at..end, why))
            }
        }
    }

    /// Nothing may follow.
    fn end(&self) -> Result<(), Mistake> {
        if self.read == self.text.len() {
            return Ok(());
        }
        let why = format!(
            "has more than a {} may have here; the parts of a list are separated by commas",
            self.kind.what
        );
        Err(Mistake::new(self.expression, self.at + self.read..self.at + self.text.len(), why))
    }

    fn take(&mut self, wanted: char) -> bool {
        let is_there = self.rest().chars().next().is_some_and(|c| c.eq_ignore_ascii_case(&wanted));
        if is_there {
            self.read += wanted.len_utf8();
        }
        is_there
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.read..).unwrap_or("")
    }

    fn wrong(&self, why: impl Into<String>) -> Mistake {
        self.wrong_from(0, why)
    }

    fn wrong_from(&self, begin: usize, why: impl Into<String>) -> Mistake {
        Mistake::new(self.expression, self.at + begin..self.at + self.read.max(begin + 1), why)
    }
}
