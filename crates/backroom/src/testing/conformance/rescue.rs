//! Jobs of dead workers are found and run elsewhere.

use std::sync::Arc;

use backroom_core::{AttemptEnd, Event, JobRow, State};

use super::env::{Env, LEASE_SECS, decide, died, draft, draft_later, ids, lease, succeed};
use crate::store::{Claim, Committed, Extend, Held};

async fn lapsed(env: &Env, limit: usize, secs: i64) -> Vec<JobRow> {
    env.store.lapsed(None, limit, env.at(secs)).await.expect("lapsed")
}

pub(super) async fn lapsed_leases_are_found_the_longest_ago_first(env: Env) {
    env.put_many(vec![draft(); 4]).await;
    let mut running = Vec::new();
    for until in [50, 20, 40, 30] {
        running.extend(env.claim(Claim { until: env.at(until), ..env.claim_of(1) }).await);
    }
    assert_eq!(lapsed(&env, 10, 19).await, []);
    assert_eq!(lapsed(&env, 10, 20).await, [running[1].clone()], "at its end a lease holds no more");
    let order = [1, 3, 2, 0].map(|index: usize| running[index].id);
    assert_eq!(ids(&lapsed(&env, 10, 50).await), order);
    assert_eq!(ids(&lapsed(&env, 2, 50).await), order[..2]);
    assert_eq!(lapsed(&env, 0, 50).await, []);
}

/// Jobs of one claim lapse in one moment, and pages meet in the middle of them.
pub(super) async fn pages_of_lapsed_leases_meet_without_gap_or_overlap(env: Env) {
    env.put_many(vec![draft(); 7]).await;
    for until in [20, 10] {
        env.claim(Claim { until: env.at(until), ..env.claim_of(3) }).await;
    }
    // Still held.
    env.claim(Claim { until: env.at(50), ..env.claim_of(1) }).await;
    let now = env.at(30);
    let all = lapsed(&env, 10, 30).await;
    assert_eq!(all.len(), 6);
    let place = |job: &JobRow| (job.lease_until.expect("a lease"), job.id);
    assert!(all.is_sorted_by_key(place), "{all:?}");
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = env.store.lapsed(after, 2, now).await.expect("lapsed");
        let Some(last) = page.last() else { break };
        assert_eq!(page.len(), 2);
        after = Some(place(last));
        found.extend(page);
    }
    assert_eq!(found, all);
    // A place is one in the order, not a row that must be there.
    let nowhere = (env.at(15), all[5].id);
    assert_eq!(ids(&env.store.lapsed(Some(nowhere), 10, now).await.expect("lapsed")), ids(&all[3..]));
}

pub(super) async fn only_running_jobs_lapse(env: Env) {
    env.completed().await;
    let running = env.running().await;
    env.drive(&running, Event::Suspend { lease: lease(&running) }, env.now).await;
    env.put(draft_later(5)).await;
    assert_eq!(lapsed(&env, 10, 100_000).await, []);
}

pub(super) async fn a_rescued_job_runs_again_at_once_and_uncharged(env: Env) {
    env.running().await;
    let found = lapsed(&env, 10, LEASE_SECS).await.remove(0);
    let queued = env.drive(&found, died(), env.at(LEASE_SECS)).await;
    assert_eq!((queued.state, queued.attempt, queued.crashes), (State::Queued, 0, 1));
    assert_eq!(lapsed(&env, 10, 100_000).await, []);
    let again = env.take_at(env.at(LEASE_SECS)).await;
    assert_eq!((again.attempt, again.crashes), (1, 1));
    assert_ne!(again.lease_id, found.lease_id);
    assert_eq!(env.attempts(found.id).await[0].end, AttemptEnd::Crashed);
    env.drive(&again, succeed(&again), env.at(60)).await;
}

pub(super) async fn a_lease_extended_after_a_rescue_was_decided_stays_held(env: Env) {
    let running = env.running().await;
    let rescue = decide(&running, died(), env.at(LEASE_SECS));
    let leases = vec![(running.id, lease(&running))];
    let extend = Extend { leases, until: env.at(LEASE_SECS + 30) };
    let held = env.store.extend(Arc::new(extend), env.at(LEASE_SECS)).await.expect("extend");
    assert_eq!(held, [Held::Yes]);
    assert_eq!(env.commit(rescue).await, Committed::Stale);
    assert_eq!(env.read(running.id).await.state, State::Running);
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
