//! Enqueueing inside a transaction of sqlx: the job exists exactly if the order does.
#![cfg(feature = "sqlx")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;
mod postgres_support;

use std::str::FromStr;

use backroom::{Backroom, Error, ErrorKind, Filter, JobRow, Json, UniqueRule, Worker};
use common::{Double, double, soon, sqlite};
use postgres_support::{Place, client};
use sqlx::{
    Connection, PgConnection, PgPool, Postgres, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions},
};

async fn open(place: &Place) -> Backroom {
    Backroom::open(&place.url()).await.unwrap()
}

/// An application with a table of its own in the same database.
async fn shop(place: &Place) -> PgPool {
    let there = PgConnectOptions::from_str(&place.server).unwrap().options([("search_path", &place.schema)]);
    let pool = PgPoolOptions::new().max_connections(2).connect_with(there).await.unwrap();
    sqlx::query("CREATE TABLE orders (number int)").execute(&pool).await.unwrap();
    pool
}

async fn order(transaction: &mut Transaction<'_, Postgres>, number: i32) {
    let insert = sqlx::query("INSERT INTO orders VALUES ($1)").bind(number);
    insert.execute(&mut **transaction).await.unwrap();
}

async fn orders(shop: &PgPool) -> Vec<i32> {
    sqlx::query_scalar("SELECT number FROM orders ORDER BY number").fetch_all(shop).await.unwrap()
}

/// All jobs, the newest first.
async fn jobs(backroom: &Backroom) -> Vec<JobRow> {
    backroom.list(Filter::default(), None, 1000).await.unwrap().jobs
}

async fn count(backroom: &Backroom) -> u64 {
    backroom.counts().await.unwrap().iter().map(|count| count.jobs).sum()
}

/// The error and what caused it.
fn text_of(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}

#[tokio::test]
async fn neither_order_nor_job_is_there_after_a_rollback() {
    let place = Place::new();
    let (backroom, shop) = (open(&place).await, shop(&place).await);
    let mut transaction = shop.begin().await.unwrap();
    order(&mut transaction, 1).await;
    let job = backroom.enqueue(Double(1)).within_sqlx(&mut transaction).await.unwrap();
    assert!(job.is_new());
    assert_eq!(job.status().await.unwrap_err().kind(), ErrorKind::NotFound, "not before the commit");
    transaction.rollback().await.unwrap();
    assert_eq!(job.status().await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(orders(&shop).await, [] as [i32; 0]);
    assert_eq!(jobs(&backroom).await, []);
}

#[tokio::test]
async fn a_transaction_that_is_dropped_leaves_no_job() {
    let place = Place::new();
    let (backroom, shop) = (open(&place).await, shop(&place).await);
    let mut connection = shop.acquire().await.unwrap();
    let mut transaction = connection.begin().await.unwrap();
    backroom.enqueue(Double(1)).within_sqlx(&mut transaction).await.unwrap();
    drop(transaction);
    // The driver rolls back before it says anything else.
    connection.ping().await.unwrap();
    assert_eq!(count(&backroom).await, 0);
}

#[tokio::test]
async fn order_and_job_of_a_committed_transaction_are_both_there_and_the_job_runs_once() {
    let place = Place::new();
    let (backroom, shop) = (open(&place).await, shop(&place).await);
    let worker = Worker::new(&backroom).queue("receipts", 2).handle(double).start().await.unwrap();
    let mut transaction = shop.begin().await.unwrap();
    order(&mut transaction, 7).await;
    let receipt = backroom.enqueue(Double(21)).queue("receipts").tag("order").meta("number", "7");
    let job = receipt.within_sqlx(&mut transaction).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(soon("the job", job.wait()).await.unwrap(), 42);
    worker.stop().await.unwrap();
    assert_eq!(orders(&shop).await, [7]);
    let jobs = jobs(&backroom).await;
    assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [job.id()]);
    assert_eq!((jobs[0].attempt, &jobs[0].tags[..]), (1, &["order".to_owned()][..]));
}

#[tokio::test]
async fn what_a_spawned_task_enqueues_may_wait_on_any_thread() {
    let place = Place::new();
    let (backroom, shop) = (open(&place).await, shop(&place).await);
    let task = {
        let backroom = backroom.clone();
        tokio::spawn(async move {
            let mut transaction = shop.begin().await.unwrap();
            backroom.enqueue(Double(1)).within_sqlx(&mut transaction).await.unwrap();
            backroom.enqueue_many([Double(2)]).within_sqlx(&mut transaction).await.unwrap();
            transaction.commit().await.unwrap();
        })
    };
    task.await.unwrap();
    assert_eq!(count(&backroom).await, 2);
}

#[tokio::test]
async fn a_unique_key_is_kept_rejected_and_replaced_inside_the_transaction() {
    let place = Place::new();
    let (backroom, shop) = (open(&place).await, shop(&place).await);
    let first = backroom.enqueue(Double(1)).unique(UniqueRule::by_key("k")).await.unwrap();
    let mut transaction = shop.begin().await.unwrap();

    let same = backroom.enqueue(Double(2)).unique(UniqueRule::by_key("k"));
    let same = same.within_sqlx(&mut transaction).await.unwrap();
    assert_eq!((same.id(), same.is_new()), (first.id(), false));

    let rejected = backroom.enqueue(Double(3)).unique(UniqueRule::by_key("k").reject());
    let rejected = rejected.within_sqlx(&mut transaction).await.err().unwrap();
    assert_eq!(rejected.kind(), ErrorKind::KeyHeld { holder: first.id() });

    // That was an answer, not a failure of the transaction.
    let replaced = backroom.enqueue(Double(4)).unique(UniqueRule::by_key("k").replace()).priority(2);
    let replaced = replaced.within_sqlx(&mut transaction).await.unwrap();
    assert_eq!((replaced.id(), replaced.is_new()), (first.id(), false));

    assert_eq!(first.status().await.unwrap().args.as_str(), "1", "not before the commit");
    transaction.commit().await.unwrap();
    let jobs = jobs(&backroom).await;
    assert_eq!(jobs.len(), 1);
    assert_eq!((jobs[0].args.as_str(), jobs[0].priority, jobs[0].revision), ("4", 2, 1));
}

#[tokio::test]
async fn a_unique_key_taken_in_a_transaction_is_held_in_it_and_free_after_a_rollback() {
    let place = Place::new();
    let (backroom, shop) = (open(&place).await, shop(&place).await);
    for commits in [false, true] {
        let mut transaction = shop.begin().await.unwrap();
        let first = backroom.enqueue(Double(1)).unique(UniqueRule::by_key("k"));
        let first = first.within_sqlx(&mut transaction).await.unwrap();
        assert!(first.is_new());
        let second = backroom.enqueue(Double(2)).unique(UniqueRule::by_key("k"));
        let second = second.within_sqlx(&mut transaction).await.unwrap();
        assert_eq!((second.id(), second.is_new()), (first.id(), false));
        if commits {
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
        }
        assert_eq!(count(&backroom).await, u64::from(commits));
    }
}

#[tokio::test]
async fn thousands_of_jobs_are_enqueued_in_one_transaction_or_none() {
    let place = Place::new();
    let (backroom, shop) = (open(&place).await, shop(&place).await);
    for (commits, stored) in [(false, 0), (true, 4500)] {
        let mut transaction = shop.begin().await.unwrap();
        order(&mut transaction, 1).await;
        let many = backroom.enqueue_many((0..4500).map(Double)).queue("mail").tag("newsletter");
        let sum = many.within_sqlx(&mut transaction).await.unwrap();
        assert_eq!((sum.created, sum.duplicates, sum.replaced, sum.key_held), (4500, 0, 0, 0));
        if commits {
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
        }
        assert_eq!(count(&backroom).await, stored);
    }
    assert_eq!(orders(&shop).await, [1]);
}

#[tokio::test]
async fn many_jobs_answer_how_many_keys_were_held() {
    let place = Place::new();
    let (backroom, shop) = (open(&place).await, shop(&place).await);
    backroom.enqueue(Double(3)).unique(UniqueRule::by_args()).await.unwrap();
    let mut transaction = shop.begin().await.unwrap();
    for (rule, same, replaced, key_held) in [
        (UniqueRule::by_args(), 1, 0, 0),
        (UniqueRule::by_args().replace(), 0, 5, 0),
        (UniqueRule::by_args().reject(), 0, 0, 5),
    ] {
        let many = backroom.enqueue_many((0..5).map(Double)).unique(rule);
        let sum = many.within_sqlx(&mut transaction).await.unwrap();
        assert_eq!((sum.duplicates, sum.replaced, sum.key_held), (same, replaced, key_held));
    }
    transaction.commit().await.unwrap();
    assert_eq!(count(&backroom).await, 5);
}

#[tokio::test]
async fn a_savepoint_rolled_back_takes_its_jobs_along_and_no_others() {
    let place = Place::new();
    let (backroom, shop) = (open(&place).await, shop(&place).await);
    let mut outer = shop.begin().await.unwrap();
    let before = backroom.enqueue(Double(1)).within_sqlx(&mut outer).await.unwrap();
    let mut inner = outer.begin().await.unwrap();
    order(&mut inner, 1).await;
    backroom.enqueue(Double(2)).within_sqlx(&mut inner).await.unwrap();
    inner.rollback().await.unwrap();
    let after = backroom.enqueue(Double(3)).within_sqlx(&mut outer).await.unwrap();
    outer.commit().await.unwrap();
    assert_eq!(orders(&shop).await, [] as [i32; 0]);
    let ids: Vec<_> = jobs(&backroom).await.iter().map(|job| job.id).collect();
    assert_eq!(ids, [after.id(), before.id()]);
}

/// Hides our tables from the rest of the transaction, which is how an enqueue in it fails.
async fn hide_tables(connection: &mut PgConnection) {
    sqlx::query("ALTER TABLE jobs RENAME TO hidden").execute(connection).await.unwrap();
}

#[tokio::test]
async fn after_a_failed_enqueue_the_transaction_can_only_be_rolled_back() {
    let place = Place::new();
    let (backroom, shop) = (open(&place).await, shop(&place).await);
    for commits in [true, false] {
        let mut transaction = shop.begin().await.unwrap();
        order(&mut transaction, 1).await;
        hide_tables(&mut transaction).await;
        let failed = backroom.enqueue(Double(1)).within_sqlx(&mut transaction).await.err().unwrap();
        assert_eq!(failed.kind(), ErrorKind::Unusable);
        let first_text = text_of(&failed);
        assert!(first_text.contains("insert jobs in PostgreSQL; our tables are missing"), "{first_text}");
        assert!(first_text.contains("jobs\" does not exist (SQLSTATE 42P01)"), "{first_text}");

        let again = backroom.enqueue(Double(1)).within_sqlx(&mut transaction).await.err().unwrap();
        assert_eq!(again.kind(), ErrorKind::Unavailable);
        assert!(text_of(&again).contains("transaction is aborted"), "{}", text_of(&again));
        if commits {
            // PostgreSQL answers with a rollback, which the driver does not report.
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
        }
        assert_eq!(orders(&shop).await, [] as [i32; 0]);
        assert_eq!(count(&backroom).await, 0);
    }
    backroom.enqueue(Double(1)).await.unwrap();
}

#[tokio::test]
async fn a_failed_enqueue_in_a_savepoint_leaves_the_outer_transaction_whole() {
    let place = Place::new();
    let (backroom, shop) = (open(&place).await, shop(&place).await);
    let mut outer = shop.begin().await.unwrap();
    order(&mut outer, 1).await;
    let mut inner = outer.begin().await.unwrap();
    hide_tables(&mut inner).await;
    let many = backroom.enqueue_many([Double(1)]).within_sqlx(&mut inner).await;
    let failed = many.err().unwrap();
    assert_eq!(failed.kind(), ErrorKind::Unusable);
    assert!(text_of(&failed).contains("0 jobs were handled before the error"), "{}", text_of(&failed));
    inner.rollback().await.unwrap();
    backroom.enqueue(Double(2)).within_sqlx(&mut outer).await.unwrap();
    outer.commit().await.unwrap();
    assert_eq!((orders(&shop).await, count(&backroom).await), (vec![1], 1));
}

#[tokio::test]
async fn an_enqueue_on_a_connection_that_broke_says_that_the_server_is_away() {
    let place = Place::new();
    let (backroom, shop) = (open(&place).await, shop(&place).await);
    let mut transaction = shop.begin().await.unwrap();
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *transaction).await.unwrap();
    let other = client(&place.server).await;
    let ended = other.query_one("SELECT pg_terminate_backend($1, 10000)", &[&pid]).await.unwrap();
    assert!(ended.get::<_, bool>(0));
    let refused = backroom.enqueue(Double(1)).within_sqlx(&mut transaction).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{}", text_of(&refused));
    assert_eq!(count(&backroom).await, 0);
}

#[tokio::test]
async fn an_invalid_job_is_refused_before_the_transaction_hears_of_it() {
    let place = Place::new();
    let (backroom, shop) = (open(&place).await, shop(&place).await);
    let mut transaction = shop.begin().await.unwrap();
    let refused = backroom.enqueue(Double(1)).priority(10).within_sqlx(&mut transaction).await;
    assert_eq!(refused.err().unwrap().kind(), ErrorKind::Invalid);
    backroom.enqueue(Double(2)).within_sqlx(&mut transaction).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(count(&backroom).await, 1);
}

#[tokio::test]
async fn one_transaction_serves_clients_of_several_schemas() {
    let (here, there) = (Place::new(), Place::new());
    let (first, second, shop) = (open(&here).await, open(&there).await, shop(&here).await);
    let mut transaction = shop.begin().await.unwrap();
    first.enqueue(Double(1)).within_sqlx(&mut transaction).await.unwrap();
    second.enqueue(Double(2)).within_sqlx(&mut transaction).await.unwrap();
    transaction.commit().await.unwrap();
    for (backroom, args) in [(first, "1"), (second, "2")] {
        let jobs = jobs(&backroom).await;
        assert_eq!(jobs.iter().map(|job| job.args.as_str()).collect::<Vec<_>>(), [args]);
    }
}

#[tokio::test]
async fn the_callers_prepared_statements_keep_their_places() {
    let place = Place::new();
    let (backroom, shop) = (open(&place).await, shop(&place).await);
    let mut transaction = shop.begin().await.unwrap();
    order(&mut transaction, 1).await;
    let cached = transaction.cached_statements_size();
    assert_eq!(cached, 1);
    backroom.enqueue(Double(1)).within_sqlx(&mut transaction).await.unwrap();
    assert_eq!(transaction.cached_statements_size(), cached);
    let there = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'INSERT%'";
    let there: i64 = sqlx::query_scalar(there).fetch_one(&mut *transaction).await.unwrap();
    assert_eq!(there, 1, "only that of the order");
}

#[tokio::test]
async fn a_store_that_is_no_postgresql_refuses_in_the_same_words_as_for_the_other_driver() {
    let place = Place::new();
    let (backroom, _folder) = sqlite().await;
    let mut shop = PgConnection::connect(&place.server).await.unwrap();
    let mut transaction = shop.begin().await.unwrap();
    let one = backroom.enqueue_untyped("k", Json::null()).within_sqlx(&mut transaction).await.err().unwrap();
    let many = backroom.enqueue_many([Double(1)]).within_sqlx(&mut transaction).await.err().unwrap();
    let mut client = client(&place.server).await;
    let theirs = client.transaction().await.unwrap();
    let other = backroom.enqueue(Double(1)).within_postgres(&theirs).await.err().unwrap();
    assert_eq!(other.kind(), ErrorKind::Invalid);
    for refused in [one, many] {
        assert_eq!((refused.kind(), text_of(&refused)), (other.kind(), text_of(&other)));
    }
}

#[tokio::test]
async fn jobs_of_a_transaction_run_after_others_and_are_members_of_batches() {
    let place = Place::new();
    let backroom = open(&place).await;
    let shop = shop(&place).await;
    common::linked_within!(
        backroom,
        begin shop.begin().await.unwrap(),
        within_sqlx(|transaction| &mut transaction)
    );
}
