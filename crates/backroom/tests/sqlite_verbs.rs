//! The SQLite store's verbs, as far as the conformance suite cannot see them.

#![cfg(feature = "sqlite")]

mod sqlite_support;

use backroom::store::{Call, JobVerbs as _, QueueVerbs as _, ReadVerbs as _};
use std::sync::Arc;

use backroom::{
    ErrorKind,
    core::{
        AttemptEnd, Change, DisplayState, Event, JobId, LogLine, Progress, RetryPolicy, State,
        transition::apply,
        unique::{UniqueBy, UniqueRule},
    },
    store::{
        Committed, Deleted, Filter, Inserted, Note, Prune, QueueSetting, Record, Store,
        sqlite::{SqliteOptions, SqliteStore},
    },
};
use sqlite_support::{Place, commit, lease, success};

#[tokio::test]
async fn a_job_comes_back_from_the_file_as_it_went_in() {
    let place = Place::new();
    let store = place.open().await;
    let mut draft = place.draft();
    draft.lane = Some("tenant-42".into());
    draft.priority = 3;
    draft.extras.timeout = Some(std::time::Duration::from_millis(1500));
    draft.extras.retry = Some(RetryPolicy::list([std::time::Duration::from_secs(3)]));
    draft.unique = Some(UniqueRule::by_args().within(std::time::Duration::from_secs(60)));
    draft.tags = vec!["a".into(), "b".into()];
    draft.extras.meta = [("k".to_owned(), "v".to_owned())].into();
    let new = place.checked(draft);
    let id = place.insert(&store, new.clone()).await;
    store.close().await.unwrap();
    let store = place.open().await;
    assert_eq!(store.job(id).await.unwrap(), Some(new.job));
}

#[tokio::test]
async fn a_claim_leaves_the_row_exactly_as_core_says() {
    let place = Place::new();
    let store = place.open().await;
    let mut draft = place.draft();
    draft.unique = Some(UniqueRule::by_args().while_queued());
    let mut expected = place.checked(draft);
    place.insert(&store, expected.clone()).await;
    let wish = place.wish(1);
    let event = wish.event();
    apply(&expected.job, event, place.now).unwrap().unwrap().write_to(&mut expected.job);
    let claimed = store.claim(Arc::new(wish), place.now, Call::First).await.unwrap();
    assert_eq!(claimed, [expected.job.clone()]);
    assert_eq!(store.job(expected.job.id).await.unwrap(), Some(expected.job));
}

#[tokio::test]
async fn a_repeated_claim_answers_with_what_the_lost_one_took_and_no_more() {
    let place = Place::new();
    let store = place.open().await;
    for _ in 0..5 {
        place.insert(&store, place.job()).await;
    }
    let mut wish = place.wish(2);
    let first = store.claim(Arc::new(wish.clone()), place.now, Call::First).await.unwrap();
    let again = store.claim(Arc::new(wish.clone()), place.now, Call::Repeated).await.unwrap();
    assert_eq!(first, again);
    wish.lease = place.ids.lease();
    assert_eq!(store.claim(Arc::new(wish), place.now, Call::First).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_commit_is_done_once_and_answers_done_again() {
    let place = Place::new();
    let store = place.open().await;
    let id = place.insert(&store, place.job()).await;
    let job = place.claim(&store, 1).await.remove(0);
    let change = success(&job, place.secs(1));
    assert_eq!(commit(&store, change.clone()).await, Committed::Done);
    let row = store.job(id).await.unwrap().unwrap();
    assert_eq!(commit(&store, change.clone()).await, Committed::Done);
    assert_eq!(store.job(id).await.unwrap().unwrap(), row);
    let mut expected = job.clone();
    change.write_to(&mut expected);
    assert_eq!(row, expected);
    let late = apply(&job, Event::Discard { lease: lease(&job), reason: "late".into() }, place.secs(2));
    assert_eq!(commit(&store, late.unwrap().unwrap()).await, Committed::Stale);
    assert_eq!(store.attempts(id).await.unwrap(), []);
}

#[tokio::test]
async fn a_failed_attempt_is_recorded_once_and_the_job_waits_out_its_backoff() {
    let place = Place::new();
    let store = place.open().await;
    let id = place.insert(&store, place.job()).await;
    let job = place.claim(&store, 1).await.remove(0);
    let fail = Event::Fail {
        lease: lease(&job),
        end: AttemptEnd::Panicked,
        error: "boom".into(),
        delay: None,
        retry: RetryPolicy::DEFAULT,
        chance: 0.5,
    };
    let change = apply(&job, fail, place.secs(1)).unwrap().unwrap();
    assert_eq!(commit(&store, change.clone()).await, Committed::Done);
    assert_eq!(commit(&store, change.clone()).await, Committed::Done);
    assert_eq!(store.attempts(id).await.unwrap(), [change.attempt_ended().unwrap().clone()]);
    assert!(place.claim(&store, 1).await.is_empty());
    let counts = store.counts(place.secs(1)).await.unwrap();
    assert_eq!((counts[0].state, counts[0].jobs), (DisplayState::Retrying, 1));
    let next = store
        .next_due(Arc::new(vec!["default".into()]), Arc::new(vec!["mail".into()].into()), place.now)
        .await
        .unwrap();
    assert_eq!(next, Some(change.scheduled_at));
}

#[tokio::test]
async fn notes_are_kept_while_the_lease_holds_and_lines_are_written_once() {
    let place = Place::new();
    let store = place.open().await;
    place.insert(&store, place.job()).await;
    let job = place.claim(&store, 1).await.remove(0);
    let line = LogLine { lease_id: lease(&job), seq: 0, at: place.now, line: "hello".into() };
    let progress = Some(Progress { percent: 50, message: "half".into() });
    let note =
        Note { job: job.id, lease: lease(&job), progress: progress.clone(), lines: vec![line.clone()] };
    let lost = Note { lease: place.ids.lease(), progress: None, ..note.clone() };
    store.note(Arc::new(vec![note.clone(), note, lost]), place.now).await.unwrap();
    assert_eq!(store.job(job.id).await.unwrap().unwrap().progress, progress);
    assert_eq!(store.logs(job.id, 0, 10).await.unwrap(), [line]);
    assert_eq!(commit(&store, success(&job, place.secs(1))).await, Committed::Done);
}

#[tokio::test]
async fn unique_keys_keep_replace_and_run_out() {
    let place = Place::new();
    let store = place.open().await;
    let with = |rule: UniqueRule, tag: &str| {
        let mut draft = place.draft();
        draft.unique = Some(rule);
        draft.tags = vec![tag.into()];
        place.checked(draft)
    };
    let rule = UniqueRule { by: UniqueBy::Key("k".into()), ..UniqueRule::by_args() };
    let first = place.insert(&store, with(rule.clone(), "one")).await;
    let answer = |new| {
        let store = &store;
        async move { store.insert(Arc::new(vec![new]), place.now, Call::First).await.unwrap()[0] }
    };
    assert_eq!(answer(with(rule.clone(), "two")).await, Inserted::Duplicate(first));
    assert_eq!(answer(with(rule.clone().reject(), "two")).await, Inserted::KeyHeld(first));
    assert_eq!(answer(with(rule.clone().replace(), "two")).await, Inserted::Replaced(first));
    let tagged = |tag: &str| Arc::new(Filter { tag: Some(tag.into()), ..Filter::default() });
    assert_eq!(store.list(tagged("one"), None, 9).await.unwrap(), []);
    assert_eq!(store.list(tagged("two"), None, 9).await.unwrap()[0].id, first);

    let window = UniqueRule { by: UniqueBy::Key("w".into()), ..UniqueRule::by_args() };
    let window = window.within(std::time::Duration::from_secs(10));
    let holder = place.insert(&store, with(window.clone(), "w")).await;
    assert_eq!(answer(with(window.clone(), "w")).await, Inserted::Duplicate(holder));
    let later = with(window, "w");
    let inserted = store.insert(Arc::new(vec![later.clone()]), place.secs(10), Call::First).await.unwrap();
    assert_eq!(inserted, [Inserted::Created]);
    assert!(!store.job(holder).await.unwrap().unwrap().unique_held);
}

#[tokio::test]
async fn a_retry_whose_key_is_taken_names_the_holder() {
    let place = Place::new();
    let store = place.open().await;
    let unique = || {
        let mut draft = place.draft();
        draft.unique = Some(UniqueRule::by_args());
        place.checked(draft)
    };
    let first = place.insert(&store, unique()).await;
    let job = store.job(first).await.unwrap().unwrap();
    let cancel = apply(&job, Event::Cancel { reason: "no".into() }, place.now).unwrap().unwrap();
    assert_eq!(commit(&store, cancel).await, Committed::Done);
    let second = place.insert(&store, unique()).await;
    let job = store.job(first).await.unwrap().unwrap();
    let retry: Change = apply(&job, Event::Retry, place.now).unwrap().unwrap();
    assert_eq!(commit(&store, retry).await, Committed::KeyHeld(second));
    assert_eq!(store.job(first).await.unwrap().unwrap(), job);
}

#[tokio::test]
async fn prune_takes_the_oldest_and_all_that_belongs_to_them() {
    let place = Place::new();
    let store = place.open().await;
    let mut ids = Vec::new();
    for second in 0..5 {
        let mut draft = place.draft();
        draft.tags = vec!["t".into()];
        ids.push(place.insert(&store, place.checked(draft)).await);
        let job = place.claim(&store, 1).await.remove(0);
        assert_eq!(commit(&store, success(&job, place.secs(second))).await, Committed::Done);
    }
    let prune = |finished_before, beyond, limit| {
        let (queue, state) = ("default".into(), State::Completed);
        Arc::new(Prune { queue, state, finished_before, beyond, limit })
    };
    let now = place.secs(100);
    assert_eq!(store.prune(prune(None, None, 9), now).await.unwrap(), 0);
    assert_eq!(store.prune(prune(Some(place.secs(1)), None, 9), now).await.unwrap(), 1);
    assert_eq!(store.prune(prune(None, Some(3), 9), now).await.unwrap(), 1);
    assert_eq!(store.prune(prune(Some(place.secs(50)), Some(3), 1), now).await.unwrap(), 1);
    let tagged = Arc::new(Filter { tag: Some("t".into()), ..Filter::default() });
    let left: Vec<JobId> = store.list(tagged, None, 9).await.unwrap().into_iter().map(|job| job.id).collect();
    assert_eq!(left, [ids[4], ids[3]]);
    assert_eq!(store.delete(ids[4], backroom::Timestamp::UNIX_EPOCH).await.unwrap(), Deleted::Yes);
    assert_eq!(store.delete(ids[4], backroom::Timestamp::UNIX_EPOCH).await.unwrap(), Deleted::NotFound);
    assert!(store.health().await.unwrap().checks.iter().all(|check| check.ok));
}

#[tokio::test]
async fn lists_find_every_state_and_paused_queues_are_skipped() {
    let place = Place::new();
    let store = place.open().await;
    store.set_queue("default", QueueSetting::Pause(place.now)).await.unwrap();
    let id = place.insert(&store, place.job()).await;
    assert!(place.claim(&store, 1).await.is_empty());
    store.set_queue("default", QueueSetting::Resume).await.unwrap();
    for states in [vec![State::Queued], vec![State::Queued, State::Running], vec![]] {
        let filter = Filter { states, ..Filter::default() };
        assert_eq!(store.list(Arc::new(filter), None, 9).await.unwrap().len(), 1);
    }
    for state in State::ALL.into_iter().skip(1) {
        let filter = Filter { states: vec![state], queue: Some("default".into()), ..Filter::default() };
        assert_eq!(store.list(Arc::new(filter), Some(id), 9).await.unwrap(), []);
    }
    assert_eq!(place.claim(&store, 1).await.len(), 1);
    let running = Arc::new(Filter { states: vec![State::Running], ..Filter::default() });
    assert_eq!(store.list(running, None, 9).await.unwrap()[0].id, id);
    let worker = store.job(id).await.unwrap().unwrap().worker.unwrap();
    assert_eq!(store.running_of(&worker, None, 9).await.unwrap()[0].job.id, id);
}

#[tokio::test]
async fn records_move_whole_from_one_file_to_another() {
    let place = Place::new();
    let store = place.open().await;
    let id = place.insert(&store, place.job()).await;
    let job = place.claim(&store, 1).await.remove(0);
    let give_up = Event::Discard { lease: lease(&job), reason: "no".into() };
    commit(&store, apply(&job, give_up, place.now).unwrap().unwrap()).await;
    let job = store.job(id).await.unwrap().unwrap();
    let record = Record {
        job,
        attempts: store.attempts(id).await.unwrap(),
        lines: Vec::new(),
        edges: Vec::new(),
        journal: None,
    };
    let other = place.folder().join("other.db");
    let other = SqliteStore::open(other, SqliteOptions::default()).await.unwrap();
    assert_eq!(other.import(Arc::new(vec![record.clone()])).await.unwrap(), 1);
    assert_eq!(other.import(Arc::new(vec![record.clone()])).await.unwrap(), 0);
    assert_eq!(other.job(id).await.unwrap().unwrap(), record.job);
    assert_eq!(other.attempts(id).await.unwrap(), record.attempts);
    assert_eq!(other.queues().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let place = Place::new();
    let store = place.open().await;
    store.close().await.unwrap();
    store.close().await.unwrap();
    let refused = store.insert(Arc::new(vec![place.job()]), place.now, Call::First).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Closed);
    assert_eq!(store.queues().await.unwrap_err().kind(), ErrorKind::Closed);
}
