//! Following a job in PostgreSQL.

#![cfg(feature = "postgres")]

mod follow_support;
mod postgres_support;

use postgres_support::Place;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_process() {
    follow_support::work_if_asked().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_comes_once_and_in_order_however_often_readers_are_cut_off() {
    let place = Place::new();
    // Its tables are removed with the last store.
    let _store = place.open().await;
    follow_support::each_event_comes_once_and_in_order_however_often_readers_are_cut_off(&place.url()).await;
}
