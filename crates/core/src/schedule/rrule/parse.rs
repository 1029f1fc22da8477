//! The grammar of `DTSTART`, `RRULE` and `EXDATE`, and what a rule takes over from its start.

use std::{ops::Range, str::FromStr};

use jiff::{
    Timestamp,
    civil::{Date, DateTime, Weekday},
};

use super::{COUNT_MAX, Frequency, OrdinalWeekday, Rule, Until};
use crate::schedule::{
    Mistake,
    times::{HOURS_ALL, SIXTY_ALL, Times},
};

pub(super) const MONTHS_ALL: u16 = 0b1_1111_1111_1110;
const BYTES_MAX: usize = 16 * 1024;
const LIST_MAX: usize = 1000;

/// A piece of the text and where it begins.
#[derive(Clone, Copy)]
struct Piece<'a> {
    whole: &'a str,
    text: &'a str,
    at: usize,
}

/// What the rule line says, before anything is taken over from the start.
#[derive(Default)]
struct Parts<'a> {
    freq: Option<Frequency>,
    interval: Option<u32>,
    count: Option<u32>,
    until: Option<Until>,
    week_start: Option<Weekday>,
    months: Vec<i16>,
    weeks: Vec<i16>,
    year_days: Vec<i16>,
    month_days: Vec<i16>,
    weekdays: Vec<OrdinalWeekday>,
    hours: Vec<i16>,
    minutes: Vec<i16>,
    seconds: Vec<i16>,
    positions: Vec<i16>,
    seen: Vec<&'a str>,
}

pub(super) fn rule(text: &str, zone_name: &str) -> Result<Rule, Mistake> {
    if text.len() > BYTES_MAX {
        let why = format!("has {} bytes; at most {BYTES_MAX} are allowed", text.len());
        return Err(Mistake::new(text, BYTES_MAX..text.len(), why));
    }
    let (mut start, mut line, mut excluded) = (None, None, Vec::new());
    for piece in (Piece { whole: text, text, at: 0 }).split(|c| matches!(c, '\n' | '\r')) {
        let piece = piece.trimmed();
        if piece.text.is_empty() {
            continue;
        }
        let (head, value) = piece.cut(':').unwrap_or((piece.empty(), piece));
        let mut head = head.split(|c| c == ';').into_iter();
        let name = head.next().map_or("", |name| name.text).to_ascii_uppercase();
        for parameter in head {
            check_parameter(parameter, zone_name)?;
        }
        match name.as_str() {
            "DTSTART" if start.is_none() => start = Some(value.moment()?),
            "RRULE" | "" if line.is_none() => line = Some(value),
            "DTSTART" | "RRULE" | "" => {
                return Err(piece.wrong("is there a second time; a union of several rules is several specs"));
            }
            "EXDATE" => {
                for date in value.split(|c| c == ',') {
                    excluded.push(date.moment()?);
                }
            }
            "RDATE" => return Err(piece.wrong("is not read; add a spec with the moments beside the rule")),
            "EXRULE" => {
                return Err(piece.wrong("is not read; write a rule among the exclusions of the schedule"));
            }
            _ => return Err(piece.wrong("is unknown; there are DTSTART, RRULE and EXDATE")),
        }
    }
    let end = text.len()..text.len();
    let Some(line) = line else { return Err(Mistake::new(text, end, "has no RRULE; add RRULE:FREQ=…")) };
    let Some(start) = start else {
        let why = "has no DTSTART, from which intervals are counted; add a line DTSTART:20260101T090000 before the rule";
        return Err(Mistake::new(text, line.place(), why));
    };
    if excluded.len() > LIST_MAX {
        let why = format!("excludes {} dates; at most {LIST_MAX} are allowed", excluded.len());
        return Err(Mistake::new(text, end, why));
    }
    excluded.sort_unstable();
    complete(parts(line)?, line, start, excluded)
}

fn check_parameter(parameter: Piece<'_>, zone_name: &str) -> Result<(), Mistake> {
    let (name, value) = parameter.cut('=').unwrap_or((parameter, parameter.empty()));
    match name.text.to_ascii_uppercase().as_str() {
        "VALUE" => Ok(()),
        "TZID" if value.text == zone_name => Ok(()),
        "TZID" => {
            let why = format!(
                "names another zone than the schedule, which is in {zone_name}; set the zone of the schedule"
            );
            Err(value.wrong(why))
        }
        _ => Err(parameter.wrong("is unknown; there are TZID and VALUE")),
    }
}

fn parts(line: Piece<'_>) -> Result<Parts<'_>, Mistake> {
    let mut parts = Parts::default();
    for part in line.split(|c| c == ';') {
        if part.text.is_empty() {
            return Err(part.wrong("is an empty part; remove a semicolon"));
        }
        let Some((name, value)) = part.cut('=') else {
            return Err(part.wrong("needs the form NAME=VALUE"));
        };
        let upper = name.text.to_ascii_uppercase();
        if parts.seen.iter().any(|seen| seen.eq_ignore_ascii_case(name.text)) {
            return Err(part.wrong("is there a second time; put all values into one list"));
        }
        parts.seen.push(name.text);
        match upper.as_str() {
            "FREQ" => parts.freq = Some(frequency(value)?),
            "INTERVAL" => parts.interval = Some(value.number(1, 1_000_000)?),
            "COUNT" => parts.count = Some(value.number(1, COUNT_MAX)?),
            "UNTIL" => parts.until = Some(value.until()?),
            "WKST" => parts.week_start = Some(weekday(value)?.weekday),
            "BYMONTH" => parts.months = value.numbers(1, 12, false)?,
            "BYWEEKNO" => parts.weeks = value.numbers(1, 53, true)?,
            "BYYEARDAY" => parts.year_days = value.numbers(1, 366, true)?,
            "BYMONTHDAY" => parts.month_days = value.numbers(1, 31, true)?,
            "BYDAY" => {
                parts.weekdays =
                    value.split(|c| c == ',').into_iter().map(weekday).collect::<Result<_, _>>()?;
            }
            "BYHOUR" => parts.hours = value.numbers(0, 23, false)?,
            "BYMINUTE" => parts.minutes = value.numbers(0, 59, false)?,
            "BYSECOND" => parts.seconds = value.numbers(0, 59, false)?,
            "BYSETPOS" => parts.positions = value.numbers(1, 366, true)?,
            _ => return Err(name.wrong("is no part of a rule of RFC 5545; see its section 3.3.10")),
        }
    }
    Ok(parts)
}

/// Takes over from the start what the rule leaves open, and refuses what RFC 5545 forbids.
fn complete(
    parts: Parts<'_>,
    line: Piece<'_>,
    start: DateTime,
    excluded: Vec<DateTime>,
) -> Result<Rule, Mistake> {
    let Some(frequency) = parts.freq else { return Err(line.wrong("has no FREQ; add one, as FREQ=DAILY")) };
    if parts.count.is_some() && parts.until.is_some() {
        return Err(line.wrong("has both COUNT and UNTIL; leave one of them out"));
    }
    forbidden(&parts, frequency).map_or(Ok(()), |why| Err(line.wrong(why)))?;
    let small =
        |numbers: &[i16]| numbers.iter().filter_map(|number| i8::try_from(*number).ok()).collect::<Vec<i8>>();
    let (mut month_days, mut weekdays) = (small(&parts.month_days), parts.weekdays);
    let mut months = bits(&parts.months).and_then(|set| u16::try_from(set).ok()).unwrap_or(MONTHS_ALL);
    let names_no_day = month_days.is_empty() && weekdays.is_empty() && parts.year_days.is_empty();
    match frequency {
        Frequency::Yearly if names_no_day && parts.weeks.is_empty() => {
            month_days.push(start.day());
            if parts.months.is_empty() {
                months = 1 << start.month();
            }
        }
        Frequency::Yearly if names_no_day => weekdays.push(OrdinalWeekday::every(start.weekday())),
        Frequency::Monthly if names_no_day => month_days.push(start.day()),
        Frequency::Weekly if weekdays.is_empty() => weekdays.push(OrdinalWeekday::every(start.weekday())),
        Frequency::Yearly
        | Frequency::Monthly
        | Frequency::Weekly
        | Frequency::Daily
        | Frequency::Hourly
        | Frequency::Minutely
        | Frequency::Secondly => {}
    }
    let time = |set: &[i16], below: bool, all: u64, of_start: i8| {
        let filled = if below { all } else { 1 << of_start };
        bits(set).unwrap_or(filled)
    };
    let hours = time(&parts.hours, frequency <= Frequency::Hourly, HOURS_ALL.into(), start.hour());
    let times = Times {
        hours: u32::try_from(hours).unwrap_or(HOURS_ALL),
        minutes: time(&parts.minutes, frequency <= Frequency::Minutely, SIXTY_ALL, start.minute()),
        seconds: time(&parts.seconds, frequency <= Frequency::Secondly, SIXTY_ALL, start.second()),
    };
    Ok(Rule {
        start,
        frequency,
        interval: parts.interval.unwrap_or(1),
        count: parts.count,
        until: parts.until,
        week_start: parts.week_start.unwrap_or(Weekday::Monday),
        months,
        weeks: small(&parts.weeks),
        year_days: parts.year_days,
        month_days,
        weekdays,
        times,
        positions: parts.positions,
        excluded,
        last: None,
    })
}

fn forbidden(parts: &Parts<'_>, frequency: Frequency) -> Option<&'static str> {
    let has_ordinal = parts.weekdays.iter().any(|day| day.ordinal.is_some());
    let by_month_or_year = matches!(frequency, Frequency::Monthly | Frequency::Yearly);
    if has_ordinal && !by_month_or_year {
        return Some("numbers a weekday, which only FREQ=MONTHLY and FREQ=YEARLY may; remove the number");
    }
    if has_ordinal && !parts.weeks.is_empty() {
        return Some("numbers a weekday beside BYWEEKNO; remove the number");
    }
    if !parts.weeks.is_empty() && frequency != Frequency::Yearly {
        return Some("has BYWEEKNO, which only FREQ=YEARLY may have");
    }
    let without_year_days = [Frequency::Daily, Frequency::Weekly, Frequency::Monthly];
    if !parts.year_days.is_empty() && without_year_days.contains(&frequency) {
        return Some("has BYYEARDAY, which FREQ=DAILY, WEEKLY and MONTHLY may not have; use FREQ=YEARLY");
    }
    if !parts.month_days.is_empty() && frequency == Frequency::Weekly {
        return Some("has BYMONTHDAY, which FREQ=WEEKLY may not have; use FREQ=DAILY or MONTHLY");
    }
    let by_others = parts
        .seen
        .iter()
        .any(|name| name.to_ascii_uppercase().starts_with("BY") && !name.eq_ignore_ascii_case("BYSETPOS"));
    if !parts.positions.is_empty() && !by_others {
        return Some("has BYSETPOS without another BY… part to choose from; add one");
    }
    None
}

fn bits(numbers: &[i16]) -> Option<u64> {
    let set = numbers.iter().filter_map(|number| 1u64.checked_shl(u32::try_from(*number).ok()?));
    (!numbers.is_empty()).then(|| set.fold(0, |all, one| all | one))
}

fn frequency(value: Piece<'_>) -> Result<Frequency, Mistake> {
    Ok(match value.text.to_ascii_uppercase().as_str() {
        "SECONDLY" => Frequency::Secondly,
        "MINUTELY" => Frequency::Minutely,
        "HOURLY" => Frequency::Hourly,
        "DAILY" => Frequency::Daily,
        "WEEKLY" => Frequency::Weekly,
        "MONTHLY" => Frequency::Monthly,
        "YEARLY" => Frequency::Yearly,
        _ => {
            let why =
                "is no frequency; there are SECONDLY, MINUTELY, HOURLY, DAILY, WEEKLY, MONTHLY and YEARLY";
            return Err(value.wrong(why));
        }
    })
}

fn weekday(value: Piece<'_>) -> Result<OrdinalWeekday, Mistake> {
    let why = "is no day of the week; write MO, TU, WE, TH, FR, SA or SU, with a number before it for the nth: 2MO, -1FR";
    let letters = value.text.len().checked_sub(2).filter(|at| value.text.is_char_boundary(*at));
    let (number, name) = value.text.split_at(letters.ok_or_else(|| value.wrong(why))?);
    let weekday = match name.to_ascii_uppercase().as_str() {
        "MO" => Weekday::Monday,
        "TU" => Weekday::Tuesday,
        "WE" => Weekday::Wednesday,
        "TH" => Weekday::Thursday,
        "FR" => Weekday::Friday,
        "SA" => Weekday::Saturday,
        "SU" => Weekday::Sunday,
        _ => return Err(value.wrong(why)),
    };
    if number.is_empty() {
        return Ok(OrdinalWeekday::every(weekday));
    }
    let ordinal: Option<i8> = number.parse().ok().filter(|nth: &i8| *nth != 0 && nth.unsigned_abs() <= 53);
    match ordinal {
        Some(nth) => Ok(OrdinalWeekday { ordinal: Some(nth), weekday }),
        None => Err(value.wrong(why)),
    }
}

impl<'a> Piece<'a> {
    fn split(self, at: impl Fn(char) -> bool) -> Vec<Self> {
        let mut begin = self.at;
        let pieces = self.text.split(at).map(|text| {
            let piece = Piece { text, at: begin, ..self };
            begin += text.len() + 1;
            piece
        });
        pieces.collect()
    }

    fn cut(self, at: char) -> Option<(Self, Self)> {
        let (head, tail) = self.text.split_once(at)?;
        let tail_at = self.at + head.len() + at.len_utf8();
        Some((Piece { text: head, ..self }, Piece { text: tail, at: tail_at, ..self }))
    }

    fn trimmed(self) -> Self {
        let begin = self.text.len() - self.text.trim_start().len();
        Piece { text: self.text.trim(), at: self.at + begin, ..self }
    }

    fn empty(self) -> Self {
        Piece { text: "", ..self }
    }

    fn place(self) -> Range<usize> {
        self.at..self.at + self.text.len()
    }

    fn wrong(self, why: impl Into<String>) -> Mistake {
        Mistake::new(self.whole, self.place(), why)
    }

    fn number(self, min: u32, max: u32) -> Result<u32, Mistake> {
        let number = self.text.parse().ok().filter(|number| (min..=max).contains(number));
        number.ok_or_else(|| self.wrong(format!("must be a number from {min} to {max}")))
    }

    /// A list of numbers; with `from_end` also negative ones, which count from the end.
    fn numbers(self, min: i16, max: i16, from_end: bool) -> Result<Vec<i16>, Mistake> {
        let fits =
            |number: &i16| (min..=max).contains(number) || (from_end && (-max..=-min).contains(number));
        let range =
            if from_end { format!("{min} to {max}, or -{max} to -{min}") } else { format!("{min} to {max}") };
        let one = |piece: Piece<'a>| {
            let number = i16::from_str(piece.text).ok().filter(fits);
            number.ok_or_else(|| piece.wrong(format!("must be a number from {range}")))
        };
        let mut numbers = self.split(|c| c == ',').into_iter().map(one).collect::<Result<Vec<_>, _>>()?;
        numbers.sort_unstable();
        numbers.dedup();
        Ok(numbers)
    }

    /// A date, or a date with a time, on the wall clock.
    fn moment(self) -> Result<DateTime, Mistake> {
        if self.text.ends_with(['Z', 'z']) {
            let why = "is in UTC; write the time on the wall clock of the schedule's zone, without Z";
            return Err(self.wrong(why));
        }
        self.digits().ok_or_else(|| self.wrong("is no moment; write 20261224T180000 or 20261224"))
    }

    fn until(self) -> Result<Until, Mistake> {
        let wrong = || self.wrong("is no moment; write 20261224T180000, 20261224T170000Z or 20261224");
        if let Some(utc) = self.text.strip_suffix(['Z', 'z']) {
            let at = Piece { text: utc, ..self }.digits().ok_or_else(wrong)?;
            let exact: Timestamp = jiff::tz::Offset::UTC.to_timestamp(at).map_err(|_| wrong())?;
            return Ok(Until::Exact(exact));
        }
        let at = self.digits().ok_or_else(wrong)?;
        // A date alone includes that day.
        let whole_day = self.text.len() == 8;
        Ok(Until::Local(if whole_day { at.date().at(23, 59, 59, 0) } else { at }))
    }

    fn digits(self) -> Option<DateTime> {
        let number = |range: Range<usize>| -> Option<i16> {
            let digits = self.text.get(range)?;
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
        };
        let small = |range: Range<usize>| i8::try_from(number(range)?).ok();
        let date = Date::new(number(0..4)?, small(4..6)?, small(6..8)?).ok()?;
        match self.text.len() {
            8 => Some(date.to_datetime(jiff::civil::Time::midnight())),
            15 if self.text.get(8..9)?.eq_ignore_ascii_case("T") => {
                let time = jiff::civil::Time::new(small(9..11)?, small(11..13)?, small(13..15)?, 0).ok()?;
                Some(date.to_datetime(time))
            }
            _ => None,
        }
    }
}
