//! A bulk enqueue that fails in the middle, on PostgreSQL, where two transactions of it are under way on two connections.
#![cfg(feature = "postgres")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod bulk;
mod common;
mod postgres_support;

use std::sync::Arc;

use backroom::Backroom;
use bulk::{JOBS, REFUSED, stored};
use common::{Double, soon};
use postgres_support::{Place, waiting_for_locks};

async fn open(place: &Place) -> Backroom {
    Backroom::open(&place.url()).await.unwrap()
}

async fn refuse(place: &Place) {
    let settings = format!("ALTER TABLE jobs ADD CONSTRAINT refuse CHECK (args <> '{REFUSED}')");
    place.client().await.batch_execute(&settings).await.unwrap();
}

async fn refuse_no_more(place: &Place) {
    place.client().await.batch_execute("ALTER TABLE jobs DROP CONSTRAINT refuse").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_job_takes_its_own_transaction_along_and_no_other() {
    let place = Place::new();
    let backroom = open(&place).await;
    refuse(&place).await;
    bulk::a_refused_job_takes_its_own_transaction_along_and_no_other(&backroom).await;
    refuse_no_more(&place).await;
    bulk::the_same_call_again_stores_everything_again(&backroom).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_unique_keys_the_first_are_stored_and_the_same_call_again_adds_the_rest() {
    let place = Place::new();
    let backroom = open(&place).await;
    refuse(&place).await;
    let mend = async || refuse_no_more(&place).await;
    bulk::with_unique_keys_the_first_are_stored_and_the_same_call_again_adds_the_rest(&backroom, mend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_to_be_stored_is_whole_or_absent_and_there_once() {
    let place = Place::new();
    let store = Arc::new(place.open().await);
    bulk::what_is_not_known_to_be_stored_is_whole_or_absent_and_there_once(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_cut_with_two_transactions_under_way_lose_no_job_and_double_none() {
    let place = Place::new();
    let backroom = open(&place).await;
    // So that the queue's name is known, and the second connection is used.
    backroom.enqueue(Double(JOBS)).await.unwrap();
    let (mut other, watcher) = (place.client().await, place.client().await);
    let transaction = other.transaction().await.unwrap();
    transaction.batch_execute("LOCK TABLE jobs IN EXCLUSIVE MODE").await.unwrap();
    let enqueueing = tokio::spawn({
        let backroom = backroom.clone();
        async move { backroom.enqueue_many((0..JOBS).map(Double)).await }
    });
    let waiting = soon("two transactions are under way", async {
        loop {
            let waiting = waiting_for_locks(&watcher, &place.schema).await;
            if waiting.len() == 2 {
                return waiting;
            }
        }
    })
    .await;
    watcher
        .execute("SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid", &[&waiting])
        .await
        .unwrap();
    transaction.rollback().await.unwrap();
    let many = soon("all jobs are stored", enqueueing).await.unwrap().unwrap();
    assert_eq!(many.created, u64::from(JOBS));
    assert_eq!(stored(backroom.store()).await, (0..=JOBS).collect::<Vec<_>>());
}
