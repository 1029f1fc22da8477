//! Jobs of dead workers are found and run elsewhere.

use backroom_core::{AttemptEnd, Event, JobRow, State};

use super::env::{Env, LEASE_SECS, WORKER, decide, died, draft, draft_later, ids, lease, sorted_ids, succeed};
use crate::store::{Claim, Committed};

async fn running_of(env: &Env, worker: &str) -> Vec<JobRow> {
    let running = env.store.running_of(worker, None, 100).await.expect("running_of");
    running.into_iter().map(|running| running.job).collect()
}

pub(super) async fn the_jobs_of_a_worker_are_found_by_their_ids(env: Env) {
    env.put_many(vec![draft(); 5]).await;
    let other = Claim { worker: "other".into(), ..env.claim_of(2) };
    let others = env.claim(other).await;
    let mut its = env.claim(env.claim_of(3)).await;
    its.sort_by_key(|job| job.id);
    assert_eq!(running_of(&env, WORKER).await, its, "the rows come whole");
    assert_eq!(ids(&running_of(&env, "other").await), sorted_ids(&others));
    assert_eq!(running_of(&env, "nobody").await, []);
}

pub(super) async fn pages_of_a_workers_jobs_meet_without_gap_or_overlap(env: Env) {
    env.put_many(vec![draft(); 7]).await;
    let mut all = env.claim(env.claim_of(7)).await;
    all.sort_by_key(|job| job.id);
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = env.store.running_of(WORKER, after, 3).await.expect("running_of");
        assert!(page.len() <= 3);
        let Some(last) = page.last() else { break };
        after = Some(last.job.id);
        found.extend(page.into_iter().map(|running| running.job));
    }
    assert_eq!(found, all);
    assert_eq!(env.store.running_of(WORKER, None, 0).await.expect("running_of"), []);
}

pub(super) async fn only_running_jobs_are_held(env: Env) {
    env.completed().await;
    let running = env.running().await;
    env.drive(&running, Event::Suspend { lease: lease(&running) }, env.now).await;
    env.put(draft_later(5)).await;
    assert_eq!(running_of(&env, WORKER).await, []);
    assert_eq!(env.store.holders().await.expect("holders"), []);
}

pub(super) async fn a_rescued_job_runs_again_at_once_and_uncharged(env: Env) {
    env.running().await;
    let found = running_of(&env, WORKER).await.remove(0);
    let queued = env.drive(&found, died(), env.at(LEASE_SECS)).await;
    assert_eq!((queued.state, queued.attempt, queued.crashes), (State::Queued, 0, 1));
    assert_eq!(running_of(&env, WORKER).await, []);
    let again = env.take_at(env.at(LEASE_SECS)).await;
    assert_eq!((again.attempt, again.crashes), (1, 1));
    assert_ne!(again.lease_id, found.lease_id);
    assert_eq!(env.attempts(found.id).await[0].end, AttemptEnd::Crashed);
    env.drive(&again, succeed(&again), env.at(60)).await;
}

/// The clock of the process that rescues may be behind that of the one that claimed: no moment decides.
pub(super) async fn a_job_is_rescued_whatever_its_moments_are(env: Env) {
    let running = env.running().await;
    let rescued = env.drive(&running, died(), env.at(-7200)).await;
    assert_eq!(rescued.state, State::Queued);
}

pub(super) async fn a_job_that_kills_its_workers_is_poison(env: Env) {
    env.put(draft()).await;
    for round in 0..3 {
        let running = env.take_at(env.at(round * 100)).await;
        let rescue = decide(&running, died(), env.at(round * 100 + 50));
        assert_eq!(env.commit(rescue).await, Committed::Done);
    }
    let job = env.all().await.remove(0);
    assert_eq!((job.state, job.crashes), (State::Discarded, 3));
    assert!(job.reason.as_deref().is_some_and(|reason| reason.starts_with("poison")), "{:?}", job.reason);
    assert_eq!(env.attempts(job.id).await.len(), 3);
}
