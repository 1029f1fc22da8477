//! Enqueueing inside the application's own transaction: the job exists exactly if the order does.

#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod common;

use std::time::Duration;

use backroom::{ErrorKind, Filter, Json, Worker};
use common::{Double, double, soon, sqlite};
use rusqlite::{Connection, TransactionBehavior};

/// The application's own connection with a table of its own.
fn application(folder: &tempfile::TempDir) -> Connection {
    let connection = Connection::open(folder.path().join("backroom.db")).unwrap();
    connection.busy_timeout(Duration::from_secs(5)).unwrap();
    connection.execute_batch("CREATE TABLE orders (number INTEGER) STRICT").unwrap();
    connection
}

fn orders(connection: &Connection) -> i64 {
    connection.query_row("SELECT count(*) FROM orders", [], |found| found.get(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_a_committed_transaction_is_run_by_a_worker_that_waits() {
    let (backroom, folder) = sqlite().await;
    let mut application = application(&folder);
    // It hardly ever polls, so what it finds was notified.
    let worker = Worker::new(&backroom).handle(double).poll(Duration::from_secs(3600)).start().await.unwrap();
    let first = backroom.enqueue(Double(1)).await.unwrap();
    assert_eq!(soon("the worker is up", first.wait()).await.unwrap(), 2);
    let transaction = application.transaction().unwrap();
    transaction.execute("INSERT INTO orders VALUES (7)", []).unwrap();
    let job = backroom.enqueue(Double(21)).within(&transaction).unwrap();
    assert!(job.is_new());
    let early = backroom.job(job.id()).await.unwrap_err();
    assert!(matches!(early.kind(), ErrorKind::NotFound), "{early}");
    transaction.commit().unwrap();
    assert_eq!(soon("the output", job.wait()).await.unwrap(), 42);
    assert_eq!(orders(&application), 1);
    soon("stop", worker.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_rolled_back_leaves_no_job() {
    let (backroom, folder) = sqlite().await;
    let mut application = application(&folder);
    let transaction = application.transaction().unwrap();
    transaction.execute("INSERT INTO orders VALUES (7)", []).unwrap();
    let job = backroom.enqueue(Double(21)).within(&transaction).unwrap();
    transaction.rollback().unwrap();
    assert_eq!(orders(&application), 0);
    assert!(matches!(job.wait().await.unwrap_err().kind(), ErrorKind::NotFound));
    assert_eq!(backroom.list(Filter::default(), None, 10).await.unwrap().jobs, []);
    soon("drain", Worker::new(&backroom).handle(double).run_until_empty()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_jobs_of_a_transaction_exist_exactly_if_it_commits() {
    let (backroom, folder) = sqlite().await;
    let mut application = application(&folder);
    let transaction = application.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    let many = backroom.enqueue_many((0..2500).map(Double)).within(&transaction).unwrap();
    assert_eq!(many.created, 2500);
    transaction.rollback().unwrap();
    assert_eq!(backroom.counts().await.unwrap(), []);
    let transaction = application.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    transaction.execute("INSERT INTO orders VALUES (7)", []).unwrap();
    assert_eq!(backroom.enqueue_many((0..2500).map(Double)).within(&transaction).unwrap().created, 2500);
    transaction.commit().unwrap();
    assert_eq!(backroom.counts().await.unwrap()[0].jobs, 2500);
    assert_eq!(orders(&application), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_jobs_of_which_one_is_refused_leave_the_transaction_as_it_was() {
    let (backroom, folder) = sqlite().await;
    let mut application = application(&folder);
    let transaction = application.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    transaction.execute("INSERT INTO orders VALUES (7)", []).unwrap();
    let large = Json::encode(&"x".repeat(2 << 20)).unwrap();
    let args = (0..1500).map(|_| Json::null()).chain([large]);
    let refused = backroom.enqueue_many_untyped("mail", args).within(&transaction).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
    assert!(refused.to_string().contains("at least 0 jobs"), "{refused}");
    transaction.commit().unwrap();
    assert_eq!(orders(&application), 1);
    assert_eq!(backroom.counts().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deferred_transaction_that_read_before_others_wrote_is_told_to_be_immediate() {
    let (backroom, folder) = sqlite().await;
    let mut application = application(&folder);
    let transaction = application.transaction().unwrap();
    let read = |transaction: &rusqlite::Transaction<'_>| {
        transaction.query_row("SELECT count(*) FROM orders", [], |found| found.get::<_, i64>(0)).unwrap()
    };
    read(&transaction);
    backroom.enqueue(Double(1)).await.unwrap();
    let refused = backroom.enqueue(Double(2)).within(&transaction).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    assert!(refused.to_string().contains("begin it again as IMMEDIATE"), "{refused}");
    drop(transaction);
    // The same order of things, as the documentation has it.
    let transaction = application.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    read(&transaction);
    let other = backroom.clone();
    let waits = tokio::spawn(async move { other.enqueue(Double(3)).await.map(|_| ()) });
    backroom.enqueue(Double(4)).within(&transaction).unwrap();
    transaction.commit().unwrap();
    waits.await.unwrap().unwrap();
    assert_eq!(backroom.counts().await.unwrap()[0].jobs, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_a_job_and_leaves_the_transaction_to_its_caller() {
    let (backroom, folder) = sqlite().await;
    backroom.limit_depth("default", Some(1)).await.unwrap();
    let mut application = application(&folder);
    let transaction = application.transaction().unwrap();
    transaction.execute("INSERT INTO orders VALUES (7)", []).unwrap();
    backroom.enqueue(Double(1)).within(&transaction).unwrap();
    let refused = backroom.enqueue(Double(2)).within(&transaction).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::QueueFull { depth: 1, limit: 1 }, "{refused}");
    transaction.commit().unwrap();
    assert_eq!(orders(&application), 1);
    assert_eq!(backroom.list(Filter::default(), None, 10).await.unwrap().jobs.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_a_transaction_run_after_others_and_are_members_of_batches() {
    let (backroom, folder) = sqlite().await;
    let mut application = application(&folder);
    let stored = backroom.enqueue(Double(1)).await.unwrap();
    let batch = backroom.open_batch().await.unwrap();
    let transaction = application.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    let first = backroom.enqueue(Double(2)).batch(&batch).within(&transaction).unwrap();
    let second =
        backroom.enqueue(Double(3)).after(&stored).after(&first).batch(&batch).within(&transaction).unwrap();
    let unknown = first.id().to_string().replace(|sign: char| sign.is_ascii_digit(), "8");
    let unknown: backroom::JobId = unknown.parse().unwrap();
    let refused = backroom.enqueue(Double(4)).after(unknown).within(&transaction).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
    transaction.commit().unwrap();
    let held = backroom.job(second.id()).await.unwrap();
    assert_eq!(held.state, backroom::State::Waiting);
    batch.close().await.unwrap();
    let worker = Worker::new(&backroom).handle(double).start().await.unwrap();
    assert_eq!(soon("the output", second.wait()).await.unwrap(), 6);
    let ended = soon("the batch ends", batch.finished()).await.unwrap();
    assert_eq!((ended.counts.completed, ended.counts.live), (2, 0));
    soon("stop", worker.stop()).await.unwrap();
}
