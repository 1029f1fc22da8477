//! Enqueueing inside a transaction of sqlx on SQLite: the job exists exactly if the order does.

#![cfg(feature = "sqlx-sqlite")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod common;
mod sqlite_support;

use std::{sync::Arc, time::Duration};

use backroom::{
    ErrorKind, Filter, RetryPolicy, State, UniqueRule, Worker,
    core::draft::{NewJob, When},
    store::{Call, Inserted, JobVerbs as _, Store, sqlite::SqliteStore},
};
use common::{Double, double, soon, sqlite};
use rusqlite::{Connection, types::Value};
use sqlite_support::Place;
use sqlx::SqlitePool;

async fn shop(path: &std::path::Path) -> SqlitePool {
    let shop = SqlitePool::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    sqlx::query("CREATE TABLE IF NOT EXISTS orders (number INTEGER) STRICT").execute(&shop).await.unwrap();
    shop
}

async fn orders(shop: &SqlitePool) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(shop).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_a_committed_transaction_is_run_by_a_worker_that_waits() {
    let (backroom, folder) = sqlite().await;
    let shop = shop(&folder.path().join("backroom.db")).await;
    let worker = Worker::new(&backroom).handle(double).poll(Duration::from_secs(3600)).start().await.unwrap();
    let mut transaction = shop.begin_with("BEGIN IMMEDIATE").await.unwrap();
    sqlx::query("INSERT INTO orders VALUES (7)").execute(&mut *transaction).await.unwrap();
    let job = backroom.enqueue(Double(21)).within_sqlx_sqlite(&mut transaction).await.unwrap();
    assert!(matches!(backroom.job(job.id()).await.unwrap_err().kind(), ErrorKind::NotFound));
    transaction.commit().await.unwrap();
    assert_eq!(soon("the output", job.wait()).await.unwrap(), 42);
    assert_eq!(orders(&shop).await, 1);
    soon("stop", worker.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_rolled_back_leaves_no_job_nor_does_a_savepoint() {
    let (backroom, folder) = sqlite().await;
    let shop = shop(&folder.path().join("backroom.db")).await;
    let mut transaction = shop.begin_with("BEGIN IMMEDIATE").await.unwrap();
    backroom.enqueue(Double(1)).within_sqlx_sqlite(&mut transaction).await.unwrap();
    drop(transaction);
    let mut outer = shop.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let second = backroom.enqueue(Double(2)).within_sqlx_sqlite(&mut outer).await.unwrap();
    let mut inner = sqlx::Acquire::begin(&mut *outer).await.unwrap();
    let many = backroom.enqueue_many((0..1500).map(Double)).within_sqlx_sqlite(&mut inner).await.unwrap();
    assert_eq!(many.created, 1500);
    inner.rollback().await.unwrap();
    outer.commit().await.unwrap();
    let jobs = backroom.list(Filter::default(), None, 10).await.unwrap().jobs;
    assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [second.id()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deferred_transaction_that_read_before_others_wrote_is_told_to_be_immediate() {
    let (backroom, folder) = sqlite().await;
    let shop = shop(&folder.path().join("backroom.db")).await;
    let mut transaction = shop.begin().await.unwrap();
    sqlx::query("SELECT count(*) FROM orders").fetch_all(&mut *transaction).await.unwrap();
    backroom.enqueue(Double(1)).await.unwrap();
    let refused = backroom.enqueue(Double(2)).within_sqlx_sqlite(&mut transaction).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    assert!(refused.to_string().contains("BEGIN IMMEDIATE"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_our_tables_is_told_what_to_do() {
    let (backroom, folder) = sqlite().await;
    let url = format!("sqlite:{}?mode=rwc", folder.path().join("other.db").display());
    let other = SqlitePool::connect(&url).await.unwrap();
    let mut transaction = other.begin().await.unwrap();
    let refused = backroom.enqueue(Double(2)).within_sqlx_sqlite(&mut transaction).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unusable, "{refused}");
    assert!(refused.to_string().contains("open the file once"), "{refused}");
}

/// Jobs with everything that a row can hold, and each kind of conflict over a unique key.
fn jobs(place: &Place) -> Vec<NewJob> {
    let keyed = |rule: UniqueRule, tag: &str| {
        let mut draft = place.draft();
        draft.unique = Some(rule);
        draft.tags = vec![tag.into(), "all".into()];
        place.checked(draft)
    };
    let mut full = place.draft();
    full.lane = Some("tenant".into());
    full.priority = 2;
    full.tags = vec!["a".into(), "b".into()];
    full.extras.meta = [("k".to_owned(), "v".to_owned())].into();
    full.expiry = Some(When::In(Duration::from_secs(60)));
    full.extras.timeout = Some(Duration::from_secs(5));
    full.extras.retry = Some(RetryPolicy::default());
    let rule = || UniqueRule::by_key("k");
    vec![
        place.job(),
        place.checked(full),
        keyed(rule(), "first"),
        keyed(rule(), "second"),
        keyed(rule().replace(), "replaced"),
        keyed(rule().reject(), "rejected"),
        keyed(UniqueRule::by_key("w").within(Duration::from_secs(30)), "window"),
        keyed(UniqueRule::by_key("w").within(Duration::from_secs(30)), "in the window"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn both_drivers_write_the_same_rows_and_give_the_same_answers() {
    let (one, two) = (Place::new(), Place::new());
    let (by_rusqlite, by_sqlx) = (one.open().await, two.open().await);
    let jobs = jobs(&one);
    let shop = shop(&two.file()).await;
    // Once more are the same jobs; after the window its key is free.
    for (jobs, now) in [(jobs.clone(), one.now), (jobs.clone(), one.now), (vec![late(&one)], one.secs(60))] {
        let answers = by_rusqlite.insert(Arc::new(jobs.clone()), now, Call::First).await.unwrap();
        let mut transaction = shop.begin_with("BEGIN IMMEDIATE").await.unwrap();
        assert_eq!(SqliteStore::insert_in_sqlx(&mut transaction, &jobs, now).await.unwrap(), answers);
        transaction.commit().await.unwrap();
        if jobs.len() > 1 {
            assert!(matches!(
                answers[2..],
                [
                    Inserted::Created,
                    Inserted::Duplicate(_),
                    Inserted::Replaced(_),
                    Inserted::KeyHeld(_),
                    Inserted::Created,
                    Inserted::Duplicate(_)
                ]
            ));
        } else {
            assert_eq!(answers, [Inserted::Created]);
        }
    }
    for table in ["backroom_jobs", "backroom_tags", "backroom_queues"] {
        assert_eq!(rows(&one, table), rows(&two, table), "{table}");
    }
    by_sqlx.close().await.unwrap();
}

/// Wants the key whose window has passed.
fn late(place: &Place) -> NewJob {
    let mut draft = place.draft();
    draft.unique = Some(UniqueRule::by_key("w").within(Duration::from_secs(30)));
    draft.check(place.ids.job(place.secs(60)), place.secs(60), 1 << 20).unwrap()
}

/// Every value of every row, with its type.
fn rows(place: &Place, table: &str) -> Vec<Vec<Value>> {
    let connection = Connection::open(place.file()).unwrap();
    let mut select = connection.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2")).unwrap();
    let columns = select.column_count();
    let rows = select.query_map([], |row| (0..columns).map(|column| row.get(column)).collect());
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_key_is_answered_as_outside_of_a_transaction() {
    let (backroom, folder) = sqlite().await;
    let shop = shop(&folder.path().join("backroom.db")).await;
    let first = backroom.enqueue(Double(1)).unique(UniqueRule::by_args()).await.unwrap();
    let mut transaction = shop.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let second = backroom
        .enqueue(Double(1))
        .unique(UniqueRule::by_args())
        .within_sqlx_sqlite(&mut transaction)
        .await
        .unwrap();
    assert!(!second.is_new());
    assert_eq!(second.id(), first.id());
    let other = backroom
        .enqueue(Double(2))
        .unique(UniqueRule::by_args())
        .within_sqlx_sqlite(&mut transaction)
        .await
        .unwrap();
    assert!(other.is_new());
    transaction.commit().await.unwrap();
    assert_eq!(backroom.job(other.id()).await.unwrap().state, State::Queued);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unique_key_held_by_a_job_of_a_newer_program_is_held() {
    let (backroom, folder) = sqlite().await;
    let shop = shop(&folder.path().join("backroom.db")).await;
    let holder = backroom.enqueue(Double(1)).unique(UniqueRule::by_key("k")).await.unwrap();
    sqlx::query(r#"UPDATE backroom_jobs SET extras = '{"v":2,"reply_to":"mail"}'"#)
        .execute(&shop)
        .await
        .unwrap();
    let mut transaction = shop.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let again = backroom
        .enqueue(Double(1))
        .unique(UniqueRule::by_key("k"))
        .within_sqlx_sqlite(&mut transaction)
        .await;
    assert_eq!(again.unwrap().id(), holder.id());
}

#[tokio::test]
async fn jobs_of_a_transaction_run_after_others_and_are_members_of_batches() {
    let (backroom, folder) = sqlite().await;
    let shop = shop(&folder.path().join("backroom.db")).await;
    common::linked_within!(
        backroom,
        begin shop.begin_with("BEGIN IMMEDIATE").await.unwrap(),
        within_sqlx_sqlite(|transaction| &mut transaction)
    );
    let url = format!("sqlite:{}?mode=rwc", folder.path().join("other.db").display());
    let other = SqlitePool::connect(&url).await.unwrap();
    let mut transaction = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let unknown = backroom::JobId(uuid::Uuid::from_u128(7));
    let linked = backroom.enqueue(Double(1)).after(unknown).within_sqlx_sqlite(&mut transaction);
    let refused = linked.await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unusable, "{refused}");
}
