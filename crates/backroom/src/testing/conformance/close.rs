//! The store as a whole.

use std::sync::Arc;

use super::env::{Env, cancel, decide, draft};
use crate::{ErrorKind, store::{Filter, Call}};

pub(super) async fn a_closed_store_answers_that_it_is_closed(env: Env) {
    let job = env.put(draft()).await;
    env.store.close().await.expect("close");
    let kinds = [
        env.store.insert(Arc::new(vec![env.new_job(draft())]), env.now, Call::First).await.map(drop),
        env.store.claim(Arc::new(env.claim_of(1)), env.now, Call::First).await.map(drop),
        env.store.commit(Arc::new(vec![decide(&job, cancel(), env.now)])).await.map(drop),
        env.store.job(job.id).await.map(drop),
        env.store.list(Arc::new(Filter::default()), None, 1).await.map(drop),
        env.store.counts(env.now).await.map(drop),
    ]
    .map(|answer| answer.map_err(|error| error.kind()));
    assert_eq!(kinds, [Err(ErrorKind::Closed); 6]);
}

pub(super) async fn a_store_closes_twice(env: Env) {
    env.store.close().await.expect("close");
    env.store.close().await.expect("close again");
}

pub(super) async fn a_healthy_store_says_so(env: Env) {
    env.put(draft()).await;
    let health = env.store.health().await.expect("health");
    assert!(health.checks.iter().all(|check| check.ok), "{health:?}");
    assert!(!health.store.is_empty() && !health.engine.is_empty(), "{health:?}");
}
