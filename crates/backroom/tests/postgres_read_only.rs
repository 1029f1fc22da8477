//! Looking needs no write: a role that may only read sees all there is.

#![cfg(feature = "postgres")]

mod common;
mod postgres_support;

use std::time::Duration;

use backroom::{
    Backroom, ErrorKind, Filter, Worker,
    core::bounds::later,
    store::{Call, Claim, JobVerbs as _},
};
use common::{Double, double, soon};
use postgres_support::{Place, client, schema_name};

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_only_read_sees_jobs_workers_queues_leases_and_health() {
    let place = Place::new();
    let (schema, role, admin) = (&place.schema, schema_name(), client(&place.server).await);
    let writer = Backroom::open(&place.url()).await.unwrap();
    let worker = Worker::new(&writer).queue("default", 1).handle(double).start().await.unwrap();
    let done = writer.enqueue(Double(21)).await.unwrap();
    assert_eq!(soon("the job", done.wait()).await.unwrap(), 42);
    // On a tray whose lease ran out: reading must not unload it.
    let store = place.open().await;
    place.insert(&store, place.new_job()).await;
    let until = later(place.now, Duration::from_secs(1));
    let taken = store
        .claim(std::sync::Arc::new(Claim { until, ..place.wish(1) }), place.now, Call::First)
        .await
        .unwrap();
    assert_eq!(taken.len(), 1);
    let grants = format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'x'; ALTER ROLE {role} SET default_transaction_read_only = on; \
         GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}"
    );
    admin.batch_execute(&grants).await.unwrap();
    let url = place.url();
    let reader =
        Backroom::open(&format!("postgres://{role}:x@{}", url.rsplit_once('@').unwrap().1)).await.unwrap();
    assert_eq!(reader.list(Filter::default(), None, 10).await.unwrap().jobs.len(), 2);
    assert_eq!(reader.store().job(done.id()).await.unwrap().unwrap().id, done.id());
    assert!(reader.store().attempts(done.id()).await.unwrap().is_empty());
    assert_eq!(reader.workers().await.unwrap().len(), 1);
    assert_eq!(reader.queues().await.unwrap().len(), 1);
    assert!(!reader.counts().await.unwrap().is_empty());
    let holders = reader.store().holders().await.unwrap();
    assert!(
        holders.iter().any(|holder| holder.holds && Some(&holder.name) == taken[0].worker.as_ref()),
        "{holders:?}"
    );
    let health = reader.health().await.unwrap();
    for name in ["vacuum is not held back", "queue of notifications"] {
        assert!(health.checks.iter().any(|check| check.name == name), "{name}: {health:?}");
    }
    let held = health.checks.iter().find(|check| check.name == "vacuum is not held back").unwrap();
    assert!(held.found.contains("sessions of other roles cannot be seen by this one"), "{held:?}");
    assert!(held.found.contains(&format!("GRANT pg_read_all_stats TO {role}")), "{held:?}");
    let refused = reader.enqueue(Double(1)).await.expect_err("it may not write");
    assert!(matches!(refused.kind(), ErrorKind::Unavailable | ErrorKind::Unusable), "{refused}");
    worker.stop().await.unwrap();
}
