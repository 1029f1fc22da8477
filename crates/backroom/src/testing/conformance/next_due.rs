//! When a worker has to look again.

use std::{sync::Arc, time::Duration};

use backroom_core::{Draft, Kinds, Timestamp, draft::When};

use super::env::{Env, KIND, QUEUE, draft, draft_later};
use crate::store::QueueSetting;

async fn next_due(env: &Env, queues: &[&str], kinds: &[&str]) -> Option<Timestamp> {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let kinds = Kinds::Of(owned(kinds));
    env.store.next_due(Arc::new(owned(queues)), Arc::new(kinds), env.now).await.expect("next_due")
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

pub(super) async fn jobs_of_every_kind_but_those_left_out_are_waited_for(env: Env) {
    let other = Draft { kind: "other".into(), ..draft_later(10) };
    env.put_many([draft_later(40), other]).await;
    let queues = Arc::new(vec![QUEUE.to_owned()]);
    for (left_out, secs) in [(vec![], 10), (vec!["other".to_owned()], 40)] {
        let kinds = Arc::new(Kinds::AnyBut(left_out));
        let next = env.store.next_due(Arc::clone(&queues), kinds, env.now).await.expect("next_due");
        assert_eq!(next, Some(env.at(secs)));
    }
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

pub(super) async fn an_expired_job_is_not_due(env: Env) {
    let created = env.at(-60);
    let expiring = Draft { expiry: Some(When::In(Duration::from_secs(30))), ..draft() };
    env.insert(vec![env.new_job_at(expiring, created)]).await;
    assert_eq!(next_due(&env, &[QUEUE], &[KIND]).await, None, "it expired and waits for upkeep");
    env.put(draft_later(20)).await;
    assert_eq!(next_due(&env, &[QUEUE], &[KIND]).await, Some(env.at(20)));
}
