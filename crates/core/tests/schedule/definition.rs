//! Schedules as they are put and stored: unions, exclusions, bounds, and what is refused.

use std::time::Duration;

use backroom_core::{
    Json,
    schedule::{
        Schedule, ScheduledJob, Spec, State, Timetable,
        calendar::Calendar,
        every::Every,
        policy::{CatchUp, Dst, Overlap},
        template::{Template, Values},
        zone,
    },
};
use jiff::civil::{date, time};

use crate::common::{at, schedule, spec};

const NOW: &str = "2026-11-27T00:00:00Z";
const BYTES_MAX: usize = 1024 * 1024;

fn days(schedule: &Schedule, count: usize) -> Vec<String> {
    let next = schedule.timetable().expect("its specs are valid").next_few(at(NOW), count);
    next.iter().map(|at| at.strftime("%d %H:%M").to_string()).collect()
}

fn refusal(schedule: &Schedule) -> String {
    schedule.check(at(NOW), BYTES_MAX).map(drop).expect_err("a refusal").to_string()
}

#[test]
fn a_schedule_fires_when_any_of_its_specs_does_and_no_exclusion_applies() {
    let mut schedule = schedule("0 12 * * *");
    schedule.specs.push(Spec::Calendar(Calendar {
        dates: vec![date(2026, 11, 28)],
        at: vec![time(9, 0, 0, 0), time(12, 0, 0, 0)],
    }));
    schedule.specs.push(spec("at 2026-11-27T13:00:00Z, 2026-11-27T14:00"));
    assert_eq!(days(&schedule, 5), ["27 12:00", "27 13:00", "27 14:00", "28 09:00", "28 12:00"]);
    // A calendar without times excludes whole days, a cron expression of five fields whole minutes.
    schedule.except =
        vec![Spec::Calendar(Calendar { dates: vec![date(2026, 11, 28)], at: vec![] }), spec("* 13 * * *")];
    assert_eq!(days(&schedule, 3), ["27 12:00", "27 14:00", "29 12:00"]);
    let backward = schedule.timetable().unwrap().previous_few(at("2026-11-30T00:00:00Z"), 3);
    assert_eq!(
        backward,
        [at("2026-11-29T12:00:00Z"), at("2026-11-27T14:00:00Z"), at("2026-11-27T12:00:00Z")]
    );
}

#[test]
fn start_and_end_bound_the_occurrences_and_count_themselves() {
    let mut schedule = schedule("0 12 * * *");
    schedule.starts_at = Some(at("2026-11-28T12:00:00Z"));
    schedule.ends_at = Some(at("2026-11-29T12:00:00Z"));
    assert_eq!(days(&schedule, 9), ["28 12:00", "29 12:00"]);
    assert_eq!(schedule.timetable().unwrap().previous_few(at("2030-01-01T00:00:00Z"), 9).len(), 2);
}

#[test]
fn a_span_is_counted_from_its_anchor_in_every_process() {
    let next = |every: Every| {
        let timetable = Timetable::new(&[Spec::Every(every)], &[], "UTC", Dst::Once).unwrap();
        timetable.next_few(at(NOW), 2).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let every = Every::new(Duration::from_secs(900));
    assert_eq!(next(every.clone()), ["2026-11-27T00:15:00Z", "2026-11-27T00:30:00Z"]);
    assert_eq!(
        next(every.clone().phase(Duration::from_secs(60))),
        ["2026-11-27T00:01:00Z", "2026-11-27T00:16:00Z"]
    );
    assert_eq!(
        next(every.anchor(at("2027-01-01T00:00:07Z"))),
        ["2026-11-27T00:00:07Z", "2026-11-27T00:15:07Z"]
    );
}

#[test]
fn what_is_surely_a_mistake_is_refused_with_the_remedy() {
    let with = |change: &dyn Fn(&mut Schedule)| {
        let mut schedule = schedule("0 2 * * *");
        change(&mut schedule);
        refusal(&schedule)
    };
    let every_second = with(&|schedule| schedule.specs = vec![spec("* * * * * *")]);
    assert!(every_second.contains("1 second") && every_second.contains("`frequent`"), "{every_second}");
    let ends_first = |schedule: &mut Schedule| {
        (schedule.starts_at, schedule.ends_at) = (Some(at("2027-01-01T00:00:00Z")), Some(at(NOW)));
    };
    let table: Vec<(String, &str)> = vec![
        (with(&ends_first), "before starts_at"),
        (with(&|schedule| schedule.specs = vec![]), "has no spec"),
        (with(&|schedule| schedule.specs = vec![spec("0 0 31 2 *")]), "can never fire"),
        (with(&|schedule| schedule.except = vec![spec("* 2 * * *")]), "never fires"),
        (with(&|schedule| schedule.zone = "Europe/Olso".into()), "did you mean Europe/Oslo"),
        (with(&|schedule| schedule.jitter = Duration::from_secs(90_000)), "longer than the shortest span"),
        (with(&|schedule| schedule.max_runs = Some(0)), "is zero"),
        (with(&|schedule| schedule.name = " a".into()), "white space"),
        (with(&|schedule| schedule.job.kind = String::new()), "kind"),
        (with(&|schedule| schedule.job.priority = 10), "priority"),
        (with(&|schedule| schedule.specs = vec![Spec::every(Duration::from_millis(10))]), "at least 1000"),
        (with(&|schedule| schedule.policies.overlap = Overlap::BufferAll(0)), "use 1 to 1000"),
        (
            with(&|schedule| {
                schedule.policies.catch_up = CatchUp::All { window: Duration::from_secs(3600), max: 5 }
            }),
            "buffer_all",
        ),
        (
            with(&|schedule| schedule.policies.catch_up = CatchUp::Once { window: Duration::from_secs(1) }),
            "use 60 s to one year",
        ),
        (
            with(&|schedule| schedule.job.args = Json::parse(r#"{"day":"{{tomorrow}}"}"#).unwrap()),
            "names nothing",
        ),
    ];
    for (error, expected) in table {
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn a_frequent_schedule_is_accepted_once_it_says_so_and_a_past_one_is_no_error() {
    let mut often = schedule("* * * * * *");
    often.frequent = true;
    assert!(often.check(at(NOW), BYTES_MAX).is_ok());
    // A program that puts a one-off at every start must not fail on the day after.
    assert!(schedule("at 2020-01-01T00:00:00Z").check(at(NOW), BYTES_MAX).is_ok());
}

#[test]
fn dates_at_the_ends_of_time_are_no_panic() {
    for spec in ["0 2 * * *", "every 1h", "at 9999-12-30T00:00:00", "at -009999-01-03T00:00:00"] {
        let timetable = Timetable::new(&[spec.parse().unwrap()], &[], "Europe/Oslo", Dst::Once).unwrap();
        for edge in [jiff::Timestamp::MIN, jiff::Timestamp::MAX] {
            let _next = timetable.next_after(edge);
            let _previous = timetable.previous_before(edge);
        }
    }
    let zone = zone::find("Europe/Oslo").unwrap();
    let year = |year: &str| format!("at {year}-01-01T00:00").parse::<Spec>();
    assert!(year("10000").is_err() && zone.iana_name().is_some());
}

#[test]
fn a_stored_schedule_and_its_state_come_back_as_they_were() {
    let mut schedule = schedule("0 2 * * *");
    schedule.specs.extend([
        spec("quartz 0 0 12 ? * MON"),
        spec("every 90s"),
        spec("at 2026-12-24T18:00,2027-01-01T00:00:00Z"),
    ]);
    schedule.specs.push(spec("DTSTART:20260101T090000\nRRULE:FREQ=MONTHLY;BYDAY=2TU"));
    schedule.except.push(Spec::Calendar(Calendar { dates: vec![date(2026, 12, 25)], at: vec![] }));
    schedule.job.args =
        Json::parse(r#"{"day":"{{nominal|date}}","big":123456789012345678901234567890}"#).unwrap();
    schedule.policies.catch_up = CatchUp::None;
    schedule.policies.deadman = Some(Duration::from_secs(3600));
    let text = schedule.stored().unwrap();
    assert!(text.starts_with(r#"{"v":1,"name":"nightly""#), "{text}");
    assert_eq!(Schedule::from_stored(&text).unwrap(), schedule);
    let state = State::begin(at(NOW)).pause(at("2026-11-28T00:00:00Z"));
    assert_eq!(State::from_stored(&state.stored().unwrap()).unwrap(), state);
}

#[test]
fn stored_text_of_a_newer_version_and_unknown_fields_are_refused() {
    let text = schedule("0 2 * * *").stored().unwrap();
    let error = |text: &str| Schedule::from_stored(text).map(drop).unwrap_err().to_string();
    assert!(error(&text.replacen("\"v\":1", "\"v\":2", 1)).contains("update this one"));
    assert!(error(&text.replacen("\"zone\"", "\"zome\"", 1)).contains("zome"));
    assert!(error(&text.replacen("\"v\":1,", "", 1)).contains("version"));
    assert!(error("{").contains("does not parse"));
    let unknown =
        serde_json::from_str::<Schedule>(r#"{"name":"a","specs":[],"job":{"kind":"k","colour":1}}"#);
    assert!(unknown.unwrap_err().to_string().contains("colour"));
}

#[test]
fn a_schedule_can_be_written_with_little() {
    let text = r#"{"name":"nightly","specs":[{"cron":"0 2 * * *"}],"job":{"kind":"report"}}"#;
    let read: Schedule = serde_json::from_str(text).unwrap();
    let expected =
        Schedule::new("nightly", Spec::cron("0 2 * * *"), ScheduledJob::new("report", Json::null()));
    assert_eq!(read, expected);
}

fn fill(args: &str, last_success: Option<&str>) -> String {
    let zone = zone::find("Europe/Oslo").expect("a zone");
    let values = Values {
        schedule: "nightly",
        zone: &zone,
        nominal: at("2026-11-27T23:30:00Z"),
        last_success: last_success.map(at),
        run_number: 7,
    };
    let template = Template::parse(&Json::parse(args).expect("valid JSON")).expect("a valid template");
    template.fill(&values).expect("its args").as_str().to_owned()
}

#[test]
fn a_template_is_filled_with_the_values_of_its_occurrence() {
    for (args, expected) in [
        (r#""{{nominal}}""#, r#""2026-11-27T23:30:00Z""#),
        (r#"{"day":"{{ nominal | date }}"}"#, r#"{"day":"2026-11-28"}"#),
        (r#"["{{nominal|local}}"]"#, r#"["2026-11-28T00:30:00+01:00"]"#),
        (r#"["{{nominal|unix}}","at {{nominal|unix_ms}}"]"#, r#"[1795822200,"at 1795822200000"]"#),
        (r#""run {{run_number}} of {{schedule}} in {{zone}}""#, r#""run 7 of nightly in Europe/Oslo""#),
        (r#"{"n":"{{run_number}}","since":"{{last_success}}"}"#, r#"{"n":7,"since":null}"#),
        (r#""{{{{nominal}}""#, r#""{{nominal}}""#),
        // What has no place is passed on byte for byte.
        (
            r#"{ "{{nominal}}" : 1.50, "big":123456789012345678901234567890 }"#,
            r#"{ "{{nominal}}" : 1.50, "big":123456789012345678901234567890 }"#,
        ),
        (
            r#"{"a":1.50,"b":"\u007b{run_number}}","c":"\"{{schedule}}\""}"#,
            r#"{"a":1.50,"b":7,"c":"\"nightly\""}"#,
        ),
    ] {
        assert_eq!(fill(args, None), expected, "{args}");
    }
    assert_eq!(fill(r#""{{last_success|date}}""#, Some("2026-11-26T01:00:00Z")), r#""2026-11-26""#);
}

#[test]
fn a_place_that_does_not_resolve_is_an_error_that_points_at_it() {
    for (args, place, remedy) in [
        (r#"{"a":["x {{nominel}}"]}"#, "at byte 6", "there are nominal"),
        (r#""{{nominal|week}}""#, "character 3", "there are local"),
        (r#""{{run_number|date}}""#, "character 3", "remove it"),
        (r#""a {{nominal""#, "character 3", "does not close"),
        (r#""{{}}""#, "character 3", "names nothing"),
    ] {
        let error = Template::parse(&Json::parse(args).unwrap()).map(drop).unwrap_err().to_string();
        assert!(error.contains(place) && error.contains(remedy), "{args}: {error}");
    }
}

#[test]
fn a_notice_is_one_callback_however_often_it_is_made() {
    use backroom_core::schedule::notice::{About, Notice};
    let notice = Notice {
        about: About::Overdue,
        schedule: "nightly".into(),
        at: at("2026-11-27T02:00:05Z"),
        since: at("2026-11-27T02:00:00Z"),
        why: None,
    };
    let url = "https://example.com/hook";
    let job = notice.job(url).job;
    // Another process reports the same a moment later.
    let later = Notice { at: at("2026-11-27T02:00:09Z"), ..notice.clone() }.job(url).job;
    assert_eq!((job.id, job.kind.as_str()), (later.id, "backroom.callback"));
    assert_eq!(
        job.args.as_str(),
        r#"{"url":"https://example.com/hook","event":{"type":"overdue","schedule":"nightly","at":"2026-11-27T02:00:05Z","since":"2026-11-27T02:00:00Z"}}"#
    );
    let next = Notice { since: at("2026-11-28T02:00:00Z"), ..notice.clone() }.job(url).job;
    let other = Notice { about: About::Recovered, ..notice }.job(url).job;
    assert!(next.id != job.id && other.id != job.id);
}

#[test]
fn a_notify_url_that_no_callback_could_reach_is_refused() {
    let mut wanted = schedule("0 2 * * *");
    wanted.notify = Some("ftp://example.com".into());
    let why = wanted.check(at("2026-11-27T00:00:00Z"), 1024).unwrap_err().to_string();
    assert!(why.contains("url"), "{why}");
    wanted.notify = Some("https://example.com/hook".into());
    wanted.check(at("2026-11-27T00:00:00Z"), 1024).unwrap();
}
