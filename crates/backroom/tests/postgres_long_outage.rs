//! A PostgreSQL server that is away for longer than a lease: no worker died, so nothing counts as a crash.

#![cfg(all(feature = "postgres", unix))]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod postgres_support;
mod postgres_testbed;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use backroom::{
    AttemptEnd, Backroom, Json, RunningWorker, State, Worker,
    core::bounds::{CRASHES_MAX, later},
};
use postgres_testbed::{server, shift::open, until};
use tokio::sync::Notify;

const LEASE: Duration = Duration::from_millis(1500);
const LIMIT: Duration = Duration::from_secs(30);

/// A job that counts its runs and ends when it is let.
#[derive(Clone, Default)]
struct Held {
    runs: Arc<AtomicU32>,
    release: Arc<Notify>,
}

impl Held {
    async fn worker(&self, backroom: &Backroom) -> RunningWorker {
        let held = self.clone();
        let worker = Worker::new(backroom).lease(LEASE).handle_untyped("held", move |_, _| {
            let held = held.clone();
            async move {
                held.runs.fetch_add(1, Ordering::SeqCst);
                held.release.notified().await;
                Ok(Json::null())
            }
        });
        worker.start().await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_longer_than_a_lease_is_not_counted_as_a_crash() {
    let mut server = server::make();
    server.start().unwrap();
    let held = Held::default();
    let backroom = open(&server::url(&server)).await.unwrap();
    let mut workers = vec![held.worker(&backroom).await];
    let job = backroom.enqueue_untyped("held", Json::null()).await.unwrap();
    let running = async || (held.runs.load(Ordering::SeqCst) > 0).then_some(());
    until("the job begins", LIMIT, running).await;
    // Its upkeep looks at the same jobs.
    workers.push(held.worker(&open(&server::url(&server)).await.unwrap()).await);

    // As often as would make the job poison.
    for _ in 0..CRASHES_MAX {
        let name = job.status().await.unwrap().worker.unwrap();
        server.stop("immediate").unwrap();
        let stopped_at = backroom.clock().now();
        let ran_out = later(stopped_at, LEASE * 2);
        until("the lease to run out", LIMIT, async || (backroom.clock().now() > ran_out).then_some(())).await;
        server.start().unwrap();
        // One that knows nothing of an outage.
        workers.push(held.worker(&open(&server::url(&server)).await.unwrap()).await);
        // Long enough for one that takes the silence for death to say so.
        let row = until("the worker is heard for two leases or declared dead", LIMIT, async || {
            let row = job.status().await.ok()?;
            let workers = backroom.store().workers(backroom::Timestamp::MIN).await.ok()?;
            let beat_at = workers.iter().find(|worker| worker.name == name)?.beat_at;
            (row.crashes > 0 || beat_at > later(ran_out, LEASE * 2)).then_some(row)
        })
        .await;
        assert_eq!((row.state, row.crashes), (State::Running, 0), "{row:?}");
    }
    held.release.notify_one();
    let row = tokio::time::timeout(LIMIT, job.finished()).await.unwrap().unwrap();
    assert_eq!((row.state, row.attempt, row.crashes), (State::Completed, 1, 0), "{row:?}");
    assert_eq!(held.runs.load(Ordering::SeqCst), 1, "it ran once");
    assert!(backroom.attempts(job.id()).await.unwrap().is_empty());
    for worker in workers {
        worker.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_worker_died_in_an_outage_runs_elsewhere_after_it() {
    let mut server = server::make();
    server.start().unwrap();
    let held = Held::default();
    let backroom = open(&server::url(&server)).await.unwrap();
    let dead = held.worker(&backroom).await;
    let job = backroom.enqueue_untyped("held", Json::null()).await.unwrap();
    let runs = async |count| {
        let enough = async || (held.runs.load(Ordering::SeqCst) >= count).then_some(());
        until("the job begins", LIMIT, enough).await;
    };
    runs(1).await;
    let next = held.worker(&open(&server::url(&server)).await.unwrap()).await;
    server.stop("immediate").unwrap();
    drop(dead);
    server.start().unwrap();
    runs(2).await;
    held.release.notify_one();
    let row = tokio::time::timeout(LIMIT, job.finished()).await.unwrap().unwrap();
    // The process of the dropped worker lives, so its lease is lost and no death is charged.
    assert_eq!((row.state, row.crashes), (State::Completed, 0), "{row:?}");
    let ends: Vec<_> = backroom.attempts(job.id()).await.unwrap().iter().map(|attempt| attempt.end).collect();
    assert_eq!(ends, [AttemptEnd::Lost]);
    next.stop().await.unwrap();
}
