//! Which leases are held: what a worker asks with each heartbeat.

use std::sync::Arc;

use backroom_core::{JobId, JobRow, LeaseId};

use super::env::{Env, cancel, decide, died, draft, lease, succeed};
use crate::store::{Committed, LeaseStatus};

async fn held(env: &Env, leases: Vec<(JobId, LeaseId)>) -> Vec<LeaseStatus> {
    env.store.lease_status(Arc::new(leases)).await.expect("held")
}

fn run(job: &JobRow) -> (JobId, LeaseId) {
    (job.id, lease(job))
}

pub(super) async fn the_lease_of_a_running_job_is_held_and_its_row_stays(env: Env) {
    let running = env.running().await;
    assert_eq!(held(&env, vec![run(&running)]).await, [LeaseStatus::Held]);
    assert_eq!(env.read(running.id).await, running);
}

pub(super) async fn a_lease_that_is_not_held_is_lost(env: Env) {
    let finished = env.completed().await;
    let rescued = env.running().await;
    env.drive(&rescued, died(), env.at(31)).await;
    let running = env.take().await;
    let unknown = env.new_job(draft()).job.id;
    let foreign = env.ids.lease();
    let leases = vec![run(&finished), run(&rescued), (running.id, foreign), (unknown, foreign)];
    assert_eq!(held(&env, leases).await, [LeaseStatus::Lost; 4]);
    assert_eq!(env.read(finished.id).await, finished);
    assert_eq!(env.read(running.id).await, running);
}

pub(super) async fn a_cancel_request_is_told(env: Env) {
    let running = env.running().await;
    env.drive(&running, cancel(), env.at(1)).await;
    assert_eq!(held(&env, vec![run(&running)]).await, [LeaseStatus::CancelRequested]);
}

pub(super) async fn a_report_decided_before_the_look_is_accepted(env: Env) {
    let running = env.running().await;
    let report = decide(&running, succeed(&running), env.at(2));
    assert_eq!(held(&env, vec![run(&running)]).await, [LeaseStatus::Held]);
    assert_eq!(env.commit(report).await, Committed::Done);
}

pub(super) async fn leases_are_answered_in_order(env: Env) {
    env.put_many(vec![draft(); 4]).await;
    let taken = env.claim(env.claim_of(4)).await;
    env.drive(&taken[2], succeed(&taken[2]), env.now).await;
    env.drive(&taken[0], cancel(), env.now).await;
    let leases = [3, 2, 0, 1].map(|index: usize| run(&taken[index])).to_vec();
    assert_eq!(held(&env, leases).await, [LeaseStatus::Held, LeaseStatus::Lost, LeaseStatus::CancelRequested, LeaseStatus::Held]);
    assert_eq!(held(&env, Vec::new()).await, []);
}
