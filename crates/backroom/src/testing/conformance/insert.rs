//! Jobs are stored as they were given, once.

use std::time::Duration;

use backroom_core::{
    Draft, Extras, RetryPolicy, State,
    draft::When,
    unique::{UniqueRule, UniqueWhile},
};

use super::env::{Env, draft, every_extra, ids, json, succeed};
use crate::store::Inserted;

pub(super) async fn every_optional_field_unset_comes_back_as_it_was(env: Env) {
    let job = env.put(draft()).await;
    assert_eq!(env.read(job.id).await, job);
}

pub(super) async fn every_field_set_comes_back_as_it_was(env: Env) {
    let full = Draft {
        kind: "make_thumbnail".into(),
        args: json(
            r#"{ "photo" : "a.jpg", "width":320, "big":12345678901234567890, "deep":[[{"a":null}]] }"#,
        ),
        queue: "images".into(),
        lane: Some("tenant-42".into()),
        priority: 0,
        start: When::At(env.at(7)),
        expiry: Some(When::In(Duration::from_micros(3_600_000_001))),
        max_attempts: Some(7),
        unique: Some(UniqueRule::by_fields(["photo"]).within(Duration::from_secs(60))),
        tags: vec!["zebra".into(), "apple".into()],
        seal: None,
        id: None,
        extras: every_extra(),
    };
    let policies = [
        RetryPolicy::DEFAULT,
        RetryPolicy::constant(Duration::from_millis(1)),
        RetryPolicy::linear(Duration::from_secs(5)),
        RetryPolicy::exponential(Duration::from_secs(1), Duration::from_secs(3600)),
    ];
    let holds = [
        UniqueRule::by_key("live"),
        UniqueRule::by_key("queued").while_queued(),
        UniqueRule::by_args().within(Duration::from_secs(1)),
    ];
    let mut drafts = vec![full];
    let with = |retry| Extras { retry: Some(retry), ..Extras::default() };
    drafts.extend(policies.map(|retry| Draft { extras: with(retry), priority: 9, ..draft() }));
    drafts.extend(holds.map(|unique| Draft { unique: Some(unique), ..draft() }));
    for job in env.put_many(drafts).await {
        let stored = env.read(job.id).await;
        // One by one first: a difference in a row of thirty fields is hard to see.
        assert_eq!(stored.args.as_str(), job.args.as_str());
        assert_eq!(stored.scheduled_at, job.scheduled_at);
        assert_eq!(stored.expires_at, job.expires_at);
        assert_eq!(stored.unique(), job.unique());
        assert_eq!(stored.tags, job.tags);
        assert_eq!(stored.extras, job.extras);
        assert_eq!(stored, job);
        assert_ne!(stored.unique_while, Some(UniqueWhile::Until(env.now)));
    }
}

pub(super) async fn a_batch_is_stored_whole_and_answered_in_order(env: Env) {
    let holder = env.put(Draft { unique: Some(UniqueRule::by_key("k")), ..draft() }).await;
    let mut drafts = vec![draft(); 300];
    drafts[150].unique = Some(UniqueRule::by_key("k"));
    let new: Vec<_> = drafts.into_iter().map(|draft| env.new_job(draft)).collect();
    let mut jobs: Vec<_> = new.iter().map(|new| new.job.clone()).collect();
    let mut answers = vec![Inserted::Created; 300];
    answers[150] = Inserted::Duplicate(holder.id);
    assert_eq!(env.insert(new).await, answers);
    jobs[150] = holder;
    let mut stored = env.all().await;
    stored.sort_by_key(|job| job.id);
    jobs.sort_by_key(|job| job.id);
    assert_eq!(stored, jobs);
}

pub(super) async fn an_empty_batch_is_answered_with_nothing(env: Env) {
    assert_eq!(env.insert(Vec::new()).await, []);
    assert_eq!(env.all().await, []);
}

pub(super) async fn a_repeated_insert_is_the_same_job(env: Env) {
    let new = env.new_job(Draft { unique: Some(UniqueRule::by_args().reject()), ..draft() });
    let job = new.job.clone();
    assert_eq!(env.insert(vec![new.clone()]).await, [Inserted::Created]);
    assert_eq!(env.insert_again(vec![new]).await, [Inserted::Created]);
    assert_eq!(env.all().await, [job]);
}

pub(super) async fn a_repeated_insert_leaves_a_job_that_moved_on_alone(env: Env) {
    let new = env.new_job(draft());
    env.insert(vec![new.clone()]).await;
    let running = env.take().await;
    assert_eq!(env.insert_again(vec![new]).await, [Inserted::Created]);
    assert_eq!(env.all().await, [running]);
}

pub(super) async fn a_repeated_insert_does_not_bring_back_a_job_that_ended(env: Env) {
    let (new, other) = (env.new_job(draft()), env.new_job(draft()));
    env.insert(vec![new.clone()]).await;
    let running = env.take().await;
    env.drive(&running, succeed(&running), env.now).await;
    assert_eq!(env.insert_again(vec![new.clone(), other.clone()]).await, [Inserted::Created; 2]);
    let stored: Vec<_> = env.all().await.into_iter().map(|job| (job.id, job.state)).collect();
    assert_eq!(stored, [(other.job.id, State::Queued), (new.job.id, State::Completed)]);
}

pub(super) async fn one_id_twice_in_a_batch_is_one_job(env: Env) {
    let (one, other) = (env.new_job(draft()), env.new_job(draft()));
    let expected = vec![other.job.id, one.job.id];
    let answers = env.insert(vec![one.clone(), other, one]).await;
    assert_eq!(answers, [Inserted::Created; 3]);
    assert_eq!(ids(&env.all().await), expected);
}
