//! Opening by URL, and enqueueing inside a transaction of the caller, on the tests' PostgreSQL server.
#![cfg(feature = "postgres")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;
mod postgres_support;

use backroom::{Backroom, ErrorKind, Json, UniqueRule, Worker};
use common::{Double, double, soon};
use postgres_support::{Place, client, with};

async fn open(place: &Place) -> Backroom {
    Backroom::open(&place.url()).await.unwrap()
}

async fn jobs(backroom: &Backroom) -> u64 {
    backroom.counts().await.unwrap().iter().map(|count| count.jobs).sum()
}

#[tokio::test]
async fn a_client_opened_by_url_runs_jobs_by_the_databases_time() {
    let place = Place::new();
    for scheme in ["postgres", "postgresql"] {
        let url = place.url();
        let url = format!("{scheme}://{}", url.split_once("://").unwrap().1);
        let backroom = Backroom::open(&url).await.unwrap();
        let worker = Worker::new(&backroom).queue("default", 2).handle(double).start().await.unwrap();
        let job = backroom.enqueue(Double(21)).await.unwrap();
        assert_eq!(soon("the job", job.wait()).await.unwrap(), 42);
        worker.stop().await.unwrap();
        let row = client(&place.server).await.query_one("SELECT clock_timestamp()::text", &[]).await.unwrap();
        let there: backroom::Timestamp = row.get::<_, &str>(0).parse().unwrap();
        let apart = backroom.clock().now().duration_since(there).abs();
        assert!(apart.as_secs() < 1, "{apart:?}");
        backroom.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_job_rolled_back_with_the_callers_transaction_never_was() {
    let place = Place::new();
    let backroom = open(&place).await;
    let mut client = client(&place.server).await;
    let transaction = client.transaction().await.unwrap();
    let job = backroom.enqueue(Double(1)).within_postgres(&transaction).await.unwrap();
    assert!(job.is_new());
    assert_eq!(job.status().await.unwrap_err().kind(), ErrorKind::NotFound);
    transaction.rollback().await.unwrap();
    assert_eq!(job.status().await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(jobs(&backroom).await, 0);
}

#[tokio::test]
async fn a_job_committed_with_the_callers_transaction_runs() {
    let place = Place::new();
    let backroom = open(&place).await;
    let mut own = place.client().await;
    own.batch_execute(&format!("CREATE TABLE {}.orders (id int)", place.schema)).await.unwrap();
    let worker = Worker::new(&backroom).queue("default", 2).handle(double).start().await.unwrap();
    let transaction = own.transaction().await.unwrap();
    transaction.execute("INSERT INTO orders VALUES (1)", &[]).await.unwrap();
    let job = backroom.enqueue(Double(4)).tag("order").within_postgres(&transaction).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(soon("the job", job.wait()).await.unwrap(), 8);
    assert_eq!(job.status().await.unwrap().tags, ["order"]);
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_unique_key_is_kept_inside_a_callers_transaction_too() {
    let place = Place::new();
    let backroom = open(&place).await;
    let first = backroom.enqueue(Double(1)).unique(UniqueRule::by_key("k")).await.unwrap();
    let mut client = client(&place.server).await;
    let transaction = client.transaction().await.unwrap();
    let same = backroom.enqueue(Double(2)).unique(UniqueRule::by_key("k")).within_postgres(&transaction);
    let same = same.await.unwrap();
    assert_eq!((same.id(), same.is_new()), (first.id(), false));
    transaction.commit().await.unwrap();
    assert_eq!(jobs(&backroom).await, 1);
}

#[tokio::test]
async fn many_jobs_are_in_the_callers_transaction_or_nowhere() {
    let place = Place::new();
    let backroom = open(&place).await;
    let mut client = client(&place.server).await;
    for (commits, stored) in [(false, 0), (true, 2500)] {
        let transaction = client.transaction().await.unwrap();
        let many = backroom.enqueue_many((0..2500).map(Double)).tag("newsletter");
        let sum = many.within_postgres(&transaction).await.unwrap();
        assert_eq!(sum.created, 2500);
        if commits {
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
        }
        assert_eq!(jobs(&backroom).await, stored);
    }
}

#[tokio::test]
async fn a_store_that_is_no_postgresql_refuses_its_transactions() {
    let place = Place::new();
    let backroom = Backroom::open("memory:").await.unwrap();
    let mut client = client(&place.server).await;
    let transaction = client.transaction().await.unwrap();
    let refused = backroom.enqueue_untyped("k", Json::null()).within_postgres(&transaction).await;
    assert_eq!(refused.err().unwrap().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn looking_at_the_version_creates_nothing() {
    let place = Place::new();
    assert_eq!(backroom::store::version(&place.url()).await.unwrap(), 0);
    let row = client(&place.server)
        .await
        .query_one("SELECT count(*) FROM pg_namespace WHERE nspname = $1", &[&place.schema])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), 0);
    open(&place).await;
    let newest = backroom::store::migrations(&place.url()).unwrap().last().unwrap().version;
    assert_eq!(backroom::store::version(&place.url()).await.unwrap(), newest);
}

#[tokio::test]
async fn migrations_run_by_hand_make_a_store() {
    let place = Place::new();
    let url = place.url();
    let client = client(&place.server).await;
    for migration in backroom::store::migrations(&url).unwrap() {
        client.batch_execute(&format!("BEGIN; {} COMMIT", migration.sql)).await.unwrap();
    }
    let backroom = Backroom::open(&with(&url, "migrate=false")).await.unwrap();
    backroom.enqueue(Double(1)).await.unwrap();
}
