//! A job that waits for its turn is changed, and nothing else of it.

use std::time::Duration;

use backroom_core::{Amendment, Event, State, draft::When, unique::UniqueRule};

use super::env::{Env, cancel, decide, draft, draft_later, fail, ids, json};
use crate::store::Committed;

fn amend(env: &Env, start: Option<When>, priority: Option<u8>, args: Option<&str>) -> Event {
    let to = Amendment::check(start, priority, args.map(json), env.now, 1_000).expect("within the bounds");
    Event::Amend { to }
}

pub(super) async fn every_field_is_written_as_decided(env: Env) {
    let keyed = backroom_core::Draft { unique: Some(UniqueRule::by_key("k")), ..draft_later(60) };
    let job = env.put(keyed).await;
    let later = When::In(Duration::from_secs(90));
    let job = env.drive(&job, amend(&env, Some(later), None, None), env.at(1)).await;
    let job = env.drive(&job, amend(&env, None, Some(0), None), env.at(2)).await;
    let job = env.drive(&job, amend(&env, None, None, Some("[1e400]")), env.at(3)).await;
    let all = amend(&env, Some(When::Now), Some(9), Some("{}"));
    let job = env.drive(&job, all, env.at(4)).await;
    assert_eq!((job.state, job.priority, job.args.as_str()), (State::Queued, 9, "{}"));
    // The key is held as before, and the job runs as any other.
    let running = env.take_at(env.at(5)).await;
    assert!(running.unique_held && running.args == job.args);
}

pub(super) async fn a_job_is_claimed_by_its_new_time_and_priority(env: Env) {
    let jobs = env.put_many(vec![draft(); 3]).await;
    let late = env.put(draft_later(60)).await;
    env.drive(&jobs[2], amend(&env, None, Some(0), None), env.now).await;
    let far = When::In(Duration::from_secs(30));
    env.drive(&jobs[0], amend(&env, Some(far), None, None), env.now).await;
    env.drive(&late, amend(&env, Some(When::Now), Some(1), None), env.now).await;
    assert_eq!(ids(&env.claim(env.claim_of(9)).await), [jobs[2].id, late.id, jobs[1].id]);
    assert_eq!(ids(&env.claim_at(env.claim_of(9), env.at(30)).await), [jobs[0].id]);
}

pub(super) async fn an_attempt_that_failed_stays_charged(env: Env) {
    let running = env.running().await;
    let job = env.drive(&running, fail(&running), env.now).await;
    let job = env.drive(&job, amend(&env, Some(When::Now), None, Some("[2]")), env.at(1)).await;
    assert_eq!((job.attempt, env.attempts(job.id).await.len()), (1, 1));
    assert_eq!(env.take_at(env.at(2)).await.attempt, 2);
}

pub(super) async fn a_decision_from_before_a_claim_is_stale(env: Env) {
    let job = env.put(draft()).await;
    let change = decide(&job, amend(&env, None, Some(0), Some("[2]")), env.now);
    let running = env.take().await;
    assert_eq!(env.commit(change).await, Committed::Stale);
    assert_eq!(env.read(job.id).await, running);
}

pub(super) async fn a_decision_from_before_a_cancel_is_stale(env: Env) {
    let job = env.put(draft()).await;
    let change = decide(&job, amend(&env, None, Some(0), Some("[2]")), env.now);
    let cancelled = env.drive(&job, cancel(), env.now).await;
    assert_eq!(env.commit(change).await, Committed::Stale);
    assert_eq!(env.read(job.id).await, cancelled);
}

pub(super) async fn a_repeated_amendment_is_written_once(env: Env) {
    let job = env.put(draft()).await;
    let change = decide(&job, amend(&env, None, Some(0), Some("[2]")), env.now);
    assert_eq!(env.commit(change.clone()).await, Committed::Done);
    let after = env.read(job.id).await;
    assert_eq!(env.commit(change).await, Committed::Done);
    assert_eq!(env.read(job.id).await, after);
    assert_eq!((after.revision, after.priority), (job.revision + 1, 0));
}

pub(super) async fn a_job_is_moved_to_a_queue_that_no_job_named_before(env: Env) {
    let job = env.put(draft()).await;
    let to = Amendment::default().to_queue("elsewhere").expect("a queue");
    let moved = env.drive(&job, Event::Amend { to }, env.now).await;
    assert_eq!((moved.queue.as_str(), moved.priority, &moved.args), ("elsewhere", job.priority, &job.args));
    assert!(env.claim(env.claim_of(9)).await.is_empty(), "it does not wait in its old queue");
    let queues = env.store.queues().await.expect("an answer");
    assert!(queues.iter().any(|queue| queue.name == "elsewhere"), "{queues:?}");
    let claim = env.claim_from(&[("elsewhere", 9)], 9);
    assert_eq!(ids(&env.claim(claim).await), [job.id]);
}
