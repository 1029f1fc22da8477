//! Jobs that did not begin in time are found and cancelled.

use std::time::Duration;

use backroom_core::{Draft, Event, JobRow, State, draft::When};

use super::env::{Env, cancel, draft, ids, lease, succeed};

fn expiring(secs: u64) -> Draft {
    Draft { expiry: Some(When::In(Duration::from_secs(secs))), ..draft() }
}

async fn expired(env: &Env, limit: usize, secs: i64) -> Vec<JobRow> {
    env.store.expired_jobs(limit, env.at(secs)).await.expect("expired")
}

pub(super) async fn jobs_past_their_expiry_are_found_the_longest_ago_first(env: Env) {
    let jobs = env.put_many([expiring(50), expiring(20), draft(), expiring(40), expiring(30)]).await;
    assert_eq!(expired(&env, 10, 19).await, []);
    assert_eq!(expired(&env, 10, 20).await, [jobs[1].clone()]);
    let order = [1, 4, 3, 0].map(|index: usize| jobs[index].id);
    assert_eq!(ids(&expired(&env, 10, 3600).await), order);
    assert_eq!(ids(&expired(&env, 3, 3600).await), order[..3]);
    assert_eq!(expired(&env, 0, 3600).await, []);
}

pub(super) async fn only_queued_jobs_expire(env: Env) {
    env.put_many([expiring(10), expiring(10), expiring(10)]).await;
    let taken = env.claim(env.claim_of(3)).await;
    env.drive(&taken[0], succeed(&taken[0]), env.now).await;
    env.drive(&taken[1], Event::Suspend { lease: lease(&taken[1]) }, env.now).await;
    let other = env.put(expiring(10)).await;
    env.drive(&other, cancel(), env.now).await;
    assert_eq!(expired(&env, 10, 3600).await, []);
    let queued = env.drive(&taken[2], Event::Release { lease: lease(&taken[2]) }, env.now).await;
    assert_eq!(expired(&env, 10, 3600).await, [queued]);
}

pub(super) async fn an_expired_job_is_cancelled(env: Env) {
    env.put(expiring(10)).await;
    let found = expired(&env, 10, 10).await.remove(0);
    let cancelled = env.drive(&found, Event::Expire, env.at(10)).await;
    assert_eq!((cancelled.state, cancelled.reason.as_deref()), (State::Cancelled, Some("expired")));
    assert_eq!(expired(&env, 10, 3600).await, []);
}
