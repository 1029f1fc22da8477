//! Workers take what is due, what they handle, and no more than they asked for.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use backroom_core::{Draft, Event, Extras, JobRow, Json, Kinds, draft::When, transition};

use super::env::{Env, QUEUE, WORKER, draft, draft_in, draft_later, ids, sorted_ids};
use crate::store::{Claim, QueueSetting, Call};

/// What the state machine says that `claim` makes of `job`.
fn claimed(env: &Env, job: &JobRow, claim: &Claim) -> JobRow {
    let event = claim.event();
    let change = transition::apply(job, event, env.now).expect("claimable").expect("a claim changes the job");
    let mut job = job.clone();
    change.write_to(&mut job);
    job
}

pub(super) async fn every_claimed_row_is_what_the_state_machine_says(env: Env) {
    let unique = backroom_core::unique::UniqueRule::by_key("k").while_queued();
    let jobs = env
        .put_many([
            draft(),
            Draft {
                priority: 0,
                extras: Extras { timeout: Some(Duration::from_secs(9)), ..Extras::default() },
                ..draft()
            },
            Draft { unique: Some(unique), tags: vec!["t".into()], ..draft() },
            Draft { expiry: Some(When::In(Duration::from_secs(1))), lane: Some("l".into()), ..draft() },
        ])
        .await;
    let claim = env.claim_of(10);
    let taken = env.claim(claim.clone()).await;
    assert_eq!(sorted_ids(&taken), ids(&jobs));
    for job in &jobs {
        let expected = claimed(&env, job, &claim);
        assert_eq!(taken.iter().find(|taken| taken.id == job.id), Some(&expected), "the answer");
        assert_eq!(env.read(job.id).await, expected, "the row");
    }
    assert_eq!(taken[0].worker.as_deref(), Some(WORKER));
}

pub(super) async fn takes_due_jobs_only(env: Env) {
    let jobs = env.put_many([draft_later(10), draft(), draft_later(11)]).await;
    assert_eq!(ids(&env.claim(env.claim_of(10)).await), [jobs[1].id]);
    assert_eq!(ids(&env.claim_at(env.claim_of(10), env.at(9)).await), []);
    assert_eq!(ids(&env.claim_at(env.claim_of(10), env.at(10)).await), [jobs[0].id]);
    assert_eq!(env.read(jobs[2].id).await, jobs[2]);
    // What is ahead in line but not due must not use up the limit.
    env.put(Draft { priority: 0, ..draft_later(30) }).await;
    let due = env.put(draft()).await;
    assert_eq!(ids(&env.claim(env.claim_of(1)).await), [due.id]);
}

pub(super) async fn jobs_stored_before_the_clock_was_set_back_stay_due_and_later_delays_hold(env: Env) {
    // Stored by the clock of before, two minutes ahead of now.
    let step = Duration::from_secs(120);
    let now = backroom_core::bounds::earlier(env.now, step);
    let expiry = Some(When::In(Duration::from_secs(1)));
    let jobs = env.put_many([draft(), Draft { expiry, ..draft() }, draft_later(10), draft()]).await;
    let claim = || Claim { due: env.now, until: env.at(-90), ..env.claim_of(10) };
    assert_eq!(ids(&env.claim_at(Claim { due: now, ..claim() }, now).await), []);
    let taken = env.claim_at(claim(), now).await;
    assert_eq!(sorted_ids(&taken), [jobs[0].id, jobs[1].id, jobs[3].id]);
    assert_eq!(taken[0].started_at, Some(now));
    // What is written from now on is a time of the new clock: a retry, and a place in the queue.
    let of = |id| taken.iter().find(|job| job.id == id).expect("taken");
    let lease = claim_lease(&taken);
    let snooze = Event::Snooze { lease, delay: Duration::from_secs(60) };
    let changes = [(jobs[0].id, snooze), (jobs[3].id, Event::Release { lease })]
        .map(|(id, event)| transition::apply(of(id), event, now).expect("taken").expect("changes"));
    env.store.commit(Arc::new(changes.to_vec())).await.expect("commit");
    let again = env.claim_at(claim(), now).await;
    assert_eq!(ids(&again), [jobs[3].id], "given back, it is due; put off, it waits");
    let soon = backroom_core::bounds::later(now, Duration::from_secs(60));
    assert_eq!(ids(&env.claim_at(claim(), soon).await), [jobs[0].id]);
    let due = env.at(10);
    assert_eq!(ids(&env.claim_at(Claim { due, ..claim() }, soon).await), [jobs[2].id]);
}

fn claim_lease(taken: &[JobRow]) -> backroom_core::LeaseId {
    taken[0].lease_id.expect("it runs")
}

pub(super) async fn takes_every_kind_but_those_left_out(env: Env) {
    let of = |kind: &str| Draft { kind: kind.into(), ..draft() };
    let jobs = env.put_many([of("a"), of("b"), of("c"), of("a")]).await;
    let but = |names: &[&str]| Arc::new(Kinds::AnyBut(names.iter().map(|&name| name.into()).collect()));
    let claim = |names: &[&str], limit| Claim { kinds: but(names), ..env.claim_of(limit) };
    let taken = env.claim(claim(&["a", "never seen"], 10)).await;
    assert_eq!(sorted_ids(&taken), [jobs[1].id, jobs[2].id]);
    let taken = env.claim(claim(&[], 1)).await;
    assert_eq!(ids(&taken), [jobs[0].id]);
    assert_eq!(env.read(jobs[3].id).await, jobs[3]);
}

pub(super) async fn stops_behind_the_job_that_fills_it_in_bytes(env: Env) {
    let large = Json::encode(&"x".repeat(100_000)).expect("a text");
    let jobs = env.put_many((0..5).map(|_| Draft { args: large.clone(), ..draft() })).await;
    let of_bytes = |bytes_max| Claim { bytes_max, ..env.claim_of(10) };
    assert_eq!(ids(&env.claim(of_bytes(1)).await), [jobs[0].id], "one, however large");
    assert_eq!(ids(&env.claim(of_bytes(200_000)).await), [jobs[1].id, jobs[2].id]);
    for waiting in &jobs[3..] {
        assert_eq!(env.read(waiting.id).await, *waiting);
    }
    assert_eq!(ids(&env.claim(of_bytes(usize::MAX)).await), ids(&jobs[3..]));
}

pub(super) async fn counts_bytes_over_all_shares_of_a_claim(env: Env) {
    let large = Json::encode(&"x".repeat(100_000)).expect("a text");
    let in_queue = |queue: &str| Draft { args: large.clone(), ..draft_in(queue) };
    let jobs = env.put_many([in_queue("a"), in_queue("b"), in_queue("b"), in_queue("a")]).await;
    let shares = [("a", 1), ("b", 1), ("b", 9), ("a", 9)];
    let claim = Claim { bytes_max: 200_005, ..env.claim_from(&shares, 9) };
    assert_eq!(ids(&env.claim(claim).await), [jobs[0].id, jobs[1].id, jobs[2].id]);
}

pub(super) async fn takes_the_kinds_asked_for_only(env: Env) {
    let of = |kind: &str| Draft { kind: kind.into(), ..draft() };
    let jobs = env.put_many([of("a"), of("b"), of("c"), of("a")]).await;
    let kinds = Arc::new(vec!["a".into(), "c".into(), "never seen".into()].into());
    let taken = env.claim(Claim { kinds, ..env.claim_of(10) }).await;
    assert_eq!(sorted_ids(&taken), [jobs[0].id, jobs[2].id, jobs[3].id]);
    assert_eq!(env.read(jobs[1].id).await, jobs[1]);
}

pub(super) async fn takes_from_the_queues_asked_for_only(env: Env) {
    let jobs = env.put_many(["a", "b", "c"].map(draft_in)).await;
    let taken = env.claim(env.claim_from(&[("a", 10), ("c", 10), ("never seen", 10)], 10)).await;
    assert_eq!(sorted_ids(&taken), [jobs[0].id, jobs[2].id]);
    assert_eq!(env.read(jobs[1].id).await, jobs[1]);
}

pub(super) async fn skips_paused_queues(env: Env) {
    let jobs = env.put_many(["a", "b"].map(draft_in)).await;
    env.store.set_queue("a", QueueSetting::Pause(env.now)).await.expect("set_queue");
    let claim = || env.claim_from(&[("a", 10), ("b", 10)], 10);
    assert_eq!(ids(&env.claim(claim()).await), [jobs[1].id]);
    env.store.set_queue("a", QueueSetting::Resume).await.expect("set_queue");
    assert_eq!(ids(&env.claim(claim()).await), [jobs[0].id]);
}

pub(super) async fn skips_jobs_past_their_expiry(env: Env) {
    let expiring = |secs| Draft { expiry: Some(When::In(Duration::from_secs(secs))), ..draft() };
    let jobs = env.put_many([expiring(10), expiring(11)]).await;
    assert_eq!(ids(&env.claim_at(env.claim_of(10), env.at(10)).await), [jobs[1].id]);
    assert_eq!(env.read(jobs[0].id).await, jobs[0]);
}

pub(super) async fn takes_no_more_than_the_limit(env: Env) {
    let jobs = env.put_many(vec![draft(); 7]).await;
    let claim = |limit| env.claim_from(&[(QUEUE, 100)], limit);
    assert_eq!(ids(&env.claim(claim(3)).await), ids(&jobs[..3]));
    assert_eq!(ids(&env.claim(claim(3)).await), ids(&jobs[3..6]));
    assert_eq!(ids(&env.claim(claim(3)).await), ids(&jobs[6..]));
}

pub(super) async fn takes_no_more_from_a_queue_than_its_share(env: Env) {
    env.put_many(["a", "a", "a", "b", "b", "b"].map(draft_in)).await;
    let taken = env.claim(env.claim_from(&[("a", 1), ("b", 2)], 10)).await;
    let of = |queue: &str| taken.iter().filter(|job| job.queue == queue).count();
    assert_eq!((of("a"), of("b")), (1, 2));
}

pub(super) async fn serves_queues_in_the_order_of_the_shares(env: Env) {
    // Priority counts within a queue: the order of the queues is the worker's wish.
    let jobs = env.put_many([draft_in("a"), draft_in("b"), Draft { priority: 0, ..draft_in("a") }]).await;
    let taken = env.claim(env.claim_from(&[("b", 10), ("a", 10)], 2)).await;
    assert_eq!(sorted_ids(&taken), [jobs[1].id, jobs[2].id]);
}

pub(super) async fn fills_up_from_a_queue_named_again(env: Env) {
    let jobs = env.put_many(["a", "a", "a", "b"].map(draft_in)).await;
    let shares = [("a", 1), ("b", 2), ("a", 10), ("b", 10)];
    let taken = env.claim(env.claim_from(&shares, 3)).await;
    assert_eq!(sorted_ids(&taken), [jobs[0].id, jobs[1].id, jobs[3].id]);
}

pub(super) async fn asks_for_nothing_and_gets_nothing(env: Env) {
    let job = env.put(draft()).await;
    assert_eq!(env.claim(env.claim_of(0)).await, []);
    assert_eq!(env.claim(env.claim_from(&[], 10)).await, []);
    assert_eq!(env.claim(env.claim_from(&[(QUEUE, 0)], 10)).await, []);
    assert_eq!(env.claim(Claim { kinds: Arc::default(), ..env.claim_of(10) }).await, []);
    assert_eq!(env.read(job.id).await, job);
}

pub(super) async fn a_claimed_job_is_not_claimed_again(env: Env) {
    let running = env.running().await;
    assert_eq!(env.claim(env.claim_of(10)).await, []);
    // Not even after its lease ran out: that is for the rescue to decide, which counts the crash.
    assert_eq!(env.claim_at(env.claim_of(10), env.at(3600)).await, []);
    assert_eq!(env.read(running.id).await, running);
}

pub(super) async fn a_repeated_claim_answers_with_what_the_lost_one_took(env: Env) {
    env.put_many(vec![draft(); 5]).await;
    let claim = env.claim_from(&[(QUEUE, 2)], 10);
    let taken = env.claim(claim.clone()).await;
    assert_eq!(taken.len(), 2);
    let again = env.claim_again(claim, env.at(1)).await;
    assert_eq!(again, taken, "the same jobs, as they are, and no more than the share");
    assert_eq!(env.claim(env.claim_of(10)).await.len(), 3);
}

pub(super) async fn a_repeated_claim_that_lost_nothing_takes_jobs(env: Env) {
    let job = env.put(draft()).await;
    let claim = env.claim_of(10);
    let expected = claimed(&env, &job, &claim);
    assert_eq!(env.claim_again(claim, env.now).await, [expected]);
}

pub(super) async fn concurrent_claims_never_share_a_job(env: Env) {
    let jobs = env.put_many(vec![draft(); 40]).await;
    let tasks: Vec<_> = (0..12)
        .map(|_| {
            let (store, claim, now) = (Arc::clone(&env.store), env.claim_of(5), env.now);
            tokio::spawn(async move { store.claim(Arc::new(claim), now, Call::First).await.expect("claim") })
        })
        .collect();
    let mut taken = Vec::new();
    for task in tasks {
        taken.extend(task.await.expect("a task that claims"));
    }
    let distinct: BTreeSet<_> = taken.iter().map(|job| job.id).collect();
    assert_eq!(distinct.len(), taken.len(), "no job is claimed twice");
    // A claim may pass over what another one is just taking; nothing is lost by that.
    taken.extend(env.claim(env.claim_of(100)).await);
    assert_eq!(sorted_ids(&taken), ids(&jobs));
    for job in &taken {
        assert_eq!(env.read(job.id).await, *job);
    }
}
