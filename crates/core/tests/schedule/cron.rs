//! Cron expressions: what each means, and what is wrong with those that mean nothing.

use backroom_core::schedule::{
    cron::{Cron, Dialect},
    policy::Dst,
};
use jiff::civil::DateTime;
use proptest::prelude::*;

use crate::common::{next, timetable};

/// The next moments of the wall clock after the beginning of 2026-11-27, a Friday.
fn fires(text: &str, count: usize) -> Vec<String> {
    next(&timetable(text, "UTC", Dst::Once), "2026-11-26T23:59:59.5Z", count)
        .into_iter()
        .map(|at| at.trim_end_matches("+00:00").replace('T', " "))
        .collect()
}

#[test]
fn each_form_means_what_its_name_says() {
    let table: &[(&str, &[&str])] = &[
        ("0 2 * * *", &["2026-11-27 02:00:00", "2026-11-28 02:00:00"]),
        ("30 0 2 * * *", &["2026-11-27 02:00:30", "2026-11-28 02:00:30"]),
        (
            "*/20 1 * * *",
            &["2026-11-27 01:00:00", "2026-11-27 01:20:00", "2026-11-27 01:40:00", "2026-11-28 01:00:00"],
        ),
        ("50/5 0 * * *", &["2026-11-27 00:50:00", "2026-11-27 00:55:00", "2026-11-28 00:50:00"]),
        ("0 0 1,15 * *", &["2026-12-01 00:00:00", "2026-12-15 00:00:00"]),
        ("0 0 * JAN-mar *", &["2027-01-01 00:00:00", "2027-01-02 00:00:00"]),
        ("0 0 * * 7", &["2026-11-29 00:00:00", "2026-12-06 00:00:00"]),
        ("0 0 * * sun", &["2026-11-29 00:00:00", "2026-12-06 00:00:00"]),
        (
            "0 0 * * 5-7",
            &["2026-11-27 00:00:00", "2026-11-28 00:00:00", "2026-11-29 00:00:00", "2026-12-04 00:00:00"],
        ),
        // A range whose end is smaller than its begin goes on at the smallest number.
        (
            "0 0 * * fri-mon",
            &[
                "2026-11-27 00:00:00",
                "2026-11-28 00:00:00",
                "2026-11-29 00:00:00",
                "2026-11-30 00:00:00",
                "2026-12-04 00:00:00",
            ],
        ),
        ("0 22-2/2 * * *", &["2026-11-27 00:00:00", "2026-11-27 02:00:00", "2026-11-27 22:00:00"]),
        (
            "0 0 30-2 * *",
            &["2026-11-30 00:00:00", "2026-12-01 00:00:00", "2026-12-02 00:00:00", "2026-12-30 00:00:00"],
        ),
        ("0 0 * 11-2/3 *", &["2026-11-27 00:00:00", "2026-11-28 00:00:00"]),
        (
            "0 0 L * *",
            &["2026-11-30 00:00:00", "2026-12-31 00:00:00", "2027-01-31 00:00:00", "2027-02-28 00:00:00"],
        ),
        (
            "0 0 L-3 * *",
            &["2026-11-27 00:00:00", "2026-12-28 00:00:00", "2027-01-28 00:00:00", "2027-02-25 00:00:00"],
        ),
        (
            "0 0 LW * *",
            &["2026-11-30 00:00:00", "2026-12-31 00:00:00", "2027-01-29 00:00:00", "2027-02-26 00:00:00"],
        ),
        ("0 0 15W * *", &["2026-12-15 00:00:00", "2027-01-15 00:00:00", "2027-02-15 00:00:00"]),
        // 1 May 2027 is a Saturday, 1 August a Sunday, 31 October a Sunday: the month is not left.
        ("0 0 1W 5,8 *", &["2027-05-03 00:00:00", "2027-08-02 00:00:00"]),
        ("0 0 31W 10 *", &["2027-10-29 00:00:00"]),
        ("0 0 * * 5#2", &["2026-12-11 00:00:00", "2027-01-08 00:00:00"]),
        ("0 0 * * 5#5", &["2027-01-29 00:00:00", "2027-04-30 00:00:00"]),
        ("0 0 * * 5L", &["2026-11-27 00:00:00", "2026-12-25 00:00:00", "2027-01-29 00:00:00"]),
        ("0 0 * * FRIL", &["2026-11-27 00:00:00", "2026-12-25 00:00:00"]),
        ("0 0 * * 5#L", &["2026-11-27 00:00:00", "2026-12-25 00:00:00"]),
        ("0 0 ? * 1", &["2026-11-30 00:00:00", "2026-12-07 00:00:00"]),
        ("0 0 29 2 *", &["2028-02-29 00:00:00", "2032-02-29 00:00:00"]),
        ("@yearly", &["2027-01-01 00:00:00", "2028-01-01 00:00:00"]),
        ("@annually", &["2027-01-01 00:00:00", "2028-01-01 00:00:00"]),
        ("@monthly", &["2026-12-01 00:00:00", "2027-01-01 00:00:00"]),
        ("@weekly", &["2026-11-29 00:00:00", "2026-12-06 00:00:00"]),
        ("@daily", &["2026-11-27 00:00:00", "2026-11-28 00:00:00"]),
        ("@Midnight", &["2026-11-27 00:00:00", "2026-11-28 00:00:00"]),
        ("@hourly", &["2026-11-27 00:00:00", "2026-11-27 01:00:00"]),
        // Quartz: 1 is Sunday, and 7 Saturday.
        ("quartz 0 0 12 ? * 1", &["2026-11-29 12:00:00", "2026-12-06 12:00:00"]),
        ("quartz 0 0 12 ? * L", &["2026-11-28 12:00:00", "2026-12-05 12:00:00"]),
        ("quartz 0 0 12 ? * 6L", &["2026-11-27 12:00:00", "2026-12-25 12:00:00"]),
        ("quartz 0 0 12 L-3W * ?", &["2026-11-27 12:00:00", "2026-12-28 12:00:00"]),
        ("quartz 0 0 0 1 1 ? 2030,2028", &["2028-01-01 00:00:00", "2030-01-01 00:00:00"]),
    ];
    for (text, expected) in table {
        assert_eq!(fires(text, expected.len()), *expected, "{text}");
    }
}

#[test]
fn either_of_two_restricted_fields_for_days_is_enough() {
    assert_eq!(
        fires("0 0 1 * 1", 4),
        ["2026-11-30 00:00:00", "2026-12-01 00:00:00", "2026-12-07 00:00:00", "2026-12-14 00:00:00"]
    );
}

#[test]
fn a_field_for_days_that_begins_with_a_star_makes_both_count() {
    // Odd days that are Mondays.
    assert_eq!(
        fires("0 0 */2 * 1", 3),
        ["2026-12-07 00:00:00", "2026-12-21 00:00:00", "2027-01-11 00:00:00"]
    );
    assert_eq!(
        fires("0 0 13 * */5", 3),
        ["2026-12-13 00:00:00", "2027-06-13 00:00:00", "2027-08-13 00:00:00"]
    );
}

#[test]
fn an_expression_that_can_never_fire_is_refused() {
    for text in [
        "0 0 31 2 *",
        "0 0 30 2 *",
        "0 0 31 4,6,9,11 *",
        "0 0 L-30 2 *",
        "quartz 0 0 0 29 2 ? 2027",
        "0 0 L-29 2 *",
    ] {
        let (text, dialect) =
            text.strip_prefix("quartz ").map_or((text, Dialect::Vixie), |text| (text, Dialect::Quartz));
        let error = Cron::parse(text, dialect).map(drop).unwrap_err();
        assert!(error.why.contains("can never fire"), "{text}: {error}");
    }
    // Rare is not never: 29 February on a Sunday, also over the year 2100.
    assert_eq!(fires("0 0 29 2 */7", 1), ["2032-02-29 00:00:00"]);
    let late = timetable("0 0 29 2 *", "UTC", Dst::Once);
    assert_eq!(next(&late, "2096-03-01T00:00:00Z", 1), ["2104-02-29T00:00:00+00:00"]);
}

#[test]
fn an_error_underlines_the_place_and_says_the_remedy() {
    let table = [
        ("0 0 32 * *", "32", "use 1 to 31"),
        ("60 0 * * *", "60", "use 0 to 59"),
        ("0 0 0 * *", "0", "use 1 to 31"),
        ("0 0 * 13 *", "13", "use 1 to 12"),
        ("0 0 * * 8", "8", "use 0 to 7"),
        ("0 0 * * monday", "monday", "write MON"),
        ("0 0 * * xyz", "xyz", "the names are SUN"),
        ("0 0 L * L", "L", "5L is the last Friday"),
        ("*/0 * * * *", "0", "use 1 to 59"),
        ("1,,2 * * * *", ",", "remove a comma"),
        ("0 0 * * 5#6", "6", "use 1 to 5"),
        ("0 0 1-5W * *", "1-5W", "1W,15W"),
        ("0 0 * * 1-5L", "1-5", "1L,5L"),
        ("5-* * * * *", "*", "needs a number"),
        ("5x * * * *", "x", "separated by commas"),
        ("? * * * *", "?", "write `*`"),
        ("å * * * *", "å", "needs a number"),
        ("0 0 * *", "", "it has 4"),
        ("0 0 * * * * *", "*", "it has 7"),
        ("@every 5m", "@every", "it has 2"),
        ("@reboot", "@reboot", "when your program starts"),
        ("@fortnightly", "@fortnightly", "@weekly"),
        ("", "", "it has 0"),
    ];
    for (text, place, remedy) in table {
        let error = Cron::parse(text, Dialect::Vixie).map(drop).unwrap_err();
        let found = &error.text[error.place.clone()];
        assert!(found == place || text.starts_with("@every"), "{text}: {found:?}\n{error}");
        assert!(error.to_string().contains(remedy), "{text}: {error}");
    }
    let shown = Cron::parse("0 0 32 * *", Dialect::Vixie).map(drop).unwrap_err().to_string();
    assert!(shown.ends_with("\n  0 0 32 * *\n      ^^"), "{shown}");
}

#[test]
fn quartz_wants_a_question_mark_in_one_field_for_days() {
    for (text, place, remedy) in [
        ("0 0 12 * * *", "*", "wants `?`"),
        ("0 0 12 ? * ?", "?", "write `*`"),
        ("0 12 * * ?", "", "needs 6 fields"),
        ("0 0 12 ? * 0", "0", "use 1 to 7"),
        ("0 0 12 1 1 ? 1969", "1969", "use 1970 to 2199"),
    ] {
        let error = Cron::parse(text, Dialect::Quartz).map(drop).unwrap_err();
        assert_eq!(&error.text[error.place.clone()], place, "{text}");
        assert!(error.to_string().contains(remedy), "{text}: {error}");
    }
}

/// A number or a range, perhaps with a step.
fn item(min: u32, max: u32) -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (min..=max).prop_map(|number| number.to_string()),
        2 => (min..=max, min..=max).prop_map(|(one, other)| format!("{}-{}", one.min(other), one.max(other))),
        1 => (min..=max, min..=max, 1u32..12)
            .prop_map(|(one, other, step)| format!("{}-{}/{step}", one.min(other), one.max(other))),
    ]
}

fn field(min: u32, max: u32) -> BoxedStrategy<String> {
    prop_oneof![
        4 => Just("*".to_owned()),
        1 => (2u32..12).prop_map(|step| format!("*/{step}")),
        4 => prop::collection::vec(item(min, max), 1..4).prop_map(|items| items.join(",")),
    ]
    .boxed()
}

fn days() -> BoxedStrategy<String> {
    prop_oneof![
        6 => field(1, 31),
        1 => Just("L".to_owned()),
        1 => (1u32..31).prop_map(|before| format!("L-{before}")),
        1 => Just("LW".to_owned()),
        1 => (1u32..=31).prop_map(|day| format!("{day}W")),
    ]
    .boxed()
}

fn weekdays() -> BoxedStrategy<String> {
    prop_oneof![
        6 => field(0, 7),
        1 => (0u32..=7).prop_map(|day| format!("{day}L")),
        1 => (0u32..=7, 1u32..=5).prop_map(|(day, nth)| format!("{day}#{nth}")),
        1 => Just("MON-FRI".to_owned()),
    ]
    .boxed()
}

/// Any expression of five or six fields.
pub(crate) fn expression() -> impl Strategy<Value = String> {
    let seconds = prop_oneof![3 => Just(None), 1 => field(0, 59).prop_map(Some)];
    (seconds, field(0, 59), field(0, 23), days(), field(1, 12), weekdays()).prop_map(
        |(second, minute, hour, day, month, weekday)| {
            let rest = format!("{minute} {hour} {day} {month} {weekday}");
            second.map_or(rest.clone(), |second| format!("{second} {rest}"))
        },
    )
}

fn moment() -> impl Strategy<Value = DateTime> {
    (1900i16..2200, 1i8..=12, 1i8..=28, 0i8..24, 0i8..60, 0i8..60).prop_map(
        |(year, month, day, hour, minute, second)| {
            jiff::civil::date(year, month, day).at(hour, minute, second, 0)
        },
    )
}

proptest! {
    #[test]
    fn nothing_panics_whatever_is_written(text in "[0-9*/,LW#?A-Za-z@ \\-\u{e5}\\n]{0,40}", quartz in any::<bool>()) {
        let dialect = if quartz { Dialect::Quartz } else { Dialect::Vixie };
        if let Err(mistake) = Cron::parse(&text, dialect) {
            prop_assert!(mistake.place.start <= mistake.place.end && mistake.place.end <= text.len());
            prop_assert!(!mistake.to_string().is_empty());
        }
    }

    #[test]
    fn next_and_previous_are_each_others_inverse(text in expression(), from in moment()) {
        let Ok(cron) = Cron::parse(&text, Dialect::Vixie) else { return Ok(()) };
        let Some(next) = cron.at_or_after(from) else { return Ok(()) };
        prop_assert!(next >= from);
        prop_assert_eq!(cron.at_or_before(next), Some(next));
        prop_assert_eq!(cron.at_or_after(next), Some(next));
        if let Some(previous) = cron.at_or_before(from) {
            prop_assert!(previous <= from);
            prop_assert_eq!(cron.at_or_after(previous), Some(previous));
            // There is nothing between the two but the moment itself.
            let after = previous.checked_add(jiff::SignedDuration::from_secs(1)).unwrap();
            prop_assert!(cron.at_or_after(after).is_none_or(|at| at >= from));
        }
    }
}
