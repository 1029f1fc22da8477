//! What the SQLite store does for workers under hardship: jobs without a handler, damaged rows, slow readers.

#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod sqlite_support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use backroom::{
    ErrorKind, UniqueRule,
    core::{
        JobId, State, Timestamp,
        draft::{NewJob, When},
    },
    store::{Call, Committed, Deleted, Filter, Inserted, JobVerbs as _, Prune, ReadVerbs as _, Store},
};
use rusqlite::Connection;
use sqlite_support::{Place, success};
use tokio::task::JoinSet;

#[expect(clippy::disallowed_methods, reason = "measures what a claim really takes")]
async fn shortest_time_of_a_claim(place: &Place, store: &dyn Store) -> Duration {
    let mut times = Vec::new();
    for _ in 0..15 {
        let begun = Instant::now();
        assert_eq!(place.claim(store, 1).await.len(), 1);
        let queues = Arc::new(vec!["default".to_owned()]);
        let next = store.next_due(queues, Arc::new(vec!["mail".into()].into()), place.now).await.unwrap();
        assert_eq!(next, Some(place.now));
        times.push(begun.elapsed());
    }
    // Not the usual one: on a busy machine most claims wait for a processor, and what is asked is how much work one is.
    times.into_iter().min().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn due_jobs_of_an_unhandled_kind_cost_a_claim_nothing() {
    let place = Place::new();
    let store = place.open().await;
    let usual = (0..100).map(|_| place.job()).collect();
    store.insert(Arc::new(usual), place.now, Call::First).await.unwrap();
    let before = shortest_time_of_a_claim(&place, &store).await;
    for _ in 0..100 {
        let of_kind = |index: u8| {
            let mut draft = place.draft();
            draft.kind = "unhandled".into();
            draft.priority = index % 2;
            place.checked(draft)
        };
        let unhandled = (0..1000_u32).map(|index| of_kind((index % 10) as u8)).collect();
        store.insert(Arc::new(unhandled), place.now, Call::First).await.unwrap();
    }
    let after = shortest_time_of_a_claim(&place, &store).await;
    // Passing over each of them takes some 30 ms, a claim well under one.
    assert!(after < before * 10 + Duration::from_millis(5), "{before:?} before, {after:?} after");
}

/// What another program could do to a row.
fn damage(place: &Place, set: &str, id: JobId) {
    let damaged = Connection::open(place.file())
        .unwrap()
        .execute(&format!("UPDATE backroom_jobs SET {set} WHERE id = ?1"), [id.0.as_bytes()]);
    assert_eq!(damaged.unwrap(), 1);
}

const NEWER_EXTRAS: &str = r#"extras = '{"v":2,"reply_to":"mail"}'"#;

async fn next_due(place: &Place, store: &dyn Store) -> Option<Timestamp> {
    let queues = Arc::new(vec!["default".to_owned()]);
    store.next_due(queues, Arc::new(vec!["mail".into()].into()), place.now).await.unwrap()
}

const DAMAGED_EXTRAS: &str = "extras = '{\"v\":1,'";

#[tokio::test]
async fn a_job_of_a_newer_program_is_left_to_it_and_the_error_says_so() {
    let place = Place::new();
    let store = place.open().await;
    let newer = place.insert(&store, place.job()).await;
    let known = place.insert(&store, place.job()).await;
    damage(&place, r#"extras = '{"v":2,"reply_to":"mail"}'"#, newer);
    let error = store.job(newer).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unusable);
    for part in [&*newer.to_string(), "have version 2", "versions up to 1", "update this one"] {
        assert!(error.to_string().contains(part), "{error} lacks {part:?}");
    }
    let claimed: Vec<_> = place.claim(&store, 9).await.iter().map(|job| job.id).collect();
    assert_eq!(claimed, [known]);
    damage(&place, "extras = NULL", newer);
    assert_eq!(place.claim(&store, 9).await[0].id, newer, "it was only left out");
}

#[tokio::test]
async fn jobs_of_a_newer_program_are_not_due_for_this_one() {
    let place = Place::new();
    let store = place.open().await;
    let newer: Vec<_> = (0..300).map(|_| place.job()).collect();
    let ids: Vec<_> = newer.iter().map(|new| new.job.id).collect();
    store.insert(Arc::new(newer), place.now, Call::First).await.unwrap();
    for id in &ids {
        damage(&place, NEWER_EXTRAS, *id);
    }
    assert_eq!(next_due(&place, &store).await, None);
    let mut draft = place.draft();
    draft.start = When::In(Duration::from_secs(9));
    let later = place.insert(&store, place.checked(draft)).await;
    assert_eq!(next_due(&place, &store).await, Some(place.secs(9)));
    assert!(place.claim(&store, 9).await.is_empty());
    let known = place.insert(&store, place.job()).await;
    assert_eq!(place.claim(&store, 1).await[0].id, known);
    damage(&place, "extras = NULL", ids[7]);
    assert_eq!(next_due(&place, &store).await, Some(place.now));
    damage(&place, NEWER_EXTRAS, later);
    assert_eq!(place.claim(&store, 9).await[0].id, ids[7]);
    assert_eq!(next_due(&place, &store).await, None);
}

#[tokio::test]
async fn what_a_claim_leaves_as_damaged_is_not_waited_for() {
    let place = Place::new();
    let store = place.open().await;
    let damaged = place.insert(&store, place.job()).await;
    damage(&place, "tags = 'no list'", damaged);
    assert!(place.claim(&store, 9).await.is_empty());
    assert_eq!(next_due(&place, &store).await, None);
}

#[tokio::test]
async fn a_claim_goes_over_a_bounded_number_of_damaged_rows() {
    let place = Place::new();
    let store = place.open().await;
    let many = (0..2200).map(|_| place.job()).collect();
    store.insert(Arc::new(many), place.now, Call::First).await.unwrap();
    let whole = place.insert(&store, place.job()).await;
    let connection = Connection::open(place.file()).unwrap();
    let left = |most: usize| {
        let sql = "UPDATE backroom_jobs SET tags = iif(id IN (SELECT id FROM backroom_jobs ORDER BY id LIMIT ?1), 'x', NULL)";
        connection.execute(sql, [most as i64]).unwrap();
    };
    left(2200);
    assert!(place.claim(&store, 1).await.is_empty(), "the whole store is damaged");
    left(900);
    assert_eq!(place.claim(&store, 1).await.len(), 1);
    connection
        .execute(
            "DELETE FROM backroom_jobs WHERE state = 'queued' AND id <> ?1 AND tags IS NULL",
            [whole.0.as_bytes()],
        )
        .unwrap();
    assert_eq!(place.claim(&store, 1).await[0].id, whole);
}

#[tokio::test]
async fn a_unique_key_held_by_a_job_of_a_newer_program_is_held() {
    let place = Place::new();
    let store = place.open().await;
    let keyed = |rule: UniqueRule| {
        let mut draft = place.draft();
        draft.unique = Some(rule);
        place.checked(draft)
    };
    let insert = |job: NewJob| store.insert(Arc::new(vec![job]), place.now, Call::First);
    let holder = place.insert(&store, keyed(UniqueRule::by_key("k"))).await;
    damage(&place, NEWER_EXTRAS, holder);
    let again = insert(keyed(UniqueRule::by_key("k"))).await.unwrap();
    assert_eq!(again, [Inserted::Duplicate(holder)]);
    let again = insert(keyed(UniqueRule::by_key("k").reject())).await.unwrap();
    assert_eq!(again, [Inserted::KeyHeld(holder)]);
    let replaced = insert(keyed(UniqueRule::by_key("k").replace())).await.unwrap();
    assert_eq!(replaced, [Inserted::Replaced(holder)]);
    assert_eq!(place.claim(&store, 9).await[0].id, holder, "its content is this program's now");
    let window = UniqueRule::by_key("w").within(Duration::from_secs(5));
    let before = place.insert(&store, keyed(window.clone())).await;
    damage(&place, NEWER_EXTRAS, before);
    let later = store.insert(Arc::new(vec![keyed(window)]), place.secs(6), Call::First).await.unwrap();
    assert_eq!(later, [Inserted::Created]);
}

#[tokio::test]
async fn damaged_rows_do_not_keep_others_from_being_claimed() {
    let place = Place::new();
    let store = place.open().await;
    for set in [DAMAGED_EXTRAS, "tags = 'no list'", "suspicion = '[]', crashes = 1"] {
        let id = place.insert(&store, place.job()).await;
        damage(&place, set, id);
    }
    let whole = [place.insert(&store, place.job()).await, place.insert(&store, place.job()).await];
    assert_eq!(place.claim(&store, 1).await[0].id, whole[0]);
    let rest: Vec<_> = place.claim(&store, 10).await.iter().map(|job| job.id).collect();
    assert_eq!(rest, whole[1..]);
    assert!(place.claim(&store, 1).await.is_empty());
}

#[tokio::test]
async fn damaged_rows_do_not_keep_others_from_being_found() {
    let place = Place::new();
    let store = place.open().await;
    let expiring = || {
        let mut draft = place.draft();
        draft.expiry = Some(When::In(Duration::from_secs(10)));
        place.checked(draft)
    };
    let damaged = place.insert(&store, expiring()).await;
    let whole = place.insert(&store, expiring()).await;
    let newest = place.insert(&store, expiring()).await;
    damage(&place, DAMAGED_EXTRAS, damaged);
    assert_eq!(store.expired_jobs(1, place.secs(10)).await.unwrap()[0].id, whole);
    damage(&place, DAMAGED_EXTRAS, newest);
    let page = store.list(Arc::new(Filter::default()), None, 1).await.unwrap();
    assert_eq!(page[0].id, whole, "the page goes on behind the damaged row");
    assert_eq!(store.list(Arc::new(Filter::default()), None, 9).await.unwrap().len(), 1);
    damage(&place, "extras = NULL", damaged);
    damage(&place, "extras = NULL", newest);
    assert_eq!(place.claim(&store, 3).await.len(), 3);
    damage(&place, DAMAGED_EXTRAS, damaged);
    let worker = store.job(whole).await.unwrap().unwrap().worker.unwrap();
    let held = store.running_of(&worker, None, 9).await.unwrap();
    let held: Vec<_> = held.iter().map(|running| (running.job.id, running.is_whole)).collect();
    assert_eq!(held, [(damaged, false), (whole, true), (newest, true)], "all are judged together");
}

#[tokio::test]
async fn a_job_whose_tags_are_damaged_can_be_deleted() {
    let place = Place::new();
    let store = place.open().await;
    let mut draft = place.draft();
    draft.tags = vec!["t".into()];
    let id = place.insert(&store, place.checked(draft)).await;
    damage(&place, "tags = 'no list'", id);
    assert_eq!(store.delete(id, backroom::Timestamp::UNIX_EPOCH).await.unwrap(), Deleted::Yes);
    assert!(store.health().await.unwrap().checks.iter().all(|check| check.ok));
}

#[tokio::test]
async fn a_change_that_cannot_be_written_does_not_take_the_others_with_it() {
    let place = Place::new();
    let store = place.open().await;
    for _ in 0..3 {
        place.insert(&store, place.job()).await;
    }
    let jobs = place.claim(&store, 3).await;
    let mut changes: Vec<_> = jobs.iter().map(|job| success(job, place.secs(1))).collect();
    // A CHECK refuses this one: a finished job has a moment at which it finished.
    changes[1].finished_at = None;
    assert_eq!(store.commit(Arc::new(changes.clone())).await.unwrap_err().kind(), ErrorKind::Internal);
    let state = async |index: usize| store.job(jobs[index].id).await.unwrap().unwrap().state;
    assert_eq!(
        [state(0).await, state(1).await, state(2).await],
        [State::Completed, State::Running, State::Completed]
    );
    changes.remove(1);
    assert_eq!(store.commit(Arc::new(changes)).await.unwrap(), [Committed::Done; 2]);
}

#[tokio::test]
async fn slow_reads_do_not_hold_up_what_workers_wait_for() {
    let place = Place::new();
    let store = Arc::new(place.open().await);
    let jobs: Vec<_> = (0..5000).map(|_| place.job()).collect();
    let id = jobs[0].job.id;
    store.insert(Arc::new(jobs), place.now, Call::First).await.unwrap();
    let checked = Arc::new(AtomicUsize::new(0));
    let mut checking = JoinSet::new();
    for _ in 0..10 {
        let (store, checked) = (Arc::clone(&store), Arc::clone(&checked));
        checking.spawn(async move {
            store.health().await.unwrap();
            checked.fetch_add(1, Ordering::Relaxed);
        });
    }
    // On this one thread, all of them get in line before this goes on.
    tokio::task::yield_now().await;
    assert!(store.job(id).await.unwrap().is_some());
    assert!(checked.load(Ordering::Relaxed) < 6, "the read waited for slow ones");
    checking.join_all().await;
}

/// So many finished jobs that hold their unique key for a window far in the future.
fn held_window_keys(place: &Place, jobs: u32) {
    let connection = Connection::open(place.file()).unwrap();
    let sql = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1) \
        INSERT INTO backroom_jobs (id, kind, queue, priority, state, args, attempt, max_attempts, crashes, scheduled_at, \
            unique_key, unique_while, unique_until, unique_held, woken, created_at, finished_at, output, revision) \
        SELECT randomblob(16), 'mail', 'default', 5, 'completed', 'null', 1, 20, 0, 0, 'key ' || n, 'until', ?2, 1, 0, 0, n, \
            'null', 2 FROM n";
    let until = place.secs(365 * 24 * 3600).as_microsecond();
    connection.execute(sql, (jobs, until)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_past_held_window_keys_does_not_hold_up_enqueues() {
    let place = Place::new();
    let store = Arc::new(place.open().await);
    place.insert(&*store, place.job()).await;
    held_window_keys(&place, 400_000);
    // One more that may go lies behind all of them.
    let job = place.claim(&*store, 1).await.remove(0);
    assert_eq!(store.commit(Arc::new(vec![success(&job, place.secs(1))])).await.unwrap(), [Committed::Done]);
    let prune = Arc::new(Prune {
        queue: "default".into(),
        state: State::Completed,
        finished_before: Some(place.secs(10)),
        beyond: None,
        limit: 1000,
    });
    // Both wait for the disk, so a busy machine may turn their order round now and then. When the writer reads all of
    // them, the insert never comes first.
    let mut first = 0;
    for _ in 0..5 {
        let (pruning, now) = (Arc::clone(&store), place.secs(20));
        let (wanted, done) = (Arc::clone(&prune), Arc::new(AtomicUsize::new(0)));
        let noted = Arc::clone(&done);
        let pruned = tokio::spawn(async move {
            let pruned = pruning.prune(wanted, now).await;
            noted.fetch_add(1, Ordering::SeqCst);
            pruned
        });
        tokio::task::yield_now().await;
        place.insert(&*store, place.job()).await;
        first += usize::from(done.load(Ordering::SeqCst) == 0);
        assert!(pruned.await.unwrap().unwrap() <= 1);
    }
    assert!(first >= 1, "every insert waited for the prune");
    assert!(store.job(job.id).await.unwrap().is_none(), "what may go went");
}
