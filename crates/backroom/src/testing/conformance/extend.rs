//! A worker that says so keeps its jobs.

use std::sync::Arc;

use backroom_core::{JobId, JobRow, LeaseId};

use super::env::{Env, cancel, decide, died, draft, ids, lease, succeed};
use crate::store::{Committed, Extend, Held};

async fn extend(env: &Env, leases: Vec<(JobId, LeaseId)>, secs: i64) -> Vec<Held> {
    let extend = Extend { leases, until: env.at(secs) };
    env.store.extend(Arc::new(extend), env.at(1)).await.expect("extend")
}

fn run(job: &JobRow) -> (JobId, LeaseId) {
    (job.id, lease(job))
}

pub(super) async fn a_held_lease_moves(env: Env) {
    let running = env.running().await;
    assert_eq!(extend(&env, vec![run(&running)], 100).await, [Held::Yes]);
    let expected = JobRow { lease_until: Some(env.at(100)), ..running };
    assert_eq!(env.read(expected.id).await, expected, "the end of the lease moved, nothing else");
    assert_eq!(ids(&env.store.lapsed(None, 10, env.at(99)).await.expect("lapsed")), []);
    assert_eq!(ids(&env.store.lapsed(None, 10, env.at(100)).await.expect("lapsed")), [expected.id]);
}

pub(super) async fn a_lease_that_is_not_held_is_lost(env: Env) {
    let finished = env.completed().await;
    let rescued = env.running().await;
    env.drive(&rescued, died(), env.at(31)).await;
    let running = env.take().await;
    let unknown = env.new_job(draft()).job.id;
    let foreign = env.ids.lease();
    let leases = vec![run(&finished), run(&rescued), (running.id, foreign), (unknown, foreign)];
    assert_eq!(extend(&env, leases, 100).await, [Held::Lost; 4]);
    assert_eq!(env.read(finished.id).await, finished);
    assert_eq!(env.read(running.id).await, running);
}

pub(super) async fn a_cancel_request_is_told(env: Env) {
    let running = env.running().await;
    let marked = env.drive(&running, cancel(), env.at(1)).await;
    assert_eq!(extend(&env, vec![run(&running)], 100).await, [Held::CancelRequested]);
    assert_eq!(env.read(marked.id).await, JobRow { lease_until: Some(env.at(100)), ..marked });
}

pub(super) async fn a_report_decided_before_an_extension_is_accepted(env: Env) {
    let running = env.running().await;
    let report = decide(&running, succeed(&running), env.at(2));
    assert_eq!(extend(&env, vec![run(&running)], 100).await, [Held::Yes]);
    assert_eq!(env.commit(report).await, Committed::Done);
}

pub(super) async fn leases_are_answered_in_order(env: Env) {
    env.put_many(vec![draft(); 4]).await;
    let taken = env.claim(env.claim_of(4)).await;
    env.drive(&taken[2], succeed(&taken[2]), env.now).await;
    env.drive(&taken[0], cancel(), env.now).await;
    let leases = [3, 2, 0, 1].map(|index: usize| run(&taken[index])).to_vec();
    let answers = extend(&env, leases, 100).await;
    assert_eq!(answers, [Held::Yes, Held::Lost, Held::CancelRequested, Held::Yes]);
    assert_eq!(extend(&env, Vec::new(), 100).await, []);
}

pub(super) async fn a_later_beat_does_not_shorten_a_lease(env: Env) {
    let running = env.running().await;
    assert_eq!(extend(&env, vec![run(&running)], 100).await, [Held::Yes]);
    assert_eq!(extend(&env, vec![run(&running)], 40).await, [Held::Yes]);
    assert_eq!(env.read(running.id).await.lease_until, Some(env.at(100)));
}
