//! One file, several users: processes (here: stores that know nothing of each other) and the application's own tables.

#![cfg(feature = "sqlite")]

mod sqlite_support;

use std::{collections::HashSet, sync::Arc, time::Duration};

use backroom::{
    ErrorKind,
    store::{Call, Inserted, JobVerbs as _, QueueVerbs as _, ReadVerbs as _, Store},
};
use rusqlite::Connection;
use sqlite_support::{Place, commit, success};
use tokio::time::timeout;

/// Longer than any hint takes; a test that fails waits this long.
const LONG: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn another_process_hears_of_an_insert_without_polling() {
    let place = Place::new();
    let (here, there) = (place.open().await, place.open().await);
    let listener = there.notifier().subscribe_queues(&["default".into()]);
    place.insert(&here, place.job()).await;
    timeout(LONG, listener.notified()).await.expect("the other store rings");
    assert_eq!(place.claim(&there, 1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_listener_is_woken_by_what_this_process_wrote_elsewhere() {
    let place = Place::new();
    let store = place.open().await;
    let listener = store.notifier().subscribe_queues(&["other".into()]);
    place.insert(&store, place.job()).await;
    assert!(timeout(Duration::from_millis(200), listener.notified()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_never_take_the_same_job() {
    let place = Place::new();
    let stores = [place.open().await, place.open().await];
    let jobs: Vec<_> = (0..200).map(|_| place.job()).collect();
    stores[0].insert(Arc::new(jobs), place.now, Call::First).await.unwrap();
    let drain = |store| {
        let place = &place;
        async move {
            let mut taken = Vec::new();
            loop {
                let jobs = place.claim(store, 7).await;
                if jobs.is_empty() {
                    return taken;
                }
                taken.extend(jobs.iter().map(|job| job.id));
            }
        }
    };
    let (mut taken, more) = tokio::join!(drain(&stores[0]), drain(&stores[1]));
    taken.extend(more);
    assert_eq!(taken.len(), 200);
    assert_eq!(taken.into_iter().collect::<HashSet<_>>().len(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_waits_for_another_connection_and_says_so_when_it_takes_too_long() {
    let place = Place::new();
    let store = Arc::new(place.open().await);
    let other = Connection::open(place.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = store.insert(Arc::new(vec![place.job()]), place.now, Call::First).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    assert!(
        refused.to_string().contains("another connection of this process holds the write lock"),
        "{refused}"
    );
    assert!(refused.is_transient());

    // Reads go on meanwhile.
    assert_eq!(store.queues().await.unwrap(), []);
    let (waiting, job, now) = (Arc::clone(&store), place.job(), place.now);
    let insert = tokio::spawn(async move { waiting.insert(Arc::new(vec![job]), now, Call::First).await });
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(insert.await.unwrap().unwrap(), [Inserted::Created]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_exists_exactly_if_the_callers_transaction_commits() {
    use backroom::store::sqlite::SqliteStore;
    let place = Place::new();
    let store = place.open().await;
    let mut application = Connection::open(place.file()).unwrap();
    application.execute_batch("CREATE TABLE orders (id INTEGER PRIMARY KEY, what TEXT NOT NULL)").unwrap();
    let order = |application: &mut Connection, commits: bool| {
        let job = place.job();
        let id = job.job.id;
        let tx = application.transaction().unwrap();
        tx.execute("INSERT INTO orders (what) VALUES ('book')", []).unwrap();
        assert_eq!(SqliteStore::insert_in(&tx, &[job], place.now).unwrap(), [Inserted::Created]);
        if commits {
            tx.commit().unwrap()
        } else {
            tx.rollback().unwrap()
        }
        id
    };
    let dropped = order(&mut application, false);
    assert_eq!(store.job(dropped).await.unwrap(), None);
    let committed = order(&mut application, true);
    let claimed = place.claim(&store, 9).await;
    assert_eq!(claimed.iter().map(|job| job.id).collect::<Vec<_>>(), [committed]);
    commit(&store, success(&claimed[0], place.secs(1))).await;
    let orders: i64 = application.query_row("SELECT count(*) FROM orders", [], |row| row.get(0)).unwrap();
    assert_eq!(orders, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_insert_leaves_the_callers_transaction_as_it_was() {
    use backroom::store::sqlite::SqliteStore;
    let place = Place::new();
    let store = place.open().await;
    let mut application = Connection::open(place.file()).unwrap();
    let (good, mut bad) = (place.job(), place.job());
    bad.job.priority = 12;
    let tx = application.transaction().unwrap();
    tx.execute_batch("CREATE TABLE notes (line TEXT); INSERT INTO notes VALUES ('a note')").unwrap();
    let refused = SqliteStore::insert_in(&tx, &[good.clone(), bad], place.now).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Internal, "{refused}");
    tx.commit().unwrap();
    assert_eq!(store.job(good.job.id).await.unwrap(), None);
    let notes: i64 = application.query_row("SELECT count(*) FROM notes", [], |row| row.get(0)).unwrap();
    assert_eq!(notes, 1);
}

#[test]
fn an_insert_into_a_database_without_our_tables_says_what_to_do() {
    use backroom::store::sqlite::SqliteStore;
    let place = Place::new();
    let mut application = Connection::open(place.file()).unwrap();
    let tx = application.transaction().unwrap();
    let refused = SqliteStore::insert_in(&tx, &[place.job()], place.now).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unusable);
    assert!(refused.to_string().contains("open the file once with SqliteStore::open"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_operations_at_once_only_the_bad_one_fails() {
    let place = Place::new();
    let store = Arc::new(place.open().await);
    let mut calls = Vec::new();
    for n in 0..200 {
        let mut job = place.job();
        if n % 50 == 7 {
            job.job.priority = 12;
        }
        let (store, now) = (Arc::clone(&store), place.now);
        calls.push(tokio::spawn(
            async move { (n, store.insert(Arc::new(vec![job]), now, Call::First).await) },
        ));
    }
    for call in calls {
        let (n, answer) = call.await.unwrap();
        assert_eq!(answer.is_err(), n % 50 == 7, "{n}: {answer:?}");
    }
    assert_eq!(store.counts(place.now).await.unwrap()[0].jobs, 196);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_dropped_finishes_what_it_accepted() {
    let place = Place::new();
    let store = place.open().await;
    let job = place.job();
    let id = job.job.id;
    let jobs = Arc::new(vec![job]);
    {
        // Sent when first polled, never waited for.
        let mut insert = store.insert(jobs, place.now, Call::First);
        std::future::poll_fn(|context| {
            _ = insert.as_mut().poll(context);
            std::task::Poll::Ready(())
        })
        .await;
    }
    drop(store);
    let store = place.open().await;
    let found = timeout(LONG, async {
        while store.job(id).await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
    });
    found.await.expect("the job is stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_folds_the_log_back_into_the_file() {
    let place = Place::new();
    let store = place.open().await;
    for _ in 0..20 {
        place.insert(&store, place.job()).await;
    }
    store.close().await.unwrap();
    drop(store);
    let log = place.folder().join("jobs.db-wal");
    assert!(std::fs::metadata(log).map_or(0, |found| found.len()) == 0);
    let copy = place.folder().join("copy.db");
    std::fs::copy(place.file(), &copy).unwrap();
    let jobs: i64 = Connection::open(copy)
        .unwrap()
        .query_row("SELECT count(*) FROM backroom_jobs", [], |row| row.get(0))
        .unwrap();
    assert_eq!(jobs, 20);
}
