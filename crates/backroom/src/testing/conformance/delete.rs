//! One job goes, unless it runs.
//!
//! A repeated delete finds nothing, so its answer may be either; the rows are looked at.

use std::sync::Arc;

use backroom_core::{Draft, Event, JobRow, unique::UniqueRule};

use super::env::{Env, draft, draft_later, fail, lease, lines, note, succeed};
use crate::store::{Deleted, Filter};

async fn delete(env: &Env, job: &JobRow) -> Deleted {
    env.store.delete(job.id, env.now).await.expect("delete")
}

pub(super) async fn a_job_that_does_not_run_goes_with_all_that_belongs_to_it(env: Env) {
    let unique = Some(UniqueRule::by_key("k"));
    env.put(Draft { tags: vec!["t".into()], unique, ..draft() }).await;
    let running = env.take().await;
    env.note(note(&running, None, lines(&running, 0, &["a line"]))).await;
    let retrying = env.drive(&running, fail(&running), env.now).await;
    let completed = env.completed().await;
    let running = env.running().await;
    let waiting = env.drive(&running, Event::Suspend { lease: lease(&running) }, env.now).await;
    let cancelled = env.cancelled_at(draft(), 1).await;
    let stays = env.put(draft_later(60)).await;
    for job in [&retrying, &completed, &waiting, &cancelled] {
        let answer = delete(&env, job).await;
        assert!(matches!(answer, Deleted::Yes | Deleted::NotFound), "{answer:?}");
        assert_eq!(env.find(job.id).await, None);
        assert_eq!(env.attempts(job.id).await, []);
        assert_eq!(env.logs(job.id).await, []);
    }
    assert_eq!(env.all().await, [stays]);
    let tagged = Filter { tag: Some("t".into()), ..Filter::default() };
    assert_eq!(env.store.list(tagged.into(), None, 10).await.expect("list"), []);
}

pub(super) async fn a_running_job_stays(env: Env) {
    let running = env.running().await;
    assert_eq!(delete(&env, &running).await, Deleted::Running);
    assert_eq!(env.read(running.id).await, running);
    env.drive(&running, succeed(&running), env.now).await;
}

pub(super) async fn an_unknown_job_is_not_found(env: Env) {
    let stays = env.put(draft()).await;
    assert_eq!(delete(&env, &env.new_job(draft()).job).await, Deleted::NotFound);
    assert_eq!(env.all().await, [stays]);
}

pub(super) async fn a_job_that_moved_on_since_it_was_read_stays(env: Env) {
    let running = env.running().await;
    let moved = env.cancelled_at(draft(), 1).await;
    let retried = env.drive(&moved, Event::Retry, env.now).await;
    let goes = env.cancelled_at(draft(), 2).await;
    let unknown = env.new_job(draft()).job;
    let asked = [&moved, &goes, &running, &unknown].map(|job| (job.id, job.revision));
    let answers = env.store.delete_unmoved(Arc::new(asked.to_vec()), env.now).await.expect("delete");
    assert_eq!(answers[0], Deleted::Moved);
    assert!(matches!(answers[1], Deleted::Yes | Deleted::NotFound), "{answers:?}");
    assert_eq!(answers[2..], [Deleted::Running, Deleted::NotFound]);
    assert_eq!(env.read(moved.id).await, retried);
    assert_eq!(env.read(running.id).await, running);
    assert_eq!(env.find(goes.id).await, None);
    assert_eq!(env.store.delete_unmoved(Arc::new(Vec::new()), env.now).await.expect("delete"), []);
}
