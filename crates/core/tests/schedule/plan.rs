//! What a plan decides: each policy as a table of cases, then the bounds, and an exact account of every occurrence.

use std::time::Duration;

use backroom_core::{
    Timestamp,
    schedule::{
        Schedule, State,
        ended::{RunEnd, ended},
        plan::{Because, Limits, Plan, Why, plan},
        policy::{CatchUp, OnFailure, Overlap},
        state::PausedBy,
    },
};
use proptest::prelude::*;

use crate::common::{at, schedule};

const HOUR: Duration = Duration::from_secs(3600);

/// On 2026-11-27, as `10:05`, `10:05:30`, or with days before as `-2 10:05`.
fn on(text: &str) -> Timestamp {
    let (days, time) = text
        .split_once(' ')
        .map_or((0, text), |(days, time)| (days.parse::<i64>().expect("a number of days"), time));
    let seconds = if time.len() == 5 { ":00" } else { "" };
    let at = at(&format!("2026-11-27T{time}{seconds}Z"));
    at.checked_add(jiff::SignedDuration::from_hours(24 * days)).expect("in range")
}

fn run(schedule: &Schedule, state: &State, going: usize, now: Timestamp) -> Plan {
    plan(schedule, &schedule.timetable().expect("its specs are valid"), state, going, now, Limits::default())
}

/// What happened, in one line: fired nominal times with their reasons, then passed ones.
fn account(plan: &Plan) -> String {
    let short = |at: Timestamp| at.strftime("%H:%M").to_string();
    let mut parts: Vec<String> = plan
        .fire
        .iter()
        .map(|firing| {
            let because = match firing.because {
                Because::Due => "",
                Because::CaughtUp => " caught up",
                Because::Buffered => " buffered",
            };
            format!("fire {}{because}", short(firing.nominal))
        })
        .collect();
    if plan.cancel_runs {
        parts.push("cancel".into());
    }
    for passed in &plan.passed {
        let name = passed.why.as_str();
        let times = if passed.count == 1 {
            short(passed.first)
        } else {
            format!("{}-{}", short(passed.first), short(passed.last))
        };
        parts.push(format!("{name} {times}"));
    }
    for waits in &plan.state.buffer {
        parts.push(format!("wait {}", short(*waits)));
    }
    parts.join(", ")
}

#[test]
fn overlap_decides_what_is_due_while_a_run_is_going() {
    let cases = [
        // (overlap, runs going, minutes after 10:00 at which the plan is made, what it says)
        (Overlap::Skip, 0, "10:00:01", "fire 10:00"),
        (Overlap::Skip, 1, "10:00:01", "still_going 10:00"),
        (Overlap::BufferOne, 0, "10:00:01", "fire 10:00"),
        (Overlap::BufferOne, 1, "10:00:01", "wait 10:00"),
        (Overlap::BufferOne, 1, "10:00:40", "wait 10:00"),
        (Overlap::BufferAll(2), 1, "10:00:01", "wait 10:00"),
        (Overlap::CancelOther, 0, "10:00:01", "fire 10:00"),
        (Overlap::CancelOther, 1, "10:00:01", "cancel, wait 10:00"),
        (Overlap::AllowAll, 0, "10:00:01", "fire 10:00"),
        (Overlap::AllowAll, 5, "10:00:01", "fire 10:00"),
    ];
    for (overlap, going, now, expected) in cases {
        let mut schedule = schedule("0 * * * *");
        schedule.policies.overlap = overlap;
        let plan = run(&schedule, &State::begin(on("09:30")), going, on(now));
        assert_eq!(account(&plan), expected, "{overlap:?} with {going} going at {now}");
        assert_eq!(plan.wake.at, Some(on("11:00")));
        assert_eq!(plan.wake.at_end_of_run, expected.contains("wait"));
    }
}

#[test]
fn overlap_decides_among_several_that_are_due_at_once() {
    let cases = [
        (Overlap::Skip, 0, "fire 10:00, still_going 10:00-10:00"),
        (Overlap::BufferOne, 0, "fire 10:00, buffer_full 10:00, wait 10:00"),
        (Overlap::BufferOne, 1, "buffer_full 10:00-10:00, wait 10:00"),
        (Overlap::BufferAll(2), 1, "buffer_full 10:00, wait 10:00, wait 10:00"),
        (Overlap::CancelOther, 0, "fire 10:00, replaced 10:00-10:00"),
        (Overlap::CancelOther, 1, "cancel, replaced 10:00-10:00, wait 10:00"),
        (Overlap::AllowAll, 1, "fire 10:00, fire 10:00, fire 10:00"),
    ];
    for (overlap, going, expected) in cases {
        // 10:00:00, 10:00:15 and 10:00:30, all of them on time.
        let mut schedule = schedule("*/15 0 10 * * *");
        schedule.policies.overlap = overlap;
        let plan = run(&schedule, &State::begin(on("09:30")), going, on("10:00:31"));
        assert_eq!(account(&plan), expected, "{overlap:?} with {going} going");
    }
}

#[test]
fn what_waited_runs_when_the_run_has_ended() {
    for (overlap, then) in [
        (Overlap::BufferOne, "fire 10:00 buffered"),
        (Overlap::BufferAll(5), "fire 10:00 buffered, wait 11:00"),
        (Overlap::CancelOther, "fire 11:00 buffered"),
    ] {
        let mut schedule = schedule("0 * * * *");
        schedule.policies.overlap = overlap;
        let waiting = run(&schedule, &State::begin(on("09:30")), 1, on("10:00"));
        let waiting = run(&schedule, &waiting.state, 1, on("11:00"));
        let after = ended(&schedule, &waiting.state, on("09:00"), RunEnd::Cancelled, on("11:20"));
        assert!(after.plan_again, "{overlap:?}");
        assert_eq!(account(&run(&schedule, &after.state, 0, on("11:20"))), then, "{overlap:?}");
    }
}

#[test]
fn catch_up_decides_about_what_was_missed() {
    let once = |hours: u32| CatchUp::Once { window: HOUR * hours };
    let all = |hours: u32, max| CatchUp::All { window: HOUR * hours, max };
    let cases = [
        (CatchUp::DEFAULT, "09:50", "fire 09:30 caught up, too_old 07:30-08:30"),
        (CatchUp::DEFAULT, "10:29", "fire 09:30 caught up, too_old 07:30-08:30"),
        (CatchUp::DEFAULT, "09:31", "fire 09:30, too_old 07:30-08:30"),
        (once(3), "09:50", "fire 09:30 caught up, newer_is_due 07:30-08:30"),
        (once(3), "10:30:10", "fire 10:30, too_old 07:30, newer_is_due 08:30-09:30"),
        (all(2, 10), "09:50", "fire 08:30 caught up, fire 09:30 caught up, too_old 07:30"),
        (all(24, 2), "09:50", "fire 08:30 caught up, fire 09:30 caught up, too_many 07:30"),
        (all(24, 2), "10:30:10", "fire 08:30 caught up, fire 09:30 caught up, fire 10:30, too_many 07:30"),
        (CatchUp::None, "09:50", "no_catch_up 07:30-09:30"),
        (CatchUp::None, "10:30:10", "fire 10:30, no_catch_up 07:30-09:30"),
    ];
    for (catch_up, now, expected) in cases {
        // The last plan was made at 07:00; every occurrence is at minute 30.
        let mut schedule = schedule("30 * * * *");
        schedule.policies.catch_up = catch_up;
        schedule.policies.overlap = Overlap::AllowAll;
        let plan = run(&schedule, &State::begin(on("07:00")), 0, on(now));
        assert_eq!(account(&plan), expected, "{catch_up:?} at {now}");
    }
}

#[test]
fn an_outage_is_caught_up_only_within_the_window() {
    for (spec, since, caught_up) in [
        ("30 * * * *", "-3 09:00", true),
        ("30 8 * * *", "-3 09:00", false),
        ("0 10 * * *", "-3 09:00", true),
    ] {
        let schedule = schedule(spec);
        let plan = run(&schedule, &State::begin(on(since)), 0, on("10:20"));
        assert_eq!(plan.fire.len(), usize::from(caught_up), "{spec}");
        let missed: u64 =
            plan.passed.iter().filter(|passed| passed.why.is_missed()).map(|passed| passed.count).sum();
        assert_eq!(missed, plan.state.counters.missed);
        let occurrences = schedule.timetable().unwrap().next_few(on(since), 1000);
        let due = occurrences.iter().filter(|at| **at <= on("10:20")).count();
        assert_eq!(plan.state.counters.missed + plan.state.counters.fired, due as u64, "{spec}");
    }
}

#[test]
fn three_days_of_every_second_are_decided_in_bounded_plans_and_counted_exactly() {
    let mut schedule = schedule("* * * * * *");
    schedule.frequent = true;
    let timetable = schedule.timetable().unwrap();
    let (begin, now) = (on("-3 10:00"), on("10:00"));
    let mut state = State::begin(begin);
    let mut plans = 0;
    let fired = loop {
        let plan = plan(&schedule, &timetable, &state, 0, now, Limits::default());
        let decided: u64 =
            plan.passed.iter().map(|passed| passed.count).sum::<u64>() + plan.fire.len() as u64;
        assert!(
            decided <= 10_000 && plan.passed.len() <= 3,
            "{decided} decided, {} entries",
            plan.passed.len()
        );
        state = plan.state;
        plans += 1;
        if !plan.fire.is_empty() {
            break plan.fire;
        }
        assert_eq!(plan.wake.at, Some(now), "more is due");
    };
    // The last minute is on time: its first occurrence fires, and the others find that run going.
    assert_eq!(fired.len(), 1);
    assert_eq!(plans, 26);
    let counters = state.counters;
    assert_eq!(counters.fired + counters.missed + counters.skipped, 3 * 86_400);
    assert_eq!((counters.fired, counters.skipped), (1, 60));
}

#[test]
fn the_number_of_jobs_of_one_plan_is_bounded() {
    let mut schedule = schedule("* * * * * *");
    schedule.policies.overlap = Overlap::AllowAll;
    let limits = Limits { decide: 1000, fire: 10 };
    let plan = plan(
        &schedule,
        &schedule.timetable().unwrap(),
        &State::begin(on("10:00")),
        0,
        on("10:00:30"),
        limits,
    );
    assert_eq!(plan.fire.len(), 10);
    assert_eq!(plan.wake.at, Some(on("10:00:30")), "it asks to be called again at once");
    assert_eq!(
        plan.fire.iter().map(|firing| firing.run_number).collect::<Vec<_>>(),
        (1..=10).collect::<Vec<_>>()
    );
}

#[test]
fn a_pause_skips_its_occurrences_and_resuming_catches_up_nothing() {
    let schedule = schedule("30 * * * *");
    let paused = State::begin(on("07:00")).pause(on("08:00"));
    let plan = run(&schedule, &paused, 0, on("09:00"));
    assert_eq!((account(&plan).as_str(), plan.wake.at), ("", None), "a paused schedule costs nothing");
    let resumed = plan.state.resume(on("10:00"));
    let plan = run(&schedule, &resumed, 0, on("10:00"));
    // 07:30 was missed before the pause.
    assert_eq!(account(&plan), "too_old 07:30, paused 08:30-09:30");
    assert_eq!(plan.wake.at, Some(on("10:30")));
    assert_eq!((plan.state.counters.skipped, plan.state.counters.missed), (2, 1));
}

#[test]
fn a_failure_pauses_only_where_the_policy_says_so() {
    for (on_failure, end, pauses) in [
        (OnFailure::GoOn, RunEnd::Discarded, false),
        (OnFailure::Pause, RunEnd::Discarded, true),
        (OnFailure::Pause, RunEnd::Completed, false),
        (OnFailure::Pause, RunEnd::Cancelled, false),
    ] {
        let mut schedule = schedule("30 * * * *");
        schedule.policies.on_failure = on_failure;
        let after = ended(&schedule, &State::begin(on("07:00")), on("07:30"), end, on("07:45"));
        assert_eq!(after.has_paused, pauses, "{on_failure:?} {end:?}");
        assert_eq!(
            after.state.paused.map(|pause| pause.by),
            pauses.then_some(PausedBy::Failure(on("07:30")))
        );
    }
}

#[test]
fn a_success_that_does_not_come_is_reported_once_and_ends_with_the_next() {
    let mut schedule = schedule("30 * * * *");
    schedule.policies.deadman = Some(HOUR * 2);
    let state = State::begin(on("07:00"));
    let plan = run(&schedule, &state, 0, on("07:00"));
    assert_eq!((plan.overdue_since, plan.wake.at), (None, Some(on("07:30"))));
    let late = run(&schedule, &plan.state, 1, on("09:00:01"));
    assert_eq!(late.overdue_since, Some(on("09:00")));
    assert_eq!(run(&schedule, &late.state, 1, on("09:10")).overdue_since, None, "reported once");
    let after = ended(&schedule, &late.state, on("07:30"), RunEnd::Completed, on("09:20"));
    assert_eq!(after.was_overdue_since, Some(on("09:00")));
    let next = run(&schedule, &after.state, 1, on("10:00"));
    assert_eq!((next.overdue_since, next.state.overdue_since), (None, None));
    assert_eq!(run(&schedule, &next.state, 1, on("11:21")).overdue_since, Some(on("11:20")));
}

#[test]
fn of_a_schedule_that_has_ended_no_success_is_expected() {
    let mut schedule = schedule("at 2026-11-27T08:00:00Z");
    schedule.policies.deadman = Some(HOUR);
    let fired = run(&schedule, &State::begin(on("07:30")), 0, on("08:00"));
    assert_eq!(
        run(&schedule, &fired.state, 1, on("10:00")).overdue_since,
        Some(on("08:30")),
        "it is still going"
    );
    let after = ended(&schedule, &fired.state, on("08:00"), RunEnd::Completed, on("08:10"));
    let later = run(&schedule, &after.state, 0, on("12:00"));
    assert_eq!((later.overdue_since, later.wake.at), (None, None));
}

#[test]
fn a_limited_number_of_runs_ends_the_schedule() {
    let mut schedule = schedule("30 * * * *");
    schedule.max_runs = Some(2);
    let mut state = State::begin(on("07:00"));
    for (now, expected) in [("07:30", 1), ("08:30", 1), ("09:30", 0)] {
        let plan = run(&schedule, &state, 0, on(now));
        assert_eq!(plan.fire.len(), expected, "{now}");
        state = plan.state;
    }
    assert_eq!(run(&schedule, &state, 0, on("12:00")).wake.at, None);
}

#[test]
fn a_clock_that_is_set_back_fires_nothing_twice() {
    let schedule = schedule("30 * * * *");
    let plan = run(&schedule, &State::begin(on("09:00")), 0, on("10:30"));
    assert_eq!(plan.fire.len(), 1);
    let back = run(&schedule, &plan.state, 0, on("09:15"));
    assert_eq!((account(&back).as_str(), back.wake.at), ("", Some(on("11:30"))));
    assert_eq!(back.decided_ahead, Some(Duration::from_secs(75 * 60)));
}

#[test]
fn jitter_delays_an_occurrence_always_by_the_same_span() {
    let mut schedule = schedule("0 * * * *");
    schedule.jitter = HOUR / 2;
    let plan = run(&schedule, &State::begin(on("09:30")), 0, on("09:30"));
    let due = plan.wake.at.unwrap();
    assert!(on("10:00") < due && due < on("10:30"), "{due}");
    assert_eq!(run(&schedule, &plan.state, 0, on("09:59")).wake.at, Some(due));
    let fired = run(&schedule, &plan.state, 0, due);
    assert_eq!((fired.fire[0].nominal, fired.fire[0].due_at), (on("10:00"), due));
    let early = due.checked_sub(jiff::SignedDuration::from_micros(1)).unwrap();
    assert!(run(&schedule, &plan.state, 0, early).fire.is_empty());
    schedule.name = "other".into();
    assert_ne!(run(&schedule, &plan.state, 0, on("09:59")).wake.at, Some(due), "another name, another delay");
}

#[test]
fn putting_a_schedule_again_counts_nothing_as_missed_and_forgets_nothing() {
    let old = schedule("30 * * * *");
    let state = run(&old, &State::begin(on("06:00")), 0, on("07:30")).state.pause(on("07:40"));
    let same = state.redefined(&old, &old, on("10:00"));
    assert_eq!(same, state, "a start of the program that puts the same definition changes nothing");
    let new = schedule("0 * * * *");
    let moved = state.redefined(&old, &new, on("10:10"));
    assert_eq!((moved.counters, moved.paused), (state.counters, state.paused));
    let plan = run(&new, &moved.resume(on("10:15")), 0, on("10:15"));
    assert_eq!((account(&plan).as_str(), plan.wake.at), ("", Some(on("11:00"))));
}

#[test]
fn every_reason_has_a_name_and_a_sentence() {
    let mut names: Vec<&str> = Why::ALL.iter().map(|why| why.as_str()).collect();
    assert!(Why::ALL.iter().all(|why| !why.sentence().is_empty()));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Why::ALL.len());
}

fn overlap() -> impl Strategy<Value = Overlap> {
    prop_oneof![
        Just(Overlap::Skip),
        Just(Overlap::BufferOne),
        (1u32..5).prop_map(Overlap::BufferAll),
        Just(Overlap::CancelOther),
        Just(Overlap::AllowAll),
    ]
}

fn catch_up() -> impl Strategy<Value = CatchUp> {
    let window = (1u64..200).prop_map(|minutes| Duration::from_secs(minutes * 60));
    prop_oneof![
        window.clone().prop_map(|window| CatchUp::Once { window }),
        (window, 1u32..8).prop_map(|(window, max)| CatchUp::All { window, max }),
        Just(CatchUp::None),
    ]
}

proptest! {
    /// However the policies are chosen and whenever plans are made: every occurrence fires once, or waits, or has a reason why
    /// it does not run; none fires early; and what a plan fires is in order.
    #[test]
    fn every_occurrence_is_accounted_for_once(
        overlap in overlap(),
        catch_up in catch_up(),
        jitter in 0u64..240,
        steps in prop::collection::vec((0i64..9_000, 0usize..3, any::<bool>()), 1..40),
        decide in 1u32..20,
    ) {
        let mut schedule = schedule("*/5 * * * *");
        schedule.policies.overlap = overlap;
        schedule.policies.catch_up = catch_up;
        schedule.jitter = Duration::from_secs(jitter);
        let timetable = schedule.timetable().unwrap();
        let mut state = State::begin(on("00:00"));
        let mut now = on("00:00");
        let (mut fired, mut passed) = (Vec::new(), 0u64);
        for (step, going, is_paused) in steps {
            now = now.checked_add(jiff::SignedDuration::from_secs(step)).unwrap();
            state = if is_paused { state.pause(now) } else { state.resume(now) };
            let plan = plan(&schedule, &timetable, &state, going, now, Limits { decide, fire: 3 });
            for firing in &plan.fire {
                prop_assert!(firing.due_at <= now && firing.nominal <= firing.due_at);
                prop_assert!(timetable.includes(firing.nominal));
                fired.push(firing.nominal);
            }
            prop_assert!(plan.wake.at.is_none_or(|at| at >= now));
            passed += plan.passed.iter().map(|passed| passed.count).sum::<u64>();
            state = plan.state;
            let counters = state.counters;
            prop_assert_eq!(counters.fired, fired.len() as u64);
            prop_assert_eq!(counters.skipped + counters.missed, passed);
        }
        // Every five minutes: what has been decided follows from the time.
        let decided = (state.decided_until.as_second() - on("00:00").as_second()) / 300;
        prop_assert_eq!(fired.len() as u64 + passed + state.buffer.len() as u64, decided.unsigned_abs());
        let mut unique = fired.clone();
        unique.sort_unstable();
        unique.dedup();
        prop_assert_eq!(unique.len(), fired.len(), "fired twice");
    }
}
