//! Opening by URL, and enqueueing inside a transaction of the caller, on the tests' PostgreSQL server.
#![cfg(feature = "postgres")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;
mod postgres_support;

use std::{collections::BTreeSet, time::Duration};

use backroom::{
    Backroom, ErrorKind, Failure, Job, Json, UniqueRule, Worker,
    clock::{Clock, SystemClock},
};
use common::{Double, double, soon};
use postgres_support::{Place, client, with};
use serde::{Deserialize, Serialize};

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

/// From each commit to the start of its job.
async fn pickups(place: &Place, enqueue_in_transaction: impl AsyncFn(&Backroom, Stamp)) -> Duration {
    let clock = SystemClock::default();
    let backroom = open(place).await;
    let (began, mut beginnings) = tokio::sync::mpsc::unbounded_channel();
    let stamp = move |job: Stamp, _| {
        let began = began.clone();
        async move {
            began
                .send((job, SystemClock::default().now()))
                .map_err(|_| Failure::discard("the test has ended"))
        }
    };
    let worker = Worker::new(&backroom).queue("default", 2).handle(stamp).start().await.unwrap();
    let mut spans = Vec::new();
    for number in 0..15 {
        enqueue_in_transaction(&backroom, Stamp(number)).await;
        let committed_at = clock.now();
        let (job, began_at) = soon("the job", beginnings.recv()).await.unwrap();
        assert_eq!(job, Stamp(number));
        spans.push(backroom::core::bounds::span_until(committed_at, began_at));
        // So that the worker has nothing to do again, and waits.
        clock.sleep(Duration::from_millis(30)).await;
    }
    worker.stop().await.unwrap();
    spans.sort();
    spans[spans.len() / 2]
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Stamp(u32);

impl Job for Stamp {
    const KIND: &'static str = "stamp";
    type Output = ();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_a_callers_transaction_begins_when_that_commits_and_not_at_the_next_poll() {
    let place = Place::new();
    let median = pickups(&place, async |backroom, job| {
        let mut client = client(&place.server).await;
        let transaction = client.transaction().await.unwrap();
        backroom.enqueue(job).within_postgres(&transaction).await.unwrap();
        transaction.commit().await.unwrap();
    });
    let median = median.await;
    println!("from the caller's commit to the start of the job: {median:?}, the median of 15");
    // An optimised build on an idle machine: 5 ms. Else far below a poll, which takes about a second.
    let most = if cfg!(debug_assertions) { Duration::from_millis(250) } else { Duration::from_millis(5) };
    assert!(median < most, "{median:?}");
}

#[tokio::test]
async fn a_callers_transaction_notifies_once_for_each_queue_or_not_at_all_if_so_wanted() {
    let place = Place::new();
    let listener = tokio_postgres::connect(&place.server, tokio_postgres::NoTls);
    let (listening, mut connection) = listener.await.unwrap();
    let (heard, mut hearings) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            if let tokio_postgres::AsyncMessage::Notification(notification) = message {
                _ = heard.send(notification.payload().to_owned());
            }
        }
    });
    // In a schema that the store's own hints are not sent to: they are turned off.
    let quiet = with(&place.url(), "notify=true");
    for (parameter, expected) in [("notify_within=true", 2), ("notify_within=false", 0), ("notify=false", 0)]
    {
        let backroom = Backroom::open(&with(&quiet, parameter)).await.unwrap();
        listening.batch_execute(&format!("LISTEN backroom_{}", place.schema)).await.unwrap();
        let mut own = client(&place.server).await;
        let transaction = own.transaction().await.unwrap();
        for number in 0..5 {
            backroom.enqueue(Double(number)).queue("a").within_postgres(&transaction).await.unwrap();
            let many = backroom.enqueue_many((0..3).map(Double)).queue("b");
            many.within_postgres(&transaction).await.unwrap();
            backroom
                .enqueue(Double(number))
                .queue("later")
                .delay(Duration::from_secs(3600))
                .within_postgres(&transaction)
                .await
                .unwrap();
        }
        transaction
            .execute("SELECT pg_notify($1, 'over')", &[&format!("backroom_{}", place.schema)])
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        // Behind the sender: q and a queue, or b and the second in which the first job is due.
        let (mut queues, mut seconds) = (0, BTreeSet::new());
        loop {
            let word = soon("the end", hearings.recv()).await.unwrap();
            match word.get(16..) {
                Some(rest) if rest.starts_with('b') => assert!(seconds.insert(word), "sent twice"),
                Some(_) => queues += 1,
                None => break assert_eq!(word, "over"),
            }
        }
        assert_eq!(queues, expected, "{parameter}");
        assert_eq!(seconds.is_empty(), expected == 0, "{parameter}");
        backroom.close().await.unwrap();
    }
}

#[tokio::test]
async fn an_error_of_our_own_leaves_the_callers_transaction_as_it_was() {
    let place = Place::new();
    let backroom = open(&place).await;
    let keyed = || backroom.enqueue(Double(1)).unique(UniqueRule::by_key("k"));
    let holder = keyed().await.unwrap();
    let mut client = place.client().await;
    // What decides about the holder is damaged.
    let checks = "SELECT conname FROM pg_constraint WHERE conrelid = 'jobs'::regclass AND contype = 'c'";
    for row in client.query(checks, &[]).await.unwrap() {
        client
            .batch_execute(&format!("ALTER TABLE jobs DROP CONSTRAINT {}", row.get::<_, &str>(0)))
            .await
            .unwrap();
    }
    let damage = "UPDATE jobs SET unique_while = 'until', unique_until = NULL WHERE id = $1";
    assert_eq!(client.execute(damage, &[&holder.id().0]).await.unwrap(), 1);
    let transaction = client.transaction().await.unwrap();
    transaction.batch_execute("SET LOCAL lock_timeout = 7000").await.unwrap();
    let error = keyed().within_postgres(&transaction).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unusable, "{error}");
    let timeout = transaction.query_one("SHOW lock_timeout", &[]).await.unwrap();
    assert_eq!(timeout.get::<_, &str>(0), "7s");
    assert!(transaction.batch_execute("RELEASE SAVEPOINT backroom_keys").await.is_err(), "it is gone");
}

#[tokio::test]
async fn a_full_queue_refuses_a_job_in_a_callers_transaction() {
    let place = Place::new();
    let backroom = open(&place).await;
    backroom.limit_depth("default", Some(1)).await.unwrap();
    backroom.enqueue(Double(1)).await.unwrap();
    let mut client = client(&place.server).await;
    let transaction = client.transaction().await.unwrap();
    let refused = backroom.enqueue(Double(2)).within_postgres(&transaction).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::QueueFull { depth: 1, limit: 1 }, "{refused}");
    transaction.rollback().await.unwrap();
    assert_eq!(jobs(&backroom).await, 1);
}

#[tokio::test]
async fn jobs_of_a_transaction_run_after_others_and_are_members_of_batches() {
    let place = Place::new();
    let backroom = open(&place).await;
    let mut client = client(&place.server).await;
    common::linked_within!(
        backroom,
        begin client.transaction().await.unwrap(),
        within_postgres(|transaction| &transaction)
    );
}

#[tokio::test]
async fn links_in_a_transaction_need_the_tables_of_this_program() {
    let place = Place::new();
    let backroom = open(&place).await;
    let live = backroom.enqueue(Double(1)).await.unwrap();
    let mut client = place.client().await;
    client
        .batch_execute(&format!("ALTER TABLE {}.edges RENAME TO edges_of_old", place.schema))
        .await
        .unwrap();
    let transaction = client.transaction().await.unwrap();
    let refused = backroom.enqueue(Double(2)).after(&live).within_postgres(&transaction).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unusable, "{refused}");
    assert!(refused.to_string().contains("backroom migrate"), "{refused}");
    transaction.rollback().await.unwrap();
}
