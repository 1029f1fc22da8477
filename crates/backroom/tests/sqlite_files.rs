//! Which files the SQLite store opens, and what it says of those that it does not.

#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod sqlite_support;

use backroom::store::{Call, JobVerbs as _, ReadVerbs as _};
use std::{fs, path::Path, sync::Arc};

use backroom::{
    Error, ErrorKind, Filter,
    store::{
        Inserted, Store,
        sqlite::{SqliteOptions, SqliteStore},
    },
};
use rusqlite::Connection;
use sqlite_support::Place;

async fn refused(path: impl AsRef<Path>) -> Error {
    SqliteStore::open(path, SqliteOptions::default()).await.expect_err("the file must be refused")
}

#[tokio::test]
async fn a_path_that_cannot_be_meant_is_invalid_and_the_remedy_is_named() {
    let place = Place::new();
    for (path, remedy) in [
        (":memory:".into(), "memory store"),
        ("".into(), "name a file"),
        ("file:x?mode=memory".into(), "memory store"),
        (place.folder(), "name a file in it"),
        (place.folder().join("missing/jobs.db"), "create it first"),
    ] {
        let error = refused(&path).await;
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains(remedy), "{error}");
    }
    let missing = place.folder().join("missing");
    let error = refused(missing.join("jobs.db")).await;
    assert!(error.to_string().contains(&missing.display().to_string()), "{error}");
}

#[tokio::test]
async fn a_file_that_is_something_else_is_refused_and_left_alone() {
    let place = Place::new();
    for content in [&b"a"[..], b"a letter to a friend", &[0; 4096]] {
        fs::write(place.file(), content).unwrap();
        let error = refused(place.file()).await;
        assert_eq!(error.kind(), ErrorKind::Unusable, "{error}");
        assert!(error.to_string().contains("is not a SQLite database"), "{error}");
        assert_eq!(fs::read(place.file()).unwrap(), content);
    }
}

#[tokio::test]
async fn an_empty_file_becomes_a_store() {
    let place = Place::new();
    fs::write(place.file(), "").unwrap();
    place.insert(&place.open().await, place.job()).await;
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused_with_what_to_do() {
    let place = Place::new();
    place.open().await.close().await.unwrap();
    let connection = Connection::open(place.file()).unwrap();
    connection.execute("INSERT INTO backroom_schema VALUES (999, 'future')", []).unwrap();
    drop(connection);
    let error = refused(place.file()).await;
    assert_eq!(error.kind(), ErrorKind::Unusable);
    assert!(error.to_string().contains("999") && error.to_string().contains("update the program"), "{error}");
}

#[tokio::test]
async fn a_damaged_file_is_refused_or_answers_with_errors_and_never_panics() {
    let place = Place::new();
    let store = place.open().await;
    let jobs = (0..300).map(|_| place.job()).collect();
    store.insert(Arc::new(jobs), place.now, Call::First).await.unwrap();
    store.close().await.unwrap();
    let whole = fs::read(place.file()).unwrap();
    let pages = whole.len() / 8192;
    assert!(pages > 10);
    let mut refusals = 0;
    for page in 0..pages {
        let mut damaged = whole.clone();
        // The first page and its file header stay, so that it still seems to be a database.
        let from = page * 8192 + if page == 0 { 100 } else { 0 };
        damaged[from..(page + 1) * 8192].fill(0xa5);
        fs::write(place.file(), &damaged).unwrap();
        refusals += usize::from(survives(&place).await);
    }
    // Cut off in the middle.
    fs::write(place.file(), &whole[..whole.len() / 2]).unwrap();
    assert!(survives(&place).await);
    assert!(refusals > pages / 2, "{refusals} of {pages}");
}

/// Uses a damaged file; whether anything was refused.
async fn survives(place: &Place) -> bool {
    let store = match SqliteStore::open(place.file(), SqliteOptions::default()).await {
        Ok(store) => store,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unusable, "{error}");
            return true;
        }
    };
    let mut errors = Vec::new();
    errors.extend(store.list(Arc::new(Filter::default()), None, 1000).await.err());
    errors.extend(store.claim(Arc::new(place.wish(1000)), place.now, Call::First).await.err());
    errors.extend(store.insert(Arc::new(vec![place.job()]), place.now, Call::First).await.err());
    errors.extend(store.counts(place.now).await.err());
    let health = store.health().await;
    let found = health.as_ref().is_ok_and(|health| health.checks.iter().any(|check| !check.ok));
    errors.extend(health.err());
    store.close().await.unwrap();
    for error in &errors {
        assert_eq!(error.kind(), ErrorKind::Unusable, "{error}");
    }
    found || !errors.is_empty()
}

#[tokio::test]
async fn a_missing_table_is_refused_when_the_file_is_opened() {
    let place = Place::new();
    place.open().await.close().await.unwrap();
    Connection::open(place.file()).unwrap().execute_batch("DROP TABLE backroom_logs").unwrap();
    assert_eq!(refused(place.file()).await.kind(), ErrorKind::Unusable);
}

#[tokio::test]
async fn a_value_that_we_never_write_is_an_error_that_names_the_store() {
    let place = Place::new();
    let store = place.open().await;
    let id = place.insert(&store, place.job()).await;
    let connection = Connection::open(place.file()).unwrap();
    connection.execute("UPDATE backroom_jobs SET args = '{oops'", []).unwrap();
    let error = store.job(id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unusable, "{error}");
    assert!(error.to_string().contains("jobs.db"), "{error}");
    // A row that core could never have made is refused by the table itself.
    assert!(connection.execute("UPDATE backroom_jobs SET state = 'running'", []).is_err());
    assert!(connection.execute("UPDATE backroom_jobs SET priority = 10", []).is_err());
    assert!(connection.execute("UPDATE backroom_jobs SET state = 'completed'", []).is_err());
}

/// Options that leave the store at `place` few pages besides those of its empty tables.
async fn nearly_full(place: &Place) -> SqliteOptions {
    place.open().await.close().await.unwrap();
    let connection = Connection::open(place.file()).unwrap();
    let empty: u32 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    let mut options = SqliteOptions::default();
    options.pages_max = Some(empty + 10);
    options
}

#[tokio::test]
async fn a_full_disk_is_said_loses_nothing_and_passes() {
    let place = Place::new();
    let options = nearly_full(&place).await;
    let store = SqliteStore::open(place.file(), options).await.unwrap();
    let mut ids = Vec::new();
    let error = loop {
        let job = place.job();
        let id = job.job.id;
        match store.insert(Arc::new(vec![job]), place.now, Call::First).await {
            Ok(inserted) => {
                assert_eq!(inserted, [Inserted::Created]);
                ids.push(id);
            }
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    assert!(error.to_string().contains("make room"), "{error}");
    let stored = |store: Arc<SqliteStore>| async move {
        let all = store.list(Arc::new(Filter::default()), None, 100_000).await.unwrap();
        all.into_iter().rev().map(|job| job.id).collect::<Vec<_>>()
    };
    let store = Arc::new(store);
    assert_eq!(stored(Arc::clone(&store)).await, ids);
    // Pages are free again when a job is deleted.
    for id in ids.drain(..ids.len() / 2) {
        store.delete(id, backroom::Timestamp::UNIX_EPOCH).await.unwrap();
    }
    ids.push(place.insert(&*store, place.job()).await);
    assert_eq!(stored(Arc::clone(&store)).await, ids);
    store.close().await.unwrap();
    let store = Arc::new(place.open().await);
    ids.push(place.insert(&*store, place.job()).await);
    assert_eq!(stored(Arc::clone(&store)).await, ids);
    assert!(store.health().await.unwrap().checks.iter().all(|check| check.ok));
}

#[tokio::test]
async fn an_insert_too_large_for_the_disk_fails_alone() {
    let place = Place::new();
    let options = nearly_full(&place).await;
    let store = Arc::new(SqliteStore::open(place.file(), options).await.unwrap());
    let large: Vec<_> = (0..5000).map(|_| place.job()).collect();
    let small = place.job();
    let (large, small) = tokio::join!(
        store.insert(Arc::new(large), place.now, Call::First),
        store.insert(Arc::new(vec![small]), place.now, Call::First)
    );
    assert_eq!(large.unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!(small.unwrap(), [Inserted::Created]);
    assert_eq!(store.list(Arc::new(Filter::default()), None, 10).await.unwrap().len(), 1);
}
