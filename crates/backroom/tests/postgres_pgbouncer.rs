//! The PostgreSQL store through PgBouncer in transaction mode, where a connection is nobody's: no LISTEN, no prepared
//! statements, no settings.

#![cfg(all(feature = "postgres", unix))]

mod pgbouncer;
mod postgres_support;

use backroom::{
    ErrorKind,
    store::postgres::{PostgresOptions, PostgresStore},
    testing::conformance,
};
use pgbouncer::PgBouncer;
use postgres_support::{Schemas, server, variable};

fn bouncer() -> PgBouncer {
    PgBouncer::start(&variable("BACKROOM_TEST_PGBOUNCER"), &server())
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_conforms_through_pgbouncer_in_transaction_mode() {
    let bouncer = bouncer();
    let schemas = Schemas::at(&bouncer.url, "&durability=relaxed&listen=false").await;
    conformance::conforms(async || schemas.fresh().await).await;
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
