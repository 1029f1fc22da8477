//! Within a queue: by priority, then by the time a job is due, then by its id.

use std::{sync::Arc, time::Duration};

use backroom_core::{Draft, JobRow, draft::When};

use super::env::{Env, draft, draft_in, draft_later, ids};
use crate::store::Claim;

fn of_priority(priority: u8) -> Draft {
    Draft { priority, ..draft() }
}

pub(super) async fn smaller_priorities_are_served_first(env: Env) {
    let jobs = env.put_many([9, 0, 5, 3, 0, 9].map(of_priority)).await;
    let order = [1, 4, 3, 2, 0, 5].map(|index: usize| jobs[index].id);
    assert_eq!(ids(&env.claim(env.claim_of(10)).await), order);
}

pub(super) async fn jobs_of_one_priority_are_served_by_their_time(env: Env) {
    let micros = |micros| Draft { start: When::In(Duration::from_micros(micros)), ..draft() };
    let jobs = env.put_many([draft_later(9), micros(2), micros(1), draft_later(3)]).await;
    let order = [2, 1, 3, 0].map(|index: usize| jobs[index].id);
    assert_eq!(ids(&env.claim_at(env.claim_of(10), env.at(9)).await), order);
}

pub(super) async fn jobs_of_one_time_are_served_by_their_id(env: Env) {
    let new: Vec<_> = (0..20).map(|_| env.new_job(draft())).collect();
    let order: Vec<_> = new.iter().map(|new| new.job.id).collect();
    // Stored backwards: the order of arrival must not decide.
    env.insert(new.into_iter().rev().collect()).await;
    assert_eq!(ids(&env.claim(env.claim_of(20)).await), order);
}

pub(super) async fn a_full_limit_leaves_the_last_in_line(env: Env) {
    let jobs = env.put_many([7, 1, 4, 1].map(of_priority)).await;
    assert_eq!(ids(&env.claim(env.claim_of(2)).await), [jobs[1].id, jobs[3].id]);
    assert_eq!(ids(&env.claim(env.claim_of(1)).await), [jobs[2].id]);
    assert_eq!(ids(&env.claim(env.claim_of(5)).await), [jobs[0].id]);
}

async fn ahead(env: &Env, job: &JobRow, limit: u64, secs: i64) -> u64 {
    env.store.ahead(Arc::new(job.clone()), limit, env.at(secs)).await.expect("ahead")
}

pub(super) async fn ahead_counts_due_jobs_served_before(env: Env) {
    let mut drafts = vec![of_priority(0), of_priority(9), draft_in("other"), draft_later(5), draft()];
    drafts.push(Draft { priority: 0, start: When::In(Duration::from_secs(7)), ..draft() });
    let jobs = env.put_many(drafts).await;
    assert_eq!(ahead(&env, &jobs[0], 100, 0).await, 0, "the first in line");
    assert_eq!(ahead(&env, &jobs[4], 100, 0).await, 1, "what is not due is not ahead");
    assert_eq!(ahead(&env, &jobs[1], 100, 0).await, 2);
    assert_eq!(ahead(&env, &jobs[1], 100, 7).await, 4);
    assert_eq!(ahead(&env, &jobs[2], 100, 7).await, 0, "queues do not wait for each other");
    env.claim(env.claim_of(1)).await;
    assert_eq!(ahead(&env, &jobs[4], 100, 0).await, 0, "what runs is not ahead");
}

pub(super) async fn ahead_counts_no_farther_than_its_limit(env: Env) {
    let jobs = env.put_many(vec![draft(); 10]).await;
    assert_eq!(ahead(&env, &jobs[9], 4, 0).await, 4);
    assert_eq!(ahead(&env, &jobs[9], 9, 0).await, 9);
    assert_eq!(ahead(&env, &jobs[3], 4, 0).await, 3);
}

pub(super) async fn kinds_of_one_priority_are_served_by_their_time(env: Env) {
    let of_kind = |kind: &str, priority, secs| Draft { kind: kind.into(), priority, ..draft_later(secs) };
    let jobs = env
        .put_many([
            of_kind("b", 1, 3),
            of_kind("a", 1, 4),
            of_kind("c", 1, 1),
            of_kind("a", 1, 2),
            of_kind("c", 2, 0),
            of_kind("unhandled", 0, 0),
        ])
        .await;
    let kinds = Arc::new(["a", "b", "c"].map(str::to_owned).to_vec().into());
    let claim = Claim { kinds, ..env.claim_of(3) };
    let order = [2, 3, 0].map(|index: usize| jobs[index].id);
    assert_eq!(ids(&env.claim_at(claim.clone(), env.at(9)).await), order);
    let rest = Claim { lease: env.ids.lease(), ..claim };
    assert_eq!(ids(&env.claim_at(rest, env.at(9)).await), [jobs[1].id, jobs[4].id]);
}

pub(super) async fn kinds_and_expiry_count_for_who_is_ahead(env: Env) {
    let of_kind = |kind: &str, priority, secs| Draft { kind: kind.into(), priority, ..draft_later(secs) };
    let expiring = Draft { expiry: Some(When::In(Duration::from_secs(1))), ..draft() };
    let jobs = env
        .put_many([of_kind("b", 1, 3), of_kind("a", 1, 4), of_kind("c", 1, 1), of_kind("c", 2, 0)])
        .await;
    env.put(Draft { priority: 0, ..expiring }).await;
    assert_eq!(ahead(&env, &jobs[0], 100, 0).await, 1, "the one that expires at 1");
    assert_eq!(ahead(&env, &jobs[0], 100, 9).await, 1, "c");
    assert_eq!(ahead(&env, &jobs[1], 100, 9).await, 2, "c and b");
    assert_eq!(ahead(&env, &jobs[3], 100, 9).await, 3);
    assert_eq!(ahead(&env, &jobs[3], 2, 9).await, 2, "no farther than the limit");
}
