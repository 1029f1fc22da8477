//! Random lives: whatever happens to a job in whatever order, its invariants hold.

mod common;

use std::time::Duration;

use backroom_core::{
    AttemptEnd, Change, Event, JobRow, LeaseId, Loss, Part, RetryPolicy, State, Timestamp,
    bounds::{ALONE_MIN, CRASH_SPAN, CRASHES_MAX, ERROR_BYTES_MAX, MESSAGE_BYTES_MAX, SPAN_MAX, later},
    links::Links,
    transition::{Refused, apply},
    unique::UniqueWhile,
};
use common::{LEASE, at, calls, invariants, json, losses, now, running, secs, starts};
use proptest::prelude::*;
use uuid::Uuid;

/// What a step of a life may be; the lease is filled in when it happens.
#[derive(Debug, Clone, Copy)]
enum Step {
    Claim,
    Succeed,
    Fail(f64),
    Discard,
    Stop,
    Snooze(u64),
    Release,
    Suspend,
    LeaseLost(usize),
    Wake,
    Cancel,
    Retry,
    GiveUp,
    Expire,
}

/// Claims and failures are likely, so that lives are long.
fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Claim),
        1 => Just(Step::Succeed),
        3 => (0.0f64..1.0).prop_map(Step::Fail),
        1 => Just(Step::Discard),
        1 => Just(Step::Stop),
        2 => (0u64..100).prop_map(Step::Snooze),
        2 => Just(Step::Release),
        2 => Just(Step::Suspend),
        3 => (0usize..8).prop_map(Step::LeaseLost),
        2 => Just(Step::Wake),
        1 => Just(Step::Cancel),
        2 => Just(Step::Retry),
        1 => Just(Step::GiveUp),
        1 => Just(Step::Expire),
    ]
}

/// A step, how many seconds pass before it (some clocks go backwards), and which earlier lease it names, if not the
/// current one.
fn life() -> impl Strategy<Value = Vec<(Step, i64, Option<usize>)>> {
    let wait = prop_oneof![4 => 0i64..100, 1 => -50i64..0, 1 => 100i64..100_000];
    let stale = prop_oneof![4 => Just(None), 1 => (0usize..8).prop_map(Some)];
    prop::collection::vec((step(), wait, stale), 0..60)
}

/// Any situation with any hold and expiry that fits it.
fn start() -> impl Strategy<Value = JobRow> {
    let hold = prop_oneof![
        Just(None),
        Just(Some(UniqueWhile::Live)),
        Just(Some(UniqueWhile::Queued)),
        (-100i64..1000).prop_map(|secs| Some(UniqueWhile::Until(at(secs)))),
        (-100i64..1000).prop_map(|secs| Some(UniqueWhile::LiveUntil(at(secs)))),
        (-100i64..1000).prop_map(|secs| Some(UniqueWhile::QueuedUntil(at(secs)))),
    ];
    (0..starts().len(), hold, prop::option::of(-10i64..2000)).prop_map(|(index, hold, expiry)| {
        let (_, job) = starts().swap_remove(index);
        let unique_held = match hold {
            None => false,
            Some(UniqueWhile::Live | UniqueWhile::LiveUntil(_)) => !job.state.is_finished(),
            Some(UniqueWhile::Queued | UniqueWhile::QueuedUntil(_)) => job.state == State::Queued,
            Some(UniqueWhile::Until(_)) => true,
        };
        JobRow {
            unique_key: hold.map(|_| "make_thumbnail=a".into()),
            unique_while: hold,
            unique_held,
            expires_at: expiry.map(at).or(job.expires_at),
            ..job
        }
    })
}

fn event(step: Step, lease: LeaseId, fresh: LeaseId, now: Timestamp) -> Event {
    let reason = "x".repeat(MESSAGE_BYTES_MAX + 50);
    match step {
        Step::Claim => {
            Event::Claim { lease: fresh, until: now + secs(30), due: now, worker: format!("worker-{fresh}") }
        }
        Step::Succeed => Event::Succeed { lease, output: json("[1]") },
        Step::Fail(chance) => Event::Fail {
            lease,
            end: AttemptEnd::Panicked,
            error: reason,
            delay: None,
            retry: RetryPolicy::DEFAULT,
            chance,
        },
        Step::Discard => Event::Discard { lease, reason },
        Step::Stop => Event::Stop { lease, reason },
        Step::Snooze(span) => Event::Snooze { lease, delay: secs(span) },
        Step::Release => Event::Release { lease },
        Step::Suspend => Event::Suspend { lease },
        Step::LeaseLost(which) => Event::LeaseLost(losses().swap_remove(which)),
        Step::Wake => Event::Wake,
        Step::Cancel => Event::Cancel { reason },
        Step::Retry => Event::Retry,
        Step::GiveUp => Event::GiveUp { reason },
        Step::Expire => Event::Expire,
    }
}

/// What must be true of one written change, judged by the job before, the event and the job after.
fn check_change(
    before: &JobRow,
    step: Step,
    change: &Change,
    after: &JobRow,
    now: Timestamp,
) -> Result<(), TestCaseError> {
    prop_assert_eq!(invariants(after), Ok(()));
    prop_assert_eq!(change.revision_before, before.revision);
    prop_assert_eq!(after.revision, before.revision + 1, "every written change is one revision");
    prop_assert!(!before.state.is_finished() || matches!(step, Step::Retry), "finished rows are frozen");
    prop_assert!(!matches!(step, Step::Retry) || after.state == State::Queued);

    let loss = match step {
        Step::LeaseLost(which) => Some(losses().swap_remove(which)),
        _ => None,
    };
    let is_charged =
        matches!(loss, Some(Loss::Died { part: Part::Alone | Part::OnTrial | Part::Beside, .. }));
    let remembered = before.suspicion.filter(|suspicion| later(suspicion.at, CRASH_SPAN) > now);
    let alone = remembered.map_or(0, |suspicion| suspicion.alone)
        + u32::from(matches!(loss, Some(Loss::Died { part: Part::Alone, .. })));
    let counted = remembered.map_or(0, |_| before.crashes) + 1;
    let poison = is_charged && counted >= CRASHES_MAX && alone >= ALONE_MIN;
    let charged = match step {
        Step::Claim => 1,
        Step::Snooze(_) | Step::Release | Step::Suspend => -1,
        Step::LeaseLost(_) if poison => 0,
        Step::LeaseLost(_) => -1,
        Step::Succeed | Step::Fail(_) | Step::Discard | Step::Stop => 0,
        Step::Wake | Step::Cancel | Step::Retry | Step::GiveUp | Step::Expire => 0,
    };
    prop_assert_eq!(i64::from(after.attempt) - i64::from(before.attempt), charged, "attempts charged");
    let budget_grows = matches!(step, Step::Retry) && before.attempt == before.max_attempts;
    prop_assert_eq!(after.max_attempts, before.max_attempts + u32::from(budget_grows));
    let pending = before.cancel_requested_at.is_some() && before.state == State::Running;
    // A workflow with something to undo ends by itself, while it may be tried again.
    let is_spent = matches!(step, Step::Fail(_)) && before.attempt == before.max_attempts;
    let ends = pending && (!before.undoes() || is_spent || poison);
    let crashes = match step {
        Step::LeaseLost(_) if is_charged => counted,
        Step::LeaseLost(_) if matches!(loss, Some(Loss::Died { part: Part::Cleared, .. })) => 0,
        Step::LeaseLost(_) if loss == Some(Loss::NotBegun { cleared: true }) && !ends => 0,
        Step::Retry if before.state.is_finished() => 0,
        _ => before.crashes,
    };
    prop_assert_eq!(after.crashes, crashes);

    if pending
        && matches!(
            step,
            Step::Fail(_) | Step::Snooze(_) | Step::Release | Step::Suspend | Step::LeaseLost(_)
        )
    {
        prop_assert_eq!(after.state == State::Cancelled, ends, "a pending cancel ends the job with its run");
        prop_assert!(ends || after.cancel_requested_at == before.cancel_requested_at, "or stays pending");
        prop_assert_eq!(&after.reason, &before.reason);
    }
    if before.woken && matches!(step, Step::Suspend) && !ends {
        prop_assert_eq!((after.state, after.scheduled_at), (State::Queued, now), "a wake is not lost");
    }
    if matches!(step, Step::Claim) {
        prop_assert!(before.scheduled_at <= now && before.expires_at.is_none_or(|at| at > now));
    }
    let ended = matches!(step, Step::Fail(_) | Step::Discard | Step::Stop | Step::LeaseLost(_));
    let ended = ended && !matches!(loss, Some(Loss::NotBegun { .. }));
    prop_assert_eq!(change.attempt_ended().is_some(), ended, "an attempt that ended badly is recorded");
    let freed_by_claim = before.unique_while.is_some_and(UniqueWhile::ends_with_claim);
    let may_free = after.state.is_finished() || (freed_by_claim && after.state == State::Running);
    prop_assert!(after.unique_held || !before.unique_held || may_free, "a key is not freed early");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn whatever_happens_the_invariants_hold(start in start(), life in life()) {
        let (mut job, mut now) = (start, now());
        let mut leases = vec![LEASE];
        for (index, (step, wait, stale)) in life.into_iter().enumerate() {
            now += jiff::SignedDuration::from_secs(wait);
            let fresh = LeaseId(Uuid::from_u128(1_000_000 + index as u128));
            let lease = match stale {
                Some(earlier) => leases[earlier % leases.len()],
                None => job.lease_id.unwrap_or(LEASE),
            };
            let event = event(step, lease, fresh, now);
            let current = job.state == State::Running && job.lease_id == Some(lease);
            let about_a_run = event.lease().is_some();
            let answer = apply(&job, event.clone(), now);
            if about_a_run {
                prop_assert_eq!(answer.is_ok(), current, "a report counts exactly under the current lease");
                prop_assert!(!matches!(answer, Ok(None)), "an accepted report always changes the job");
            }
            let Ok(Some(change)) = answer else { continue };
            prop_assert_eq!(change.lease, event.lease());
            let mut after = job.clone();
            change.write_to(&mut after);
            check_change(&job, step, &change, &after, now)?;
            if matches!(step, Step::Claim) {
                leases.push(fresh);
            }
            job = after;
        }
    }

    #[test]
    fn a_job_that_always_fails_is_claimed_as_often_as_its_budget_says(max_attempts in 1u32..50, chance in 0.0f64..1.0) {
        let mut asked = common::draft();
        asked.max_attempts = Some(max_attempts);
        let mut job = asked.check(common::id(), now(), 1000).expect("allowed").job;
        let mut claims = 0;
        while !job.state.is_finished() {
            let due = job.scheduled_at;
            for step in [Step::Claim, Step::Fail(chance)] {
                let change = apply(&job, event(step, LEASE, LEASE, due), due).expect("taken").expect("changes");
                change.write_to(&mut job);
            }
            claims += 1;
        }
        prop_assert_eq!(claims, max_attempts);
        prop_assert_eq!(job.state, State::Discarded);
    }

    #[test]
    fn texts_of_failing_code_are_cut_not_refused(error in "[aé\0\n]{0,60}", times in 1usize..300) {
        let error = error.repeat(times);
        let retry = RetryPolicy::DEFAULT;
        let fail = Event::Fail { lease: LEASE, end: AttemptEnd::Failed, error, delay: None, retry, chance: 0.5 };
        let last = JobRow { attempt: 5, ..running() };
        let change = apply(&last, fail, now()).expect("taken").expect("changes");
        let error = change.attempt_ended().expect("a record").error.clone();
        let reason = change.reason.expect("a reason");
        prop_assert!(reason.len() <= MESSAGE_BYTES_MAX && error.len() <= ERROR_BYTES_MAX);
        prop_assert!(!reason.contains('\0') && !error.contains('\0'));
    }
}

fn died(part: Part) -> Event {
    Event::LeaseLost(Loss::Died { part, span: CRASH_SPAN })
}

/// The same job, running on after its process died like this and so many seconds passed.
fn after_crashes(crashes: &[(Part, i64)]) -> JobRow {
    let (mut job, mut secs) = (running(), 0);
    for (part, wait) in crashes {
        secs += wait;
        job.lease_until = Some(at(secs));
        let change = apply(&job, died(*part), at(secs)).expect("taken").expect("changes");
        change.write_to(&mut job);
        if job.state == State::Queued {
            secs += 1000;
            let claim = apply(&job, event(Step::Claim, LEASE, LEASE, at(secs)), at(secs)).expect("taken");
            claim.expect("changes").write_to(&mut job);
        }
    }
    job
}

#[test]
fn only_deaths_alone_make_poison() {
    let (alone, trial, beside) = ((Part::Alone, 0), (Part::OnTrial, 0), (Part::Beside, 0));
    for (crashes, state) in [
        (vec![alone, alone], State::Running),
        (vec![alone, alone, alone], State::Discarded),
        (vec![beside, trial, alone], State::Running),
        (vec![beside, trial, alone, alone], State::Discarded),
        (vec![alone, beside, alone], State::Discarded),
        (vec![beside; 40], State::Running),
        (vec![trial; 40], State::Running),
    ] {
        assert_eq!(after_crashes(&crashes).state, state, "{crashes:?}");
    }
}

#[test]
fn three_deaths_months_apart_are_not_poison() {
    let month = 30 * 86_400;
    let job =
        after_crashes(&[(Part::Alone, 0), (Part::Alone, month), (Part::Alone, month), (Part::Alone, month)]);
    assert_eq!((job.state, job.crashes), (State::Running, 1));
    assert_eq!(
        after_crashes(&[(Part::Alone, 0), (Part::Alone, 86_400), (Part::Alone, 86_400)]).state,
        State::Discarded
    );
}

#[test]
fn a_job_that_was_only_held_ready_is_not_charged() {
    let lapsed = JobRow { lease_until: Some(now()), ..running() };
    let held = Event::LeaseLost(Loss::NotBegun { cleared: false });
    let change = apply(&lapsed, held, now()).expect("taken").expect("changes");
    assert_eq!((change.state, change.crashes, change.attempt_ended()), (State::Queued, 0, None));
    assert_eq!(change.attempt, lapsed.attempt - 1);
}

#[test]
fn the_third_crash_alone_is_poison_however_the_crashes_are_spread() {
    let mut job = running();
    for crash in 1..=CRASHES_MAX {
        job.scheduled_at = now();
        let change = apply(&job, died(Part::Alone), now()).expect("taken").expect("changes");
        change.write_to(&mut job);
        assert_eq!(job.crashes, crash);
        if crash < CRASHES_MAX {
            assert_eq!(job.state, State::Queued, "crash {crash}");
            job.scheduled_at = now();
            for step in [Step::Claim, Step::Release, Step::Claim] {
                let change = apply(&job, event(step, LEASE, LEASE, now()), now()).expect("taken");
                change.expect("changes").write_to(&mut job);
            }
        }
    }
    assert_eq!(job.state, State::Discarded);
}

#[test]
fn a_failure_may_say_itself_when_to_try_again() {
    let fail = |job: &JobRow, delay| {
        let error = "come back later".into();
        let retry = RetryPolicy::constant(secs(60)).jitter(0);
        let fail = Event::Fail { lease: LEASE, end: AttemptEnd::Failed, error, delay, retry, chance: 0.5 };
        apply(job, fail, now()).expect("taken").expect("changes")
    };
    let due = |delay| fail(&running(), delay).scheduled_at;
    assert_eq!(due(None), at(60));
    assert_eq!(due(Some(secs(7))), at(7));
    assert_eq!(due(Some(Duration::ZERO)), now());
    assert_eq!(due(Some(Duration::MAX)), later(now(), SPAN_MAX));
    assert_eq!(fail(&running(), Some(secs(7))).attempt, running().attempt, "the attempt is charged");
    let last = JobRow { attempt: 5, ..running() };
    assert_eq!(fail(&last, Some(secs(7))).state, State::Discarded, "the attempts are spent");
    let cancelling =
        JobRow { cancel_requested_at: Some(at(-3)), reason: Some("asked by Bob".into()), ..running() };
    assert_eq!(fail(&cancelling, Some(secs(7))).state, State::Cancelled, "a cancel is pending");
}

#[test]
fn a_workflow_that_has_begun_does_not_expire() {
    let expiring = JobRow { expires_at: Some(at(30)), ..running() };
    let change = |job: &JobRow, event| apply(job, event, now()).expect("taken").expect("changes");
    let woken = JobRow { woken: true, ..expiring.clone() };
    for job in [&expiring, &woken] {
        assert_eq!(change(job, Event::Suspend { lease: LEASE }).expires_at, None, "it has waited");
    }
    let released = Event::Release { lease: LEASE };
    assert_eq!(change(&expiring, released.clone()).expires_at, Some(at(30)), "it has done nothing");
    let links = Some(Box::new(Links { journal: true, ..Links::default() }));
    let tied = JobRow { links, ..expiring };
    assert_eq!(change(&tied, released).expires_at, None, "it has something to undo");
    let queued = JobRow { state: State::Queued, lease_until: None, ..tied };
    let cancelled = change(&queued, Event::Cancel { reason: "asked".into() });
    assert_eq!((cancelled.state, cancelled.expires_at), (State::Queued, None), "and undoes it");
}

#[test]
fn a_moment_counts_from_its_own_microsecond_on() {
    let due = JobRow { scheduled_at: now(), expires_at: Some(at(1)), ..common::queued() };
    assert!(apply(&due, common::claim(), now()).is_ok(), "due at its very moment");
    assert_eq!(apply(&due, common::claim(), at(1)), Err(Refused::Expired), "expired at its very moment");
    assert!(apply(&due, Event::Expire, at(1)).is_ok());
    assert_eq!(apply(&due, Event::Expire, now()), Err(Refused::NotExpired));
    let leased = JobRow { lease_until: Some(at(1)), ..running() };
    assert!(apply(&leased, died(Part::Alone), now()).is_ok(), "no moment says that its worker lives");
}

#[test]
fn a_snooze_is_held_inside_the_bound_of_every_span() {
    let snoozed = |delay| {
        let event = Event::Snooze { lease: LEASE, delay };
        apply(&running(), event, now()).expect("taken").expect("something changes").scheduled_at
    };
    assert_eq!(snoozed(SPAN_MAX), later(now(), SPAN_MAX));
    assert_eq!(snoozed(SPAN_MAX + secs(1)), later(now(), SPAN_MAX));
    assert_eq!(snoozed(Duration::MAX), later(now(), SPAN_MAX));
}

#[test]
fn cancelling_twice_keeps_the_first_reason() {
    let mut job = running();
    for reason in ["first", "second"] {
        let cancel = Event::Cancel { reason: reason.into() };
        if let Some(change) = apply(&job, cancel, now()).expect("taken") {
            change.write_to(&mut job);
        }
    }
    assert_eq!(job.reason.as_deref(), Some("first"));
}

#[test]
fn refusals_are_sentences() {
    let report = Event::Release { lease: common::STALE };
    let said = |job: &JobRow, event: Event| apply(job, event, now()).expect_err("refused").to_string();
    assert_eq!(said(&common::queued(), report.clone()), "a queued job does not take the event \"release\"");
    assert_eq!(said(&running(), report), "the lease is no longer current");
    for event in calls() {
        if let Err(refused) = apply(&running(), event, now()) {
            assert!(!refused.to_string().is_empty());
        }
    }
}
