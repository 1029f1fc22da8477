//! The PostgreSQL store does what every store must do, directly and through PgBouncer.

#![cfg(feature = "postgres")]

mod postgres_support;

use std::sync::Arc;

use backroom::{
    store::{
        Store,
        postgres::{PostgresOptions, PostgresStore},
    },
    testing::conformance,
};
use postgres_support::{Place, client, server};
use tokio::sync::OnceCell;

/// One schema for a whole run, emptied for each behaviour: making the tables anew would be all that the run does.
fn fresh(place: &Place, url: String) -> impl AsyncFn() -> Arc<dyn Store> {
    let emptier = OnceCell::new();
    let schema = place.schema.clone();
    async move || {
        let store = PostgresStore::connect(&url, PostgresOptions::default()).await.unwrap();
        let emptier = emptier.get_or_init(async || client(&server()).await).await;
        let tables = ["jobs", "finished", "attempts", "logs", "queues", "workers"]
            .map(|table| format!("{schema}.{table}"));
        emptier.batch_execute(&format!("TRUNCATE {}", tables.join(", "))).await.unwrap();
        Arc::new(store) as Arc<dyn Store>
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_conforms() {
    let place = Place::new();
    conformance::conforms(fresh(&place, place.url())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_conforms_under_faults() {
    let place = Place::new();
    conformance::conforms_under_faults(fresh(&place, place.url())).await;
}
