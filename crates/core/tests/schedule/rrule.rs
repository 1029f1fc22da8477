//! Recurrence rules: the examples of RFC 5545, and what is wrong with others.

use backroom_core::schedule::{
    policy::Dst,
    rrule::{COUNT_MAX, Recurrence},
};
use proptest::prelude::*;

use crate::common::{next, timetable};

/// The first occurrences of a rule that begins on Tuesday, 1997-09-02, at 09:00 in New York, as month and day.
fn first(rule: &str, count: usize) -> Vec<String> {
    let text = format!("DTSTART;TZID=America/New_York:19970902T090000\nRRULE:{rule}");
    let timetable = timetable(&text, "America/New_York", Dst::Once);
    next(&timetable, "1997-01-01T00:00:00Z", count).into_iter().map(|at| at[..10].to_owned()).collect()
}

#[test]
fn the_examples_of_the_standard_come_out_as_printed_there() {
    let table: &[(&str, &[&str])] = &[
        ("FREQ=DAILY;COUNT=3", &["1997-09-02", "1997-09-03", "1997-09-04"]),
        (
            "FREQ=DAILY;INTERVAL=10;COUNT=5",
            &["1997-09-02", "1997-09-12", "1997-09-22", "1997-10-02", "1997-10-12"],
        ),
        ("FREQ=WEEKLY;UNTIL=19970916T000000Z", &["1997-09-02", "1997-09-09"]),
        (
            "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,TH;WKST=SU",
            &["1997-09-02", "1997-09-04", "1997-09-16", "1997-09-18"],
        ),
        ("FREQ=MONTHLY;COUNT=3;BYDAY=1FR", &["1997-09-05", "1997-10-03", "1997-11-07"]),
        (
            "FREQ=MONTHLY;COUNT=6;BYDAY=-2MO",
            &["1997-09-22", "1997-10-20", "1997-11-17", "1997-12-22", "1998-01-19", "1998-02-16"],
        ),
        ("FREQ=MONTHLY;BYMONTHDAY=-3", &["1997-09-28", "1997-10-29", "1997-11-28"]),
        ("FREQ=MONTHLY;COUNT=4;BYMONTHDAY=1,-1", &["1997-09-30", "1997-10-01", "1997-10-31", "1997-11-01"]),
        (
            "FREQ=YEARLY;INTERVAL=3;COUNT=4;BYYEARDAY=1,100,200",
            &["2000-01-01", "2000-04-09", "2000-07-18", "2003-01-01"],
        ),
        ("FREQ=YEARLY;BYDAY=20MO", &["1998-05-18", "1999-05-17", "2000-05-15"]),
        ("FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO", &["1998-05-11", "1999-05-17", "2000-05-15"]),
        ("FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", &["1998-02-13", "1998-03-13", "1998-11-13"]),
        (
            "FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8",
            &["1997-11-04", "2001-11-06"],
        ),
        ("FREQ=MONTHLY;COUNT=3;BYDAY=TU,WE,TH;BYSETPOS=3", &["1997-09-04", "1997-10-07", "1997-11-06"]),
        ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2", &["1997-09-29", "1997-10-30", "1997-11-27"]),
        // The day of the week on which a week begins decides which weeks are the even ones.
        (
            "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO",
            &["1997-09-02", "1997-09-07", "1997-09-16", "1997-09-21"],
        ),
        (
            "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU",
            &["1997-09-02", "1997-09-14", "1997-09-16", "1997-09-28"],
        ),
    ];
    for (rule, expected) in table {
        assert_eq!(first(rule, expected.len()), *expected, "{rule}");
        if rule.contains("COUNT") || rule.contains("UNTIL") {
            assert_eq!(
                first(rule, 99).len(),
                rule.split(';')
                    .find_map(|part| part.strip_prefix("COUNT="))
                    .map_or(expected.len(), |count| count.parse().unwrap())
            );
        }
    }
}

#[test]
fn an_excluded_date_does_not_fire_and_counts() {
    let text = "DTSTART:20260101T090000\nRRULE:FREQ=DAILY;COUNT=4\nEXDATE:20260102T090000,20260104T090000";
    let timetable = timetable(text, "UTC", Dst::Once);
    assert_eq!(
        next(&timetable, "2025-01-01T00:00:00Z", 9),
        ["2026-01-01T09:00:00+00:00", "2026-01-03T09:00:00+00:00"]
    );
}

#[test]
fn an_error_points_at_the_part_and_says_the_remedy() {
    let table = [
        ("RRULE:FREQ=DAILY", "FREQ=DAILY", "has no DTSTART"),
        ("DTSTART:20260101T090000", "", "has no RRULE"),
        ("DTSTART:2026-01-01\nFREQ=DAILY", "2026-01-01", "20261224T180000"),
        ("DTSTART:20260101T090000Z\nFREQ=DAILY", "20260101T090000Z", "without Z"),
        ("DTSTART;TZID=Europe/Oslo:20260101T090000\nFREQ=DAILY", "Europe/Oslo", "set the zone"),
        ("DTSTART:20260101T090000\nINTERVAL=2", "INTERVAL=2", "FREQ=DAILY"),
        ("DTSTART:20260101T090000\nFREQ=FORTNIGHTLY", "FORTNIGHTLY", "WEEKLY"),
        ("DTSTART:20260101T090000\nFREQ=DAILY;INTERVAL=0", "0", "from 1"),
        ("DTSTART:20260101T090000\nFREQ=DAILY;BYHOUR=24", "24", "0 to 23"),
        ("DTSTART:20260101T090000\nFREQ=MONTHLY;BYDAY=2XX", "2XX", "2MO"),
        ("DTSTART:20260101T090000\nFREQ=DAILY;BYDAY=2MO", "FREQ=DAILY;BYDAY=2MO", "FREQ=MONTHLY"),
        (
            "DTSTART:20260101T090000\nFREQ=DAILY;COUNT=2;UNTIL=20270101",
            "FREQ=DAILY;COUNT=2;UNTIL=20270101",
            "both COUNT and UNTIL",
        ),
        ("DTSTART:20260101T090000\nFREQ=DAILY;FREQ=DAILY", "FREQ=DAILY", "a second time"),
        ("DTSTART:20260101T090000\nFREQ=DAILY;BYEASTER=1", "BYEASTER", "3.3.10"),
        ("DTSTART:20260101T090000\nFREQ=DAILY;BYSETPOS=1", "FREQ=DAILY;BYSETPOS=1", "another BY"),
        ("DTSTART:20260101T090000\nFREQ=DAILY\nRDATE:20260101", "RDATE:20260101", "beside the rule"),
        ("DTSTART:20260101T090000\nFREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "", "can never fire"),
    ];
    for (text, place, remedy) in table {
        let error = Recurrence::parse(text, "UTC").map(drop).unwrap_err();
        let found = &error.text[error.place.clone()];
        assert!(found == place || remedy == "can never fire", "{text}: {found:?}\n{error}");
        assert!(error.to_string().contains(remedy), "{text}: {error}");
    }
}

#[test]
fn a_large_count_is_bounded() {
    let text = format!("DTSTART:20260101T090000\nFREQ=MINUTELY;COUNT={COUNT_MAX}");
    let rule = Recurrence::parse(&text, "UTC").unwrap();
    let far = jiff::civil::date(2100, 1, 1).at(0, 0, 0, 0);
    assert_eq!(rule.at_or_before(far).unwrap().to_string(), "2026-03-11T19:39:00");
    assert!(Recurrence::parse(&text.replace("100000", "100001"), "UTC").is_err());
}

proptest! {
    #[test]
    fn nothing_panics_whatever_is_written(text in "[A-Z0-9=;:,\\-\\n\u{e5}]{0,60}") {
        let texts = [text.clone(), format!("DTSTART:20260101T090000\nFREQ=DAILY;{text}"), format!("DTSTART:{text}\nFREQ=DAILY")];
        for text in texts {
            if let Err(mistake) = Recurrence::parse(&text, "UTC") {
                prop_assert!(mistake.place.end <= text.len() && !mistake.to_string().is_empty());
            }
        }
    }
}
