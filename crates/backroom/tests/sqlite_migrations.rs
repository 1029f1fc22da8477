//! A file of every version that was ever published becomes one of today with all that was in it.

#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod sqlite_support;

use std::{fs, path::Path, sync::Arc};

use backroom::{
    Filter, State,
    store::{Committed, LeaseStatus, Store},
};
use rusqlite::Connection;
use sqlite_support::{Place, commit, lease, success};

/// `version_N.sql`: what `sqlite3 FILE .dump` printed of a file of version N. A new version brings a new one.
fn dump_of(version: u32) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sqlite_schemas");
    let path = folder.join(format!("version_{version}.sql"));
    fs::read_to_string(&path)
        .unwrap_or_else(|_| panic!("add {}: a dump of a file of the new version", path.display()))
}

#[tokio::test]
async fn every_version_migrates_to_the_newest_and_keeps_every_job() {
    let newest = Place::new().open().await.health().await.unwrap().schema;
    for version in 1..=newest {
        let place = Place::new();
        Connection::open(place.file()).unwrap().execute_batch(&dump_of(version)).unwrap();
        let store = place.open().await;
        let health = store.health().await.unwrap();
        assert_eq!(health.schema, newest);
        assert!(health.checks.iter().all(|check| check.ok), "{health:?}");
        keeps_every_job(&place, &store).await;
        store.close().await.unwrap();
        place.open().await;
    }
}

async fn keeps_every_job(place: &Place, store: &dyn Store) {
    for state in State::ALL {
        let filter = Filter { states: vec![state], ..Filter::default() };
        let jobs = store.list(Arc::new(filter), None, 9).await.unwrap();
        assert_eq!(jobs.len(), 1, "{state}");
    }
    let red = Filter { tag: Some("red".into()), ..Filter::default() };
    let red = store.list(Arc::new(red), None, 9).await.unwrap();
    assert_eq!(red.iter().map(|job| job.state).collect::<Vec<_>>(), [State::Discarded, State::Running]);
    let (discarded, running) = (&red[0], &red[1]);
    assert_eq!(store.attempts(discarded.id).await.unwrap()[0].error, "boom");
    assert_eq!(store.logs(running.id, 0, 9).await.unwrap()[0].line, "hello");
    let queues = store.queues().await.unwrap();
    assert_eq!(queues[1].paused_at, Some(place.secs(3)));
    assert_eq!(queues[1].retention.completed.count, Some(10));
    assert_eq!(store.workers(place.now).await.unwrap()[0].queues, [("default".to_owned(), 4)]);
    // Runs that began before the migration end after it.
    let leases = Arc::new(vec![(running.id, lease(running))]);
    assert_eq!(store.lease_status(leases).await.unwrap(), [LeaseStatus::Held]);
    assert_eq!(commit(store, success(running, place.secs(5))).await, Committed::Done);
    let claimed = place.claim(store, 9).await;
    assert_eq!(claimed.len(), 1);
    assert_eq!(commit(store, success(&claimed[0], place.secs(5))).await, Committed::Done);
}

#[tokio::test]
async fn the_newest_dump_is_what_a_new_file_looks_like() {
    let place = Place::new();
    let store = place.open().await;
    let newest = store.health().await.unwrap().schema;
    store.close().await.unwrap();
    let dumped = Connection::open_in_memory().unwrap();
    dumped.execute_batch(&dump_of(newest)).unwrap();
    let schema = |connection: &Connection| {
        let mut select = connection.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name").unwrap();
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.collect::<Result<Vec<(String, Option<String>)>, _>>().unwrap()
    };
    assert_eq!(schema(&dumped), schema(&Connection::open(place.file()).unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_processes_may_migrate_at_once() {
    let place = Arc::new(Place::new());
    let mut opening = Vec::new();
    for _ in 0..8 {
        let place = Arc::clone(&place);
        opening.push(tokio::spawn(async move { place.open().await }));
    }
    for opened in opening {
        opened.await.unwrap().close().await.unwrap();
    }
}
