//! From text to fields: which word is which field, and the rules that concern several fields.

use std::ops::Range;

use super::{
    Dialect, Fields, Stars,
    item::{self, Kind},
};
use crate::schedule::{
    Mistake,
    times::{HOURS_ALL, Times},
};

/// Longest expression, in bytes.
pub(super) const BYTES_MAX: usize = 1024;

/// A field and where it begins in the expression.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
}

impl Field<'_> {
    fn place(&self) -> Range<usize> {
        self.at..self.at + self.text.len()
    }

    fn begins_with_star(&self) -> bool {
        self.text.starts_with(['*', '?'])
    }
}

pub(super) fn fields(text: &str, dialect: Dialect) -> Result<Fields, Mistake> {
    if text.len() > BYTES_MAX {
        let why = format!("has {} bytes; at most {BYTES_MAX} are allowed. Write ranges or steps", text.len());
        return Err(Mistake::new(text, BYTES_MAX..text.len(), why));
    }
    let words = words(text);
    if let [word] = words.as_slice()
        && word.text.starts_with('@')
    {
        return fields(nickname(text, *word)?, Dialect::Vixie).map_err(|mistake| mistake.within(text, 0));
    }
    match dialect {
        Dialect::Vixie => vixie(text, &words),
        Dialect::Quartz => quartz(text, &words),
    }
}

fn vixie(text: &str, words: &[Field<'_>]) -> Result<Fields, Mistake> {
    let (second, [minute, hour, day, month, weekday]) = match *words {
        [minute, hour, day, month, weekday] => (None, [minute, hour, day, month, weekday]),
        [second, minute, hour, day, month, weekday] => (Some(second), [minute, hour, day, month, weekday]),
        _ => {
            let why =
                "needs 5 fields (minute, hour, day of month, month, day of week), or 6 with the second first";
            return Err(count(text, words, 6, why));
        }
    };
    let read = |kind: &Kind, field: Field<'_>| item::set(text, kind, field);
    let seconds = second.map_or(Ok(1), |second| read(&item::SECOND, second))?;
    let hours = u32::try_from(read(&item::HOUR, hour)?).unwrap_or(HOURS_ALL);
    Ok(Fields {
        times: Times { hours, minutes: read(&item::MINUTE, minute)?, seconds },
        days: item::days(text, day)?,
        months: u16::try_from(read(&item::MONTH, month)?).unwrap_or(u16::MAX),
        weekdays: item::weekdays(text, weekday, Dialect::Vixie)?,
        years: None,
        stars: Stars {
            minute: minute.begins_with_star(),
            hour: hour.begins_with_star(),
            day: day.begins_with_star(),
            weekday: weekday.begins_with_star(),
        },
        has_seconds: second.is_some(),
    })
}

fn quartz(text: &str, words: &[Field<'_>]) -> Result<Fields, Mistake> {
    let ([second, minute, hour, day, month, weekday], year) = match *words {
        [second, minute, hour, day, month, weekday] => ([second, minute, hour, day, month, weekday], None),
        [second, minute, hour, day, month, weekday, year] => {
            ([second, minute, hour, day, month, weekday], Some(year))
        }
        _ => {
            let why = "needs 6 fields in the Quartz dialect (second, minute, hour, day of month, month, day of week), \
                       or 7 with the year last";
            return Err(count(text, words, 7, why));
        }
    };
    match (day.text == "?", weekday.text == "?") {
        (true, false) | (false, true) => {}
        (true, true) => {
            let why = "has `?` in both fields for days; write `*` for every day in one of them";
            return Err(Mistake::new(text, weekday.place(), why));
        }
        (false, false) => {
            let why =
                "sets both fields for days; the Quartz dialect wants `?` in the one that does not count";
            return Err(Mistake::new(text, weekday.place(), why));
        }
    }
    let read = |kind: &Kind, field: Field<'_>| item::set(text, kind, field);
    let hours = u32::try_from(read(&item::HOUR, hour)?).unwrap_or(HOURS_ALL);
    Ok(Fields {
        times: Times { hours, minutes: read(&item::MINUTE, minute)?, seconds: read(&item::SECOND, second)? },
        days: item::days(text, day)?,
        months: u16::try_from(read(&item::MONTH, month)?).unwrap_or(u16::MAX),
        weekdays: item::weekdays(text, weekday, Dialect::Quartz)?,
        years: year.map(|year| item::years(text, year)).transpose()?.flatten(),
        stars: Stars {
            minute: minute.begins_with_star(),
            hour: hour.begins_with_star(),
            // One of the two is `?`, and then only the other counts.
            day: day.text == "?",
            weekday: weekday.text == "?",
        },
        has_seconds: true,
    })
}

/// Where the fields for days and months stand: what an expression that never fires must change.
pub(super) fn dates_place(text: &str, dialect: Dialect) -> Range<usize> {
    let words = words(text);
    let day = match (dialect, words.len()) {
        (Dialect::Vixie, 5) => 2,
        (Dialect::Vixie | Dialect::Quartz, _) => 3,
    };
    match (words.get(day), words.get(day + 1)) {
        (Some(day), Some(month)) => day.at..month.place().end,
        _ => 0..text.len(),
    }
}

fn nickname<'a>(text: &str, word: Field<'_>) -> Result<&'a str, Mistake> {
    let remedy = match word.text.to_ascii_lowercase().as_str() {
        "@yearly" | "@annually" => return Ok("0 0 1 1 *"),
        "@monthly" => return Ok("0 0 1 * *"),
        "@weekly" => return Ok("0 0 * * 0"),
        "@daily" | "@midnight" => return Ok("0 0 * * *"),
        "@hourly" => return Ok("0 * * * *"),
        "@reboot" => "names no time; enqueue a job when your program starts",
        "@every" => "needs a span; a spec of the kind `every` repeats after a span",
        _ => "is unknown; there are @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly",
    };
    Err(Mistake::new(text, word.place(), remedy))
}

fn count(text: &str, words: &[Field<'_>], most: usize, why: &str) -> Mistake {
    let place =
        words.get(most).map_or(text.trim_end().len()..text.len(), |extra| extra.at..text.trim_end().len());
    let number = words.len();
    Mistake::new(text, place, format!("{why}; it has {number}"))
}

fn words(text: &str) -> Vec<Field<'_>> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(begin) = rest.find(|c: char| !c.is_ascii_whitespace()) {
        let word = &rest[begin..];
        let end = word.find(|c: char| c.is_ascii_whitespace()).unwrap_or(word.len());
        words.push(Field { text: &word[..end], at: text.len() - rest.len() + begin });
        rest = &word[end..];
    }
    words
}
