//! A worker that lost its job cannot change it any more.

use std::sync::Arc;

use backroom_core::Event;

use super::env::{Env, decide, died, draft, fail, lease, succeed};
use crate::store::Committed;

pub(super) async fn a_report_from_a_lease_that_was_rescued_is_stale(env: Env) {
    let slept = env.running().await;
    let report = decide(&slept, succeed(&slept), env.at(40));
    env.drive(&slept, died(), env.at(31)).await;
    assert_eq!(env.commit(report.clone()).await, Committed::Stale, "while it waits for another worker");
    let second = env.take_at(env.at(32)).await;
    assert_ne!(second.lease_id, slept.lease_id);
    assert_eq!(env.commit(report).await, Committed::Stale, "while another worker runs it");
    assert_eq!(env.read(slept.id).await, second);
    env.drive(&second, succeed(&second), env.at(41)).await;
}

pub(super) async fn a_report_from_a_lease_that_was_released_is_stale(env: Env) {
    let running = env.running().await;
    let report = decide(&running, fail(&running), env.at(1));
    let queued = env.drive(&running, Event::Release { lease: lease(&running) }, env.at(1)).await;
    assert_eq!(env.commit(report).await, Committed::Stale);
    assert_eq!(env.read(running.id).await, queued);
}

pub(super) async fn a_report_under_a_foreign_lease_is_stale(env: Env) {
    let running = env.running().await;
    // The revision is right, so the lease alone must refuse it.
    let mut report = decide(&running, succeed(&running), env.at(1));
    report.lease = Some(env.ids.lease());
    assert_eq!(env.commit(report).await, Committed::Stale);
    assert_eq!(env.read(running.id).await, running);
}

pub(super) async fn a_rescue_that_lost_to_the_report_is_stale(env: Env) {
    let running = env.running().await;
    let rescue = decide(&running, died(), env.at(31));
    let done = env.drive(&running, succeed(&running), env.at(31)).await;
    assert_eq!(env.commit(rescue).await, Committed::Stale);
    assert_eq!(env.read(running.id).await, done);
    assert_eq!(env.store.attempts(running.id).await.expect("attempts"), []);
}

pub(super) async fn commits_racing_with_a_rescue_are_accepted_once(env: Env) {
    env.put_many(vec![draft(); 8]).await;
    for running in env.claim(env.claim_of(8)).await {
        let changes = [
            decide(&running, succeed(&running), env.at(31)),
            decide(&running, died(), env.at(31)),
            decide(&running, fail(&running), env.at(31)),
        ];
        let tasks = changes.clone().map(|change| {
            let store = Arc::clone(&env.store);
            tokio::spawn(async move { store.commit(Arc::new(vec![change])).await.expect("commit") })
        });
        let mut accepted = Vec::new();
        for (task, change) in tasks.into_iter().zip(changes) {
            let answers = task.await.expect("a task that commits");
            if answers == [Committed::Done] {
                accepted.push(change);
            } else {
                assert_eq!(answers, [Committed::Stale]);
            }
        }
        assert_eq!(accepted.len(), 1, "exactly one is accepted");
        let mut expected = running.clone();
        accepted[0].write_to(&mut expected);
        assert_eq!(env.read(running.id).await, expected);
    }
}
