//! One job at a time holds a key.

use std::{sync::Arc, time::Duration};

use backroom_core::{
    Draft, Event, JobRow, State,
    draft::When,
    unique::{UniqueRule, replace_content},
};

use super::env::{Env, KIND, cancel, decide, draft, draft_later, every_extra, json, lease, succeed};
use crate::store::{Committed, Deleted, Inserted, Call};

fn keyed(rule: UniqueRule) -> Draft {
    Draft { unique: Some(rule), ..draft() }
}

fn by_key() -> UniqueRule {
    UniqueRule::by_key("order 7")
}

fn window() -> UniqueRule {
    by_key().within(Duration::from_secs(60))
}

pub(super) async fn keep_answers_with_the_holder(env: Env) {
    let holder = env.put(keyed(by_key())).await;
    let second = Draft { args: json("[2]"), priority: 1, ..keyed(by_key()) };
    assert_eq!(env.insert_one(second).await, Inserted::Duplicate(holder.id));
    assert_eq!(env.all().await, [holder]);
}

pub(super) async fn reject_names_the_holder(env: Env) {
    let holder = env.put(keyed(by_key())).await;
    assert_eq!(env.insert_one(keyed(by_key().reject())).await, Inserted::KeyHeld(holder.id));
    assert_eq!(env.all().await, [holder]);
}

pub(super) async fn replace_gives_the_content_to_the_holder(env: Env) {
    let mut holder = env.put(Draft { tags: vec!["old".into()], ..keyed(by_key()) }).await;
    let second = env.new_job(Draft {
        args: json("[2]"),
        lane: Some("l".into()),
        priority: 1,
        start: When::In(Duration::from_secs(9)),
        expiry: Some(When::In(Duration::from_secs(99))),
        max_attempts: Some(3),
        tags: vec!["new".into()],
        extras: every_extra(),
        ..keyed(by_key().replace())
    });
    let content = second.job.clone();
    assert_eq!(env.insert(vec![second]).await, [Inserted::Replaced(holder.id)]);
    replace_content(&mut holder, &content);
    let stored = env.all().await;
    assert_eq!(stored.len(), 1);
    assert!(stored[0].revision >= holder.revision, "a decision on the old content is stale");
    // A repeated call writes the same content once more.
    holder.revision = stored[0].revision;
    assert_eq!(stored, [holder]);
}

pub(super) async fn replace_is_refused_once_the_holder_runs(env: Env) {
    env.put(keyed(by_key())).await;
    let holder = env.take().await;
    let second = Draft { args: json("[2]"), ..keyed(by_key().replace()) };
    assert_eq!(env.insert_one(second).await, Inserted::KeyHeld(holder.id));
    assert_eq!(env.all().await, [holder]);
}

pub(super) async fn the_second_of_one_batch_meets_the_first(env: Env) {
    let batch: Vec<_> = (0..3).map(|_| env.new_job(keyed(by_key()))).collect();
    let first = batch[0].job.clone();
    let answers = env.insert(batch).await;
    assert_eq!(answers, [Inserted::Created, Inserted::Duplicate(first.id), Inserted::Duplicate(first.id)]);
    assert_eq!(env.all().await, [first]);
}

pub(super) async fn the_same_key_of_another_kind_is_another_key(env: Env) {
    env.put(keyed(by_key())).await;
    env.put(Draft { kind: "other".into(), ..keyed(by_key()) }).await;
    assert_eq!(env.all().await.len(), 2);
}

pub(super) async fn a_key_held_while_live_is_free_once_the_job_is_finished(env: Env) {
    env.put(keyed(by_key())).await;
    let running = env.take().await;
    env.drive(&running, succeed(&running), env.now).await;
    let second = env.put(keyed(by_key())).await;
    env.drive(&second, cancel(), env.now).await;
    env.put(keyed(by_key())).await;
}

pub(super) async fn a_key_held_while_live_is_held_while_it_runs_and_waits(env: Env) {
    env.put(keyed(by_key())).await;
    let running = env.take().await;
    assert_eq!(env.insert_one(keyed(by_key())).await, Inserted::Duplicate(running.id));
    let waiting = env.drive(&running, Event::Suspend { lease: lease(&running) }, env.now).await;
    assert_eq!(waiting.state, State::Waiting);
    assert_eq!(env.insert_one(keyed(by_key())).await, Inserted::Duplicate(waiting.id));
}

pub(super) async fn a_key_held_while_queued_is_free_once_the_job_is_claimed(env: Env) {
    let rule = || by_key().while_queued();
    let first = env.put(keyed(rule())).await;
    assert_eq!(env.insert_one(keyed(rule())).await, Inserted::Duplicate(first.id));
    let running = env.take().await;
    let second = env.put(Draft { start: When::In(Duration::from_secs(1)), ..keyed(rule()) }).await;
    // Back in the queue it does not take the key again: that would be a duplicate of the second.
    env.drive(&running, Event::Release { lease: lease(&running) }, env.now).await;
    assert_eq!(env.insert_one(keyed(rule())).await, Inserted::Duplicate(second.id));
}

pub(super) async fn a_key_held_for_a_window_outlives_the_job(env: Env) {
    env.put(keyed(window())).await;
    let running = env.take().await;
    let done = env.drive(&running, succeed(&running), env.now).await;
    assert_eq!(env.insert_one(keyed(window())).await, Inserted::Duplicate(done.id));
    assert_eq!(env.all().await, [done]);
}

/// Inserts at the moment at which the window ends, not before.
async fn insert_after_window(env: &Env) -> JobRow {
    let new = env.new_job_at(keyed(window()), env.at(60));
    let job = new.job.clone();
    let answers = env.store.insert(Arc::new(vec![new]), env.at(60), Call::First).await.expect("insert");
    assert_eq!(answers, [Inserted::Created]);
    job
}

pub(super) async fn a_key_held_for_a_window_is_free_after_it(env: Env) {
    let first = env.put(keyed(window())).await;
    let late = env.new_job_at(keyed(window()), env.at(59));
    let answers = env.store.insert(Arc::new(vec![late]), env.at(59), Call::First).await.expect("insert");
    assert_eq!(answers, [Inserted::Duplicate(first.id)]);
    let second = insert_after_window(&env).await;
    assert!(!env.read(first.id).await.unique_held);
    assert_eq!(env.read(second.id).await, second);
}

pub(super) async fn a_key_held_while_live_at_most_for_a_window_is_free_after_either(env: Env) {
    let rule = || by_key().at_most(Duration::from_secs(60));
    let insert = async |secs: i64| {
        let new = env.new_job_at(keyed(rule()), env.at(secs));
        env.store.insert(Arc::new(vec![new]), env.at(secs), Call::First).await.expect("insert")[0]
    };
    env.put(keyed(rule())).await;
    let running = env.take().await;
    assert_eq!(insert(1).await, Inserted::Duplicate(running.id));
    env.drive(&running, succeed(&running), env.at(2)).await;
    assert_eq!(insert(3).await, Inserted::Created, "the job has ended");
    let second = env.take_at(env.at(4)).await;
    assert_eq!(insert(62).await, Inserted::Duplicate(second.id));
    assert_eq!(insert(63).await, Inserted::Created, "the window has ended");
    let second = env.read(second.id).await;
    assert!(second.state == State::Running && !second.unique_held);
    env.drive(&second, succeed(&second), env.at(64)).await;
    let queued = || keyed(by_key().while_queued().at_most(Duration::from_secs(60)));
    let third = Draft { kind: "other".into(), ..queued() };
    assert_eq!(env.insert_one(third.clone()).await, Inserted::Created);
    let late = env.new_job_at(third, env.at(60));
    let answer = env.store.insert(Arc::new(vec![late]), env.at(60), Call::First).await.expect("insert");
    assert_eq!(answer, [Inserted::Created]);
}

pub(super) async fn a_decision_from_before_the_key_was_taken_is_stale(env: Env) {
    env.put(keyed(window())).await;
    let running = env.take().await;
    let before = decide(&running, succeed(&running), env.at(61));
    let second = insert_after_window(&env).await;
    assert_eq!(env.commit(before).await, Committed::Stale);
    let running = env.read(running.id).await;
    let done = env.drive(&running, succeed(&running), env.at(61)).await;
    assert!(!done.unique_held);
    assert_eq!(env.read(second.id).await, second);
}

pub(super) async fn a_deleted_job_lets_go_of_its_key(env: Env) {
    let first = env.put(keyed(by_key())).await;
    assert_ne!(env.store.delete(first.id, env.now).await.expect("delete"), Deleted::Running);
    env.put(keyed(by_key())).await;
}

pub(super) async fn a_retried_job_takes_its_key_again(env: Env) {
    let first = env.put(keyed(by_key())).await;
    let cancelled = env.drive(&first, cancel(), env.now).await;
    let retried = env.drive(&cancelled, Event::Retry, env.now).await;
    assert!(retried.unique_held);
    assert_eq!(env.insert_one(keyed(by_key())).await, Inserted::Duplicate(first.id));
}

pub(super) async fn a_retried_job_cannot_take_a_key_that_another_holds(env: Env) {
    let first = env.put(keyed(by_key())).await;
    let cancelled = env.drive(&first, cancel(), env.now).await;
    let second = env.put(keyed(by_key())).await;
    let bystander = env.put(draft_later(5)).await;
    let changes = vec![decide(&cancelled, Event::Retry, env.now), decide(&bystander, cancel(), env.now)];
    // Refused alone: what else the caller wrote in one go is written.
    assert_eq!(env.commit_many(changes).await, [Committed::KeyHeld(second.id), Committed::Done]);
    assert_eq!(env.read(first.id).await, cancelled);
    assert_eq!(env.read(second.id).await, second);
    assert_eq!(env.read(bystander.id).await.state, State::Cancelled);
}

pub(super) async fn many_concurrent_inserts_of_one_key_create_exactly_one(env: Env) {
    let tasks: Vec<_> = (0..12)
        .map(|_| {
            let (store, new, now) = (Arc::clone(&env.store), env.new_job(keyed(by_key())), env.now);
            tokio::spawn(async move { store.insert(Arc::new(vec![new]), now, Call::First).await.expect("insert") })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.extend(task.await.expect("a task that inserts"));
    }
    let stored = env.all().await;
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].kind, KIND);
    assert_eq!(answers.iter().filter(|answer| **answer == Inserted::Created).count(), 1);
    let duplicates = answers.iter().filter(|answer| **answer == Inserted::Duplicate(stored[0].id)).count();
    assert_eq!(duplicates, 11);
}
