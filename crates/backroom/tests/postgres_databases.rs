//! The databases that people have: other defaults for transactions, settings of a role, names that are reserved, other encodings.

#![cfg(feature = "postgres")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;
mod postgres_support;

use backroom::store::{Call, JobVerbs as _};
use std::{sync::Arc, time::Duration};

use backroom::{
    Backroom, ErrorKind, UniqueRule, Worker,
    store::postgres::{PostgresOptions, PostgresStore},
    testing::conformance,
};
use common::{Act, Double, act, double, soon};
use futures_util::future::join_all;
use postgres_support::{Place, Schemas, client, schema_name, server, with};

/// The URL of a new database on the tests' server, made with `options` and then set to `settings`.
async fn database(options: &str, settings: &[&str]) -> String {
    let (name, admin) = (schema_name(), client(&server()).await);
    admin.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE template0 {options}")).await.unwrap();
    for setting in settings {
        admin.batch_execute(&format!("ALTER DATABASE {name} SET {setting}")).await.unwrap();
    }
    let server = server();
    let (base, query) = server.split_once('?').map_or((server.as_str(), ""), |(base, query)| (base, query));
    let (place, _) = base.rsplit_once('/').unwrap();
    format!("{place}/{name}?{query}")
}

/// What would break statements that count on PostgreSQL's own defaults.
const UNUSUAL: [&str; 6] = [
    "lock_timeout = '1ms'",
    "statement_timeout = '50ms'",
    "idle_in_transaction_session_timeout = '10ms'",
    "idle_session_timeout = '200ms'",
    "search_path = 'nowhere'",
    "timezone = 'Asia/Kathmandu'",
];

fn with_isolation(isolation: &str) -> Vec<String> {
    let isolation = format!("default_transaction_isolation = '{isolation}'");
    UNUSUAL.iter().map(|setting| (*setting).to_owned()).chain([isolation]).collect()
}

async fn unusual_database(isolation: &str) -> String {
    let settings = with_isolation(isolation);
    database("", &settings.iter().map(String::as_str).collect::<Vec<_>>()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_processes_migrate_at_once_whatever_the_default_isolation_is() {
    for isolation in ["repeatable read", "serializable"] {
        let url = unusual_database(isolation).await;
        let opening = (0..16).map(|_| {
            let url = url.clone();
            tokio::spawn(async move { PostgresStore::connect(&url, PostgresOptions::default()).await })
        });
        for opened in join_all(opening).await {
            opened.unwrap().unwrap_or_else(|error| panic!("{isolation}: {error}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_means_the_same_in_a_serializable_database() {
    let schemas = Schemas::in_database(&unusual_database("serializable").await, "&durability=relaxed").await;
    conformance::conforms(async || schemas.fresh().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_enqueue_and_run_the_same_keys_do_not_collide_in_a_serializable_database() {
    let url = unusual_database("serializable").await;
    for parameter in ["listen=true", "listen=false"] {
        let url = with(&url, parameter);
        let mut crew = Vec::new();
        for _ in 0..3 {
            let backroom = Backroom::open(&url).await.unwrap();
            let worker = Worker::new(&backroom).queue("default", 4).handle(double).handle(act);
            crew.push((worker.start().await.unwrap(), backroom));
        }
        let enqueueing = crew.iter().flat_map(|(_, backroom)| {
            (0..60u32).map(move |number| async move {
                let key = UniqueRule::by_key(format!("key {}", number % 7));
                backroom.enqueue(Double(number)).unique(key).await.unwrap();
                backroom.enqueue(Act::FailUntilAttempt(1)).await.unwrap()
            })
        });
        for job in join_all(enqueueing).await {
            assert_eq!(soon("the job", job.wait()).await.unwrap(), "at last");
        }
        for (worker, _) in crew {
            worker.stop().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_may_have_a_reserved_name() {
    let url = database("", &[]).await;
    for schema in ["order", "user", "select", "table"] {
        let backroom = Backroom::open(&with(&url, &format!("schema={schema}"))).await.unwrap();
        let worker = Worker::new(&backroom).queue("default", 1).handle(double).start().await.unwrap();
        let job = backroom.enqueue(Double(21)).tag("t").await.unwrap();
        assert_eq!(soon("the job", job.wait()).await.unwrap(), 42, "{schema}");
        assert_eq!(backroom.list(backroom::Filter::default(), None, 5).await.unwrap().jobs.len(), 1);
        let mut own = client(&url).await;
        let transaction = own.transaction().await.unwrap();
        let job = backroom.enqueue(Double(4)).within_postgres(&transaction).await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(soon("the job", job.wait()).await.unwrap(), 8, "{schema}");
        worker.stop().await.unwrap();
        backroom.close().await.unwrap();
        for migration in
            backroom::store::migrations(&with(&url, &format!("schema={schema}_by_hand"))).unwrap()
        {
            own.batch_execute(&format!("BEGIN; {} COMMIT", migration.sql)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_database_that_cannot_store_every_text_is_refused_with_the_remedy() {
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let url = database(&format!("ENCODING '{encoding}' LOCALE 'C'"), &[]).await;
        let refused = PostgresStore::connect(&url, PostgresOptions::default()).await.expect_err("refused");
        assert_eq!(refused.kind(), ErrorKind::Unusable, "{refused}");
        let said = refused.to_string();
        assert!(said.contains(encoding) && said.contains("--encoding=UTF8"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_statements_are_not_ended_by_a_timeout_of_the_role() {
    let place = Place { server: unusual_database("repeatable read").await, ..Place::new() };
    let store = place.open().await;
    let jobs = (0..5000).map(|_| place.new_job()).collect();
    store.insert(Arc::new(jobs), place.now, Call::First).await.unwrap();
    // Longer than the database lets a session be idle.
    backroom::clock::Clock::sleep(&backroom::clock::SystemClock::default(), Duration::from_millis(400)).await;
    assert_eq!(place.claim(&store, 5000).await.len(), 5000);
}
