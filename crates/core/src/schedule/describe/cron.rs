//! A cron expression in plain language.

use super::{
    super::{
        cron::Fields,
        times::{HOURS_ALL, SIXTY_ALL, Times},
    },
    phrases::{self, MONTHS, WEEKDAYS, list, ordinal, ranges, step},
};

const DAYS_ALL: u32 = 0xffff_fffe;
const MONTHS_ALL: u16 = 0b1_1111_1111_1110;

pub(super) fn describe(fields: &Fields) -> String {
    let mut text = format!("{}{}", times(&fields.times), days(fields));
    if fields.months != MONTHS_ALL {
        text.push_str(&format!(" in {}", months(fields.months)));
    }
    if let Some(years) = &fields.years {
        let years: Vec<String> = years.iter().map(ToString::to_string).collect();
        let years = match years.as_slice() {
            [first, .., last] if years.len() > 5 => format!("{} years from {first} to {last}", years.len()),
            years => list(years),
        };
        text.push_str(&format!(", only in {years}"));
    }
    text
}

pub(super) fn months(set: u16) -> String {
    ranges(set.into(), |month| MONTHS.get(month as usize - 1).map_or(String::new(), ToString::to_string))
}

/// When on a day.
pub(super) fn times(times: &Times) -> String {
    if times.len() <= 6 {
        let all: Vec<String> = (0..times.len()).filter_map(|nth| times.nth(nth)).map(phrases::time).collect();
        return format!("at {}", list(&all));
    }
    let hours = match times.hours {
        HOURS_ALL => String::new(),
        hours if hours.count_ones() == 1 => format!(" in the hour {}", of_hours(hours)),
        hours => format!(" in the hours {}", of_hours(hours)),
    };
    let minutes = match (times.minutes, step(times.minutes, 0, 59)) {
        (SIXTY_ALL, _) => "every minute".to_owned(),
        (1, _) if times.seconds == 1 && times.hours == HOURS_ALL => return "every hour".to_owned(),
        (1, _) if times.seconds == 1 => "on the hour".to_owned(),
        (_, Some((every, 0))) => format!("every {every} minutes"),
        (_, Some((every, first))) => format!("every {every} minutes from minute {first} on"),
        (set, None) => format!("at minute {}", ranges(set, |minute| minute.to_string())),
    };
    let is_even = step(times.minutes, 0, 59).is_some_and(|(every, first)| first == 0 && 60 % every == 0);
    let of_hour =
        if hours.is_empty() && !is_even && times.minutes != SIXTY_ALL { " of every hour" } else { "" };
    let seconds = match (times.seconds, step(times.seconds, 0, 59)) {
        (1, _) => return format!("{minutes}{of_hour}{hours}"),
        (SIXTY_ALL, _) => "every second".to_owned(),
        (_, Some((every, 0))) => format!("every {every} seconds"),
        (_, Some((every, first))) => format!("every {every} seconds from second {first} on"),
        (set, None) => format!("at second {}", ranges(set, |second| second.to_string())),
    };
    match times.minutes {
        SIXTY_ALL if seconds.starts_with("every") => format!("{seconds}{hours}"),
        SIXTY_ALL => format!("{seconds} of every minute{hours}"),
        _ => format!("{seconds}, {minutes}{of_hour}{hours}"),
    }
}

fn of_hours(set: u32) -> String {
    match step(set.into(), 0, 23) {
        Some((every, 0)) => format!("divisible by {every}"),
        _ => ranges(set.into(), |hour| hour.to_string()),
    }
}

/// On which days. Empty if on all.
fn days(fields: &Fields) -> String {
    match (of_month(fields), of_week(fields, "every ")) {
        (None, None) if fields.times.len() <= 6 => " every day".to_owned(),
        (None, None) => String::new(),
        (Some(days), None) | (None, Some(days)) if !fields.either_day() => format!(" on {days}"),
        (Some(days), Some(weekdays)) if fields.either_day() => {
            format!(" on {days} and also on {weekdays} (either is enough: OR, as cron does)")
        }
        // A restricted field beside one that lists every day.
        (None, Some(_)) | (Some(_), None) => {
            " every day (either field for days is enough: OR, as cron does)".to_owned()
        }
        (Some(days), Some(_)) => {
            let weekdays = of_week(fields, "a ").unwrap_or_default();
            format!(" on {days}, if that is {weekdays} (both must fit: a field for days begins with `*`)")
        }
    }
}

fn of_month(fields: &Fields) -> Option<String> {
    let days = fields.days;
    if days.plain == DAYS_ALL {
        return None;
    }
    let mut phrases = Vec::new();
    match step(days.plain.into(), 1, 31) {
        _ if days.plain == 0 => {}
        Some((every, first)) => {
            phrases.push(format!("every {} day of the month from the {} on", ordinal(every), ordinal(first)));
        }
        None => phrases.push(format!("the {}", ranges(days.plain.into(), ordinal))),
    }
    each(days.from_last, |before| {
        phrases.push(match before {
            0 => "the last day of the month".to_owned(),
            1 => "the day before the last of the month".to_owned(),
            days => format!("the day {days} days before the last of the month"),
        });
    });
    each(days.near, |day| phrases.push(format!("the working day nearest to the {}", ordinal(day))));
    each(days.near_from_last, |before| {
        phrases.push(match before {
            0 => "the last working day of the month".to_owned(),
            days => format!("the working day nearest to {days} days before the last of the month"),
        });
    });
    Some(list(&phrases))
}

fn of_week(fields: &Fields, each_one: &str) -> Option<String> {
    let weekdays = fields.weekdays;
    let name = |day: u32| WEEKDAYS.get(day as usize % 7).map_or(String::new(), ToString::to_string);
    if weekdays.plain == 0b111_1111 {
        return None;
    }
    let mut phrases = Vec::new();
    if weekdays.plain != 0 {
        // From Monday on, so that Saturday and Sunday stand together.
        let from_monday = u64::from(weekdays.plain >> 1) | (u64::from(weekdays.plain & 1) << 6);
        let days = ranges(from_monday, |day| name(day + 1));
        let has_range = days.contains(" to ");
        phrases.push(if has_range { format!("the days {days}") } else { format!("{each_one}{days}") });
    }
    for (index, set) in weekdays.nth.into_iter().enumerate() {
        let nth = ordinal(u32::try_from(index + 1).unwrap_or(1));
        each(set.into(), |day| phrases.push(format!("the {nth} {} of the month", name(day))));
    }
    each(weekdays.last.into(), |day| phrases.push(format!("the last {} of the month", name(day))));
    Some(list(&phrases))
}

fn each(mut set: u32, mut of: impl FnMut(u32)) {
    while set != 0 {
        of(set.trailing_zeros());
        set &= set - 1;
    }
}
