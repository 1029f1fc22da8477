//! Queues and their settings.

use backroom_core::{
    Queue,
    queue::PausedBy,
    retention::{RetentionLimit, Retention},
};

use super::env::{Env, draft_in};
use crate::store::{Deleted, QueueSetting};

async fn set(env: &Env, name: &str, setting: QueueSetting) {
    env.store.set_queue(name, setting).await.expect("set_queue");
}

async fn queues(env: &Env) -> Vec<Queue> {
    env.store.queues().await.expect("queues")
}

pub(super) async fn a_queue_exists_from_the_first_job_that_names_it(env: Env) {
    assert_eq!(queues(&env).await, []);
    env.put_many(["images", "images"].map(draft_in)).await;
    assert_eq!(queues(&env).await, [Queue::new("images")]);
}

pub(super) async fn a_queue_exists_from_the_first_setting_that_names_it(env: Env) {
    set(&env, "images", QueueSetting::Resume).await;
    assert_eq!(queues(&env).await, [Queue::new("images")]);
}

pub(super) async fn a_queue_outlives_its_jobs(env: Env) {
    let job = env.put(draft_in("images")).await;
    assert_ne!(env.store.delete(job.id, env.now).await.expect("delete"), Deleted::Running);
    assert_eq!(queues(&env).await, [Queue::new("images")]);
}

pub(super) async fn queues_come_by_name(env: Env) {
    for name in ["b", "a-2", "ä", "B", "a"] {
        set(&env, name, QueueSetting::Resume).await;
    }
    env.put(draft_in("aa")).await;
    let names: Vec<_> = queues(&env).await.into_iter().map(|queue| queue.name).collect();
    // By bytes, in every store: the locale of a database must not show.
    assert_eq!(names, ["B", "a", "a-2", "aa", "b", "ä"]);
}

pub(super) async fn a_paused_queue_keeps_its_first_moment(env: Env) {
    set(&env, "q", QueueSetting::Pause(env.at(1))).await;
    set(&env, "q", QueueSetting::Pause(env.at(2))).await;
    assert_eq!(queues(&env).await[0].paused_at, Some(env.at(1)));
    set(&env, "q", QueueSetting::Resume).await;
    assert_eq!(queues(&env).await[0].paused_at, None);
    set(&env, "q", QueueSetting::Pause(env.at(3))).await;
    assert_eq!(queues(&env).await[0].paused_at, Some(env.at(3)));
}

pub(super) async fn settings_do_not_touch_each_other(env: Env) {
    let retention = Retention {
        completed: RetentionLimit { age_secs: Some(3600), count: Some(10) },
        cancelled: RetentionLimit::newest(0),
        discarded: RetentionLimit::FOREVER,
    };
    set(&env, "q", QueueSetting::Retain(retention)).await;
    set(&env, "q", QueueSetting::Pause(env.now)).await;
    env.put_many(["q", "other"].map(draft_in)).await;
    set(&env, "q", QueueSetting::DepthMax(Some(7))).await;
    let expected =
        Queue { name: "q".into(), paused_at: Some(env.now), paused_by: None, retention, depth_max: Some(7) };
    assert_eq!(queues(&env).await, [Queue::new("other"), expected]);
    set(&env, "q", QueueSetting::Resume).await;
    assert_eq!(queues(&env).await[1].retention, retention);
}

pub(super) async fn a_move_ends_its_own_pauses_only(env: Env) {
    let set = async |setting: QueueSetting| {
        env.store.set_queue("q", setting).await.expect("set");
        let queue = queues(&env).await.remove(0);
        (queue.paused_at, queue.paused_by)
    };
    let (first, second) = (env.at(1), env.at(2));
    let moving = (Some(first), Some(PausedBy::Moving));
    assert_eq!(set(QueueSetting::PauseToMove(first)).await, moving);
    assert_eq!(set(QueueSetting::PauseToMove(second)).await, moving, "it keeps its first moment");
    assert_eq!(set(QueueSetting::NotMoved).await, (None, None));
    set(QueueSetting::PauseToMove(first)).await;
    let moved = (Some(first), Some(PausedBy::Moved));
    assert_eq!(set(QueueSetting::Moved).await, moved);
    assert_eq!(set(QueueSetting::PauseToMove(second)).await, moved);
    assert_eq!(set(QueueSetting::NotMoved).await, moved, "an earlier move was done");
    assert_eq!(set(QueueSetting::MovedHere).await, (None, None));
    let by_hand = (Some(second), None);
    set(QueueSetting::Pause(second)).await;
    for setting in [
        QueueSetting::PauseToMove(first),
        QueueSetting::NotMoved,
        QueueSetting::Moved,
        QueueSetting::MovedHere,
    ] {
        assert_eq!(set(setting.clone()).await, by_hand, "{setting:?} leaves a pause by hand alone");
    }
    set(QueueSetting::Resume).await;
    set(QueueSetting::PauseToMove(first)).await;
    assert_eq!(set(QueueSetting::Pause(second)).await, (Some(first), None), "now it is meant");
    assert_eq!(set(QueueSetting::Resume).await, (None, None));
}
