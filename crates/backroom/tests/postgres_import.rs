//! What the PostgreSQL store stores of jobs that came from another store.

#![cfg(feature = "postgres")]

mod postgres_support;

use std::sync::Arc;

use backroom::{
    core::State,
    store::{JobVerbs as _, Prune, Record},
};
use postgres_support::{Place, success};

const JOBS: usize = 20_000;
/// As the documentation of `Store::import` says.
const BYTES_EACH_MAX: i64 = 110;

#[tokio::test]
async fn a_job_that_came_over_live_leaves_about_a_hundred_bytes_and_others_nothing() {
    let place = Place::new();
    let store = place.open().await;
    let client = place.client().await;
    let record = || Record {
        job: place.new_job().job,
        attempts: Vec::new(),
        lines: Vec::new(),
        edges: Vec::new(),
        journal: None,
    };
    // One that has run here, and one that came over when it had run.
    place.insert(&store, place.new_job()).await;
    let job = place.claim(&store, 1).await.remove(0);
    let mut finished = record();
    success(&job, place.now).write_to(&mut finished.job);
    store.import(Arc::new(vec![finished])).await.unwrap();
    // As a move does, from the newest to the oldest.
    let live: Vec<Record> = (0..JOBS).map(|_| record()).collect();
    for chunk in live.rchunks(1000) {
        store.import(Arc::new(chunk.iter().rev().cloned().collect())).await.unwrap();
    }

    let row = "SELECT count(*), pg_total_relation_size('imported') FROM imported";
    let row = client.query_one(row, &[]).await.unwrap();
    let (rows, bytes): (i64, i64) = (row.get(0), row.get(1));
    println!("{} bytes for each of {rows} jobs", bytes / rows);
    assert_eq!(rows, i64::try_from(JOBS).unwrap());
    assert!(bytes / rows < BYTES_EACH_MAX, "{bytes} bytes");

    // Pruned, it is remembered: the same move again must not bring it back to run once more.
    let id = live[0].job.id;
    client.execute("DELETE FROM jobs WHERE id <> $1", &[&id.0]).await.unwrap();
    let run = place.claim(&store, 1).await.remove(0);
    store.commit(Arc::new(vec![success(&run, place.now)])).await.unwrap();
    let prune = Prune {
        queue: run.queue,
        state: State::Completed,
        finished_before: None,
        beyond: Some(0),
        limit: 100,
    };
    assert!(store.prune(Arc::new(prune), place.now).await.unwrap() > 0);
    assert_eq!(store.import(Arc::new(vec![live[0].clone()])).await.unwrap(), 0);

    // When nothing will come from the old store any more, an operator may empty the table.
    client.batch_execute("TRUNCATE imported").await.unwrap();
    place.insert(&store, place.new_job()).await;
    assert_eq!(place.claim(&store, 10).await.len(), 1);
}
