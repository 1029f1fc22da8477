//! How much work waits in a queue.

use std::time::Duration;

use backroom_core::{Draft, draft::When};

use super::env::{Env, draft, draft_in, draft_later};
use crate::store::Load;

async fn load(env: &Env, limit: u64) -> Load {
    env.store.load("default", limit, env.at(10)).await.expect("load")
}

pub(super) async fn due_and_running_jobs_of_the_queue_are_counted(env: Env) {
    assert_eq!(load(&env, 10).await, Load::default());
    env.put_many([draft(), draft()]).await;
    env.claim(env.claim_of(1)).await;
    let expiring = Draft { expiry: Some(When::In(Duration::from_secs(5))), ..draft() };
    env.put_many([draft_in("other"), draft_later(60), expiring]).await;
    assert_eq!(load(&env, 10).await, Load { ready: 1, running: 1, oldest_at: Some(env.now) });
}

pub(super) async fn due_jobs_are_counted_up_to_the_limit(env: Env) {
    env.put_many((0..6).map(|n| Draft { priority: n, ..draft() })).await;
    assert_eq!(load(&env, 4).await.ready, 4);
    assert_eq!(load(&env, 6).await.ready, 6);
}

pub(super) async fn the_oldest_due_job_is_found_in_any_priority(env: Env) {
    env.put_many([draft_later(5), Draft { priority: 9, ..draft_later(3) }, Draft { priority: 0, ..draft_later(4) }])
        .await;
    assert_eq!(load(&env, 10).await.oldest_at, Some(env.at(3)));
}
