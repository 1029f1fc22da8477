//! What follows from a change beyond the job's row, and how a store knows that a change was written before.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;

use backroom_core::{
    AttemptEnd, Change, Effect, Event, JobRow, Progress, RetryPolicy, State, transition::apply,
};
use common::{LEASE, at, json, now, queued, running, secs};

fn succeed() -> Event {
    Event::Succeed { lease: LEASE, output: json("1") }
}

fn fail() -> Event {
    let retry = RetryPolicy::constant(secs(60));
    let (end, error) = (AttemptEnd::Failed, "no such file".into());
    Event::Fail { lease: LEASE, end, error, delay: None, retry, chance: 0.5 }
}

fn decide(job: &JobRow, event: Event) -> Change {
    apply(job, event, now()).unwrap().expect("something changes")
}

fn after(job: &JobRow, change: &Change) -> JobRow {
    let mut after = job.clone();
    change.write_to(&mut after);
    after
}

#[test]
fn a_success_has_no_effects() {
    assert_eq!(decide(&running(), succeed()).effects, []);
}

#[test]
fn a_failed_attempt_is_recorded_with_its_change_and_the_queue_is_notified_afterwards() {
    let change = decide(&running(), fail());
    let [Effect::RecordAttempt(attempt), notify] = &change.effects[..] else {
        panic!("{:?}", change.effects)
    };
    assert_eq!((attempt.lease_id, attempt.end), (LEASE, AttemptEnd::Failed));
    assert_eq!(change.attempt_ended(), Some(attempt));
    assert_eq!(*notify, Effect::NotifyQueue { queue: "images".into(), due_at: at(60) });
    assert!(change.effects[0].is_stored() && !notify.is_stored());
    assert!(change.has_stored_effects());
}

#[test]
fn notifications_alone_are_not_stored() {
    let snoozed = decide(&running(), Event::Snooze { lease: LEASE, delay: secs(5) });
    assert_eq!(snoozed.effects, [Effect::NotifyQueue { queue: "images".into(), due_at: at(5) }]);
    let asked = decide(&running(), Event::Cancel { reason: "no".into() });
    assert_eq!(asked.effects, [Effect::NotifyCancel]);
    assert!(!snoozed.has_stored_effects() && !asked.has_stored_effects());
}

#[test]
fn a_change_is_found_written_although_progress_and_lease_have_moved_since() {
    let job = running();
    let marked = decide(&job, Event::Cancel { reason: "no".into() });
    assert!(!marked.is_written_to(&job));
    let written = after(&job, &marked);
    assert!(marked.is_written_to(&written));
    let progress = Some(Progress { percent: 50, message: "half".into() });
    assert!(marked.is_written_to(&JobRow { progress, lease_until: Some(at(90)), ..written }));
}

#[test]
fn another_change_of_the_same_revision_is_not_taken_for_the_one_that_was_decided() {
    let job = queued();
    let cancelled = decide(&job, Event::Cancel { reason: "no".into() });
    let other = decide(&job, Event::Cancel { reason: "another".into() });
    let written = after(&job, &other);
    assert_eq!((written.state, written.revision), (State::Cancelled, job.revision + 1));
    assert!(!cancelled.is_written_to(&written));
    assert!(!cancelled.is_written_to(&JobRow { revision: job.revision + 2, ..after(&job, &cancelled) }));
}
