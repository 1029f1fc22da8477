//! Where clocks are changed: gaps, folds, half hours, whole days, and zones of the past.

use backroom_core::schedule::{
    policy::Dst::{self, Literal, Once},
    zone,
};

use crate::common::{at, local, next, timetable};

/// The times of the day in the first `count` occurrences after a moment.
fn times(spec: &str, zone: &str, dst: Dst, after: &str, count: usize) -> Vec<String> {
    next(&timetable(spec, zone, dst), after, count)
        .into_iter()
        .map(|at| at[..16].replace('T', " ") + &at[19..])
        .collect()
}

#[test]
fn a_gap_and_a_fold_do_what_the_policy_says() {
    // In Oslo 02:00 to 03:00 does not exist on 2026-03-29, and exists twice on 2026-10-25.
    let spring = "2026-03-28T12:00:00Z";
    let autumn = "2026-10-24T12:00:00Z";
    let table: &[(&str, Dst, &str, &[&str])] = &[
        ("30 2 * * *", Once, spring, &["2026-03-29 03:00+02:00", "2026-03-30 02:30+02:00"]),
        ("30 2 * * *", Literal, spring, &["2026-03-30 02:30+02:00", "2026-03-31 02:30+02:00"]),
        ("30 2 * * *", Once, autumn, &["2026-10-25 02:30+02:00", "2026-10-26 02:30+01:00"]),
        (
            "30 2 * * *",
            Literal,
            autumn,
            &["2026-10-25 02:30+02:00", "2026-10-25 02:30+01:00", "2026-10-26 02:30+01:00"],
        ),
        // Several in the gap, and one at its end, are one occurrence.
        ("15,45 2,3 * * *", Once, spring, &["2026-03-29 03:00+02:00", "2026-03-29 03:15+02:00"]),
        ("0,30 2-3 * * *", Once, spring, &["2026-03-29 03:00+02:00", "2026-03-29 03:30+02:00"]),
        // With a star in the minute or hour the wall clock counts.
        ("*/30 2 * * *", Once, spring, &["2026-03-30 02:00+02:00"]),
        ("0 * * * *", Once, "2026-03-29T00:30:00Z", &["2026-03-29 03:00+02:00", "2026-03-29 04:00+02:00"]),
        (
            "0 * * * *",
            Once,
            "2026-10-24T23:30:00Z",
            &["2026-10-25 02:00+02:00", "2026-10-25 02:00+01:00", "2026-10-25 03:00+01:00"],
        ),
        ("at 2026-03-29T02:30", Once, spring, &["2026-03-29 03:00+02:00"]),
        // A span of real time knows no wall clock.
        ("every 1h", Once, "2026-03-29T00:30:00Z", &["2026-03-29 03:00+02:00", "2026-03-29 04:00+02:00"]),
    ];
    for (spec, dst, after, expected) in table {
        assert_eq!(times(spec, "Europe/Oslo", *dst, after, expected.len()), *expected, "{spec} {dst:?}");
    }
}

#[test]
fn half_hours_whole_days_and_zones_of_the_past() {
    let table: &[(&str, &str, Dst, &str, &[&str])] = &[
        // Lord Howe Island changes by half an hour: 02:00 to 02:30 does not exist, 01:30 to 02:00 exists twice.
        (
            "15 2 * * *",
            "Australia/Lord_Howe",
            Once,
            "2026-10-03T12:00:00Z",
            &["2026-10-04 02:30+11:00", "2026-10-05 02:15+11:00"],
        ),
        (
            "45 1 * * *",
            "Australia/Lord_Howe",
            Literal,
            "2026-04-04T12:00:00Z",
            &["2026-04-05 01:45+11:00", "2026-04-05 01:45+10:30"],
        ),
        // Samoa left out 2011-12-30.
        (
            "0 2 * * *",
            "Pacific/Apia",
            Once,
            "2011-12-29T13:00:00Z",
            &["2011-12-31 00:00+14:00", "2011-12-31 02:00+14:00"],
        ),
        ("0 2 * * *", "Pacific/Apia", Literal, "2011-12-29T13:00:00Z", &["2011-12-31 02:00+14:00"]),
        // Nepal went from +05:30 to +05:45 at midnight.
        (
            "5 0 1 1 *",
            "Asia/Kathmandu",
            Once,
            "1985-12-01T00:00:00Z",
            &["1986-01-01 00:15+05:45", "1987-01-01 00:05+05:45"],
        ),
        // A day that begins at 01:00.
        (
            "0 0 * * *",
            "America/Santiago",
            Once,
            "2026-09-05T12:00:00Z",
            &["2026-09-06 01:00-03:00", "2026-09-07 00:00-03:00"],
        ),
        ("0 0 * * *", "America/Santiago", Literal, "2026-09-05T12:00:00Z", &["2026-09-07 00:00-03:00"]),
        // North Korea went back by half an hour over midnight: 23:45 twice.
        (
            "45 23 * * *",
            "Asia/Pyongyang",
            Literal,
            "2015-08-14T00:00:00Z",
            &["2015-08-14 23:45+09:00", "2015-08-14 23:45+08:30"],
        ),
    ];
    for (spec, zone, dst, after, expected) in table {
        assert_eq!(times(spec, zone, *dst, after, expected.len()), *expected, "{spec} in {zone} {dst:?}");
    }
}

#[test]
fn next_and_previous_meet_at_every_change_of_every_zone() {
    for zone_name in [
        "Europe/Oslo",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "America/St_Johns",
        "Asia/Pyongyang",
        "Africa/Casablanca",
    ] {
        let zone = zone::find(zone_name).unwrap();
        for spec in ["30 2 * * *", "0,30 0-3 * * *", "*/20 * * * *", "*/7 23,0,1 * * *"] {
            for dst in [Once, Literal] {
                let timetable = timetable(spec, zone_name, dst);
                for change in
                    zone.following(at("1975-01-01T00:00:00Z")).map(|change| change.timestamp()).take(40)
                {
                    let begin = change.checked_sub(jiff::SignedDuration::from_hours(30)).unwrap();
                    let end = change.checked_add(jiff::SignedDuration::from_hours(30)).unwrap();
                    let mut forward: Vec<_> =
                        std::iter::successors(timetable.next_after(begin), |at| timetable.next_after(*at))
                            .take_while(|at| *at < end)
                            .collect();
                    let backward: Vec<_> = std::iter::successors(timetable.previous_before(end), |at| {
                        timetable.previous_before(*at)
                    })
                    .take_while(|at| *at > begin)
                    .collect();
                    assert!(forward.is_sorted_by(|one, next| one < next));
                    forward.reverse();
                    assert_eq!(
                        forward,
                        backward,
                        "{spec} in {zone_name} {dst:?} around {}",
                        local(&timetable, change)
                    );
                }
            }
        }
    }
}

#[test]
fn an_unknown_zone_is_answered_with_the_nearest_names() {
    for (name, nearest) in [
        ("Europe/Olso", "Europe/Oslo"),
        ("oslo", "Europe/Oslo"),
        ("Amerika/New_York", "America/New_York"),
        ("America/New York", "America/New_York"),
        ("UTC+1", "like Europe/Oslo or UTC"),
        ("", "like Europe/Oslo or UTC"),
    ] {
        let error = zone::find(name).map(drop).unwrap_err();
        assert!(error.why.contains(nearest), "{name}: {error}");
    }
}
