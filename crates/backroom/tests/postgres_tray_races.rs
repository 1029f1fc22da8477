//! Trays that two transactions want at once, or that another transaction has locked.

#![cfg(feature = "postgres")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod postgres_support;
mod tray_office;

use std::{sync::Arc, time::Duration};

use backroom::{
    ErrorKind, Json, UniqueRule,
    core::{Draft, Event, JobRow, State, transition::apply},
    store::{Call, Committed, Deleted, JobVerbs as _, LeaseStatus, ReadVerbs as _},
};
use postgres_support::{died, lease, success, until_a_statement_waits, waiting_for_locks};
use tray_office::{Office, Rows};

/// It waits for a tenth of a second only, which a slow machine may miss.
async fn until_it_waits_or_ends<T>(office: &Office, task: &tokio::task::JoinHandle<T>) {
    let look = async {
        while !task.is_finished() && waiting_for_locks(&office.client, &office.place.schema).await.is_empty()
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), look).await.expect("it waits or ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unload_behind_an_end_sees_that_the_job_ended() {
    let (office, jobs) = Office::with_a_tray_of(2).await;
    let mut ending = office.place.client().await;
    // What the store does to end the first, by hand and slowly.
    let transaction = ending.transaction().await.unwrap();
    transaction.batch_execute("SELECT FROM trays FOR UPDATE").await.unwrap();
    let finish = "INSERT INTO finished (id, kind, queue, priority, state, args, attempt, max_attempts, crashes, \
                  scheduled_at, unique_held, lease_id, worker, output, woken, created_at, started_at, finished_at, \
                  revision) \
                  SELECT id, kind, queue, priority, 'completed', args, attempt, max_attempts, crashes, scheduled_at, \
                  false, lease_id, worker, 'null', false, created_at, started_at, now(), revision + 1 \
                  FROM jobs_on_trays WHERE id = $1";
    assert_eq!(transaction.execute(finish, &[&jobs[0].id.0]).await.unwrap(), 1);
    transaction.batch_execute("UPDATE trays SET live = live - 1").await.unwrap();
    let unloading = {
        let (store, leases) =
            (Arc::clone(&office.store), jobs.iter().map(|job| (job.id, lease(job))).collect());
        tokio::spawn(async move { store.lease_status(Arc::new(leases)).await })
    };
    until_it_waits_or_ends(&office, &unloading).await;
    transaction.commit().await.unwrap();
    // On a slow machine the wait may be over before the commit: then the tray counts as locked.
    if unloading.await.unwrap().unwrap() == [LeaseStatus::Held, LeaseStatus::Held] {
        assert_eq!(office.held(&office.store, &jobs).await, [LeaseStatus::Lost, LeaseStatus::Held]);
    }
    assert_eq!(office.rows().await, Rows { jobs: 1, trays: 0, finished: 1 });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_behind_an_unload_finds_the_job_in_its_row() {
    let (office, jobs) = Office::with_a_tray_of(2).await;
    let mut unloading = office.place.client().await;
    let transaction = unloading.transaction().await.unwrap();
    transaction
        .batch_execute(
            "SELECT FROM trays FOR UPDATE; \
             INSERT INTO jobs SELECT (every_job).* FROM every_job WHERE state = 'running'; \
             DELETE FROM trays",
        )
        .await
        .unwrap();
    let ending = {
        let (store, change) = (Arc::clone(&office.store), success(&jobs[0], office.place.now));
        tokio::spawn(async move { store.commit(Arc::new(vec![change])).await })
    };
    until_it_waits_or_ends(&office, &ending).await;
    transaction.commit().await.unwrap();
    // On a slow machine the wait may be over before the commit.
    if ending.await.unwrap().unwrap() == [Committed::RowLocked] {
        office.succeed(&jobs[..1]).await;
    }
    assert_eq!(office.rows().await, Rows { jobs: 1, trays: 0, finished: 1 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_deleted_the_moment_it_ends_does_not_come_back() {
    let office = Office::open().await;
    for _ in 0..50 {
        let new = vec![office.place.new_job(), office.place.new_job()];
        office.store.insert(Arc::new(new), office.place.now, Call::First).await.unwrap();
        let jobs = office.place.claim(&*office.store, 2).await;
        let ending = {
            let (store, change) = (Arc::clone(&office.store), success(&jobs[0], office.place.now));
            tokio::spawn(async move { store.commit(Arc::new(vec![change])).await })
        };
        while office.other.delete(jobs[0].id, backroom::Timestamp::UNIX_EPOCH).await.unwrap() != Deleted::Yes
        {
        }
        ending.await.unwrap().unwrap();
        assert_eq!(office.store.job(jobs[0].id).await.unwrap(), None);
        assert_eq!(office.held(&office.store, &jobs[1..]).await, [LeaseStatus::Held]);
        office.succeed(&jobs[1..]).await;
        assert_eq!(office.rows().await, Rows { jobs: 0, trays: 0, finished: 1 });
        assert_eq!(
            office.other.delete(jobs[1].id, backroom::Timestamp::UNIX_EPOCH).await.unwrap(),
            Deleted::Yes
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_tray_holds_up_nothing_else() {
    let (office, jobs) = Office::with_a_tray_of(2).await;
    let keyed = Draft { unique: Some(UniqueRule::by_key("k")), ..Draft::new("work", Json::null()) };
    office.place.insert(&*office.store, office.place.checked(keyed)).await;
    let in_row = office.place.claim(&*office.store, 1).await;
    let mut other = office.place.client().await;
    let transaction = other.transaction().await.unwrap();
    transaction.batch_execute("SELECT FROM trays FOR UPDATE").await.unwrap();

    let all: Vec<JobRow> = jobs.iter().chain(&in_row).cloned().collect();
    assert_eq!(office.held(&office.store, &all).await, [LeaseStatus::Held; 3]);
    assert_eq!(office.held(&office.other, &all).await, [LeaseStatus::Held; 3]);
    let notes = vec![office.note(&jobs[0]), office.note(&in_row[0])];
    office.store.note(Arc::new(notes.clone()), office.place.now).await.unwrap();
    assert_eq!(office.store.job(in_row[0].id).await.unwrap().unwrap().progress, notes[1].progress);
    assert_eq!(office.store.job(jobs[0].id).await.unwrap().unwrap().progress, None, "left out");
    assert_eq!(office.store.logs(jobs[0].id, 0, 10).await.unwrap(), notes[0].lines);

    let snooze = Event::Snooze { lease: lease(&jobs[1]), delay: Duration::from_secs(5) };
    let changes = vec![
        success(&jobs[0], office.place.now),
        office.decide(&jobs[1], snooze),
        success(&in_row[0], office.place.now),
    ];
    let answers = office.store.commit(Arc::new(changes.clone())).await.unwrap();
    assert_eq!(answers, [Committed::RowLocked, Committed::RowLocked, Committed::Done]);
    transaction.rollback().await.unwrap();
    assert_eq!(office.store.commit(Arc::new(changes)).await.unwrap(), [Committed::Done; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_on_a_locked_tray_is_neither_revived_nor_deleted() {
    let (office, jobs) = Office::with_a_tray_of(2).await;
    office.succeed(&jobs[..1]).await;
    let mut other = office.place.client().await;
    let transaction = other.transaction().await.unwrap();
    transaction.batch_execute("SELECT FROM trays FOR UPDATE").await.unwrap();
    let done = office.store.job(jobs[0].id).await.unwrap().unwrap();
    let again = office.decide(&done, Event::Retry);
    for store in [&*office.store, &office.other] {
        assert_eq!(office.commit(store, again.clone()).await, Committed::RowLocked);
        assert_eq!(
            store.delete(jobs[0].id, backroom::Timestamp::UNIX_EPOCH).await.unwrap_err().kind(),
            ErrorKind::Unavailable
        );
    }
    assert_eq!(office.rows().await, Rows { jobs: 0, trays: 1, finished: 1 });
    transaction.rollback().await.unwrap();
    assert_eq!(office.commit(&office.other, again).await, Committed::Done);
    assert_eq!(office.rows().await, Rows { jobs: 2, trays: 0, finished: 0 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_free_tray_beside_many_locked_ones_is_unloaded() {
    let office = Office::open().await;
    let mut jobs = Vec::new();
    for _ in 0..6 {
        office.place.insert(&*office.store, office.place.new_job()).await;
        jobs.extend(office.place.claim(&*office.store, 1).await);
    }
    // In the order of leases, in which they would be met.
    jobs.sort_by_key(lease);
    let locked: Vec<_> = jobs[..5].iter().map(|job| lease(job).0).collect();
    let mut other = office.place.client().await;
    let transaction = other.transaction().await.unwrap();
    let lock = "SELECT FROM trays WHERE lease_id = ANY ($1) FOR UPDATE";
    assert_eq!(transaction.execute(lock, &[&locked]).await.unwrap(), 5);
    assert_eq!(office.held(&office.store, &jobs).await, [LeaseStatus::Held; 6]);
    assert_eq!(office.rows().await, Rows { jobs: 1, trays: 5, finished: 0 });
}

#[tokio::test]
async fn a_job_that_is_on_a_tray_and_in_a_row_stops_no_rescue() {
    let office = Office::open().await;
    let new = Arc::new(vec![office.place.new_job(), office.place.new_job()]);
    office.store.insert(Arc::clone(&new), office.place.now, Call::First).await.unwrap();
    let jobs = office.place.claim(&*office.store, 2).await;
    assert_eq!(jobs.len(), 2);
    // Against the rule: the first insert of an id that is stored.
    office.store.insert(Arc::new(vec![new[0].clone()]), office.place.now, Call::First).await.unwrap();
    let at = office.place.now;
    let worker = jobs[0].worker.clone().unwrap();
    let found = office.other.running_of(&worker, None, 10).await.unwrap();
    let rescue = |job: &JobRow| apply(job, died(), at).unwrap().unwrap();
    let changes: Vec<_> = found.iter().map(|running| rescue(&running.job)).collect();
    office.other.commit(Arc::new(changes)).await.unwrap();
    assert_eq!(office.rows().await, Rows { jobs: 2, trays: 0, finished: 0 });
    assert_eq!(office.state(jobs[1].id).await, State::Queued);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_repeated_while_the_first_is_being_written_answers_with_what_that_took() {
    let office = Office::open().await;
    let new = vec![office.place.new_job(), office.place.new_job()];
    office.store.insert(Arc::new(new), office.place.now, Call::First).await.unwrap();
    let wish = office.place.wish(1);
    let mut first = office.place.client().await;
    let transaction = first.transaction().await.unwrap();
    let take = "WITH taken AS (DELETE FROM jobs WHERE id = (SELECT id FROM jobs ORDER BY scheduled_at, id LIMIT 1) \
                RETURNING *) \
                INSERT INTO trays (lease_id, queue, lease_until, worker, started_at, live, first_id, last_id, jobs) \
                SELECT $1, queue, now(), 'w', now(), 1, id, id, ARRAY[ROW(id, kind, priority, args, max_attempts, \
                scheduled_at, created_at, tags, extras)::tray_job] FROM taken";
    assert_eq!(transaction.execute(take, &[&wish.lease.0]).await.unwrap(), 1);
    let repeating = {
        let (store, wish, now) = (Arc::clone(&office.store), wish.clone(), office.place.now);
        tokio::spawn(async move { store.claim(Arc::new(wish), now, Call::Repeated).await })
    };
    until_a_statement_waits(&office.client, &office.place.schema).await;
    transaction.commit().await.unwrap();
    let taken = repeating.await.unwrap().unwrap();
    assert_eq!((taken.len(), office.rows().await), (1, Rows { jobs: 1, trays: 1, finished: 0 }));
    assert_eq!(taken[0].lease_id, Some(wish.lease));
}
