//! Depth limits of queues.

use std::sync::Arc;

use backroom_core::{
    Draft,
    unique::{UniqueBy, UniqueHold, UniqueRule},
};

use super::env::{Env, draft, draft_in, fail};
use crate::{
    Error, ErrorKind,
    store::{Call, Inserted, QueueSetting},
};

const QUEUE: &str = "default";

async fn limit(env: &Env, depth_max: Option<u64>) {
    env.store.set_queue(QUEUE, QueueSetting::DepthMax(depth_max)).await.expect("set_queue");
}

async fn insert(env: &Env, drafts: impl IntoIterator<Item = Draft>) -> Result<Vec<Inserted>, Error> {
    let jobs = drafts.into_iter().map(|draft| env.new_job(draft)).collect();
    env.store.insert(Arc::new(jobs), env.now, Call::First).await
}

#[track_caller]
fn is_full(answer: Result<Vec<Inserted>, Error>, depth: u64, limit: u64) {
    let error = answer.expect_err("the queue is full");
    assert_eq!(error.kind(), ErrorKind::QueueFull { depth, limit });
    assert!(error.message().contains(QUEUE), "{error}");
}

fn keyed(key: &str) -> Draft {
    let rule = UniqueRule {
        by: UniqueBy::Key(key.into()),
        hold: UniqueHold::Live,
        on_conflict: backroom_core::unique::OnConflict::Keep,
    };
    Draft { unique: Some(rule), ..draft() }
}

pub(super) async fn a_call_that_would_exceed_the_limit_stores_nothing(env: Env) {
    limit(&env, Some(3)).await;
    env.put(draft()).await;
    is_full(insert(&env, [draft(), draft_in("other"), draft(), draft()]).await, 1, 3);
    assert_eq!(env.all().await.len(), 1);
    limit(&env, Some(0)).await;
    is_full(insert(&env, [draft()]).await, 1, 0);
    assert_eq!(env.all().await.len(), 1);
}

pub(super) async fn a_call_that_fits_is_stored(env: Env) {
    limit(&env, Some(3)).await;
    env.put_many([draft(), draft(), draft_in("other")]).await;
    env.put(draft()).await;
    is_full(insert(&env, [draft()]).await, 3, 3);
}

pub(super) async fn duplicates_are_answered_by_a_full_queue(env: Env) {
    let holder = env.put(keyed("a")).await.id;
    limit(&env, Some(1)).await;
    assert_eq!(insert(&env, [keyed("a"), keyed("a")]).await.expect("no new job"), [
        Inserted::Duplicate(holder),
        Inserted::Duplicate(holder)
    ]);
    is_full(insert(&env, [keyed("b")]).await, 1, 1);
    is_full(insert(&env, [keyed("a"), keyed("b")]).await, 1, 1);
    assert_eq!(env.all().await.len(), 1);
}

pub(super) async fn jobs_that_are_stored_already_are_answered_by_a_full_queue(env: Env) {
    let stored = env.new_job(draft());
    env.insert(vec![stored.clone()]).await;
    limit(&env, Some(1)).await;
    assert_eq!(env.insert_again(vec![stored.clone()]).await, [Inserted::Created]);
    let both = Arc::new(vec![stored, env.new_job(draft())]);
    is_full(env.store.insert(both, env.now, Call::Repeated).await, 1, 1);
    assert_eq!(env.all().await.len(), 1);
}

pub(super) async fn a_full_queue_refuses_its_own_calls_only(env: Env) {
    limit(&env, Some(1)).await;
    env.put(draft()).await;
    let calls = (0..8).map(|n| {
        let queue = if n % 2 == 0 { QUEUE } else { "other" };
        insert(&env, [draft_in(queue)])
    });
    let answers = futures_util::future::join_all(calls).await;
    for (n, answer) in answers.into_iter().enumerate() {
        if n % 2 == 0 {
            is_full(answer, 1, 1);
        } else {
            assert_eq!(answer.expect("another queue"), [Inserted::Created]);
        }
    }
    assert_eq!(env.all().await.len(), 5);
}

pub(super) async fn running_jobs_do_not_count_and_a_retry_is_never_refused(env: Env) {
    limit(&env, Some(1)).await;
    let running = env.running().await;
    env.put(draft()).await;
    env.drive(&running, fail(&running), env.at(1)).await;
    is_full(insert(&env, [draft()]).await, 2, 1);
}

pub(super) async fn a_limit_that_is_lifted_is_lifted_at_once(env: Env) {
    limit(&env, Some(1)).await;
    env.put(draft()).await;
    is_full(insert(&env, [draft()]).await, 1, 1);
    limit(&env, None).await;
    env.put(draft()).await;
}
