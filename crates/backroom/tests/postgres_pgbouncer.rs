//! The PostgreSQL store through PgBouncer in transaction mode, where a connection is nobody's: no LISTEN, no prepared
//! statements, no settings.

#![cfg(all(feature = "postgres", unix))]

mod pgbouncer;
mod postgres_support;

use std::{sync::Arc, time::Duration};

use backroom::{
    ErrorKind, Json, UniqueRule,
    core::Draft,
    store::postgres::{PostgresOptions, PostgresStore},
    store::{Call, JobVerbs as _, ReadVerbs as _},
    testing::conformance,
};
use pgbouncer::PgBouncer;
use postgres_support::{Place, Schemas, server, variable, waiting_for_locks};

fn bouncer() -> PgBouncer {
    PgBouncer::start(&variable("BACKROOM_TEST_PGBOUNCER"), &server())
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_conforms_through_pgbouncer_in_transaction_mode() {
    let bouncer = bouncer();
    let schemas = Schemas::at(&bouncer.url, "&durability=relaxed&listen=false").await;
    conformance::conforms(async || schemas.fresh().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_conforms_through_pgbouncer_with_every_claim_on_a_tray() {
    let bouncer = bouncer();
    let schemas = Schemas::at(&bouncer.url, "&durability=relaxed&listen=false&trays_from=1").await;
    conformance::conforms(async || schemas.fresh().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_ends_what_waits_for_longer_than_a_statement_may_take() {
    let (bouncer, place) = (bouncer(), Place::new());
    // Shorter than a statement waits for a lock: the one that ends it here is the limit for statements.
    let options = PostgresOptions { statement_timeout: Duration::from_millis(500), ..Default::default() };
    let url = format!("{}?listen=false&schema={}", bouncer.url, place.schema);
    let store = PostgresStore::connect(&url, options).await.unwrap();
    let (mut other, watcher) = (place.client().await, place.client().await);
    let keyed = Draft { unique: Some(UniqueRule::by_key("k")), ..Draft::new("work", Json::null()) };
    // A statement that is a transaction by itself, and a transaction of several.
    for new in [place.new_job(), place.checked(keyed)] {
        let transaction = other.transaction().await.unwrap();
        transaction.batch_execute("LOCK TABLE jobs IN EXCLUSIVE MODE").await.unwrap();
        let id = new.job.id;
        let error = store.insert(Arc::new(vec![new]), place.now, Call::First).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("statement timeout"), "{error}");
        let waiting = waiting_for_locks(&watcher, &place.schema).await;
        assert!(waiting.is_empty(), "the server does nothing more for it");
        transaction.rollback().await.unwrap();
        assert_eq!(store.job(id).await.unwrap(), None);
    }
    assert_eq!(place.claim(&store, 10).await.len(), 0);
}

#[cfg(feature = "sqlx")]
#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_enqueued_in_transactions_of_sqlx_through_pgbouncer_in_transaction_mode() {
    use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};

    let bouncer = bouncer();
    let schema = postgres_support::schema_name();
    let url = format!("{}?listen=false&schema={schema}", bouncer.url);
    let backroom = backroom::Backroom::open(&url).await.unwrap();
    // More connections than the server has for them, so that each meets what another left behind.
    let options: PgConnectOptions = bouncer.url.parse().unwrap();
    let options = options.extra_float_digits(None);
    let mut shops = Vec::new();
    for _ in 0..4 {
        shops.push(PgConnection::connect_with(&options).await.unwrap());
    }
    for round in 0..5 {
        for shop in &mut shops {
            let mut transaction = shop.begin().await.unwrap();
            let job = backroom.enqueue_untyped("work", backroom::Json::null()).tag(format!("round {round}"));
            job.within_sqlx(&mut transaction).await.unwrap();
            transaction.commit().await.unwrap();
        }
    }
    let jobs: u64 = backroom.counts().await.unwrap().iter().map(|count| count.jobs).sum();
    assert_eq!(jobs, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_wants_a_connection_of_ones_own_from_pgbouncer_is_told_what_to_do_without() {
    let bouncer = bouncer();
    let error = PostgresStore::connect(&bouncer.url, PostgresOptions::default()).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Unusable, "{error}");
    assert!(error.to_string().contains("listen=false"), "{error}");
}
