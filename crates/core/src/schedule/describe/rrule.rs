//! A recurrence rule in plain language.

use super::{
    super::rrule::{Frequency, OrdinalWeekday, Rule, Until},
    cron,
    phrases::{list, ordinal},
};

const MONTHS_ALL: u16 = 0b1_1111_1111_1110;

pub(super) fn describe(rule: &Rule) -> String {
    let mut text = frequency(rule);
    let numbers = |numbers: &[i16]| list(&numbers.iter().map(|number| nth(*number)).collect::<Vec<_>>());
    let small = |list: &[i8]| list.iter().map(|number| i16::from(*number)).collect::<Vec<_>>();
    if rule.months != MONTHS_ALL {
        text.push_str(&format!(" in {}", cron::months(rule.months)));
    }
    if !rule.weeks.is_empty() {
        text.push_str(&format!(" in the {} week of the year", numbers(&small(&rule.weeks))));
    }
    if !rule.year_days.is_empty() {
        text.push_str(&format!(" on the {} day of the year", numbers(&rule.year_days)));
    }
    if !rule.month_days.is_empty() {
        text.push_str(&format!(" on the {} day of the month", numbers(&small(&rule.month_days))));
    }
    if !rule.weekdays.is_empty() {
        let limits = !rule.month_days.is_empty() || !rule.year_days.is_empty();
        let days: Vec<String> = rule.weekdays.iter().map(|day| weekday(rule, *day)).collect();
        text.push_str(&format!("{} {}", if limits { ", if that is" } else { " on" }, list(&days)));
    }
    if rule.frequency >= Frequency::Daily || rule.times.len() <= 6 {
        text.push_str(&format!(" {}", cron::times(&rule.times)));
    }
    if !rule.positions.is_empty() {
        text.push_str(&format!(", of these only the {}", numbers(&rule.positions)));
    }
    text.push_str(&format!(", from {} on", rule.start.date()));
    if let Some(count) = rule.count {
        text.push_str(&format!(", {count} times"));
    }
    match rule.until {
        Some(Until::Local(until)) => text.push_str(&format!(", until {}", until.date())),
        Some(Until::Exact(until)) => text.push_str(&format!(", until {until}")),
        None => {}
    }
    if !rule.excluded.is_empty() {
        let dates: Vec<String> = rule.excluded.iter().map(|at| at.date().to_string()).collect();
        text.push_str(&format!(", but not on {}", super::few(&dates, "dates")));
    }
    text
}

fn frequency(rule: &Rule) -> String {
    let unit = match rule.frequency {
        Frequency::Secondly => "second",
        Frequency::Minutely => "minute",
        Frequency::Hourly => "hour",
        Frequency::Daily => "day",
        Frequency::Weekly => "week",
        Frequency::Monthly => "month",
        Frequency::Yearly => "year",
    };
    match rule.interval {
        1 => format!("every {unit}"),
        interval => format!("every {} {unit}", ordinal(interval)),
    }
}

fn weekday(rule: &Rule, day: OrdinalWeekday) -> String {
    let name = day.weekday.to_sunday_zero_offset();
    let name = super::phrases::WEEKDAYS.get(usize::try_from(name).unwrap_or(0)).copied().unwrap_or("");
    match day.ordinal {
        None => name.to_owned(),
        Some(ordinal) => {
            let of_year = rule.frequency == Frequency::Yearly && rule.months == MONTHS_ALL;
            format!("the {} {name} of the {}", nth(ordinal.into()), if of_year { "year" } else { "month" })
        }
    }
}

/// `2nd`, `last`, `3rd last`.
fn nth(number: i16) -> String {
    match number {
        -1 => "last".to_owned(),
        ..0 => format!("{} last", ordinal(number.unsigned_abs().into())),
        _ => ordinal(number.unsigned_abs().into()),
    }
}
