//! Decisions are written exactly as they were made, each under its guard and each alone.

use std::time::Duration;

use backroom_core::{Attempt, AttemptEnd, Event, JobRow, RetryPolicy, State};

use super::env::{Env, cancel, decide, died, draft, fail, json, lease, succeed};
use crate::store::{Committed, Deleted};

async fn attempts(env: &Env, job: &JobRow) -> Vec<Attempt> {
    env.store.attempts(job.id).await.expect("attempts")
}

pub(super) async fn every_end_of_a_run_is_written_as_decided(env: Env) {
    let ends: [fn(&JobRow) -> Event; 9] = [
        succeed,
        |job| Event::Succeed { lease: lease(job), output: json("null") },
        fail,
        |job| Event::Fail {
            lease: lease(job),
            end: AttemptEnd::TimedOut,
            error: String::new(), delay: None,
            retry: RetryPolicy::constant(Duration::ZERO),
            chance: 0.0,
        },
        |job| Event::Discard { lease: lease(job), reason: "empty picture".into() },
        |job| Event::Stop { lease: lease(job), reason: "no longer needed".into() },
        |job| Event::Snooze { lease: lease(job), delay: Duration::from_secs(77) },
        |job| Event::Release { lease: lease(job) },
        |job| Event::Suspend { lease: lease(job) },
    ];
    let jobs = env.put_many(vec![draft(); ends.len() * 2]).await;
    let taken = env.claim(env.claim_of(jobs.len())).await;
    // The second half ends with a cancel pending, which changes where most ends lead.
    for (index, job) in taken.into_iter().enumerate() {
        let job =
            if index < ends.len() { job } else { env.drive(&job, cancel(), env.at(1)).await };
        env.drive(&job, ends[index % ends.len()](&job), env.at(2)).await;
    }
}

pub(super) async fn every_event_from_outside_a_run_is_written_as_decided(env: Env) {
    let queued = env.put(super::env::draft_later(60)).await;
    let due = env.drive(&queued, Event::Retry, env.at(1)).await;
    assert_eq!(due.scheduled_at, env.at(1));
    let cancelled = env.drive(&due, cancel(), env.at(2)).await;
    assert_eq!((cancelled.state, cancelled.finished_at), (State::Cancelled, Some(env.at(2))));
    let revived = env.drive(&cancelled, Event::Retry, env.at(3)).await;
    assert_eq!((revived.state, &revived.reason), (State::Queued, &None));

    let running = env.take_at(env.at(3)).await;
    let woken = env.drive(&running, Event::Wake, env.at(4)).await;
    assert!(woken.woken);
    let marked = env.drive(&woken, cancel(), env.at(5)).await;
    assert_eq!((marked.state, marked.cancel_requested_at), (State::Running, Some(env.at(5))));
    let rescued = env.drive(&marked, died(), env.at(60)).await;
    assert_eq!((rescued.state, rescued.crashes), (State::Cancelled, 1));

    let running = env.running().await;
    let waiting = env.drive(&running, Event::Suspend { lease: lease(&running) }, env.at(1)).await;
    let queued = env.drive(&waiting, Event::Wake, env.at(2)).await;
    assert_eq!((queued.state, queued.scheduled_at), (State::Queued, env.at(2)));
}

pub(super) async fn a_repeated_change_is_done_and_written_once(env: Env) {
    let running = env.running().await;
    let mark = decide(&running, cancel(), env.now);
    for _ in 0..2 {
        assert_eq!(env.commit(mark.clone()).await, Committed::Done);
    }
    let marked = env.read(running.id).await;
    assert_eq!(marked.revision, running.revision + 1);
    let failed = decide(&marked, fail(&marked), env.now);
    for _ in 0..2 {
        assert_eq!(env.commit(failed.clone()).await, Committed::Done);
    }
    assert_eq!(env.read(running.id).await.revision, running.revision + 2);
    assert_eq!(attempts(&env, &running).await, Vec::from_iter(failed.attempt_ended().cloned()));
}

pub(super) async fn each_change_is_judged_alone(env: Env) {
    env.put_many(vec![draft(); 3]).await;
    let taken = env.claim(env.claim_of(3)).await;
    let stale = decide(&taken[1], succeed(&taken[1]), env.now);
    let released = env.drive(&taken[1], Event::Release { lease: lease(&taken[1]) }, env.now).await;
    let changes = vec![
        decide(&taken[0], succeed(&taken[0]), env.now),
        stale,
        decide(&taken[2], fail(&taken[2]), env.now),
    ];
    let answers = env.commit_many(changes).await;
    assert_eq!(answers, [Committed::Done, Committed::Stale, Committed::Done]);
    assert_eq!(env.read(taken[0].id).await.state, State::Completed);
    assert_eq!(env.read(taken[1].id).await, released);
    assert_eq!(env.read(taken[2].id).await.state, State::Queued);
    assert_eq!(attempts(&env, &taken[2]).await.len(), 1);
}

pub(super) async fn of_two_decisions_on_one_revision_the_first_is_written(env: Env) {
    let job = env.put(draft()).await;
    let (one, other) = (decide(&job, cancel(), env.at(1)), decide(&job, Event::Cancel { reason: "late".into() }, env.at(1)));
    assert_eq!(env.commit_many(vec![one, other]).await, [Committed::Done, Committed::Stale]);
    let after = env.read(job.id).await;
    assert_eq!(after.state, State::Cancelled);
    assert_ne!(after.reason.as_deref(), Some("late"));
}

pub(super) async fn a_change_of_a_job_that_is_gone_is_stale(env: Env) {
    let job = env.put(draft()).await;
    let change = decide(&job, cancel(), env.now);
    assert_ne!(env.store.delete(job.id, env.now).await.expect("delete"), Deleted::Running);
    assert_eq!(env.commit(change).await, Committed::Stale);
    assert_eq!(env.all().await, []);
}

pub(super) async fn an_unsuccessful_attempt_leaves_a_record(env: Env) {
    let running = env.running().await;
    assert_eq!(attempts(&env, &running).await, []);
    let change = decide(&running, fail(&running), env.at(5));
    assert_eq!(env.commit(change.clone()).await, Committed::Done);
    let expected = Attempt {
        lease_id: lease(&running),
        attempt: 1,
        end: AttemptEnd::Failed,
        error: "no such file: a.jpg".into(),
        worker: running.worker.clone(),
        started_at: Some(env.now),
        ended_at: env.at(5),
    };
    assert_eq!(change.attempt_ended(), Some(&expected));
    assert_eq!(attempts(&env, &running).await, [expected]);
    // A refused report leaves none.
    let late = decide(&running, Event::Discard { lease: lease(&running), reason: "x".into() }, env.at(6));
    assert_eq!(env.commit(late).await, Committed::Stale);
    assert_eq!(attempts(&env, &running).await.len(), 1);
    let done = env.completed().await;
    assert_eq!(attempts(&env, &done).await, []);
}

pub(super) async fn attempts_come_back_the_oldest_first(env: Env) {
    env.put(draft()).await;
    let mut expected = Vec::new();
    for (round, end) in (0..).zip(AttemptEnd::ALL) {
        let running = env.take_at(env.at(round * 10)).await;
        let event = Event::Fail {
            lease: lease(&running),
            end,
            error: format!("error {round}"), delay: None,
            retry: RetryPolicy::constant(Duration::from_secs(1)),
            chance: 0.0,
        };
        let change = decide(&running, event, env.at(round * 10 + 1));
        expected.extend(change.attempt_ended().cloned());
        assert_eq!(env.commit(change).await, Committed::Done);
    }
    let job = env.all().await.remove(0);
    assert_eq!(attempts(&env, &job).await, expected);
    assert_eq!(job.attempt as usize, AttemptEnd::ALL.len());
}

pub(super) async fn an_empty_batch_of_changes_is_answered_with_nothing(env: Env) {
    assert_eq!(env.commit_many(Vec::new()).await, []);
}

pub(super) async fn a_job_that_is_given_up_by_hand_ends_as_discarded_and_comes_back_by_a_retry(env: Env) {
    let give_up = || Event::GiveUp { reason: "hopeless".into() };
    let queued = env.put(draft()).await;
    let given_up = env.drive(&queued, give_up(), env.at(1)).await;
    assert_eq!((given_up.state, given_up.reason.as_deref()), (State::Discarded, Some("hopeless")));
    let again = env.drive(&given_up, Event::Retry, env.at(2)).await;
    assert_eq!(again.state, State::Queued);
    let running = env.take_at(env.at(3)).await;
    let waiting = env.drive(&running, Event::Suspend { lease: lease(&running) }, env.at(4)).await;
    assert_eq!(env.drive(&waiting, give_up(), env.at(5)).await.state, State::Discarded);
}
