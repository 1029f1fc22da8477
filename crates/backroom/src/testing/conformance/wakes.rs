//! Hints reach the listeners of this process. Each wait has a time limit, which fails the test and never decides it.

use std::time::Duration;

use backroom_core::Event;

use super::env::{Env, QUEUE, cancel, draft, fail, note, progress};
use crate::store::{Listener, QueueSetting};

async fn is_woken(listener: &Listener) {
    let woken = tokio::time::timeout(Duration::from_secs(30), listener.notified()).await;
    assert!(woken.is_ok(), "no hint came within 30 s");
}

fn queue_of(env: &Env) -> Listener {
    env.store.notifier().subscribe_queues(&[QUEUE.into(), "other".into()])
}

pub(super) async fn a_due_job_wakes_its_queue(env: Env) {
    let listener = queue_of(&env);
    env.put(draft()).await;
    is_woken(&listener).await;
}

pub(super) async fn a_retried_job_wakes_its_queue(env: Env) {
    let cancelled = env.cancelled_at(draft(), 1).await;
    let listener = queue_of(&env);
    env.drive(&cancelled, Event::Retry, env.at(2)).await;
    is_woken(&listener).await;
}

pub(super) async fn a_resumed_queue_is_woken(env: Env) {
    env.store.set_queue(QUEUE, QueueSetting::Pause(env.now)).await.expect("set_queue");
    env.put(draft()).await;
    let listener = queue_of(&env);
    env.store.set_queue(QUEUE, QueueSetting::Resume).await.expect("set_queue");
    is_woken(&listener).await;
}

pub(super) async fn a_change_wakes_who_follows_the_job(env: Env) {
    let job = env.put(draft()).await;
    let claimed = env.store.notifier().subscribe_job(job.id);
    let running = env.take().await;
    is_woken(&claimed).await;
    let ended = env.store.notifier().subscribe_job(job.id);
    env.drive(&running, fail(&running), env.at(1)).await;
    is_woken(&ended).await;
    let gone = env.store.notifier().subscribe_job(job.id);
    env.store.delete(job.id, env.now).await.expect("delete");
    is_woken(&gone).await;
}

pub(super) async fn progress_wakes_who_follows_the_job(env: Env) {
    let running = env.running().await;
    let listener = env.store.notifier().subscribe_job(running.id);
    env.note(note(&running, Some(progress(5, "begun")), Vec::new())).await;
    is_woken(&listener).await;
}

pub(super) async fn a_cancel_mark_wakes_the_workers(env: Env) {
    let running = env.running().await;
    let listener = env.store.notifier().subscribe_cancels();
    env.drive(&running, cancel(), env.at(1)).await;
    is_woken(&listener).await;
}
