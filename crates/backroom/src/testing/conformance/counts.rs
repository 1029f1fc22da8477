//! How many jobs there are, by queue and by the state people see.

use backroom_core::{Draft, Event, DisplayState};

use super::env::{Env, cancel, draft, draft_in, draft_later, fail, lease, succeed};
use crate::store::{Count, Deleted};

async fn counts(env: &Env, secs: i64) -> Vec<(String, DisplayState, u64)> {
    let mut counts = env.store.counts(env.at(secs)).await.expect("counts");
    counts.sort();
    counts.into_iter().map(|Count { queue, state, jobs }| (queue, state, jobs)).collect()
}

fn of(queue: &str, state: DisplayState, jobs: u64) -> (String, DisplayState, u64) {
    (queue.into(), state, jobs)
}

pub(super) async fn each_queue_is_counted_by_shown_state(env: Env) {
    env.put_many(vec![draft(); 5]).await;
    let taken = env.claim(env.claim_of(5)).await;
    env.drive(&taken[0], succeed(&taken[0]), env.now).await;
    env.drive(&taken[1], fail(&taken[1]), env.now).await;
    env.drive(&taken[2], Event::Suspend { lease: lease(&taken[2]) }, env.now).await;
    let discard = Event::Discard { lease: lease(&taken[3]), reason: "x".into() };
    env.drive(&taken[3], discard, env.now).await;
    let jobs = env.put_many([draft(), draft_later(60), draft_later(61), draft_in("b"), draft_in("b")]).await;
    env.drive(&jobs[4], cancel(), env.now).await;
    let mut expected = vec![
        of("b", DisplayState::Available, 1),
        of("b", DisplayState::Cancelled, 1),
        of("default", DisplayState::Scheduled, 2),
        of("default", DisplayState::Retrying, 1),
        of("default", DisplayState::Available, 1),
        of("default", DisplayState::Running, 1),
        of("default", DisplayState::Waiting, 1),
        of("default", DisplayState::Completed, 1),
        of("default", DisplayState::Discarded, 1),
    ];
    assert_eq!(counts(&env, 0).await, expected);
    // Time alone turns scheduled and retrying into available.
    expected[2].2 = 1;
    expected[4].2 = 3;
    expected.remove(3);
    assert_eq!(counts(&env, 60).await, expected);
}

pub(super) async fn an_empty_store_counts_nothing(env: Env) {
    assert_eq!(counts(&env, 0).await, []);
}

pub(super) async fn counts_follow_deletes(env: Env) {
    let jobs = env.put_many([draft(), draft(), Draft { priority: 0, ..draft_in("b") }]).await;
    for job in [&jobs[0], &jobs[2]] {
        assert_ne!(env.store.delete(job.id, env.now).await.expect("delete"), Deleted::Running);
    }
    assert_eq!(counts(&env, 0).await, [of("default", DisplayState::Available, 1)]);
}
