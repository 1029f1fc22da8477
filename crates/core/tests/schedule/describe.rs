//! Descriptions and previews: what a person reads before a schedule is put.

use std::time::Duration;

use backroom_core::schedule::{Spec, policy::Dst};
use proptest::prelude::*;

use crate::common::{at, schedule, spec};

#[test]
fn each_spec_is_described_in_plain_language() {
    let rule = |rule: &str| format!("DTSTART:20260101T090000\nRRULE:{rule}");
    let table = [
        ("0 2 * * *".to_owned(), "at 02:00 every day"),
        ("0 2 * 1 *".into(), "at 02:00 every day in January"),
        ("@hourly".into(), "every hour"),
        ("* * * * *".into(), "every minute"),
        ("*/15 * * * *".into(), "every 15 minutes"),
        ("3/7 * * * *".into(), "every 7 minutes from minute 3 on of every hour"),
        ("5,35 * * * *".into(), "at minute 5 and 35 of every hour"),
        ("* 2 * * *".into(), "every minute in the hour 2"),
        ("* * * * * *".into(), "every second"),
        ("*/10 * * * * *".into(), "every 10 seconds"),
        ("30 0 12 * * *".into(), "at 12:00:30 every day"),
        (
            "*/10 9-17 * * mon-fri".into(),
            "every 10 minutes in the hours 9 to 17 on the days Monday to Friday",
        ),
        ("0 0 * * sat,sun".into(), "at 00:00 on every Saturday and Sunday"),
        ("0 0 29 2 *".into(), "at 00:00 on the 29th in February"),
        ("0 22-4/2 * 6-8 *".into(), "at 00:00, 02:00, 04:00 and 22:00 every day in June to August"),
        (
            "0 0 L,15W,LW,L-3 * *".into(),
            "at 00:00 on the last day of the month, the day 3 days before the last of the month, the working day nearest \
             to the 15th and the last working day of the month",
        ),
        ("0 0 * * 5#2,1L".into(), "at 00:00 on the 2nd Friday of the month and the last Monday of the month"),
        (
            "quartz 0 0 12 ? * 6#3 2027-2029".into(),
            "at 12:00 on the 3rd Friday of the month, only in 2027, 2028 and 2029",
        ),
        ("every 90s".into(), "every 1 minute 30 seconds"),
        ("at 2026-12-24T18:00".into(), "at 2026-12-24 18:00"),
        (
            rule("FREQ=MONTHLY;BYDAY=2TU"),
            "every month on the 2nd Tuesday of the month at 09:00, from 2026-01-01 on",
        ),
        (
            rule("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,FR;COUNT=10"),
            "every 2nd week on Monday and Friday at 09:00, from 2026-01-01 on, 10 times",
        ),
        (
            rule("FREQ=MONTHLY;BYDAY=MO,TU;BYSETPOS=-1\nEXDATE:20260130T090000"),
            "every month on Monday and Tuesday at 09:00, of these only the last, from 2026-01-01 on, but not on 2026-01-30",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(spec(&text).describe("UTC").unwrap(), expected, "{text}");
    }
}

#[test]
fn the_description_says_which_rule_joins_the_two_fields_for_days() {
    let describe = |text: &str| spec(text).describe("UTC").unwrap();
    assert_eq!(
        describe("0 2 1 * 1"),
        "at 02:00 on the 1st and also on every Monday (either is enough: OR, as cron does)"
    );
    assert_eq!(
        describe("0 2 */2 * 1"),
        "at 02:00 on every 2nd day of the month from the 1st on, if that is a Monday (both must fit: a field for days \
         begins with `*`)"
    );
    assert_eq!(
        describe("0 0 1-31 * 1"),
        "at 00:00 every day (either field for days is enough: OR, as cron does)"
    );
}

#[test]
fn a_schedule_is_described_with_all_that_changes_its_occurrences() {
    let mut schedule = schedule("0 2 * * *");
    schedule.specs.push(spec("every 6h"));
    schedule.except = vec![spec("* 12 * * *")];
    schedule.zone = "Europe/Oslo".into();
    schedule.starts_at = Some(at("2027-01-01T00:00:00Z"));
    schedule.ends_at = Some(at("2028-01-01T00:00:00Z"));
    schedule.jitter = Duration::from_secs(90);
    schedule.max_runs = Some(5);
    schedule.policies.dst = Dst::Literal;
    let text = schedule.describe().unwrap();
    assert_eq!(
        text,
        "at 02:00 every day; and every 6 hours, but not every minute in the hour 12, in Europe/Oslo, not before \
         2027-01-01T00:00:00Z, not after 2028-01-01T00:00:00Z, each delayed by less than 1 minute 30 seconds, at most 5 \
         times; where clocks are changed it skips times that do not exist, and runs twice at times that exist twice"
    );
}

#[test]
fn a_preview_lists_the_next_and_the_previous_occurrences() {
    let preview = schedule("0 2 * * *").preview(at("2026-11-27T02:00:00Z"), 2, 2).unwrap();
    assert_eq!(preview.next, [at("2026-11-28T02:00:00Z"), at("2026-11-29T02:00:00Z")]);
    assert_eq!(preview.previous, [at("2026-11-26T02:00:00Z"), at("2026-11-25T02:00:00Z")]);
    assert_eq!(preview.description, "at 02:00 every day, in UTC");
    let few = schedule("* * * * *").preview(at("2026-11-27T02:00:00Z"), 1_000_000, 1_000_000).unwrap();
    assert_eq!((few.next.len(), few.previous.len()), (1000, 1000));
}

#[test]
fn a_preview_marks_where_the_clocks_are_changed() {
    let table = [
        // Oslo: 02:00 to 03:00 does not exist on 2026-03-29, and exists twice on 2026-10-25.
        ("2026-03-29T01:00:00Z", Some("clocks go forward: 02:00 to 03:00 does not exist")),
        ("2026-03-29T00:59:59Z", None),
        ("2026-03-29T01:00:01Z", None),
        ("2026-10-25T00:30:00Z", Some("clocks go back: 02:00 to 03:00 exists twice, this is the first")),
        ("2026-10-25T01:30:00Z", Some("clocks go back: 02:00 to 03:00 exists twice, this is the second")),
        ("2026-10-25T01:00:00Z", Some("clocks go back: 02:00 to 03:00 exists twice, this is the second")),
        ("2026-10-24T23:59:59Z", None),
        ("2026-10-25T02:00:00Z", None),
    ];
    let oslo = crate::common::timetable("30 2 * * *", "Europe/Oslo", Dst::Once);
    let utc = crate::common::timetable("30 2 * * *", "UTC", Dst::Once);
    for (moment, mark) in table {
        assert_eq!(oslo.mark(at(moment)).map(|mark| mark.to_string()).as_deref(), mark, "{moment}");
        assert_eq!(utc.mark(at(moment)), None);
    }
}

proptest! {
    /// Two expressions with the same description fire at the same moments: nothing that matters is left out.
    #[test]
    fn equal_descriptions_mean_equal_occurrences(texts in prop::collection::vec(super::cron::expression(), 2)) {
        let read: Vec<Spec> = texts.iter().map(|text| Spec::cron(text.clone())).collect();
        let said: Vec<_> = read.iter().map(|spec| spec.describe("UTC").ok()).collect();
        if let [Some(one), Some(other)] = said.as_slice() && one == other {
            let next = |text: &str| crate::common::timetable(text, "UTC", Dst::Once).next_few(at("2026-01-01T00:00:00Z"), 50);
            prop_assert_eq!(next(&texts[0]), next(&texts[1]));
        }
    }
}
