//! When a worker has to look again.

use std::sync::Arc;

use backroom_core::{Draft, Timestamp};

use super::env::{Env, KIND, QUEUE, draft, draft_later};
use crate::store::QueueSetting;

async fn next_due(env: &Env, queues: &[&str], kinds: &[&str]) -> Option<Timestamp> {
    let owned = |names: &[&str]| Arc::new(names.iter().map(|&name| name.to_owned()).collect());
    env.store.next_due(owned(queues), owned(kinds)).await.expect("next_due")
}

pub(super) async fn the_earliest_of_the_queues_and_kinds_is_told(env: Env) {
    let in_queue = |queue: &str, secs| Draft { queue: queue.into(), ..draft_later(secs) };
    let other_kind = Draft { kind: "other".into(), ..draft_later(10) };
    let low = Draft { priority: 9, ..draft_later(30) };
    env.put_many([draft_later(40), in_queue("b", 20), other_kind, low]).await;
    assert_eq!(next_due(&env, &[QUEUE], &[KIND]).await, Some(env.at(30)));
    assert_eq!(next_due(&env, &[QUEUE, "b"], &[KIND]).await, Some(env.at(20)));
    assert_eq!(next_due(&env, &["b", QUEUE], &[KIND, "other"]).await, Some(env.at(10)));
    env.put(draft()).await;
    let due = next_due(&env, &[QUEUE], &[KIND]).await.expect("one is due");
    assert!(due <= env.now, "{due} is not after {}", env.now);
    env.take().await;
    assert_eq!(next_due(&env, &[QUEUE], &[KIND]).await, Some(env.at(30)), "what runs is not due");
}

pub(super) async fn an_idle_store_has_no_next_due(env: Env) {
    assert_eq!(next_due(&env, &[QUEUE], &[KIND]).await, None);
    env.put(draft()).await;
    assert_eq!(next_due(&env, &[], &[KIND]).await, None);
    assert_eq!(next_due(&env, &[QUEUE], &[]).await, None);
    assert_eq!(next_due(&env, &["never seen"], &["never seen"]).await, None);
}

pub(super) async fn a_paused_queue_counts_as_empty(env: Env) {
    env.put_many([draft(), Draft { queue: "b".into(), ..draft_later(20) }]).await;
    env.store.set_queue(QUEUE, QueueSetting::Pause(env.now)).await.expect("set_queue");
    assert_eq!(next_due(&env, &[QUEUE, "b"], &[KIND]).await, Some(env.at(20)));
    assert_eq!(next_due(&env, &[QUEUE], &[KIND]).await, None);
    env.store.set_queue(QUEUE, QueueSetting::Resume).await.expect("set_queue");
    assert!(next_due(&env, &[QUEUE], &[KIND]).await.is_some_and(|at| at <= env.now));
}
