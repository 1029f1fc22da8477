//! The phrases that descriptions are made of.

use jiff::civil::Time;

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// From Sunday on.
pub(super) const WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// `a`, `a and b`, `a, b and c`.
pub(super) fn list(entries: &[String]) -> String {
    match entries {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// The numbers of a set, with `name` for each; three and more neighbours become a range.
pub(super) fn ranges(set: u64, name: impl Fn(u32) -> String) -> String {
    let mut entries = Vec::new();
    let mut rest = set;
    while rest != 0 {
        let begin = rest.trailing_zeros();
        let len = (rest >> begin).trailing_ones();
        let end = begin + len - 1;
        match len {
            1 => entries.push(name(begin)),
            2 => entries.extend([name(begin), name(end)]),
            _ => entries.push(format!("{} to {}", name(begin), name(end))),
        }
        rest &= u64::MAX.checked_shl(end + 1).unwrap_or(0);
    }
    list(&entries)
}

/// The step and the first number, if the set has every n-th number of a field from its first on, and at least three.
pub(super) fn step(set: u64, min: u32, max: u32) -> Option<(u32, u32)> {
    if set.count_ones() < 3 {
        return None;
    }
    let first = set.trailing_zeros();
    let step = (set & (set - 1)).trailing_zeros() - first;
    let is_whole = first.checked_sub(min)? < step;
    let expected = (first..=max).step_by(step as usize).fold(0u64, |all, bit| all | 1 << bit);
    (step > 1 && is_whole && expected == set).then_some((step, first))
}

/// `1st`, `2nd`, `3rd`, `4th`, …
pub(super) fn ordinal(number: u32) -> String {
    let ending = match (number % 10, number % 100) {
        (1, teen) if teen != 11 => "st",
        (2, teen) if teen != 12 => "nd",
        (3, teen) if teen != 13 => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// `09:05`, with seconds only if there are any.
pub(super) fn time(time: Time) -> String {
    match time.second() {
        0 => format!("{:02}:{:02}", time.hour(), time.minute()),
        second => format!("{:02}:{:02}:{second:02}", time.hour(), time.minute()),
    }
}
