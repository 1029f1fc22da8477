//! History goes when a queue need no longer keep it, and nothing else does.
//!
//! A repeated prune may delete what is left of the next batch, so its count is not looked at: the rows are.

use std::{sync::Arc, time::Duration};

use backroom_core::{Draft, Event, JobRow, State, draft::When, unique::UniqueRule};

use super::env::{Env, QUEUE, draft, draft_in, draft_later, fail, ids, lease, lines, note, sorted_ids, succeed};
use crate::store::Prune;

/// Cancelled jobs of the default queue, without a bound.
fn cancelled() -> Prune {
    Prune {
        queue: QUEUE.into(),
        state: State::Cancelled,
        finished_before: None,
        beyond: None,
        limit: 1000,
    }
}

async fn prune(env: &Env, prune: Prune, secs: i64) {
    env.store.prune(Arc::new(prune), env.at(secs)).await.expect("prune");
}

/// Jobs that were cancelled at these seconds, in this order.
async fn cancelled_at(env: &Env, secs: &[i64]) -> Vec<JobRow> {
    let mut jobs = Vec::new();
    for secs in secs {
        jobs.push(env.cancelled_at(draft(), *secs).await);
    }
    jobs
}

async fn left(env: &Env) -> Vec<backroom_core::JobId> {
    sorted_ids(&env.all().await)
}

pub(super) async fn jobs_older_than_the_bound_go(env: Env) {
    let jobs = cancelled_at(&env, &[10, 30, 20, 19]).await;
    prune(&env, Prune { finished_before: Some(env.at(20)), ..cancelled() }, 100).await;
    assert_eq!(left(&env).await, [jobs[1].id, jobs[2].id], "what finished at the bound stays");
}

pub(super) async fn jobs_beyond_the_newest_go(env: Env) {
    let jobs = cancelled_at(&env, &[10, 30, 20, 40, 5]).await;
    prune(&env, Prune { beyond: Some(9), ..cancelled() }, 100).await;
    assert_eq!(left(&env).await, ids(&jobs));
    prune(&env, Prune { beyond: Some(2), ..cancelled() }, 100).await;
    assert_eq!(left(&env).await, [jobs[1].id, jobs[3].id]);
    prune(&env, Prune { beyond: Some(0), ..cancelled() }, 100).await;
    assert_eq!(left(&env).await, []);
}

pub(super) async fn jobs_of_one_moment_go_in_the_order_of_their_ids(env: Env) {
    let jobs = cancelled_at(&env, &[10, 10, 10, 10, 20]).await;
    prune(&env, Prune { beyond: Some(3), ..cancelled() }, 100).await;
    assert_eq!(left(&env).await, ids(&jobs[2..]));
    let before = Some(env.at(15));
    prune(&env, Prune { finished_before: before, limit: 1, ..cancelled() }, 100).await;
    let rest = left(&env).await;
    // A repeated call may have taken the other one, too, and never the one of a later moment.
    assert!(rest == ids(&jobs[3..]) || rest == ids(&jobs[4..]), "{rest:?}");
}

pub(super) async fn no_job_is_beyond_more_than_there_can_be(env: Env) {
    let jobs = cancelled_at(&env, &[10, 20]).await;
    prune(&env, Prune { beyond: Some(u64::MAX), ..cancelled() }, 100).await;
    assert_eq!(left(&env).await, ids(&jobs));
}

pub(super) async fn either_bound_is_enough(env: Env) {
    let jobs = cancelled_at(&env, &[10, 20, 30, 40]).await;
    prune(&env, Prune { finished_before: Some(env.at(15)), beyond: Some(2), ..cancelled() }, 100).await;
    assert_eq!(left(&env).await, ids(&jobs[2..]));
    prune(&env, Prune { finished_before: Some(env.at(35)), beyond: Some(2), ..cancelled() }, 100).await;
    assert_eq!(left(&env).await, ids(&jobs[3..]));
}

pub(super) async fn without_a_bound_nothing_goes(env: Env) {
    let jobs = cancelled_at(&env, &[10, 20]).await;
    prune(&env, cancelled(), 1_000_000).await;
    assert_eq!(left(&env).await, ids(&jobs));
}

pub(super) async fn only_the_queue_and_state_asked_for_is_touched(env: Env) {
    let done = env.completed().await;
    let other = env.cancelled_at(draft_in("other"), 1).await;
    let mine = env.cancelled_at(draft(), 1).await;
    let bounds = Prune { finished_before: Some(env.at(50)), beyond: Some(0), ..cancelled() };
    prune(&env, bounds.clone(), 100).await;
    assert_eq!(left(&env).await, sorted_ids(&[done.clone(), other.clone()]));
    prune(&env, Prune { state: State::Completed, ..bounds.clone() }, 100).await;
    assert_eq!(left(&env).await, [other.id]);
    prune(&env, Prune { queue: "other".into(), ..bounds }, 100).await;
    assert_eq!(left(&env).await, []);
    assert_ne!(mine.id, done.id);
}

pub(super) async fn live_jobs_never_go(env: Env) {
    env.put_many([draft(), draft()]).await;
    let taken = env.claim(env.claim_of(2)).await;
    env.drive(&taken[0], Event::Suspend { lease: lease(&taken[0]) }, env.now).await;
    env.put(draft_later(5)).await;
    for state in State::ALL {
        let all = Prune { state, finished_before: Some(env.at(10_000)), beyond: Some(0), ..cancelled() };
        prune(&env, all, 20_000).await;
    }
    assert_eq!(left(&env).await.len(), 3);
}

pub(super) async fn the_oldest_go_first_and_no_more_than_the_limit(env: Env) {
    let jobs = cancelled_at(&env, &[50, 10, 40, 20, 30]).await;
    let age = Prune { finished_before: Some(env.at(100)), limit: 2, ..cancelled() };
    prune(&env, Prune { limit: 0, ..age.clone() }, 100).await;
    assert_eq!(left(&env).await.len(), 5);
    prune(&env, age, 100).await;
    let mut left = env.all().await;
    left.sort_by_key(|job| job.finished_at);
    let newest = [4, 2, 0].map(|index: usize| jobs[index].id);
    // Three stay, or one when the call was made twice.
    assert!(ids(&left) == newest || ids(&left) == newest[2..], "{:?}", ids(&left));
}

pub(super) async fn a_job_that_holds_its_key_for_a_window_stays(env: Env) {
    let rule = || UniqueRule::by_key("k").within(Duration::from_secs(60));
    let throttled = env.cancelled_at(Draft { unique: Some(rule()), ..draft() }, 1).await;
    let plain = env.cancelled_at(draft(), 2).await;
    let newer = env.cancelled_at(draft(), 3).await;
    let age = Prune { finished_before: Some(env.at(3)), limit: 1, ..cancelled() };
    prune(&env, age.clone(), 59).await;
    // It must not stand in the way either: the limit is for jobs that may go.
    assert_eq!(left(&env).await, [throttled.id, newer.id]);
    prune(&env, age, 60).await;
    assert_eq!(left(&env).await, [newer.id]);
    assert!(plain.id < newer.id);
}

pub(super) async fn all_that_belongs_to_a_job_goes_with_it(env: Env) {
    let unique = Some(UniqueRule::by_key("k"));
    let draft = Draft { tags: vec!["t".into()], max_attempts: Some(1), unique, ..draft() };
    let new = env.new_job(Draft { start: When::Now, ..draft });
    env.insert(vec![new.clone()]).await;
    let running = env.take().await;
    env.note(note(&running, None, lines(&running, 0, &["a line"]))).await;
    let discarded = env.drive(&running, fail(&running), env.at(1)).await;
    assert_eq!(discarded.state, State::Discarded);
    let age = Prune { state: State::Discarded, finished_before: Some(env.at(9)), ..cancelled() };
    prune(&env, age, 10).await;
    assert_eq!(env.attempts(running.id).await, []);
    assert_eq!(env.logs(running.id).await, []);
    // The same job again, as an outbox that sends twice would have it: nothing of the old one clings to it.
    env.insert(vec![new.clone()]).await;
    assert_eq!(env.all().await, [new.job]);
    let again = env.take().await;
    env.drive(&again, succeed(&again), env.at(2)).await;
    assert_eq!(env.attempts(again.id).await, []);
    assert_eq!(env.logs(again.id).await, []);
}
