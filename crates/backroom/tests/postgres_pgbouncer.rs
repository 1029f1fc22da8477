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

#[tokio::test(flavor = "multi_thread")]
async fn whoever_wants_a_connection_of_ones_own_from_pgbouncer_is_told_what_to_do_without() {
    let bouncer = bouncer();
    let error = PostgresStore::connect(&bouncer.url, PostgresOptions::default()).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Unusable, "{error}");
    assert!(error.to_string().contains("listen=false"), "{error}");
}
