//! A handler that blocks the runtime of its worker does not lose its job, on PostgreSQL.
#![cfg(feature = "postgres")]

mod blocked;
mod log_support;
mod postgres_support;

#[tokio::test]
async fn a_handler_that_blocks_its_runtime_keeps_its_job() {
    let place = postgres_support::Place::new();
    blocked::a_handler_that_blocks_its_runtime_keeps_its_job(&place.url()).await;
}
