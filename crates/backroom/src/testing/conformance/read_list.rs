//! Jobs are found by id, and listed the newest first.

use std::sync::Arc;

use backroom_core::{DisplayState, Draft, Event, JobId, POISON, JobRow, State, unique::UniqueRule};

use super::env::{Env, cancel, draft, draft_in, draft_later, fail, ids, succeed};
use crate::store::{Filter, Inserted};

async fn list(env: &Env, filter: Filter, before: Option<JobId>, limit: usize) -> Vec<JobId> {
    ids(&env.store.list(Arc::new(filter), before, limit).await.expect("list"))
}

async fn matching(env: &Env, filter: Filter) -> Vec<JobId> {
    list(env, filter, None, 100).await
}

pub(super) async fn an_unknown_id_is_no_job(env: Env) {
    let unknown = env.new_job(draft()).job.id;
    env.put(draft()).await;
    assert_eq!(env.find(unknown).await, None);
    assert_eq!(env.attempts(unknown).await, []);
    assert_eq!(env.logs(unknown).await, []);
}

pub(super) async fn the_newest_come_first(env: Env) {
    let mut new: Vec<_> = (0..9).map(|_| env.new_job(draft())).collect();
    let newest_first: Vec<_> = new.iter().rev().map(|new| new.job.id).collect();
    // Stored in another order than made: the id decides, not the arrival.
    new.rotate_left(4);
    env.insert(new).await;
    assert_eq!(matching(&env, Filter::default()).await, newest_first);
}

pub(super) async fn pages_meet_without_gap_or_overlap(env: Env) {
    let mut jobs = ids(&env.put_many(vec![draft(); 11]).await);
    jobs.reverse();
    let mut paged = Vec::new();
    loop {
        let page = list(&env, Filter::default(), paged.last().copied(), 4).await;
        assert!(page.len() <= 4);
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, jobs);
    assert_eq!(list(&env, Filter::default(), None, 0).await, []);
}

/// Six jobs that differ in all that can be filtered by.
async fn mixed(env: &Env) -> Vec<JobRow> {
    let tagged = |tags: &[&str]| tags.iter().map(|&tag| tag.to_owned()).collect();
    let drafts = [
        draft(),
        Draft { kind: "mail".into(), ..draft() },
        draft_in("images"),
        Draft { tags: tagged(&["red", "big"]), ..draft() },
        Draft { kind: "mail".into(), tags: tagged(&["big"]), ..draft_in("images") },
    ];
    let mut jobs = env.put_many(drafts).await;
    let late = env.new_job_at(draft(), env.at(10));
    jobs.push(late.job.clone());
    assert_eq!(env.insert(vec![late]).await, [Inserted::Created]);
    jobs
}

pub(super) async fn each_filter_narrows(env: Env) {
    let jobs = mixed(&env).await;
    let of = |indexes: &[usize]| indexes.iter().map(|index| jobs[*index].id).collect::<Vec<_>>();
    let all = Filter::default;
    assert_eq!(matching(&env, Filter { kind: Some("mail".into()), ..all() }).await, of(&[4, 1]));
    assert_eq!(matching(&env, Filter { queue: Some("images".into()), ..all() }).await, of(&[4, 2]));
    let of_queues = |queues: &[&str]| Filter {
        queues: Some(queues.iter().map(|queue| (*queue).to_owned()).collect()),
        ..all()
    };
    assert_eq!(matching(&env, of_queues(&["images", "none"])).await, of(&[4, 2]));
    assert_eq!(matching(&env, of_queues(&["images", "default"])).await, of(&[5, 4, 3, 2, 1, 0]));
    assert_eq!(matching(&env, of_queues(&[])).await, of(&[]));
    assert_eq!(matching(&env, Filter { tag: Some("big".into()), ..all() }).await, of(&[4, 3]));
    assert_eq!(matching(&env, Filter { tag: Some("bi".into()), ..all() }).await, of(&[]));
    assert_eq!(matching(&env, Filter { created_from: Some(env.at(10)), ..all() }).await, of(&[5]));
    assert_eq!(matching(&env, Filter { created_before: Some(env.now), ..all() }).await, of(&[]));
    let from_id = |index: usize| Filter { from_id: Some(jobs[index].id), ..all() };
    assert_eq!(matching(&env, from_id(3)).await, of(&[5, 4, 3]));
    let queued = |index| Filter { states: vec![State::Queued], ..from_id(index) };
    assert_eq!(matching(&env, queued(4)).await, of(&[5, 4]));
    let first = Filter { created_before: Some(env.at(10)), ..all() };
    assert_eq!(matching(&env, first).await, of(&[4, 3, 2, 1, 0]));
    env.drive(&jobs[2], cancel(), env.now).await;
    let running = env.claim(env.claim_of(1)).await.remove(0);
    let states = |states: &[State]| Filter { states: states.to_vec(), ..all() };
    assert_eq!(matching(&env, states(&[State::Cancelled])).await, of(&[2]));
    assert_eq!(matching(&env, states(&[State::Running])).await, [running.id]);
    assert_eq!(matching(&env, states(&[State::Completed])).await, of(&[]));
    assert_eq!(matching(&env, states(&[State::Running, State::Cancelled])).await, of(&[2, 0]));
    env.drive(&running, succeed(&running), env.now).await;
    assert_eq!(matching(&env, states(&[State::Queued, State::Completed])).await, of(&[5, 4, 3, 1, 0]));
    let reason = format!("{POISON} 3 worker processes died");
    env.drive(&jobs[3], Event::Cancel { reason }, env.now).await;
    let not_poison = |states: &[State]| Filter { not_poison: true, states: states.to_vec(), ..all() };
    assert_eq!(matching(&env, states(&[State::Cancelled])).await, of(&[3, 2]));
    assert_eq!(matching(&env, not_poison(&[State::Cancelled])).await, of(&[2]));
    assert_eq!(matching(&env, not_poison(&[])).await, of(&[5, 4, 2, 1, 0]));
}

pub(super) async fn filters_hold_together(env: Env) {
    let jobs = mixed(&env).await;
    let filter = Filter {
        states: vec![State::Queued],
        queue: Some("images".into()),
        queues: Some(vec!["images".into()]),
        kind: Some("mail".into()),
        tag: Some("big".into()),
        created_from: Some(env.now),
        created_before: Some(env.at(1)),
        queued_as: None,
        batch: None,
        lane: None,
        worker: None,
        priority: Some(5),
        error: None,
        error_as_shown: false,
        not_poison: true,
        from_id: Some(jobs[0].id),
        finished_from: None,
    };
    assert_eq!(matching(&env, filter.clone()).await, [jobs[4].id]);
    assert_eq!(list(&env, filter.clone(), Some(jobs[4].id), 100).await, []);
    assert_eq!(matching(&env, Filter { tag: Some("red".into()), ..filter }).await, []);
}

pub(super) async fn lane_priority_and_worker_narrow(env: Env) {
    let with = |lane: Option<&str>, priority| Draft { lane: lane.map(Into::into), priority, ..draft() };
    let jobs = env.put_many(vec![with(Some("tenant-1"), 5), with(Some("tenant-2"), 3), with(None, 3)]).await;
    let all = Filter::default;
    let of_lane = |lane: &str| Filter { lane: Some(lane.into()), ..all() };
    assert_eq!(matching(&env, of_lane("tenant-1")).await, [jobs[0].id]);
    assert_eq!(matching(&env, of_lane("tenant")).await, []);
    let of_priority = |priority| Filter { priority: Some(priority), ..all() };
    assert_eq!(matching(&env, of_priority(3)).await, [jobs[2].id, jobs[1].id]);
    assert_eq!(matching(&env, Filter { states: vec![State::Queued], ..of_priority(5) }).await, [jobs[0].id]);
    let running = env.claim(env.claim_of(1)).await.remove(0);
    let of_worker = |worker: &str| Filter { worker: Some(worker.into()), ..all() };
    let worker = running.worker.clone().expect("a running job has a worker");
    assert_eq!(matching(&env, of_worker(&worker)).await, [running.id]);
    assert_eq!(matching(&env, of_worker("none")).await, []);
}

pub(super) async fn the_history_is_filtered_by_when_jobs_ended(env: Env) {
    env.put(draft()).await;
    let first = env.cancelled_at(draft_later(60), 1).await;
    let second = env.cancelled_at(draft_later(60), 9).await;
    let from = |at| Filter { finished_from: Some(at), ..Filter::default() };
    let (early, late) = (first.finished_at.expect("it has ended"), second.finished_at.expect("it has ended"));
    assert_eq!(matching(&env, from(early)).await, [second.id, first.id]);
    assert_eq!(matching(&env, from(late)).await, [second.id]);
    assert_eq!(matching(&env, from(env.at(100))).await, []);
    let of_queue = |state| Filter { queue: Some(first.queue.clone()), states: vec![state], ..from(early) };
    assert_eq!(matching(&env, of_queue(State::Cancelled)).await, [second.id, first.id]);
    assert_eq!(matching(&env, of_queue(State::Completed)).await, []);
    assert_eq!(matching(&env, of_queue(State::Queued)).await, []);
    assert_eq!(list(&env, of_queue(State::Cancelled), Some(second.id), 100).await.len(), 1);
}

pub(super) async fn errors_are_found_by_their_text(env: Env) {
    let running = env.running().await;
    let failed = env.drive(&running, fail(&running), env.now).await;
    let error = env.attempts(failed.id).await.remove(0).error;
    let cancelled = env.cancelled_at(draft_later(60), 1).await;
    let reason = cancelled.reason.clone().expect("a cancelled job has a reason");
    env.put(draft()).await;
    let with = |text: &str| Filter { error: Some(text.into()), ..Filter::default() };
    assert_eq!(matching(&env, with(&error[1..])).await, [failed.id], "{error}");
    assert_eq!(matching(&env, with(&reason[1..])).await, [cancelled.id], "{reason}");
    for none in [&error.to_uppercase()[1..], "100%_\\", "'; SELECT"] {
        assert_eq!(matching(&env, with(none)).await, [], "{none}");
    }
    let queued = Filter { states: vec![State::Queued], ..with(&error) };
    assert_eq!(matching(&env, queued).await, [failed.id]);
}

pub(super) async fn tags_follow_a_replacing_enqueue(env: Env) {
    let tagged = |tag: &str| Draft {
        tags: vec![tag.into()],
        unique: Some(UniqueRule::by_key("k").replace()),
        ..draft()
    };
    let holder = env.put(tagged("old")).await;
    assert_eq!(env.insert_one(tagged("new")).await, Inserted::Replaced(holder.id));
    let by = |tag: &str| Filter { tag: Some(tag.into()), ..Filter::default() };
    assert_eq!(matching(&env, by("old")).await, []);
    assert_eq!(matching(&env, by("new")).await, [holder.id]);
}

pub(super) async fn queued_jobs_are_filtered_by_how_they_are_shown(env: Env) {
    let running = env.running().await;
    let failed = env.drive(&running, fail(&running), env.now).await;
    let scheduled = env.put(draft_later(60)).await;
    let cancelled = env.cancelled_at(draft_later(60), 1).await;
    let due = env.put(draft()).await;
    let shown = async |shown: &[DisplayState], now| matching(&env, Filter::shown(shown, now)).await;
    let (now, later) = (env.now, env.at(100_000));
    assert_eq!(shown(&[DisplayState::Scheduled], now).await, [scheduled.id]);
    assert_eq!(shown(&[DisplayState::Scheduled], later).await, []);
    assert_eq!(shown(&[DisplayState::Retrying], now).await, [failed.id]);
    assert_eq!(shown(&[DisplayState::Available], now).await, [due.id]);
    assert_eq!(
        shown(&[DisplayState::Cancelled, DisplayState::Scheduled], now).await,
        [cancelled.id, scheduled.id]
    );
    assert_eq!(
        shown(&[DisplayState::Scheduled, DisplayState::Retrying, DisplayState::Available], now).await,
        matching(&env, Filter { states: vec![State::Queued], ..Filter::default() }).await
    );
}
